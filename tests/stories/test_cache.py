"""Kept answers: who is given one, in which form, at what price; and identical calls that fly together."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.simulator import Fault
from tests.patience import until
from tests.stories.house import Answer, World, at, config_of, held, occupied

KEPT: dict[str, Any] = {"cache": {"at": "temperature_0"}}
COLD: dict[str, Any] = {"temperature": 0}


def hit(got: Answer) -> bool:
    """Whether an answer says that it was kept."""
    return got.headers.get("x-headgate-cache", "").startswith("hit; age=")


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_a_second_identical_call_at_temperature_0_is_answered_without_the_provider(
    world: World, stream: bool
) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    first = await world.chat(stream=stream, **COLD)
    second = await world.chat(stream=stream, **COLD)
    assert first.headers["x-headgate-cache"] == "miss"
    assert hit(second)
    assert len(provider.requests) == 1
    assert second.content == first.content
    assert second.headers["x-headgate-deployment"] == "only"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.id != first.id
    assert second.whole if stream else second.json == first.json
    paid, saved = await world.receipt(first.id), await world.receipt(second.id)
    assert (paid["cache"], saved["cache"]) == ("miss", "hit")
    assert paid["cost_nano"] > 0
    assert saved["cost_nano"] == 0
    assert saved["saved_nano"] == paid["cost_nano"]
    assert saved["deployment"] == "only"
    assert saved["sentence"].startswith("answered from the cache")


@pytest.mark.parametrize("first_streams", [False, True], ids=["unary-then-stream", "stream-then-unary"])
async def test_a_kept_answer_is_replayed_in_the_form_that_is_asked_for(world: World, first_streams: bool) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    first = await world.chat(stream=first_streams, **COLD)
    second = await world.chat(stream=not first_streams, **COLD)
    assert hit(second)
    assert len(provider.requests) == 1
    assert second.content == first.content
    stream, unary = (first, second) if first_streams else (second, first)
    assert stream.whole
    assert unary.json["choices"][0]["finish_reason"] == "stop"
    usage = await world.chat(stream=True, stream_options={"include_usage": True}, **COLD)
    assert hit(usage)
    told = usage.events[-2]["usage"]
    assert told["total_tokens"] == unary.json["usage"]["total_tokens"] > 0
    timing = usage.headers["server-timing"]
    assert [part.split(";")[0] for part in timing.split(", ")] == ["parse", "policy", "queue", "upstream", "total"]


async def test_tool_calls_are_replayed(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    function = {"name": "find", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}
    asked = {"tools": [{"type": "function", "function": function}], "tool_choice": "required", **COLD}
    whole = await world.chat(**asked)
    stream = await world.chat(stream=True, **asked)
    assert hit(stream)
    arguments, names = "", []
    for event in stream.events[:-1]:
        for call in event["choices"][0]["delta"].get("tool_calls") or []:
            arguments += call["function"].get("arguments") or ""
            names += [call["function"]["name"]] if call["function"].get("name") else []
    call = whole.json["choices"][0]["message"]["tool_calls"][0]
    assert (names, arguments) == ([call["function"]["name"]], call["function"]["arguments"])


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.1},
        {"temperature": 0, "seed": 7},
        {"temperature": 0, "max_tokens": 9},
        {"temperature": 0, "model": "only"},
        {},
    ],
)
async def test_a_call_that_asks_something_else_is_asked_anew(world: World, other: dict[str, Any]) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    await world.chat(**COLD)
    assert not hit(await world.chat(**other))
    assert len(provider.requests) == 2


async def test_who_asks_and_how_is_no_part_of_the_question(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    await world.chat(user="ada", **COLD)
    assert hit(await world.chat(user="bob", metadata={"trip": "1"}, **COLD))


@pytest.mark.parametrize(
    ("share", "own_team", "other_team"), [("team", True, False), ("key", False, False), ("all", True, True)]
)
async def test_answers_are_shared_as_far_as_configured(
    world: World, share: str, own_team: bool, other_team: bool
) -> None:
    provider = await world.simulator()
    keys = [
        {"name": name, "team": team, "hash": f"sha256:{hashlib.sha256(f'hg-{name}'.encode()).hexdigest()}"}
        for name, team in (("ada", "red"), ("bob", "red"), ("eve", "blue"))
    ]
    await world.serve(
        {"only": at(provider)},
        auth="keys",
        keys=keys,
        teams={"red": {}, "blue": {}},
        cache={"at": "temperature_0", "share": share},
    )

    async def asked_by(name: str) -> bool:
        return hit(await world.chat(headers={"authorization": f"Bearer hg-{name}"}, **COLD))

    assert [await asked_by(name) for name in ("ada", "ada", "bob", "eve")] == [False, True, own_team, other_team]


async def test_answers_are_apart_by_sensitivity(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    await world.chat(headers={"x-data-sensitivity": "restricted"}, **COLD)
    assert not hit(await world.chat(**COLD))
    assert hit(await world.chat(headers={"x-data-sensitivity": "restricted"}, **COLD))


async def test_what_a_caller_says_of_the_cache_is_obeyed(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    for control, cached in (
        ("no-store", False),  # neither answered from it nor kept
        (None, False),
        (None, True),
        ("no-store", False),
        ("no-cache", False),
        ("max-age=0", False),
        ("max-age=3600", True),
    ):
        got = await world.chat(headers={"cache-control": control} if control else None, **COLD)
        assert hit(got) is cached, control


async def test_a_call_that_asks_for_it_is_kept_at_any_temperature(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    asking = {"cache-control": "max-age=60"}
    assert [hit(await world.chat(headers=asking, temperature=1)) for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("fault", "stream"),
    [("400", False), ("500", True), ("filter;after=2", False), ("cut;after=3", True), ("filter;after=2", True)],
)
async def test_what_is_no_whole_answer_is_not_kept(world: World, fault: str, stream: bool) -> None:
    provider = await world.simulator(tpot_s=0.001)
    await world.serve({"only": at(provider)}, on_failure={"attempts": 1}, **KEPT)
    provider.faults["demo"] = [Fault.parse(fault)]
    await world.chat(stream=stream, **COLD)
    again = await world.chat(stream=stream, **COLD)
    assert not hit(again)
    assert again.status == 200
    assert len(provider.requests) == 2
    assert hit(await world.chat(stream=stream, **COLD))


async def test_a_hit_needs_its_deployment_to_be_permitted_still(world: World) -> None:
    first, second = await world.simulator(), await world.simulator()
    places = {"first": at(first), "second": at(second)}
    route = {"name": "chat", "when": {"model": ["chat"]}, "among": ["first", "second"], "pick": "in_order"}
    config = {"policies": {"routes": [route]}, **KEPT}
    written = config_of(places, **config)
    await world.house.reload(written)
    assert (await world.chat(**COLD)).deployment == "first"
    assert hit(await world.chat(**COLD))
    written["policies"]["guarantees"] = [{"name": "not-first", "require": {"deployment": ["second"]}}]
    await world.house.reload(written)
    got = await world.chat(**COLD)
    assert not hit(got)
    assert got.deployment == "second"


async def test_embeddings_are_kept(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, **KEPT)
    body = {"model": "chat", "input": "hello", "dimensions": 8}
    first, second = [await world.post("/v1/embeddings", body) for _ in range(2)]
    assert hit(second)
    assert second.json == first.json


# -- single flight ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_twenty_identical_calls_at_once_are_one_call_upstream(world: World, stream: bool) -> None:
    provider = await world.simulator(ttft_s=0.1, tpot_s=0.002)
    await world.serve({"only": at(provider)}, **KEPT)
    answers = await asyncio.gather(*[world.chat(stream=stream, **COLD) for _ in range(20)])
    assert len(provider.requests) == 1
    assert len({got.content for got in answers}) == 1
    assert all(got.whole if stream else got.status == 200 for got in answers)
    assert sum(not hit(got) for got in answers) == 1
    receipts = [await world.receipt(got.id) for got in answers]
    assert len({receipt["id"] for receipt in receipts}) == 20
    paid = [receipt for receipt in receipts if receipt["cache"] == "miss"]
    assert len(paid) == 1
    assert {receipt["cost_nano"] for receipt in receipts if receipt["cache"] == "hit"} == {0}
    assert {receipt["saved_nano"] for receipt in receipts if receipt["cache"] == "hit"} == {paid[0]["cost_nano"]}


async def test_streams_and_whole_answers_fly_together(world: World) -> None:
    provider = await world.simulator(ttft_s=0.1)
    await world.serve({"only": at(provider)}, **KEPT)
    answers = await asyncio.gather(*[world.chat(stream=bool(turn % 2), **COLD) for turn in range(10)])
    assert len(provider.requests) == 1
    assert len({got.content for got in answers}) == 1


async def test_a_leader_who_leaves_takes_nothing_from_those_who_follow(world: World) -> None:
    provider = await world.simulator(tpot_s=0.01)
    await world.serve({"only": at(provider)}, **KEPT)
    async with AsyncExitStack() as following:
        async with world.streaming(**COLD) as leader:
            pieces = leader.aiter_raw()
            await anext(pieces)
            with held(provider):
                follower = await following.enter_async_context(world.streaming(**COLD))
        await follower.aread()
    got = Answer(follower.status_code, follower.headers, follower.text)
    assert got.whole
    assert hit(got)
    assert (len(provider.requests), provider.aborted) == (1, 0)
    assert hit(await world.chat(stream=True, **COLD))
    paid = await world.receipt(leader.headers["x-request-id"], left=True)
    assert paid["cost_nano"] > 0


async def test_a_leader_who_left_is_booked_where_its_flight_fails(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"cache-left": at(provider)}, on_failure={"attempts": 1}, **KEPT)
    provider.faults["demo"] = [Fault("error", after=0)]
    async with occupied(provider):
        leader = asyncio.create_task(world.chat(**COLD))
        await until(lambda: provider.in_flight == 2)
        following = asyncio.create_task(world.chat(**COLD))
        await asyncio.sleep(0.1)  # to board; where that took longer, the end is the same
        leader.cancel()
        await asyncio.sleep(0.1)  # to be missed
    got = await following
    assert got.status == 200  # it flew anew
    assert len(provider.requests) == 2
    rows = (await world.get("/admin/costs?group_by=deployment&since=1h")).json["rows"]
    booked = next(row for row in rows if row["group"] == "cache-left")
    assert (booked["calls"], booked["errors"]) == (2, 1)


async def test_when_all_who_wait_have_left_the_upstream_is_closed(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)}, **KEPT)
    async with world.streaming(max_tokens=500, min_tokens=500, **COLD) as leader:
        pieces = leader.aiter_raw()
        await anext(pieces)
        async with world.streaming(max_tokens=500, min_tokens=500, **COLD) as follower:
            follows = follower.aiter_raw()
            await anext(follows)
    await until(lambda: provider.aborted == 1)
    assert len(provider.requests) == 1
    paid = await world.receipt(leader.headers["x-request-id"], left=True)
    assert (paid["status"], paid["reason"], paid["estimated"]) == (499, "cancelled", True)
    followed = await world.receipt(follower.headers["x-request-id"], left=True)
    assert (followed["status"], followed["cost_nano"]) == (499, 0)


async def test_a_failure_is_told_to_all_who_fly_together(world: World) -> None:
    provider = await world.simulator(ttft_s=0.1)
    await world.serve({"only": at(provider)}, **KEPT)
    provider.faults["demo"] = [Fault("error", after=0, wait_s=0.1)] * 20
    answers = await asyncio.gather(*[world.chat(**COLD) for _ in range(10)])
    assert {got.status for got in answers} == {502}
    assert len({got.id for got in answers}) == 10
    assert [(await world.receipt(got.id))["status"] for got in answers] == [502] * 10


async def test_a_stream_cut_in_flight_is_told_to_all_who_follow(world: World) -> None:
    provider = await world.simulator(tpot_s=0.1)
    await world.serve({"only": at(provider)}, **KEPT)
    provider.faults["demo"] = [Fault("cut", after=5)]
    async with AsyncExitStack() as stack:
        boarded = [await stack.enter_async_context(world.streaming(**COLD))]
        with held(provider):
            boarded += [await stack.enter_async_context(world.streaming(**COLD)) for _ in range(4)]
        for each in boarded:
            await each.aread()
    answers = [Answer(each.status_code, each.headers, each.text) for each in boarded]
    assert len(provider.requests) == 1
    assert {got.error["code"] for got in answers} == {"upstream_stream_cut"}
    for got in answers:
        receipt = await world.receipt(got.id)
        assert receipt["status"] == 200
        assert receipt["reason"]
