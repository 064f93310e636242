"""Replicas that refuse, give up or die: another one answers, and only who is to blame is blamed."""

from __future__ import annotations

import pytest

from gateway.simulator import Fault
from tests.stories.house import World, at, body_of
from tests.stories.test_fallback import reasons


async def state(world: World, endpoint: str) -> str:
    states = [s for s in ("closed", "open", "half-open") if await world.metric(_line(endpoint, s)) == 1]
    return states[0]


def _line(endpoint: str, state: str) -> str:
    return f'headgate_breaker_state{{endpoint="{endpoint}",state="{state}"}}'


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_a_full_queue_sends_calls_to_another_replica_at_once_and_teaches_nothing(
    world: World, stream: bool
) -> None:
    full, free = [await world.simulator(wire="vllm", max_queued=limit) for limit in (0, None)]
    await world.serve({"pool": at([full, free], kind="vllm", provider={"routing": "round_robin"})})
    tried = []
    for _ in range(12):
        got = await world.chat(stream=stream, max_tokens=1)
        assert got.status == 200
        tried.append(reasons(await world.receipt(got.id)))
    assert {tuple(each) for each in tried} == {(None,), ("queue_full", None)}
    assert await state(world, "pool#0") == await state(world, "pool#1") == "closed"


async def test_where_every_queue_is_full_the_next_deployment_answers_after_two_tries(world: World) -> None:
    replicas = [await world.simulator(wire="vllm", max_queued=0) for _ in range(4)]
    hosted = await world.simulator()
    await world.serve({"pool": at(replicas, kind="vllm"), "hosted": at(hosted)})
    got = await world.chat(max_tokens=1)
    assert got.deployment == "hosted"
    assert reasons(await world.receipt(got.id)) == ["queue_full", "queue_full", None]


async def test_a_pool_that_is_full_says_so_and_when_to_come_back(world: World) -> None:
    replicas = [await world.simulator(wire="vllm", max_queued=0) for _ in range(2)]
    await world.serve({"pool": at(replicas, kind="vllm")})
    got = await world.chat(max_tokens=1)
    assert (got.status, got.error["code"]) == (503, "upstream_overloaded")
    tried = reasons(await world.receipt(got.id))
    assert tried == ["queue_full"] * 3, "each replica, and the first once more after a moment"


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_a_replica_that_drains_gives_up_what_comes_and_another_answers(world: World, stream: bool) -> None:
    drains, lives = [await world.simulator(wire="vllm") for _ in range(2)]
    drains.draining = True
    await world.serve({"pool": at([drains, lives], kind="vllm", provider={"routing": "round_robin"})})
    for _ in range(4):
        got = await world.chat(stream=stream, max_tokens=3)
        assert got.status == 200
        assert "abort" not in got.text
    assert drains.requests, "it was asked, and what it gave up was asked for elsewhere"


async def test_an_answer_in_one_piece_that_was_given_up_half_way_is_asked_for_anew(world: World) -> None:
    gives_up, lives = [await world.simulator(wire="vllm") for _ in range(2)]
    gives_up.faults["demo"] = [Fault("abort", after=3)] * 10
    await world.serve({"pool": at([gives_up, lives], kind="vllm", provider={"routing": "round_robin"})})
    for _ in range(2):
        got = await world.chat()
        assert (got.status, got.json["choices"][0]["finish_reason"]) == (200, "stop")


async def test_fields_that_are_the_gateways_own_do_not_reach_a_replica(world: World) -> None:
    replica = await world.simulator(wire="vllm")
    await world.serve({"pool": at([replica], kind="vllm")})
    own = {
        "priority": -5,
        "cache_salt": "x",
        "chat_template": "{{1}}",
        "kv_transfer_params": {"do_remote_decode": True},
        "request_id": "chatcmpl-1",
    }
    got = await world.chat(max_tokens=1, headers={"x-data-parallel-rank": "3", "x-vllm-priority": "-9"}, **own)
    (request,) = replica.requests
    sent = request.json()
    assert not (own.keys() - {"cache_salt"}) & sent.keys()
    assert sent["cache_salt"] != "x"
    assert request.header(b"x-data-parallel-rank") is request.header(b"x-vllm-priority") is None
    assert all(name in got.headers["x-headgate-warnings"] for name in own)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_a_stream_that_is_left_is_booked_to_the_token_where_usage_is_exact(world: World, path: str) -> None:
    replica = await world.simulator(wire="vllm", tpot_s=0.002)
    await world.serve({"pool": at([replica], kind="vllm", provider={"exact_usage": True})})
    body = body_of(model="chat", stream=True, max_tokens=5000, min_tokens=5000) | {"prompt": "Hello"}
    async with world.http.stream("POST", path, json=body) as answer:
        heard = 0
        async for line in answer.aiter_lines():
            heard += line.startswith("data: ")
            assert "usage" not in line
            if heard == 20:
                break
        id = answer.headers["x-request-id"]
    receipt = await world.receipt(id, left=True)
    assert receipt["tokens"]["output_text"] >= 19
    assert not receipt.get("estimated")
