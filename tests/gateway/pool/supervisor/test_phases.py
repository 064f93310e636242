"""How far a start is: lines of vLLM 0.32 on a CPU and of 0.33 on a GPU; the time that it may still take."""

from __future__ import annotations

import pytest

from gateway.pool.states import Phase
from gateway.pool.supervisor.phases import Start, phase_of, tells_of_death

LINES = [
    ("(APIServer pid=1) INFO 11-27 20:57:54 [api_utils.py:286] non-default args: {'port': 57605}", None),
    (
        "(EngineCore pid=2) INFO 11-27 20:59:18 [core.py:133] Initializing a V1 LLM engine (v0.32.0) with config: x",
        None,
    ),
    ("(Worker pid=3) INFO 11-27 21:00:05 [cpu_model_runner.py:68] Starting to load model ./tiny...", Phase.LOADING),
    ("Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00, 32.98it/s]", None),
    ("(Worker pid=3) INFO 11-27 21:00:06 [default_loader.py:501] Loading weights took 0.04 seconds", Phase.PROFILING),
    ("(Worker pid=3) INFO [gpu_model_runner.py:1] Model loading took 15.0 GiB memory and 1.5 seconds", Phase.PROFILING),
    ("(EngineCore pid=2) INFO [kv_cache_utils.py:2327] CPU KV cache size: 524,288 tokens, Maximum", Phase.CAPTURING),
    ("(EngineCore_DP0 pid=2) INFO [kv_cache_utils.py:1] GPU KV cache size: 308,224 tokens, Max", Phase.CAPTURING),
    ("(APIServer pid=1) INFO [entry.py:140] Starting vLLM server on http://127.0.0.1:57605", Phase.WARMING),
    ("(APIServer pid=1) INFO:     Application startup complete.", Phase.WARMING),
]


@pytest.mark.parametrize(("line", "phase"), LINES)
def test_a_line_begins_a_phase_or_none(line: str, phase: Phase | None) -> None:
    assert phase_of(line) is phase
    assert not tells_of_death(line)


@pytest.mark.parametrize(
    "line",
    [
        "ERROR 11-27 [core.py:1510] EngineCore failed to start.",
        "RuntimeError: Engine core initialization failed. See root cause above.",
        "ERROR [core.py:1512] EngineCore encountered a fatal error.",
        "ERROR [multiproc_executor.py:316] Worker proc VllmWorker-0 died unexpectedly (exit code: -9), shutting down",
    ],
)
def test_a_line_tells_of_death(line: str) -> None:
    assert tells_of_death(line)


def test_a_start_goes_on_and_never_back() -> None:
    start = Start(100.0)
    assert start.reach(Phase.LOADING, 110.0)
    assert start.reach(Phase.CAPTURING, 130.0)
    assert not start.reach(Phase.PROFILING, 131.0)
    assert not start.reach(Phase.CAPTURING, 132.0)
    assert start.lasted(140.0) == {"starting": 10.0, "loading": 20.0, "capturing": 10.0}


def test_what_is_left_goes_by_the_last_start() -> None:
    last = {"starting": 10.0, "loading": 60.0, "profiling": 20.0, "capturing": 5.0, "warming": 5.0}
    start = Start(0.0)
    assert start.left_s(last, 0.0) == 100.0
    assert start.progress(last, 4.0) == 0.04
    start.reach(Phase.LOADING, 8.0)
    assert start.left_s(last, 38.0) == 60.0
    assert start.left_s(last, 200.0) == 30.0  # late; what follows still takes its time
    assert start.progress(last, 38.0) == 38 / 98


def test_a_first_start_has_steps_and_no_end_in_sight() -> None:
    start = Start(0.0)
    assert (start.left_s({}, 5.0), start.progress({}, 5.0)) == (None, 0.0)
    start.reach(Phase.PROFILING, 9.0)
    assert start.progress({}, 10.0) == 0.4
