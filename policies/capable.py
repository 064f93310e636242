"""Keeps deployments that can do the call: its endpoint, tools, modality and the like."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Removal, Request


class Capable:
    """Keeps deployments that serve the call's endpoint and have all that it needs; `why` lists what is missing."""

    name = "capable"

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        call = request.call
        kept: list[Deployment] = []
        removed: list[Removal] = []
        for deployment in candidates:
            if call.endpoint not in deployment.serves:
                removed.append(Removal(deployment.name, self.name, call.endpoint))
            elif deployment.capabilities is None or call.needs <= deployment.capabilities:
                kept.append(deployment)
            else:
                missing = ", ".join(sorted(call.needs - deployment.capabilities))
                removed.append(Removal(deployment.name, self.name, missing))
        return Ranking(kept, removed)
