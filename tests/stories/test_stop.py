"""A gateway stops: what is open may finish, what does not is told, and nothing is lost from the books."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.simulator import Fault, Simulator
from tests.patience import until
from tests.stories.house import DONE, NO_TLS, House, at, body_of, config_of, held

Build = Callable[[], House]


def receipts(house: House) -> dict[str, dict[str, Any]]:
    """Returns every receipt in a house's store, by id."""
    with sqlite3.connect(f"file:{house.database}?mode=ro", uri=True) as connection:
        rows = [json.loads(body) for (body,) in connection.execute("SELECT body FROM receipts")]
    connection.close()
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


async def started(build: Build, simulator: Simulator, **sections: Any) -> House:
    house = build()
    await asyncio.to_thread(house.start, config_of({"only": at(simulator)}, **sections))
    return house


async def until_refused(house: House) -> list[int]:
    """Waits until a house takes no more connections; returns what it said of its readiness until then."""
    statuses: list[int] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            async with httpx.AsyncClient(verify=NO_TLS) as probe:
                statuses.append((await probe.get(f"{house.url}/readyz")).status_code)
        except httpx.TransportError:
            return statuses
    raise AssertionError("it goes on taking connections")


def children_of(house: House) -> list[int]:
    """Returns the living processes that any thread of a gateway has begun."""
    found: list[int] = []
    for children in Path(f"/proc/{house.pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            pids = children.read_text().split()
            found += [int(pid) for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


async def test_a_stop_lets_running_calls_finish_and_takes_no_new_ones(build: Build) -> None:
    async with Simulator(tpot_s=0.01) as provider, httpx.AsyncClient(timeout=30, verify=NO_TLS) as client:
        house = await started(build, provider)
        url = f"{house.url}/v1/chat/completions"
        body = body_of(stream=True, max_tokens=60, min_tokens=60)
        async with client.stream("POST", url, json=body) as response:
            pieces = response.aiter_text()
            said = await anext(pieces)
            unary = asyncio.create_task(client.post(url, json=body_of(max_tokens=50, min_tokens=50)))
            await until(lambda: provider.in_flight == 2)
            assert (await client.get(f"{house.url}/readyz")).status_code == 200
            with held(provider):
                house.signal(signal.SIGTERM)
                statuses = await until_refused(house)
                assert 200 not in statuses[1:]
                assert provider.in_flight == 2
            async for piece in pieces:
                said += piece
        assert said.endswith(f"data: {DONE}\n\n")
        assert said.count('"content":') >= 60
        answered = await unary
        assert answered.status_code == 200
        assert await asyncio.to_thread(house.wait) == 0
        booked = receipts(house)
    assert set(booked) == {response.headers["x-request-id"], answered.headers["x-request-id"]}
    assert not any(receipt.get("estimated") for receipt in booked.values())


@pytest.mark.parametrize("cached", [False, True], ids=["", "flight"])
async def test_what_does_not_finish_in_time_is_told_so_in_band_and_booked(build: Build, cached: bool) -> None:
    async with Simulator(tpot_s=0.05) as provider, httpx.AsyncClient(timeout=30, verify=NO_TLS) as client:
        house = await started(build, provider, server={"shutdown_grace": "1s"}, cache={"at": "temperature_0"})
        url = f"{house.url}/v1/chat/completions"
        temperature = 0 if cached else 1
        body = body_of(stream=True, temperature=temperature, max_tokens=500, min_tokens=500)
        async with client.stream("POST", url, json=body) as response:
            pieces = response.aiter_text()
            said = await anext(pieces)
            provider.faults["demo"] = [Fault("hang")]
            unary = asyncio.create_task(client.post(url, json=body_of("waits", temperature=temperature)))
            await until(lambda: provider.in_flight == 2)
            house.signal(signal.SIGTERM)
            began = time.monotonic()
            async for piece in pieces:
                said += piece
        assert 0.9 < time.monotonic() - began < 15
        last = json.loads(said.strip().rpartition("data: ")[2])
        assert (last["error"]["code"], last["error"]["type"]) == ("stopping", "server_error")
        assert DONE not in said
        stopped = await unary
        assert (stopped.status_code, stopped.json()["error"]["code"]) == (503, "stopping")
        assert stopped.headers["retry-after"] == "1"
        assert await asyncio.to_thread(house.wait) == 0
        booked = receipts(house)
        await until(lambda: not provider.in_flight)
    receipt = booked[response.headers["x-request-id"]]
    assert (receipt["reason"], receipt["estimated"], receipt["status"]) == ("cancelled", True, 503)
    assert receipt["cost_nano"] > 0
    assert booked[stopped.headers["x-request-id"]]["status"] == 503
    assert "Traceback" not in house.told


async def test_an_idle_gateway_stops_at_once_and_its_journal_is_empty(build: Build) -> None:
    async with Simulator() as provider, httpx.AsyncClient(verify=NO_TLS) as client:
        house = await started(build, provider)
        answers = [await client.post(f"{house.url}/v1/chat/completions", json=body_of()) for _ in range(5)]
        began = time.monotonic()
        assert await asyncio.to_thread(house.stop) == 0
        assert time.monotonic() - began < 15
        assert set(receipts(house)) == {answer.headers["x-request-id"] for answer in answers}
        assert not list((house.folder / "journal").glob("*.journal"))
    assert not [line for line in house.log if '"level": "error"' in line or "Traceback" in line]


async def test_receipts_in_plenty_are_carried_beside_the_gateway_and_nothing_of_it_is_left(build: Build) -> None:
    async with Simulator() as provider, httpx.AsyncClient(timeout=60, verify=NO_TLS) as client:
        house = await started(build, provider)
        answered: list[str] = []

        async def asking() -> None:
            while not children_of(house):
                body = body_of(user="a long name " * 400)  # large receipts, so that a slow machine has plenty too
                answered.append((await client.post(url, json=body)).headers["x-request-id"])

        url = f"{house.url}/v1/chat/completions"
        for killed in (True, False):
            async with asyncio.timeout(120):
                await asyncio.gather(*(asking() for _ in range(32)))
            (carrier,) = children_of(house)
            if killed:
                os.kill(carrier, signal.SIGKILL)
                await until(lambda: not children_of(house))
        assert await asyncio.to_thread(house.stop) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(carrier, 0)
        assert set(receipts(house)) == set(answered)
        assert not list((house.folder / "journal").glob("*.journal"))


async def test_a_second_signal_does_not_wait(build: Build) -> None:
    async with Simulator() as provider, httpx.AsyncClient(timeout=30, verify=NO_TLS) as client:
        house = await started(build, provider)
        provider.faults["demo"] = [Fault("hang")]
        call = asyncio.create_task(client.post(f"{house.url}/v1/chat/completions", json=body_of()))
        await until(lambda: provider.in_flight == 1)
        house.signal(signal.SIGINT)
        await until_refused(house)
        house.signal(signal.SIGINT)
        began = time.monotonic()
        assert await asyncio.to_thread(house.wait) == 0
        assert time.monotonic() - began < 15
        await asyncio.gather(call, return_exceptions=True)
        assert [receipt["reason"] for receipt in receipts(house).values()] == ["cancelled"]


async def test_two_gateways_do_not_share_one_journal(build: Build) -> None:
    async with Simulator() as provider:
        first = await started(build, provider)
        second = build()
        with pytest.raises(AssertionError, match="is in use by process"):
            await asyncio.to_thread(second.start)
        assert (await asyncio.to_thread(first.stop)) == 0
