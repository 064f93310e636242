"""One request and its answer over a caller's connection: the `receive` and `send` of ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog

from gateway.core.errors import CALLER_GONE, CallError, Overloaded

Message = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status.value >= 200
} | {499: b"HTTP/1.1 499 Client Closed Request", 529: b"HTTP/1.1 529 Overloaded"}

PUSH: Final = "headgate.push"  # where a scope holds `Exchange.push`, which other servers do not have
_EMPTY: Final = frozenset((204, 304))  # what has no body by its status
_NOTHING, _LENGTH, _CHUNKED, _CLOSE = range(4)  # what tells the caller where the body ends

_log = structlog.get_logger(__name__)


class Wire(Protocol):
    """What an exchange needs of its connection."""

    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]
    write_paused: bool

    def write(self, data: bytes) -> None:
        """Sends bytes, or keeps them until they can be sent."""
        ...

    def is_closing(self) -> bool:
        """Says whether what is written now goes nowhere."""
        ...

    async def drain(self) -> None:
        """Waits until the caller has read enough of what was written."""
        ...

    def resume_reading(self) -> None:
        """Reads on, where reading had been paused."""
        ...

    def answered(self, exchange: Exchange) -> None:
        """The answer is written whole."""
        ...

    def failed(self, exchange: Exchange, error: CallError) -> None:
        """The application is done, but its answer is not: tells the caller, in whatever way is left."""
        ...


class Exchange:
    """One request and its answer.

    The connection calls `feed`, `feed_end` and `lose`, the application `receive` and `send`. The head of an answer
    leaves with its first piece, in one write.
    """

    __slots__ = (
        "_begun",
        "_body",
        "_body_bytes",
        "_continued",
        "_delivered",
        "_framing",
        "_head",
        "_remaining",
        "_waiter",
        "_wire",
        "complete",
        "gone",
        "keep_alive",
        "left",
        "scope",
        "task",
        "whole",
    )

    def __init__(self, wire: Wire, scope: Message, keep_alive: bool) -> None:
        self._wire = wire
        self.scope = scope
        self.keep_alive = keep_alive
        self.task: asyncio.Task[None] | None = None
        self.whole = False  # the request has come to its end
        self.left = False  # the answer has begun to leave
        self.complete = False  # the answer has come to its end
        self.gone = False  # nobody is there to be answered
        self._begun = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._delivered = False
        self._continued = False
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._framing = _NOTHING
        self._remaining = 0  # what is to come of the answer's content-length

    # -- what the connection tells -----------------------------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """Takes a piece of the request's body; returns how many bytes now wait for the application."""
        self._body.append(data)
        self._body_bytes += len(data)
        if self._waiter is not None:
            self._wake()
        return self._body_bytes

    def feed_end(self) -> None:
        """The request is whole."""
        self.whole = True
        if self._waiter is not None:
            self._wake()

    def lose(self) -> None:
        """Nobody is left to answer: whoever works on it is cancelled."""
        self.gone = True
        self._wake()
        task = self.task
        if task is not None:
            task.cancel(CALLER_GONE)
            if not self._begun:  # cancelled before its first step, `run` never gets to its own clearing up
                self._wire.tasks.discard(task)

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- the application ---------------------------------------------------------------------------------------------

    async def run(self, application: Application) -> None:
        """Runs the application to its end; an answer that it leaves undone is the connection's to end."""
        self._begun = True
        error: CallError | None = None
        self.scope[PUSH] = self.push
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            error = Overloaded("the gateway is stopping", code="stopping", retry_after_s=1.0)
            raise
        except Exception:  # noqa: BLE001 - the outermost rim: a defect costs one answer, and is seen
            _log.exception("the application failed", path=self.scope["path"])
        finally:
            del self.scope[PUSH]  # a circle that only the collector would open
            if self.task is not None:
                self._wire.tasks.discard(self.task)
            if not self.complete and not self.gone:
                self._wire.failed(self, error or CallError("the gateway failed to answer: a defect of its own"))

    async def receive(self) -> Message:
        """Returns the next piece of the body; after the last, waits for the caller's going or the answer's end."""
        while not self._body and (self._delivered or not self.whole):
            if self.gone or self.complete:
                return {"type": "http.disconnect"}
            if not self._continued:
                self._continued = True
                self._invite()
            self._wire.resume_reading()
            self._waiter = self._wire.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        pieces, whole = self._body, self.whole
        self._body, self._body_bytes, self._delivered = [], 0, whole
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not whole}

    def _invite(self) -> None:
        # A caller whose body is on its way already does not wait to be asked for it (RFC 9110, 10.1.1).
        if self.whole or self.left or self.scope["http_version"] == "1.0":
            return
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.scope["headers"]):
            self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def send(self, message: Message) -> None:
        """Takes the head or a piece of the answer; waits while the caller reads too slowly.

        Raises RuntimeError for what would not be HTTP: a second head, a body before its head or after its end, another
        length than was promised.
        """
        wire = self._wire
        if wire.write_paused and not self.gone:
            await wire.drain()
        if self.gone:
            return
        if message["type"] == "http.response.body":
            more = message.get("more_body", False)
            self._send_body(message.get("body", b""), more)
            if more and wire.is_closing():
                await asyncio.sleep(0)  # lets the news that the caller has gone arrive before the next piece is made
        elif self._head or self.left:
            raise RuntimeError("the answer has a head already")
        else:
            self._start(message["status"], message["headers"])

    def push(self, data: bytes) -> bool:
        """Sends a piece of a body that goes on; says False where the caller reads too slowly, or has gone."""
        if self.gone:
            return False
        wire = self._wire
        self._send_body(data, more=True)
        return not (wire.write_paused or wire.is_closing())

    def answer(self, status: int, headers: RawHeaders, body: bytes) -> None:
        """Answers in the application's place; nothing may have left yet. `headers` hold the content-length."""
        self._start(status, headers)
        self._send_body(body, more=False)

    def _start(self, status: int, headers: RawHeaders) -> None:
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        length = None
        for header in headers:
            if header[0] == b"content-length":
                length = int(header[1])
            lines.append(b": ".join(header))
        old = self.scope["http_version"] == "1.0"
        if status in _EMPTY:
            self._framing = _NOTHING
        elif length is not None:
            self._framing, self._remaining = _LENGTH, length
        elif old:  # the end of the connection is the end of the body (RFC 9112, 6.3)
            self._framing, self.keep_alive = _CLOSE, False
        else:
            self._framing = _CHUNKED
            lines.append(b"transfer-encoding: chunked")
        if not self.whole:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close")
        elif old:
            lines.append(b"connection: keep-alive")
        if self.scope["method"] == "HEAD":
            self._framing = _NOTHING
        head = b"%b\r\n\r\n" % b"\r\n".join(lines)
        ends = len(lines) + 1
        if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
            # A value may hold a caller's or a provider's words: a line end in them would make headers of its own.
            head = b"\r\n".join([*(line.translate(None, b"\r\n\0") for line in lines), b"\r\n"])
        self._head = head

    def _send_body(self, body: bytes, more: bool) -> None:
        head, framing = self._head, self._framing
        if self.complete or not (head or self.left):
            raise RuntimeError("a body belongs between the head of an answer and its end")
        if framing == _LENGTH:
            self._remaining -= len(body)
            if self._remaining and (self._remaining < 0 or not more):
                raise RuntimeError("the answer is not as long as its content-length")
            data = head + body if head else body
        elif framing == _CHUNKED:
            end = b"" if more else b"0\r\n\r\n"
            data = b"%b%x\r\n%b\r\n%b" % (head, len(body), body, end) if body else head + end
        else:
            data = head + body if framing == _CLOSE else head
        if data:
            self._head = b""
            self.left = True
            self._wire.write(data)
        if not more:
            self.complete = True
            if self._waiter is not None:
                self._wake()
            self._wire.answered(self)
