"""Callers: who leaves, who sets a deadline, who sends what cannot be served."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.simulator import Fault
from tests.patience import TICK_S, promptly, until
from tests.stories.house import World, at, body_of, occupied

# -- callers who leave --------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_mid_stream_closes_the_upstream_within_100_ms(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)})

    async def leave() -> float:
        aborted = provider.aborted
        async with world.streaming(max_tokens=500, min_tokens=500) as response:
            pieces = response.aiter_raw()
            for _ in range(3):
                await anext(pieces)
            assert provider.in_flight == 1
        left = time.monotonic()
        await until(lambda: provider.aborted > aborted)
        took = time.monotonic() - left
        receipt = await world.receipt(response.headers["x-request-id"], left=True)
        assert (receipt["status"], receipt["reason"], receipt["estimated"]) == (499, "cancelled", True)
        assert receipt["tokens"]["fresh_input"] > 0
        assert receipt["tokens"]["output_text"] > 0
        assert receipt["cost_nano"] > 0
        return took

    await promptly(leave, 0.1)


async def test_a_caller_that_leaves_before_the_answer_closes_the_upstream_and_is_booked(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"left": at(provider)})

    async def leave() -> float:
        provider.faults["demo"] = [Fault("hang")]
        call = asyncio.create_task(world.chat())
        await until(lambda: provider.in_flight == 1)
        aborted, left = provider.aborted, time.monotonic()
        call.cancel()
        await until(lambda: provider.aborted > aborted)
        return time.monotonic() - left

    async def booked() -> bool:
        costs = (await world.get("/admin/costs?group_by=deployment&since=1h")).json
        rows = [(row["calls"], row["errors"]) for row in costs["rows"] if row["group"] == "left"]
        return rows == [(provider.aborted, provider.aborted)]

    await promptly(leave, 0.1)
    await until(booked)


async def test_callers_who_leave_teach_the_breaker_nothing(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)}, breakers={"minimum_calls": 2})
    for count in range(1, 5):
        async with world.streaming(max_tokens=100) as response:
            await anext(response.aiter_raw())
        await until(lambda count=count: provider.aborted == count)
    condition = (await world.get("/admin/breakers")).json["breakers"][0]
    assert (condition["state"], condition["failures"], condition["slow"]) == ("closed", 0, 0)
    assert (await world.chat()).status == 200


async def test_a_caller_that_leaves_the_queue_is_not_sent_upstream(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, limits={"in_flight": 1})
    async with occupied(provider):
        first = asyncio.create_task(world.chat())
        await until(lambda: provider.in_flight == 2)
        second = asyncio.create_task(world.chat())
        await world.queued(1)
        second.cancel()
        await world.queued(0)
    assert (await first).status == 200
    assert (await world.chat()).status == 200
    assert len(provider.requests) == 2


# -- deadlines and room -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["timeout", "x-headgate-timeout"])
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_the_callers_own_deadline_is_kept(world: World, header: str, stream: bool) -> None:
    slow, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(slow), "second": at(next_one)})

    async def ask() -> float:
        slow.faults["demo"] = [Fault("hang")]
        began = time.monotonic()
        got = await world.chat(stream=stream, headers={header: "0.3"})
        took = time.monotonic() - began
        assert took >= 0.3 - TICK_S
        assert (got.status, got.error["code"]) == (504, "upstream_timeout")
        assert not next_one.requests  # no time is left for it
        assert (await world.receipt(got.id))["status"] == 504
        return took

    await promptly(ask, 1.0)


async def test_a_deadline_that_is_over_before_anybody_is_asked_is_a_timeout_too(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await world.chat(headers={"timeout": "0.000001"})
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert not provider.requests


async def test_a_stream_that_passes_its_deadline_ends_in_an_error(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)}, on_failure={"deadline": "500ms"})
    got = await world.chat(stream=True, max_tokens=500, min_tokens=500)
    assert got.error["code"] == "upstream_timeout"
    assert 1 < len(got.events) < 500  # of ten seconds


async def test_calls_beyond_the_bound_wait_and_those_beyond_the_queue_are_shed(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, limits={"in_flight": 1, "queue": 1, "queue_wait": "30s"})
    async with occupied(provider):
        first = asyncio.create_task(world.chat())
        await until(lambda: provider.in_flight == 2)
        second = asyncio.create_task(world.chat())
        await world.queued(1)
        before = await world.metric("headgate_shed_total")
        shed = await world.chat()
        assert (shed.status, shed.error["code"]) == (503, "overloaded")
        assert int(shed.headers["retry-after"]) >= 1
        await asyncio.sleep(0.15)
    assert [(await first).status, (await second).status] == [200, 200]
    assert await world.metric("headgate_shed_total") == before + 1
    waited = await world.receipt((await second).id)
    assert waited["queue_us"] > 100_000
    assert waited["overhead_us"] <= waited["e2e_us"] - waited["queue_us"] + 1


async def test_a_deployments_own_bound_holds(world: World) -> None:
    provider = await world.simulator(ttft_s=0.05)
    await world.serve({"only": at(provider, in_flight=2)})
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, provider.in_flight)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    async with occupied(provider):
        calls = [asyncio.create_task(world.chat()) for _ in range(6)]
        await world.queued(4)
    assert {got.status for got in await asyncio.gather(*calls)} == {200}
    watching.cancel()
    assert most == 1 + 2  # the one that occupied it, and those that waited behind


# -- what cannot be served ----------------------------------------------------------------------------------------


async def test_an_unknown_model_is_404_with_a_did_you_mean(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"mini-gpt": at(provider)})
    got = await world.chat(model="mini-gtp")
    assert (got.status, got.error["code"], got.error["param"]) == (404, "model_not_found", "model")
    assert "did you mean 'mini-gpt'" in got.error["message"]
    assert (await world.receipt(got.id))["status"] == 404


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"{", None, "invalid_json"),
        (b"", None, "invalid_json"),
        (b'{"model": "chat", "messages": [{"role": "user", "content": "\xff\xfe"}]}', None, "invalid_json"),
        (b'{"model": "chat", "stop": ' + b"[" * 100_000, None, "invalid_json"),
        (b"[]", None, "invalid_type"),
        (b'{"model": "chat"}', "messages", "missing_required_parameter"),
        (b'{"model": "chat", "messages": []}', "messages", "empty_array"),
        (b'{"model": 7, "messages": [{"role": "user"}]}', "model", "invalid_type"),
        (b'{"model": "chat", "messages": [{"role": "user"}], "temperature": "hot"}', "temperature", "invalid_type"),
        (b'{"model": "chat", "messages": [{"role": "user"}], "n": 0}', "n", "integer_below_min_value"),
    ],
)
async def test_a_body_that_cannot_be_a_request_is_400_and_names_its_field(
    world: World, body: bytes, param: str | None, code: str
) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await world.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    error = got.json()["error"]
    assert (got.status_code, error["type"]) == (400, "invalid_request_error")
    assert (error["param"], error["code"]) == (param, code)
    assert got.headers["x-request-id"].startswith("req_")
    assert not provider.requests


async def test_a_wrong_method_and_a_wrong_path_are_told_so(world: World) -> None:
    await world.serve({"only": at(await world.simulator())})
    wrong = await world.get("/v1/chat/completions")
    assert (wrong.status, wrong.error["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    unknown = await world.post("/v1/chat/completion", body_of())
    assert (unknown.status, unknown.error["code"]) == (404, "unknown_url")
    assert "/v1/chat/completions" in unknown.error["message"]


async def test_a_base_url_without_its_version_serves_too(world: World) -> None:
    await world.serve({"only": at(await world.simulator())})
    assert (await world.chat(path="/chat/completions")).status == 200


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(world: World) -> None:
    await world.serve({"only": at(await world.simulator())})
    host, port = world.house.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        b"content-length: 104857600\r\n\r\n{"
    )
    answer = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


async def test_an_answer_says_who_gave_it_and_where_the_time_went(world: World) -> None:
    provider = await world.simulator(ttft_s=0.05)
    await world.serve({"only": at(provider)})
    began = time.monotonic()
    answers = [await world.chat(), await world.chat(stream=True)]
    took_ms = 1000 * (time.monotonic() - began)
    for got in answers:
        assert got.headers["x-headgate-deployment"] == "only"
        assert got.headers["x-headgate-decision"] == got.id
        timing = dict(part.split(";dur=") for part in got.headers["server-timing"].split(", "))
        assert list(timing) == ["parse", "policy", "queue", "upstream", "total"]
        assert 50 <= float(timing["upstream"]) <= float(timing["total"]) < took_ms
    assert got.id.startswith("req_")
