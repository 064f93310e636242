"""How an error looks where no dialect speaks: OpenAI's shape, with the headers that its kind calls for."""

from __future__ import annotations

import msgspec

from gateway.core.errors import CallError, WrongMethod
from gateway.door.exchange import RawHeaders


def error_body(error: CallError) -> bytes:
    """Writes an error in OpenAI's shape."""
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def error_headers(error: CallError, body: bytes, request_id: str) -> RawHeaders:
    """Returns the headers of an answer that is this error, its content-length included."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after_s // 1))))
    if isinstance(error, WrongMethod):
        headers.append((b"allow", error.allow.encode()))
    headers += error.headers
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    headers.append((b"content-length", b"%d" % len(body)))
    return headers
