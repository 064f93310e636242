"""The ASGI application: finds the handler of a path, and turns every error that was meant into an answer."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from gateway.core.errors import CallError, ClientGone, TooLarge, UnknownPath, WrongMethod
from gateway.door.errors import error_body, error_headers
from gateway.door.exchange import Message, RawHeaders

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")


class Door:
    """Dispatches by path and method. `routes`: exact path -> method -> handler; `prefixes` are tried after those."""

    def __init__(
        self,
        routes: Mapping[str, Mapping[str, Handler]],
        prefixes: Mapping[str, Mapping[str, Handler]],
        next_id: Callable[[], str],
    ) -> None:
        self._routes = routes
        self._prefixes = tuple(prefixes.items())
        self.next_id = next_id

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            await self._find(scope["path"], scope["method"])(scope, receive, send)
        except CallError as error:
            await answer_error(send, error, error_body(error), self.next_id())

    def _find(self, path: str, method: str) -> Handler:
        methods = self._routes.get(path)
        if methods is None:
            methods = next((each for prefix, each in self._prefixes if path.startswith(prefix)), None)
        if methods is None:
            raise UnknownPath(f"nothing is served at {path[:200]}; {self._advice(path[:200])}")
        handler = methods.get(method) or methods.get("*") or (methods.get("GET") if method == "HEAD" else None)
        if handler is None:
            allow = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
            raise WrongMethod(f"{path[:200]} takes {allow}, not {method}", allow)
        return handler

    def _advice(self, path: str) -> str:
        """Says what somebody may have wanted who asked for a path that is none."""
        close = difflib.get_close_matches(path[:100], self._routes, n=1, cutoff=0.6)
        return f"did you mean {close[0]}?" if close else "a client's base URL ends in /v1"


async def answer_error(
    send: Send, error: CallError, body: bytes, request_id: str, more: RawHeaders | None = None
) -> None:
    """Sends an error's body with its status and headers."""
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [*error_headers(error, body, request_id), *(more or [])],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def answer(send: Send, status: int, body: bytes, headers: RawHeaders) -> None:
    """Sends a whole answer; adds its length."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(scope: Message, receive: Receive, limit: int) -> bytes:
    """Reads a request's body; raises TooLarge at once where its length says so, else as soon as it passes `limit`."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece, more = message["body"], message["more_body"]
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request's body is larger than {limit} bytes (server.max_body)")
