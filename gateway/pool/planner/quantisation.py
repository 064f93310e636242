"""Formats of weights and of the KV cache: bits a value, what stays wider, what a GPU computes in."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

Arithmetic = Literal["fp32", "bf16", "fp8", "int8", "fp4"]


class Format(msgspec.Struct, frozen=True):
    """How weights are held.

    `bits` are those of a quantised weight with its scales. `rest_bits` are those of embeddings, head, router and norms,
    which checkpoints leave wide. `group` is how many weights share a scale along the input (0: a row or more).
    `nominal_bits` is what people multiply by ("fp8 is a byte").
    """

    name: str
    bits: float
    rest_bits: int
    group: int
    arithmetic: Arithmetic
    nominal_bits: int
    source: str


# Scales: a block of FP8 (128 × 128) shares 32 bits; a group of 128 shares 16 bits of scale and, asymmetric, 4 + more of
# zero point: 4.25 to 4.5; MXFP4 shares 8 bits among 32 (OCP MX specification 1.0); NVFP4 shares 8 among 16.
FORMATS: Final[Mapping[str, Format]] = {
    "fp32": Format("fp32", 32, 32, 0, "fp32", 32, "IEEE 754"),
    "fp16": Format("fp16", 16, 16, 0, "bf16", 16, "IEEE 754; bf16 is as wide"),
    "fp8": Format("fp8", 8.02, 16, 128, "fp8", 8, "checkpoints in blocks of 128 × 128, embeddings and head in 16 bits"),
    "int8": Format("int8", 8.02, 16, 0, "int8", 8, "W8A8 and GPTQ: a scale a row, embeddings and head in 16 bits"),
    "int4": Format("int4", 4.25, 16, 128, "bf16", 4, "AWQ and GPTQ, groups of 128; computed in 16 bits"),
    "mxfp4": Format("mxfp4", 4.25, 16, 0, "bf16", 4, "OCP MX 1.0: 8 bits of scale among 32; vLLM pads what is uneven"),
    "nvfp4": Format("nvfp4", 4.5, 16, 16, "fp4", 4, "8 bits of scale among 16 weights"),
}
_ALIASES: Final = {"bf16": "fp16", "bfloat16": "fp16", "float16": "fp16", "float32": "fp32", "awq": "int4",
                   "gptq": "int4", "w4a16": "int4", "w8a8": "int8", "fp8_e4m3": "fp8", "fp4": "nvfp4"}  # fmt: skip

# Bytes of one value in the KV cache; `auto` is vLLM's word for the weights' own 16 bits. 0.5625: 4 bits, 8 among 16.
CACHE_BYTES: Final[Mapping[str, float]] = {"auto": 2.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "nvfp4": 0.5625}


class UnknownWord(ValueError):
    """A word that is none of those known; its text is for the operator."""


def format_of(word: str) -> Format:
    """Returns the format of that name; raises UnknownWord with the nearest."""
    name = _ALIASES.get(word.lower(), word.lower())
    if name not in FORMATS:
        raise UnknownWord(unknown("format of weights", word, [*FORMATS, *_ALIASES]))
    return FORMATS[name]


def cache_bytes(word: str) -> float:
    """Returns the bytes of a cached value; raises UnknownWord."""
    if word.lower() not in CACHE_BYTES:
        raise UnknownWord(unknown("format of the KV cache", word, list(CACHE_BYTES)))
    return CACHE_BYTES[word.lower()]


def unknown(what: str, word: str, known: list[str]) -> str:
    """Says that a word is not known, which is nearest, and which there are."""
    near = difflib.get_close_matches(word.lower(), known, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    return f"{word!r} is no {what} that is known{guess}: {', '.join(known)}"


def format_in(config: Mapping[str, Any]) -> Format:
    """Returns the format that a config.json names: its quantization_config, else its dtype (16 bits where silent)."""
    inner = _object(config.get("text_config"))
    written = _object(config.get("quantization_config")) or _object(inner.get("quantization_config"))
    method = str(written.get("quant_method", "")).lower()
    if method in ("fp8", "fbgemm_fp8"):
        return FORMATS["fp8"]
    if method == "mxfp4":
        return FORMATS["mxfp4"]
    if method in ("awq", "gptq", "awq_marlin", "gptq_marlin"):
        return _grouped(_whole(written.get("bits"), 4), _whole(written.get("group_size"), 128))
    if method == "modelopt":
        return FORMATS["nvfp4" if "FP4" in str(written.get("quant_algo", "")).upper() else "fp8"]
    if method == "compressed-tensors":
        return _compressed(written)
    dtype = config.get("torch_dtype") or config.get("dtype") or inner.get("torch_dtype") or inner.get("dtype")
    return FORMATS["fp32"] if dtype == "float32" else FORMATS["fp16"]


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= 2**20 else otherwise


def _compressed(written: Mapping[str, Any]) -> Format:
    groups = list(_object(written.get("config_groups")).values())
    weights = _object(_object(groups[0]).get("weights")) if groups else {}
    bits, group = _whole(weights.get("num_bits"), 8), _whole(weights.get("group_size"), 0)
    if weights.get("type") == "float":
        return FORMATS["nvfp4" if bits == 4 else "fp8"]
    return _grouped(bits, group)


def _grouped(bits: int, group: int) -> Format:
    base = FORMATS["int8" if bits >= 8 else "int4"]
    if group <= 0:
        return msgspec.structs.replace(base, bits=float(bits), group=0)
    # weights in groups are widened before they are multiplied; a group has 16 bits of scale, and as many of zero point
    return msgspec.structs.replace(base, bits=bits + 32 / group, group=group, arithmetic="bf16")
