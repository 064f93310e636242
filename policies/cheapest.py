"""Takes the candidate with the lowest expected cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request
from policies._expected import ExpectedCost


class Cheapest:
    """Sorts by expected cost (scores in nano-dollars); an unknown price is infinite, so last, never zero."""

    name = "cheapest"

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._cost = ExpectedCost(deployments)

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        costs = self._cost.of(request, candidates, view)
        order = sorted(range(len(costs)), key=costs.__getitem__)  # stable: ties keep the order of `among`
        kept = [candidates[index] for index in order]
        if costs and costs[order[-1]] == inf:
            return Ranking(kept, (), [costs[index] for index in order], "unknown prices last")
        # Whole nano-dollars: a float takes five times as long to write.
        return Ranking(kept, (), [int(costs[index]) for index in order])
