"""Ollama's errors, as an HTTP answer or as a line of a stream, as one reason each.

Source: https://docs.ollama.com/api/errors (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters._failure import MESSAGE_CHARACTERS_MAX, decoded, failure, object_of, wordless
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
    499: Reason.ABORTED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
}

# The words of its runners, whichever status they come with.
_BY_WORDS: Final = (
    ("exceeds the context length", Reason.CONTEXT_TOO_LONG),
    ("exceeds maximum context length", Reason.CONTEXT_TOO_LONG),
    ("exceeds the available context size", Reason.CONTEXT_TOO_LONG),
    ("prompt is too long", Reason.CONTEXT_TOO_LONG),
    ("server busy", Reason.OVERLOADED),
)


def fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; a body that is not Ollama's is read by its status alone."""
    message = _message(object_of(decoded(body)).get("error")) or wordless(status)
    reason = _BY_STATUS.get(status) or (Reason.BAD_REQUEST if 400 <= status < 500 else Reason.SERVER_ERROR)
    if reason in (Reason.BAD_REQUEST, Reason.SERVER_ERROR):
        reason = _by_words(message) or reason
    return _error(reason, message, status, headers)


def in_band(error: Json) -> UpstreamError:
    """Reads the `error` of a line, or of a body that came with a 200."""
    message = _message(error) or wordless(None)
    return _error(_by_words(message) or Reason.SERVER_ERROR, message, None, ())


def _error(reason: Reason, message: str, status: int | None, headers: Headers) -> UpstreamError:
    if reason is Reason.CONTEXT_TOO_LONG:
        status = 400  # a runner's complaint may come as a 500
    wait_s = retry_after_s(headers, message)
    return failure(reason, message, status, retry_after_s=wait_s, should_retry=should_retry(headers))


def _by_words(message: str) -> Reason | None:
    words = message.lower()
    return next((reason for said, reason in _BY_WORDS if said in words), None)


def _message(error: Json) -> str:
    """Returns the words: a string, or OpenAI's object where something before Ollama speaks."""
    if isinstance(error, dict):
        error = error.get("message")
    return error[:MESSAGE_CHARACTERS_MAX] if isinstance(error, str) else ""
