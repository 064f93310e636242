"""Errors as the admin surface answers them: in `/v1`'s shape or, where a browser asked for a page, as a page."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from gateway.core.errors import CallError


def answer_of(error: CallError) -> Response:
    """Returns the answer that is this error."""
    headers = {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, -int(-error.retry_after_s // 1)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)
