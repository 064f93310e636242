"""Keeps deployments whose context window holds the prompt and the answer that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Removal, Request

# Bytes per token are learned per model, yet a prompt in another script or full of digits is off by up to this factor.
ESTIMATE_ERROR = 2


class ContextWindow:
    """Keeps deployments in whose window the call fits, by estimate.

    Where it fits nobody, the largest window is tried as long as the estimate could be wrong: the provider counts
    exactly, and its refusal reaches the caller as it came. Media and embeddings are not judged: the size of a body
    says nothing of an image's tokens, and a batch of inputs has a window each.
    """

    name = "context_window"

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        call = request.call
        if call.has_media or call.endpoint == "embeddings":
            return Ranking(candidates)
        needed = request.input_tokens + (call.max_tokens or 0)
        kept: list[Deployment] = []
        removed: list[Removal] = []
        for deployment in candidates:
            window = deployment.context_window
            if window is None or needed <= window:
                kept.append(deployment)
            else:
                removed.append(Removal(deployment.name, self.name, f"about {needed} tokens > {window}"))
        if kept or not candidates:
            return Ranking(kept, removed)
        largest = max(deployment.context_window or 0 for deployment in candidates)
        if needed > largest * ESTIMATE_ERROR:
            return Ranking((), removed)
        kept = [deployment for deployment in candidates if deployment.context_window == largest]
        names = {deployment.name for deployment in kept}
        removed = [removal for removal in removed if removal.deployment not in names]
        return Ranking(kept, removed, note=f"about {needed} tokens, the largest window is {largest}")
