"""Budgets and rate limits, as callers meet them: what is refused, in which words, and what comes back."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from gateway.simulator import Fault
from tests.patience import until
from tests.stories.house import ADMIN_KEY, House, World, at, config_of
from tests.stories.receiver import Receiver

CENT = {"input": "0", "output": "0", "per_request": "0.01"}  # what a call costs is known before it is made
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


def keys(*names: str, team: str = "red", **more: Any) -> dict[str, Any]:
    """Returns the sections of a config that asks for keys: `hg-NAME` for each name."""
    return {
        "auth": "keys",
        "teams": {team: {}},
        "keys": [
            {"name": name, "hash": f"sha256:{hashlib.sha256(f'hg-{name}'.encode()).hexdigest()}", "team": team, **more}
            for name in names
        ],
    }


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer hg-{name}"}


async def spent(world: World, scope: str, name: str, per: str = "day") -> tuple[int, int]:
    """Returns what was spent and what is held of a budget, in nano-dollars."""
    labels = f'{{scope="{scope}",name="{name}",per="{per}"}}'
    return tuple(  # type: ignore[return-value]
        [int(await world.metric(f"headgate_budget_{what}_nano_usd{labels}")) for what in ("spent", "reserved")]
    )


async def test_of_200_calls_at_once_as_many_are_answered_as_the_budget_holds(world: World) -> None:
    provider = await world.simulator()
    rule = {"key": "many", "usd": "1.00", "per": "day"}
    await world.serve({"cents": at(provider, price=CENT)}, **keys("many"), budgets=[rule])
    got = await asyncio.gather(*[world.chat(f"Hello {n}", headers=bearer("many")) for n in range(200)])
    assert sorted(answer.status for answer in got) == [200] * 100 + [429] * 100
    refused = next(answer for answer in got if answer.status == 429)
    assert (refused.error["code"], refused.error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert refused.error["message"].startswith("the budget of key many per day has no room for this call: $")
    assert "of $1.00, and the call may cost $0.01; it begins anew at " in refused.error["message"]
    late = await world.chat("too late", headers=bearer("many"))
    assert (late.status, late.headers["x-should-retry"]) == (429, "false")
    assert 1 <= int(late.headers["retry-after"]) <= 86_400
    messages = {"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    elsewhere = await world.post("/v1/messages", messages, bearer("many"))
    assert (elsewhere.status, elsewhere.json["error"]["type"]) == (429, "rate_limit_error")
    assert await spent(world, "key", "many") == (10**9, 0)
    told = (await world.get(f"/admin/decisions/{refused.id}", ADMIN)).json["receipt"]
    assert (told["status"], told["reason"], told["refusal"]) == (429, "budget_exceeded", refused.error["message"])
    assert await world.metric('headgate_budget_rejections_total{scope="key"}') >= 100


async def test_failed_refused_cancelled_and_cached_calls_give_theirs_back(world: World) -> None:
    provider = await world.simulator()
    rule = {"team": "*", "usd": "0.02", "per": "day"}
    await world.serve(
        {"cents": at(provider, price=CENT)},
        **keys("giver", team="givers"),
        budgets=[rule],
        cache={"at": "temperature_0"},
        on_failure={"attempts": 1},
    )
    mine = bearer("giver")
    provider.faults["demo"] = [Fault("500")]
    assert (await world.chat("fails", headers=mine)).status == 502
    assert await spent(world, "team", "givers") == (0, 0)
    provider.faults["demo"] = [Fault("hang")]
    left = asyncio.create_task(world.chat("leaves", headers=mine))
    await until(lambda: provider.in_flight == 1)
    assert await spent(world, "team", "givers") == (0, 10**7)
    left.cancel()
    await until(lambda: provider.in_flight == 0)

    async def given_back() -> bool:
        return (await spent(world, "team", "givers"))[1] == 0

    await until(given_back, within_s=10)
    before = (await spent(world, "team", "givers"))[0]
    assert (await world.chat("kept", headers=mine, temperature=0)).status == 200
    now = (await spent(world, "team", "givers"))[0]
    assert now == before + 10**7
    for _ in range(3):
        again = await world.chat("kept", headers=mine, temperature=0)
        assert again.headers["x-headgate-cache"].startswith("hit")
    assert await spent(world, "team", "givers") == (now, 0)


async def test_an_exhausted_budget_leaves_places_that_cost_nothing(world: World) -> None:
    hosted, own = await world.simulator(), await world.simulator()
    places = {"hosted": at(hosted, price=CENT), "own": at(own, price="free")}
    await world.serve(
        places, **keys("saver", team="savers"), budgets=[{"team": "savers", "usd": "0.01", "per": "week"}]
    )
    mine = bearer("saver")
    assert [(await world.chat(f"n {n}", headers=mine)).deployment for n in range(3)] == ["hosted", "own", "own"]
    last = await world.chat("why", headers=mine)
    told = (await world.get(f"/admin/decisions/{last.id}", ADMIN)).json
    assert "hosted removed by budget (team savers per week: " in told["sentence"]


async def test_a_budget_that_is_raised_or_comes_by_a_reload_knows_what_was_spent(world: World) -> None:
    places = {"cents": at(await world.simulator(), price=CENT)}
    who = keys("late", team="late")
    await world.serve(places, **who)
    for n in range(5):
        assert (await world.chat(f"n {n}", headers=bearer("late"))).status == 200
    await world.serve(places, **who, budgets=[{"team": "*", "usd": "0.06", "per": "month"}])
    assert (await spent(world, "team", "late", "month"))[0] == 5 * 10**7
    assert [(await world.chat(f"m {n}", headers=bearer("late"))).status for n in range(2)] == [200, 429]
    await world.serve(places, **who, budgets=[{"team": "*", "usd": "0.07", "per": "month"}])
    assert [(await world.chat(f"o {n}", headers=bearer("late"))).status for n in range(2)] == [200, 429]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
async def test_what_was_spent_outlives_the_process(
    build: Callable[[], House], running_house: House, ending: signal.Signals
) -> None:
    house = build()
    outside = World(running_house)
    provider = await outside.simulator()
    config = config_of(
        {"cents": at(provider, price=CENT)}, **keys("ada"), budgets=[{"key": "*", "usd": "0.10", "per": "month"}]
    )
    await asyncio.to_thread(house.start, config)
    world = World(house)
    for n in range(7):
        assert (await world.chat(f"n {n}", headers=bearer("ada"))).status == 200
    house.signal(ending)
    await asyncio.to_thread(house.wait)
    await world.close()
    await asyncio.to_thread(house.start)
    world = World(house)
    assert await spent(world, "key", "ada", "month") == (7 * 10**7, 0)
    got = await asyncio.gather(*[world.chat(f"m {n}", headers=bearer("ada")) for n in range(10)])
    assert sorted(answer.status for answer in got) == [200] * 3 + [429] * 7
    await world.close()
    await outside.close()


async def test_budgets_and_limits_that_stand_on_a_key_hold(world: World) -> None:
    await world.serve(
        {"cents": at(await world.simulator(), price=CENT)},
        **keys("own", team="own", budgets=[{"usd": "0.02", "per": "hour"}], limits={"calls_per_minute": 3}),
    )
    got = [await world.chat(f"n {n}", headers=bearer("own")) for n in range(4)]
    assert [answer.status for answer in got] == [200, 200, 429, 429]
    assert [answer.error["code"] for answer in got[2:]] == ["budget_exceeded", "rate_limit_exceeded"]


# -- rate limits ----------------------------------------------------------------------------------------------------


async def test_answers_say_what_is_left_and_a_refusal_when_to_come_again(world: World) -> None:
    limits = [{"key": "*", "calls_per_minute": 2, "tokens_per_minute": 100_000}]
    await world.serve({"rated": at(await world.simulator())}, **keys("fast", team="fast"), rate_limits=limits)
    first = await world.chat(headers=bearer("fast"))
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-limit-tokens"] == "100000"
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100_000
    streamed = await world.chat(headers=bearer("fast"), stream=True)
    assert streamed.headers["x-ratelimit-remaining-requests"] == "0"
    refused = await world.chat(headers=bearer("fast"))
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert "key fast may have 2 calls a minute" in refused.error["message"]
    messages = {"model": "chat", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}
    elsewhere = await world.post("/v1/messages", messages, bearer("fast"))
    assert (elsewhere.status, elsewhere.json["error"]["type"]) == (429, "rate_limit_error")


async def test_calls_in_flight_are_bounded_and_who_leaves_makes_room(world: World) -> None:
    provider = await world.simulator()
    limits = [{"team": "*", "in_flight": 2}]
    await world.serve({"held": at(provider)}, **keys("slow", team="slow"), rate_limits=limits)
    provider.faults["demo"] = [Fault("hang"), Fault("hang")]
    held = [asyncio.create_task(world.chat(f"n {n}", headers=bearer("slow"))) for n in range(2)]
    await until(lambda: provider.in_flight == 2)
    refused = await world.chat(headers=bearer("slow"))
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    held[0].cancel()

    async def let_in() -> bool:
        return (await world.chat(headers=bearer("slow"))).status == 200

    await until(let_in)
    held[1].cancel()


# -- notices --------------------------------------------------------------------------------------------------------


async def test_a_share_is_told_once_signed_and_again_where_nobody_took_it(
    build: Callable[[], House], running_house: House
) -> None:
    house, outside = build(), World(running_house)
    provider = await outside.simulator()
    async with Receiver() as receiver:
        receiver.statuses = [500, None]  # it answers badly, then hangs up, then takes it
        config = config_of(
            {"cents": at(provider, price=CENT)},
            **keys("ada"),
            budgets=[{"team": "red", "usd": "0.10", "per": "month", "notify_at": [50, 80]}],
            notify={"webhook": "${NOTIFY_URL}", "secret": "whsec_aGVhZGdhdGUgb2YgdGhlIHN0b3JpZXM="},
        )
        environ = {"NOTIFY_URL": f"{receiver.url}/hook?to=finance"}
        await asyncio.to_thread(house.start, config, environ)
        world = World(house)
        for n in range(6):
            assert (await world.chat(f"n {n}", headers=bearer("ada"))).status == 200
        await until(lambda: receiver.taken)
        first = receiver.taken[0]
        assert len(receiver.asked) == 3
        assert first.path == "/hook?to=finance"
        assert first.proven_by(b"headgate of the stories")
        assert abs(int(first.headers["webhook-timestamp"]) - time.time()) < 60
        assert len({each.headers["webhook-id"] for each in receiver.asked}) == 1
        told = first.json["data"]
        assert (told["budget"], told["percent"], told["limit_usd"]) == ("team red per month", 50, "0.10")
        house.signal(signal.SIGKILL)
        await asyncio.to_thread(house.wait)
        await world.close()
        await asyncio.to_thread(house.start, None, environ)
        world = World(house)
        for n in range(2):
            assert (await world.chat(f"m {n}", headers=bearer("ada"))).status == 200
        await until(lambda: len(receiver.taken) > 1)
        assert [each.json["data"]["percent"] for each in receiver.taken] == [50, 80]
        await world.close()
    await outside.close()


async def test_a_budget_of_one_caller_refuses_no_other_who_asks_the_same(world: World) -> None:
    """They share a flight; who has no money is not on it, and the others are not told of his."""
    provider = await world.simulator()
    who = keys("rich", "poor", team="shared")
    budgets = [{"key": "poor", "usd": "0", "per": "day"}, {"key": "rich", "usd": "5", "per": "day"}]
    cache = {"at": "temperature_0", "share": "team"}
    await world.serve({"cents": at(provider, price=CENT)}, **who, budgets=budgets, cache=cache)
    asked = [world.chat("the same", headers=bearer(name), temperature=0) for name in ["poor", "rich"] * 10]
    got = await asyncio.gather(*asked)
    assert {answer.status for answer in got[0::2]} <= {200, 429}  # 200: what was kept by then costs nothing
    assert {answer.status for answer in got[1::2]} == {200}
    assert await spent(world, "key", "rich") == (10**7, 0)
    assert (await world.chat("the same", headers=bearer("poor"), temperature=0)).status == 200
