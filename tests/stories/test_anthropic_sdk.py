"""The official `anthropic` SDK, pointed at the gateway, notices no difference: answers, tools, streams, error classes.

It validates every answer strictly against its own types.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic._constants import ANTHROPIC_API_VERSION
from anthropic.types import MessageParam, ToolParam

from gateway.simulator import Fault, Simulator
from tests.stories.house import NO_TLS, World, at

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "Tells the weather.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Simulator]:
    return await world.simulator()


@pytest.fixture
async def client(world: World, provider: Simulator) -> AsyncIterator[AsyncAnthropic]:
    """A client of a house with one deployment of Anthropic."""
    await world.serve({"only": at(provider, kind="anthropic")})
    async with client_of(world) as client:
        yield client


def client_of(world: World, **settings: Any) -> AsyncAnthropic:
    settings = {"api_key": "none", "max_retries": 0, "timeout": 30, **settings}
    http = anthropic.DefaultAsyncHttpxClient(verify=NO_TLS)
    return AsyncAnthropic(base_url=world.house.url, http_client=http, _strict_response_validation=True, **settings)


# -- messages -----------------------------------------------------------------------------------------------------


async def test_a_message(world: World, provider: Simulator, client: AsyncAnthropic) -> None:
    got = await client.messages.create(model="chat", messages=HELLO, max_tokens=200, metadata={"user_id": "u-1"})
    assert got.content[0].type == "text"
    assert got.content[0].text.startswith("I am a simulator standing in for demo")
    assert (got.stop_reason, got.role, got.model) == ("end_turn", "assistant", "demo")
    assert got._request_id is not None
    receipt = await world.receipt(got._request_id)
    assert receipt["dialect"] == "messages"
    assert receipt["user"] == "u-1"
    assert sum(receipt["tokens"].values()) == got.usage.input_tokens + got.usage.output_tokens
    assert receipt["cost_nano"] == got.usage.input_tokens * 1000 + got.usage.output_tokens * 4000


async def test_a_request_is_relayed_with_its_headers_and_unknown_fields(
    provider: Simulator, client: AsyncAnthropic
) -> None:
    await client.beta.messages.create(
        model="chat",
        messages=HELLO,
        max_tokens=50,
        betas=["context-management-2025-06-27"],
        extra_body={"not_invented_yet": {"a": [1, 2.50]}},
    )
    seen = provider.requests[0]
    sent = seen.json()
    assert seen.header(b"anthropic-beta") == b"context-management-2025-06-27"
    assert seen.header(b"anthropic-version") == ANTHROPIC_API_VERSION.encode()
    assert seen.header(b"x-api-key") == b"sk-upstream-secret"
    assert sent == {
        "model": "demo",
        "messages": HELLO,
        "max_tokens": 50,
        "not_invented_yet": {"a": [1, 2.5]},
    }


async def test_a_message_that_is_cut_by_its_token_limit_says_so(client: AsyncAnthropic) -> None:
    got = await client.messages.create(model="chat", messages=HELLO, max_tokens=5)
    assert (got.stop_reason, got.usage.output_tokens) == ("max_tokens", 5)


async def test_a_streamed_message_has_every_event_and_the_same_words(world: World, client: AsyncAnthropic) -> None:
    whole = await client.messages.create(model="chat", messages=HELLO, max_tokens=200)
    async with client.messages.stream(model="chat", messages=HELLO, max_tokens=200) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert {"content_block_start", "content_block_delta", "text", "content_block_stop"} <= set(kinds)
    assert [block.model_dump() for block in final.content] == [block.model_dump() for block in whole.content]
    assert final.stop_reason == whole.stop_reason == "end_turn"
    assert (final.usage.input_tokens, final.usage.output_tokens) == (
        whole.usage.input_tokens,
        whole.usage.output_tokens,
    )
    assert stream.response.headers["request-id"] == stream.response.headers["x-request-id"]
    receipt = await world.receipt(stream.response.headers["request-id"])
    assert sum(receipt["tokens"].values()) == final.usage.input_tokens + final.usage.output_tokens


async def test_a_conversation_with_a_tool(provider: Simulator, client: AsyncAnthropic) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "Ask get_weather about Bern."}]
    first = await client.messages.create(model="chat", messages=messages, tools=[WEATHER], max_tokens=300)
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert call.input["unit"] in ("celsius", "fahrenheit")
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})  # type: ignore[misc]
    messages.append(
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}]}
    )
    async with client.messages.stream(model="chat", messages=messages, tools=[WEATHER], max_tokens=300) as stream:
        second = await stream.get_final_message()
    assert second.stop_reason == "end_turn"
    assert provider.requests[-1].json()["messages"][2]["content"][0]["tool_use_id"] == call.id


async def test_a_streamed_tool_call(client: AsyncAnthropic) -> None:
    async with client.messages.stream(
        model="chat",
        messages=[{"role": "user", "content": "Ask get_weather about Bern."}],
        tools=[WEATHER],
        max_tokens=300,
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_message()
    assert "input_json" in kinds
    call = next(block for block in final.content if block.type == "tool_use")
    assert call.input["unit"] in ("celsius", "fahrenheit")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_thinking_comes_with_its_signature(client: AsyncAnthropic, streamed: bool) -> None:
    asked: Any = {
        "model": "chat",
        "messages": HELLO,
        "max_tokens": 2000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
    }
    if streamed:
        async with client.messages.stream(**asked) as stream:
            kinds = {event.type async for event in stream}
            got = await stream.get_final_message()
        assert {"thinking", "signature"} <= kinds
    else:
        got = await client.messages.create(**asked)
    thought = got.content[0]
    assert thought.type == "thinking"
    assert thought.thinking
    assert thought.signature


async def test_a_system_prompt_and_an_image_arrive(provider: Simulator, client: AsyncAnthropic) -> None:
    got = await client.messages.create(
        model="chat",
        max_tokens=50,
        system=[{"type": "text", "text": "You see.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                    {"type": "text", "text": "What is it?"},
                ],
            }
        ],
    )
    assert got.usage.cache_creation_input_tokens
    assert PIXEL.encode() in provider.requests[0].body


async def test_an_answer_is_kept_and_told_in_the_other_form(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, kind="anthropic")}, cache={"at": "temperature_0"})
    asked: Any = {"model": "chat", "messages": HELLO, "max_tokens": 200, "extra_body": {"temperature": 0}}
    async with client_of(world) as client:
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            told = await stream.get_final_message()
    assert len(provider.requests) == 1
    assert stream.response.headers["x-headgate-cache"].startswith("hit")
    assert told.model_dump(exclude={"container", "stop_details"}) == whole.model_dump(
        exclude={"container", "stop_details"}
    )


# -- counts and models ----------------------------------------------------------------------------------------------


async def test_anthropic_counts_tokens_itself(world: World, provider: Simulator, client: AsyncAnthropic) -> None:
    raw = await client.messages.with_raw_response.count_tokens(model="chat", messages=HELLO, system="Be brief.")
    count = await raw.parse()
    got = await client.messages.create(model="chat", messages=HELLO, system="Be brief.", max_tokens=10)
    assert count.input_tokens == got.usage.input_tokens
    assert provider.requests[0].path == "/v1/messages/count_tokens"
    receipt = await world.receipt(raw.headers["request-id"])
    assert receipt["dialect"] == "messages"
    assert receipt["cost_nano"] == 0
    assert "tokens" not in receipt
    assert receipt["sentence"] == "sent to only: the only one left, for a count of its tokens"


async def test_where_nobody_counts_the_gateway_estimates_and_says_so(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, price={"input": "1.00", "output": "4.00", "per_request": "0.01"})})
    asked = {"model": "chat", "messages": [{"role": "user", "content": "four words of text " * 100}]}
    got = await world.post("/v1/messages/count_tokens", asked)
    assert got.status == 200
    assert 50 < got.json["input_tokens"] < 1000  # by what the house has learned of its simulators
    assert got.json["estimated"] is True
    assert "estimated" in got.headers["x-headgate-warnings"]
    assert not provider.requests
    receipt = await world.receipt(got.headers["request-id"])
    assert (receipt["status"], receipt["cost_nano"], receipt.get("tokens")) == (200, 0, None)
    assert receipt["sentence"] == "would go to only: the only one left"
    assert "x-headgate-deployment" not in got.headers
    refused = await world.post("/v1/messages/count_tokens", asked, {"x-headgate-strict": "true"})
    assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")


async def test_a_count_goes_only_where_the_message_may_go(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, kind="anthropic", location="us")})
    async with client_of(world, default_headers={"x-data-sensitivity": "restricted"}) as client:
        with pytest.raises(anthropic.PermissionDeniedError):
            await client.messages.count_tokens(model="chat", messages=HELLO)
    assert not provider.requests


async def test_models_are_listed_and_looked_up(client: AsyncAnthropic) -> None:
    assert [model.id async for model in client.models.list()] == ["chat", "only"]
    assert (await client.models.retrieve("only")).type == "model"
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.models.retrieve("other")
    assert caught.value.request_id is not None


# -- error classes ------------------------------------------------------------------------------------------------


async def test_a_missing_or_wrong_key_is_an_authentication_error(world: World, provider: Simulator) -> None:
    hashed = hashlib.sha256(b"hg-right").hexdigest()
    keys = [{"name": "right", "hash": f"sha256:{hashed}"}]
    await world.serve({"only": at(provider, kind="anthropic")}, auth="keys", keys=keys)
    async with client_of(world, api_key="hg-wrong") as client:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await client.messages.create(model="chat", messages=HELLO, max_tokens=5)
        assert caught.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
        assert caught.value.body["request_id"] == caught.value.request_id  # type: ignore[index]
    for settings in ({"api_key": "hg-right"}, {"api_key": None, "auth_token": "hg-right"}):
        async with client_of(world, **settings) as client:
            assert (await client.messages.create(model="chat", messages=HELLO, max_tokens=5)).content


async def test_an_unknown_model_is_a_not_found_error(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.messages.create(model="caht", messages=HELLO, max_tokens=5)
    assert "did you mean 'chat'" in str(caught.value)


async def test_a_wrong_field_is_a_bad_request_error(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(model="chat", messages=HELLO, max_tokens="many")  # type: ignore[call-overload]
    assert "max_tokens" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("429", anthropic.RateLimitError),
        ("500", anthropic.InternalServerError),
        ("400", anthropic.BadRequestError),
    ],
)
async def test_a_providers_error_is_of_the_right_class(
    world: World, provider: Simulator, fault: str, raised: type[anthropic.APIStatusError]
) -> None:
    await world.serve({"only": at(provider, kind="anthropic")}, on_failure={"attempts": 1})
    provider.faults["demo"] = [Fault(fault)]
    async with client_of(world) as client:
        with pytest.raises(raised) as caught:
            await client.messages.create(model="chat", messages=HELLO, max_tokens=5)
    assert caught.value.request_id is not None
    assert caught.value.body["type"] == "error"  # type: ignore[index]


async def test_a_stream_that_fails_midway_raises(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, kind="anthropic")})
    for fault in ("cut", "error"):
        provider.faults["demo"] = [Fault(fault, after=3)]
        async with client_of(world) as client:
            with pytest.raises(anthropic.APIStatusError) as caught:
                async with client.messages.stream(model="chat", messages=HELLO, max_tokens=200) as stream:
                    await stream.get_final_message()
        assert json.loads(json.dumps(caught.value.body))["error"]["type"] in ("api_error", "overloaded_error")
