"""An endpoint that fails is left alone, tried again by one call, and comes back; an outage is not multiplied."""

from __future__ import annotations

import asyncio
import time

from gateway.simulator import Fault, Simulator
from tests.patience import until
from tests.stories.house import ADMIN_KEY, World, at, occupied

QUICK = {"minimum_calls": 3, "rest": "300ms", "longest_rest": "1s", "probes": 2}
LASTING = {**QUICK, "rest": "60s", "longest_rest": "60s"}


async def state(world: World, endpoint: str = "first#0") -> str:
    """Returns an endpoint's state, as the admin surface tells it."""
    conditions = (await world.get("/admin/breakers")).json["breakers"]
    found: str = next(each["state"] for each in conditions if each["endpoint"] == endpoint)
    return found


async def broken(world: World, breakers: dict[str, object] = QUICK) -> tuple[Simulator, Simulator]:
    """Serves two deployments, and fails calls until the breaker of the first has opened."""
    failing, other = await world.simulator(), await world.simulator()
    await world.serve({"first": at(failing), "second": at(other)}, breakers=breakers)
    failing.faults["demo"] = [Fault("reset")] * 100
    for _ in range(3):
        assert (await world.chat(stream=True)).deployment == "second"
    assert await state(world) == "open"
    return failing, other


async def test_a_breaker_opens_and_calls_stay_away(world: World) -> None:
    since = len(world.house.log)
    failing, _ = await broken(world, LASTING)
    asked = len(failing.requests)
    got = await world.chat()
    assert got.deployment == "second"
    assert len(failing.requests) == asked
    receipt = await world.receipt(got.id)
    assert len(receipt["attempts"]) == 1
    assert "first removed by breaker open" in receipt["sentence"]
    changed = world.house.events("breaker_changed", since)
    assert [(event["endpoint"], event["state"], event["why"]) for event in changed] == [("first#0", "open", "connect")]
    assert await world.metric('headgate_breaker_state{endpoint="first#0",state="open"}') == 1
    assert await world.metric('headgate_breaker_state{endpoint="first#0",state="closed"}') == 0


async def test_a_rested_breaker_lets_one_live_call_try_and_closes_after_enough_answers(world: World) -> None:
    failing, _ = await broken(world)
    failing.faults.clear()
    asked = len(failing.requests)
    await asyncio.sleep(0.35)
    async with occupied(failing):
        calls = [asyncio.create_task(world.chat()) for _ in range(10)]
        await until(lambda: sum(call.done() for call in calls) == 9)
        assert {call.result().deployment for call in calls if call.done()} == {"second"}
    answers = await asyncio.gather(*calls)
    assert sorted(got.deployment for got in answers) == ["first"] + ["second"] * 9
    assert len(failing.requests) == asked + 1
    assert await state(world) == "half-open"
    assert (await world.chat()).deployment == "first"
    assert await state(world) == "closed"


async def test_a_half_open_breaker_opens_again_for_longer_where_the_call_that_tries_fails(world: World) -> None:
    failing, _ = await broken(world)
    await asyncio.sleep(0.35)
    asked = len(failing.requests)
    began = time.monotonic()
    assert (await world.chat()).deployment == "second"
    assert len(failing.requests) > asked
    assert await state(world) == "open"
    conditions = (await world.get("/admin/breakers")).json["breakers"]
    remaining = next(each["until"] for each in conditions if each["endpoint"] == "first#0") or 0.0
    assert 0.3 - (time.monotonic() - began) < remaining <= 0.6


async def test_a_deployment_that_is_alone_is_tried_rather_than_failing_at_once(world: World) -> None:
    failing = await world.simulator()
    await world.serve({"first": at(failing)}, breakers=LASTING)
    failing.faults["demo"] = [Fault("reset")] * 100
    for _ in range(4):
        assert (await world.chat(stream=True)).status == 502
    assert await state(world) == "open"
    failing.faults.clear()
    assert (await world.chat()).status == 200


async def test_an_outage_is_not_multiplied(world: World) -> None:
    failing = await world.simulator()
    await world.serve({"only": at(failing)}, on_failure={"attempts": 5}, breakers={"minimum_calls": 1000})
    failing.faults["demo"] = [Fault("500")] * 1000
    answers = await asyncio.gather(*[world.chat() for _ in range(60)])
    assert {got.status for got in answers} == {502}
    # a fifth of sixty; the three that a quiet gateway has are within it
    assert 60 < len(failing.requests) <= 60 * 1.2


async def test_a_person_can_open_and_close_a_breaker(world: World) -> None:
    first, second = await world.simulator(), await world.simulator()
    await world.serve({"first": at(first), "second": at(second)})
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    for wanted, answers in (("open", "second"), ("closed", "first")):
        forced = await world.http.post(f"/admin/breakers/first%230?state={wanted}", headers=admin)
        assert (forced.status_code, forced.json()["state"]) == (200, wanted)
        assert (await world.chat()).deployment == answers
    unknown = await world.http.post("/admin/breakers/nobody?state=open", headers=admin)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "endpoint_not_found")


async def test_slow_first_tokens_open_a_breaker(world: World) -> None:
    slow, other = await world.simulator(), await world.simulator()
    places = {"first": at(slow, timeouts={"first_token": "100ms"}), "second": at(other)}
    await world.serve(places, breakers=LASTING)
    slow.faults["demo"] = [Fault("slow", wait_s=60)] * 10
    for _ in range(3):
        assert (await world.chat(stream=True)).deployment == "second"
    assert await state(world) == "open"
    asked = len(slow.requests)
    assert (await world.chat(stream=True)).deployment == "second"
    assert len(slow.requests) == asked
    await until(lambda: not slow.in_flight)
