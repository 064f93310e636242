"""httpx as a transport: a widely used client's own HTTP/1.1, HTTP/2 and proxies, for upstreams that ours do not suit.

It uses httpx's transport without its client: there is no redirect, cookie or environment to keep away from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final, cast

import httpx

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.forms import Upload
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.upstream.head import check_target, merged
from gateway.upstream.inflate import Inflater
from gateway.upstream.tls import HTTP2, ResumingContext, client_context

_DECODED: Final = (b"content-encoding", b"content-length", b"transfer-encoding")


class HttpxExchange:
    """An answer that httpx reads; implements `Exchange`."""

    def __init__(self, transport: HttpxTransport, response: httpx.Response, expires_at: float) -> None:
        """Raises UpstreamError(SERVER_ERROR) for a content encoding that cannot be decoded."""
        headers: Headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        encoding = response.headers.get("content-encoding", "identity").lower().encode("latin-1")
        self._inflater: Inflater | None = None
        if encoding not in (b"", b"identity"):
            self._inflater = Inflater(encoding)
            headers = tuple(header for header in headers if header[0] not in _DECODED)
        self.status = response.status_code
        self.headers = headers
        self.expires_at = expires_at
        self._transport = transport
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        self._pieces: AsyncIterator[bytes] = self._stream.__aiter__()
        self._ended = False
        transport.active += 1

    async def next(self, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Returns what has come, None at the end; hands nothing to `take`; see `Exchange`."""
        while True:
            inflater = self._inflater
            if inflater is None:
                data = await self._piece()
                if data is None or data:
                    return data
                continue
            try:
                if inflater.pending:
                    data = inflater.feed(b"")
                else:
                    encoded = await self._piece()
                    if encoded is None:
                        inflater.end()
                        return None
                    data = inflater.feed(encoded)
            except UpstreamError:
                self.abort()
                raise
            if data:
                return data

    async def read(self) -> bytes:
        """Returns the rest of the body; see `Exchange`."""
        pieces = []
        room = self._transport.max_body_bytes
        while (data := await self.next()) is not None:
            pieces.append(data)
            room -= len(data)
            if room < 0:
                self.abort()
                raise UpstreamError(
                    Reason.SERVER_ERROR, f"the answer is larger than {self._transport.max_body_bytes} bytes"
                )
        return b"".join(pieces)

    def abort(self) -> None:
        """Closes the stream unless it has ended."""
        if not self._ended:
            self._end()
            self._transport.close_stream(self._stream)

    def _end(self) -> None:
        self._ended = True
        self._transport.active -= 1

    async def _piece(self) -> bytes | None:
        if self._ended:
            return None
        try:
            async with asyncio.timeout_at(self.expires_at):
                return await anext(self._pieces)
        except StopAsyncIteration:
            self._end()
            await self._stream.aclose()
            return None
        except (TimeoutError, httpx.TimeoutException):
            self.abort()
            raise UpstreamError(Reason.TIMEOUT, "the upstream was silent for too long") from None
        except httpx.TransportError:
            self.abort()
            raise StreamCut("the upstream closed the connection before the end of its answer") from None
        except BaseException:
            self.abort()
            raise


class HttpxTransport:
    """Implements `Transport` over httpx; speaks HTTP/2 where the upstream's TLS offers it.

    `proxy` is a URL (http, https; credentials in it are used, never shown). Without a `context` the system's
    authorities are trusted.
    """

    def __init__(
        self,
        *,
        proxy: str | None = None,
        context: ResumingContext | None = None,
        max_connections: int = 1024,
        idle_s: float = 4.0,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._proxy = proxy
        self._context = context
        self.active = 0  # exchanges under way
        self._limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=idle_s)
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(
        self, endpoint: Endpoint, request: UpstreamRequest, timeouts: Timeouts, expires_at: float
    ) -> HttpxExchange:
        """Sends to the endpoint's origin and returns with the final head; see `Transport`."""
        check_target(request)
        origin = endpoint.origin
        headers = [*merged(endpoint, request), (b"accept-encoding", b"identity")]
        content = _body_of(request, headers)
        outgoing = httpx.Request(
            request.method.decode("ascii"),
            httpx.URL(scheme=origin.scheme, host=origin.host, port=origin.port, raw_path=request.path),
            headers=headers,
            content=content,
            # One figure that httpcore holds TCP and TLS to, each; all else is held to `expires_at`.
            extensions={"timeout": {"connect": max(timeouts.connect_s, timeouts.tls_s)}},
        )
        try:
            async with asyncio.timeout_at(expires_at):
                response = await self._open().handle_async_request(outgoing)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError):
            raise UpstreamError(Reason.CONNECT, "the upstream could not be reached", sent=False) from None
        except (httpx.ReadError, httpx.WriteError):
            raise UpstreamError(Reason.CONNECT, "the upstream closed the connection before it answered") from None
        except (TimeoutError, httpx.TimeoutException):
            raise UpstreamError(Reason.TIMEOUT, "the upstream was silent for too long") from None
        except httpx.RemoteProtocolError as error:
            if "without sending a response" in str(error):
                raise UpstreamError(Reason.CONNECT, "the upstream closed the connection before it answered") from None
            raise UpstreamError(Reason.SERVER_ERROR, "the answer is not HTTP") from None
        except httpx.TransportError:
            raise UpstreamError(Reason.SERVER_ERROR, "the exchange with the upstream failed") from None
        try:
            return HttpxExchange(self, response, expires_at)
        except UpstreamError:
            await response.stream.aclose()  # type: ignore[union-attr]  # an async transport's is always async
            raise

    def connections(self) -> Iterator[tuple[Origin, int, int]]:
        """Yields nothing: httpx does not tell what it holds."""
        return iter(())

    def break_off(self, origin: Origin, why: str) -> None:
        """Does nothing: httpx does not tell what it holds, and deadlines end it."""

    async def aclose(self) -> None:
        """Closes every connection."""
        self._closed = True
        if self._closing:
            await asyncio.wait(self._closing)
        if self._transport is not None:
            await self._transport.aclose()

    def close_stream(self, stream: httpx.AsyncByteStream) -> None:
        """Closes a stream soon: httpx can only be waited for, and whoever aborts cannot wait."""
        task = asyncio.get_running_loop().create_task(_close(stream))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _open(self) -> httpx.AsyncHTTPTransport:
        if self._closed:
            raise UpstreamError(Reason.CANCELLED, "the transport is closed")
        if self._transport is None:
            self._transport = httpx.AsyncHTTPTransport(
                verify=self._context or client_context(protocols=HTTP2),
                http2=True,
                proxy=self._proxy,
                limits=self._limits,
                trust_env=False,
            )
        return self._transport


def _body_of(request: UpstreamRequest, headers: list[tuple[bytes, bytes]]) -> bytes | AsyncIterator[bytes]:
    """Returns a body as httpx takes it; adds the length of one that is still coming, where it is known."""
    upload = request.upload
    if upload is None:
        return request.body
    if upload.length is not None:
        headers.append((b"content-length", b"%d" % (len(request.body) + upload.length)))
    return _pieces_of(request.body, upload)


async def _pieces_of(body: bytes, upload: Upload) -> AsyncIterator[bytes]:
    piece: bytes | None = body
    while piece is not None:
        if piece:
            yield piece
        piece = await upload.next()


async def _close(stream: httpx.AsyncByteStream) -> None:
    try:
        await stream.aclose()
    except httpx.HTTPError:
        pass  # what is thrown away may be broken already
