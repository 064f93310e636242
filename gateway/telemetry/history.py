"""The last minutes in even steps, for whoever watches: what the counters grew by, and the latencies of each deployment.

Nothing is counted a second time: a step is the difference of two readings of `Metrics`, taken off the hot path. A
reading folds as many series as there are (0.2 ms for a hundred), whatever the number of calls.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final

import msgspec

from gateway.core.money import OUTPUT_BUCKETS
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics

EVERY_S: Final = 2.0
STEPS: Final = 450  # a quarter of an hour
_LATENCIES: Final = (names.TTFT, names.TPOT)


class Reading(msgspec.Struct, frozen=True):
    """What the counters stood at. `calls` by (deployment, status, reason); `latencies` by (metric, deployment)."""

    at: float  # seconds since the epoch
    calls: Counter[tuple[str, int, str]]
    tokens: Counter[tuple[str, bool]]  # by (deployment, whether they were put out)
    lookups: Counter[str]
    nano_usd: int
    latencies: dict[tuple[str, str], tuple[int, ...]]
    gauges: dict[str, float]


class Step(msgspec.Struct, frozen=True):
    """What happened in one step: rates a second, and shares; seconds since the epoch."""

    at: float
    calls: float
    errors: float
    tokens_in: float
    tokens_out: float
    usd: float
    hits: float
    misses: float
    in_flight: float
    queued: float


class History:
    """Readings of the last quarter of an hour, the oldest first; `read` takes the next."""

    def __init__(self, metrics: Metrics, steps: int = STEPS) -> None:
        self._metrics = metrics
        self._readings: deque[Reading] = deque(maxlen=steps + 1)

    def read(self, at: float) -> None:
        """Takes a reading; `at` is in seconds since the epoch."""
        if not self._readings or at > self._readings[-1].at:  # a clock that was set back begins no step
            self._readings.append(_reading(self._metrics, at))

    def steps(self) -> list[Step]:
        """Tells what happened between each two readings."""
        return [_step(before, after) for before, after in pairwise(list(self._readings))]

    def errors(self, seconds: float) -> list[dict[str, Any]]:
        """Counts the calls of the last seconds that failed, by deployment, status and reason, the most first."""
        before, after = self._ends(seconds)
        if before is None or after is None:
            return []
        grown = after.calls - before.calls
        return [
            {"deployment": deployment, "status": status, "reason": reason, "calls": count}
            for (deployment, status, reason), count in grown.most_common()
            if status >= 400 or reason
        ]

    def deployments(self, seconds: float) -> list[dict[str, Any]]:
        """Tells each deployment's calls, tokens a second and quantiles of TTFT and TPOT (s) over the last seconds."""
        before, after = self._ends(seconds)
        if before is None or after is None:
            return []
        took_s = after.at - before.at
        calls = after.calls - before.calls
        tokens = after.tokens - before.tokens
        told = []
        for name in sorted({deployment for deployment, _, _ in calls}):
            mine = {key: count for key, count in calls.items() if key[0] == name}
            row: dict[str, Any] = {
                "deployment": name,
                "calls": sum(mine.values()),
                "errors": sum(count for (_, status, reason), count in mine.items() if status >= 400 or reason),
                "tokens_in_per_s": tokens[name, False] / took_s,
                "tokens_out_per_s": tokens[name, True] / took_s,
            }
            for metric, word in zip(_LATENCIES, ("ttft", "tpot"), strict=True):
                key = (metric.name, name)
                counts = _less(after.latencies.get(key, ()), before.latencies.get(key, ()))
                for share in (50, 95, 99):
                    row[f"{word}_p{share}_s"] = quantile(metric.bounds, counts, share / 100)
            told.append(row)
        return told

    def _ends(self, seconds: float) -> tuple[Reading | None, Reading | None]:
        """Returns the newest reading, and the newest of those that are as many seconds older, or the oldest."""
        readings = list(self._readings)
        if len(readings) < 2:
            return None, None
        last = readings[-1]
        first = next((each for each in reversed(readings) if last.at - each.at >= seconds), readings[0])
        return first, last


def quantile(bounds: tuple[float, ...], counts: Iterable[int], share: float) -> float | None:
    """Reads a quantile from a histogram, interpolated within its bucket; None where it is empty.

    What lies above all bounds is told as the highest of them: it is at least that.
    """
    counted = list(counts)
    wanted, below, lower = share * sum(counted), 0, 0.0
    if not wanted:
        return None
    for bound, count in zip(bounds, counted, strict=False):
        if below + count >= wanted and count:
            return lower + (bound - lower) * (wanted - below) / count
        below, lower = below + count, bound
    return bounds[-1]


def _reading(metrics: Metrics, at: float) -> Reading:
    calls: Counter[tuple[str, int, str]] = Counter()
    for (_, deployment, _, status, reason), count in metrics.family(names.CALLS).samples:
        calls[deployment, int(status), reason] += int(count)
    tokens: Counter[tuple[str, bool]] = Counter()
    for (deployment, _, bucket), count in metrics.family(names.TOKENS).samples:
        tokens[deployment, bucket in OUTPUT_BUCKETS] += int(count)
    lookups: Counter[str] = Counter()
    for (_, outcome), count in metrics.family(names.CACHE_LOOKUPS).samples:
        lookups[outcome] += int(count)
    return Reading(
        at,
        calls,
        tokens,
        lookups,
        int(sum(value for _, value in metrics.family(names.COST).samples)),
        {
            (metric.name, labels[0]): tuple(histogram.counts)
            for metric in _LATENCIES
            for labels, histogram in metrics.family(metric).histograms
        },
        {
            metric.name: sum(value for _, value in metrics.family(metric).samples)
            for metric in (names.IN_FLIGHT, names.QUEUED)
        },
    )


def _step(before: Reading, after: Reading) -> Step:
    took_s = after.at - before.at
    calls, tokens, lookups = after.calls - before.calls, after.tokens - before.tokens, after.lookups - before.lookups
    return Step(
        at=after.at,
        calls=calls.total() / took_s,
        errors=sum(count for (_, status, reason), count in calls.items() if status >= 400 or reason) / took_s,
        tokens_in=sum(count for (_, out), count in tokens.items() if not out) / took_s,
        tokens_out=sum(count for (_, out), count in tokens.items() if out) / took_s,
        usd=(after.nano_usd - before.nano_usd) / 1e9 / took_s,
        hits=lookups["hit"] / took_s,
        misses=lookups["miss"] / took_s,
        in_flight=after.gauges.get(names.IN_FLIGHT.name, 0.0),
        queued=after.gauges.get(names.QUEUED.name, 0.0),
    )


def _less(after: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(new - old for new, old in zip(after, before, strict=True)) if before else after
