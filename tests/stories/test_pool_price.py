"""A pool that is paid by the hour, behind the door: ranked by its load, charged in full, shown in every place."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from gateway.simulator import Simulator
from gateway.simulator.replica import Hardware
from tests.patience import until
from tests.stories.house import Place, World, at, command

QUICK = Hardware(prefill_tokens_per_s=1e6, weights_s=0.001, step_s=0.001, kv_tokens=64_000)
# $3.60 an hour over 1,000 and 100 tokens a second at a target of 50 %: $2 in and $20 out a million; spare, $1 out.
MEANS = {
    "gpu_hour_usd": "3.60",
    "throughput": {"input": 1000, "output": 100, "at_once": 4},
    "target_load": 0.5,
    "spare_usd": "1",
}


def pool_at(replicas: list[Simulator], **settings: Any) -> Place:
    place = at(replicas, kind="vllm", provider={**MEANS, "routing": "prefix", **settings})
    del place.deployment["price"]
    return place


async def served(world: World, replicas: int = 2) -> list[Simulator]:
    """Serves a pool before a hosted place that costs $1 in and $4 out: less than the pool in full, more than spare."""
    pool = [await world.simulator(wire="vllm", hardware=QUICK) for _ in range(replicas)]
    hosted = await world.simulator()
    routes = [{"name": "chat", "when": {"model": ["chat"]}, "among": ["hosted", "pool"], "pick": "cheapest"}]
    tests = [
        {"given": {"model": "chat", "load": {"pool": 0.1}}, "expect": {"first": "pool"}},
        {"given": {"model": "chat", "load": {"pool": 0.9}}, "expect": {"first": "hosted"}},
    ]
    await world.serve({"pool": pool_at(pool), "hosted": at(hosted)}, policies={"routes": routes, "tests": tests})
    return pool


async def test_calls_fill_the_pool_spill_over_and_come_back(world: World) -> None:
    await served(world)
    async with AsyncExitStack() as held:
        for _ in range(3):  # of the eight that the replicas take at once; four are the target
            response = await held.enter_async_context(world.streaming(max_tokens=5000, ignore_eos=True))
            assert response.headers["x-headgate-deployment"] == "pool"
        spilled = await world.chat(max_tokens=2)
    assert spilled.deployment == "hosted"
    told = (await world.get(f"/admin/decisions/{spilled.id}")).json
    assert "pool 38% busy, ranked at 1.05 in, 10.50 out; in full 2.00 in, 20.00 out" in told["sentence"]
    await until(lambda: _is_back(world))


async def _is_back(world: World) -> bool:
    return (await world.chat(max_tokens=2)).deployment == "pool"


async def test_the_receipt_charges_in_full_and_tells_the_marginal_cost_beside(world: World) -> None:
    await served(world)
    got = await world.chat("Hello, keeper of the gate", max_tokens=2)
    receipt = await world.receipt(got.id)
    tokens = receipt["tokens"]
    assert receipt["deployment"] == "pool"
    assert receipt["cost"] == {
        "fresh_input": tokens["fresh_input"] * 2000,
        "output_text": tokens["output_text"] * 20_000,
    }
    assert receipt["marginal_nano"] == tokens["fresh_input"] * 100 + tokens["output_text"] * 1000
    (own,) = receipt["decision"]["own"]
    assert (own["deployment"], own["input"], own["output"]) == ("pool", 100_000_000, 1_000_000_000)
    assert (own["full_input"], own["full_output"]) == (2_000_000_000, 20_000_000_000)
    kept = command("explain", got.id, "--config", str(world.house.path))
    assert "ranked at 0.10 in, 1.00 out; in full 2.00 in, 20.00 out" in kept.stdout


async def test_a_call_that_was_not_made_is_explained_at_a_load(world: World) -> None:
    await served(world)
    asked = ("explain", "--model", "chat", "--config", str(world.house.path))
    assert command(*asked).stdout.startswith("would go to pool")
    assert command(*asked, "--load", "pool=0.9").stdout.startswith("would go to hosted")
    assert "write NAME=SHARE" in command(*asked, "--load", "pool").stderr


async def test_the_pool_is_shown_with_its_price_and_its_replicas(world: World) -> None:
    replicas = await served(world)
    await world.chat(max_tokens=2)

    async def told() -> bool:
        (pool,) = (await world.get("/admin/pool")).json["pools"]
        return all(each.get("running") is not None for each in pool["replicas"])

    await until(told)
    (pool,) = (await world.get("/admin/pool")).json["pools"]
    assert (pool["launched"], pool["routing"], pool["deployments"]) == (False, "prefix", ["pool"])
    assert pool["speed"] == {"prefill": 1000.0, "decode": 100.0, "at_once": 4.0, "source": "throughput"}
    assert pool["prices"][0]["full_output"] == 20_000_000_000
    assert [each["address"] for each in pool["replicas"]] == [replica.url for replica in replicas]
    assert {each["phase"] for each in pool["replicas"]} == {"ready"}
    shown = command("pool", "--url", world.house.url, "status")
    assert shown.returncode == 0, shown.stderr
    assert "a replica does 1,000 tokens/s in, 100 out (throughput)" in shown.stdout
    ready = f'headgate_pool_replicas{{pool="{pool["pool"]}",phase="ready"}} 2'
    price = 'headgate_pool_price_nano_usd{deployment="pool",price="full",direction="output"} 20000000000'
    pages: list[str] = []

    async def measured() -> bool:
        pages.append((await world.get("/metrics")).text)
        return ready in pages[-1] and price in pages[-1]

    await until(measured)


async def test_what_was_found_is_not_steered(world: World) -> None:
    await served(world)
    (pool,) = (await world.get("/admin/pool")).json["pools"]
    name = pool["pool"]
    key = {"authorization": "Bearer hg-admin-of-the-stories"}
    for path in (f"{name}/0/drain", f"{name}/0/restart", f"{name}/restart"):
        got = await world.post(f"/admin/pool/{path}", {}, key)
        assert (got.status, got.error["code"]) == (409, "pool_not_launched")
    got = await world.post(f"/admin/pool/{name}/scale", {"replicas": 3}, key)
    assert (got.status, got.error["code"]) == (409, "pool_not_launched")
    got = await world.post(f"/admin/pool/{name}/scale", {"replicas": -1}, key)
    assert (got.status, got.error["param"]) == (400, "replicas")
    for path in (f"{name}/7/drain", "nobody/0/drain", "nobody/restart"):
        assert (await world.post(f"/admin/pool/{path}", {}, key)).status == 404
    assert (await world.get(f"/admin/pool/{name}/0/logs")).status == 409
    assert (await world.post(f"/admin/pool/{name}/0/drain", {})).status == 401


async def test_a_replica_that_is_lost_is_suspect_and_told_of(world: World) -> None:
    dies, _ = await served(world)
    for _ in range(4):
        await world.chat(max_tokens=2)
    await dies.close()

    async def suspect() -> bool:
        await world.chat(max_tokens=2)
        events = (await world.get("/admin/pool/events")).json["events"]
        return any(each["what"] == "suspect" and dies.url in str(each["facts"]) for each in events)

    await until(suspect)
    assert any(event["what"] == "suspect" for event in world.house.events("pool_event"))
