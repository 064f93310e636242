"""Takes the candidates in the order of the route's list."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request


class InOrder:
    """Takes the candidates in the order given."""

    name = "in_order"

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        return Ranking(candidates)
