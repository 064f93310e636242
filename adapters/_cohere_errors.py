"""Cohere's errors, as an HTTP answer or as the end of a stream, as one reason each.

Source: https://docs.cohere.com/reference/errors (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

_MESSAGE_CHARACTERS_MAX: Final = 2000

_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.UNAUTHENTICATED,
    402: Reason.OUT_OF_CREDIT,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    408: Reason.ABORTED,
    429: Reason.RATE_LIMITED,
    498: Reason.CONTENT_FILTERED,  # a term on a deny list, in the request or in the answer
    499: Reason.ABORTED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
}

_BY_TYPE: Final[Mapping[str, Reason]] = {
    "TOO_MANY_TOKENS": Reason.CONTEXT_TOO_LONG,
    "INVALID_TOOL_GENERATION": Reason.SERVER_ERROR,  # the model wrote a call that is none; another may not
}


def fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; a body that is not Cohere's is read by its status alone."""
    try:
        decoded = msgspec.json.decode(body)
    except UNREADABLE:
        decoded = None
    said = decoded if isinstance(decoded, dict) else {}
    message = _message(said, f"the provider answered {status}")
    reason = _BY_STATUS.get(status) or (Reason.BAD_REQUEST if 400 <= status < 500 else Reason.SERVER_ERROR)
    words = message.lower()
    if reason is Reason.BAD_REQUEST and _too_long(said, words):
        reason = Reason.CONTEXT_TOO_LONG
    elif reason is Reason.RATE_LIMITED and "calls / month" in words:  # a trial key's; waiting does not help
        reason = Reason.OUT_OF_CREDIT
    return UpstreamError(
        reason,
        message,
        status=status,
        type="invalid_request_error" if 400 <= status < 500 else None,
        code="context_length_exceeded" if reason is Reason.CONTEXT_TOO_LONG else None,
        retry_after_s=retry_after_s(headers, message),
        should_retry=should_retry(headers),
        named_by_caller=reason is Reason.NOT_FOUND and "model" not in words,
    )


def in_band(said: Mapping[str, Json], finish: str = "ERROR") -> UpstreamError:
    """Reads an error that came with a 200: `error` and `error_type` beside a finish of ERROR or TIMEOUT."""
    message = _message(said, f"the provider ended its answer with {finish}")
    reason = _BY_TYPE.get(str(said.get("error_type")), Reason.TIMEOUT if finish == "TIMEOUT" else Reason.SERVER_ERROR)
    return UpstreamError(
        reason,
        message,
        status=400 if reason is Reason.CONTEXT_TOO_LONG else None,
        type="invalid_request_error" if reason is Reason.CONTEXT_TOO_LONG else None,
        code="context_length_exceeded" if reason is Reason.CONTEXT_TOO_LONG else None,
    )


def _too_long(said: Mapping[str, Json], words: str) -> bool:
    # The same words tell of a `max_tokens` above the model's own, which is no matter of the prompt.
    if "max tokens must be" in words:
        return False
    return said.get("error_type") == "TOO_MANY_TOKENS" or words.startswith("too many tokens")


def _message(said: Mapping[str, Json], otherwise: str) -> str:
    for name in ("message", "error", "detail"):
        value = said.get(name)
        if isinstance(value, str) and value:
            return value[:_MESSAGE_CHARACTERS_MAX]
    return otherwise
