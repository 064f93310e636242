"""The gate in front of every `/admin` request: ASGI middleware that lets nobody in whom the keeper does not know.

Behind it a handler may trust `scope["state"]["visitor"]`; one that forgets to ask is still behind it. It bounds
bodies, and gives every answer the headers that keep a browser from doing more with it than we meant.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admin.errors import answer_of
from gateway.admin.keeper import Keeper
from gateway.core.errors import CallError, ClientGone, TooLarge, Unauthorized

LOGIN: Final = "/admin/login"
SESSION: Final = "/admin/session"
STATIC: Final = "/admin/static/"

# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy, 2026-11
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS: Final = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Gate:
    """Admits, bounds and seals; `max_body` is the largest body in bytes."""

    def __init__(self, app: ASGIApp, keeper: Keeper, max_body: int) -> None:
        self._app = app
        self._keeper = keeper
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or has it answered."""
        if scope["type"] != "http":
            raise RuntimeError("the admin surface speaks HTTP alone")

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._admit(scope, headers)
            body = await _read(headers, receive, self._max_body)
        except CallError as error:
            answer = answer_of(error)
            strange = isinstance(error, Unauthorized) or error.code == "open_door_refused"
            if strange and is_page(scope["method"], headers):
                answer = RedirectResponse(f"{LOGIN}?next={quote(_asked_for(scope), safe='/')}", 303)
            await answer(scope, receive, sealed)
            return
        await self._app(scope, _replay(body, receive), sealed)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        method, path, address = scope["method"], scope["path"], (scope.get("client") or ("", 0))[0]
        state = scope.setdefault("state", {})
        if path.startswith(STATIC):
            return
        if path == LOGIN or (path == SESSION and method == "POST"):
            self._keeper.check_host(headers)
            if method == "POST":
                self._keeper.check_origin(headers)
            return
        entry = self._keeper.enter(headers, method, address)
        state["visitor"], state["session"], state["csrf"] = entry.visitor, entry.session, entry.csrf


def _asked_for(scope: Scope) -> str:
    """Returns the path and the query: what pages show is in their query."""
    query: str = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def is_page(method: str, headers: Headers) -> bool:
    """Says whether a browser asks for a page to show, rather than a script for data."""
    return method == "GET" and "text/html" in headers.get("accept", "")


async def _read(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Reads a request's body; one without says so by having neither length nor coding (RFC 9112, 6.3)."""
    length = headers.get("content-length")
    if length is not None and int(length) > limit:
        raise _too_large(limit)
    pieces: list[bytes] = []
    size, more = 0, length is not None or "transfer-encoding" in headers
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request's body is larger than {limit} bytes (server.max_body)")
