"""Writes a tiny Llama with random weights into a folder: `python tiny.py FOLDER`. The pool's own Python runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEED = 20_26
VOCABULARY = 512
END = "<|end|>"
TEXT = (
    "A headgate is the gate at the head of a canal; it decides how much water goes down which ditch, by right and by "
    'measure. {"city": "Paris", "unit": "celsius", "rain": true} The river is high and the fields are dry.'
)
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content or '' }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


def main(folder: Path) -> None:
    """Writes weights, tokenizer and chat template; the same ones each time."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT], vocab_size=VOCABULARY, min_frequency=1, special_tokens=[END])
    dressed = PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, eos_token=END, pad_token=END)
    dressed.chat_template = TEMPLATE
    dressed.save_pretrained(folder)
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(dressed),
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=16384,
            bos_token_id=None,
            eos_token_id=dressed.eos_token_id,
            pad_token_id=dressed.pad_token_id,
        )
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
