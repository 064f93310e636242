"""What a run takes: a GPU and a vLLM, or, for `--dry`, the simulator's vLLM process; and the model that is served.

The model is an 8B Llama by its config alone: vLLM makes up the weights (`--load-format dummy`). The tokenizer has a
word for each of its ids, so that a prompt of so many words has so many tokens and every answer can be read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parents[2] / "build" / "gpu"
NAME: Final = "dummy-8b"
VLLM: Final = "HEADGATE_VLLM"  # a `vllm` executable; else the one on PATH, else one that is installed into build/gpu

# Llama 3.1 8B's config.json: 8.03 billion parameters, 128 KiB of KV a token.
CONFIG: Final = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "bfloat16",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_END, _UNKNOWN = "<|end|>", "<|unknown|>"
_TEMPLATE: Final = "{% for message in messages %}{{ message.content }} {% endfor %}"


class Unavailable(Exception):
    """This machine cannot run it; says why."""


class Gpu(NamedTuple):
    """A GPU as its driver tells of it: its name, memory in MiB, and the name that `headgate size` has for it."""

    name: str
    memory_mib: int
    sized: str


# Part of a driver's name, and how much memory at least -> what `headgate size` calls it; the first that fits.
_SIZED: Final = (
    ("B200", 0, "b200"), ("H200", 0, "h200"), ("H100", 0, "h100"), ("A100", 60_000, "a100"), ("A100", 0, "a100-40"),
    ("L40S", 0, "l40s"), ("4090", 0, "rtx4090"), ("A10", 0, "a10g"), ("L4", 0, "l4"),
)  # fmt: skip


def gpu() -> Gpu:
    """Returns the first GPU; raises Unavailable."""
    if shutil.which("nvidia-smi") is None:
        raise Unavailable("no GPU: nvidia-smi is not here")
    asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    lines = told.stdout.strip().splitlines()
    if told.returncode or not lines:
        raise Unavailable(f"no GPU: nvidia-smi says {(told.stdout + told.stderr).strip()[:200]!r}")
    name, _, memory = lines[0].rpartition(",")
    size = int(memory)
    sized = next((word for part, least, word in _SIZED if part in name and size >= least), "")
    if not sized:
        raise Unavailable(f"`headgate size` knows no {name!r}: add it to gateway/pool/planner/hardware.py")
    if size < 20_000:
        raise Unavailable(f"{name} has {size} MiB: an 8B in 16 bits takes 16 GB, and sequences beside them")
    return Gpu(name, size, sized)


def vllm() -> list[str]:
    """Returns the command that is vLLM, installing it where there is none; raises Unavailable."""
    given = os.environ.get(VLLM) or shutil.which("vllm")
    if given:
        return [given]
    venv = FOLDER / "venv"
    found = venv / "bin" / "vllm"
    if not found.exists():
        print(f"installing vLLM into {venv}: some gigabytes, some minutes", flush=True)
        for step in (
            [sys.executable, "-m", "venv", str(venv)],
            [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "vllm>=0.26"],
        ):
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(venv, ignore_errors=True)
                raise Unavailable(f"no vLLM, and it cannot be installed: {done.stderr.strip()[-300:]}")
    return [str(found)]


def write_model(folder: Path, config: dict[str, object] | None = None) -> Path:
    """Writes the model's files; returns the folder. No weights: vLLM makes them up."""
    config = CONFIG if config is None else config
    folder.mkdir(parents=True, exist_ok=True)
    size = int(str(config["vocab_size"]))
    words = [_END, _UNKNOWN, *(word(at) for at in range(2, size))]
    specials = [
        {"id": at, "content": words[at], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for at in (0, 1)
    ]  # fmt: skip
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": specials, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {each: at for at, each in enumerate(words)}, "unk_token": _UNKNOWN},
    }  # fmt: skip
    dressed = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": _END, "unk_token": _UNKNOWN, "pad_token": _END,
        "model_max_length": config["max_position_embeddings"], "chat_template": _TEMPLATE,
    }  # fmt: skip
    for name, content in (("config", config), ("tokenizer", tokenizer), ("tokenizer_config", dressed)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def word(at: int) -> str:
    """Returns the word of a token."""
    return f"w{at}"


def prompt_of(tokens: int, seed: int) -> str:
    """Returns a prompt of so many tokens that no other seed's begins like."""
    return " ".join(word(2 + (seed * 7919 + at * 31) % 120_000) for at in range(tokens))
