"""Pools that are launched here, as the admin surface sees and steers them; found ones are in the stories."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.errors import CallError
from gateway.pool.events import EventRing
from gateway.pool.fleet import Counters, Fleet
from gateway.pool.found import FoundPools, NotLaunched
from gateway.pool.router import Gauges, Pools
from gateway.pool.states import Phase, ReplicaView, UnknownReplica
from gateway.telemetry import Metrics, names
from gateway.wiring.pool_desk import PoolDesk, UnknownPool
from gateway.wiring.pool_metrics import PoolMetrics
from tests.gateway.pool.test_fleet import deployment
from tests.patience import until


class Launched:
    """A supervisor of one pool of two slots, which does what it is told when `may_end` is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.error: Exception | None = None

    def pools(self) -> list[str]:
        return ["lab"]

    def status(self) -> list[ReplicaView]:
        return [self._view("0", Phase.READY), self._view("1", Phase.LOADING)]

    def _view(self, name: str, phase: Phase) -> ReplicaView:
        return ReplicaView(
            "lab", name, phase, "", 1.0, 7, f"10.0.0.{name}:80", ("GPU-0",), 0.4, 30.0, 2, 3, "hash", False
        )

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        if replica != "0":
            raise UnknownReplica(f"pool {pool!r} has no replica {replica!r}: 0")
        return [f"line {at}" for at in range(lines)]

    async def _do(self, *asked: Any) -> None:
        self.asked.append(asked)
        await self.may_end.wait()
        if self.error is not None:
            raise self.error

    async def drain(self, pool: str, replica: str) -> None:
        await self._do("drain", pool, replica)

    async def restart(self, pool: str, replica: str | None) -> None:
        await self._do("restart", pool, replica)

    async def scale(self, pool: str, replicas: int) -> None:
        await self._do("scale", pool, replicas)

    def suspect(self, pool: str, replica: str, why: str) -> None:
        self.asked.append(("suspect", pool, replica, why))

    def cleared(self, pool: str, replica: str) -> None:
        self.asked.append(("cleared", pool, replica))

    async def replace(self, pool: str, replica: str, why: str) -> None:
        await self._do("replace", pool, replica, why)


@pytest.fixture
def launched() -> Launched:
    return Launched()


@pytest.fixture
def desk(launched: Launched) -> PoolDesk:
    pools = Pools()
    fleet = Fleet(pools, {}, {})
    members = [deployment(), deployment("far", provider="far")]
    pools.watch(members)
    fleet.watch(members, {})
    fleet.take("http://10.0.0.0:80", Gauges(100.0, running=4, waiting=1, kv_usage=0.5), Counters(400, 100, 9))
    return PoolDesk(fleet, FoundPools(fleet, lambda endpoint: None), EventRing(), launched)


async def test_launched_and_found_pools_stand_side_by_side(desk: PoolDesk) -> None:
    lab, far = desk.pools()
    assert (lab["launched"], far["launched"]) == (True, False)
    assert [(each["phase"], each["pid"]) for each in lab["replicas"]] == [("ready", 7), ("loading", 7)]
    told = lab["replicas"][0]
    assert (told["running"], told["kv_usage"], told["cached_share"]) == (4, 0.5, 0.25)
    assert lab["replicas"][1]["told_s_ago"] is None
    assert [(each["phase"], each["pid"]) for each in far["replicas"]] == [("ready", None)] * 2


async def test_commands_go_to_whoever_launches_a_pool(desk: PoolDesk, launched: Launched) -> None:
    assert await desk.drain("lab", "0")
    assert await desk.restart("lab", "1")
    assert await desk.restart("lab", None)
    assert await desk.scale("lab", 3)
    desk.control.suspect("lab", "0", "why")
    desk.control.cleared("lab", "0")
    await desk.control.replace("lab", "0", "why")
    assert [each[0] for each in launched.asked] == [
        "drain", "restart", "restart", "scale", "suspect", "cleared", "replace",
    ]  # fmt: skip
    assert [(event.what, event.replica) for event in desk.told(0, "lab")] == [
        ("drain", "0"), ("restart", "1"), ("restart", ""), ("scale", ""),
    ]  # fmt: skip
    assert desk.logs("lab", "0", 2) == ["line 0", "line 1"]
    with pytest.raises(NotLaunched, match="restart it where it runs"):
        await desk.restart("far", "0")
    assert desk.told(0, "far") == []


async def test_names_that_there_are_not_are_told_as_such(desk: PoolDesk, launched: Launched) -> None:
    launched.error = UnknownReplica("pool 'lab' has no replica '9': 0, 1")
    with pytest.raises(UnknownPool, match="'9'"):
        await desk.drain("lab", "9")
    with pytest.raises(UnknownPool):
        desk.logs("lab", "9", 1)
    with pytest.raises(UnknownPool, match="no pool 'nobody': lab, far"):
        await desk.drain("nobody", "0")


async def test_what_takes_its_time_is_answered_as_begun_and_told_of_where_it_fails(
    desk: PoolDesk, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.wiring.pool_desk.AT_ONCE_S", 0.01)
    launched.may_end.clear()
    launched.error = CallError("there is no free GPU")
    assert not await desk.scale("lab", 9)
    launched.may_end.set()
    await until(lambda: len(desk.told(0, None)) == 2)
    assert [(event.what, event.why) for event in desk.told(0, None)] == [
        ("scale", "asked for"), ("scale_failed", "there is no free GPU"),
    ]  # fmt: skip
    launched.may_end.clear()
    assert not await desk.restart("lab", None)
    await desk.close()  # what is still under way is given up


async def test_metrics_tell_of_all_pools(desk: PoolDesk) -> None:
    metrics, pool_metrics = Metrics(), PoolMetrics(desk._fleet)
    pool_metrics.observe(metrics)
    pool_metrics.take(desk.control.status())
    samples = {family.metric.name: dict(family.samples) for family in metrics.families()}
    replicas = samples[names.POOL_REPLICAS.name]
    assert (replicas["lab", "ready"], replicas["lab", "loading"], replicas["far", "ready"]) == (1, 1, 2)
    assert samples[names.POOL_RESTARTS.name]["lab", "1"] == 2
    told = {(pool, "0", state): count for pool in ("lab", "far") for state, count in (("running", 4), ("waiting", 1))}
    assert samples[names.POOL_REQUESTS.name] == told
    assert samples[names.POOL_KV.name]["lab", "0"] == 0.5
