"""Keeps deployments that meet a latency requirement, as measured over a sliding window."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from gateway.core.policy import Measured, Ranking, View, bucket_of
from gateway.core.types import Deployment, Removal, Request
from policies._exploring import MIN_SAMPLES, explored
from policies._own import outlook_of, unread

PROVEN, UNPROVEN, TO_BE_MEASURED = 0.0, 1.0, -1.0


class Latency:
    """Removes deployments whose 95th percentile of TTFT or TPOT (seconds) is over the limit.

    One with fewer than `min_samples` is unproven: it stays, and its score puts it into a later tier than the proven
    ones, whatever the pick compares within a tier; a share of calls goes to it first, so that it is measured. A pool
    whose router foretells its TTFT is judged by what that says of its best replica now.
    """

    name = "latency"

    def __init__(
        self,
        max_ttft_p95_s: float | None = None,
        max_tpot_p95_s: float | None = None,
        window_s: float | None = None,
        min_samples: int = MIN_SAMPLES,
    ) -> None:
        self._ttft_s = max_ttft_p95_s
        self._tpot_s = max_tpot_p95_s
        self._window_s = window_s
        self._min_samples = min_samples
        limits = [f"ttft p95 {_text(max_ttft_p95_s)}"] if max_ttft_p95_s is not None else []
        limits += [f"tpot p95 {_text(max_tpot_p95_s)}"] if max_tpot_p95_s is not None else []
        self._note = f"that meet {' and '.join(limits)}"
        self._none_proven = f"none proven for {' and '.join(limits)}"

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        bucket = bucket_of(request.input_tokens)
        measured = view.measured
        if self._window_s is not None:
            measured = view.windows.get(self._window_s, measured)
        proven: list[Deployment] = []
        unproven: list[Deployment] = []
        removed: list[Removal] = []
        for deployment in candidates:
            seen = measured.get((deployment.name, bucket))
            if seen is None or seen.samples < self._min_samples:
                unproven.append(deployment)
                continue
            why = self._over(seen, self._foretold(deployment, request, view) if view.outlooks else None)
            if why is None:
                proven.append(deployment)
            elif why:
                removed.append(Removal(deployment.name, self.name, why))
            else:
                unproven.append(deployment)
        if not unproven:
            return Ranking(proven, removed, note=self._note)
        if not proven:
            return Ranking(unproven, removed, note=self._none_proven)
        tiers = [PROVEN] * len(proven) + [UNPROVEN] * len(unproven)
        note = f"{self._note} ({len(unproven)} unproven)"
        chosen = explored(view.draw, len(unproven))
        if chosen is not None:
            tiers[len(proven) + chosen] = TO_BE_MEASURED
            note = f"{note}, {unproven[chosen].name} first to be measured"
        return Ranking(proven + unproven, removed, tiers, note)

    def _foretold(self, deployment: Deployment, request: Request, view: View) -> float | None:
        outlook = outlook_of(deployment.name, view, self._min_samples)
        return None if outlook is None else outlook.late_first_token_s(unread(deployment.name, request, view))

    def _over(self, seen: Measured, ttft_s: float | None) -> str | None:
        """Returns why the limits are not met, "" where a figure is lacking (NaN compares as false), None if met."""
        first = ("ttft", seen.ttft_p95_s) if ttft_s is None else ("expected ttft", ttft_s)
        for (figure, value), limit in ((first, self._ttft_s), (("tpot", seen.tpot_p95_s), self._tpot_s)):
            if limit is not None and not value <= limit:
                return _exceeds(figure, round(value * 1e4), limit) if value > limit else ""
        return None


@lru_cache(4096)  # the same measurements are compared for a second or more
def _exceeds(figure: str, tenths_ms: int, limit_s: float) -> str:
    return f"{figure} p95 {_text(tenths_ms / 1e4)} > {_text(limit_s)}"


def _text(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
