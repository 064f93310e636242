"""Models that people ask about by name: facts of their config.json files, as `architecture_of` reads them.

Each stands as its Hugging Face repository publishes it (read in 2026-11); what a test holds against the published count
of parameters. A config on disk is always the better source: `--model path/to/config.json`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.pool.planner.architecture import Architecture, architecture_of
from gateway.pool.planner.quantisation import Format, UnknownWord, format_in


class Known(NamedTuple):
    """A model's config, where it is from, what it is said to have (billions), and other names for it."""

    config: Mapping[str, Any]
    repository: str
    published: float
    published_active: float
    aliases: tuple[str, ...] = ()


def _config(**facts: Any) -> dict[str, Any]:
    """Writes Hugging Face's names for our shorthand."""
    names = {
        "layers": "num_hidden_layers", "d": "hidden_size", "heads": "num_attention_heads", "ff": "intermediate_size",
        "kv": "num_key_value_heads", "hd": "head_dim", "vocab": "vocab_size", "context": "max_position_embeddings",
        "tied": "tie_word_embeddings", "top": "num_experts_per_tok", "eff": "moe_intermediate_size",
    }  # fmt: skip
    return {names.get(name, name): value for name, value in facts.items()}


_LLAMA3: Final = {"vocab": 128256, "hd": 128, "kv": 8, "model_type": "llama"}
_DEEPSEEK: Final = {
    "layers": 61, "d": 7168, "ff": 18432, "eff": 2048, "n_shared_experts": 1, "top": 8, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip

KNOWN: Final[Mapping[str, Known]] = {
    "llama-2-7b": Known(
        _config(layers=32, d=4096, heads=32, kv=32, ff=11008, vocab=32000, context=4096),
        "meta-llama/Llama-2-7b-hf", 6.74, 6.74, ("7b",),
    ),
    "llama-2-13b": Known(
        _config(layers=40, d=5120, heads=40, kv=40, ff=13824, vocab=32000, context=4096),
        "meta-llama/Llama-2-13b-hf", 13.02, 13.02, ("13b",),
    ),
    "llama-3.1-8b": Known(
        _config(layers=32, d=4096, heads=32, ff=14336, context=131072, **_LLAMA3),
        "meta-llama/Llama-3.1-8B", 8.03, 8.03, ("8b", "llama-3-8b"),
    ),
    "llama-3.3-70b": Known(
        _config(layers=80, d=8192, heads=64, ff=28672, context=131072, **_LLAMA3),
        "meta-llama/Llama-3.3-70B-Instruct", 70.55, 70.55, ("70b", "llama-3-70b", "llama-3.1-70b"),
    ),
    "llama-3.1-405b": Known(
        _config(layers=126, d=16384, heads=128, ff=53248, context=131072, **_LLAMA3),
        "meta-llama/Llama-3.1-405B", 405.85, 405.85, ("405b",),
    ),
    "mixtral-8x7b": Known(
        _config(layers=32, d=4096, heads=32, kv=8, ff=14336, vocab=32000, num_local_experts=8, top=2, context=32768),
        "mistralai/Mixtral-8x7B-v0.1", 46.7, 12.9,
    ),
    "mistral-small-24b": Known(
        _config(layers=40, d=5120, heads=32, kv=8, hd=128, ff=32768, vocab=131072, context=32768),
        "mistralai/Mistral-Small-24B-Instruct-2501", 23.57, 23.57, ("24b",),
    ),
    "qwen2.5-7b": Known(
        _config(layers=28, d=3584, heads=28, kv=4, ff=18944, vocab=152064, context=32768, model_type="qwen2"),
        "Qwen/Qwen2.5-7B-Instruct", 7.62, 7.62,
    ),
    "qwen2.5-72b": Known(
        _config(layers=80, d=8192, heads=64, kv=8, ff=29568, vocab=152064, context=32768, model_type="qwen2"),
        "Qwen/Qwen2.5-72B-Instruct", 72.7, 72.7, ("72b",),
    ),
    "qwen3-8b": Known(
        _config(layers=36, d=4096, heads=32, kv=8, hd=128, ff=12288, vocab=151936, context=40960),
        "Qwen/Qwen3-8B", 8.19, 8.19,
    ),
    "qwen3-32b": Known(
        _config(layers=64, d=5120, heads=64, kv=8, hd=128, ff=25600, vocab=151936, context=40960),
        "Qwen/Qwen3-32B", 32.76, 32.76, ("32b",),
    ),
    "qwen3-30b-a3b": Known(
        _config(layers=48, d=2048, heads=32, kv=4, hd=128, ff=6144, vocab=151936, num_experts=128, top=8, eff=768,
                decoder_sparse_step=1, context=40960),
        "Qwen/Qwen3-30B-A3B", 30.5, 3.3, ("30b",),
    ),
    "qwen3-235b-a22b": Known(
        _config(layers=94, d=4096, heads=64, kv=4, hd=128, ff=12288, vocab=151936, num_experts=128, top=8, eff=1536,
                decoder_sparse_step=1, context=40960),
        "Qwen/Qwen3-235B-A22B", 235.1, 22, ("235b",),
    ),
    "gemma-3-27b": Known(
        _config(layers=62, d=5376, heads=32, kv=16, hd=128, ff=21504, vocab=262208, tied=True, sliding_window=1024,
                sliding_window_pattern=6, model_type="gemma3_text", context=131072),
        "google/gemma-3-27b-it (its language part)", 27.0, 27.0, ("27b",),
    ),
    "gpt-oss-20b": Known(
        _config(layers=24, d=2880, heads=64, kv=8, hd=64, ff=2880, vocab=201088, num_local_experts=32, top=4,
                sliding_window=128, layer_types=["sliding_attention", "full_attention"] * 12, context=131072,
                quantization_config={"quant_method": "mxfp4"}),
        "openai/gpt-oss-20b", 20.9, 3.6, ("20b",),
    ),
    "gpt-oss-120b": Known(
        _config(layers=36, d=2880, heads=64, kv=8, hd=64, ff=2880, vocab=201088, num_local_experts=128, top=4,
                sliding_window=128, layer_types=["sliding_attention", "full_attention"] * 18, context=131072,
                quantization_config={"quant_method": "mxfp4"}),
        "openai/gpt-oss-120b", 116.8, 5.1, ("120b",),
    ),
    "glm-4.5": Known(
        _config(layers=92, d=5120, heads=96, kv=8, hd=128, ff=12288, vocab=151552, n_routed_experts=160, top=8,
                eff=1536, n_shared_experts=1, first_k_dense_replace=3, context=131072),
        "zai-org/GLM-4.5", 355, 32, ("355b", "glm-4.6"),
    ),
    "glm-5": Known(
        _config(layers=78, d=6144, heads=64, kv=64, ff=12288, vocab=154880, n_routed_experts=256, top=8, eff=2048,
                n_shared_experts=1, first_k_dense_replace=3, q_lora_rank=2048, kv_lora_rank=512, qk_nope_head_dim=192,
                qk_rope_head_dim=64, v_head_dim=256, index_n_heads=32, index_head_dim=128, context=202752),
        "zai-org/GLM-5", 744, 40, ("744b", "745b", "glm-5.1", "glm-5.2"),
    ),
    "deepseek-v3": Known(
        _config(heads=128, kv=128, vocab=129280, n_routed_experts=256, first_k_dense_replace=3, context=163840,
                quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]}, **_DEEPSEEK),
        "deepseek-ai/DeepSeek-V3", 671, 37, ("671b", "deepseek-r1", "deepseek-v3.1"),
    ),
    "deepseek-v3.2": Known(
        _config(heads=128, kv=128, vocab=129280, n_routed_experts=256, first_k_dense_replace=3, context=163840,
                index_n_heads=64, index_head_dim=128,
                quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]}, **_DEEPSEEK),
        "deepseek-ai/DeepSeek-V3.2", 671, 37,
    ),
    "kimi-k2": Known(
        _config(heads=64, kv=64, vocab=163840, n_routed_experts=384, first_k_dense_replace=1, context=131072,
                quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]}, **_DEEPSEEK),
        "moonshotai/Kimi-K2-Instruct", 1026, 32, ("1t",),
    ),
}  # fmt: skip


def known(word: str) -> tuple[Architecture, Format]:
    """Returns a model by a name of it, and the format that its repository publishes; raises UnknownWord."""
    wanted = word.lower().rsplit("/", 1)[-1]
    for name, model in KNOWN.items():
        if wanted in (name, *model.aliases, model.repository.lower().rsplit("/", 1)[-1]):
            return architecture_of(model.config, name, f"{model.repository}, config.json"), format_in(model.config)
    names = [*KNOWN, *(alias for model in KNOWN.values() for alias in model.aliases)]
    near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]}?" if near else ""
    raise UnknownWord(
        f"no model {word!r} is known{guess} Known are {', '.join(KNOWN)}; or give a path to a config.json"
    )
