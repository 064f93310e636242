"""A config changes under a running gateway: at once, whole or not at all, and without a dropped word."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable

from gateway.simulator import Simulator
from tests.patience import until
from tests.stories.house import DONE, House, World, at, body_of, command, config_of, held


async def test_a_changed_file_is_taken_over_by_itself_and_drops_no_stream(world: World) -> None:
    before, after = await world.simulator(tpot_s=0.02), await world.simulator()
    await world.serve({"before": at(before)})
    async with world.streaming(max_tokens=50, min_tokens=50) as response:
        pieces = response.aiter_text()
        said = await anext(pieces)
        since = len(world.house.log)
        with held(before):
            world.house.write(config_of({"after": at(after)}))
            await until(lambda: world.house.events("config_applied", since))
            assert (await world.chat()).deployment == "after"
            assert before.in_flight == 1
        async for piece in pieces:
            said += piece
    assert said.endswith(f"data: {DONE}\n\n")
    assert said.count('"content":') >= 50
    receipt = await world.receipt(response.headers["x-request-id"])
    assert (receipt["deployment"], receipt["finish"]) == ("before", "stop")
    assert (await world.chat(model="before")).status == 404


async def test_a_bad_edit_keeps_the_old_config_serving_and_says_where_it_is_wrong(world: World) -> None:
    provider = await world.simulator()
    revision = await world.serve({"only": at(provider)})
    good = world.house.path.read_text()
    refused = await world.metric('headgate_config_reloads_total{outcome="refused"}')
    since = len(world.house.log)
    world.house.path.write_text(good.replace('"in_order"', '"in_ordre"'))
    await until(lambda: world.house.events("config_refused", since))
    event = world.house.events("config_refused", since)[0]
    line = next(number for number, text in enumerate(good.splitlines(), 1) if '"in_order"' in text)
    assert event["level"] == "error"
    assert event["serving_revision"] == revision
    problem = event["problems"][0]
    assert problem.startswith(f"{world.house.path}:{line}:")
    assert "did you mean 'in_order'" in problem
    got = await world.chat()
    assert got.status == 200
    assert (await world.receipt(got.id))["config_revision"] == revision
    assert await world.metric('headgate_config_reloads_total{outcome="refused"}') == refused + 1
    assert await world.metric("headgate_config_revision") == revision
    world.house.path.write_text(good)
    assert await world.house.reload() == revision  # the same text is the same revision


async def refusal(world: World, text: str) -> str:
    """Returns why a config's text was refused; fails where it was not."""
    since = len(world.house.log)
    world.house.path.write_text(text)
    try:
        await world.house.reload()
    except AssertionError:
        return "\n".join(world.house.events("config_refused", since)[0]["problems"])
    raise AssertionError("the config was taken over")


async def test_what_is_read_at_the_start_is_not_changed_silently(world: World) -> None:
    places = {"only": at(await world.simulator())}
    await world.serve(places)
    written = json.loads(world.house.path.read_text())
    for section in ({"server": {"max_body": "1MiB"}}, {"telemetry": {"logs": "text"}}):
        why = await refusal(world, json.dumps({**written, **section}, indent=1))
        assert f"`{next(iter(section))}` is read at the start only" in why
    assert (await world.chat()).status == 200


async def test_a_failing_policy_test_refuses_a_config(world: World) -> None:
    places = {"hosted": at(await world.simulator(), location="us"), "own": at(await world.simulator())}
    await world.serve(places)
    written = json.loads(world.house.path.read_text())
    test = {"given": {"model": "chat", "text": "my SSN is 536-90-4399"}, "expect": {"first": "hosted"}}
    written["policies"]["tests"] = [test]
    why = await refusal(world, json.dumps(written, indent=1))
    assert "test failed" in why
    written["policies"]["tests"][0]["expect"] = {"only": ["own"], "sensitivity": "restricted"}
    await world.house.reload(written)


async def test_a_reload_under_load_fails_no_call(world: World) -> None:
    one, two = await world.simulator(), await world.simulator()
    configs = [config_of({"one": at(one)}), config_of({"two": at(two)})]
    await world.house.reload(configs[0])
    going = True
    statuses: list[int] = []
    deployments: set[str] = set()

    async def ask() -> None:
        while going:
            got = await world.chat(stream=len(statuses) % 2 == 0)
            statuses.append(got.status if got.status != 200 or not got.text.startswith("data: ") or got.whole else -1)
            deployments.add(got.deployment)

    callers = [asyncio.create_task(ask()) for _ in range(6)]
    for turn in range(1, 12):
        await world.house.reload(configs[turn % 2])
    going = False
    await asyncio.gather(*callers)
    assert set(statuses) == {200}
    assert deployments == {"one", "two"}


async def test_a_key_made_beside_the_gateway_is_honoured_and_refused_within_seconds(world: World) -> None:
    await world.serve({"only": at(await world.simulator())}, auth="keys", teams={"red": {"sensitivity": "restricted"}})
    config = ("--config", str(world.house.path))
    name = f"made-{time.monotonic_ns()}"
    made = await asyncio.to_thread(command, "keys", "create", name, "--team", "red", "--tag", "a=b", *config)
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    assert key.startswith("hg-")
    headers = {"authorization": f"Bearer {key}"}

    async def becomes(status: int) -> None:
        async def has_become() -> bool:
            return (await world.post("/v1/chat/completions", body_of(), headers)).status == status

        await until(has_become)

    await becomes(200)
    receipt = await world.receipt((await world.chat(headers=headers)).id)
    assert (receipt["key"], receipt["team"], receipt["tags"]) == (name, "red", [["a", "b"]])
    assert receipt["sensitivity"] == "restricted"
    assert key.encode() not in world.house.database.read_bytes()
    listed = await asyncio.to_thread(command, "keys", "list", *config)
    assert name in listed.stdout
    assert key not in listed.stdout
    disabled = await asyncio.to_thread(command, "keys", "disable", name, *config)
    assert disabled.returncode == 0
    await becomes(401)


async def test_a_reload_cannot_open_a_door_that_others_can_reach(build: Callable[[], House]) -> None:
    house = build()
    async with Simulator() as simulator:
        config = config_of({"only": at(simulator)}, auth="keys")
        house.start(config, host="0.0.0.0")
        world = World(house)
        house.write({**config, "auth": "open"})
        house.signal(signal.SIGHUP)
        await until(lambda: house.events("config_refused"))
        (problem,) = house.events("config_refused")[0]["problems"]
        assert "answers on a loopback address only, and this listens on 0.0.0.0" in problem
        assert (await world.chat()).status == 401
        assert not simulator.requests
        await world.close()
