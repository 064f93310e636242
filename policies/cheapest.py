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
        # By cost, then by place: ties keep the order of `among`. A place is unique, so candidates are never compared.
        ranked = sorted(zip(costs, range(len(costs)), candidates, strict=True))
        scores, _, kept = zip(*ranked, strict=True) if ranked else ((), (), ())
        if scores and scores[-1] == inf:
            return Ranking(kept, (), scores, "unknown prices last")
        return Ranking(
            kept, (), list(map(int, scores))
        )  # whole nano-dollars: a float takes five times as long to write
