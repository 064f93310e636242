"""Opens connections to upstreams, directly or through an outbound proxy, and learns what they will speak."""

from __future__ import annotations

import asyncio
import base64
import errno
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers, Origin, Timeouts
from gateway.upstream.head import host_header
from gateway.upstream.tls import ResumingContext, client_context
from gateway.upstream.words import CONNECT, HANDSHAKE, lasts, unreached

_PORTS: Final = {"http": 80, "https": 443}
_MAX_BYTES: Final = 64 * 1024  # of what comes before anything was asked
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r\n]")
UPSTREAM: Final = "the upstream"
PROXY: Final = "the proxy"


class Proxy:
    """An outbound proxy; its credentials stand in no repr and no message."""

    __slots__ = ("_context", "authorization", "origin")

    def __init__(self, url: str, context: ResumingContext | None = None) -> None:
        """Without a context an https proxy is held to the system's authorities.

        Raises ValueError, without a word of the URL, where it is none that can be used.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError("this is not a URL") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("write http://… or https://…, with the proxy's host")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError("a proxy's URL has no path")
        self.origin = Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
        self._context = context
        self.authorization = b""  # the value of `proxy-authorization` (RFC 7617)
        if parts.username is not None:
            given = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self.authorization = b"Basic " + base64.b64encode(given.encode())

    def __repr__(self) -> str:
        return f"Proxy({self.origin})"

    @property
    def headers(self) -> Headers:
        """What goes to the proxy alone."""
        return ((b"proxy-authorization", self.authorization),) if self.authorization else ()

    @property
    def context(self) -> ResumingContext:
        """What verifies an https proxy."""
        self._context = self._context or client_context()
        return self._context

    def refused(self, status: int) -> UpstreamError:
        """Returns the error of a proxy that does not do what it was asked for."""
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            why = "refuses our credentials" if self.authorization else "asks for credentials"
        elif status == HTTPStatus.FORBIDDEN:
            why = "does not let calls through to this upstream"
        elif status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT):
            why = "could not reach the upstream"
        else:
            why = "does not open a way to the upstream"
        notify = status in (HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, HTTPStatus.FORBIDDEN)
        return UpstreamError(Reason.CONNECT, f"the proxy {why} (status {status})", sent=False, notify=notify)


class Opening(asyncio.Protocol):
    """A connection until it is known what it will speak."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def write(self, data: bytes) -> None:
        """Writes; raises OSError where the connection is gone."""
        self._open.write(data)

    async def read(self) -> bytes:
        """Returns what has come; raises OSError where nothing will."""
        while not self._received:
            if self._ended:
                raise self._why()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        received, self._received = self._received, b""
        return received

    async def secure(self, context: ResumingContext, host: str) -> str | None:
        """Shakes hands over what is there already, TLS or not; returns the protocol agreed on. Raises OSError."""
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(self._open, self, context, server_hostname=host)
        if secured is None:
            raise self._why()
        self._transport = secured
        agreed: str | None = secured.get_extra_info("ssl_object").selected_alpn_protocol()
        return agreed

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Gives the connection to who will speak on it, with what has come already; raises OSError where it is gone."""
        transport = self._open
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._received:
            protocol.data_received(self._received)

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def _open(self) -> asyncio.Transport:
        if self._transport is None or self._ended:
            raise self._why()
        return self._transport

    def _why(self) -> OSError:
        return self._error if isinstance(self._error, OSError) else ConnectionResetError(errno.ECONNRESET, "")

    # -- asyncio's callbacks -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket stands."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        """Keeps what comes: a proxy's answer, or what an upstream says unasked, as HTTP/2 does."""
        self._received += data
        if len(self._received) > _MAX_BYTES:
            self.abort()
        self._wake()

    def eof_received(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self._ended = True
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def dial(
    origin: Origin, context: ResumingContext | None, proxy: Proxy | None, timeouts: Timeouts, expires_at: float
) -> tuple[Opening, str | None]:
    """Opens a connection that leads to an origin; returns it with the protocol that TLS agreed on.

    Each step has its deadline: `timeouts.connect_s` for TCP, and for the proxy to connect on; `timeouts.tls_s` for each
    handshake. Within a proxy's tunnel the certificate is verified for the upstream's host, that of an https proxy for
    the proxy's. An upstream that is spoken to in clear is not tunnelled to: its proxy is sent the requests themselves.
    Raises UpstreamError: CONNECT, or TIMEOUT past `expires_at`.
    """
    loop, opening, agreed = asyncio.get_running_loop(), Opening(), None
    whom = UPSTREAM if proxy is None else PROXY
    first = origin if proxy is None else proxy.origin
    try:
        async with within(timeouts.connect_s, expires_at, whom):
            await loop.create_connection(lambda: opening, first.host, first.port)
        if proxy is not None and proxy.origin.scheme == "https":
            async with within(timeouts.tls_s, expires_at, PROXY, HANDSHAKE):
                await opening.secure(proxy.context, proxy.origin.host)
        if context is not None:
            if proxy is not None:
                async with within(timeouts.connect_s, expires_at, PROXY, CONNECT):
                    await _tunnel(opening, proxy, origin)
            async with within(timeouts.tls_s, expires_at, UPSTREAM, HANDSHAKE):
                agreed = await opening.secure(context, origin.host)
    except BaseException:
        opening.abort()
        raise
    return opening, agreed


async def _tunnel(opening: Opening, proxy: Proxy, origin: Origin) -> None:
    """Has the proxy connect on (RFC 9110, 9.3.6)."""
    host = host_header(origin)
    target = host if host.endswith(b":%d" % origin.port) else b"%b:%d" % (host, origin.port)
    lines = [b"CONNECT %b HTTP/1.1" % target, b"host: " + target, *(b"%b: %b" % header for header in proxy.headers)]
    opening.write(b"\r\n".join([*lines, b"", b""]))
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < _MAX_BYTES:
        answer += await opening.read()
    status = _STATUS.match(answer)
    if status is not None and not status[1].startswith(b"2"):
        raise proxy.refused(int(status[1]))
    if status is None or not answer.endswith(b"\r\n\r\n"):
        raise UpstreamError(Reason.CONNECT, "what stands at the proxy's address is no proxy", sent=False, notify=True)


@asynccontextmanager
async def within(limit_s: float, expires_at: float, whom: str, during: str = "") -> AsyncIterator[None]:
    """Holds one step of connecting to its deadline, and says in words how it failed."""
    limit = asyncio.get_running_loop().time() + limit_s
    try:
        async with asyncio.timeout_at(min(limit, expires_at)):
            yield
    except OSError as error:
        late = isinstance(error, TimeoutError) and expires_at < limit
        why = unreached(error, whom, during)
        reason = Reason.TIMEOUT if late else Reason.CONNECT
        raise UpstreamError(reason, why, sent=False, notify=lasts(error)) from None
