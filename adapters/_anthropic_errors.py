"""Anthropic's errors, as an HTTP answer or as an event in a stream, as one reason each.

Source: https://platform.claude.com/docs/en/api/errors and …/api/rate-limits (2026-11-20).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Final

from adapters._failure import decoded, failure, object_of, wordless
from adapters._retry_after import retry_after_s, should_retry
from gateway.core.blocks import Json
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

_BY_TYPE: Final[Mapping[str, tuple[Reason, int]]] = {
    "invalid_request_error": (Reason.BAD_REQUEST, 400),
    "authentication_error": (Reason.UNAUTHENTICATED, 401),
    "billing_error": (Reason.OUT_OF_CREDIT, 402),
    "permission_error": (Reason.UNAUTHENTICATED, 403),
    "not_found_error": (Reason.NOT_FOUND, 404),
    "request_too_large": (Reason.BAD_REQUEST, 413),
    "rate_limit_error": (Reason.RATE_LIMITED, 429),
    "api_error": (Reason.SERVER_ERROR, 500),
    "timeout_error": (Reason.TIMEOUT, 504),
    "overloaded_error": (Reason.OVERLOADED, 529),
}
_BY_STATUS: Final[Mapping[int, Reason]] = {
    401: Reason.UNAUTHENTICATED,
    402: Reason.OUT_OF_CREDIT,
    403: Reason.UNAUTHENTICATED,
    404: Reason.NOT_FOUND,
    408: Reason.ABORTED,
    425: Reason.ABORTED,
    429: Reason.RATE_LIMITED,
    503: Reason.OVERLOADED,
    504: Reason.TIMEOUT,
    529: Reason.OVERLOADED,
}

# All of these come as a 400 invalid_request_error; only the words tell them apart.
_BY_WORDS: Final = (
    ("credit balance is too low", Reason.OUT_OF_CREDIT),
    ("credit balance too low", Reason.OUT_OF_CREDIT),
    ("reached your specified api usage limits", Reason.OUT_OF_CREDIT),
    ("prompt is too long", Reason.CONTEXT_TOO_LONG),
    ("exceed context limit", Reason.CONTEXT_TOO_LONG),
    ("exceeds the context window", Reason.CONTEXT_TOO_LONG),
    ("blocked by content filtering policy", Reason.CONTENT_FILTERED),
)


def fault(status: int, headers: Headers, body: bytes) -> UpstreamError:
    """Reads an answer that is not 2xx; a body that is not Anthropic's is read by its status alone."""
    error = object_of(object_of(decoded(body)).get("error"))
    wait_s = retry_after_s(headers, "")
    return _error(
        error,
        status,
        _until_reset_s(headers) if wait_s is None else wait_s,
        should_retry(headers),
    )


def in_band(error: Json) -> UpstreamError:
    """Reads the `error` of an event, or of a body that came with a 200."""
    return _error(object_of(error), None, None, None)


def _error(error: Mapping[str, Json], status: int | None, wait_s: float | None, retry: bool | None) -> UpstreamError:
    kind = error.get("type")
    message = error.get("message")
    reason, usual = _BY_TYPE.get(kind if isinstance(kind, str) else "", (None, None))
    if status is None:
        status = usual
    if status is not None and (reason is None or status >= 500):
        reason = _BY_STATUS.get(status) or (reason if status >= 500 else None) or _by_class(status)
    if reason is None:
        reason = Reason.SERVER_ERROR
    if not isinstance(message, str) or not message:
        message = wordless(status)
    if reason is Reason.BAD_REQUEST:
        words = message.lower()
        reason = next((found for said, found in _BY_WORDS if said in words), reason)
    return failure(
        reason,
        message,
        status,
        retry_after_s=wait_s,
        should_retry=retry,
        # "model: claude-…" speaks of the deployment; a file or a container is the caller's own.
        named_by_caller=reason is Reason.NOT_FOUND and kind == "not_found_error" and "model" not in message.lower(),
    )


def _by_class(status: int) -> Reason:
    return Reason.BAD_REQUEST if 400 <= status < 500 else Reason.SERVER_ERROR


# -- how long to wait ---------------------------------------------------------------------------------------------

_RESET: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)")


def _until_reset_s(headers: Headers) -> float | None:
    """Returns the seconds until every limit that is used up is there again, counted from the answer's own `date`.

    `anthropic-ratelimit-tokens-remaining: 0` goes with `anthropic-ratelimit-tokens-reset`, a time as in RFC 3339.
    """
    fields = {name: value.decode("latin-1").strip() for name, value in headers}
    date = parsedate_tz(fields.get(b"date", ""))
    if date is None:
        return None
    resets = []
    for name, left in fields.items():
        if left == "0" and name.startswith(b"anthropic-ratelimit-") and name.endswith(b"-remaining"):
            match = _RESET.match(fields.get(name.removesuffix(b"remaining") + b"reset", ""))
            if match is not None:
                resets.append(calendar.timegm(tuple(map(int, match.groups()))))
    return float(max(0, max(resets) - mktime_tz(date))) if resets else None
