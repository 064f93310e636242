"""The fast transport: HTTP/1.1 on asyncio protocols and httptools, one pool of connections per origin.

An exchange costs one future and no timer: deadlines are watched by one sweep over everything that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.forms import Upload
from gateway.core.types import Endpoint, Origin, Timeouts
from gateway.upstream.connection import StaleConnection
from gateway.upstream.head import HeadWriter
from gateway.upstream.pool import Counters, Limits, Pool
from gateway.upstream.tls import ResumingContext, client_context
from gateway.upstream.transport import Exchange

_SWEEP_S: Final = 0.05  # how late a deadline may be noticed; a sweep over 5,000 open streams took 0.5 ms


class _Route(NamedTuple):
    """What an endpoint's requests have in common."""

    endpoint: Endpoint
    writer: HeadWriter
    pool: Pool


class Http1Transport:
    """Implements `Transport` over HTTP/1.1 (RFC 9110, RFC 9112).

    `idle_s` has to be below the upstreams' own limit. Without a `context` the system's authorities are trusted.
    `max_body_bytes` bounds `Exchange.read`; streams are bounded by back-pressure instead.
    """

    def __init__(
        self,
        *,
        max_connections_per_origin: int = 8192,
        max_idle_per_origin: int = 256,
        idle_s: float = 4.0,
        context: ResumingContext | None = None,
        max_body_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self.counters = Counters()
        self._limits = Limits(max_connections_per_origin, max_idle_per_origin, idle_s, max_body_bytes)
        self._context = context
        self._routes: dict[str, _Route] = {}
        self._pools: dict[Origin, Pool] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def active(self) -> int:
        """Connections that carry an exchange or are being opened for one."""
        return sum(pool.places_taken - len(pool.idle) for pool in self._pools.values())

    @property
    def idle(self) -> int:
        """Connections kept for the next request."""
        return sum(len(pool.idle) for pool in self._pools.values())

    def connections(self) -> Iterator[tuple[Origin, int, int]]:
        """Yields each origin with its active and its idle connections."""
        for origin, pool in list(self._pools.items()):
            yield origin, pool.places_taken - len(pool.idle), len(pool.idle)

    async def send(
        self, endpoint: Endpoint, request: UpstreamRequest, timeouts: Timeouts, expires_at: float
    ) -> Exchange:
        """Sends to the endpoint's origin and returns with the final head; see `Transport` and `StaleConnection`."""
        route = self._routes.get(endpoint.id)
        if route is None or route.endpoint is not endpoint:
            route = self._compile(endpoint)
        if request.upload is not None:
            return await self._upload(route, request, request.upload, timeouts, expires_at)
        head = route.writer.head(request)
        pool = route.pool
        connection = pool.take()
        if connection is None:
            self._watch()
            connection = await pool.open(timeouts, expires_at)
        bodiless = request.method == b"HEAD"
        try:
            return await connection.ask(head, request.body, expires_at, bodiless=bodiless)
        except StaleConnection:
            self.counters.resent += 1
        pool = self._pool(endpoint.origin)  # the sweep may have dropped the one whose last connection that was
        self._watch()
        connection = await pool.open(timeouts, expires_at)
        return await connection.ask(head, request.body, expires_at, bodiless=bodiless)

    async def _upload(
        self, route: _Route, request: UpstreamRequest, upload: Upload, timeouts: Timeouts, expires_at: float
    ) -> Exchange:
        """Sends what can be sent once only: over a new connection, for a kept one may turn out to be closed."""
        length = None if upload.length is None else len(request.body) + upload.length
        head = route.writer.upload_head(request, length)
        self._watch()
        connection = await route.pool.open(timeouts, expires_at)
        return await connection.upload(head, request.body, upload, expires_at, chunked=length is None)

    def break_off(self, origin: Origin, why: str) -> None:
        """Ends what waits for an origin; see `Transport`."""
        pool = self._pools.get(origin)
        if pool is not None:
            pool.break_off(why)

    async def aclose(self) -> None:
        """Closes every connection and returns when their sockets are gone."""
        self._closed = True
        self._routes.clear()
        for pool in self._pools.values():
            pool.close()
        while any(pool.has_sockets for pool in self._pools.values()):
            await asyncio.sleep(0)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _compile(self, endpoint: Endpoint) -> _Route:
        """Makes an endpoint's route; a reloaded config brings new endpoints, which take the place of the old."""
        route = self._routes[endpoint.id] = _Route(endpoint, self._make_writer(endpoint), self._pool(endpoint.origin))
        return route

    def _pool(self, origin: Origin) -> Pool:
        if self._closed:
            raise UpstreamError(Reason.CANCELLED, "the transport is closed")
        pool = self._pools.get(origin)
        if pool is None:
            context = None
            if origin.scheme == "https":
                context = self._context = self._context or self._make_context()
            pool = self._pools[origin] = self._make_pool(origin, context)
        return pool

    def _make_context(self) -> ResumingContext:
        return client_context()

    def _make_writer(self, endpoint: Endpoint) -> HeadWriter:
        return HeadWriter(endpoint)

    def _make_pool(self, origin: Origin, context: ResumingContext | None) -> Pool:
        return Pool(asyncio.get_running_loop(), origin, context, self._limits, self.counters)

    def _watch(self) -> None:
        """Starts the sweep; it goes on by itself while anything is open."""
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for pool in self._pools.values():
            pool.sweep(now)
        unused = {origin for origin, pool in self._pools.items() if pool.unused}
        if unused:
            for origin in unused:
                del self._pools[origin]
            self._routes = {id: route for id, route in self._routes.items() if route.endpoint.origin not in unused}
        self._sweeper = loop.call_later(_SWEEP_S, self._sweep, loop) if self._pools else None
