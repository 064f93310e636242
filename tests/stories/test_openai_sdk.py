"""The official `openai` SDK, pointed at the gateway, notices no difference: answers, tools, streams, error classes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from gateway.simulator import Fault, Simulator
from tests.patience import until
from tests.stories.house import World, at

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
        },
    },
}
KINDS = ["openai", "anthropic", "vllm"]


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Simulator]:
    return await world.simulator()


async def client_of(world: World, provider: Simulator, kind: str = "openai", **sections: Any) -> AsyncOpenAI:
    """Serves one deployment of a kind, and returns a client."""
    await world.serve({"only": at(provider, kind=kind)}, **sections)
    return await world.openai()


# -- chat, by every wire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_chat(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=200)
    assert got.object == "chat.completion"
    assert got.choices[0].message.role == "assistant"
    assert got.choices[0].message.content.startswith("I am a simulator standing in for demo")
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens > 10
    assert got._request_id is not None
    receipt = await world.receipt(got._request_id)
    assert sum(receipt["tokens"].values()) == got.usage.total_tokens
    assert receipt["cost_nano"] == got.usage.prompt_tokens * 1000 + got.usage.completion_tokens * 4000
    wire = {"anthropic": "/v1/messages"}.get(kind, "/v1/chat/completions")
    assert provider.requests[0].path == wire


@pytest.mark.parametrize("kind", KINDS)
async def test_a_chat_that_is_cut_by_its_token_limit_says_so(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.chat.completions.create(model="chat", messages=HELLO, max_completion_tokens=5)
    assert got.choices[0].finish_reason == "length"
    assert got.usage is not None
    assert got.usage.completion_tokens == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("usage", [False, True], ids=["", "usage"])
async def test_a_streamed_chat(world: World, provider: Simulator, kind: str, usage: bool) -> None:
    client = await client_of(world, provider, kind)
    whole = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=200)
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    stream = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=200, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    said = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in said) == whole.choices[0].message.content
    assert said[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in said if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(told) == usage
    if usage:
        assert chunks[-1].choices == []
        assert whole.usage is not None
        assert (told[0].prompt_tokens, told[0].completion_tokens) == (
            whole.usage.prompt_tokens,
            whole.usage.completion_tokens,
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation_with_a_tool(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "You know the weather."},
        {"role": "user", "content": "Ask get_weather about Bern."},
    ]
    first = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER], max_tokens=300)
    asked = first.choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls is not None
    call = asked.message.tool_calls[0]
    assert call.type == "function"
    assert call.function.name == "get_weather"
    arguments = json.loads(call.function.arguments)
    assert arguments["unit"] in ("celsius", "fahrenheit")
    messages.append(asked.message.model_dump(exclude_none=True))  # type: ignore[arg-type]
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'})
    second = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER], max_tokens=300)
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content
    sent = json.dumps(provider.requests[-1].json())
    assert call.id in sent
    assert "degrees" in sent


@pytest.mark.parametrize("kind", KINDS)
async def test_a_streamed_tool_call(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    async with client.chat.completions.stream(
        model="chat",
        messages=[{"role": "user", "content": "Ask get_weather about Bern."}],
        tools=[{**WEATHER, "function": {**WEATHER["function"], "strict": True}}],
        max_tokens=300,
    ) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    assert final.choices[0].finish_reason == "tool_calls"
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.name == "get_weather"
    assert json.loads(calls[0].function.arguments)["unit"] in ("celsius", "fahrenheit")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forced_tool(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.chat.completions.create(
        model="chat",
        messages=HELLO,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=300,
    )
    calls = got.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["get_weather"]


class Flow(BaseModel):
    gate: str
    litres: int
    open: bool


@pytest.mark.parametrize("kind", KINDS)
async def test_a_structured_answer(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    got = await client.chat.completions.parse(model="chat", messages=HELLO, response_format=Flow, max_tokens=300)
    assert isinstance(got.choices[0].message.parsed, Flow)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_system_prompt_and_an_image_arrive(world: World, provider: Simulator, kind: str) -> None:
    client = await client_of(world, provider, kind)
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
    got = await client.chat.completions.create(
        model="chat",
        messages=[
            {"role": "system", "content": "You see."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}},
                ],
            },
        ],
        max_tokens=50,
    )
    assert got.choices[0].message.content
    sent = provider.requests[0].body
    assert b"You see." in sent
    assert pixel.encode() in sent


async def test_several_choices(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    got = await client.chat.completions.create(model="chat", messages=HELLO, n=3)
    assert [choice.index for choice in got.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in got.choices}) == 3


# -- the other endpoints ------------------------------------------------------------------------------------------


async def test_embeddings_in_both_encodings(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    packed = await client.embeddings.create(model="chat", input=["one", "two"], dimensions=64)
    plain = await client.embeddings.create(model="chat", input=["one", "two"], dimensions=64, encoding_format="float")
    assert [provider.requests[at].json()["encoding_format"] for at in (0, 1)] == ["base64", "float"]
    assert [len(each.embedding) for each in packed.data] == [64, 64]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(one.embedding, other.embedding, strict=True))
    assert packed.usage.prompt_tokens == 2


async def test_completions_whole_and_streamed(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    whole = await client.completions.create(model="chat", prompt="Once upon a time")
    assert whole.choices[0].finish_reason == "stop"
    stream = await client.completions.create(model="chat", prompt="Once upon a time", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_models_are_listed_and_looked_up(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    listed = [model.id async for model in client.models.list()]
    assert listed == ["chat", "only"]
    assert (await client.models.retrieve("only")).owned_by == "headgate"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("other")
    assert caught.value.code == "model_not_found"


async def test_raw_responses_show_the_gateways_headers(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    raw = await client.chat.completions.with_raw_response.create(model="chat", messages=HELLO)
    assert raw.headers["x-headgate-deployment"] == "only"
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.parse()._request_id == raw.request_id


async def test_the_synchronous_client(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider)})

    def talk() -> tuple[str, str]:
        with OpenAI(base_url=f"{world.house.url}/v1", api_key="none", max_retries=0, timeout=20) as client:
            whole = client.chat.completions.create(model="chat", messages=HELLO)
            stream = client.chat.completions.create(model="chat", messages=HELLO, stream=True)
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = await asyncio.to_thread(talk)
    assert whole == streamed
    assert whole.startswith("I am a simulator")


# -- error classes ------------------------------------------------------------------------------------------------


async def test_a_missing_or_wrong_key_is_an_authentication_error(world: World, provider: Simulator) -> None:
    hashed = hashlib.sha256(b"hg-right").hexdigest()
    await world.serve({"only": at(provider)}, auth="keys", keys=[{"name": "right", "hash": f"sha256:{hashed}"}])
    for key in ("hg-wrong", "none"):
        client = await world.openai(api_key=key)
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.chat.completions.create(model="chat", messages=HELLO)
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert key not in str(caught.value)
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()
    assert not provider.requests
    client = await world.openai(api_key="hg-right")
    assert (await client.chat.completions.create(model="chat", messages=HELLO)).choices


async def test_an_unknown_model_is_a_not_found_error(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="caht", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "did you mean 'chat'" in caught.value.message
    assert caught.value.request_id is not None


async def test_a_wrong_field_is_a_bad_request_error(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, temperature="hot")  # type: ignore[call-overload]
    assert (caught.value.param, caught.value.code) == ("temperature", "invalid_type")


async def test_what_anthropic_cannot_express_is_a_bad_request_error(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, "anthropic")
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, n=2)
    assert caught.value.param == "n"
    assert not provider.requests


async def test_a_providers_429_is_a_rate_limit_error_with_its_wait(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, on_failure={"deadline": "1s"})
    provider.faults["demo"] = [Fault("429", retry_after="9")]
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO)
    assert caught.value.response.headers["retry-after"] == "9"


async def test_a_guarantee_is_a_permission_denied_error(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider, location="us")})
    client = await world.openai(default_headers={"x-data-sensitivity": "restricted"})
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO)
    assert caught.value.code == "no_permitted_deployment"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "status"), [("500", 502), ("503", 503), ("401", 502), ("reset", 502)])
async def test_a_providers_failure_is_an_internal_server_error(
    world: World, provider: Simulator, kind: str, fault: str, status: int
) -> None:
    client = await client_of(world, provider, kind)
    provider.faults["demo"] = [Fault(fault)] * 5
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=20)
    assert caught.value.status_code == status


async def test_a_deadline_is_told_and_not_a_lost_connection(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider, on_failure={"deadline": "300ms"})
    provider.faults["demo"] = [Fault("hang")]
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")


async def test_the_clients_own_timeout_cancels_the_upstream(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    provider.faults["demo"] = [Fault("hang")]
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.3).chat.completions.create(model="chat", messages=HELLO)
    await until(lambda: provider.aborted == 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["cut;after=3", "error;after=3", "stall;after=3"])
async def test_a_stream_that_fails_after_content_raises_in_the_midst_of_it(world: World, kind: str, fault: str) -> None:
    provider = await world.simulator()
    patience = {"timeouts": {"idle": "200ms"}} if fault.startswith("stall") else {}
    await world.serve({"only": at(provider, kind=kind, **patience)}, on_failure={"attempts": 1})
    client = await world.openai()
    said: list[str] = []

    async def listen() -> None:
        stream = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=200, stream=True)
        async for chunk in stream:
            said.append(chunk.choices[0].delta.content or "")  # noqa: PERF401 - what came before the error counts

    for provider.tpot_s in (0.002, 0.02, 0.15):
        said.clear()
        provider.faults["demo"] = [Fault.parse(fault)]
        with pytest.raises(openai.APIError) as caught:
            await listen()
        if "".join(said).startswith("I am"):
            break  # else the gateway was so late that content and failure came as one: slower
    assert "".join(said).startswith("I am")
    assert not isinstance(caught.value, openai.APIConnectionError)
    assert caught.value.body["code"].startswith("upstream_")  # type: ignore[index]


async def test_the_clients_own_retries_are_answered(world: World, provider: Simulator) -> None:
    await world.serve({"only": at(provider)}, on_failure={"attempts": 1})
    client = await world.openai(max_retries=2)
    provider.faults["demo"] = [Fault("500")]
    got = await client.chat.completions.create(model="chat", messages=HELLO)
    assert got.choices[0].finish_reason == "stop"
    assert len(provider.requests) == 2
