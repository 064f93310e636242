"""The ASGI application: finds the handler of a path, and turns every error that was meant into an answer."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from gateway.core.errors import CallError, ClientGone, TooLarge, UnknownPath, WrongMethod
from gateway.door.protocol import Message

Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Handler = Callable[[Message, Receive, Send], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")


class Door:
    """Dispatches by path and method. `routes`: exact path -> method -> handler; `prefixes` are tried after those."""

    def __init__(
        self, routes: Mapping[str, Mapping[str, Handler]], prefixes: Mapping[str, Mapping[str, Handler]]
    ) -> None:
        self._routes = routes
        self._prefixes = tuple(prefixes.items())

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers one request."""
        try:
            await self._find(scope["path"], scope["method"])(scope, receive, send)
        except CallError as error:
            await answer_error(send, error, error_body(error))

    def _find(self, path: str, method: str) -> Handler:
        methods = self._routes.get(path)
        if methods is None:
            methods = next((each for prefix, each in self._prefixes if path.startswith(prefix)), None)
        if methods is None:
            close = difflib.get_close_matches(path, self._routes, n=1, cutoff=0.6)
            raise UnknownPath(f"nothing is served at {path[:200]}" + (f"; did you mean {close[0]}?" if close else ""))
        handler = methods.get(method) or methods.get("*") or (methods.get("GET") if method == "HEAD" else None)
        if handler is None:
            allow = ", ".join(methods)
            raise WrongMethod(f"{path[:200]} takes {allow}, not {method[:20]}", allow)
        return handler


def error_body(error: CallError) -> bytes:
    """Writes an error in OpenAI's shape: for paths that have no dialect of their own."""
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}
    )


def error_headers(error: CallError) -> list[tuple[bytes, bytes]]:
    """Returns the headers that an error brings with it."""
    headers = []
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, -int(-error.retry_after_s // 1))))
    if isinstance(error, WrongMethod):
        headers.append((b"allow", error.allow.encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


async def answer_error(
    send: Send, error: CallError, body: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Sends an error's body with its status and headers."""
    await answer(send, error.status, body, [JSON, *error_headers(error), *(headers or [])])


async def answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Sends a whole answer; adds its length."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(scope: Message, receive: Receive, limit: int) -> bytes:
    """Reads a request's body; raises TooLarge at once where its length says so, else as soon as it passes `limit`."""
    too_large = f"the request's body is larger than {limit} bytes (server.max_body)"
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise TooLarge(too_large)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message["body"]
    if not message["more_body"]:
        return body
    pieces, size = [body], len(body)
    while message["more_body"]:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message["body"])
        size += len(pieces[-1])
        if size > limit:
            raise TooLarge(too_large)
    return b"".join(pieces)
