"""Errors in Anthropic's shape, by the type that its SDKs and Claude Code tell them by.

Source: https://platform.claude.com/docs/en/api/errors (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.errors import CallError

_encode: Final = msgspec.json.Encoder().encode

_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

# The words by which Anthropic's own clients know that a conversation has to be made shorter.
_TOO_LONG: Final = "prompt is too long"


class _Error(msgspec.Struct):
    type: str
    message: str


class _Envelope(msgspec.Struct):
    error: _Error
    request_id: str | None
    type: str = "error"


def error_body(error: CallError) -> bytes:
    """Writes Anthropic's error object; the field at fault stands in the message, as Anthropic's own do it."""
    message = error.message
    if error.code == "context_length_exceeded" and _TOO_LONG not in message.lower():
        message = f"{_TOO_LONG}: {message}"
    elif error.param and error.param not in message:
        message = f"{error.param}: {message}"
    kind = _TYPES.get(error.status) or ("invalid_request_error" if error.status < 500 else "api_error")
    return _encode(_Envelope(_Error(kind, message), error.request_id))


def error_event(error: CallError) -> bytes:
    """Writes an error as a stream's last event: SDKs raise on it, so no `message_stop` follows."""
    return b"event: error\ndata: " + error_body(error) + b"\n\n"
