"""The cache in a real Redis that is paused, killed and restarted under use."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.core.money import Usage
from gateway.state.cache import Entry

pytest.importorskip("redis", reason="the extra headgate[redis] is not installed")

from gateway.state.redis import RedisResponseCache
from tests.gateway.state.redis_server import SERVER, RedisServer
from tests.patience import until

pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server on this machine")

LATE_S = 2.0  # far above the deadline of 20 ms, and half of what two hundred of them come to


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path)
    yield made
    made.stop()


@pytest.fixture
async def cache(server: RedisServer) -> AsyncIterator[RedisResponseCache]:
    made = RedisResponseCache(server.url, ttl_s=60.0)
    assert await made.open()
    yield made
    await made.close()


def entry(key: bytes = b"\x00key", body: bytes = b"answer") -> Entry:
    return Entry(key, body, True, "here", Usage(fresh_input=3, raw=b"{}"), 7, "stop", 1000.0)


async def kept(cache: RedisResponseCache, key: bytes = b"\x00key") -> Entry | None:
    """Puts and gets until it holds; one operation may miss its deadline on a busy machine."""
    for _ in range(200):
        await cache.put(entry(key))
        found = await cache.get(key, 1000.0)
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    return None


async def test_what_is_put_is_got_whole(cache: RedisResponseCache) -> None:
    assert await kept(cache) == entry()
    assert await cache.get(b"another", 1000.0) is None


async def test_an_entry_lives_for_its_time(server: RedisServer) -> None:
    cache = RedisResponseCache(server.url, ttl_s=0.15)
    await cache.open()
    assert await kept(cache) is not None
    await asyncio.sleep(0.2)
    assert await cache.get(b"\x00key", 1000.0) is None
    await cache.close()


async def test_what_cannot_be_read_is_a_miss(cache: RedisResponseCache) -> None:
    for _ in range(200):
        await cache._client.set(b"headgate:cache:bad", b"\xff not ours")
        if await cache.get(b"bad", 1000.0) is None and cache.up:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("no clean miss")


async def test_a_paused_redis_is_a_miss_within_its_deadline_and_then_costs_nothing(
    server: RedisServer, cache: RedisResponseCache
) -> None:
    assert await kept(cache) is not None
    server.signal(signal.SIGSTOP)
    try:
        before = time.monotonic()
        assert await cache.get(b"\x00key", 1000.0) is None
        assert time.monotonic() - before < LATE_S
        assert not cache.up
        before = time.monotonic()
        for _ in range(100):
            assert await cache.get(b"\x00key", 1000.0) is None
            await cache.put(entry())
        assert time.monotonic() - before < LATE_S
    finally:
        server.signal(signal.SIGCONT)
    assert await kept(cache) == entry()


async def test_a_killed_redis_is_a_miss_and_is_used_again_when_it_is_back(
    server: RedisServer, cache: RedisResponseCache
) -> None:
    assert await kept(cache) is not None
    stop, answers = False, []

    async def use() -> None:
        while not stop:
            await cache.put(entry())
            before = time.monotonic()
            answers.append((await cache.get(b"\x00key", 1000.0), time.monotonic() - before))
            await asyncio.sleep(0.001)

    users = [asyncio.create_task(use()) for _ in range(20)]
    await asyncio.sleep(0.05)
    server.stop()
    await until(lambda: not cache.up)
    server.start()
    await until(lambda: cache.up)
    stop = True
    await asyncio.gather(*users)
    assert max(took for _, took in answers) < LATE_S
    assert {found for found, _ in answers if found is not None} <= {entry()}
    assert await kept(cache) == entry()


async def test_a_redis_that_is_not_there_at_the_start_stops_nothing() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        cache = RedisResponseCache(f"redis://127.0.0.1:{probe.getsockname()[1]}/0", ttl_s=60.0)
        assert not await cache.open()
        assert await cache.get(b"k", 1000.0) is None
        await cache.put(entry())
        await cache.close()


async def test_answers_never_change_places_when_operations_are_cut_short(
    server: RedisServer, cache: RedisResponseCache
) -> None:
    keys = [bytes([number]) for number in range(30)]
    for key in keys:
        assert await kept(cache, key) is not None

    async def look(key: bytes) -> None:
        for _ in range(20):
            found = await cache.get(key, 1000.0)
            assert found is None or found.key == key
            await asyncio.sleep(0.002)

    lookers = [asyncio.create_task(look(key)) for key in keys]
    for _ in range(4):
        await asyncio.sleep(0.03)
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(0.03)
        server.signal(signal.SIGCONT)
    await asyncio.gather(*lookers)
