"""The second transport: the fast one, over connections that go through an outbound proxy and may speak HTTP/2."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Origin, Timeouts
from gateway.upstream.connection import Connection
from gateway.upstream.dial import UPSTREAM, Opening, Proxy, dial, within
from gateway.upstream.head import HeadWriter
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.http2 import Http2Connection
from gateway.upstream.http2_exchange import Unseen
from gateway.upstream.pool import CLOSED, Counters, Limits, Pool
from gateway.upstream.tls import HTTP2, ResumingContext, client_context
from gateway.upstream.transport import Exchange
from gateway.upstream.words import GREETING, again, lost


class NegotiatingTransport(Http1Transport):
    """Implements `Transport`: over TLS it speaks which of `protocols` the upstream prefers, else HTTP/1.1.

    A `context` is one that offers them; without one the system's authorities are trusted.
    """

    def __init__(
        self,
        *,
        context: ResumingContext | None = None,
        protocols: tuple[str, ...] = HTTP2,
        proxy: Proxy | None = None,
        **limits: Any,
    ) -> None:
        super().__init__(context=context, **limits)
        self._protocols = protocols
        self._proxy = proxy
        self._places: dict[Origin, _Place] = {}

    @property
    def active(self) -> int:
        """Connections that carry exchanges or are being opened for one."""
        return super().active + sum(place.active for place in self._places.values())

    @property
    def idle(self) -> int:
        """Connections kept for the next request."""
        return super().idle + sum(place.idle for place in self._places.values())

    def connections(self) -> Iterator[tuple[Origin, int, int]]:
        """Yields origins with their active and their idle connections, once for each protocol."""
        yield from super().connections()
        for origin, place in list(self._places.items()):
            yield origin, place.active, place.idle

    async def send(
        self, endpoint: Endpoint, request: UpstreamRequest, timeouts: Timeouts, expires_at: float
    ) -> Exchange:
        """Sends to the endpoint's origin and returns with the final head; see `Transport`."""
        if endpoint.origin.scheme == "http":
            exchange = await super().send(endpoint, request, timeouts, expires_at)
            if self._proxy is not None and exchange.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                exchange.abort()
                raise self._proxy.refused(exchange.status)
            return exchange
        place = self._places.get(endpoint.origin)
        if place is None:
            place = self._places[endpoint.origin] = _Place()
        while True:
            try:
                if place.speaks_http1:
                    return await super().send(endpoint, request, timeouts, expires_at)
                connection = place.free() or await self._open(place, endpoint.origin, timeouts, expires_at)
            except _SpeaksHttp2 as agreed:
                connection = await self._adopt(place, agreed.opening, timeouts, expires_at)
            if connection is not None:
                return await self._ask(place, connection, endpoint, request, timeouts, expires_at)

    def break_off(self, origin: Origin, why: str) -> None:
        """Ends what waits for an origin; see `Transport`."""
        super().break_off(origin, why)
        place = self._places.get(origin)
        for connection in place.connections if place is not None else ():
            connection.close(UpstreamError(Reason.TIMEOUT, why))

    async def aclose(self) -> None:
        """Closes every connection and returns when their sockets are gone."""
        connections = [each for place in self._places.values() for each in place.connections]
        for connection in connections:
            connection.close(UpstreamError(Reason.CANCELLED, CLOSED))
        await super().aclose()
        while not all(connection.gone for connection in connections):
            await asyncio.sleep(0)
        self._places.clear()

    # -- HTTP/2 ------------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        place: _Place,
        connection: Http2Connection,
        endpoint: Endpoint,
        request: UpstreamRequest,
        timeouts: Timeouts,
        expires_at: float,
    ) -> Exchange:
        """Asks over HTTP/2; what the upstream did not look at is sent once more (RFC 9113, 8.7)."""
        fresh = connection.fresh
        try:
            exchange = await connection.ask(endpoint, request, expires_at)
        except Unseen:
            if request.upload is not None and request.upload.spent:
                raise
            other = place.free() or await self._open(place, endpoint.origin, timeouts, expires_at)
            if other is None:
                raise
            return await other.ask(endpoint, request, expires_at)
        if fresh and self._context is not None:
            self._context.remember(endpoint.origin.host, connection.ssl_object)
        return exchange

    async def _open(
        self, place: _Place, origin: Origin, timeouts: Timeouts, expires_at: float
    ) -> Http2Connection | None:
        """Opens a connection; None where it speaks HTTP/1.1, and is kept for that.

        One is opened at a time: who waited for it shares it, or its failure.
        """
        failures = place.failures
        try:
            async with asyncio.timeout_at(expires_at):
                await place.opening.acquire()
        except TimeoutError:
            raise UpstreamError(
                Reason.TIMEOUT, "no connection to the upstream came about in time", sent=False
            ) from None
        try:
            connection = place.free()
            if connection is not None or place.speaks_http1:
                return connection
            if place.failure is not None and place.failures > failures:
                raise again(place.failure)
            pool = self._pool(origin)
            self._watch()
            try:
                pool.release(await pool.open(timeouts, expires_at))
            except _SpeaksHttp2 as agreed:
                return await self._adopt(place, agreed.opening, timeouts, expires_at)
        except UpstreamError as error:
            if error.reason is Reason.CONNECT:
                place.failure = error
                place.failures += 1
            raise
        finally:
            place.opening.release()
        place.speaks_http1 = True
        return None

    async def _adopt(self, place: _Place, opening: Opening, timeouts: Timeouts, expires_at: float) -> Http2Connection:
        """Makes an HTTP/2 connection of one that has agreed to it, and waits for the upstream's first word."""
        if self._closed:
            opening.abort()
            raise UpstreamError(Reason.CANCELLED, CLOSED)
        connection = Http2Connection(self._limits.max_body_bytes)
        async with within(timeouts.tls_s, expires_at, UPSTREAM, GREETING):
            opening.hand_over(connection)
            place.connections.append(connection)
            try:
                await connection.greeted()
            except BaseException:
                connection.close(UpstreamError(Reason.CANCELLED, "nobody waits for it any more"))
                raise
        self.counters.opened += 1
        place.speaks_http1 = False
        return connection

    # -- what the base makes -----------------------------------------------------------------------------------------

    def _make_pool(self, origin: Origin, context: ResumingContext | None) -> Pool:
        return _DiallingPool(origin, context, self._limits, self.counters, self._proxy)

    def _make_writer(self, endpoint: Endpoint) -> HeadWriter:
        if self._proxy is None or endpoint.origin.scheme == "https":
            return HeadWriter(endpoint)
        return HeadWriter(endpoint, through=self._proxy.headers)

    def _make_context(self) -> ResumingContext:
        return client_context(protocols=self._protocols)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for place in self._places.values():
            place.sweep(loop.time() - self._limits.idle_s)
        super()._sweep(loop)
        self._places = {
            origin: place
            for origin, place in self._places.items()
            if place.connections or place.opening.locked() or origin in self._pools
        }
        if self._places:
            self._watch()


class _Place:
    """What is known of one origin, and its HTTP/2 connections."""

    def __init__(self) -> None:
        self.connections: list[Http2Connection] = []
        self.opening = asyncio.Lock()
        self.speaks_http1 = False
        self.failure: UpstreamError | None = None
        self.failures = 0

    @property
    def active(self) -> int:
        """Connections with exchanges."""
        return sum(bool(each.exchanges) for each in self.connections if not each.closed)

    @property
    def idle(self) -> int:
        """Connections without."""
        return sum(not each.exchanges for each in self.connections if not each.closed)

    def free(self) -> Http2Connection | None:
        """Returns a connection on which one exchange more may begin, the oldest first, so that few stay in use."""
        return next((each for each in self.connections if each.free), None)

    def sweep(self, idle_before: float) -> None:
        """Closes what has idled since then; forgets what is gone."""
        for connection in self.connections:
            if not connection.exchanges and connection.idle_since <= idle_before:
                connection.close(UpstreamError(Reason.CANCELLED, "it idled too long"))
        self.connections = [each for each in self.connections if not each.gone]


class _SpeaksHttp2(Exception):
    """A connection turned out to speak HTTP/2."""

    def __init__(self, opening: Opening) -> None:
        super().__init__()
        self.opening = opening


class _DiallingPool(Pool):
    """A pool whose connections may go through a proxy; one that turns out to speak HTTP/2 is not for it."""

    def __init__(
        self,
        origin: Origin,
        context: ResumingContext | None,
        limits: Limits,
        counters: Counters,
        proxy: Proxy | None,
    ) -> None:
        super().__init__(asyncio.get_running_loop(), origin, context, limits, counters)
        self._proxy = proxy

    async def _connect(self, connection: Connection, timeouts: Timeouts, expires_at: float) -> None:
        """Raises _SpeaksHttp2, or UpstreamError as the base does."""
        try:
            opening, agreed = await dial(self._origin, self._context, self._proxy, timeouts, expires_at)
            if agreed == "h2":
                raise _SpeaksHttp2(opening)
            opening.hand_over(connection)
            if connection.closed:
                raise ConnectionResetError(errno.ECONNRESET, "")
        except (OSError, UpstreamError) as error:
            if self._closed:
                raise UpstreamError(Reason.CANCELLED, CLOSED) from None
            if isinstance(error, OSError):
                raise lost(error) from None
            raise
