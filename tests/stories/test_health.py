"""Replicas that do not work, behind the door: found by the process itself, and no caller is the one who finds out."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from gateway.simulator import Fault
from tests.gateway.simulator.test_vllm_process import Life, living
from tests.patience import until
from tests.stories.house import Answer, Place, World, at, config_of
from tests.stories.test_fallback import reasons

QUICK = {"interval": "100ms", "timeout": "1s", "misses": 3, "progress": "1s", "canary": "1s"}
LONG = {"max_tokens": 60, "ignore_eos": True}


def pool(*lives: Life, **provider: Any) -> Place:
    written = {"kind": "vllm", "endpoints": [f"{life.url}/v1" for life in lives], "health": QUICK, **provider}
    return Place(written, {"model": "tiny", "price": "free"})


def befell(world: World, life: Life, what: str) -> int:
    """Returns how often the gateway has told this of a replica."""
    events = world.house.events("pool_event", world._began)
    return sum(event["replica"] == life.url and event["what"] == what for event in events)


async def ready(life: Life) -> None:
    await until(lambda: "Application startup complete." in life.said)


def began_and_broke_off(got: Answer) -> bool:
    """Whether content had left before an error ended the stream, in-band."""
    events = got.events
    return bool(got.content) and "error" in events[-1]


async def test_a_hung_engine_that_says_200_costs_no_call_that_nothing_was_said_of(world: World) -> None:
    async with AsyncExitStack() as stack:
        hangs, lives = [await stack.enter_async_context(living(fault)) for fault in ("hang=500ms", "")]
        await ready(hangs)
        await ready(lives)
        await world.serve({"pool": pool(hangs, lives)})

        async def load(stream: bool) -> list[Answer]:
            got = []
            while not befell(world, hangs, "lost"):
                got.append(await world.chat("Hello", stream=stream, **LONG))
            return got

        answers = await asyncio.gather(*[load(stream) for stream in (True, False) * 4])
        streams = [got for loaded in answers[::2] for got in loaded]
        unary = [got for loaded in answers[1::2] for got in loaded]
        assert {got.status for got in streams + unary} == {200}
        assert all(got.whole or began_and_broke_off(got) for got in streams)
        assert {got.json["choices"][0]["finish_reason"] for got in unary} <= {"stop", "length"}
        assert (await world.http.get(f"{hangs.url}/health")).status_code == 200
        assert not befell(world, lives, "lost")
        # From now on nobody is sent there.
        for _ in range(6):
            got = await world.chat(max_tokens=1)
            assert reasons(await world.receipt(got.id)) == [None]


async def test_where_every_replica_is_lost_calls_go_to_the_next_deployment_and_say_why(world: World) -> None:
    async with living() as life:
        await ready(life)
        other = await world.simulator()
        await world.serve({"pool": pool(life), "hosted": at(other)})
        assert (await world.chat(**LONG)).deployment == "pool"
        life.process.kill()
        await life.ended()
        assert (await world.chat()).deployment == "hosted"
        await until(lambda: befell(world, life, "lost"))
        got = await world.chat()
        receipt = await world.receipt(got.id)
        assert [each["deployment"] for each in receipt["attempts"]] == ["hosted"]
        assert "no replica is ready" in json.dumps(receipt["decision"])
        await world.serve({"pool": pool(life)})
        await until(lambda: befell(world, life, "lost") == 2)
        refused = await world.chat()
        assert (refused.status, refused.error["code"]) == (503, "no_permitted_deployment")


async def test_a_replica_that_died_in_mid_stream_ends_its_streams_with_an_error_and_loses_nothing_else(
    world: World,
) -> None:
    async with AsyncExitStack() as stack:
        dies, lives = [await stack.enter_async_context(living(fault)) for fault in ("killed=500ms", "")]
        await ready(dies)
        await ready(lives)
        await world.serve({"pool": pool(dies, lives)})

        async def load(stream: bool) -> list[Answer]:
            got = []
            while not befell(world, dies, "lost"):
                got.append(await world.chat(stream=stream, **LONG))
            return got

        answers = await asyncio.gather(*[load(stream) for stream in (True, False) * 3])
        got = [each for loaded in answers for each in loaded]
        assert {each.status for each in got} == {200}
        assert all(each.whole or began_and_broke_off(each) for each in got if each.text.startswith("data: "))


async def test_a_reload_keeps_what_is_known_of_replicas(world: World) -> None:
    gone, lives = [await world.simulator(wire="vllm") for _ in range(2)]
    config = config_of({"pool": at([gone, lives], kind="vllm", provider={"health": QUICK})})
    await world.house.reload(config)
    await gone.close()
    await until(lambda: any(e["what"] == "lost" for e in world.house.events("pool_event", world._began)))
    told = len(world.house.events("pool_event", world._began))
    await world.house.reload({**config, "limits": {"queue": 7}})
    lives.requests.clear()
    for _ in range(10):
        assert (await world.chat(max_tokens=1)).status == 200
    assert len(world.house.events("pool_event", world._began)) == told


async def test_a_busy_pool_whose_health_page_hangs_goes_on(world: World) -> None:
    (simulator,) = [await world.simulator(wire="vllm", tpot_s=0.01)]
    simulator.faults["/health"] = [Fault("hang")] * 100
    health = {**QUICK, "timeout": "100ms"}
    await world.serve({"pool": at([simulator], kind="vllm", provider={"health": health})})
    while len(simulator.faults["/health"]) > 96:
        assert (await world.chat(max_tokens=3)).status == 200
    assert not [e for e in world.house.events("pool_event", world._began) if e["what"] == "lost"]
