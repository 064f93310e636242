"""OpenAI's SDK speaks Responses to a whole gateway: relayed, translated, kept, refused; every answer held strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import FunctionToolParam, ResponseInputParam
from pydantic import BaseModel

from gateway.simulator import Fault, Simulator
from tests.patience import until
from tests.stories.house import House, World, at, config_of

KINDS = ("openai", "anthropic")
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Current weather.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "strict": True,
}


@pytest.fixture
async def provider(world: World) -> Simulator:
    return await world.simulator()


async def client_of(world: World, provider: Simulator, kind: str = "openai", **sections: Any) -> AsyncOpenAI:
    await world.serve({"only": at(provider, kind=kind)}, **sections)
    return await world.openai(_strict_response_validation=True)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_whole_and_streamed(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    whole = await client.responses.create(model="chat", input="Hello", max_output_tokens=200)
    assert (whole.status, whole.object) == ("completed", "response")
    assert whole.output_text.startswith("I am a simulator")
    async with client.responses.stream(model="chat", input="Hello", max_output_tokens=200) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events if event.type != "response.output_text.delta"]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert final.output_text == whole.output_text
    assert final.usage is not None
    assert whole.usage is not None
    assert final.usage.input_tokens == whole.usage.input_tokens
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation_with_a_tool(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    asked: ResponseInputParam = [{"role": "user", "content": "Ask get_weather about Bern."}]
    first = await client.responses.create(model="chat", input=asked, tools=[WEATHER], store=False)
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments)["unit"] in ("celsius", "fahrenheit")
    asked += [item.model_dump(exclude_none=True) for item in first.output]  # type: ignore[misc]
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": '{"degrees": 21}'})
    second = await client.responses.create(model="chat", input=asked, tools=[WEATHER], store=False)
    assert second.output_text
    sent = json.dumps(provider.requests[-1].json())
    assert call.call_id in sent
    assert "degrees" in sent


@pytest.mark.parametrize("kind", KINDS)
async def test_a_streamed_tool_call(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    async with client.responses.stream(
        model="chat", input="Ask get_weather about Bern.", tools=[WEATHER], max_output_tokens=300
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_response()
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= kinds
    assert [item.name for item in final.output if item.type == "function_call"] == ["get_weather"]


class Flow(BaseModel):
    gate: str
    litres: int
    open: bool


@pytest.mark.parametrize("kind", KINDS)
async def test_a_structured_answer(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.responses.parse(model="chat", input="Hello", text_format=Flow, max_output_tokens=300)
    assert isinstance(got.output_parsed, Flow)


async def test_thinking_and_its_signature_come_back_to_their_provider(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    asked: ResponseInputParam = [{"role": "user", "content": "Ask get_weather about Bern."}]
    options: Any = {"model": "chat", "tools": [WEATHER], "store": False, "reasoning": {"effort": "low"}}
    first = await client.responses.create(input=asked, **options)
    reasoning = next(item for item in first.output if item.type == "reasoning")
    assert reasoning.encrypted_content is not None
    call = next(item for item in first.output if item.type == "function_call")
    asked += [item.model_dump(exclude_none=True) for item in first.output]  # type: ignore[misc]
    asked.append({"type": "function_call_output", "call_id": call.call_id, "output": "21"})
    assert (await client.responses.create(input=asked, **options)).output_text
    spoken = provider.requests[-1].json()["messages"][1]["content"]
    assert [block["type"] for block in spoken] == ["thinking", "tool_use"]
    assert spoken[0]["signature"]
    assert spoken[0]["signature"] in reasoning.encrypted_content


# -- kept answers -------------------------------------------------------------------------------------------------


TEAMS: dict[str, Any] = {"red": {}, "blue": {}}


def keys(**teams: str | None) -> list[dict[str, Any]]:
    return [
        {"name": name, "hash": f"sha256:{hashlib.sha256(f'hg-{name}'.encode()).hexdigest()}"}
        | ({"team": team} if team else {})
        for name, team in teams.items()
    ]


async def tenants(world: World, places: dict[str, Any], **sections: Any) -> dict[str, AsyncOpenAI]:
    named = keys(ann="red", ben="red", cid="blue", dan=None)
    await world.serve(places, auth="keys", keys=named, teams=TEAMS, **sections)
    return {key["name"]: await world.openai(api_key=f"hg-{key['name']}") for key in named}


async def test_a_kept_answer_belongs_to_its_tenant(world: World, provider: Simulator) -> None:
    callers = await tenants(world, {"only": at(provider)})
    made = await callers["ann"].responses.create(model="chat", input="Hello")
    for friend in ("ann", "ben"):
        got = await callers[friend].responses.create(model="chat", input="And?", previous_response_id=made.id)
        assert got.previous_response_id == made.id
        assert (await callers[friend].responses.retrieve(made.id)).output_text == made.output_text
        items = await callers[friend].responses.input_items.list(made.id)
        assert [item.type async for item in items] == ["message"]
    asked = len(provider.requests)
    for stranger in ("cid", "dan"):
        for attempt in (
            callers[stranger].responses.create(model="chat", input="And?", previous_response_id=made.id),
            callers[stranger].responses.create(
                model="chat", input=[{"type": "item_reference", "id": made.output[0].id or ""}]
            ),
            callers[stranger].responses.retrieve(made.id),
            callers[stranger].responses.delete(made.id),
            callers[stranger].responses.cancel(made.id),
            callers[stranger].responses.input_items.list(made.id),
        ):
            with pytest.raises(openai.NotFoundError):
                await attempt
    assert len(provider.requests) == asked  # nobody else's question has reached the provider
    await callers["ben"].responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await callers["ann"].responses.retrieve(made.id)


async def test_a_streamed_answer_is_known_once_it_has_ended_and_after_a_restart(build: Callable[[], House]) -> None:
    async with Simulator() as provider:
        config = config_of({"only": at(provider)}, auth="keys", keys=keys(ann="red", cid="blue"), teams=TEAMS)
        made = ""
        for _ in range(2):
            house = build()
            house.start(config)
            world = World(house)
            ann, cid = [await world.openai(api_key=f"hg-{name}") for name in ("ann", "cid")]
            if not made:
                stream = await ann.responses.create(model="chat", input="Hello", stream=True)
                last = [event async for event in stream][-1]
                assert last.type == "response.completed"
                made = last.response.id
            assert (await ann.responses.retrieve(made)).id == made
            with pytest.raises(openai.NotFoundError):
                await cid.responses.retrieve(made)
            await world.close()
            assert house.stop() == 0


async def test_an_answer_whose_caller_left_is_known_by_the_id_that_it_was_told(world: World) -> None:
    provider = await world.simulator(tpot_s=0.05)
    callers = await tenants(world, {"only": at(provider)})
    stream = await callers["ann"].responses.create(model="chat", input="Hello", stream=True)
    made = ""
    async for event in stream:
        if event.type == "response.created":
            made = event.response.id
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await until(lambda: provider.aborted == 1)

    async def known() -> bool:
        got = await world.get(f"/v1/responses/{made}", {"authorization": "Bearer hg-ben"})
        return got.status == 200

    await until(known)


async def test_a_conversation_stays_where_it_is_kept(world: World, provider: Simulator) -> None:
    other = await world.simulator()
    callers = await tenants(world, {"first": at(provider), "second": at(other)})
    provider.faults["demo"] = [Fault("500"), Fault("500")]
    made = await callers["ann"].responses.create(model="chat", input="Hello")
    assert [len(each.requests) for each in (provider, other)][1] == 1  # the first could not
    raw = await callers["ann"].responses.with_raw_response.create(
        model="chat", input="And?", previous_response_id=made.id
    )
    assert raw.headers["x-headgate-deployment"] == "second"
    other.faults["demo"] = [Fault("503")] * 9
    with pytest.raises(openai.InternalServerError):  # nobody else could go on from it
        await callers["ann"].responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_what_goes_on_from_an_answer_is_as_sensitive_as_the_call_that_made_it(
    world: World, provider: Simulator
) -> None:
    abroad = await world.simulator()
    places = {"home": at(provider), "abroad": at(abroad, location="us")}
    callers = await tenants(world, places)
    made = await callers["ann"].responses.create(model="chat", input="My SSN is 536-90-4399.")
    got = await callers["ann"].responses.with_raw_response.create(
        model="chat", input="And?", previous_response_id=made.id
    )
    decision = (await world.receipt(got.headers["x-request-id"]))["decision"]
    assert (decision["sensitivity"], decision["causes"]) == (
        "restricted",
        ["the call that made previous_response_id"],
    )
    with pytest.raises(openai.PermissionDeniedError):
        await callers["ann"].responses.create(model="abroad", input="And?", previous_response_id=made.id)
    assert not abroad.requests


async def test_an_answer_that_is_kept_elsewhere_is_refused_with_what_to_do_instead(
    world: World, provider: Simulator
) -> None:
    callers = await tenants(world, {"here": at(provider), "there": at(provider)})
    made = await callers["ann"].responses.create(model="here", input="Hello")
    with pytest.raises(openai.BadRequestError) as caught:
        await callers["ann"].responses.create(model="there", input="And?", previous_response_id=made.id)
    assert (caught.value.code, caught.value.param) == ("response_not_reachable", "previous_response_id")
    assert "'here'" in caught.value.message
    assert "store: false" in caught.value.message


async def test_nothing_is_noted_of_an_answer_that_is_not_to_be_kept(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    made = await client.responses.create(model="chat", input="Hello", store=False)
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_what_is_asked_of_a_kept_answer_is_answered_by_its_provider(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    made = await client.responses.create(model="chat", input="Hello")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.cancel(made.id)
    assert "Cannot cancel a synchronous response" in caught.value.message
    for method, path, status in (
        ("GET", f"/v1/responses/{made.id}", 200),
        ("GET", f"/responses/{made.id}/input_items?limit=1&order=asc", 200),
        ("PUT", f"/v1/responses/{made.id}", 405),
        ("GET", f"/v1/responses/{made.id}/cancel", 405),
        ("GET", f"/v1/responses/{made.id}/other", 404),
        ("GET", "/v1/responses/..%2F..%2Fmodels", 404),
    ):
        got = await world.http.request(method, path)
        assert got.status_code == status, (method, path, got.text)
        if status == 200:
            assert got.headers["x-headgate-deployment"] == "only"
    assert provider.requests[-1].path.endswith("/input_items?limit=1&order=asc")
    provider.faults[f"/v1/responses/{made.id}"] = [Fault("500")]
    with pytest.raises(openai.InternalServerError) as failed:
        await client.responses.retrieve(made.id)
    assert failed.value.code == "upstream_error"


# -- failures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["cut;after=3", "error;after=3"])
async def test_a_stream_that_fails_after_content_raises_in_the_midst_of_it(world: World, kind: str, fault: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, kind=kind)}, on_failure={"attempts": 1})
    client = await world.openai()
    said: list[str] = []

    async def listen() -> None:
        stream = await client.responses.create(model="chat", input="Hello", stream=True)
        async for event in stream:
            if event.type == "response.output_text.delta":
                said.append(event.delta)
            assert event.type != "response.completed"

    for provider.tpot_s in (0.002, 0.02, 0.15):
        said.clear()
        provider.faults["demo"] = [Fault.parse(fault)]
        with pytest.raises(openai.APIError) as caught:
            await listen()
        if "".join(said).startswith("I am"):
            break  # else the gateway was so late that content and failure came as one: slower
    assert "".join(said).startswith("I am")
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.code is not None
    assert caught.value.code.startswith("upstream_")


async def test_an_error_before_content_goes_to_the_next_candidate(world: World, provider: Simulator) -> None:
    other = await world.simulator()
    await world.serve({"first": at(provider), "second": at(other, kind="anthropic")})
    client = await world.openai()
    provider.faults["demo"] = [Fault.parse("error;after=0")] * 2
    stream = await client.responses.create(model="chat", input="Hello", stream=True)
    events = [event async for event in stream]
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (len(provider.requests), len(other.requests)) == (2, 1)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_is_cut_by_its_bound_is_incomplete(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.responses.create(model="chat", input="Hello", max_output_tokens=16)
    assert got.status == "incomplete"
    assert got.incomplete_details is not None
    assert got.incomplete_details.reason == "max_output_tokens"


async def test_what_a_foreign_provider_cannot_do_is_refused_by_name(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    refused: list[tuple[dict[str, Any], str]] = [
        ({"tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}]}, "tools.0.type"),
        ({"tools": [{"type": "web_search_preview"}]}, "tools.0"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ]
    for asked, param in refused:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model="chat", input="Hello", **asked)
        assert caught.value.param == param
    assert not provider.requests


async def test_an_answer_at_temperature_0_is_kept_in_the_cache_and_told_in_the_other_form(
    world: World, provider: Simulator
) -> None:
    client = await client_of(world, provider, cache={"at": "temperature_0"})
    asked: Any = {"model": "chat", "input": "Hello", "temperature": 0}
    whole = await client.responses.create(**asked, store=False)
    stream = await client.responses.create(**asked, store=False, stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == whole.output_text
    assert len(provider.requests) == 1
    await client.responses.create(**asked)  # which the provider is to keep
    assert len(provider.requests) == 2
