"""Bytes: parameters, weights, KV, memory of a GPU, held against published figures and against logs of vLLM."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.planner.architecture import Architecture, active_of, parts_of
from gateway.pool.planner.figures import GIB
from gateway.pool.planner.hardware import Gpu, gpu_of
from gateway.pool.planner.known import KNOWN, known
from gateway.pool.planner.layout import Layout
from gateway.pool.planner.memory import (
    Budget,
    budget_of,
    cache_of,
    cache_per_gpu,
    engine_for,
    nominal_bytes,
    weights_of,
    weights_per_gpu,
)
from gateway.pool.planner.quantisation import FORMATS, format_of

# model, billions of parameters, GB in bf16 and fp8, KV bytes a token in bf16, GiB of 32k tokens: the design's table
TABLE = [
    ("llama-3-8b", 8.03, 16.1, 8.0, 131_072, 4.00),
    ("llama-3-70b", 70.55, 141.1, 70.5, 327_680, 10.00),
    ("llama-3.1-405b", 405.85, 811.7, 405.9, 516_096, 15.75),
    ("mixtral-8x7b", 46.7, 93.4, 46.7, 131_072, 4.00),
    ("qwen3-32b", 32.76, 65.5, 32.8, 262_144, 8.00),
    ("qwen3-235b-a22b", 235.1, 470, 235, 192_512, 5.88),
    ("glm-4.5", 355, 710, 355, 376_832, 11.50),
    ("deepseek-v3", 671, 1342, 671, 70_272, 2.14),
    ("glm-5", 744, 1488, 744, 89_856, 2.74),
]


def _model(name: str) -> Architecture:
    return known(name)[0]


def _latent_alone(model: Architecture) -> Architecture:
    """Without the keys of a sparse indexer, which the table leaves out."""
    return msgspec.structs.replace(model, index_heads=0)


@pytest.mark.parametrize(("name", "billions", "bf16", "fp8", "kv", "long"), TABLE, ids=lambda each: str(each))
def test_the_capacity_table_is_reproduced_to_one_percent(
    name: str, billions: float, bf16: float, fp8: float, kv: int, long: float
) -> None:
    model = _model(name)
    assert parts_of(model).total / 1e9 == pytest.approx(billions, rel=0.01)
    assert nominal_bytes(model, FORMATS["fp16"]) / 1e9 == pytest.approx(bf16, rel=0.01)
    assert nominal_bytes(model, FORMATS["fp8"]) / 1e9 == pytest.approx(fp8, rel=0.01)
    cache = cache_of(_latent_alone(model), 2.0)
    assert cache.per_token == kv
    assert cache.sequence(32_768) / GIB == pytest.approx(long, rel=0.01)


@pytest.mark.parametrize("name", KNOWN)
def test_every_known_model_has_the_parameters_that_it_is_published_with(name: str) -> None:
    model, published = _model(name), KNOWN[name]
    assert parts_of(model).total / 1e9 == pytest.approx(published.published, rel=0.01)
    active = active_of(model)
    if published.published_active != published.published:  # some count embedding and head among them, some do not
        within = (active - parts_of(model).embedding - parts_of(model).head, active)
        assert within[0] * 0.98 <= published.published_active * 1e9 <= within[1] * 1.02
    assert model.source.startswith(published.repository)


def test_a_latent_cache_in_fp8_is_656_bytes_a_layer_and_the_indexers_key() -> None:
    assert cache_of(_model("glm-5"), 1.0).per_token == 78 * (656 + 132)
    assert 78 * 656 == 51_168  # the design's table, without the indexer
    assert cache_of(_model("deepseek-v3"), 1.0).per_token == 61 * 576  # not sparse: a plain latent


def test_32_sequences_of_4k_of_a_70b_take_40_gib() -> None:
    assert 32 * cache_of(_model("70b"), 2.0).sequence(4096) / GIB == pytest.approx(40.0)


def test_a_window_caps_what_its_layers_keep() -> None:
    gemma = cache_of(_model("gemma-3-27b"), 2.0)
    full, windowed = 10, 52  # one full layer in six of 62
    layer = 2 * 16 * 128 * 2
    assert gemma.sequence(32_768) == layer * (full * 32_768 + windowed * 1024)
    assert gemma.sequence(512) == layer * 62 * 512


def test_a_sequence_takes_whole_blocks() -> None:
    cache = cache_of(_model("8b"), 2.0)
    assert cache.sequence(1) == cache.sequence(16) == 16 * 131_072
    assert cache.sequence(17) == 32 * 131_072


# -- weights as they are loaded -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form", "gib", "source"),
    [
        ("70b", "int8", 67.7229, "vllm-project/vllm#12569: Loading model weights took 67.7229 GB, on one GPU"),
        ("gpt-oss-120b", "mxfp4", 60.8, "OpenAI's model card of gpt-oss: checkpoint of 60.8 GiB"),
        ("gpt-oss-20b", "mxfp4", 12.8, "the same: 12.8 GiB"),
        ("8b", "fp16", 15.0, "a log of 0.33: Model loading took 15.0 GiB"),
        ("glm-5", "fp16", 1506.659e9 / 2**30, "index of GLM-5.2, with a layer that predicts further tokens"),
    ],
)
def test_weights_take_what_is_published(name: str, form: str, gib: float, source: str) -> None:
    assert weights_of(_model(name), format_of(form)).total / GIB == pytest.approx(gib, rel=0.02), source


def test_eight_gpus_hold_89_of_a_glm_5_in_fp8_each() -> None:
    """Vultr's cookbook: about 89 GB per GPU; what MLA and the indexer have every rank hold is 2 of them."""
    model = _model("glm-5")
    held = weights_per_gpu(weights_of(model, FORMATS["fp8"]), model, Layout(8))
    assert held / GIB == pytest.approx(89, rel=0.01)
    assert held > weights_of(model, FORMATS["fp8"]).total / 8


@given(
    st.sampled_from(sorted(KNOWN)),
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from([1, 2, 4]),
)
def test_more_gpus_never_hold_more_each(name: str, form: str, tensor: int, pipeline: int) -> None:
    model = _model(name)
    weights = weights_of(model, FORMATS[form])
    one = weights_per_gpu(weights, model, Layout(tensor, pipeline))
    assert weights_per_gpu(weights, model, Layout(tensor * 2, pipeline)) < one
    assert weights_per_gpu(weights, model, Layout(tensor, pipeline * 2)) < one
    assert one * tensor * pipeline >= weights.total * 0.98  # what a stage's ends weigh is counted where they are
    assert weights_per_gpu(weights, model, Layout()) == pytest.approx(weights.total)


def test_key_value_heads_are_repeated_beyond_their_number_and_a_latent_always() -> None:
    qwen = _model("qwen3-235b-a22b")  # 4 key-value heads
    four, eight = (cache_per_gpu(qwen, 2.0, Layout(tensor)).per_token for tensor in (4, 8))
    assert four == eight == cache_of(qwen, 2.0).per_token / 4
    deepseek = _model("deepseek-v3")
    assert cache_per_gpu(deepseek, 2.0, Layout(8)).per_token == cache_of(deepseek, 2.0).per_token
    assert cache_per_gpu(deepseek, 2.0, Layout(experts=8)).per_token == cache_of(deepseek, 2.0).per_token / 8


# -- a GPU's memory -----------------------------------------------------------------------------------------------


def _budget(name: str, form: str, gpu: Gpu, tensor: int) -> Budget:
    model = _model(name)
    return budget_of(model, weights_of(model, FORMATS[form]), 2.0, gpu, Layout(tensor), engine_for(gpu))


def _whole(gpu: Gpu) -> Gpu:
    """With the 80 GiB on its box, as the design's fit checks reckon; its driver reports 79.2."""
    return msgspec.structs.replace(gpu, memory_bytes=gpu.memory_gb * GIB)


@pytest.mark.parametrize(
    ("name", "form", "tensor", "kv_gib", "tokens"),
    [("70b", "fp16", 4, 153, 503_000), ("8b", "fp16", 1, 56, 461_000)],
)
def test_the_fit_checks_are_reproduced_to_one_percent(
    name: str, form: str, tensor: int, kv_gib: float, tokens: int
) -> None:
    gpu = gpu_of("h100")
    budget = _budget(name, form, _whole(gpu), tensor)
    assert budget.cache * tensor / GIB == pytest.approx(kv_gib, rel=0.012)
    assert budget.tokens(4096) == pytest.approx(tokens, rel=0.01)
    assert _budget(name, form, gpu, tensor).tokens(4096) == pytest.approx(tokens, rel=0.03)


def test_a_70b_in_plain_fp8_on_two_h100_leaves_77_gib() -> None:
    """The design takes a byte a weight; checkpoints leave embeddings and head in two, which is 2 GiB less for KV."""
    gpu, model = _whole(gpu_of("h100")), _model("70b")
    plain = msgspec.structs.replace(FORMATS["fp8"], bits=8, rest_bits=8)
    budget = budget_of(model, weights_of(model, plain), 2.0, gpu, Layout(2), engine_for(gpu))
    assert budget.cache * 2 / GIB == pytest.approx(77, rel=0.01)
    assert budget.tokens(4096) == pytest.approx(251_000, rel=0.01)
    published = _budget("70b", "fp8", gpu, 2)
    assert 1.5 < (budget.cache - published.cache) * 2 / GIB < 2.5


def test_a_glm_5_in_fp8_on_eight_h200_leaves_37_gib_on_each() -> None:
    model, gpu = _latent_alone(_model("glm-5")), gpu_of("h200")
    budget = _budget("glm-5", "fp8", gpu, 8)
    assert budget.cache / GIB == pytest.approx(37, rel=0.01)
    assert budget.cache / cache_of(model, 2.0).per_token == pytest.approx(450_000, rel=0.02)


def test_an_8b_on_an_a100_is_within_one_percent_of_what_vllm_found() -> None:
    """A log of 0.33, 79.25 GiB: Available KV cache memory 56.21 GiB, GPU KV cache size 460,496 tokens."""
    budget = _budget("8b", "fp16", gpu_of("a100"), 1)
    assert budget.cache / GIB == pytest.approx(56.21, rel=0.01)
    assert budget.tokens(131_072) == pytest.approx(460_496, rel=0.01)


def test_vllms_defaults_go_by_the_gpu() -> None:
    assert [engine_for(gpu_of(name)).batched_tokens for name in ("b200", "h100", "a100", "l4")] == [
        16384,
        8192,
        2048,
        2048,
    ]
