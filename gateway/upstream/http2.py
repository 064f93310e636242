"""HTTP/2 towards upstreams (RFC 9113): many exchanges on one connection, on the state machine of h2."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, cast

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.forms import Upload
from gateway.core.types import Endpoint
from gateway.upstream.head import check_target, host_header, merged
from gateway.upstream.http2_exchange import Http2Exchange, Unseen
from gateway.upstream.sending import later, sending
from gateway.upstream.words import again, closed_early, lasts

MAX_STREAMS: Final = 100  # on one connection, where the upstream allows as many
WINDOW_BYTES: Final = 256 * 1024  # of one answer that nobody has taken
_CONNECTION_WINDOW_BYTES: Final = 2 * MAX_STREAMS * WINDOW_BYTES  # never the bound: a slow reader holds up no other
_DEFAULT_WINDOW_BYTES: Final = 65_535  # RFC 9113, 6.9.2
_SILENT_S: Final = 1.0  # a call given up after so long, with not one byte on the connection, speaks against it
_LAST_STREAM: Final = 2**31 - 1
_CUT: Final = "the upstream closed the connection before the end of its answer"

_FRAME_HEAD_BYTES: Final = 9
_GOAWAY: Final = 7  # RFC 9113, 6.8
_CONFIG: Final = h2.config.H2Configuration(header_encoding=None)


class Http2Connection(asyncio.Protocol):
    """A connection with up to `MAX_STREAMS` exchanges."""

    def __init__(self, max_body_bytes: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.heard_bytes = 0
        self.idle_since = self.loop.time()
        self.closed = False
        self.gone = False  # the loop has let go of the socket
        self.exchanges: dict[int, Http2Exchange] = {}
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport
        self._draining = False  # no further exchange may begin
        self._writing_paused = False
        self._received = b""  # less than a frame
        self._greeted = asyncio.Event()
        self._error: UpstreamError | None = None
        self._wire = h2.connection.H2Connection(_CONFIG)
        # As a whole, before the first frame: set one by one, each of them would be announced as a change.
        self._wire.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            },
        )

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """The TLS side."""
        return cast(ssl.SSLObject, self._transport.get_extra_info("ssl_object"))

    @property
    def fresh(self) -> bool:
        """Nothing was asked yet."""
        return self._wire.highest_outbound_stream_id == 0

    @property
    def free(self) -> bool:
        """One exchange more may begin."""
        most = min(MAX_STREAMS, self._wire.remote_settings.max_concurrent_streams)
        used_up = self._wire.highest_outbound_stream_id >= _LAST_STREAM - 1
        if not self._greeted.is_set():
            return False
        return not (self._draining or self.closed or used_up or len(self.exchanges) >= most)

    async def greeted(self) -> None:
        """Returns once the upstream has said how many exchanges it takes (RFC 9113, 3.4); raises UpstreamError."""
        await self._greeted.wait()
        if self._error is not None:
            error = again(self._error)
            error.sent = False
            raise error

    # -- asking ------------------------------------------------------------------------------------------------------

    async def ask(self, endpoint: Endpoint, request: UpstreamRequest, expires_at: float) -> Http2Exchange:
        """Sends a request and returns with the final head; raises as `Transport.send` does, and Unseen."""
        head = _head(endpoint, request)
        id = self._wire.get_next_available_stream_id()
        exchange = Http2Exchange(self, id, expires_at, self._max_body_bytes)
        upload = request.upload
        exchange.sent = not request.body and upload is None
        self._wire.send_headers(id, head, end_stream=exchange.sent)
        self.exchanges[id] = exchange
        self._flush()
        try:
            if upload is not None:
                async with sending(self._send_upload(exchange, request.body, upload), exchange.wake) as failed:
                    while not (exchange.status or exchange.error):
                        failed()
                        await exchange.change()
            elif request.body:
                await self._send(exchange, request.body)
            while not exchange.status:
                if exchange.error is not None:
                    raise exchange.error
                await exchange.change()
        except BaseException:
            exchange.abort()
            raise
        return exchange

    async def _send_upload(self, exchange: Http2Exchange, body: bytes, upload: Upload) -> None:
        """Sends a body as fast as the caller sends, and the windows and the socket take it."""
        granted_s = exchange.expires_at - self.loop.time()
        piece: bytes | None = body
        while piece is not None and not (exchange.status or exchange.error):
            await self._send(exchange, piece, last=False)
            exchange.expires_at = later(upload, exchange.expires_at, granted_s)
            piece = await upload.next()
        if piece is None and not (exchange.status or exchange.error):
            exchange.sent = True
            self._wire.end_stream(exchange.id)
            self._flush()

    async def _send(self, exchange: Http2Exchange, body: bytes, last: bool = True) -> None:
        """Sends the body as fast as the windows and the socket take it; stops where the answer comes first."""
        view = memoryview(body)
        while not (exchange.status or exchange.error):
            window_bytes = self._wire.local_flow_control_window(exchange.id)
            size = min(len(view), window_bytes, self._wire.max_outbound_frame_size)
            if size <= 0 or self._writing_paused:
                await exchange.change()
                continue
            whole = size == len(view)
            exchange.sent = whole and last
            self._wire.send_data(exchange.id, bytes(view[:size]), end_stream=exchange.sent)
            self._flush()
            if whole:
                return
            view = view[size:]

    # -- for exchanges and the transport -----------------------------------------------------------------------------

    def acknowledge(self, exchange: Http2Exchange) -> None:
        """Lets the upstream send as much again as was taken."""
        size, exchange.window_bytes = exchange.window_bytes, 0
        exchange.pieces.clear()
        if size and not self.closed:
            self._wire.acknowledge_received_data(size, exchange.id)
            self._flush()

    def leave(self, exchange: Http2Exchange) -> None:
        """Ends an exchange; one that is not whole is reset. May be called again."""
        if self.exchanges.pop(exchange.id, None) is None or self.closed:
            return
        self.acknowledge(exchange)
        if not (exchange.ended and exchange.sent):
            self._reset(exchange)
        self.idle_since = self.loop.time()
        self._close_if_done()

    def _reset(self, exchange: Http2Exchange) -> None:
        try:
            self._wire.reset_stream(exchange.id, h2.errors.ErrorCodes.CANCEL)
        except h2.exceptions.StreamClosedError:
            return  # the upstream was first
        self._flush()
        if self.heard_bytes == exchange.heard_bytes and self.loop.time() - exchange.asked_at >= _SILENT_S:
            self._draining = True  # perhaps nobody is there any more: others are not to find out in the same way

    def close(self, error: UpstreamError) -> None:
        """Closes the socket at once, and ends what is under way with this error; may be called again."""
        if not self.closed:
            self.closed = True
            self._error = error
            self._greeted.set()
            self._transport.abort()
            for exchange in list(self.exchanges.values()):
                cut = exchange.status and error.reason is not Reason.CANCELLED
                exchange.fail(StreamCut(_CUT) if cut else again(error))

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ours: the preface goes out (RFC 9113, 3.4)."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._wire.initiate_connection()
        self._wire.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - _DEFAULT_WINDOW_BYTES)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Reads what came; each exchange's share of it is bounded by its window."""
        if self.closed:
            return
        self.heard_bytes += len(data)
        try:
            self._received += data
            start = 0
            while end := self._frame_end(start):
                self._read_frame(self._received[start:end])
                start = end
            self._received = self._received[start:]
        except h2.exceptions.ProtocolError:
            self.close(UpstreamError(Reason.SERVER_ERROR, "the upstream's HTTP/2 breaks the protocol"))
            return
        self._flush()
        self._close_if_done()

    def eof_received(self) -> None:
        """The peer will send no more."""
        self.close(UpstreamError(Reason.CONNECT, closed_early(None)))

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self.gone = True
        self.close(UpstreamError(Reason.CONNECT, closed_early(error), notify=lasts(error)))

    def pause_writing(self) -> None:
        """The upstream does not take what is sent."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """The upstream takes bytes again."""
        self._writing_paused = False
        self._wake_all()

    # -- what comes --------------------------------------------------------------------------------------------------

    def _read_frame(self, frame: bytes) -> None:
        """Has h2 read a frame, unless it is GOAWAY: after one h2 takes no frame more, though the streams that the
        upstream has begun go on to their end (RFC 9113, 6.8)."""
        if frame[3] == _GOAWAY:
            body = frame[_FRAME_HEAD_BYTES:]
            self._go_away(int.from_bytes(body[:4]) & _LAST_STREAM)
            return
        for event in self._wire.receive_data(frame):
            self._heed(event)

    def _heed(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived(stream_id=int(id), headers=list(headers)) if id in self.exchanges:
                self.exchanges[id].begin(headers)
            case h2.events.DataReceived() if event.stream_id in self.exchanges:
                exchange = self.exchanges[event.stream_id]
                exchange.pieces.append(event.data)
                exchange.window_bytes += event.flow_controlled_length
                exchange.wake()
            case h2.events.StreamEnded(stream_id=int(id)) if id in self.exchanges:
                self.exchanges[id].ended = True
                self.exchanges[id].wake()
            case h2.events.StreamReset(stream_id=int(id), error_code=code) if id in self.exchanges:
                self.exchanges[id].fail(_told(self.exchanges[id], code))
            case h2.events.RemoteSettingsChanged():
                self._greeted.set()
                self._wake_all()
            case h2.events.WindowUpdated():
                self._wake_all()

    def _frame_end(self, start: int) -> int:
        """Returns where the frame that begins at `start` ends, or 0 while it has not all come."""
        if len(self._received) - start < _FRAME_HEAD_BYTES:
            return 0
        size = int.from_bytes(self._received[start : start + 3])
        if size > self._wire.max_inbound_frame_size:
            raise h2.exceptions.FrameTooLargeError
        end = start + _FRAME_HEAD_BYTES + size
        return end if end <= len(self._received) else 0

    def _go_away(self, last: int) -> None:
        """Begins no further exchange; those that the upstream will not look at are told so."""
        self._draining = True
        for exchange in list(self.exchanges.values()):
            if exchange.id > last:
                exchange.fail(Unseen())

    def _wake_all(self) -> None:
        for exchange in self.exchanges.values():
            exchange.wake()

    # -- what goes ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        data = self._wire.data_to_send()
        if data and not self.closed:
            self._transport.write(data)

    def _close_if_done(self) -> None:
        if self._draining and not self.exchanges:
            self.close(UpstreamError(Reason.CONNECT, closed_early(None)))


def _told(exchange: Http2Exchange, code: h2.errors.ErrorCodes | int | None) -> UpstreamError:
    """Returns what a reset of a stream means."""
    if exchange.status:
        return StreamCut("the upstream reset the stream before the end of its answer")
    if code == h2.errors.ErrorCodes.REFUSED_STREAM:
        return Unseen()
    name = code.name if isinstance(code, h2.errors.ErrorCodes) else f"code {code}"
    return UpstreamError(Reason.CONNECT, f"the upstream reset the stream before it answered: {name}")


def _head(endpoint: Endpoint, request: UpstreamRequest) -> list[tuple[bytes, bytes]]:
    """Returns a request's fields (RFC 9113, 8.3.1); raises UpstreamError(BAD_REQUEST) for what HTTP cannot carry."""
    check_target(request)
    head = [
        (b":method", request.method),
        (b":authority", host_header(endpoint.origin)),
        (b":scheme", endpoint.origin.scheme.encode()),
        (b":path", request.path),
        (b"accept-encoding", b"identity"),
        *((name.lower(), value) for name, value in merged(endpoint, request)),
    ]
    length: int | None = len(request.body)
    if request.upload is not None:
        length = None if request.upload.length is None else len(request.body) + request.upload.length
    if length is not None and (length or request.method not in (b"GET", b"HEAD")):
        head.append((b"content-length", b"%d" % length))
    return head
