"""A gateway with a launched pool, as processes: what callers notice of replicas that come, go and die."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests.gateway.pool.supervisor.places import WITHIN_S, Pool, swept
from tests.patience import until
from tests.pool.load import Load
from tests.stories.house import ADMIN_KEY, House, World, command

BASE: Final[dict[str, Any]] = {"replicas": 2, "args": ["--max-model-len", "4096"]}


@pytest.fixture
def pool(build: Callable[[], House]) -> Iterator[Pool]:
    with swept(Pool(build())) as pool:
        yield pool


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """A gateway whose pool several stories use, one after the other: a start costs more than they do."""
    with swept(Pool(House(tmp_path_factory.mktemp("lasting")))) as pool:
        pool.house.start(pool.config(**BASE), {"HEADGATE_SIMULATE": "split,max-len=4096"})
        yield pool
        assert pool.house.stop() == 0
        assert not pool.alive()


@pytest.fixture
async def world(lasting: Pool, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The gateway of the lasting pool, with its two replicas ready."""
    house = lasting.house
    request.node.__dict__.setdefault("houses", []).append((house, len(house.said), len(house.log)))
    await house.reload(lasting.config(**BASE))
    await lasting.ready(2)
    world = World(house)
    yield world
    await world.close()


@asynccontextmanager
async def served(pool: Pool, simulate: str = "", **settings: object) -> AsyncIterator[World]:
    """Starts the gateway, and waits until every replica is ready."""
    pool.house.start(pool.config(**settings), {"HEADGATE_SIMULATE": simulate})
    world = World(pool.house)
    await pool.ready(int(pool.settings["replicas"]))
    try:
        yield world
    finally:
        await world.close()


async def test_it_says_what_it_launches_serves_meanwhile_and_tells_each_phase(pool: Pool) -> None:
    pool.house.start(pool.config(replicas=1), {"HEADGATE_SIMULATE": "slow=3s"})
    await until(lambda: any("launches gpus: 1 × tiny/llama" in line for line in pool.house.said))
    world = World(pool.house)
    early = await world.chat()
    assert early.status == 503
    assert "no replica is ready" in early.error["message"]
    assert 1 <= int(early.headers["retry-after"]) <= 600
    assert (await world.get("/readyz")).status == 200
    await pool.ready(1)
    got = await world.chat(max_tokens=3)
    assert (got.status, got.deployment) == (200, "local")
    phases = [event["what"] for event in pool.house.events("pool_event") if event["replica"] == "0"]
    wanted = ["starting", "loading", "profiling", "capturing", "warming", "ready"]
    assert [phase for phase in phases if phase in wanted] == wanted
    await world.close()
    assert pool.house.stop() == 0
    assert not pool.alive()


async def test_killed_processes_cost_no_call_without_a_byte_and_the_replica_comes_back(
    lasting: Pool, world: World
) -> None:
    for victim in ("server", "engine"):
        server, since = lasting.slots()["0"]["pid"], len(lasting.house.log)
        old = [each.pid for each, slot in lasting.alive().items() if slot == "0"]
        (engine,) = [pid for pid in old if pid != server]
        async with Load(world) as load:
            await load.goes_on(20)
            os.kill(server if victim == "server" else engine, signal.SIGKILL)
            await until(lambda since=since: lasting.events("lost", since), WITHIN_S)
            await load.goes_on(20)
            await lasting.ready(2)
            await load.goes_on(20)
        tried = await load.account()
        assert {reason for each in tried.values() for reason in each} <= {None, "connect", "stream_cut", "server_error"}
        assert lasting.slots()["0"]["pid"] != server
        assert not {server, engine} & {each.pid for each in lasting.alive()}  # neither outlived the other


async def test_the_next_gateway_adopts_what_it_would_launch_and_removes_the_rest(
    pool: Pool, build: Callable[[], House]
) -> None:
    async with served(pool, "split=stray"):
        pids, began = pool.pids(), pool.alive()
    assert len(began) == 4
    pool.house.kill()

    pool.house = build()
    async with served(pool, on_exit="keep") as world:
        assert pool.pids() == pids
        assert len(pool.events("adopted")) == 2
        assert (await world.chat(max_tokens=2)).status == 200
    assert pool.house.stop() == 0
    assert pool.alive() == began  # as `on_exit` says

    os.kill(pool.slots()["0"]["pid"], signal.SIGKILL)  # its engine is an orphan now, in a session of its own
    pool.house = build()
    async with served(pool, on_exit="stop", args=["--max-num-seqs", "64"]):
        assert not began.keys() & pool.alive().keys()
        assert {event["replica"] for event in pool.events("removed")} == {"0", "1"}
    assert pool.house.stop() == 0
    assert not pool.alive()


async def test_new_flags_are_rolled_out_under_load_and_lose_nothing(lasting: Pool, world: World) -> None:
    before = lasting.pids()
    async with Load(world) as load:
        await load.goes_on(20)
        await lasting.house.reload(lasting.config(args=[*BASE["args"], "--max-num-seqs", "64"]))
        await until(lambda: not set(before) & set(lasting.pids()) and len(lasting.pids()) == 2, WITHIN_S)
        await lasting.ready(2)
        await load.goes_on(20)
    tried = await load.account()
    assert {each.how for each in load.ended} == {"whole"}
    # A call may meet a server that closes just then, and is answered by the other.
    assert {reason for each in tried.values() for reason in each} <= {None, "connect", "aborted", "stream_cut"}


async def test_more_and_fewer_replicas_leave_the_others_alone(lasting: Pool, world: World) -> None:
    two = set(lasting.pids())
    await lasting.house.reload(lasting.config(replicas=3))
    await lasting.ready(3)
    three = set(lasting.pids())
    assert two < three
    async with Load(world) as load:
        await load.goes_on(20)
        await lasting.house.reload(lasting.config(replicas=1))
        await lasting.ready(1)
        await load.goes_on(20)
    assert set(lasting.pids()) < three
    assert {each.how for each in load.ended} == {"whole"}
    await until(lambda: len(set(lasting.alive().values())) == 1)


async def test_an_operator_sees_and_steers_it(lasting: Pool, world: World) -> None:
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    got = await world.get("/admin/pool/gpus/0/logs?lines=500", admin)
    assert "Loading weights took" in got.text
    assert (await world.post("/admin/pool/gpus/scale", {"replicas": 3}, admin)).status in (200, 202)
    await lasting.ready(3)
    pids = lasting.pids()
    await world.post("/admin/pool/gpus/0/drain", {}, admin)
    await until(lambda: "0 stopped" in lasting.told(), WITHIN_S)
    await world.post("/admin/pool/gpus/0/restart", {}, admin)
    await until(lambda: lasting.told() == "3 of 3 replicas ready", WITHIN_S)
    assert len(set(pids) & set(lasting.pids())) == 2
    (pool,) = (await world.get("/admin/pool", admin)).json["pools"]
    assert pool["launched"]
    assert [(each["name"], each["phase"]) for each in pool["replicas"]] == [(slot, "ready") for slot in "012"]
    await lasting.house.reload(lasting.config(drain_grace="19s"))  # the config's word again, and another way to end
    await lasting.ready(2)


async def test_a_rollout_stops_at_a_replica_that_is_of_no_use_and_the_old_ones_serve_on(
    lasting: Pool, world: World
) -> None:
    before, since = lasting.pids(), len(lasting.house.log)
    await lasting.house.reload(lasting.config(args=["--max-model-len", "65536"]))
    await until(lambda: lasting.events("rollout_stopped", since), WITHIN_S)
    assert "--max-model-len 4096" in lasting.events("rollout_stopped", since)[0]["why"]
    await lasting.ready(2, by_config=False)
    assert lasting.pids() == before
    assert (await world.chat(max_tokens=2)).status == 200


async def test_another_name_is_served_by_those_alone_that_answer_to_it(lasting: Pool, world: World) -> None:
    before = set(lasting.pids())
    async with Load(world) as load:
        await load.goes_on(10)
        await lasting.house.reload(lasting.config(model="small"))
        await until(lambda: not before & set(lasting.pids()) and len(lasting.pids()) == 2, WITHIN_S)
        await lasting.ready(2)
        refused = sum(each.how == "refused" for each in load.ended)
        await load.goes_on(10)
    # Between two names there is nobody to ask; that is said, and no call is sent to a replica that knows it not.
    assert all("no replica is ready" in each.told for each in load.ended if each.how != "whole")
    assert refused == sum(each.how == "refused" for each in load.ended)


async def test_two_gateways_do_not_share_a_pool(pool: Pool, build: Callable[[], House]) -> None:
    async with served(pool, replicas=1) as world:
        other = pool.house.folder / "other.yaml"
        text = pool.house.path.read_text().replace("/journal", "/journal-2").replace("headgate.db", "other.db")
        other.write_text(text)
        told = await asyncio.to_thread(command, "serve", "--config", str(other), "--listen", "127.0.0.1:0")
        assert told.returncode == 1
        assert f"another gateway (pid {pool.house.pid}) supervises it" in told.stderr
        assert "other.yaml:" in told.stderr
        assert (await world.chat(max_tokens=2)).status == 200


async def test_check_reads_a_pool_and_launches_nothing(pool: Pool) -> None:
    pool.house.write(pool.config())
    told = await asyncio.to_thread(command, "check", "--config", str(pool.house.path))
    assert told.returncode == 0, told.stderr
    assert "launches gpus: 2 × tiny/llama" in told.stdout
    assert not pool.folder.exists()


async def test_an_unready_pool_is_passed_over_for_a_deployment_elsewhere(pool: Pool) -> None:
    config = pool.config(replicas=1)
    config["providers"]["demo"] = {"kind": "simulator"}
    config["deployments"]["elsewhere"] = {"provider": "demo", "model": "demo", "price": "free"}
    config["policies"]["routes"][0]["among"] = ["local", "elsewhere"]
    pool.house.start(config, {"HEADGATE_SIMULATE": "slow=3s"})
    world = World(pool.house)
    first = await world.chat(max_tokens=2)
    assert first.deployment == "elsewhere"
    assert "no replica is ready" in (await world.receipt(first.id))["sentence"]
    await pool.ready(1)
    assert (await world.chat(max_tokens=2)).deployment == "local"
    await world.close()
