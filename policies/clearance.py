"""Keeps deployments that may see a call's sensitivity: the guarantee that is built in and always first."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Removal, Request


class Clearance:
    """Keeps deployments whose clearance reaches the call's level; `levels` are the levels' names, low to high."""

    name = "clearance"

    def __init__(self, levels: Sequence[str]) -> None:
        self._levels = tuple(levels)

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        level = request.sensitivity.level
        kept = [deployment for deployment in candidates if deployment.clearance >= level]
        if len(kept) == len(candidates):
            return Ranking(candidates)
        names = self._levels
        removed = [
            Removal(deployment.name, self.name, f"{names[level]} > {names[deployment.clearance]}")
            for deployment in candidates
            if deployment.clearance < level
        ]
        return Ranking(kept, removed)
