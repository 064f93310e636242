"""Streams never lie: what left is what was said, and an end that did not happen is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from gateway.simulator import Fault
from tests.patience import until
from tests.stories.house import DONE, World, at


async def test_a_stream_says_what_a_whole_answer_says(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    unary, stream = await world.chat(), await world.chat(stream=True)
    assert stream.content == unary.content
    assert stream.whole
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"


async def test_usage_is_asked_for_always_and_shown_only_where_it_was_asked_for(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    silent = await world.chat(stream=True)
    asked = await world.chat(stream=True, stream_options={"include_usage": True})
    assert all(request.json()["stream_options"] == {"include_usage": True} for request in provider.requests)
    assert not [event for event in silent.events[:-1] if event.get("usage")]
    assert all(event["choices"] for event in silent.events[:-1])
    usage = asked.events[-2]["usage"]
    assert asked.events[-2]["choices"] == []
    receipts = [await world.receipt(silent.id), await world.receipt(asked.id)]
    tokens = {"fresh_input": usage["prompt_tokens"], "output_text": usage["completion_tokens"]}
    assert [receipt["tokens"] for receipt in receipts] == [tokens, tokens]
    assert not any(receipt.get("estimated") for receipt in receipts)


async def test_content_leaves_as_it_comes(world: World) -> None:
    provider = await world.simulator(tpot_s=0.1)
    await world.serve({"only": at(provider)})
    early = late = 0
    async with world.streaming(max_tokens=8) as response:
        async for piece in response.aiter_raw():
            if provider.in_flight:
                early += piece.count(b'"content":')
            else:
                late += piece.count(b'"content":')
    assert early + late >= 8
    assert early >= 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("cut;after=3", "upstream_stream_cut"),
        ("cut-reset;after=3", "upstream_stream_cut"),
        ("torn;after=3", "upstream_stream_cut"),
        ("no-finish", "upstream_stream_cut"),
        ("no-end", "upstream_stream_cut"),
        ("error;after=3", "upstream_error"),
        ("stall;after=3", "upstream_timeout"),
        ("comments;after=3", "upstream_timeout"),
    ],
)
async def test_a_stream_that_fails_after_content_ends_in_an_error_and_without_a_sentinel(
    world: World, fault: str, code: str
) -> None:
    failing, next_one = await world.simulator(), await world.simulator()
    patience = {"timeouts": {"idle": "200ms"}} if code == "upstream_timeout" else {}
    await world.serve({"first": at(failing, **patience), "second": at(next_one)})
    for failing.tpot_s in (0.002, 0.02, 0.15):
        failing.faults["demo"] = [Fault.parse(fault)]
        next_one.requests.clear()
        began = time.monotonic()
        got = await world.chat(stream=True)
        if got.deployment == "first":
            break  # else the gateway was so late that content and failure came as one: slower
    assert time.monotonic() - began < 20
    assert (got.status, got.deployment) == (200, "first")
    assert got.content.startswith("I am")
    assert (got.error["code"], got.error["type"]) == (code, "upstream_error")
    assert DONE not in got.events
    assert not next_one.requests
    receipt = await world.receipt(got.id)
    assert receipt["status"] == 200
    assert receipt["reason"] == receipt["attempts"][0]["reason"]
    assert receipt["cost_nano"] > 0
    assert receipt["attempts"][0]["tokens"]["output_text"] > 0
    await until(lambda: not failing.in_flight)


async def test_a_finished_stream_without_its_sentinel_is_given_one(world: World) -> None:
    provider, next_one = await world.simulator(), await world.simulator()
    await world.serve({"first": at(provider), "second": at(next_one)})
    provider.faults["demo"] = [Fault("no-done")]
    got = await world.chat(stream=True)
    assert got.whole
    assert got.events.count(DONE) == 1
    assert not next_one.requests
    assert "reason" not in await world.receipt(got.id)


async def test_an_event_that_is_not_json_is_dropped_where_the_rest_proves_whole(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    fine = await world.chat(stream=True)
    provider.faults["demo"] = [Fault("malformed", after=3)]
    got = await world.chat(stream=True)
    assert got.whole
    assert "broken" not in got.text
    assert got.content == fine.content
    assert await world.metric('headgate_dropped_events_total{deployment="only"}') >= 1


@pytest.mark.parametrize("fault", ["drip;every=0.1ms;tokens=3", "huge;after=3;tokens=8", "two-finishes"])
async def test_an_odd_but_whole_stream_arrives_whole(world: World, fault: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    provider.faults["demo"] = [Fault.parse(fault)]
    got = await world.chat(stream=True)
    assert got.whole
    assert got.content.startswith("I am a")
    receipt = await world.receipt(got.id)
    assert receipt["finish"] in ("stop", "length")


async def test_a_stream_cut_after_content_counts_against_its_endpoint(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)}, breakers={"minimum_calls": 2})
    provider.faults["demo"] = [Fault("cut", after=1), Fault("cut", after=1)]
    for _ in range(2):
        await world.chat(stream=True)
    breakers = (await world.get("/admin/breakers")).json["breakers"]
    assert [each["failures"] for each in breakers] == [2]


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.parametrize("transport", ["http2", "httpx"])
async def test_the_other_transports_serve_and_fail_alike(world: World, transport: str) -> None:
    provider, next_one = await world.simulator(tpot_s=0.002), await world.simulator()
    by_it = at(provider, provider={"transport": transport})
    await world.serve({"first": by_it, "second": at(next_one)})
    unary, stream = await world.chat(), await world.chat(stream=True)
    assert (unary.deployment, stream.deployment) == ("first", "first")
    assert stream.content == unary.content
    assert stream.whole
    provider.faults["demo"] = [Fault("cut", after=0), Fault("cut", after=3)]
    assert (await world.chat(stream=True)).deployment == "second"
    provider.tpot_s = 0.15
    assert (await world.chat(stream=True)).error["code"] == "upstream_stream_cut"
    provider.tpot_s = 0.05
    async with world.streaming(max_tokens=200, min_tokens=200) as response:
        pieces = response.aiter_raw()
        await anext(pieces)
    await until(lambda: provider.aborted == 1)


async def test_a_slow_reader_slows_the_provider(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    await world.chat(stream=True)
    before = _resident_mib(world.house.pid)
    provider.faults["demo"] = [Fault("ok", tokens=100_000)]
    async with world.streaming() as response:  # some 25 MB
        pieces = response.aiter_raw()
        await anext(pieces)
        await asyncio.sleep(0.5)
        assert provider.in_flight == 1
        assert _resident_mib(world.house.pid) - before < 12
    await until(lambda: provider.aborted == 1)


@pytest.mark.parametrize("ending", ["silence", "garbage", "reset", "more"])
async def test_what_follows_a_whole_answer_changes_nothing(world: World, ending: str) -> None:
    event = b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":%b}]}\n\n'
    said = event % b'{"content":"Hello"},"finish_reason":null'
    said += event % b'{},"finish_reason":"stop"' + b"data: [DONE]\n\n"
    answers: list[asyncio.Task[None] | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(said), said))
        if ending == "garbage":
            writer.write(b"this is no chunk\r\n")
        elif ending == "more":
            writer.write(b"5\r\nagain\r\n0\r\n\r\n")
        await writer.drain()
        if ending == "silence":
            await reader.read()  # until the gateway has had enough
        if ending == "reset":
            writer.transport.abort()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await world.serve(
            {},
            providers={f"raw-{ending}": {"kind": "openai_compatible", "base_url": url, "location": "self_hosted"}},
            deployments={"only": {"provider": f"raw-{ending}", "model": "m", "price": "free"}},
        )
        for _ in range(2):
            heard = await world.chat(model="only", stream=True)
            assert (heard.content, heard.whole) == ("Hello", True)
            receipt = await world.receipt(heard.id)
            assert (receipt["status"], receipt.get("reason"), len(receipt["attempts"])) == (200, None, 1)
    await asyncio.gather(*[each for each in answers if each is not None])
    assert len(answers) == 2
