"""Speed and layouts, held against published figures; what is refused, and with which numbers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.planner.fit import Candidate, Wanted, candidates, fewest, judge, usual_machine
from gateway.pool.planner.hardware import GPUS, gpu_of, link_of
from gateway.pool.planner.known import known
from gateway.pool.planner.layout import Layout, Refusal, layouts, refused
from gateway.pool.planner.load import load_of
from gateway.pool.planner.memory import engine_for, weights_of
from gateway.pool.planner.money import mixed_rate
from gateway.pool.planner.quantisation import FORMATS, UnknownWord, format_of
from gateway.pool.planner.rates import (
    CEILING,
    SERVED_ERROR,
    USUAL,
    Efficiency,
    Machine,
    Replica,
    decode_step,
    largest_batch,
    prefill_rate,
    prefill_step,
    reduce_bytes,
    touched_bytes,
)
from gateway.pool.planner.report import capacity_of

NETWORK = link_of("400g")


def _replica(name: str, form: str, gpu: str, layout: Layout, link: str | None = None) -> Replica:
    model, on = known(name)[0], gpu_of(gpu)
    machine = Machine(on, link_of(link) if link else on.link, NETWORK)
    weights = weights_of(model, format_of(form))
    return Replica(model, format_of(form), weights, 2.0, machine, layout, engine_for(on))


def _wanted(name: str, form: str, context: int = 4096, concurrency: int = 32, tpot_s: float = 0.05) -> Wanted:
    model = known(name)[0]
    return Wanted(model, format_of(form), weights_of(model, format_of(form)), 2.0, context, concurrency, tpot_s)


# -- decode -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gpu", "gpus", "per_s"),
    [("70b", "h100", 4, 95), ("8b", "h100", 1, 209), ("8b", "l4", 1, 19), ("70b", "a100", 1, 14.4)],
)
def test_one_stream_is_no_faster_than_its_weights_can_be_read(name: str, gpu: str, gpus: int, per_s: float) -> None:
    """The design's ceilings; 14 tokens/s is what a 70B in fp16 gets of one A100's bandwidth."""
    replica = _replica(name, "fp16", gpu, Layout(gpus))
    assert GPUS[gpu].bandwidth_gb_s * 1e9 / touched_bytes(replica, 1) == pytest.approx(per_s, rel=0.02)


@pytest.mark.parametrize(("batch", "ms", "per_s"), [(64, 13.7, 4660), (256, 23.4, 10_963)])
def test_a_batch_reads_weights_once_and_every_sequences_kv(batch: int, ms: float, per_s: float) -> None:
    step = decode_step(_replica("70b", "fp16", "h100", Layout(4)), batch, 2048, CEILING)
    assert step.memory_s * 1e3 == pytest.approx(ms, rel=0.01)
    assert batch / step.memory_s == pytest.approx(per_s, rel=0.01)
    assert step.bound == "memory bandwidth"


def test_one_stream_of_an_8b_on_an_a100_is_what_was_measured() -> None:
    """Musgrave 2026, vLLM 0.23 on an A100 of 40 GB: about 75 tokens/s, 77 % of the ceiling."""
    measured = decode_step(_replica("8b", "fp16", "a100-40", Layout()), 1, 1088, USUAL)
    assert 1 / measured.total_s == pytest.approx(75, rel=0.15)


def test_few_tokens_touch_few_experts_and_many_nearly_all() -> None:
    replica = _replica("glm-5", "fp8", "h200", Layout(8))
    whole = touched_bytes(replica, 10_000)
    assert touched_bytes(replica, 1) < whole / 8
    assert touched_bytes(replica, 64) > whole * 0.85


@given(
    st.floats(1, 500),
    st.floats(16, 30_000),
    st.sampled_from([1, 2, 4, 8]),
    st.sampled_from(["70b", "glm-5", "gemma-3-27b"]),
)
def test_more_sequences_and_longer_ones_never_make_a_step_shorter(
    batch: float, context: float, tensor: int, name: str
) -> None:
    replica = _replica(name, "fp8", "h200", Layout(tensor))
    step = decode_step(replica, batch, context).total_s
    assert decode_step(replica, batch + 1, context).total_s >= step
    assert decode_step(replica, batch, context + 100).total_s >= step
    assert decode_step(replica, batch, context, CEILING).total_s <= step


@given(st.floats(0.005, 0.5))
def test_the_largest_batch_keeps_within_the_wanted_time(tpot_s: float) -> None:
    replica = _replica("70b", "fp16", "h100", Layout(4))
    batch = largest_batch(replica, 2048, 400, tpot_s)
    assert batch == 1 or decode_step(replica, batch, 2048).total_s <= tpot_s
    assert batch == 400 or decode_step(replica, batch + 1, 2048).total_s > tpot_s


# -- prefill ------------------------------------------------------------------------------------------------------


def test_prefill_of_a_32b_on_two_h100_is_the_published_figure() -> None:
    """llm-d measured 15,928 tokens/s at its best; the formula says 15,095 at half of the arithmetic."""
    replica = _replica("qwen3-32b", "fp16", "h100", Layout(2))
    half = prefill_step(replica, 8192, 0, Efficiency(arithmetic=0.5))
    assert 8192 / half.arithmetic_s == pytest.approx(15_095, rel=0.01)
    assert 8192 / half.arithmetic_s == pytest.approx(15_928, rel=0.06)
    assert prefill_rate(replica, 1000) < 8192 / half.arithmetic_s


@pytest.mark.parametrize(
    ("name", "form", "gpu", "layout", "measured"),
    [
        ("qwen3-32b", "fp16", "a100", Layout(1), 1731),
        ("qwen3-32b", "fp16", "h100", Layout(1), 2353),
        ("qwen3-32b", "fp8", "h100", Layout(1), 4285),
        ("gpt-oss-120b", "mxfp4", "h100", Layout(2), 16_042),
    ],
)
def test_served_totals_lie_within_the_error_of_what_was_measured(
    name: str, form: str, gpu: str, layout: Layout, measured: float
) -> None:
    """GPUStack's performance lab at vLLM's defaults: ShareGPT, some 220 tokens in and 200 out, both together."""
    wanted, load = _wanted(name, form, 320, 10_000, 0.2), load_of("220:200:1")
    judged = judge(wanted, Machine(gpu_of(gpu), gpu_of(gpu).link, NETWORK), layout, 1)
    assert isinstance(judged, Candidate)
    rate = mixed_rate(capacity_of(judged, wanted, load, USUAL), load)
    assert rate * (1 - SERVED_ERROR) <= measured <= rate * (1 + SERVED_ERROR)


# -- layouts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "form", "layout", "says", "source"),
    [
        ("qwen3-235b-a22b", "fp8", Layout(8), "1,536 / 8 = 192 is no multiple of 128", "vllm-project/vllm#17569"),
        ("qwen2.5-72b", "int4", Layout(2), "29,568 / 2 = 14,784 is no multiple of 128", "vllm-project/vllm#13640"),
        ("deepseek-v3", "fp8", Layout(32), "18,432 / 32 = 576 is no multiple of 128", "sgl-project/sglang#3345"),
        ("llama-2-13b", "fp16", Layout(16), "40 attention heads cannot be dealt to 16 GPUs", "40 heads"),
        ("qwen2.5-7b", "fp16", Layout(8), "28 attention heads", "28 heads"),
        ("glm-4.5", "fp16", Layout(experts=64), "160 experts", "160 experts"),
    ],
)
def test_what_vllm_refuses_is_refused_beforehand(name: str, form: str, layout: Layout, says: str, source: str) -> None:
    refusal = refused(known(name)[0], FORMATS[form], layout)
    assert refusal is not None, source
    assert says in refusal.why


@pytest.mark.parametrize(
    ("name", "form", "layout"),
    [
        ("qwen3-235b-a22b", "fp8", Layout(4)),
        ("70b", "int4", Layout(8)),
        ("glm-5", "fp8", Layout(8)),
        ("glm-5", "fp8", Layout(experts=16)),
        ("gpt-oss-120b", "mxfp4", Layout(8)),
        ("qwen3-30b-a3b", "fp16", Layout(8)),  # 4 key-value heads, each held by two
    ],
)
def test_what_people_run_is_not_refused(name: str, form: str, layout: Layout) -> None:
    assert refused(known(name)[0], FORMATS[form], layout) is None


@given(st.sampled_from(["8b", "70b", "glm-5", "gpt-oss-120b"]), st.integers(1, 64), st.integers(1, 16))
def test_layouts_use_no_more_gpus_than_there_are_and_split_tensors_within_a_node(
    name: str, gpus: int, node: int
) -> None:
    found = list(layouts(known(name)[0], gpus, node))
    assert found
    assert len(set(found)) == len(found)
    for layout in found:
        assert layout.gpus <= gpus
        assert layout.tensor <= node


def test_tensors_are_not_split_over_25_gigabits_and_the_reason_has_its_numbers() -> None:
    gpu = gpu_of("a10g")
    found, refusals = candidates(_wanted("70b", "fp16"), Machine(gpu, link_of("25g"), NETWORK), 8)
    assert [each.replica.layout.name for each in found] == ["TP1×PP8"]
    refusal = next(each for each in refusals if each.layout == Layout(8))
    assert refusal.rule == "link"
    assert "4.59 MB in 160 all-reduces; over 3.12 GB/s" in refusal.why
    # over PCIe in one box nobody waits so long
    inside, _ = candidates(_wanted("70b", "fp16"), Machine(gpu, gpu.link, NETWORK), 8)
    assert Layout(8) in [each.replica.layout for each in inside]


def test_eight_a10g_over_25_gigabits_do_a_fraction() -> None:
    slow, fast = (_replica("70b", "fp16", "a10g", Layout(8), link) for link in ("25g", "pcie4"))
    assert reduce_bytes(slow.model, 8) == 2 * 80 * 2 * 7 / 8 * 8192 * 2
    assert prefill_rate(slow, 4096) / prefill_rate(fast, 4096) < 0.35
    shares = decode_step(slow, 32, 4096), decode_step(fast, 32, 4096)
    assert shares[1].total_s / shares[0].total_s < 0.6
    assert shares[0].bound == "the link"


def test_a_link_is_read_by_its_name_or_by_its_gigabits() -> None:
    assert link_of("25g").one_way_gb_s == pytest.approx(3.125)
    assert link_of("100Gb/s").network
    assert link_of("nvlink").one_way_gb_s == 450
    with pytest.raises(UnknownWord, match="pcie4"):
        link_of("pcie6")


@pytest.mark.parametrize(
    ("name", "form", "gpu", "gpus"),
    [
        ("13b", "fp16", "a100", 1),
        ("13b", "fp32", "a100", 1),
        ("13b", "int4", "a10g", 1),
        ("70b", "fp32", "h100", 4),
        ("70b", "fp16", "h100", 2),  # at tiny KV
        ("70b", "fp8", "h100", 1),  # barely
        ("70b", "int4", "l40s", 1),
        ("405b", "fp16", "h100", 16),
        ("405b", "fp16", "h200", 8),
        ("405b", "fp8", "h100", 8),
        ("745b", "fp8", "h200", 8),
        ("745b", "int4", "h100", 8),
        ("745b", "fp16", "b200", 16),
    ],
)
def test_the_fewest_gpus_that_run_it_at_all(name: str, form: str, gpu: str, gpus: int) -> None:
    found = fewest(_wanted(name, form, concurrency=1), usual_machine(gpu_of(gpu)))
    assert found is not None
    assert found.replica.layout.gpus == gpus


def test_what_does_not_fit_is_refused_with_the_bytes() -> None:
    judged = judge(_wanted("70b", "fp16"), Machine(gpu_of("h100"), gpu_of("h100").link, NETWORK), Layout(), 1)
    assert isinstance(judged, Refusal)
    assert judged.rule == "memory"
    assert "weights 131.4" in judged.why
    assert "72.9 GiB usable" in judged.why
    assert fewest(_wanted("745b", "fp32"), usual_machine(gpu_of("l4"))) is None


@given(st.sampled_from(["8b", "13b", "70b", "gpt-oss-120b"]), st.integers(1, 16), st.integers(16, 40_000))
def test_what_is_said_to_fit_does(name: str, count: int, context: int) -> None:
    gpu = gpu_of("h100")
    wanted = _wanted(name, "fp16", context)
    found, refusals = candidates(wanted, Machine(gpu, gpu.link, NETWORK), count)
    for each in found:
        budget = each.budget
        assert each.replicas * each.replica.layout.gpus <= count
        assert budget.weights + budget.overhead.total + budget.per_gpu.sequence(context) * each.sequences <= (
            budget.usable * 1.000001
        )
        assert each.batch <= max(1, each.sequences)
    assert len(found) + len(refusals) == len(list(layouts(wanted.model, count, 8)))


def test_a_measured_efficiency_changes_the_step() -> None:
    replica = _replica("8b", "fp16", "a100", Layout())
    slower = msgspec.structs.replace(USUAL, bandwidth=0.35)
    assert decode_step(replica, 1, 100, slower).memory_s == pytest.approx(2 * decode_step(replica, 1, 100).memory_s)
