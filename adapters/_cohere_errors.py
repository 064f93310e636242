"""Cohere's errors, as an HTTP answer or as the end of a stream, as one reason each.

Source: https://docs.cohere.com/reference/errors (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters._failure import decoded, failure, object_of, wordless
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

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
    said = object_of(decoded(body))
    message = _message(said, wordless(status))
    reason = _BY_STATUS.get(status) or (Reason.BAD_REQUEST if 400 <= status < 500 else Reason.SERVER_ERROR)
    words = message.lower()
    if reason is Reason.BAD_REQUEST and _too_long(said, words):
        reason = Reason.CONTEXT_TOO_LONG
    elif reason is Reason.RATE_LIMITED and "calls / month" in words:  # a trial key's; waiting does not help
        reason = Reason.OUT_OF_CREDIT
    return failure(
        reason,
        message,
        status,
        retry_after_s=retry_after_s(headers, message),
        should_retry=should_retry(headers),
        named_by_caller=reason is Reason.NOT_FOUND and "model" not in words,
    )


def in_band(said: Mapping[str, Json], finish: str = "ERROR") -> UpstreamError:
    """Reads an error that came with a 200: `error` and `error_type` beside a finish of ERROR or TIMEOUT."""
    message = _message(said, f"the provider ended its answer with {finish}")
    reason = _BY_TYPE.get(str(said.get("error_type")), Reason.TIMEOUT if finish == "TIMEOUT" else Reason.SERVER_ERROR)
    return failure(reason, message, 400 if reason is Reason.CONTEXT_TOO_LONG else None)


def _too_long(said: Mapping[str, Json], words: str) -> bool:
    # The same words tell of a `max_tokens` above the model's own, which is no matter of the prompt.
    if "max tokens must be" in words:
        return False
    return said.get("error_type") == "TOO_MANY_TOKENS" or words.startswith("too many tokens")


def _message(said: Mapping[str, Json], otherwise: str) -> str:
    for name in ("message", "error", "detail"):
        value = said.get(name)
        if isinstance(value, str) and value:
            return value
    return otherwise
