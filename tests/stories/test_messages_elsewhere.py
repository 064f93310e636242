"""Callers of Anthropic's Messages, answered by providers that do not speak them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam

from gateway.simulator import Simulator
from tests.stories.house import World, at
from tests.stories.test_anthropic_sdk import HELLO, PIXEL, WEATHER, client_of

pytest.importorskip("adapters._openai_chat_request", reason="nothing translates to OpenAI's wire yet")


@pytest.fixture(params=["openai", "vllm"])
async def provider(world: World, request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    provider = await world.simulator(wire=request.param)
    await world.serve({"only": at(provider, kind=request.param), "claude": at(provider, kind="anthropic")})
    return provider


@pytest.fixture
async def client(world: World, provider: Simulator) -> AsyncIterator[AsyncAnthropic]:
    async with client_of(world) as client:
        yield client


async def test_a_conversation_with_a_tool_and_an_image_in_its_result(
    provider: Simulator, client: AsyncAnthropic
) -> None:
    messages: list[MessageParam] = [{"role": "user", "content": "Ask get_weather about Bern."}]
    async with client.messages.stream(
        model="chat", messages=messages, tools=[WEATHER], max_tokens=300, system="You know the weather."
    ) as stream:
        first = await stream.get_final_message()
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})  # type: ignore[misc]
    messages.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": [image]}]})
    assert (await client.messages.create(model="chat", messages=messages, tools=[WEATHER], max_tokens=300)).content
    sent = provider.requests[-1].body
    assert call.id.encode() in sent
    assert PIXEL.encode() in sent


async def test_reasoning_is_thinking_and_goes_to_anthropic_as_nothing(world: World) -> None:
    provider = await world.simulator(wire="vllm")
    await world.serve({"only": at(provider, kind="vllm"), "claude": at(provider, kind="anthropic")})
    asked: Any = {"max_tokens": 2000, "thinking": {"type": "adaptive"}, "messages": HELLO}
    async with client_of(world) as client:
        async with client.messages.stream(model="only", **asked) as stream:
            kinds = {event.type async for event in stream}
            got = await stream.get_final_message()
        assert {"thinking", "signature", "text"} <= kinds
        history = [*HELLO, {"role": "assistant", "content": [block.to_dict() for block in got.content]}, *HELLO]
        raw = await client.messages.with_raw_response.create(model="claude", **{**asked, "messages": history})
    sent = provider.requests[-1].json()["messages"][1]["content"]
    assert [block["type"] for block in sent] == ["text"]
    assert "did not sign" in raw.headers["x-headgate-warnings"]


async def test_what_cannot_be_said_is_told_by_the_place_where_the_caller_wrote_it(
    provider: Simulator, client: AsyncAnthropic
) -> None:
    kept: Any = [{"type": "image", "source": {"type": "file", "file_id": "file_1"}}]
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.0\.content\.0"):
        await client.messages.create(
            model="only", max_tokens=9, system="be brief", messages=[{"role": "user", "content": kept}]
        )
    failed: Any = [
        {"role": "user", "content": "Ask."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "get_weather", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x", "is_error": True}]},
    ]
    raw = await client.messages.with_raw_response.create(
        model="only", max_tokens=99, system="be brief", messages=failed, tools=[WEATHER]
    )
    assert raw.headers["x-headgate-warnings"].startswith("messages.2.content.0.is_error: ")
