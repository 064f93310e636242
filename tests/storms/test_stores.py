"""PostgreSQL and Redis are paused, killed and started again under load: the laws hold, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.gateway.state.redis_server import SERVER, RedisServer
from tests.gateway.state.servers import PostgresServer, postgres_server
from tests.stories.house import House
from tests.storms.laws import check
from tests.storms.loads import CALLERS, UNHURRIED_S, Load
from tests.storms.places import Sky, StormyPlace, config_of

pytest.importorskip("redis", reason="the extra headgate[redis] is not installed")
pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="no redis-server on this machine"),
    pytest.mark.skipif("HEADGATE_GUSTS" not in os.environ, reason="`make storm` runs it"),
]

GUSTS: Final = int(os.environ.get("HEADGATE_GUSTS", "0"))
SEED: Final = int(os.environ.get("HEADGATE_STORM_SEED", "2026"))


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def test_a_store_and_a_cache_that_come_and_go_cost_no_call_and_no_receipt(
    build: Callable[[], House],
    places: tuple[Sky, dict[str, list[StormyPlace]]],
    postgres: PostgresServer,
    redis: RedisServer,
) -> None:
    sky, standing = places
    draw = Random(SEED)
    house = build()
    database = postgres.new_database()
    config = config_of("calm", standing, house.folder, UNHURRIED_S)
    config["store"] |= {"url": "${DATABASE_URL}"}
    config["shared"] = {"url": "${CACHE_URL}"}
    await asyncio.to_thread(house.start, config, {"DATABASE_URL": database, "CACHE_URL": redis.url})
    load = Load(sky, "127.0.0.1", urlsplit(house.url).port or 0, 1, draw)

    def away(gust: str) -> Callable[[], None]:
        """Takes a server away; returns what brings it back."""
        match gust:
            case "postgres paused":
                postgres.pause()
                return postgres.resume
            case "postgres killed":
                postgres.kill()
                return postgres.start
            case "redis paused":
                redis.signal(signal.SIGSTOP)
                return lambda: redis.signal(signal.SIGCONT)
            case _:
                redis.stop()
                return redis.start

    gusts = [f"{server} {how}" for server in ("postgres", "redis") for how in ("paused", "killed")]
    for number in range(GUSTS):
        back = await asyncio.to_thread(away, gusts[number % len(gusts)])
        await asyncio.sleep(draw.uniform(0.0, 0.2))
        assert not load.ended, load.why
        await asyncio.to_thread(back)
        await asyncio.sleep(draw.uniform(0.0, 0.1))
    assert not load.ended, load.why
    await load.end()
    assert await asyncio.to_thread(house.stop) == 0
    with psycopg.connect(database) as connection:
        load.past.receipts = [body for (body,) in connection.execute("SELECT body FROM receipts")]
    happened: Counter[str] = check(load.past)
    assert load.whole > GUSTS * CALLERS
    assert happened["stream whole (hit)"] + happened["unary whole (hit)"] > 0
    assert not list((house.folder / "journal").glob("*.journal"))
    assert not (house.folder / "journal" / "rejected").exists()
    assert "Traceback" not in house.told
    print(f"\nseed {SEED}, {GUSTS} gusts: {dict(happened.most_common())}")
