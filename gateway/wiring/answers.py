"""Where answers are cached: in this process, or in Redis."""

from __future__ import annotations

import structlog

from gateway.config import Config
from gateway.core.errors import ConfigError
from gateway.state.cache import MemoryResponseCache, ResponseCache

_log = structlog.get_logger("headgate")


class Answers:
    """The one cache of a process; a config that speaks of another gets a new one."""

    def __init__(self) -> None:
        self._cached: ResponseCache | None = None
        self._by: object = None

    async def of(self, config: Config) -> ResponseCache:
        """Returns the cache that a config speaks of: one that it does not change keeps what it holds.

        Raises ConfigError where Redis' client is not installed.
        """
        shared = config.shared.url
        url = shared.reveal() if shared is not None and shared.present else None
        by = (url, config.cache.max, config.cache.ttl)
        if self._cached is None or by != self._by:
            if url is None:
                self._cached = MemoryResponseCache(config.cache.max, config.cache.ttl)
            else:
                self._cached = await _redis(url, config.cache.ttl)
            self._by = by
        return self._cached

    @property
    def here(self) -> list[MemoryResponseCache]:
        """The answers that this process keeps; none where they are kept elsewhere."""
        return [self._cached] if isinstance(self._cached, MemoryResponseCache) else []

    async def close(self) -> None:
        """Gives back what it holds open."""
        if self._cached is not None:
            await self._cached.close()


async def _redis(url: str, ttl_s: float) -> ResponseCache:
    try:
        from gateway.state.redis import RedisResponseCache
    except ImportError:
        raise ConfigError(["`shared.url` takes the client: pip install 'headgate[redis]'"]) from None
    cache = RedisResponseCache(url, ttl_s)
    if not await cache.open():
        _log.warning("redis_unreachable", then="answers are not shared until it answers")
    return cache
