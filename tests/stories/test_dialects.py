"""Both dialects that are not chat, before every kind of provider: what works, and what is lost by name.

`LOST` is the whole of what may be declared; a cell that is not there loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message
from openai import AsyncOpenAI

from tests.adapters.anthropic_wire import PNG
from tests.stories.behind import MODELS, Behind, behind
from tests.stories.house import World
from tests.stories.test_anthropic_sdk import WEATHER as TOOL
from tests.stories.test_anthropic_sdk import client_of
from tests.stories.test_responses import WEATHER as FUNCTION

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
ASKED = "Ask get_weather about Bern."
PROVIDERS = tuple(MODELS)
RELAYED = {"messages": {"anthropic", "claude at vertex"}, "responses": {"openai", "vllm"}}

# Whose models think in silence, or not at all, and whose sign what they think.
SILENT: dict[str, set[str]] = {"messages": {"openai"}, "responses": {"openai", "vllm", "cohere"}}
SIGNING: set[str] = {"anthropic", "claude at vertex", "bedrock"}

COUNTING: set[str] = {"anthropic", "claude at vertex", "gemini", "vertex", "vllm"}

# (dialect, feature, provider) -> the fields that are declared to be lost, as the caller names them
LOST: dict[tuple[str, str, str], set[str]] = {
    ("messages", "thinking", "openai"): {"thinking"},  # the model that stands there does not reason
    ("messages", "thinking", "ollama"): {"thinking"},  # takes no budget
    ("responses", "thinking", "cohere"): {"reasoning.effort"},  # takes a budget, no effort
    ("responses", "tool", "ollama"): {"tools.0.strict"},
}


def lost(headers: Any) -> set[str]:
    """Returns the fields that an answer declares to have lost something of."""
    return {each.partition(":")[0] for each in headers.get("x-headgate-warnings", "").split("; ") if each}


@pytest.fixture(params=PROVIDERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def provider(world: World, kind: str) -> AsyncIterator[Behind]:
    """One provider of a kind, which serves the route `chat`."""
    async with AsyncExitStack() as stack:
        provider = await behind(kind, world, stack)
        await world.serve({"only": provider.place})
        yield provider


# -- Anthropic's Messages -----------------------------------------------------------------------------------------


@pytest.fixture
async def claude(world: World, provider: Behind) -> AsyncIterator[AsyncAnthropic]:
    async with client_of(world) as client:
        yield client


def text_of(message: Message) -> str:
    """Returns the one text of a message; reasoning, and what frames a signature, may stand around it."""
    (text,) = [block.text for block in message.content if block.type == "text"]
    return text


async def test_messages_in_words_and_with_an_image(claude: AsyncAnthropic, provider: Behind, kind: str) -> None:
    image: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    asked: Any = {
        "model": "chat",
        "max_tokens": 200,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}],
    }
    raw = await claude.messages.with_raw_response.create(**asked)
    whole = await raw.parse()
    async with claude.messages.stream(**asked) as stream:
        put = await stream.get_final_message()
    assert text_of(put) == text_of(whole)
    assert (put.stop_reason, whole.stop_reason) == ("end_turn", "end_turn")
    assert put.usage.input_tokens + (put.usage.cache_read_input_tokens or 0) > 0
    assert put.usage.output_tokens == whole.usage.output_tokens > 0
    assert PNG in json.dumps(provider.asked()[0])
    assert lost(raw.headers) == LOST.get(("messages", "image", kind), set())


async def test_messages_with_a_tool_over_two_turns(claude: AsyncAnthropic, provider: Behind, kind: str) -> None:
    provider.say("call")
    messages: list[Any] = [{"role": "user", "content": ASKED}]
    asked: Any = {"model": "chat", "tools": [TOOL], "max_tokens": 2000}
    async with claude.messages.stream(messages=messages, **asked) as stream:
        first = await stream.get_final_message()
    assert first.stop_reason == "tool_use"
    calls = [block for block in first.content if block.type == "tool_use"]
    assert all(call.name == "get_weather" and call.input for call in calls)
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"} for call in calls]
    messages.append({"role": "user", "content": results})
    raw = await claude.messages.with_raw_response.create(messages=messages, **asked)
    assert text_of(await raw.parse())
    sent = json.dumps(provider.asked()[-1])
    assert "21 degrees" in sent
    assert "__signed__" not in sent
    assert lost(raw.headers) == LOST.get(("messages", "tool", kind), set())


async def test_messages_that_think(claude: AsyncAnthropic, provider: Behind, kind: str) -> None:
    provider.say("thought", "thought")
    messages: list[Any] = [{"role": "user", "content": "Hello"}]
    asked: Any = {"model": "chat", "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    async with claude.messages.stream(messages=messages, **asked) as stream:
        first = await stream.get_final_message()
    thoughts = [block for block in first.content if block.type == "thinking" and block.thinking]
    assert bool(thoughts) == (kind not in SILENT["messages"])
    messages.append({"role": "assistant", "content": [block.to_dict() for block in first.content]})
    messages.append({"role": "user", "content": "Go on"})
    raw = await claude.messages.with_raw_response.create(messages=messages, **asked)
    assert text_of(await raw.parse())
    sent = json.dumps(provider.asked()[-1])
    assert "__signed__" not in sent
    if kind in SIGNING:
        assert thoughts[0].signature in sent
    assert lost(raw.headers) == LOST.get(("messages", "thinking", kind), set())


async def test_messages_in_a_shape(claude: AsyncAnthropic, provider: Behind, kind: str) -> None:
    provider.say("shape")
    raw = await claude.messages.with_raw_response.create(
        model="chat",
        max_tokens=300,
        messages=[{"role": "user", "content": "Name a town."}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert json.loads(text_of(await raw.parse())).keys() == {"name"}
    assert lost(raw.headers) == LOST.get(("messages", "shape", kind), set())


async def test_messages_that_fail(claude: AsyncAnthropic, provider: Behind) -> None:
    asked: Any = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 200}
    provider.fail("long")
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        await claude.messages.create(**asked)
    provider.fail("cut")
    with pytest.raises(anthropic.APIError) as caught:
        async with claude.messages.stream(**asked) as stream:
            await stream.get_final_message()
    assert not isinstance(caught.value, anthropic.APIConnectionError)  # told in-band, in a stream that ended properly


async def test_a_count_is_the_providers_own_or_an_estimate_that_says_so(
    claude: AsyncAnthropic, provider: Behind, world: World, kind: str
) -> None:
    asked: Any = {
        "model": "chat",
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Is get_weather of use?"}],
        "tools": [TOOL],
        "tool_choice": {"type": "none"},
    }
    raw = await claude.messages.with_raw_response.count_tokens(**asked)
    count = (await raw.parse()).input_tokens
    receipt = await world.receipt(raw.headers["request-id"])
    assert (receipt["status"], receipt["cost_nano"], receipt.get("tokens")) == (200, 0, None)
    if kind not in COUNTING:
        assert count > 0
        assert lost(raw.headers) == {"input_tokens"}
        assert not provider.asked()
        return
    assert "input_tokens" not in lost(raw.headers)
    assert raw.headers["x-headgate-deployment"] == "only"
    assert len(provider.asked()) == 1
    got = await claude.messages.create(**asked, max_tokens=50)
    usage = got.usage
    used = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert count == used


# -- OpenAI's Responses -------------------------------------------------------------------------------------------


@pytest.fixture
async def gpt(world: World, provider: Behind) -> AsyncOpenAI:
    return await world.openai(_strict_response_validation=True)


async def test_responses_in_words_and_with_an_image(gpt: AsyncOpenAI, provider: Behind, kind: str) -> None:
    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    content: Any = [image, {"type": "input_text", "text": "What is this?"}]
    asked: Any = {
        "model": "chat",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": content}],
        "max_output_tokens": 200,
        "store": False,
    }
    raw = await gpt.responses.with_raw_response.create(**asked)
    whole = raw.parse()
    async with gpt.responses.stream(**asked) as stream:
        numbers = [event.sequence_number async for event in stream]
        put = await stream.get_final_response()
    assert (whole.status, put.status) == ("completed", "completed")
    assert put.output_text == whole.output_text != ""
    assert numbers == sorted(set(numbers))
    assert put.usage is not None
    assert whole.usage is not None
    assert put.usage.output_tokens == whole.usage.output_tokens > 0
    assert PNG in json.dumps(provider.asked()[0])
    assert lost(raw.headers) == LOST.get(("responses", "image", kind), set())


async def test_responses_with_a_tool_over_two_turns(gpt: AsyncOpenAI, provider: Behind, kind: str) -> None:
    provider.say("call")
    items: list[Any] = [{"role": "user", "content": ASKED}]
    asked: Any = {"model": "chat", "tools": [FUNCTION], "store": False, "max_output_tokens": 2000}
    async with gpt.responses.stream(input=items, **asked) as stream:
        first = await stream.get_final_response()
    calls = [item for item in first.output if item.type == "function_call"]
    assert calls
    assert all(call.name == "get_weather" and json.loads(call.arguments) for call in calls)
    items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"} for call in calls]
    raw = await gpt.responses.with_raw_response.create(input=items, **asked)
    assert raw.parse().output_text
    sent = json.dumps(provider.asked()[-1])
    assert "21 degrees" in sent
    assert "__signed__" not in sent
    assert lost(raw.headers) == LOST.get(("responses", "tool", kind), set())


async def test_responses_that_think(gpt: AsyncOpenAI, provider: Behind, kind: str) -> None:
    provider.say("thought", "thought")
    items: list[Any] = [{"role": "user", "content": "Hello"}]
    asked: Any = {"model": "chat", "reasoning": {"effort": "low"}, "store": False, "max_output_tokens": 4000}
    async with gpt.responses.stream(input=items, **asked) as stream:
        first = await stream.get_final_response()
    thoughts = [item for item in first.output if item.type == "reasoning" and (item.content or item.summary)]
    assert bool(thoughts) == (kind not in SILENT["responses"])
    items += [item.model_dump(exclude_none=True) for item in first.output]
    items.append({"role": "user", "content": "Go on"})
    raw = await gpt.responses.with_raw_response.create(input=items, **asked)
    assert raw.parse().output_text
    sent = json.dumps(provider.asked()[-1])
    assert "hg1." not in sent
    if kind in SIGNING:
        assert thoughts[0].encrypted_content is not None
        assert json.loads(thoughts[0].encrypted_content.removeprefix("hg1."))["signature"] in sent
    assert lost(raw.headers) == LOST.get(("responses", "thinking", kind), set())


async def test_responses_in_a_shape(gpt: AsyncOpenAI, provider: Behind, kind: str) -> None:
    provider.say("shape")
    raw = await gpt.responses.with_raw_response.create(
        model="chat",
        input="Name a town.",
        store=False,
        text={"format": {"type": "json_schema", "name": "town", "schema": SCHEMA, "strict": True}},
    )
    assert json.loads(raw.parse().output_text).keys() == {"name"}
    assert lost(raw.headers) == LOST.get(("responses", "shape", kind), set())


async def test_responses_that_fail(gpt: AsyncOpenAI, provider: Behind, world: World) -> None:
    asked: Any = {"model": "chat", "input": "Hello", "max_output_tokens": 200, "store": False}
    provider.fail("long")
    with pytest.raises(openai.BadRequestError) as refused:
        await gpt.responses.create(**asked)
    assert refused.value.code == "context_length_exceeded"
    provider.fail("cut")
    got = await world.post("/v1/responses", {**asked, "stream": True})
    told = [json.loads(line.removeprefix("data: ")) for line in got.text.splitlines() if line.startswith("data: ")]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert told[-1]["type"] == "error"
    assert len(told) > 1
