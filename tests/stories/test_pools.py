"""A pool of vLLM replicas behind the door: who is asked, what its caches are kept apart by."""

from __future__ import annotations

import hashlib
from typing import Any

from gateway.simulator import Simulator
from gateway.simulator.replica import Hardware
from tests.patience import until
from tests.stories.house import World, at

LONG = "The keeper lifts the gate before noon, by right and by measure. " * 150
PREFIX = {"routing": "prefix"}
QUICK = Hardware(prefill_tokens_per_s=1e6, weights_s=0.001, step_s=0.001, kv_tokens=64_000)


async def pool(world: World, replicas: int = 2) -> list[Simulator]:
    return [await world.simulator(wire="vllm", hardware=QUICK) for _ in range(replicas)]


def told(system: str, text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "content": system}, {"role": "user", "content": text}], **more}


def cached(answer: Any) -> int:
    return int(answer.json["usage"]["prompt_tokens_details"]["cached_tokens"])


async def test_a_prompt_goes_where_its_beginning_is_cached(world: World) -> None:
    replicas = await pool(world, 3)
    await world.serve({"pool": at(replicas, kind="vllm", provider=PREFIX)})
    tenants = [f"You serve tenant {number}. {LONG}" for number in range(6)]
    first = [await world.chat(**told(tenant), max_tokens=2) for tenant in tenants]
    again = [await world.chat(**told(tenant, "And then?"), max_tokens=2) for tenant in tenants]
    assert {answer.status for answer in first + again} == {200}
    assert [cached(answer) for answer in first] == [0] * 6
    assert all(cached(answer) > 2000 for answer in again)


async def test_streams_teach_the_router_too_and_the_receipt_tells_of_cached_tokens(world: World) -> None:
    replicas = await pool(world)
    await world.serve({"pool": at(replicas, kind="vllm", provider=PREFIX)})
    for _ in range(3):
        got = await world.chat(**told(LONG), max_tokens=2, stream=True)
        assert got.whole
    receipt = await world.receipt(got.id)
    assert receipt["tokens"]["cached_input"] > 2000
    assert sorted(len(replica.requests) for replica in replicas) == [0, 3]


async def test_a_lost_replica_is_replaced_by_the_next_best(world: World) -> None:
    replicas = await pool(world)
    await world.serve({"pool": at(replicas, kind="vllm", provider=PREFIX)})
    await world.chat(**told(LONG), max_tokens=2)
    home, other = sorted(replicas, key=lambda replica: -len(replica.requests))
    await home.close()
    assert (await world.chat(**told(LONG), max_tokens=2)).status == 200
    assert len(other.requests) == 1


async def test_a_hung_engine_that_is_healthy_costs_no_answer(world: World) -> None:
    replicas = await pool(world)
    await world.serve({"pool": at(replicas, kind="vllm", provider=PREFIX, timeouts={"answer": "300ms"})})
    await world.chat(**told(LONG), max_tokens=2)
    home = max(replicas, key=lambda replica: len(replica.requests))
    assert home.driver is not None
    home.driver.frozen = True
    assert (await world.chat(**told(LONG), max_tokens=2)).status == 200
    await until(lambda: not home.in_flight)


async def test_teams_share_no_cached_prefix_and_callers_cannot_choose_whose_they_do(world: World) -> None:
    replicas = await pool(world, 1)
    keys = [
        {"name": name, "hash": "sha256:" + hashlib.sha256(f"hg-{name}".encode()).hexdigest(), "team": team}
        for name, team in (("a", "red"), ("b", "red"), ("c", "blue"))
    ]
    teams: dict[str, Any] = {"red": {}, "blue": {}}
    await world.serve({"pool": at(replicas, kind="vllm", provider=PREFIX)}, auth="keys", keys=keys, teams=teams)
    salts, hits = [], []
    for name in ("a", "b", "c"):
        got = await world.chat(
            **told(LONG), max_tokens=2, cache_salt="mine", headers={"authorization": f"Bearer hg-{name}"}
        )
        assert "cache_salt" in got.headers["x-headgate-warnings"]
        salts.append(replicas[0].requests[-1].json()["cache_salt"])
        hits.append(cached(got) > 0)
    assert salts[0] == salts[1] != salts[2]
    assert "mine" not in salts
    assert hits == [False, True, False]


async def test_prefixes_are_shared_where_the_config_says_so(world: World) -> None:
    (replica,) = await pool(world, 1)
    await world.serve({"pool": at([replica], kind="vllm", provider=PREFIX | {"prefix_cache": "shared"})})
    await world.chat(**told(LONG), max_tokens=2)
    assert "cache_salt" not in replica.requests[-1].json()


async def test_calls_are_pinned_to_data_parallel_ranks(world: World) -> None:
    (replica,) = await pool(world, 1)
    await world.serve({"pool": at([replica], kind="vllm", provider=PREFIX | {"data_parallel_ranks": 2})})
    for number in range(6):
        await world.chat(**told(f"{number} {LONG}"), max_tokens=1)
    ranks = {request.header(b"x-data-parallel-rank") for request in replica.requests}
    assert ranks == {b"0", b"1"}
    for _ in range(2):
        await world.chat(**told(f"0 {LONG}"), max_tokens=1)
    same = [replica.requests[at].header(b"x-data-parallel-rank") for at in (0, -1, -2)]
    assert len(set(same)) == 1
