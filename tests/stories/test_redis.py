"""Gateways that share a Redis share their answers; without it they serve on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.simulator import Simulator
from tests.gateway.state.redis_server import SERVER, RedisServer
from tests.patience import until
from tests.stories.house import House, World, at, config_of

pytest.importorskip("redis", reason="the extra headgate[redis] is not installed")
pytestmark = pytest.mark.skipif(SERVER is None, reason="no redis-server on this machine")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.stop()


async def test_two_gateways_share_answers_and_serve_on_without_redis(
    build: Callable[[], House], redis: RedisServer, tmp_path: Path
) -> None:
    async with Simulator() as simulator:
        config = config_of({"only": at(simulator)}, cache={"at": "temperature_0"}, shared={"url": "${CACHE_URL}"})
        worlds = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            house = House(folder)
            house.start(config, {"CACHE_URL": redis.url})
            worlds.append((house, World(house)))
        try:
            (_, one), (_, two) = worlds

            async def share() -> bool:
                """Asks both the same; one operation may miss its deadline of 20 ms on a busy machine."""
                simulator.requests.clear()
                asked = {"text": f"Shared {next(questions)}?", "temperature": 0}
                first, second = await one.chat(**asked), await two.chat(**asked)
                assert first.headers["x-headgate-cache"] == "miss"
                hit = second.headers["x-headgate-cache"].startswith("hit")
                assert len(simulator.requests) == 2 - hit
                assert not hit or second.json == first.json
                return hit

            questions = itertools.count()
            await until(share)

            redis.stop()
            for world in (one, two):
                alone = await world.chat(text="Alone?", temperature=0)
                assert (alone.status, alone.headers["x-headgate-cache"]) == (200, "miss")
        finally:
            for house, world in worlds:
                await world.close()
                house.kill()
