"""Guarantees hold on the first try, on every other, and whatever a caller says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.simulator import Fault, Simulator
from tests.stories.house import ADMIN_KEY, Answer, World, at

SSN = "My number is 536-90-4399, please keep it."


async def rivals(world: World, **sections: Any) -> tuple[Simulator, Simulator]:
    """Serves a hosted deployment, tried first, and one of our own, which alone may see restricted calls."""
    hosted, own = await world.simulator(), await world.simulator()
    await world.serve({"hosted": at(hosted, location="us"), "own": at(own, location="self_hosted")}, **sections)
    return hosted, own


async def took(world: World, got: Answer) -> tuple[str, str, list[str]]:
    """Returns who answered, the level found, and why it was found."""
    decision = (await world.receipt(got.id))["decision"]
    return got.deployment, decision["sensitivity"], decision.get("causes", [])


async def test_a_call_that_nothing_raises_goes_to_the_first(world: World) -> None:
    await rivals(world)
    assert await took(world, await world.chat()) == ("hosted", "internal", [])


async def test_a_label_raises_a_call(world: World) -> None:
    hosted, _ = await rivals(world)
    got = await world.chat(headers={"X-Data-Sensitivity": "Restricted"})
    assert await took(world, got) == ("own", "restricted", ["header x-data-sensitivity"])
    assert not hosted.requests


async def test_a_label_may_stand_in_a_header_of_any_name(world: World) -> None:
    hosted, _ = await rivals(world, sensitivity={"from": [{"header": "X-Classification"}]})
    got = await world.chat(headers={"x-classification": "restricted"})
    assert await took(world, got) == ("own", "restricted", ["header x-classification"])
    assert not hosted.requests


async def test_a_label_never_lowers_a_call(world: World) -> None:
    hosted, _ = await rivals(world)
    got = await world.chat(SSN, headers={"x-data-sensitivity": "public"})
    assert got.deployment == "own"
    assert (await world.receipt(got.id))["sensitivity"] == "restricted"
    assert not hosted.requests


async def test_a_label_that_names_no_level_is_refused(world: World) -> None:
    hosted, own = await rivals(world)
    got = await world.chat(headers={"x-data-sensitivity": "secret"})
    assert (got.status, got.error["code"], got.error["param"]) == (400, "invalid_sensitivity", "x-data-sensitivity")
    assert not hosted.requests
    assert not own.requests


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (SSN, "detector pii"),
        ("Mail it to erika.mustermann@example.org today.", "detector pii"),
        ("My card is 4111 1111 1111 1111.", "detector pii"),
        ("news of project falcon?", "terms 1"),
    ],
)
async def test_what_is_said_raises_a_call(world: World, text: str, cause: str) -> None:
    hosted, _ = await rivals(world)
    for stream in (False, True):
        deployment, level, causes = await took(world, await world.chat(text, stream=stream))
        assert (deployment, level) == ("own", "restricted")
        assert causes[0].startswith(cause)
        assert text not in str(causes)
    assert not hosted.requests


async def test_json_escapes_hide_nothing(world: World) -> None:
    hosted, _ = await rivals(world)
    escaped = "".join(f"\\u{ord(character):04x}" for character in SSN)
    body = f'{{"model": "chat", "messages": [{{"role": "user", "content": "{escaped}"}}]}}'
    got = await world.http.post(
        "/v1/chat/completions", content=body.encode(), headers={"content-type": "application/json"}
    )
    assert got.headers["x-headgate-deployment"] == "own"
    assert not hosted.requests


async def test_tool_results_and_tool_definitions_are_read_too(world: World) -> None:
    hosted, _ = await rivals(world)
    messages = [
        {"role": "user", "content": "Who is it?"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": SSN},
    ]
    assert (await world.post("/v1/chat/completions", {"model": "chat", "messages": messages})).deployment == "own"
    function = {"name": "find", "description": SSN, "parameters": {"type": "object", "properties": {}}}
    assert (await world.chat(tools=[{"type": "function", "function": function}])).deployment == "own"
    assert not hosted.requests


@pytest.mark.parametrize("fault", ["500", "reset", "429", "503", "cut;after=0", "401"])
async def test_no_failure_takes_a_restricted_call_elsewhere(world: World, fault: str) -> None:
    hosted, own = await rivals(world)
    own.faults["demo"] = [Fault.parse(fault)] * 4
    got = await world.chat(SSN, stream=True)
    assert got.status >= 429
    assert "'own'" in got.error["message"]
    assert not hosted.requests


async def test_a_restricted_call_whose_only_place_rests_is_refused_while_others_are_up(world: World) -> None:
    hosted, own = await rivals(world)
    forced = await world.http.post(
        "/admin/breakers/own%230?state=open", headers={"authorization": f"Bearer {ADMIN_KEY}"}
    )
    assert forced.status_code == 200, forced.text
    got = await world.chat(SSN)
    assert (got.status, got.error["code"]) == (503, "no_permitted_deployment")
    assert int(got.headers["retry-after"]) >= 1
    assert (await world.chat()).deployment == "hosted"
    assert len(hosted.requests) == 1
    assert not own.requests


async def test_a_call_that_nobody_may_see_is_refused_and_explained(world: World) -> None:
    hosted = await world.simulator()
    await world.serve({"hosted": at(hosted, location="us")})
    got = await world.chat(SSN)
    assert (got.status, got.error["code"]) == (403, "no_permitted_deployment")
    told = (await world.get(f"/admin/decisions/{got.headers['x-headgate-decision']}")).json
    assert told["sentence"] == f"refused: {got.error['message']}"
    assert "clearance" in got.error["message"]
    assert "536-90-4399" not in got.text
    assert not hosted.requests
    assert (await world.receipt(got.id))["status"] == 403


async def test_naming_a_deployment_does_not_get_around_a_guarantee(world: World) -> None:
    hosted, _ = await rivals(world)
    provider = next(name for name in json.loads(world.house.path.read_text())["providers"] if name.startswith("hosted"))
    for model in ("hosted", f"{provider}/demo"):
        assert (await world.chat(model=model)).deployment == "hosted"
        got = await world.chat(SSN, model=model)
        assert (got.status, got.error["code"]) == (403, "no_permitted_deployment")
    assert len(hosted.requests) == 2


async def test_a_guarantee_of_location_holds_under_failure(world: World) -> None:
    """`among` lists all, the guarantee leaves one; its failure ends the call."""
    policies: dict[str, Any] = {
        "guarantees": [{"name": "eu-only", "when": {"model": ["chat"]}, "require": {"location": ["eu"]}}]
    }
    hosted, european = await world.simulator(), await world.simulator()
    places = {"hosted": at(hosted, location="us"), "european": at(european, location="eu")}
    await world.serve(places, policies=policies)
    got = await world.chat()
    assert got.deployment == "european"
    assert "hosted removed by eu-only" in (await world.receipt(got.id))["sentence"]
    european.faults["demo"] = [Fault("reset")] * 4
    assert (await world.chat()).status == 502
    assert not hosted.requests


async def test_a_price_cap_holds(world: World) -> None:
    dear, cheap = await world.simulator(), await world.simulator()
    places = {"dear": at(dear, price={"input": "30.00", "output": "60.00"}), "cheap": at(cheap)}
    cap = {"name": "cap", "require": {"max_price": {"input": "5.00", "output": "20.00"}}}
    await world.serve(places, policies={"guarantees": [cap]})
    assert (await world.chat()).deployment == "cheap"
    cheap.faults["demo"] = [Fault("reset")] * 4
    assert (await world.chat()).status == 502
    assert not dear.requests


async def test_embeddings_and_completions_are_held_to_the_same(world: World) -> None:
    hosted, own = await rivals(world)
    for path, field in (("/v1/embeddings", "input"), ("/v1/completions", "prompt")):
        assert (await world.post(path, {"model": "chat", field: "hello"})).deployment == "hosted"
        assert (await world.post(path, {"model": "chat", field: SSN})).deployment == "own"
    assert (len(hosted.requests), len(own.requests)) == (2, 2)
