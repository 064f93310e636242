"""The connections to one origin: kept warm, limited in number, lent in turn."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import msgspec

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Origin, Timeouts
from gateway.upstream.connection import Connection
from gateway.upstream.tls import ResumingContext
from gateway.upstream.words import HANDSHAKE, lasts, unreached

CLOSED: Final = "the transport is closed"


class Limits(msgspec.Struct, frozen=True):
    """What one origin may take up. `idle_s` stays below the upstream's own: vLLM closes after 5 s."""

    max_connections: int
    max_idle: int
    idle_s: float
    max_body_bytes: int


class Counters:
    """What a transport has done since it began, summed over origins."""

    __slots__ = ("closed_stale", "opened", "resent", "reused")

    def __init__(self) -> None:
        self.opened = 0
        self.reused = 0
        self.resent = 0
        self.closed_stale = 0  # idle connections that the peer closed, or spoke on unasked


class Pool:
    """Lends connections, last in first out, so that few stay warm and the rest expire.

    A place is a connection that is open or being opened. While anybody waits, nothing is idle and no place is free:
    a connection given back, or a place freed, goes to who has waited longest.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        origin: Origin,
        context: ResumingContext | None,
        limits: Limits,
        counters: Counters,
    ) -> None:
        self.max_body_bytes = limits.max_body_bytes
        self.counters = counters
        self.idle: list[Connection] = []  # longest idle first
        self.places_taken = 0
        self._loop = loop
        self._origin = origin
        self._context = context
        self._limits = limits
        self._closed = False
        self._connections: set[Connection] = set()  # until the loop has let go of their sockets
        self._waiting: deque[tuple[asyncio.Future[Connection | None], float]] = deque()

    @property
    def has_sockets(self) -> bool:
        """Some socket is not gone yet."""
        return bool(self._connections)

    @property
    def unused(self) -> bool:
        """Nothing is open or being opened, nobody waits, every socket is gone."""
        return not (self._connections or self.places_taken or self._waiting)

    # -- lending -----------------------------------------------------------------------------------------------------

    def take(self) -> Connection | None:
        """Returns an idle connection that has not expired, or None."""
        idle = self.idle
        now = self._loop.time()
        while idle:
            connection = idle.pop()
            if connection.idle_since + self._limits.idle_s > now:
                self.counters.reused += 1
                return connection
            connection.close()
        return None

    async def open(self, timeouts: Timeouts, expires_at: float) -> Connection:
        """Returns a new connection or, where the limit is reached, the first that another call gives back.

        Raises UpstreamError: CONNECT past `timeouts` or where it is refused, TIMEOUT past `expires_at`.
        """
        while True:
            if self._closed:
                raise UpstreamError(Reason.CANCELLED, CLOSED)
            if self.places_taken < self._limits.max_connections:
                self.places_taken += 1
                break
            if self.idle:
                self.idle[0].close()
                continue
            given = await self._turn(expires_at)
            if given is None:
                break
            if not given.closed:
                self.counters.reused += 1
                return given
        connection = Connection(self, self._loop)
        try:
            await self._connect(connection, timeouts, expires_at)
        except BaseException:
            self.forget(connection)
            if not connection.closed:
                connection.closed = True
                self._free_place()
            raise
        self.counters.opened += 1
        return connection

    def release(self, connection: Connection) -> None:
        """Takes a connection back after a whole exchange."""
        if connection.closed:
            return
        self._remember(connection)
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return
        if len(self.idle) >= self._limits.max_idle:
            connection.close()
            return
        connection.idle_since = self._loop.time()
        self.idle.append(connection)

    def removed(self, connection: Connection) -> None:
        """Frees the place of a connection that has been closed."""
        self._remember(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._free_place()

    # -- the sockets -------------------------------------------------------------------------------------------------

    def register(self, connection: Connection) -> None:
        """Watches a connection that has a socket; none is wanted any more once the pool is closed."""
        self._connections.add(connection)
        if self._closed:
            connection.close()

    def forget(self, connection: Connection) -> None:
        """Lets go of a connection whose socket is gone."""
        self._connections.discard(connection)

    def sweep(self, now: float) -> None:
        """Closes what has idled too long; fails exchanges and waiting calls past their deadline."""
        while self.idle and self.idle[0].idle_since + self._limits.idle_s <= now:
            self.idle[0].close()
        for connection in tuple(self._connections):
            exchange = connection.exchange
            if exchange is not None and exchange.expires_at <= now and exchange.awaited:
                connection.fail(UpstreamError(Reason.TIMEOUT, "the upstream was silent for too long"))
        for future, expires_at in self._waiting:
            if expires_at <= now and not future.done():
                future.set_exception(
                    UpstreamError(Reason.TIMEOUT, "no connection to the upstream became free in time", sent=False)
                )
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()

    def break_off(self, why: str) -> None:
        """Fails the exchanges that somebody waits in, and closes what idles: it is of no use either."""
        for connection in tuple(self._connections):
            exchange = connection.exchange
            if exchange is not None and exchange.awaited:
                connection.fail(UpstreamError(Reason.TIMEOUT, why))
        for connection in tuple(self.idle):
            connection.close()

    def close(self) -> None:
        """Closes everything; whoever waits is told CANCELLED."""
        self._closed = True
        for future, _ in self._waiting:
            if not future.done():
                future.set_exception(UpstreamError(Reason.CANCELLED, CLOSED))
        self._waiting.clear()
        for connection in tuple(self._connections):
            connection.fail(UpstreamError(Reason.CANCELLED, CLOSED))
            connection.close()

    def _remember(self, connection: Connection) -> None:
        """Keeps the session of a connection that was used once: for the next one, should this be closed or not."""
        if self._context is not None and connection.uses == 1:
            self._context.remember(self._origin.host, connection.ssl_object)

    async def _turn(self, expires_at: float) -> Connection | None:
        """Waits in line for a connection, or for a place to open one (None)."""
        future: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append((future, expires_at))
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                given = future.result()  # it came as the waiting task was cancelled: on to the next
                if given is None:
                    self._free_place()
                else:
                    self.release(given)
            raise

    def _free_place(self) -> None:
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self.places_taken -= 1

    async def _connect(self, connection: Connection, timeouts: Timeouts, expires_at: float) -> None:
        """Connects and, for https, shakes hands; both loops set TCP_NODELAY by themselves."""
        loop = self._loop
        raw: asyncio.Transport | None = None
        during = ""
        limit = min(loop.time() + timeouts.connect_s, expires_at)
        try:
            async with asyncio.timeout_at(limit):
                raw, _ = await loop.create_connection(lambda: connection, self._origin.host, self._origin.port)
            if self._context is not None and not connection.closed:
                during = HANDSHAKE
                limit = min(loop.time() + timeouts.tls_s, expires_at)
                async with asyncio.timeout_at(limit):
                    secured = await loop.start_tls(raw, connection, self._context, server_hostname=self._origin.host)
                if secured is None:
                    raise ConnectionError
                connection.connection_made(secured)
            if connection.closed:
                raise ConnectionError
        except BaseException as error:
            if raw is not None:
                raw.abort()
            if not isinstance(error, OSError):
                raise
            if self._closed:
                raise UpstreamError(Reason.CANCELLED, CLOSED) from None
            late = isinstance(error, TimeoutError) and limit == expires_at
            reason = Reason.TIMEOUT if late else Reason.CONNECT
            why = unreached(error, during=during)
            raise UpstreamError(reason, why, sent=False, notify=lasts(error)) from None
