"""An adapter that needs media as bytes is given them: fetched once, before a slot is taken; the others cost nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.adapter import Fetch, Fetched
from gateway.core.errors import BadRequest, CallError
from gateway.pipeline import Ask
from gateway.simulator import Fault, Simulator
from gateway.wiring.kinds import DIALECTS
from gateway.wiring.runtime import Runtime
from tests.gateway.state.asking import totals

URL = "https://images.example/a.png"
BODY = msgspec.json.encode({"model": "chat", "messages": [{"role": "user", "content": "Hello"}]})


class Needing:
    """An adapter that wants a picture, else as it is."""

    def __init__(self, adapter: Any, wants: Sequence[Fetch]) -> None:
        self._adapter = adapter
        self._wants = wants
        self.given: list[Fetched] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def needs(self, call: Any, deployment: Any) -> Sequence[Fetch]:
        return self._wants

    def encode(self, call: Any, deployment: Any, dialect: Any, fetched: Fetched) -> Any:
        self.given.append(fetched)
        return self._adapter.encode(call, deployment, dialect, fetched)


class Store:
    """A fetcher that says what it was asked."""

    def __init__(self, admission: Any) -> None:
        self.asked: list[list[str]] = []
        self.in_flight: list[int] = []
        self.error: CallError | None = None
        self._admission = admission

    async def fetch(self, wanted: Sequence[Fetch], known: Fetched, deadline: float) -> Fetched:
        assert deadline > time.monotonic()
        self.asked.append([fetch.url for fetch in wanted if fetch.url not in known])
        self.in_flight.append(self._admission.total)
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)
        return known | {fetch.url: ("image/png", b"png") for fetch in wanted}


class Reply:
    """A caller that keeps what it is told."""

    push = None

    def __init__(self) -> None:
        self.started = False
        self.status = 0
        self.body = b""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started, self.status = True, status

    async def write(self, data: bytes) -> None:
        self.body += data

    async def finish(self, data: bytes) -> None:
        self.body += data

    async def break_off(self, error: CallError) -> None:
        raise AssertionError(error)


class World:
    def __init__(self, runtime: Runtime, first: Simulator, second: Simulator) -> None:
        self.runtime, self.first, self.second = runtime, first, second
        self.store = Store(runtime.services.admission)

    def serve(self, wants: Sequence[Fetch]) -> list[Needing]:
        """Has both deployments want these media."""
        snapshot = self.runtime.pipeline.snapshot
        adapters = {name: Needing(adapter, wants) for name, adapter in snapshot.adapters.items()}
        changed = msgspec.structs.replace(snapshot, adapters=adapters, media=self.store)
        self.runtime.pipeline.apply(changed)
        return list(adapters.values())

    async def ask(self) -> Reply:
        pipeline = self.runtime.pipeline
        principal, reply = pipeline.authenticate(()), Reply()
        headers = ((b"cache-control", b"no-store"),)
        await pipeline.answer(
            Ask(pipeline.next_id(), DIALECTS["chat"], headers, BODY, principal, time.monotonic()), reply
        )
        return reply


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Simulator() as first, Simulator() as second:
        path = tmp_path / "config.yaml"
        path.write_text(
            f"""
auth: open
providers:
  one: {{kind: openai, api_key: sk-x, base_url: "{first.url}/v1"}}
  two: {{kind: openai, api_key: sk-x, base_url: "{second.url}/v1"}}
deployments:
  first: {{provider: one, model: m, price: free}}
  second: {{provider: two, model: m, price: free}}
policies: {{routes: [{{name: chat, when: {{model: [chat]}}, among: [first, second], pick: in_order}}]}}
store: {{url: "sqlite:///{tmp_path}/headgate.db", journal: "{tmp_path}/journal"}}
"""
        )
        runtime = Runtime(path, {})
        await runtime.start()
        yield World(runtime, first, second)
        await runtime.stop()


async def test_media_are_fetched_once_though_several_attempts_need_them(world: World) -> None:
    world.first.script.extend([Fault("503"), Fault("503")])
    first, second = world.serve([Fetch(URL, "messages[0].content[0]")])
    assert (await world.ask()).status == 200
    assert first.given
    assert second.given == [{URL: ("image/png", b"png")}]
    assert [urls for urls in world.store.asked if urls] == [[URL]]


async def test_no_slot_is_taken_while_media_are_fetched(world: World) -> None:
    world.serve([Fetch(URL)])
    await world.ask()
    assert world.store.in_flight == [0]


async def test_what_cannot_be_fetched_is_the_callers_error_and_asks_no_provider(world: World) -> None:
    world.serve([Fetch(URL, "messages[0].content[0]")])
    world.store.error = BadRequest("not there", param="messages[0].content[0]", code="invalid_media_url")
    with pytest.raises(BadRequest) as error:
        await world.ask()
    assert error.value.param == "messages[0].content[0]"
    assert not world.first.requests
    assert world.runtime.services.admission.total == 0
    await asyncio.to_thread(world.runtime.services.ledger.settle)
    (sums,) = totals(world.runtime.store, "route", 0, time.time() + 60, ())
    assert (sums.calls, sums.errors) == (1, 1)


async def test_whoever_needs_nothing_is_not_even_asked_about(world: World) -> None:
    (adapter, _) = world.serve(())
    await world.ask()
    assert world.store.asked == []
    assert adapter.given == [{}]
