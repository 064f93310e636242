"""Replicas of one deployment: the less busy one is asked, and the loss of one is not seen by callers."""

from __future__ import annotations

import asyncio

from gateway.simulator import Fault
from tests.patience import until
from tests.stories.house import CHAT, World, at
from tests.stories.test_fallback import reasons


async def test_a_busy_replica_is_given_less(world: World) -> None:
    replicas = [await world.simulator(tpot_s=0.01) for _ in range(2)]
    await world.serve({"pool": at(replicas, kind="vllm")})
    async with world.streaming(max_tokens=5000, min_tokens=5000):
        await until(lambda: sum(replica.in_flight for replica in replicas) == 1)
        busy, idle = sorted(replicas, key=lambda replica: -replica.in_flight)
        assert {(await world.chat(max_tokens=1)).status for _ in range(10)} == {200}
        assert (len(busy.requests), len(idle.requests)) == (1, 10)
    await until(lambda: not busy.in_flight)


async def test_a_replica_that_went_well_for_long_and_dies_costs_no_call(world: World) -> None:
    dies, lives = [await world.simulator() for _ in range(2)]
    await world.serve({"pool": at([dies, lives], kind="vllm")}, breakers={"rest": "1m", "longest_rest": "1m"})
    for _ in range(100):
        assert (await world.chat(max_tokens=1)).status == 200
    dies.faults["demo"] = [Fault("reset")] * 1000
    dies.requests.clear()
    for _ in range(200):
        assert (await world.chat(max_tokens=1)).status == 200
    # A kept connection that turns out to be closed is no failure yet; there is one more for each who looks after it.
    assert 5 <= sum(request.path == CHAT for request in dies.requests) <= 8


async def test_all_calls_that_a_lost_replica_held_move_on(world: World) -> None:
    dies, lives = [await world.simulator(tpot_s=0.01) for _ in range(2)]
    await world.serve({"pool": at([dies, lives], kind="vllm")})
    dies.faults["demo"] = [Fault("hang")] * 10
    calls = [asyncio.create_task(world.chat(max_tokens=1)) for _ in range(20)]
    await until(lambda: dies.in_flight == 10)
    await dies.close()
    assert {(await call).status for call in calls} == {200}


async def test_a_replica_that_hangs_costs_no_call_that_is_not_streamed(world: World) -> None:
    hangs, lives = [await world.simulator() for _ in range(2)]
    await world.serve({"pool": at([hangs, lives], kind="vllm", timeouts={"answer": "300ms"})})
    hangs.faults["demo"] = [Fault("hang")] * 100
    answers = await asyncio.gather(*[world.chat() for _ in range(4)])
    assert {got.status for got in answers} == {200}
    tried = [reasons(await world.receipt(got.id)) for got in answers]
    assert sorted(tried, key=len) == [[None]] * 2 + [["timeout", None]] * 2
    await until(lambda: not hangs.in_flight)
