"""Weighs expected cost against expected time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request
from policies._expected import ExpectedCost, seconds
from policies._exploring import MIN_SAMPLES, explored


class Balanced:
    """Sorts by weighted cost and time, each as a share of the candidates' largest (scores 0 to the weights' sum).

    An unproven candidate counts as slow as the slowest that is measured, and gets calls to be measured; an unknown
    price comes last.
    """

    name = "balanced"

    def __init__(
        self,
        deployments: Iterable[Deployment],
        cost_weight: float = 0.5,
        latency_weight: float = 0.5,
        min_samples: int = MIN_SAMPLES,
    ) -> None:
        self._cost = ExpectedCost(deployments)
        self._cost_weight = cost_weight
        self._latency_weight = latency_weight
        self._min_samples = min_samples

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        costs = self._cost.of(request, candidates, view)
        times = seconds(request, candidates, view, self._min_samples)
        dearest = max((cost for cost in costs if cost != inf), default=0.0)
        slowest = max((time for time in times if time != inf), default=0.0)
        by_cost = self._cost_weight / dearest if dearest else 0.0
        by_time = self._latency_weight / slowest if slowest else 0.0
        scores = [
            inf if cost == inf else cost * by_cost + (slowest if time == inf else time) * by_time
            for cost, time in zip(costs, times, strict=True)
        ]
        order = sorted(range(len(scores)), key=scores.__getitem__)  # stable: ties keep the order of `among`
        note = ""
        unproven = [index for index in order if times[index] == inf]
        if unproven and len(order) > 1:
            chosen = explored(view.draw, len(unproven))
            if chosen is not None:
                index = unproven[chosen]
                order.remove(index)
                order.insert(0, index)
                note = f"{candidates[index].name} first to be measured"
        if not note and order and scores[order[-1]] == inf:
            note = "unknown prices last"
        return Ranking([candidates[index] for index in order], (), [scores[index] for index in order], note)
