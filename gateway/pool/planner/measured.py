"""Measured speed in place of an estimate, taken over slowly: a price that follows each gust is none.

Only a pool at work shows what it does. A window near the target load gives a sample: the share of replicas' time that
its tokens would take by the estimate, over the load. 1 is an estimate that holds; 0.5 a pool that does half of it. By
definition the full price rests on the tokens of an hour at the target load, which this is, scaled to the target.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.pool.planner.own import Speed

NEAR: Final = 0.8  # of the target: a window less busy than that shows demand, not speed
WINDOWS: Final = 3  # that must have been seen since the last change
CHANGE: Final = 0.1  # a smaller difference is noise
SETTLED_S: Final = 300.0  # between two changes; the first replaces the estimate at once
_LEARNING: Final = 0.3
_LEAST, _MOST = 0.02, 50.0


class Window(msgspec.Struct, frozen=True):
    """What a pool did in some seconds: prompt tokens that were computed, output tokens, mean replicas and load."""

    seconds: float
    fresh: float
    output: float
    replicas: float
    load: float


class Factor:
    """How much of its estimate a pool does: `value` is what its price rests on, None until measured."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.seen = 0.0
        self._windows = 0
        self._changed_at = 0.0

    def observe(self, window: Window, estimate: Speed, target: float, now: float) -> bool:
        """Takes a window (`now`: monotonic seconds); returns whether `value` has changed."""
        if window.load < NEAR * target or window.seconds <= 0 or window.replicas <= 0:
            return False
        work = estimate.work(window.fresh, window.output) / (window.seconds * window.replicas)
        sample = min(_MOST, max(_LEAST, work / window.load))
        self.seen = self.seen + _LEARNING * (sample - self.seen) if self._windows or self.value else sample
        self._windows += 1
        if self._windows < WINDOWS:
            return False
        if self.value is not None:
            settled = now - self._changed_at >= SETTLED_S
            if not settled or abs(self.seen / self.value - 1.0) < CHANGE:
                return False
        self.value, self._changed_at, self._windows = self.seen, now, 0
        return True
