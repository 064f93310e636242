"""OpenAI's SDK goes on from answers that were translated, by their ids, as if their provider kept them."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response, ResponseInputParam

from gateway.simulator import Simulator
from tests.patience import until
from tests.stories.house import World, at
from tests.stories.test_responses import WEATHER, client_of, tenants

KINDS = ("anthropic", "gemini")
ASKED = "Ask get_weather about Bern."


@pytest.fixture
async def provider(world: World) -> Simulator:
    return await world.simulator()


async def ask(client: AsyncOpenAI, stream: bool, **asked: Any) -> Response:
    """Asks once, and returns the whole Response in either form."""
    asked = {"model": "chat", "max_output_tokens": 300, **asked}
    if not stream:
        whole: Response = await client.responses.create(**asked)
        return whole
    async with client.responses.stream(**asked) as events:
        kinds = [event async for event in events]
        final = await events.get_final_response()
    assert kinds[-1].type == "response.completed"
    assert kinds[-1].response.store is final.store  # type: ignore[attr-defined]
    return final


def stored(response: Response) -> Any:
    return response.model_dump()["store"]


def refer(response: Response) -> list[Any]:
    return [{"type": "item_reference", "id": item.id} for item in response.output]


def sent(provider: Simulator) -> str:
    return json.dumps(provider.requests[-1].json(), ensure_ascii=False)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_turns_by_the_previous_response_with_a_tool_between(
    world: World, provider: Simulator, kind: str, stream: bool
) -> None:
    client = await client_of(world, provider, kind)
    first = await ask(client, stream, input=ASKED, tools=[WEATHER])
    assert stored(first) is True
    call = next(item for item in first.output if item.type == "function_call")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    second = await ask(client, stream, input=[result], tools=[WEATHER], previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.output_text
    for said in (ASKED, "21 degrees", call.name):
        assert said in sent(provider)
    third = await ask(client, stream, input="And in Basel?", previous_response_id=second.id)
    assert third.output_text
    for said in (ASKED, "21 degrees", second.output_text[:30], "And in Basel?"):
        assert said in sent(provider)  # the whole conversation, from its first word


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", KINDS)
async def test_turns_by_item_references_with_a_tool_between(
    world: World, provider: Simulator, kind: str, stream: bool
) -> None:
    client = await client_of(world, provider, kind)
    asked: Any = [{"role": "user", "content": ASKED}]
    first = await ask(client, stream, input=asked, tools=[WEATHER])
    call = next(item for item in first.output if item.type == "function_call")
    asked += [*refer(first), {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}]
    second = await ask(client, stream, input=asked, tools=[WEATHER])
    assert "get_weather" in sent(provider)
    assert "21 degrees" in sent(provider)
    asked += [*refer(second), {"role": "user", "content": "And in Basel?"}]
    assert (await ask(client, stream, input=asked)).output_text
    assert second.output_text[:30] in sent(provider)
    assert "headgate" not in sent(provider)  # of our ids, none is anybody's who answers


async def test_reasoning_that_is_referred_to_comes_back_to_its_provider_signed(
    world: World, provider: Simulator
) -> None:
    client = await client_of(world, provider, "anthropic")
    options: Any = {"model": "chat", "tools": [WEATHER], "reasoning": {"effort": "low"}}
    asked: Any = [{"role": "user", "content": ASKED}]
    first = await client.responses.create(input=asked, **options)
    call = next(item for item in first.output if item.type == "function_call")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "21"}
    for more in ({"input": [*asked, *refer(first), output]}, {"input": [output], "previous_response_id": first.id}):
        assert (await client.responses.create(**options, **more)).output_text
        spoken = provider.requests[-1].json()["messages"][1]["content"]
        assert [block["type"] for block in spoken] == ["thinking", "tool_use"]
        assert spoken[0]["signature"]


async def test_a_conversation_goes_on_at_a_provider_that_speaks_responses_itself_and_back(
    world: World, provider: Simulator
) -> None:
    native = await world.simulator()
    await world.serve({"claude": at(provider, kind="anthropic"), "gpt": at(native)})
    client = await world.openai(_strict_response_validation=True)
    first = await client.responses.create(model="claude", input=ASKED, tools=[WEATHER])
    call = next(item for item in first.output if item.type == "function_call")
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}
    second = await client.responses.create(model="gpt", input=[result], tools=[WEATHER], previous_response_id=first.id)
    asked = native.requests[-1].json()
    assert "previous_response_id" not in asked  # which this provider never saw
    assert [item["type"] for item in asked["input"]] == ["message", "function_call", "function_call_output"]
    both: ResponseInputParam = [*refer(first), result, *refer(second), {"role": "user", "content": "And?"}]
    assert (await client.responses.create(model="gpt", input=both)).output_text
    kinds = [item.get("type") for item in native.requests[-1].json()["input"]]
    assert kinds[:3] == ["function_call", "function_call_output", "item_reference"]  # its own it keeps itself
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="claude", input=both)
    assert caught.value.code == "response_not_reachable"


async def test_a_kept_answer_is_read_listed_and_deleted(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    first = await client.responses.create(model="chat", input="Hello", instructions="Be brief.", tools=[WEATHER])
    second = await client.responses.create(model="chat", input="And?", previous_response_id=first.id)
    assert await client.responses.retrieve(first.id) == first
    events = [event async for event in await client.responses.retrieve(first.id, stream=True)]
    assert events[-1].type == "response.completed"
    assert events[-1].response == first
    items = [item async for item in client.responses.input_items.list(second.id, limit=1, order="asc")]
    assert [item.type for item in items] == ["message"] * 3
    assert [item.content[0].text for item in items] == ["Hello", first.output_text, "And?"]  # type: ignore[union-attr]
    newest = await client.responses.input_items.list(second.id)
    assert [item.id for item in newest.data] == [item.id for item in reversed(items)]
    for call in (client.responses.cancel(first.id), client.responses.input_items.list(first.id, limit=1000)):
        with pytest.raises(openai.BadRequestError):
            await call
    got = await world.http.delete(f"/v1/responses/{first.id}")
    assert got.json() == {"id": first.id, "object": "response", "deleted": True}
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model="chat", input=refer(first))
    assert (await client.responses.create(model="chat", input="So?", previous_response_id=second.id)).output_text
    assert "Hello" in sent(provider)  # what goes on from it is an answer of its own


async def test_what_is_kept_belongs_to_its_tenant(world: World, provider: Simulator) -> None:
    callers = await tenants(world, {"only": at(provider, kind="anthropic")})
    made = await callers["ann"].responses.create(model="chat", input="Hello")
    for friend in ("ann", "ben"):
        assert await callers[friend].responses.create(model="chat", input="And?", previous_response_id=made.id)
        assert (await callers[friend].responses.retrieve(made.id)).output_text == made.output_text
    asked = len(provider.requests)
    for stranger in ("cid", "dan"):
        client = callers[stranger]
        for again in ({"input": "And?", "previous_response_id": made.id}, {"input": refer(made)}):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.responses.create(model="chat", **again)
            never = json.loads(json.dumps(again).replace("_headgate_", "_headgate_0"))
            with pytest.raises(openai.BadRequestError) as unknown:
                await client.responses.create(model="chat", **never)
            assert caught.value.code == "response_not_kept"
            told = [str(error.value.body).replace("_headgate_0", "_headgate_") for error in (caught, unknown)]
            assert told[0].split(":")[3:] == told[1].split(":")[3:]  # as if it had never been
        for attempt in (
            client.responses.retrieve(made.id),
            client.responses.delete(made.id),
            client.responses.cancel(made.id),
            client.responses.input_items.list(made.id),
        ):
            with pytest.raises(openai.NotFoundError, match="store: false"):
                await attempt
    assert len(provider.requests) == asked


async def test_what_goes_on_is_as_sensitive_as_the_call_that_made_it(world: World, provider: Simulator) -> None:
    abroad = await world.simulator()
    places = {"home": at(provider, kind="anthropic"), "abroad": at(abroad, kind="anthropic", location="us")}
    callers = await tenants(world, places)
    made = await callers["ann"].responses.create(
        model="chat", input="Hello", extra_headers={"x-data-sensitivity": "restricted"}
    )
    more = {"role": "user", "content": "And?"}
    for again in ({"input": [more], "previous_response_id": made.id}, {"input": [*refer(made), more]}):
        raw = await callers["ann"].responses.with_raw_response.create(model="chat", **again)
        decision = (await world.receipt(raw.headers["x-request-id"]))["decision"]
        assert decision["sensitivity"] == "restricted"
        assert decision["causes"][0].startswith("the call that made ")
        with pytest.raises(openai.PermissionDeniedError):
            await callers["ann"].responses.create(model="abroad", **again)
    assert not abroad.requests


async def test_nothing_is_kept_that_is_not_to_be(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    before = await world.metric("headgate_kept_responses")
    for stream in (False, True):
        made = await ask(client, stream, input="Hello", store=False)
        assert stored(made) is False
        with pytest.raises(openai.BadRequestError, match="store: false"):
            await client.responses.create(model="chat", input="And?", previous_response_id=made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
    assert await world.metric("headgate_kept_responses") == before
    made = await ask(client, False, input="Hello")
    went_on = await ask(client, False, input="And?", previous_response_id=made.id, store=False)
    assert (stored(went_on), went_on.previous_response_id) == (False, made.id)
    assert await world.metric("headgate_kept_responses") == before + 1


async def test_an_answer_that_was_cut_is_not_kept(world: World) -> None:
    provider = await world.simulator(tpot_s=0.05)
    client = await client_of(world, provider, "anthropic")
    stream = await client.responses.create(model="chat", input="Hello", stream=True)
    made = ""
    async for event in stream:
        made = event.response.id if event.type == "response.created" else made
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await until(lambda: provider.aborted == 1)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made)


async def test_a_reload_keeps_what_is_kept_until_it_bounds_it(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    made = await client.responses.create(model="chat", input="Hello")
    client = await client_of(world, provider, "gemini", responses={"keep": "1MiB", "max_entry": "8KiB"})
    assert (await client.responses.create(model="chat", input="And?", previous_response_id=made.id)).output_text
    assert 0 < await world.metric("headgate_kept_responses_bytes") <= 2**20
    for stream in (False, True):
        large = await ask(client, stream, input="Hello " * 2000)
        assert stored(large) is False
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="chat", input="And?", previous_response_id=large.id)
    client = await client_of(world, provider, "anthropic", responses={"keep": 0})
    assert (await world.metric("headgate_kept_responses_bytes"), await world.metric("headgate_kept_responses")) == (
        0,
        0,
    )
    assert stored(await client.responses.create(model="chat", input="Hello")) is False
    with pytest.raises(openai.BadRequestError, match="keeps none either"):
        await client.responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_time_ends_what_is_kept_also_where_nobody_asks(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic", responses={"ttl": "300ms"})
    made = await client.responses.create(model="chat", input="Hello")

    async def gone() -> bool:
        return await world.metric("headgate_kept_responses_bytes") == 0

    await until(gone)
    with pytest.raises(openai.BadRequestError, match="not found"):
        await client.responses.create(model="chat", input="And?", previous_response_id=made.id)


async def test_what_is_spliced_in_is_classified_as_if_its_caller_had_sent_it(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic", sensitivity={"media": "internal"})
    picture: Any = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    for said, causes in (
        ({"type": "input_text", "text": "My SSN is 536-90-4399."}, "us_ssn"),
        (picture, "media"),
    ):
        made = await client.responses.create(model="chat", input=[{"role": "user", "content": [said]}])
        client = await client_of(world, provider, "anthropic", sensitivity={"media": "restricted"})
        raw = await client.responses.with_raw_response.create(model="chat", input="And?", previous_response_id=made.id)
        decision = (await world.receipt(raw.headers["x-request-id"]))["decision"]
        assert decision["sensitivity"] == "restricted"
        assert causes in str(decision["causes"])  # found again, and not only remembered


async def test_what_goes_on_from_a_kept_answer_is_not_cached(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic", cache={"at": "temperature_0"})
    made = await client.responses.create(model="chat", input="Hello")
    for count in (2, 3):
        went_on = await client.responses.create(
            model="chat", input="And?", previous_response_id=made.id, store=False, temperature=0
        )
        assert went_on.previous_response_id == made.id
        assert len(provider.requests) == count
