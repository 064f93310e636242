"""What the errors of translated providers have in common: a body read whatever it is, a failure in OpenAI's words."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError

MESSAGE_CHARACTERS_MAX: Final = 2000


def decoded(body: bytes) -> Json:
    """Returns what a body says; None where it is no JSON."""
    try:
        value: Json = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    return value


def object_of(value: Json) -> dict[str, Json]:
    """Returns an object as it is; anything else says nothing."""
    return value if isinstance(value, dict) else {}


def wordless(status: int | None) -> str:
    """Returns our words for an error that has none."""
    return f"the provider answered {status}" if status else "the provider ended its answer with an error"


def failure(
    reason: Reason,
    message: str,
    status: int | None,
    *,
    retry_after_s: float | None = None,
    should_retry: bool | None = None,
    named_by_caller: bool = False,
) -> UpstreamError:
    """Returns a failure with the type and the code that callers' clients tell it by."""
    return UpstreamError(
        reason,
        message[:MESSAGE_CHARACTERS_MAX],
        status=status,
        type="invalid_request_error" if status is not None and 400 <= status < 500 else None,
        code="context_length_exceeded" if reason is Reason.CONTEXT_TOO_LONG else None,
        retry_after_s=retry_after_s,
        should_retry=should_retry,
        named_by_caller=named_by_caller,
    )
