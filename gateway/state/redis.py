"""What several workers share over Redis. Every operation has a deadline; Redis going away stops no call."""

from __future__ import annotations

import asyncio
import math
from typing import Final

import msgspec
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.state.cache import Entry

DEADLINE_S: Final = 0.020  # of one operation on the path of a call
CONNECT_S: Final = 2.0  # of a connection, made off the path of any call
RECONNECT_S: Final = (0.1, 5.0)  # the first and the longest pause between attempts to reach Redis again
CONNECTIONS: Final = 8

_GONE: Final = (RedisError, OSError, TimeoutError)
_log = structlog.get_logger(__name__)


class RedisResponseCache:
    """Keeps answers in Redis, each under its own time to live.

    After a failure every operation is a miss at once, rather than after its deadline, until a connection made in the
    background stands again: a Redis that is down costs a call nothing.
    """

    __slots__ = ("_client", "_decoder", "_encoder", "_mending", "_prefix", "_ttl_ms", "up")

    def __init__(self, url: str, ttl_s: float, prefix: str = "headgate:cache:") -> None:
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=CONNECT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._client = redis.asyncio.Redis.from_pool(pool)
        self._prefix = prefix.encode()
        self._ttl_ms = math.ceil(ttl_s * 1000)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Entry)
        self._mending: asyncio.Task[None] | None = None
        self.up = False

    async def open(self) -> bool:
        """Connects, and returns whether Redis answered; where it did not, it is tried again in the background."""
        if await self._reached():
            self.up = True
        else:
            self._lost()
        return self.up

    async def get(self, key: bytes, now: float) -> Entry | None:
        """Returns what was kept under this key, or None: also where Redis is late or gone."""
        if not self.up:
            return None
        try:
            async with asyncio.timeout(DEADLINE_S):
                data = await self._client.get(self._prefix + key)
            return self._decoder.decode(data) if isinstance(data, bytes) else None
        except _GONE:
            self._lost()
        except msgspec.DecodeError:
            pass
        return None

    async def put(self, entry: Entry) -> None:
        """Keeps an answer where Redis takes it in time."""
        if not self.up:
            return
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._client.set(self._prefix + entry.key, self._encoder.encode(entry), px=self._ttl_ms)
        except _GONE:
            self._lost()

    async def close(self) -> None:
        """Stops reconnecting and closes all connections."""
        self.up = False
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        await self._client.aclose()

    def _lost(self) -> None:
        if self._mending is None or self._mending.done():
            _log.warning("redis_lost", what="response cache")
            self._mending = asyncio.create_task(self._mend())
        self.up = False

    async def _mend(self) -> None:
        pause_s, longest_s = RECONNECT_S
        while True:
            await asyncio.sleep(pause_s)
            if await self._reached():
                self.up = True
                _log.info("redis_back", what="response cache")
                return
            pause_s = min(pause_s * 2, longest_s)

    async def _reached(self) -> bool:
        """Opens all connections anew, so that no call has to connect within its deadline; says whether all stand."""
        await self._client.connection_pool.disconnect(inuse_connections=False)
        stands = False
        try:
            async with asyncio.timeout(CONNECT_S), asyncio.TaskGroup() as group:
                for _ in range(CONNECTIONS):
                    group.create_task(self._ping())
            stands = True
        except* _GONE:
            pass
        return stands

    async def _ping(self) -> None:
        await self._client.ping()
