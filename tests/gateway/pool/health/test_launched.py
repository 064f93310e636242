"""Health and the supervisor together, as processes: a launched replica that hangs is replaced, and costs no call."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from tests.gateway.pool.supervisor.places import WITHIN_S, Pool, swept
from tests.patience import until
from tests.pool.load import Load
from tests.stories.house import House, World

HEALTH = {"interval": "500ms", "timeout": "500ms", "misses": 2, "progress": "2s", "canary": "1s"}


@pytest.fixture
def pool(build: Callable[[], House]) -> Iterator[Pool]:
    with swept(Pool(build())) as pool:
        yield pool


async def test_a_launched_replica_that_is_stopped_with_its_port_open_is_replaced_under_load(pool: Pool) -> None:
    config = pool.config(drain_grace="2s")
    config["providers"][pool.name]["health"] = HEALTH
    pool.house.start(config)
    world = World(pool.house)
    await pool.ready(2)
    victim = pool.slots()["0"]["pid"]
    async with Load(world) as load:
        await load.goes_on(20)
        os.kill(victim, signal.SIGSTOP)
        await until(lambda: [event for event in pool.events("lost") if event["replica"] == "0"], WITHIN_S)
        await load.goes_on(20)
        await pool.ready(2)
        await load.goes_on(20)
    await load.account()
    assert pool.slots()["0"]["pid"] != victim
    assert victim not in {each.pid for each in pool.alive()}
    assert [event["what"] for event in pool.house.events("replica_changed") if event["replica"] == "1"].count(
        "lost"
    ) == 0
    await world.close()
