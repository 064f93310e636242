"""What replicas tell of themselves: their /metrics, read each second and handed to the routers.

A replica that does not answer tells nothing, and its last word soon counts for nothing: it is no judgement on its
health, which is the breakers' matter. Names are those of vLLM 0.33
(https://docs.vllm.ai/en/stable/usage/metrics/, 2026-11).
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Protocol

from gateway.core.types import Endpoint
from gateway.pool.router import Gauges
from gateway.pool.router.pools import RANK_HEADER

EVERY_S: Final = 1.0

# Returns what the server behind an endpoint shows at /metrics, or None where it does not; does not take for ever.
Page = Callable[[Endpoint], Awaitable[str | None]]

_SAMPLE: Final = re.compile(r"^(vllm:[a-z_]+|process_start_time_seconds)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'([a-z_]+)="([^"]*)"')


def read(page: str, at: float, rank: str | None = None) -> Gauges:
    """Reads a page of /metrics; of one data-parallel rank, or summed over the engines of a server."""
    running = waiting = kv_tokens = 0
    usages: list[float] = []
    born_at = 0.0
    for name, labels, value in _samples(page):
        engine = labels.get("engine")
        if rank is not None and engine is not None and engine != rank:
            continue
        match name:
            case "vllm:num_requests_running":
                running += int(value)
            case "vllm:num_requests_waiting":
                waiting += int(value)
            case "vllm:kv_cache_usage_perc":
                usages.append(value)
            case "vllm:cache_config_info":
                kv_tokens += _kv_tokens(labels)
            case "process_start_time_seconds":
                born_at = value
    usage = sum(usages) / len(usages) if usages else 0.0
    return Gauges(at, running, waiting, min(1.0, max(0.0, usage)), kv_tokens, born_at)


def _samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for found in _SAMPLE.finditer(page):
        name, labels, text = found.groups()
        try:
            value = float(text)
        except ValueError:
            continue
        if math.isfinite(value):
            yield name, dict(_LABEL.findall(labels or "")), value


def _kv_tokens(labels: Mapping[str, str]) -> int:
    """Returns the size of a cache; older servers tell of blocks alone."""
    told = labels.get("kv_cache_size_tokens", "")
    if told.isdecimal():
        return int(told)
    size, count = labels.get("block_size", ""), labels.get("num_gpu_blocks", "")
    return int(size) * int(count) if size.isdecimal() and count.isdecimal() else 0


class Listener(Protocol):
    """Who wants to know: which replicas there are, and what each said."""

    def replicas(self) -> Mapping[str, Endpoint]: ...

    def tell(self, replica: str, gauges: Gauges) -> None: ...


async def follow(pools: Listener, page_of: Page, every_s: float = EVERY_S) -> None:
    """Asks every replica of every pool, again and again, until it is cancelled."""
    while True:
        await asyncio.sleep(every_s)
        asked = [_ask(pools, key, endpoint, page_of) for key, endpoint in pools.replicas().items()]
        if asked:
            await asyncio.gather(*asked)


async def _ask(pools: Listener, key: str, endpoint: Endpoint, page_of: Page) -> None:
    page = await page_of(endpoint)
    if page is not None:
        rank = next((value.decode("latin-1") for name, value in endpoint.auth if name == RANK_HEADER), None)
        pools.tell(key, read(page, time.monotonic(), rank))
