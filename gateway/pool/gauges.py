"""What replicas tell of themselves on their pages of /metrics, as far as anybody here wants to know it.

A page has some 60 KB, of which these families are a hundredth; it is searched for their names, and nothing else of it
is looked at (docs/pool-health.md has what that takes). Names are those of vLLM 0.33
(https://docs.vllm.ai/en/stable/usage/metrics/, 2026-11).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

from gateway.pool.router.replicas import Gauges

_ENGINE: Final = re.compile(rb'(?:^|,)engine="([^"]*)"')
_LABEL: Final = re.compile(rb'([a-z_]+)="([^"]*)"')


def read(page: bytes, at: float, rank: str | None = None) -> Gauges:
    """Reads a page of /metrics; of one data-parallel rank, or summed over the engines of a server."""
    page = b"\n" + page
    engine = None if rank is None else rank.encode()

    def values(name: bytes) -> list[float]:
        return [value for _, value in _samples(page, name, engine)]

    usages = values(b"vllm:kv_cache_usage_perc")
    usage = sum(usages) / len(usages) if usages else 0.0
    steps = values(b"vllm:iteration_tokens_total_count")
    states = _samples(page, b"vllm:engine_sleep_state", engine)
    return Gauges(
        at,
        int(sum(values(b"vllm:num_requests_running"))),
        int(sum(values(b"vllm:num_requests_waiting"))),
        min(1.0, max(0.0, usage)),
        sum(_kv_tokens(labels) for labels, _ in _samples(page, b"vllm:cache_config_info", engine)),
        _born_at(page),
        int(sum(steps)) if steps else -1,
        sum(values(b"vllm:inter_token_latency_seconds_sum")),
        int(sum(values(b"vllm:inter_token_latency_seconds_count"))),
        any(value and b'sleep_state="awake"' not in labels for labels, value in states),
    )


def _samples(page: bytes, name: bytes, engine: bytes | None) -> Iterator[tuple[bytes, float]]:
    """Yields the labels and values of a family; of an engine, where one is named and the sample names one too."""
    mark = b"\n" + name + b"{"
    at = page.find(mark)
    while at >= 0:
        end = page.find(b"\n", at + 1)
        line = page[at + len(mark) : end if end >= 0 else len(page)]
        labels, closed, rest = line.rpartition(b"} ")
        value = _number(rest) if closed else math.nan
        if math.isfinite(value):
            of = _ENGINE.search(labels) if engine is not None else None
            if of is None or of[1] == engine:
                yield labels, value
        at = page.find(mark, end) if end >= 0 else -1


def _born_at(page: bytes) -> float:
    mark = b"\nprocess_start_time_seconds "
    at = page.find(mark)
    value = _number(page[at + len(mark) : at + len(mark) + 40].partition(b"\n")[0]) if at >= 0 else math.nan
    return value if math.isfinite(value) else 0.0


def _number(text: bytes) -> float:
    try:
        return float(text.split(b" ", 1)[0])  # a time may follow
    except ValueError:
        return math.nan


def _kv_tokens(labels: bytes) -> int:
    """Returns the size of a cache; older servers tell of blocks alone."""
    read = dict(_LABEL.findall(labels))
    told = read.get(b"kv_cache_size_tokens", b"")
    if told.isdigit():
        return int(told)
    size, count = read.get(b"block_size", b""), read.get(b"num_gpu_blocks", b"")
    return int(size) * int(count) if size.isdigit() and count.isdigit() else 0
