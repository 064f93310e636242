"""Callers: who leaves, who sets a deadline, who sends what cannot be served."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from gateway.simulator import Fault
from tests.stories.house import World, at, body_of, until

# -- callers who leave --------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_mid_stream_closes_the_upstream_within_100_ms(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)})
    async with world.streaming(max_tokens=500) as response:
        pieces = response.aiter_raw()
        for _ in range(3):
            await anext(pieces)
        assert provider.in_flight == 1
    left = time.monotonic()
    await until(lambda: provider.aborted == 1, 1.0)
    assert time.monotonic() - left < 0.1
    receipt = await world.receipt(response.headers["x-request-id"])
    assert (receipt["status"], receipt["reason"], receipt["estimated"]) == (499, "cancelled", True)
    assert receipt["tokens"]["fresh_input"] > 0
    assert receipt["tokens"]["output_text"] > 0
    assert receipt["cost_nano"] > 0


async def test_a_caller_that_leaves_before_the_answer_closes_the_upstream_and_is_booked(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"left": at(provider)})
    provider.faults["demo"] = [Fault("hang")]
    with pytest.raises(httpx.ReadTimeout):
        await world.http.post("/v1/chat/completions", json=body_of(), timeout=0.2)
    left = time.monotonic()
    await until(lambda: provider.aborted == 1, 1.0)
    assert time.monotonic() - left < 0.1
    costs = (await world.get("/admin/costs?group_by=deployment&since=1h")).json
    row = next(row for row in costs["rows"] if row["group"] == "left")
    assert (row["calls"], row["errors"]) == (1, 1)


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
    provider.faults["demo"] = [Fault("slow", wait_s=0.4)]
    first = asyncio.create_task(world.chat())
    await until(lambda: provider.in_flight == 1)
    with pytest.raises(httpx.ReadTimeout):
        await world.http.post("/v1/chat/completions", json=body_of(), timeout=0.1)
    assert (await first).status == 200
    assert (await world.chat()).status == 200
    assert len(provider.requests) == 2


# -- deadlines and room -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["timeout", "x-headgate-timeout"])
@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
async def test_the_callers_own_deadline_is_kept(world: World, header: str, stream: bool) -> None:
    slow, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(slow), "second": at(next_one)})
    slow.faults["demo"] = [Fault("hang")]
    began = time.monotonic()
    got = await world.chat(stream=stream, headers={header: "0.3"})
    assert 0.3 <= time.monotonic() - began < 1.0
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert not next_one.requests  # no time is left for it
    assert (await world.receipt(got.id))["status"] == 504


async def test_a_deadline_that_is_over_before_anybody_is_asked_is_a_timeout_too(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    got = await world.chat(headers={"timeout": "0.000001"})
    assert (got.status, got.error["code"]) == (504, "upstream_timeout")
    assert not provider.requests


async def test_a_stream_that_passes_its_deadline_ends_in_an_error(world: World) -> None:
    provider = await world.simulator(tpot_s=0.02)
    await world.serve({"only": at(provider)}, on_failure={"deadline": "300ms"})
    got = await world.chat(stream=True, max_tokens=500, min_tokens=500)
    assert got.error["code"] == "upstream_timeout"
    assert 5 < len(got.events) < 25


async def test_calls_beyond_the_bound_wait_and_those_beyond_the_queue_are_shed(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, limits={"in_flight": 1, "queue": 1, "queue_wait": "5s"})
    provider.faults["demo"] = [Fault("slow", wait_s=0.4)]
    first = asyncio.create_task(world.chat())
    await until(lambda: provider.in_flight == 1)
    second = asyncio.create_task(world.chat())
    await asyncio.sleep(0.1)
    before = await world.metric("headgate_shed_total")
    shed = await world.chat()
    assert (shed.status, shed.error["code"]) == (503, "overloaded")
    assert int(shed.headers["retry-after"]) >= 1
    assert [(await first).status, (await second).status] == [200, 200]
    assert await world.metric("headgate_shed_total") == before + 1
    waited = await world.receipt((await second).id)
    assert waited["queue_us"] > 100_000
    assert waited["overhead_us"] < 100_000


async def test_a_deployments_own_bound_holds(world: World) -> None:
    provider = await world.simulator(ttft_s=0.1)
    await world.serve({"only": at(provider, in_flight=2)})
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, provider.in_flight)
            await asyncio.sleep(0.005)

    watching = asyncio.create_task(watch())
    assert {got.status for got in await asyncio.gather(*[world.chat() for _ in range(6)])} == {200}
    watching.cancel()
    assert most == 2


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
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


async def test_an_answer_says_who_gave_it_and_where_the_time_went(world: World) -> None:
    provider = await world.simulator(ttft_s=0.05)
    await world.serve({"only": at(provider)})
    for got in [await world.chat(), await world.chat(stream=True)]:
        assert got.headers["x-headgate-deployment"] == "only"
        assert got.headers["x-headgate-decision"] == got.id
        timing = dict(part.split(";dur=") for part in got.headers["server-timing"].split(", "))
        assert list(timing) == ["parse", "policy", "queue", "upstream", "total"]
        assert 50 <= float(timing["upstream"]) <= float(timing["total"]) < 1000
    assert got.id.startswith("req_")
