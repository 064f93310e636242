"""One connection to an upstream: bytes in and out, framing, back-pressure, and what its end means."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, cast

import httptools

from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.forms import Upload
from gateway.upstream.exchange import Http1Exchange
from gateway.upstream.inflate import Inflater
from gateway.upstream.sending import later, sending
from gateway.upstream.words import closed_early, lasts

if TYPE_CHECKING:
    from gateway.upstream.pool import Pool

MAX_HEAD_BYTES: Final = 64 * 1024  # and of anything else that is not body: trailers, chunk extensions
MAX_LINE_BYTES: Final = 16 * 1024
MAX_HEADERS: Final = 256
HIGH_WATER_BYTES: Final = 64 * 1024  # of body that nobody has taken: beyond it the socket is left unread
SLICE_BYTES: Final = 64 * 1024  # request bodies go out in slices of this size
RACE_S: Final = 1.0

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding", b"content-encoding"})


class StaleConnection(UpstreamError):
    """A kept connection turned out to be closed as the request went out; the request may be sent once more.

    A server closes an idle connection without having read what crosses its close on the way (RFC 9112, 9.3 and 9.5);
    RFC 9110, 9.2.2 lets a client repeat even a POST where it can tell that the first was never applied. What tells:
    the connection had idled before, not one byte came back, and the close came within a second of our writing. A
    server that dies over a request later than that is a failure like another, not a race, and nothing is repeated.
    """

    def __init__(self) -> None:
        super().__init__(Reason.CONNECT, "the upstream closed a kept connection as the request went out")


class _Refusal(Exception):
    """Stops the parser in the middle of a message."""


class Connection(asyncio.Protocol):
    """A socket with at most one exchange on it; idle without.

    Everything that ends a connection goes through `close`, everything that ends an exchange through `_finish` or
    `fail`, and each of them once.
    """

    __slots__ = (
        "_asked_at",
        "_bodiless",
        "_complete",
        "_drained",
        "_framing",
        "_headers",
        "_keep_alive",
        "_loop",
        "_overhead_bytes",
        "_parser",
        "_pool",
        "_reading_paused",
        "_sending",
        "_surplus",
        "_transport",
        "_until_close",
        "_writing_paused",
        "closed",
        "exchange",
        "idle_since",
        "uses",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self.exchange: Http1Exchange | None = None
        self.closed = False
        self.uses = 0
        self.idle_since = loop.time()
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing: dict[bytes, bytes] = {}
        self._overhead_bytes = 0  # bytes since the request, or since the last piece of body, that were not body
        self._asked_at = 0.0
        self._bodiless = False
        self._complete = False
        self._keep_alive = False
        self._surplus = False
        self._until_close = False
        self._sending = False
        self._reading_paused = False
        self._writing_paused = False
        self._drained: asyncio.Future[None] | None = None  # what an upload waits for

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, head: bytes, body: bytes, expires_at: float, *, bodiless: bool = False) -> Http1Exchange:
        """Sends a request and returns when the final head is there; `bodiless` marks an answer to HEAD.

        Raises StaleConnection, or UpstreamError as `Transport.send` does.
        """
        exchange = self.exchange = Http1Exchange(self, self._loop, expires_at, self._pool.max_body_bytes)
        self.uses += 1
        self._overhead_bytes = 0
        self._bodiless = bodiless
        self._complete = self._surplus = self._until_close = False
        self._asked_at = self._loop.time()
        try:
            if len(body) <= SLICE_BYTES:
                self._transport.write(head + body)
            else:
                await self._send_slices(exchange, head, body)
            while not exchange.status:
                if exchange.error is not None:
                    raise exchange.error
                await exchange.change()
        except BaseException:
            exchange.abort()
            raise
        return exchange

    async def _send_slices(self, exchange: Http1Exchange, head: bytes, body: bytes) -> None:
        """Writes a large request as fast as the upstream takes it; stops where the answer comes first."""
        self._sending = True
        self._transport.write(head)
        view = memoryview(body)
        for start in range(0, len(body), SLICE_BYTES):
            self._transport.write(view[start : start + SLICE_BYTES])
            while self._writing_paused:
                await exchange.change()
                if exchange.status or exchange.connection is None:
                    return
        self._sending = False

    async def upload(
        self, head: bytes, body: bytes, upload: Upload, expires_at: float, *, chunked: bool
    ) -> Http1Exchange:
        """Sends a request whose body is still coming, and returns as `ask` does; stops where the answer comes first.

        Raises what the upload raises, too.
        """
        exchange = self.exchange = Http1Exchange(self, self._loop, expires_at, self._pool.max_body_bytes)
        self.uses += 1
        self._overhead_bytes = 0
        self._bodiless = self._complete = self._surplus = self._until_close = False
        self._asked_at = self._loop.time()
        self._sending = True
        try:
            async with sending(self._send_upload(exchange, head, body, upload, chunked), exchange.wake) as failed:
                while not exchange.status:
                    if exchange.error is not None:
                        raise exchange.error
                    failed()
                    await exchange.change()
        except BaseException:
            exchange.abort()
            raise
        return exchange

    async def _send_upload(
        self, exchange: Http1Exchange, head: bytes, body: bytes, upload: Upload, chunked: bool
    ) -> None:
        """Writes a body as fast as the caller sends and the upstream takes it."""
        granted_s = exchange.expires_at - self._loop.time()
        write = self._transport.write
        write(head)
        piece: bytes | None = body
        while piece is not None:
            if piece:
                write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            while self._writing_paused:
                self._drained = self._loop.create_future()
                await self._drained
            exchange.expires_at = later(upload, exchange.expires_at, granted_s)
            piece = await upload.next()
        if chunked:
            write(b"0\r\n\r\n")
        self._sending = False

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop, and again by the pool once the connection speaks TLS."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._pool.register(self)

    def data_received(self, data: bytes) -> None:
        """Reads what came; bytes that answer no request end the connection."""
        exchange = self.exchange
        if exchange is None:
            self._close_stale()
            return
        self._overhead_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._complete:
                self._finish(exchange, reusable=False)
            else:
                self._fail_framing(exchange, error)
            return
        if self._complete:
            self._finish(exchange, reusable=self._keep_alive and not self._surplus and not self._unsent())
        elif self._overhead_bytes > MAX_HEAD_BYTES:
            self._fail_framing(exchange, _Refusal(f"more than {MAX_HEAD_BYTES} bytes without any body"))
        elif exchange.whole:
            if exchange.too_large:
                self.fail(exchange.oversize())
        elif exchange.status:
            exchange.arrived()
            if exchange.buffered_bytes > HIGH_WATER_BYTES and not self._reading_paused and self.exchange is exchange:
                self._reading_paused = True
                self._transport.pause_reading()

    def eof_received(self) -> None:
        """The peer will send no more: nothing more can be asked of it either."""
        self._peer_closed(None)

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._peer_closed(error)
        self._pool.forget(self)
        del self._parser  # it holds this object's methods: a circle that only the collector would open

    def pause_writing(self) -> None:
        """The upstream does not take what is sent."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The upstream takes bytes again."""
        self._writing_paused = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        if self.exchange is not None:
            self.exchange.wake()

    # -- httptools' callbacks ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A second message in the read that completed the first answers no request."""
        if self._complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Gathers the head's headers; trailers are let go."""
        if self.exchange is None or self.exchange.status:
            return
        name = name.lower()
        if name in _FRAMING:
            earlier = self._framing.get(name)
            self._framing[name] = value if earlier is None else earlier + b", " + value
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Turns a final head into the exchange's status and headers; interim ones (1xx) are passed over."""
        exchange = self.exchange
        if exchange is None or exchange.status:
            return
        status = self._parser.get_status_code()
        headers = self._headers
        framing = self._framing
        if self._overhead_bytes > MAX_LINE_BYTES or len(headers) > MAX_HEADERS:
            self._check_head()
        if status < 200:
            if status < 100 or status == 101:  # no upgrade was asked for
                raise _Refusal(f"the status {status} answers no request")
            headers.clear()
            framing.clear()
            return
        transfer = framing.get(b"transfer-encoding")
        if transfer is None:
            self._until_close = b"content-length" not in framing and status not in (204, 304)
        elif transfer.lower() != b"chunked":
            raise _Refusal("a transfer encoding other than chunked")
        encoding = framing.get(b"content-encoding")
        if encoding and encoding.lower() != b"identity" and not self._bodiless:
            exchange.inflater = Inflater(encoding.lower())
            exchange.headers = tuple(header for header in headers if header[0] not in _FRAMING)
        else:
            exchange.headers = tuple(headers)
        exchange.status = status
        headers.clear()
        framing.clear()
        if self._bodiless:
            self._complete = True
            # httptools cannot be told that this length announces no body (RFC 9110, 9.3.2): the connection is not kept.
            raise _Refusal("the head is all there is")

    def on_body(self, data: bytes) -> None:
        """Keeps a piece of body for whoever reads the exchange."""
        exchange = self.exchange
        if exchange is not None and not self._complete:
            exchange.pieces.append(data)
            exchange.buffered_bytes += len(data)
            self._overhead_bytes = 0

    def on_message_complete(self) -> None:
        """The final answer is whole; an interim one is no answer."""
        if not self._complete and self.exchange is not None and self.exchange.status:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()

    # -- for the pool ------------------------------------------------------------------------------------------------

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """The TLS side of an https connection."""
        return cast(ssl.SSLObject, self._transport.get_extra_info("ssl_object"))

    # -- endings -----------------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """Reads the socket again after the high-water mark had stopped it."""
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    def fail(self, error: UpstreamError) -> None:
        """Ends the exchange with an error, and the connection with it."""
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.connection = None
            exchange.error = error
            self.close()
            exchange.wake()

    def close(self) -> None:
        """Closes the socket at once and frees its place in the pool; may be called again."""
        if not self.closed:
            self.closed = True
            self._transport.abort()
            self._pool.removed(self)

    def _finish(self, exchange: Http1Exchange, *, reusable: bool) -> None:
        self.exchange = None
        exchange.connection = None
        if reusable:
            self.resume()
            self._pool.release(self)
        else:
            self.close()
        exchange.wake()

    def _unsent(self) -> bool:
        """An answer that comes before the request is out leaves a connection whose next bytes mean nothing."""
        return self._sending or self._transport.get_write_buffer_size() > 0

    def _close_stale(self) -> None:
        if not self.closed:
            self._pool.counters.closed_stale += 1
            self.close()

    def _peer_closed(self, error: Exception | None) -> None:
        exchange = self.exchange
        if exchange is None:
            self._close_stale()
        elif exchange.status:
            if self._until_close and error is None:
                self._finish(exchange, reusable=False)
            else:
                self.fail(StreamCut("the upstream closed the connection before the end of its answer"))
        elif self._overhead_bytes:
            self.fail(UpstreamError(Reason.SERVER_ERROR, "the upstream closed the connection in the middle of a head"))
        elif self.uses > 1 and self._loop.time() - self._asked_at < RACE_S:
            self.fail(StaleConnection())
        else:
            self.fail(UpstreamError(Reason.CONNECT, closed_early(error), notify=lasts(error)))

    def _fail_framing(self, exchange: Http1Exchange, error: Exception) -> None:
        cause = error.__context__
        if isinstance(cause, UpstreamError):
            self.fail(cause)
            return
        why = cause if isinstance(cause, _Refusal) else error  # httptools' own words hold no byte of what came
        if exchange.status:
            self.fail(StreamCut(f"the body is not HTTP: {why}"))
        else:
            self.fail(UpstreamError(Reason.SERVER_ERROR, f"the answer is not HTTP: {why}"))

    def _check_head(self) -> None:
        sizes = [len(name) + len(value) + 4 for name, value in self._headers]
        if len(sizes) > MAX_HEADERS:
            raise _Refusal(f"more than {MAX_HEADERS} headers")
        if sizes and max(sizes) > MAX_LINE_BYTES:
            raise _Refusal(f"a header of more than {MAX_LINE_BYTES} bytes")
        if sum(sizes) > MAX_HEAD_BYTES:
            raise _Refusal(f"headers of more than {MAX_HEAD_BYTES} bytes")
