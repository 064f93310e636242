"""One caller's connection: uvicorn's httptools protocol with what it lacks.

Adds deadlines for a request's head and body, limits on its head, errors in the caller's own shape, the news that a
caller has gone (its task is cancelled), and a close that lets an early answer (413 to a body still being sent) be
read. No timer is armed per request: `Sweeper` looks at every connection's `deadline` a few times a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from math import inf
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import CALLER_GONE

Message = MutableMapping[str, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
    if status.value >= 200
} | {529: b"HTTP/1.1 529 Overloaded\r\n", 499: b"HTTP/1.1 499 Client Closed Request\r\n"}

LINGER_S: Final = 2.0  # how long what a caller still sends is read and dropped after an early answer


class DoorLimits(msgspec.Struct, frozen=True):
    """Bounds on one connection; sizes in bytes, times in seconds."""

    head_bytes: int = 32 * 1024
    head_count: int = 100
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 120.0  # how long a caller may read nothing while an answer waits for it


class Exchange:
    """One request and its answer: the `receive` and `send` of ASGI, over one connection."""

    __slots__ = (
        "_body",
        "_length_left",
        "_more_body",
        "_waiter",
        "chunked",
        "complete",
        "expects_continue",
        "gone",
        "keep_alive",
        "owner",
        "scope",
        "started",
        "task",
    )

    def __init__(self, owner: DoorProtocol, scope: Message, keep_alive: bool, expects_continue: bool) -> None:
        self.owner = owner
        self.scope = scope
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.task: asyncio.Task[None] | None = None
        self.gone = False
        self.started = False
        self.complete = False
        self.chunked = False
        self._length_left = 0
        self._body: list[bytes] = []
        self._more_body = True
        self._waiter: asyncio.Future[None] | None = None

    # -- what the connection tells -------------------------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """Takes a piece of the body; returns how many bytes wait to be received."""
        self._body.append(data)
        self._wake()
        return sum(map(len, self._body)) if len(self._body) > 1 else len(data)

    def feed_end(self) -> None:
        """The request is whole."""
        self._more_body = False
        self._wake()

    def lose(self) -> None:
        """The caller has gone: whoever works on the answer is cancelled."""
        self.gone = True
        self._wake()
        if self.task is not None:
            self.task.cancel(CALLER_GONE)

    @property
    def body_received(self) -> bool:
        return not self._more_body

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # -- ASGI ------------------------------------------------------------------------------------------------------

    async def run(self, application: Application) -> None:
        """Runs the application; a defect in it becomes a 500, or a closed connection once an answer has begun."""
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self.complete and not self.gone:
                self.owner.transport.close()
            raise
        except Exception:  # noqa: BLE001 - the outermost rim: a defect must not take the connection's task down unseen
            self.owner.logger.exception("the application failed")
        if not self.complete and not self.gone:
            if self.started:
                self.owner.transport.close()
            else:
                self.owner.refuse(500, "internal_error", "the gateway failed to answer; this is a defect of ours")

    async def receive(self) -> Message:
        """Returns the next piece of the body, or the news that the caller has gone."""
        if self.expects_continue and not self.gone:
            self.expects_continue = False
            self.owner.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self._body and self._more_body and not self.gone and not self.complete:
            self.owner.flow.resume_reading()
            self._waiter = self.owner.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.gone or self.complete:
            return {"type": "http.disconnect"}
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: Message) -> None:
        """Writes the head or a piece of the answer; waits while the caller reads too slowly."""
        flow = self.owner.flow
        if flow.write_paused and not self.gone:
            await flow.drain()
        if self.gone:
            return
        if message["type"] == "http.response.start":
            self._send_head(message["status"], message["headers"])
        else:
            self._send_body(message.get("body", b""), message.get("more_body", False))

    def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started = True
        lines = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        length = None
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            if b"\n" in value or b"\r" in value or b"\0" in value:
                value = value.translate(None, b"\r\n\0")
            lines += (name, b": ", value, b"\r\n")
        if not self.body_received:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if length is None and self.scope["http_version"] == "1.0":
            self.keep_alive = False  # the end of the connection is the end of the body (RFC 9112, 6.3)
        elif length is None and status not in (204, 304):
            self.chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            self._length_left = length or 0
        lines.append(b"\r\n")
        # Head and first piece leave in one write: the head waits for it.
        self.owner.pending_head = b"".join(lines)

    def _send_body(self, body: bytes, more: bool) -> None:
        owner = self.owner
        head, owner.pending_head = owner.pending_head, b""
        if self.scope["method"] == "HEAD":
            body = b""
            if not more:
                owner.transport.write(head)
        elif self.chunked:
            end = b"" if more else b"0\r\n\r\n"
            if body:
                owner.transport.write(b"%b%x\r\n%b\r\n%b" % (head, len(body), body, end))
            elif head or end:
                owner.transport.write(head + end)
        else:
            self._length_left -= len(body) if self._length_left else 0
            owner.transport.write(head + body if head else body)
        if not more:
            if self._length_left and self.scope["method"] != "HEAD":
                owner.transport.close()  # fewer bytes than promised: never a clean end
            self.complete = True
            owner.answered(self)


class DoorProtocol(HttpToolsProtocol):
    """One connection; `limits` and `sweeper` are set on the subclass that `protocol_class` makes."""

    limits = DoorLimits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.exchange: Exchange | None = None
        self.queued: list[Exchange] = []
        self.pending_head = b""
        self.head_bytes = 0
        self.lingering = False
        self.phase = "idle"  # idle, head, body, answer: of the newest request
        self.deadline = time.monotonic() + self.limits.head_timeout_s

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        exchange = self.exchange
        self.flow.resume_writing()
        if exchange is not None and not exchange.complete:
            exchange.lose()
        self.queued.clear()
        self.deadline = inf
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self.lingering:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.refuse(426, "upgrade_refused", "this address speaks HTTP/1.1 alone; protocol upgrades are not taken")
        except httptools.HttpParserError as error:
            if not self.lingering:
                self.refuse(400, "invalid_http", f"not a valid HTTP/1.1 request: {type(error).__name__}")

    # -- the parser's callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.head_bytes = 0
        self.expect_100_continue = False
        self.phase = "head"
        self.deadline = time.monotonic() + self.limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.head_bytes:
            self.refuse(414, "uri_too_long", f"the request's target is longer than {self.limits.head_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.head_bytes += len(name) + len(value) + 4
        self.headers.append((name, value))
        if self.head_bytes > self.limits.head_bytes or len(self.headers) > self.limits.head_count:
            self.refuse(
                431,
                "headers_too_large",
                f"the request's headers pass {self.limits.head_bytes} bytes or {self.limits.head_count} lines",
            )
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def on_headers_complete(self) -> None:
        if self.lingering:
            return
        url = self.url
        if url.startswith(b"/"):
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path or b"/", parsed.query or b""
        path = raw_path.decode("latin-1")
        version = self.parser.get_http_version()
        exchange = Exchange(
            self,
            {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": version,
                "method": self.parser.get_method().decode("latin-1"),
                "scheme": self.scheme,
                "path": unquote(path) if "%" in path else path,
                "raw_path": raw_path,
                "query_string": query,
                "root_path": "",
                "headers": self.headers,
                "client": self.client,
                "server": self.server,
                "state": self.app_state,
            },
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue,
        )
        self.phase = "body"
        self.deadline = time.monotonic() + self.limits.body_timeout_s
        self.arriving = exchange
        if self.exchange is None:
            self._begin(exchange)
        else:  # pipelined: answered in order
            self.flow.pause_reading()
            self.queued.append(exchange)

    def on_body(self, body: bytes) -> None:
        if not self.lingering and not self.arriving.complete and self.arriving.feed(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()

    def on_message_complete(self) -> None:
        if not self.lingering:
            self.phase = "answer"
            self.deadline = inf
            self.arriving.feed_end()

    # -- answers -----------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self.exchange = exchange
        task = self.loop.create_task(exchange.run(self.app))
        exchange.task = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def answered(self, exchange: Exchange) -> None:
        """The answer is written: waits for the next request, begins the queued one, or closes."""
        self.server_state.total_requests += 1
        self.exchange = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._close(read_on=not exchange.body_received)
        elif self.queued:
            self._begin(self.queued.pop(0))
        else:
            self.flow.resume_reading()
            if self.phase == "answer":
                self.phase = "idle"
                self.deadline = time.monotonic() + self.limits.idle_timeout_s

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answers what never became a request (or broke the application) in OpenAI's error shape, and closes."""
        if self.lingering or self.transport.is_closing():
            return
        body = msgspec.json.encode(
            {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
        )
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (STATUS_LINES[status], len(body), body)
        )
        self._close(read_on=True)

    def _close(self, read_on: bool) -> None:
        # Closing while the caller still sends makes the kernel reset the connection, and the answer is lost
        # (RFC 9112, 9.6): so our side ends, and what comes is dropped for a while.
        if read_on and self.transport.can_write_eof():
            self.lingering = True
            self.deadline = time.monotonic() + LINGER_S
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    def expire(self) -> None:
        """The deadline has passed: a head or body that came too slowly is told so, an idle connection is closed."""
        self.deadline = inf
        exchange = self.exchange
        if self.lingering or self.phase == "answer":
            self.transport.abort()
        elif self.phase == "idle":
            self.transport.close()
        elif exchange is None:
            self.refuse(408, "request_timeout", f"the request's {self.phase} came too slowly")
        elif exchange is self.arriving:
            if not exchange.started:
                self.refuse(408, "request_timeout", f"the request's {self.phase} came too slowly")
            exchange.lose()

    def pause_writing(self) -> None:
        """The caller reads too slowly: writers wait, for a bounded time."""
        self.flow.pause_writing()
        if self.phase == "answer":
            self.deadline = time.monotonic() + self.limits.write_timeout_s

    def resume_writing(self) -> None:
        """The caller reads again."""
        self.flow.resume_writing()
        if self.phase == "answer":
            self.deadline = inf

    def shutdown(self) -> None:
        """The server drains: an idle connection closes, a busy one after its answer."""
        if self.exchange is None or self.exchange.complete:
            self.transport.close()
        else:
            self.exchange.keep_alive = False


def protocol_class(limits: DoorLimits) -> type[DoorProtocol]:
    """Returns the protocol with these limits, as uvicorn's `http` setting takes it."""
    return cast("type[DoorProtocol]", type("LimitedDoorProtocol", (DoorProtocol,), {"limits": limits}))


def sweep(connections: set[Any], now: float) -> None:
    """Ends the connections whose deadline has passed; called a few times a second."""
    for connection in [each for each in connections if isinstance(each, DoorProtocol) and each.deadline < now]:
        connection.expire()
