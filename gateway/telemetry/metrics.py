"""The numbers themselves: plain counts in dicts, written by one thread, folded into families when somebody reads.

A call is recorded under one key, so that recording is one look-up and some additions (1 us); what is shown per
deployment or per team is summed on reading. Readers may be other threads: they copy each dict in one step of the
interpreter, and see every number either before or after an addition.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from gateway.core.money import BUCKETS, Usage
from gateway.telemetry import names
from gateway.telemetry.names import Metric

OTHER: Final = "(other)"

Sample = tuple[tuple[str, ...], float]  # label values, value
Gauge = Callable[[], Iterable[Sample]]


class Histogram:
    """Counts by bucket, not cumulated; the last is what lies above all bounds."""

    __slots__ = ("counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0


class Family(msgspec.Struct, frozen=True):
    """What one metric stands at: samples of a counter or gauge, or histograms by label values."""

    metric: Metric
    samples: list[Sample] = []
    histograms: list[tuple[tuple[str, ...], Histogram]] = []


class _Series:
    """What is summed for calls of one route, deployment, team, status and reason."""

    __slots__ = ("calls", "estimated", "hits", "misses", "nano_usd", "saved_nano", "suspect", "tokens", "unpriced")

    def __init__(self) -> None:
        self.calls = self.hits = self.misses = 0
        self.nano_usd = self.saved_nano = 0
        self.unpriced = self.estimated = self.suspect = 0
        self.tokens = [0] * len(BUCKETS)


class _Latencies:
    __slots__ = ("duration", "tpot", "ttft")

    def __init__(self) -> None:
        self.ttft = Histogram(names.TTFT.bounds)
        self.tpot = Histogram(names.TPOT.bounds)
        self.duration = Histogram(names.DURATION.bounds)


_FRESH: Final = BUCKETS.index("fresh_input")
_OUTPUT: Final = BUCKETS.index("output_text")
_RARE: Final = tuple((index, bucket) for index, bucket in enumerate(BUCKETS) if index not in (_FRESH, _OUTPUT))


class Metrics:
    """Records, and tells what was recorded.

    Label values come from the config and from closed enums, never from a caller; should they still grow past
    `max_series`, what is new is counted under `(other)`.
    """

    def __init__(self, max_series: int = 10_000) -> None:
        self._max_series = max_series
        self._calls: dict[tuple[str, str, str, int, str], _Series] = {}
        self._latencies: dict[str, _Latencies] = {}
        self._overhead = Histogram(names.OVERHEAD.bounds)
        self._counters: dict[str, dict[tuple[str, ...], int]] = {}
        self._gauges: dict[str, Gauge] = {}

    # -- recording -----------------------------------------------------------------------------------------------

    def record_call(
        self,
        route: str,
        deployment: str,
        team: str,
        status: int,
        reason: str,
        *,
        usage: Usage | None = None,
        nano_usd: int | None = 0,
        saved_nano: int = 0,
        cache: str = "-",
        ttft_s: float | None = None,
        tpot_s: float | None = None,
        e2e_s: float = 0.0,
        overhead_s: float = 0.0,
    ) -> None:
        """Counts one finished call; `nano_usd` of None is an unknown price, `cache` is hit, miss or -."""
        key = (route, deployment, team, status, reason)
        series = self._calls.get(key)
        if series is None:
            series = self._new_series(key)
        series.calls += 1
        if usage is not None:
            tokens = series.tokens
            tokens[_FRESH] += usage.fresh_input
            tokens[_OUTPUT] += usage.output_text
            if (
                usage.cached_input
                or usage.reasoning
                or usage.cache_write_5m
                or usage.cache_write_1h
                or usage.image_input
                or usage.audio_input
                or usage.audio_output
            ):
                for index, bucket in _RARE:
                    tokens[index] += getattr(usage, bucket)
            if usage.estimated:
                series.estimated += 1
            if usage.suspect:
                series.suspect += 1
        if nano_usd is None:
            series.unpriced += 1
        else:
            series.nano_usd += nano_usd
        if saved_nano:
            series.saved_nano += saved_nano
        if cache == "hit":
            series.hits += 1
        elif cache == "miss":
            series.misses += 1
        latencies = self._latencies.get(deployment)
        if latencies is None:
            latencies = self._new_latencies(deployment)
        if ttft_s is not None:
            histogram = latencies.ttft
            histogram.counts[bisect_left(_TTFT_BOUNDS, ttft_s)] += 1
            histogram.sum += ttft_s
        if tpot_s is not None:
            histogram = latencies.tpot
            histogram.counts[bisect_left(_TPOT_BOUNDS, tpot_s)] += 1
            histogram.sum += tpot_s
        histogram = latencies.duration
        histogram.counts[bisect_left(_DURATION_BOUNDS, e2e_s)] += 1
        histogram.sum += e2e_s
        histogram = self._overhead
        histogram.counts[bisect_left(_OVERHEAD_BOUNDS, overhead_s)] += 1
        histogram.sum += overhead_s

    def count(self, metric: Metric, labels: tuple[str, ...] = (), by: int = 1) -> None:
        """Adds to a counter that is not part of a call's record."""
        samples = self._counters.get(metric.name)
        if samples is None:
            samples = self._counters[metric.name] = {}
        if labels not in samples and len(samples) >= self._max_series:
            labels = (OTHER,) * len(labels)
        samples[labels] = samples.get(labels, 0) + by

    def observe(self, metric: Metric, gauge: Gauge) -> None:
        """Asks `gauge` for the samples whenever somebody reads; it may be called from another thread."""
        self._gauges[metric.name] = gauge

    def _new_series(self, key: tuple[str, str, str, int, str]) -> _Series:
        if len(self._calls) >= self._max_series:
            key = (OTHER, OTHER, OTHER, key[3], key[4])
        return self._calls.setdefault(key, _Series())

    def _new_latencies(self, deployment: str) -> _Latencies:
        if len(self._latencies) >= self._max_series:
            deployment = OTHER
        return self._latencies.setdefault(deployment, _Latencies())

    # -- reading -------------------------------------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        """Yields every metric that has something to say, in the order of the table."""
        calls = list(self._calls.items())
        latencies = list(self._latencies.items())
        for metric in names.METRICS:
            family = self._family(metric, calls, latencies)
            if family.samples or family.histograms:
                yield family

    def family(self, metric: Metric) -> Family:
        """Returns what one metric stands at."""
        return self._family(metric, list(self._calls.items()), list(self._latencies.items()))

    def _family(
        self,
        metric: Metric,
        calls: list[tuple[tuple[str, str, str, int, str], _Series]],
        latencies: list[tuple[str, _Latencies]],
    ) -> Family:
        gauge = self._gauges.get(metric.name)
        if gauge is not None:
            return Family(metric, list(gauge()))
        fold = _FOLDS.get(metric.name)
        if fold is not None:
            sums: dict[tuple[str, ...], float] = {}
            for key, series in calls:
                for labels, value in fold(key, series):
                    if value:
                        sums[labels] = sums.get(labels, 0) + value
            return Family(metric, list(sums.items()))
        if metric == names.OVERHEAD:
            return Family(metric, histograms=[((), self._overhead)])
        field = _LATENCY_OF.get(metric.name)
        if field is not None:
            found = [((deployment,), getattr(each, field)) for deployment, each in latencies]
            return Family(metric, histograms=[(labels, each) for labels, each in found if any(each.counts)])
        counters: dict[tuple[str, ...], int] = self._counters.get(metric.name, {})
        return Family(metric, list(counters.items()))


_TTFT_BOUNDS: Final = names.TTFT.bounds
_TPOT_BOUNDS: Final = names.TPOT.bounds
_DURATION_BOUNDS: Final = names.DURATION.bounds
_OVERHEAD_BOUNDS: Final = names.OVERHEAD.bounds

_LATENCY_OF: Final = {names.TTFT.name: "ttft", names.TPOT.name: "tpot", names.DURATION.name: "duration"}

Key = tuple[str, str, str, int, str]

# metric -> the samples that one series adds to it
_FOLDS: Final[dict[str, Callable[[Key, _Series], list[Sample]]]] = {
    names.CALLS.name: lambda key, series: [((key[0], key[1], key[2], str(key[3]), key[4]), series.calls)],
    names.CACHE_LOOKUPS.name: lambda key, series: [((key[0], "hit"), series.hits), ((key[0], "miss"), series.misses)],
    names.TOKENS.name: lambda key, series: [
        ((key[1], key[2], bucket), count) for bucket, count in zip(BUCKETS, series.tokens, strict=True)
    ],
    names.COST.name: lambda key, series: [((key[1], key[2]), series.nano_usd)],
    names.SAVED.name: lambda key, series: [((key[1], key[2]), series.saved_nano)],
    names.UNPRICED.name: lambda key, series: [((key[1],), series.unpriced)],
    names.ESTIMATED.name: lambda key, series: [((key[1],), series.estimated)],
    names.SUSPECT.name: lambda key, series: [((key[1],), series.suspect)],
}
