"""What a prompt on a pool is expected to wait, where its router says so."""

from __future__ import annotations

from gateway.core.policy import Outlook, View
from gateway.core.types import Request


def outlook_of(deployment: str, view: View, min_samples: int) -> Outlook | None:
    """Returns what a pool's router expects of its best replica, once it has come true often enough to be believed."""
    outlook = view.outlooks.get(deployment)
    return outlook if outlook is not None and outlook.samples >= min_samples else None


def unread(deployment: str, request: Request, view: View) -> float:
    """Returns the prompt tokens that have to be read: those that are not, by what was learned, in a cache."""
    return request.input_tokens * (1.0 - view.cached_share.get(deployment, 0.0))
