"""Configs and headers as people have them: whatever stands in them, they are read or refused in words."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.planner.architecture import Architecture, BadModel, architecture_of, parts_of
from gateway.pool.planner.checkpoint import Checkpoint, header_length, read_headers
from gateway.pool.planner.known import KNOWN, known
from gateway.pool.planner.memory import cache_of, weights_in, weights_of
from gateway.pool.planner.quantisation import FORMATS, Format, UnknownWord, cache_bytes, format_in, format_of

BASE: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "vocab_size": 128,
    "intermediate_size": 256,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted({*BASE, *(field for model in KNOWN.values() for field in model.config), "text_config", "layer_types",
                 "mlp_only_layers", "full_attention_interval", "moe_layer_freq", "dtype"})  # fmt: skip


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.booleans())
def test_any_config_is_read_or_refused_in_words(changes: dict[str, Any], complete: bool) -> None:
    config = (BASE if complete else {}) | changes
    form = format_in(config)
    try:
        model = architecture_of(config)
    except BadModel as error:
        why = str(error)
    else:
        _is_sound(model, form)
        return
    assert why


def _is_sound(model: Architecture, form: Format) -> None:
    assert parts_of(model).total > 0
    assert weights_of(model, form).total > 0
    assert cache_of(model, 2.0).sequence(100) >= 0


def test_the_text_part_of_a_multimodal_config_counts() -> None:
    inner = architecture_of({"text_config": BASE, "vision_config": {"hidden_size": 9}, "model_type": "mllama"})
    assert inner.hidden == 64
    assert parts_of(inner) == parts_of(architecture_of(BASE))


def test_grouped_queries_windows_and_states_are_read() -> None:
    model = architecture_of(
        BASE
        | {
            "num_key_value_heads": 2,
            "sliding_window": 32,
            "layer_types": ["sliding_attention"] * 3 + ["linear_attention"] * 2 + ["full_attention"],
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 16,
        }
    )
    cache = cache_of(model, 2.0)
    layer = 2 * 2 * 16 * 2
    assert (cache.per_token, cache.per_window_token, cache.window) == (layer, 3 * layer, 32)
    assert cache.constant == 2 * 4 * 8 * 16 * 2  # as large for one token as for a million
    assert cache.sequence(16_000) == 16_000 * layer + 32 * 3 * layer + cache.constant


@pytest.mark.parametrize(
    ("written", "dense"),
    [
        ({"first_k_dense_replace": 1}, 1),
        ({"moe_layer_freq": [0, 0, 1, 1, 1, 1]}, 2),
        ({"mlp_layer_types": ["dense"] * 3 + ["sparse"] * 3}, 3),
        ({"mlp_only_layers": [0]}, 1),
        ({"decoder_sparse_step": 2}, 3),
        ({}, 0),
    ],
)
def test_layers_that_do_not_route_are_told_apart(written: dict[str, Any], dense: int) -> None:
    mixture = BASE | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32} | written
    assert architecture_of(mixture).dense_layers == dense


@pytest.mark.parametrize(
    ("config", "name", "bits", "group"),
    [
        ({}, "fp16", 16, 0),
        ({"torch_dtype": "float32"}, "fp32", 32, 0),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}, "fp8", 8.02, 128),
        ({"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}, "int4", 4.25, 128),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": -1}}, "int8", 8.25, 128),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4", 4.25, 0),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4", 4.5, 16),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int", "group_size": 32}}},
                }
            },
            "int4",
            5.0,
            32,
        ),
    ],
)
def test_the_format_that_a_checkpoint_says_is_taken(config: dict[str, Any], name: str, bits: float, group: int) -> None:
    form = format_in(config)
    assert (form.name, form.group) == (name, group)
    assert form.bits == pytest.approx(bits)


@pytest.mark.parametrize("word", ["glm5", "llama-70", "mixtrl-8x7b"])
def test_an_unknown_model_is_told_with_the_nearest(word: str) -> None:
    with pytest.raises(UnknownWord, match=r"did you mean|Known are"):
        known(word)


def test_unknown_formats_are_told_with_those_there_are() -> None:
    with pytest.raises(UnknownWord, match="did you mean fp8"):
        format_of("fp88")
    with pytest.raises(UnknownWord, match="nvfp4"):
        cache_bytes("int3")
    assert format_of("bf16") is FORMATS["fp16"]


def test_a_model_answers_to_its_repository_and_its_short_names() -> None:
    assert known("Qwen/Qwen3-32B")[0] == known("32b")[0] == known("qwen3-32b")[0]
    assert known("745b")[0].name == "glm-5"


# -- safetensors --------------------------------------------------------------------------------------------------


def _header(tensors: dict[str, int]) -> bytes:
    made, at = {"__metadata__": {"format": "pt"}}, 0
    for name, size in tensors.items():
        made[name] = {"dtype": "BF16", "shape": [size // 2], "data_offsets": [at, at + size]}  # type: ignore[dict-item]
        at += size
    return msgspec.json.encode(made)


def test_headers_say_exactly_what_is_loaded() -> None:
    files = [
        _header({"model.embed_tokens.weight": 100, "model.layers.0.self_attn.q_proj.weight": 40}),
        _header({"model.layers.1.mlp.experts.3.up_proj.weight": 30, "lm_head.weight": 100, "model.norm.weight": 2}),
        _header({"model.layers.2.eh_proj.weight": 500}),  # of a model of two layers: it predicts further tokens
    ]
    read = read_headers(files, layers=2)
    assert read == Checkpoint(embedding=100, head=100, experts=30, rest=42, extra=500, files=3)
    assert read.total == 272


def test_a_checkpoint_takes_the_place_of_the_formula_and_keeps_its_shares() -> None:
    model: Architecture = known("8b")[0]
    guess = weights_of(model, FORMATS["fp16"])
    rest = guess.split + guess.key_value + guess.held
    exact = weights_in(Checkpoint(int(guess.embedding), int(guess.head), 0, int(rest * 1.01)), model, FORMATS["fp16"])
    assert exact.exact
    assert exact.total == pytest.approx(guess.embedding + guess.head + rest * 1.01)
    assert exact.key_value / exact.split == pytest.approx(guess.key_value / guess.split)


@pytest.mark.parametrize("prefix", [b"", b"1234567", struct.pack("<Q", 1), struct.pack("<Q", 2**62)])
def test_what_is_no_header_is_refused(prefix: bytes) -> None:
    with pytest.raises(BadModel):
        header_length(prefix)


@given(st.binary(max_size=40) | JSON.map(msgspec.json.encode))
def test_a_broken_header_is_refused_in_words(header: bytes) -> None:
    try:
        said = f"{read_headers([header], 2).total:d} bytes"
    except BadModel as error:
        said = str(error)
    assert said
