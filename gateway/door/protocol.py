"""One caller's connection: an asyncio protocol on httptools' parser.

Holds the deadlines for a request's head and body, the bounds on everything that is not body, errors for what never
became a request, the news that a caller has gone, and a close that lets an early answer (413 to a body still being
sent) be read. No timer is armed per request: the server looks at every connection's deadlines a few times a second.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from math import inf
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final

import httptools
import msgspec

from gateway.core.errors import BadRequest, CallError, Overloaded, TooLarge
from gateway.door.errors import error_body, error_headers
from gateway.door.exchange import STATUS_LINES, Application, Exchange, RawHeaders
from gateway.door.head import scope_of

HIGH_WATER_BYTES: Final = 64 * 1024  # of a request's body that nobody has taken: beyond it the socket is left unread
BODY_BYTES_PER_S: Final = 16 * 1024  # a body that comes at this rate or faster has all the time it needs
MAX_PIPELINED: Final = 16  # requests that wait behind the one being answered; from half of that on no more are read
LINGER_S: Final = 5.0  # how long what a caller still sends is read and dropped after an early answer

_RESET: Final = struct.pack("ii", 1, 0)
_IDLE, _HEAD, _BODY, _DEAF = range(4)  # what a caller's next bytes belong to; deaf: they are dropped


class DoorLimits(msgspec.Struct, frozen=True):
    """Bounds on one connection; sizes in bytes, times in seconds."""

    head_bytes: int = 64 * 1024  # and of anything else that is not body: trailers, chunk extensions
    head_count: int = 100
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0  # beside a second for every BODY_BYTES_PER_S that have come
    idle_timeout_s: float = 75.0
    write_timeout_s: float = 120.0  # how long a caller may read nothing while an answer waits for it


class Terms(msgspec.Struct, frozen=True):
    """What the connections of one listener share."""

    application: Application
    limits: DoorLimits
    next_id: Callable[[], str]
    loop: asyncio.AbstractEventLoop
    connections: set[Any]
    tasks: set[asyncio.Task[None]]
    max_connections: int


class DoorProtocol(asyncio.Protocol):
    """One connection. One request is answered at a time; a few more may wait behind it."""

    __slots__ = (
        "_arriving",
        "_bare_bytes",
        "_client",
        "_drained",
        "_headers",
        "_last",
        "_parser",
        "_queued",
        "_reading",
        "_reading_paused",
        "_server",
        "_terms",
        "_timed",
        "_transport",
        "_uncounted",
        "_unwritten_bytes",
        "_upgrading",
        "_url",
        "exchange",
        "is_closing",
        "loop",
        "read_by",
        "tasks",
        "write",
        "write_by",
        "write_paused",
    )

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.loop = terms.loop
        self.tasks = terms.tasks
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: RawHeaders = []
        self._upgrading = False  # the head that came asks for another protocol
        self._reading = _IDLE
        self._timed = _IDLE  # what `read_by` is the deadline of
        self._bare_bytes = 0  # since the request began, or since the last piece of its body, that were not body
        self._uncounted = False  # what came last held some of something else, too
        self._reading_paused = False
        self._last = False  # no request after the next
        self.exchange: Exchange | None = None  # being answered
        self._arriving: Exchange | None = None  # its request is not whole yet
        self._queued: list[Exchange] = []
        self.write_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._unwritten_bytes = 0  # when last looked at
        self.read_by = inf  # monotonic seconds: by then what is due from the caller has come
        self.write_by = inf  # by then the caller has read something of what waits for it

    # -- the transport -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has connected."""
        terms = self._terms
        self._transport = transport
        self.write, self.is_closing = transport.write, transport.is_closing
        # A caller that has reset already has no name any more.
        self._client = (transport.get_extra_info("peername") or ("", 0))[:2]
        self._server = transport.get_extra_info("sockname")[:2]
        terms.connections.add(self)
        self.read_by = time.monotonic() + terms.limits.head_timeout_s
        if len(terms.connections) > terms.max_connections:
            self._write_error(Overloaded("too many connections are open", retry_after_s=1.0))
            self._close(read_on=False)

    def connection_lost(self, error: Exception | None) -> None:
        """The caller has gone: what was being answered is cancelled, what waited is dropped."""
        self._terms.connections.discard(self)
        exchange, self.exchange, self._arriving = self.exchange, None, None
        self._queued.clear()
        self._reading = _DEAF
        self._parser = None  # it holds our callbacks, and so ourselves
        self.resume_writing()
        if exchange is not None:
            exchange.lose()

    def data_received(self, data: bytes) -> None:
        """Parses what came; of a head, never more at a time than there may be."""
        limit = self._terms.limits.head_bytes
        while self._reading != _BODY and len(data) > (room := limit - self._bare_bytes):
            self._feed(data[:room])
            if self._reading == _HEAD and self._bare_bytes >= limit:
                self.refuse(self._head_too_large())
            data = data[room:]
            if self._reading == _DEAF:
                return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        while self._reading != _DEAF:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
                continue
            except httptools.HttpParserCallbackError as stopped:
                if not isinstance(stopped.__context__, CallError):
                    raise
                self.refuse(stopped.__context__)
            except httptools.HttpParserError as error:
                self.refuse(BadRequest(f"this is not a valid HTTP/1.1 request: {error}", code="invalid_http"))
            else:
                if self._reading:
                    self._expect_rest(len(data))
                self._uncounted = False
            return

    def _expect_rest(self, size: int) -> None:
        """A request has not come whole: bounds what is to come, in time and in bytes that are no body."""
        if not self._uncounted:
            self._bare_bytes += size
            if self._reading == _BODY and self._bare_bytes > self._terms.limits.head_bytes:
                self.refuse(TooLarge("the chunk extensions or trailers are too large", status=431))
                return
        if self._reading != self._timed:
            self._set_time()
        elif self._reading == _BODY:
            self.read_by += size / BODY_BYTES_PER_S

    def _set_time(self) -> None:
        """Sets by when what is due must have come; nothing is while an earlier request is being answered."""
        if self.exchange is None or self.exchange is self._arriving:
            limits, reading = self._terms.limits, self._reading
            self._timed = reading
            seconds = (limits.idle_timeout_s, limits.head_timeout_s, limits.body_timeout_s)[reading]
            self.read_by = time.monotonic() + seconds

    # -- the parser's callbacks: a CallError that they raise stops it, and is answered ---------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._reading = _HEAD

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip()))  # the parser leaves the blanks at a value's end

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if parser.should_upgrade() and parser.get_method() != b"CONNECT":
            self._upgrading = True
            return
        if len(headers) > self._terms.limits.head_count:
            raise self._head_too_large()
        scope = scope_of(parser.get_method().decode(), self._url, parser.get_http_version(), headers)
        scope["client"], scope["server"] = self._client, self._server
        exchange = Exchange(self, scope, keep_alive=parser.should_keep_alive() and not self._last)
        self._headers = []  # trailers come later, and are dropped
        self._bare_bytes, self._uncounted = 0, True
        self._reading = _BODY
        if self.exchange is None:
            self._begin(exchange)
        elif len(self._queued) < MAX_PIPELINED:
            self._queued.append(exchange)
            if len(self._queued) == MAX_PIPELINED // 2:
                self.pause_reading()  # not before: while nothing is read, nobody is seen to leave
        else:
            raise Overloaded("too many requests are pipelined")
        self._arriving = exchange

    def on_body(self, body: bytes) -> None:
        self._bare_bytes, self._uncounted = 0, True
        if self._arriving is not None and self._arriving.feed(body) > HIGH_WATER_BYTES:
            self.pause_reading()

    def on_message_complete(self) -> None:
        if not self._upgrading:
            self._reading = self._timed = _IDLE
            self._bare_bytes, self._uncounted = 0, True
            arriving, self._arriving = self._arriving, None
            if arriving is not None:
                self.read_by = inf
                arriving.feed_end()

    def _head_too_large(self) -> CallError:
        limits = self._terms.limits
        if len(self._url) > limits.head_bytes // 2:
            return TooLarge("the request's target is too long", status=414, code="uri_too_long")
        return TooLarge(
            f"the request's head passes {limits.head_bytes} bytes (server.max_headers) or {limits.head_count} lines",
            status=431,
            code="headers_too_large",
        )

    def _without_upgrade(self) -> bytes:
        """Begins the request anew without its wish for another protocol, which a server may ignore (RFC 9110, 7.8).

        The parser takes what follows such a head for that protocol's bytes, yet it is the request's body: Java's
        HttpClient asks for h2c with every request it sends over a plain connection, POSTs included.
        """
        parser, self._upgrading = self._parser, False
        head = b"%b %b HTTP/%b\r\n" % (parser.get_method(), self._url, parser.get_http_version().encode())
        lines = [b"%b: %b\r\n" % header for header in self._headers if header[0] != b"upgrade"]
        self._parser = httptools.HttpRequestParser(self)
        return b"%b%b\r\n" % (head, b"".join(lines))

    # -- answers -----------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.task = task = self.loop.create_task(exchange.run(self._terms.application))
        self.tasks.add(task)

    def answered(self, exchange: Exchange) -> None:
        """The answer is written: ends, or begins the request that waits, or waits for the next."""
        self.exchange = None
        if not exchange.keep_alive:
            self._close(read_on=self._reading != _IDLE or self._reading_paused)
            return
        if self._queued:
            self._begin(self._queued.pop(0))
        if not self._queued:
            self.resume_reading()
        self._set_time()

    def failed(self, exchange: Exchange, error: CallError) -> None:
        """The application left its answer undone: says so, or where that is too late, breaks off for all to see."""
        if exchange.left:
            self.abort()
        else:
            body = error_body(error)
            exchange.answer(error.status, error_headers(error, body, self._terms.next_id()), body)

    def refuse(self, error: CallError) -> None:
        """Ends hearing the caller: the requests that came whole are answered, then the connection ends.

        Where none did, the error is answered; it is, too, in place of the answer to a request whose body is at fault.
        """
        if self._reading == _DEAF:
            return
        self._reading = _DEAF
        self.read_by = inf
        arriving, self._arriving = self._arriving, None
        if self._queued and self._queued[-1] is arriving:
            self._queued.pop()
        elif arriving is not None and arriving is self.exchange:
            self.exchange = None
            arriving.lose()
            if arriving.left:
                self.abort()
                return
        if self.exchange is not None:
            (self._queued[-1] if self._queued else self.exchange).keep_alive = False
        else:
            self._write_error(error)
            self._close(read_on=True)

    def _write_error(self, error: CallError) -> None:
        body = error_body(error)
        headers = [*error_headers(error, body, self._terms.next_id()), (b"connection", b"close")]
        head = b"\r\n".join([STATUS_LINES[error.status], *(b": ".join(header) for header in headers)])
        self.write(b"%b\r\n\r\n%b" % (head, body))

    # -- how it ends -------------------------------------------------------------------------------------------------

    def _close(self, read_on: bool) -> None:
        """Ends our side once what was written has left; `read_on` where the caller may still be sending.

        Closing a socket that has unread bytes resets the connection, and the caller may lose the answer (RFC 9112,
        9.6): so then what still comes is read and dropped, until the caller closes or LINGER_S are over.
        """
        self._reading = _DEAF
        unwritten = self._unwritten_bytes = self._transport.get_write_buffer_size()
        self.read_by = time.monotonic() + (self._terms.limits.write_timeout_s if unwritten else LINGER_S)
        if read_on:
            self.resume_reading()
            self._transport.write_eof()
        else:
            self._transport.close()

    def expire(self, now: float) -> None:
        """A deadline has passed: who sends too slowly is told so, who reads nothing is cut off, the idle are let go."""
        limits = self._terms.limits
        if self.write_by < now:
            if self._reads_nothing():
                self.abort()
            self.write_by = now + limits.write_timeout_s
        elif self._reading == _DEAF:
            if self._reads_nothing():
                self.abort()
            self.read_by = now + (limits.write_timeout_s if self._unwritten_bytes else LINGER_S)
        elif self._reading == _IDLE:
            self._close(read_on=False)
        elif self._reading_paused or (self.exchange is not None and self.exchange.left):
            self.read_by = now + limits.body_timeout_s  # nobody waits for the body
        else:
            late = "head" if self._reading == _HEAD else "body"
            self.refuse(
                CallError(
                    f"the request's {late} came too slowly", status=408, type=BadRequest.type, code="request_timeout"
                )
            )

    def _reads_nothing(self) -> bool:
        """Says whether the caller has read nothing since this was asked last."""
        before, self._unwritten_bytes = self._unwritten_bytes, self._transport.get_write_buffer_size()
        return self._unwritten_bytes >= before

    def shutdown(self) -> None:
        """The server drains: an idle connection closes, another one after the answers that are due."""
        self._last = True
        if self.exchange is not None:
            (self._queued[-1] if self._queued else self.exchange).keep_alive = False
        elif self._reading == _IDLE:
            self._close(read_on=False)

    def abort(self) -> None:
        """Ends by a reset: an answer cut short is never taken for a whole one, and the kernel keeps nothing to send."""
        self._transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self._transport.abort()

    # -- back-pressure -----------------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        """Leaves what comes in the socket."""
        if not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads on, where reading had been paused."""
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """The caller reads too slowly: writers wait, as long as it reads at all."""
        self.write_paused = True
        self._unwritten_bytes = self._transport.get_write_buffer_size()
        self.write_by = time.monotonic() + self._terms.limits.write_timeout_s

    def resume_writing(self) -> None:
        """The caller has caught up, or has gone: writers go on."""
        self.write_paused = False
        self.write_by = inf
        drained = self._drained
        if drained is not None and not drained.done():
            drained.set_result(None)

    async def drain(self) -> None:
        """Waits until the caller has caught up or has gone."""
        while self.write_paused:
            self._drained = self.loop.create_future()
            await self._drained
