"""How tests wait: for what has to come about, as long as a busy machine takes; and how they say that it was quick."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

WITHIN_S = 30.0
TICK_S = 0.02
"""How much too early a timer may seem: a loop counts in whole milliseconds, from the beginning of its turn."""


async def until(condition: Callable[[], object], within_s: float = WITHIN_S) -> None:
    """Waits for a condition, or one that is awaited; fails, rather than hangs, where it does not come."""
    deadline = time.monotonic() + within_s
    while not (await met if inspect.isawaitable(met := condition()) else met):
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.005)


async def promptly(attempt: Callable[[], Awaitable[float]], within_s: float, tries: int = 20) -> None:
    """Has something done again until it took no longer than it may; `attempt` returns its seconds.

    A machine that was busy just then makes anything late once; what waits for a timer is late every time.
    """
    took = [await attempt()]
    while min(took) >= within_s:
        assert len(took) < tries, took
        took.append(await attempt())
