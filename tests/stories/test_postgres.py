"""A gateway whose books are in PostgreSQL serves on while that is away, and books everything once it is back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.simulator import Simulator
from tests.gateway.state.servers import PostgresServer, postgres_server
from tests.patience import until
from tests.stories.house import ADMIN_KEY, House, World, at, command, config_of

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def stored(house: House, places: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """Writes a config whose store is a server."""
    store = {"url": "${DATABASE_URL}", "journal": str(house.folder / "journal")}
    return config_of(places, store=store, auth="keys", **sections)


@asynccontextmanager
async def around(house: House) -> AsyncIterator[World]:
    world = World(house)
    try:
        yield world
    finally:
        await world.close()


async def calls(world: World, key: dict[str, str], count: int) -> None:
    for _ in range(count):
        assert (await world.chat(headers=key)).status == 200


async def test_calls_go_on_while_the_database_is_away_and_all_are_booked_when_it_is_back(
    build: Callable[[], House], server: PostgresServer
) -> None:
    environ = {"DATABASE_URL": server.new_database()}
    house = build()
    house.start(stored(house, {}), environ)
    made = command("keys", "create", "alice", "--config", str(house.path), environ=environ)
    assert made.returncode == 0, made.stderr
    key = {"authorization": f"Bearer {made.stdout.strip()}"}
    async with Simulator() as simulator:
        config = stored(house, {"first": at(simulator)})
        async with around(house) as world:
            await house.reload(config)
            await calls(world, key, 5)

            server.kill()
            await calls(world, key, 5)
            await house.reload(config | {"cache": {"at": "never", "ttl": "1h"}})
            await calls(world, key, 5)  # the key still holds, though nobody can be asked for it
            await until(lambda: house.events("receipts_wait"))
            assert (await world.get("/readyz")).status == 503
            asked = await world.get("/admin/costs", headers=ADMIN)
            assert (asked.status, asked.error["code"]) == (503, "store_unavailable")

            house.kill()  # with receipts that only the journal has
        refused = command("costs", "--config", str(house.path), environ=environ)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "the PostgreSQL store: " in refused.stderr
        assert "Traceback" not in refused.stderr
        server.start()

        house.start(environ=environ)
        async with around(house) as world:
            await calls(world, key, 5)
            costs = (await world.get("/admin/costs?group_by=key", headers=ADMIN)).json
        assert [(row["group"], row["calls"]) for row in costs["rows"]] == [("alice", 20)]
        shown = command("costs", "--config", str(house.path), "--group-by", "key", "--format", "json", environ=environ)
        assert json.loads(shown.stdout)["total"] == costs["total"]
        assert house.stop() == 0


async def test_a_gateway_whose_database_is_not_there_does_not_start(build: Callable[[], House]) -> None:
    house = build()
    environ = {"DATABASE_URL": "postgresql://me:hidden@127.0.0.1:9/headgate"}
    house.write(stored(house, {}))
    ended = command("serve", "--config", str(house.path), "--listen", "127.0.0.1:0", environ=environ)
    assert ended.returncode == 1
    assert "the PostgreSQL store: " in ended.stderr
    assert "refused" in ended.stderr
    assert "hidden" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
