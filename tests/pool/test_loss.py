"""A replica that dies or freezes: what had no byte yet is answered by the other, what spoke ends as an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.patience import until
from tests.pool.load import Load
from tests.pool.places import BREAKERS, WITHIN_S, place, speaking
from tests.pool.replicas import Replica
from tests.stories.house import DONE, World
from tests.stories.test_fallback import reasons

# Far beyond what an answer takes on a busy machine, near enough to be waited for.
TIMEOUTS = {"first_token": "8s", "idle": "8s", "answer": "10s"}


@pytest.fixture
async def lost(world: World, pool: list[Replica]) -> AsyncIterator[Replica]:
    """The replica that a test does harm to. When the test has ended it is restored, and asked again."""
    await until(lambda: all(replica.running == 0 for replica in pool), WITHIN_S)
    await world.serve({"tiny": place(pool, timeouts=TIMEOUTS)}, breakers=BREAKERS)
    replica = pool[0]
    yield replica
    await asyncio.to_thread(replica.restore)
    before = replica.answered

    async def answers_again() -> bool:
        assert (await world.chat(max_tokens=1)).status == 200
        return replica.answered > before + 5

    await until(answers_again, WITHIN_S)


def harm(replica: Replica, how: str) -> None:
    """Kills a replica, or freezes all of it or its engine alone."""
    if how == "killed":
        replica.kill()
    else:
        replica.freeze(everything=how == "frozen")


async def states(world: World) -> list[str]:
    """Returns the states of the replicas' breakers."""
    conditions = (await world.get("/admin/breakers")).json["breakers"]
    return [each["state"] for each in conditions if each["endpoint"].startswith("tiny#")]


@pytest.mark.parametrize("how", ["killed", "frozen", "its engine frozen"])
async def test_no_call_without_a_byte_fails_where_a_replica_is_lost_under_load(
    world: World, lost: Replica, how: str
) -> None:
    async def left_alone() -> bool:
        return (await states(world))[0] != "closed"

    async with Load(world) as load:
        await load.goes_on(60)
        harm(lost, how)
        if how == "its engine frozen":
            assert lost.healthy  # as its own server says
        await until(left_alone, WITHIN_S)
        await load.goes_on(30)
        assert (await states(world))[1] == "closed"
    tried = await load.account()
    assert {reason for each in tried.values() for reason in each} - {None} <= {
        "killed": {"connect", "stream_cut"},
        "frozen": {"timeout"},
        "its engine frozen": {"timeout"},
    }[how]
    assert any(len(each) > 1 for each in tried.values())


@pytest.mark.parametrize(("how", "reason"), [("killed", "stream_cut"), ("frozen", "timeout")])
async def test_of_streams_that_speak_those_of_the_lost_replica_end_as_errors(
    world: World, pool: list[Replica], lost: Replica, how: str, reason: str
) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(speaking(world, 6000)) for _ in range(4)]
        await until(lambda: [replica.running for replica in pool] == [2, 2], WITHIN_S)
        harm(lost, how)
        rests = ["".join([piece async for piece in stream.rest]) for stream in streams]
    endings = []
    for stream, rest in zip(streams, rests, strict=True):
        receipt = await world.receipt(stream.id)
        assert receipt["status"] == 200
        last = rest.rstrip().rpartition("\n")[2]
        endings.append((reasons(receipt), last.startswith('data: {"error"'), last == f"data: {DONE}"))
    assert sorted(endings, key=str) == sorted([([reason], True, False), ([None], False, True)] * 2, key=str)


async def test_a_replica_that_is_asked_to_end_costs_nobody_anything(world: World, lost: Replica) -> None:
    async with Load(world) as load:
        await load.goes_on(40)
        lost.terminate()
        await until(lambda: lost.ended, WITHIN_S)
        await load.goes_on(40)
    tried = await load.account()
    assert {each.how for each in load.ended} == {"whole"}
    assert any(len(each) > 1 for each in tried.values())
