"""What location, retention, provider and deployment share: a fact of the deployment must be one of a few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Removal, Request


class OneOf:
    """Keeps deployments whose `fact` is among the allowed ones; an unknown fact is never among them."""

    name: str

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = frozenset(allowed)
        self._allowed_text = " or ".join(sorted(self.allowed)) or "anything"

    def fact(self, deployment: Deployment) -> str:
        """Returns the deployment's word that is compared."""
        raise NotImplementedError

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        allowed, fact = self.allowed, self.fact
        kept = [deployment for deployment in candidates if fact(deployment) in allowed]
        if len(kept) == len(candidates):
            return Ranking(candidates)
        removed = [
            Removal(deployment.name, self.name, f"{self.name} {fact(deployment)} is not {self._allowed_text}")
            for deployment in candidates
            if fact(deployment) not in allowed
        ]
        return Ranking(kept, removed)
