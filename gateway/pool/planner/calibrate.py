"""What a running vLLM says of itself: the lines of its start, and its metrics; measured figures in place of formulas.

The lines are vLLM's, 0.8 to 0.33 (v1/worker/gpu_worker.py, v1/core/kv_cache_utils.py, v1/worker/gpu_model_runner.py).
Ranks of a tensor group each write theirs: the largest weights and the smallest cache hold for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec


class Startup(msgspec.Struct, frozen=True):
    """Figures of a start-up log, in GiB per GPU; None where it has none.

    `consumed` is weights and what CUDA and NCCL hold, `activation` the peak of the profile run, `graphs` CUDA graphs.
    `suggested_bytes` is vLLM's own --kv-cache-memory; `longest` the model length it says would fit.
    """

    weights: float | None = None
    load_s: float | None = None
    memory: float | None = None
    utilisation: float | None = None
    consumed: float | None = None
    activation: float | None = None
    graphs: float | None = None
    cache: float | None = None
    cache_tokens: int | None = None
    concurrency: float | None = None
    concurrency_tokens: int | None = None
    suggested_bytes: int | None = None
    longest: int | None = None


_NUMBER: Final = r"([\d.,]+)"
# pattern -> fields, and which of several lines holds
_LINES: Final[tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = (
    (re.compile(rf"Model loading took {_NUMBER} Gi?B(?: memory)? and {_NUMBER} seconds"), ("weights", "load_s")),
    (re.compile(rf"Loading model weights took {_NUMBER} Gi?B"), ("weights",)),
    (re.compile(rf"Available KV cache memory: {_NUMBER} GiB"), ("cache",)),
    (re.compile(rf"KV cache size: {_NUMBER} tokens"), ("cache_tokens",)),
    (
        re.compile(rf"Maximum concurrency for {_NUMBER} tokens per request: {_NUMBER}x"),
        ("concurrency_tokens", "concurrency"),
    ),
    (re.compile(rf"Free memory on device(?: \S+)? \([\d.]+/{_NUMBER} GiB\) on startup\."), ("memory",)),
    (re.compile(rf"Desired GPU memory utilization is \({_NUMBER}, [\d.]+ GiB\)"), ("utilisation",)),
    (re.compile(rf"Actual usage is {_NUMBER} GiB for (?:weight|consumed memory)"), ("consumed",)),
    (re.compile(rf"{_NUMBER} GiB for peak activation"), ("activation",)),
    (re.compile(rf"{_NUMBER} GiB for CUDAGraph memory"), ("graphs",)),
    (re.compile(r"`--kv-cache-memory=(\d+)`[^`]{0,40}to fit into requested memory"), ("suggested_bytes",)),
    (re.compile(rf"estimated maximum model length is {_NUMBER}"), ("longest",)),
)
_NON_TORCH: Final = re.compile(rf"{_NUMBER} GiB for non-torch memory")  # apart from the weights before 0.2x
_SMALLEST: Final = {"cache", "cache_tokens", "concurrency", "memory", "suggested_bytes", "longest"}
_WHOLE: Final = {"cache_tokens", "concurrency_tokens", "suggested_bytes", "longest"}


def read_log(lines: Iterable[str]) -> Startup:
    """Reads a start-up log; the last start in it counts, as far as it went."""
    found: dict[str, list[float]] = {}
    for line in lines:
        if "Starting to load model" in line and "cache" in found:
            found = {}  # a new start
        for pattern, fields in _LINES:
            match = pattern.search(line)
            if match:
                for field, text in zip(fields, match.groups(), strict=True):
                    found.setdefault(field, []).append(_number(text))
        apart = _NON_TORCH.search(line)
        if apart and "consumed" in found:
            found["consumed"][-1] += _number(apart[1])
    values = {field: (min if field in _SMALLEST else max)(many) for field, many in found.items()}
    whole = {field: int(value) if field in _WHOLE else value for field, value in values.items()}
    return msgspec.convert(whole, Startup)


def _number(text: str) -> float:
    try:
        return float(text.rstrip(".,").replace(",", ""))
    except ValueError:
        return 0.0


class Live(msgspec.Struct, frozen=True):
    """Figures of a replica's metrics; None where it has none, or where nothing was answered yet.

    Times are means over its life, or between two readings; `hit` is the share of prompt tokens found in the cache.
    """

    cache_tokens: int | None = None
    running: float | None = None
    hit: float | None = None
    tpot_s: float | None = None
    ttft_s: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    prefill_per_s: float | None = None
    decode_per_s: float | None = None


_SAMPLE: Final = re.compile(r"^(vllm:[a-z0-9_]+)(?:\{(.*)\})?\s+(\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


def _samples(text: str) -> Iterator[tuple[str, Mapping[str, str], float]]:
    for name, labels, value in _SAMPLE.findall(text):
        try:
            yield name, dict(_LABEL.findall(labels)), float(value)
        except ValueError:
            continue


def _sums(text: str) -> dict[str, float]:
    """Sums every metric over data-parallel ranks (`engine`); buckets are left out."""
    sums: dict[str, float] = {}
    for name, labels, value in _samples(text):
        if "le" not in labels:
            sums[name] = sums.get(name, 0.0) + value
    return sums


def read_metrics(text: str, later: str | None = None, seconds: float = 0.0) -> Live:
    """Reads /metrics; of two readings `seconds` apart, what happened between them."""
    first, sums = _sums(text), _sums(later if later is not None else text)
    before = first if later is not None else {}

    def grown(name: str) -> float:
        return sums.get(name, 0.0) - before.get(name, 0.0)

    def mean(histogram: str) -> float | None:
        times = grown(f"vllm:{histogram}_count")
        return grown(f"vllm:{histogram}_sum") / times if times > 0 else None

    prompt, generated = grown("vllm:prompt_tokens_total"), grown("vllm:generation_tokens_total")
    answers = grown("vllm:e2e_request_latency_seconds_count") or grown("vllm:request_success_total")
    asked = grown("vllm:prefix_cache_queries_total")
    running = sums.get("vllm:num_requests_running")
    if later is not None and running is not None:
        running = (running + first.get("vllm:num_requests_running", running)) / 2
    between = seconds if later is not None and seconds > 0 else 0.0
    return Live(
        cache_tokens=_cache_tokens(later or text),
        running=running,
        hit=max(0.0, grown("vllm:prefix_cache_hits_total") / asked) if asked > 0 else None,
        tpot_s=mean("request_time_per_output_token_seconds") or mean("inter_token_latency_seconds"),
        ttft_s=mean("time_to_first_token_seconds"),
        input_tokens=prompt / answers if answers > 0 and prompt > 0 else None,
        output_tokens=generated / answers if answers > 0 and generated > 0 else None,
        prefill_per_s=prompt / between if between and prompt > 0 else None,
        decode_per_s=generated / between if between and generated > 0 else None,
    )


def _cache_tokens(text: str) -> int | None:
    """Tokens of all ranks' caches: vLLM's own word, or blocks times their size."""
    found = 0
    for name, labels, _ in _samples(text):
        if name != "vllm:cache_config_info":
            continue
        told = labels.get("kv_cache_size_tokens", "")
        blocks, size = labels.get("num_gpu_blocks", ""), labels.get("block_size", "")
        if told.isdecimal():
            found += int(told)
        elif blocks.isdecimal() and size.isdecimal():
            found += int(blocks) * int(size)
    return found or None
