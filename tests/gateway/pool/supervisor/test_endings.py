"""Why a replica ended, by what vLLM and its libraries say."""

from __future__ import annotations

import pytest

from gateway.pool.supervisor.endings import Kind, ending_of
from gateway.pool.supervisor.restarts import CRASHES, Restarts

# (a line, the kind, a part of the words)
SAID = [
    (
        "ValueError: To serve at least one request with the models's max seq len (65536), (8.0 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (4.0 GiB). Based on the available memory, the estimated "
        "maximum model length is 32752. Try increasing `gpu_memory_utilization`",
        Kind.CONFIG,
        "try --max-model-len 32752",
    ),
    ("ValueError: No available memory for the cache blocks. Try increasing", Kind.CONFIG, "no memory is left"),
    (
        "ValueError: Free memory on device cuda:0 (9.1/79.2 GiB) on startup is less than desired GPU memory",
        Kind.PASSING,
        "9.1 of 79.2 GiB are free",
    ),
    ("AssertionError: Error in memory profiling. Initial free memory 70.1 GiB", Kind.PASSING, "used the GPU's memory"),
    ("OSError: [Errno 98] Address already in use", Kind.PASSING, "port"),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        Kind.MEMORY,
        "the GPU's memory ran out",
    ),
    (
        "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: x) Cannot access gated repo",
        Kind.CONFIG,
        "`env: {HF_TOKEN: …}`",
    ),
    (
        "OSError: nobody/nothing is not a local folder and is not a valid model identifier listed on",
        Kind.CONFIG,
        "there is no such model",
    ),
    ("huggingface_hub.errors.HfHubHTTPError: 503 Server Error", Kind.PASSING, "the hub does not answer"),
    (
        "ValueError: Model architectures ['MyLM'] are not supported for now. Supported architectures: dict_keys",
        Kind.CONFIG,
        "this vLLM does not know ['MyLM']",
    ),
    ("vllm serve: error: unrecognized arguments: --max-modle-len 5", Kind.CONFIG, "--max-modle-len"),
    (
        "vllm serve: error: argument --max-num-seqs: invalid int value: 'many'",
        Kind.CONFIG,
        "vLLM refuses a flag: argument --max-num-seqs: invalid int value",
    ),
    ("ValueError: something of its own", Kind.CRASH, "ValueError: something of its own"),
]


@pytest.mark.parametrize(("line", "kind", "words"), SAID)
def test_an_ending_in_a_start_is_told_by_what_was_said(line: str, kind: Kind, words: str) -> None:
    lines = [
        "(EngineCore pid=7) INFO 11-27 [core.py:1] Starting to load model x...",
        f"(EngineCore pid=7) ERROR 11-27 [core.py:1] {line}",
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
    ]
    ending = ending_of(lines, 1, was_ready=False)
    assert ending.kind is kind
    assert words in str(ending)


def test_what_pydantic_refuses_is_told_with_its_reason() -> None:
    lines = [
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig",
        "  Value error, User-specified max_model_len (99999) is greater than the derived max_model_len [type=x]",
    ]
    ending = ending_of(lines, 1, was_ready=False)
    assert ending.kind is Kind.CONFIG
    assert str(ending) == (
        "vLLM refuses its ModelConfig: User-specified max_model_len (99999) is greater than the derived max_model_len"
    )


def test_one_that_served_is_not_quoted() -> None:
    ending = ending_of(["ERROR ValueError: the prompt of somebody"], 1, was_ready=True)
    assert (ending.kind, str(ending)) == (Kind.CRASH, "it ended by itself with status 1")


@pytest.mark.parametrize(
    ("status", "oom_killed", "kind", "words"),
    [
        (-9, False, Kind.CRASH, "it was killed by signal 9"),
        (-9, True, Kind.MEMORY, "the machine's memory ran out"),
        (0, False, Kind.CRASH, "it ended by itself with status 0"),
        (None, False, Kind.CRASH, "its engine died"),
    ],
)
def test_an_ending_without_words_is_told_by_how_it_came(
    status: int | None, oom_killed: bool, kind: Kind, words: str
) -> None:
    ending = ending_of(["nothing"], status, was_ready=True, oom_killed=oom_killed)
    assert (ending.kind, ending.why) == (kind, words)


def test_waits_double_to_a_minute_with_some_jitter() -> None:
    restarts = Restarts()
    waits = [restarts.after(Kind.PASSING, 1000.0 * number, 1.0) for number in range(9)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert Restarts().after(Kind.PASSING, 0.0, 0.0) == 0.75


def test_more_than_five_crashes_in_ten_minutes_are_a_loop_and_fewer_are_none() -> None:
    loop, slow = Restarts(), Restarts()
    assert [loop.after(Kind.CRASH, 60.0 * number, 0.5) is None for number in range(CRASHES + 1)] == [False] * 5 + [True]
    assert all(slow.after(Kind.CRASH, 130.0 * number, 0.5) is not None for number in range(20))


def test_a_config_is_not_tried_again_and_memory_once() -> None:
    assert Restarts().after(Kind.CONFIG, 0.0, 0.5) is None
    restarts = Restarts()
    assert restarts.after(Kind.MEMORY, 0.0, 0.5) is not None
    assert restarts.after(Kind.MEMORY, 9.0, 0.5) is None


def test_ten_minutes_of_service_make_good() -> None:
    restarts = Restarts()
    for number in range(CRASHES):
        restarts.after(Kind.CRASH, float(number), 1.0)
    restarts.served(599.0)
    restarts.served(600.0)
    assert restarts.after(Kind.CRASH, 20.0, 1.0) == 1.0
