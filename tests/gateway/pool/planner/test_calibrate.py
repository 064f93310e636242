"""What a running vLLM says of itself is read, whichever version says it, and takes the formulas' place."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pool.planner.calibrate import Live, Startup, read_log, read_metrics
from gateway.pool.planner.figures import GIB
from gateway.pool.planner.fit import Candidate, Wanted, calibrated, candidates, efficiency_from, nearest
from gateway.pool.planner.hardware import gpu_of, link_of
from gateway.pool.planner.known import known
from gateway.pool.planner.memory import weights_of
from gateway.pool.planner.quantisation import FORMATS
from gateway.pool.planner.rates import Machine
from gateway.simulator.vllm import Metrics, Vitals

# The words of 0.33 (v1/worker/gpu_worker.py, v1/core/kv_cache_utils.py), an 8B on an A100
NEW = """\
INFO 10-06 17:00:11 [model_runner.py:407] Model loading took 15.0 GiB memory and 5.420225 seconds
INFO 10-06 17:00:33 [gpu_worker.py:692] Available KV cache memory: 56.21 GiB
INFO 10-06 17:00:33 [kv_cache_utils.py:2464] GPU KV cache size: 460,496 tokens, Maximum concurrency for 131,072 tokens per request: 3.51x
INFO 10-06 17:00:41 [gpu_worker.py:955] Free memory on device (78.84/79.25 GiB) on startup. Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is 15.26 GiB for consumed memory (weights + non-torch), 1.44 GiB for peak activation, and 0.23 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with `--kv-cache-memory=60109551206` (55.98 GiB) to fit into requested memory, or `--kv-cache-memory=66493878272` (61.93 GiB) to fully utilize gpu memory. Current kv cache memory in use is 56.21 GiB.
"""  # noqa: E501

# The words of 0.11, on an H100: non-torch memory apart
OLD = """\
INFO 09-23 18:12:33 [gpu_worker.py:298] Available KV cache memory: 55.15 GiB
INFO 09-23 18:12:34 [kv_cache_utils.py:864] GPU KV cache size: 451,744 tokens
INFO 09-23 18:12:34 [kv_cache_utils.py:868] Maximum concurrency for 4,096 tokens per request: 110.29x
INFO 09-23 18:12:39 [gpu_worker.py:391] Free memory on device (78.66/79.19 GiB) on startup. Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 14.08 GiB for weight, 1.97 GiB for peak activation, 0.07 GiB for non-torch memory, and 0.67 GiB for CUDAGraph memory. Replace gpu_memory_utilization config with `--kv-cache-memory=58333988249` to fit into requested memory, or `--kv-cache-memory=66273897472` to fully utilize gpu memory. Current kv cache memory in use is 59212694937 bytes.
"""  # noqa: E501


def test_the_start_of_a_new_vllm_is_read() -> None:
    assert read_log(NEW.splitlines()) == Startup(
        weights=15.0, load_s=5.420225, memory=79.25, utilisation=0.92, consumed=15.26, activation=1.44, graphs=0.23,
        cache=56.21, cache_tokens=460_496, concurrency=3.51, concurrency_tokens=131_072, suggested_bytes=60_109_551_206,
    )  # fmt: skip


def test_the_start_of_an_old_one_is_read_with_what_it_says_apart_put_together() -> None:
    read = read_log(OLD.splitlines())
    assert read.consumed == pytest.approx(14.15)
    assert (read.cache_tokens, read.concurrency, read.concurrency_tokens) == (451_744, 110.29, 4096)
    assert read.cache_tokens is not None
    assert read.cache_tokens / 4096 == pytest.approx(110.29, rel=1e-3)


def test_of_several_ranks_the_fullest_counts_and_of_several_starts_the_last() -> None:
    ranks = [
        "(Worker_TP0) INFO Model loading took 33.1 GiB memory and 9.1 seconds",
        "(Worker_TP1) INFO Model loading took 32.9 GiB memory and 9.3 seconds",
        "(Worker_TP0) INFO Available KV cache memory: 37.2 GiB",
        "(Worker_TP1) INFO Available KV cache memory: 37.6 GiB",
    ]
    assert read_log(ranks) == Startup(weights=33.1, load_s=9.3, cache=37.2)
    again = [*ranks, "INFO Starting to load model x...", "INFO Model loading took 15.0 GiB memory and 1.0 seconds"]
    assert read_log(again) == Startup(weights=15.0, load_s=1.0)


def test_the_length_that_would_fit_is_read_where_vllm_refuses() -> None:
    line = (
        "ValueError: To serve at least one request with the models's max seq len (262144), (24.0 GiB KV cache is"
        " needed, which is larger than the available KV cache memory (3.18 GiB). Based on the available memory,"
        " the estimated maximum model length is 34736. Try increasing `gpu_memory_utilization`"
    )
    assert read_log([line]).longest == 34_736


@given(st.lists(st.text(max_size=120), max_size=20) | st.just(NEW[: len(NEW) // 2].splitlines()))
def test_any_text_is_read_without_a_fall(lines: list[str]) -> None:
    assert isinstance(read_log(lines), Startup)
    assert isinstance(read_metrics("\n".join(lines)), Live)


# -- metrics ------------------------------------------------------------------------------------------------------


def _page(prompt: int, generated: int, answers: int, engine: int = 0) -> str:
    label = f'{{model_name="m",engine="{engine}"}}'
    return "\n".join(
        f"vllm:{name}{label} {value}"
        for name, value in (
            ("num_requests_running", 24.0),
            ("prompt_tokens_total", prompt),
            ("generation_tokens_total", generated),
            ("prefix_cache_queries_total", prompt),
            ("prefix_cache_hits_total", prompt * 0.4),
            ("request_time_per_output_token_seconds_sum", answers * 0.02),
            ("request_time_per_output_token_seconds_count", answers),
            ("e2e_request_latency_seconds_count", answers),
        )
    )


def test_metrics_are_summed_over_ranks_and_meant_over_answers() -> None:
    live = read_metrics(_page(1000, 200, 2) + "\n" + _page(3000, 600, 2, engine=1))
    assert (live.running, live.input_tokens, live.output_tokens) == (48.0, 1000, 200)
    assert live.hit == pytest.approx(0.4)
    assert live.tpot_s == pytest.approx(0.02)
    assert live.decode_per_s is None  # one reading has no rate


def test_of_two_readings_what_lies_between_counts() -> None:
    live = read_metrics(_page(1000, 200, 2), _page(5000, 1200, 6), 10.0)
    assert (live.prefill_per_s, live.decode_per_s) == (400.0, 100.0)
    assert (live.input_tokens, live.output_tokens) == (1000.0, 250.0)


def test_the_simulators_page_is_read_as_vllms() -> None:
    page = Metrics().page("m", Vitals(3, 0, 0.0, 0.0)).decode()
    live = read_metrics(page)
    assert (live.cache_tokens, live.running) == (8192 * 16, 3.0)
    assert live.hit is None


# -- in place of formulas -----------------------------------------------------------------------------------------


def _found(count: int = 1) -> tuple[Wanted, list[Candidate]]:
    model = known("8b")[0]
    wanted = Wanted(model, FORMATS["fp16"], weights_of(model, FORMATS["fp16"]), 2.0)
    gpu = gpu_of("a100")
    return wanted, candidates(wanted, Machine(gpu, gpu.link, link_of("400g")), count)[0]


def test_what_was_measured_takes_the_place_of_what_was_reckoned() -> None:
    wanted, found = _found()
    best = calibrated(found[0], read_log(NEW.splitlines()), None, wanted.context)
    assert best.budget.cache == 56.21 * GIB
    assert best.budget.overhead.activation == 1.44 * GIB
    assert best.budget.overhead.context == pytest.approx(0.26 * GIB)
    assert best.sequences == pytest.approx(460_496 / 4096)
    assert best.budget.measured == {"usable", "weights", "context", "activation", "graphs", "cache", "tokens"}
    assert found[0].budget.measured == frozenset()


def test_a_log_tells_which_layout_it_is_of() -> None:
    _, found = _found(4)
    for tensor, gib in ((1, 15.0), (2, 7.5), (4, 3.76)):
        of = nearest([each for each in found if each.replica.layout.pipeline == 1], Startup(weights=gib))
        assert of is not None
        assert of.replica.layout.tensor == tensor


def test_metrics_tell_how_much_of_the_bandwidth_is_had() -> None:
    wanted, found = _found()
    bytes_read = found[0].replica.weights.total + 24 * 1100 * 131_072
    ideal = bytes_read / 2039e9
    had = efficiency_from(found[0], Live(running=24.0, tpot_s=ideal / 0.5), 1100)
    assert had is not None
    assert had.bandwidth == pytest.approx(0.5, rel=0.02)
    assert efficiency_from(found[0], Live(running=0.0, tpot_s=0.01), 1100) is None
    assert efficiency_from(found[0], Live(), wanted.context) is None
    assert msgspec.structs.replace(had, bandwidth=0.7).served == 1.0  # it was measured while it served
