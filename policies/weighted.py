"""Draws the first candidate by weight; the others follow, heaviest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request


class Weighted:
    """Draws by the weights of the candidates that are left; a deployment without a weight is never drawn first."""

    name = "weighted"

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        weights = [self._weights.get(deployment.name, 0.0) for deployment in candidates]
        order = sorted(range(len(candidates)), key=weights.__getitem__, reverse=True)  # stable: ties keep their order
        point = view.draw * sum(weights)
        for index in order:
            point -= weights[index]
            if point < 0.0:
                order.remove(index)
                order.insert(0, index)
                break
        return Ranking([candidates[index] for index in order], (), [weights[index] for index in order])
