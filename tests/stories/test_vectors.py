"""Cohere and Ollama behind the door, seen by the official `openai` SDK: strict servers on real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.adapters.anthropic_wire import PNG
from tests.fakes.cohere import FakeCohere, vector
from tests.fakes.ollama import FakeOllama
from tests.stories.house import Place, World

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
PIXEL = f"data:image/png;base64,{PNG}"
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get-weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
Fake = FakeCohere | FakeOllama
TEXTS = {FakeCohere: "Waterloo is a station, and a battle.", FakeOllama: "A llama hums; it does not sing."}
USAGES = {FakeCohere: (12, 9), FakeOllama: (21, 8)}


class Named(BaseModel):
    name: str


def place(fake: Fake) -> Place:
    cohere = isinstance(fake, FakeCohere)
    provider = {"kind": "cohere" if cohere else "ollama_native", "base_url": fake.url, "location": "self_hosted"}
    if cohere:
        provider["api_keys"] = ["co-upstream-secret"]
    return Place({**provider, "retention": "none"}, {"model": "demo", "price": {"input": "1.00", "output": "4.00"}})


@pytest.fixture(params=[FakeCohere, FakeOllama])
async def fake(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Fake]:
    async with request.param() as listening:
        await world.serve({"only": place(listening)})
        yield listening


async def test_a_chat(world: World, fake: Fake) -> None:
    client = await world.openai()
    got = await client.chat.completions.with_raw_response.create(model="chat", messages=HELLO, seed=1)
    answer = got.parse()
    assert answer.choices[0].message.content == TEXTS[type(fake)]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == USAGES[type(fake)]
    receipt = await world.receipt(got.headers["x-request-id"])
    prompt, completion = USAGES[type(fake)]
    assert receipt["cost_nano"] == prompt * 1000 + completion * 4000


async def test_a_stream_with_usage_and_reasoning(world: World, fake: Fake) -> None:
    client = await world.openai()
    more: dict[str, Any] = {"thinking": {"type": "enabled"}}
    async with client.chat.completions.stream(
        model="chat", messages=HELLO, stream_options={"include_usage": True}, extra_body=more
    ) as stream:
        thoughts = [
            chunk.chunk.choices[0].delta.to_dict().get("reasoning_content", "")
            async for chunk in stream
            if chunk.type == "chunk" and chunk.chunk.choices
        ]
        got = await stream.get_final_completion()
    assert "".join(map(str, thoughts)) in ("Hm, let me think.", "Hm, llamas.")
    assert got.choices[0].message.content == TEXTS[type(fake)]
    assert got.usage is not None
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == USAGES[type(fake)]


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_over_two_turns(world: World, fake: Fake, streamed: bool) -> None:
    client = await world.openai()
    messages: list[Any] = [{"role": "user", "content": "The weather in Paris?"}]
    if streamed:
        async with client.chat.completions.stream(model="chat", messages=messages, tools=[WEATHER]) as stream:
            first = await stream.get_final_completion()
    else:
        first = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER])  # type: ignore[assignment]
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [call.function.name for call in calls] == ["get-weather"] * len(calls)
    assert json.loads(calls[0].function.arguments) == {"city": "Paris"}
    messages.append(choice.message.model_dump(exclude_none=True, exclude={"parsed": True}))
    for message in messages[-1].get("tool_calls", ()):
        message["function"].pop("parsed_arguments", None)
        message.pop("index", None)
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "12 degrees"} for call in calls]
    second = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "The tool said: 12 degrees"
    asked = fake.asked[-1].body["messages"]
    assert [turn["role"] for turn in asked] == ["user", "assistant"] + ["tool"] * len(calls)
    if isinstance(fake, FakeCohere):
        assert asked[1]["tool_plan"] == "I will look it up."
        cited = second.choices[0].message.to_dict()["citations"]
        assert cited[0]["text"] == "12 degrees"  # type: ignore[index]


async def test_an_answer_in_a_form(world: World, fake: Fake) -> None:
    client = await world.openai()
    got = await client.chat.completions.parse(model="chat", messages=HELLO, response_format=Named)
    parsed = got.choices[0].message.parsed
    assert parsed is not None
    assert parsed.name in ("Waterloo", "Llama")


async def test_an_image(world: World, fake: Fake) -> None:
    client = await world.openai()
    content: Any = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    got = await client.chat.completions.create(model="chat", messages=[{"role": "user", "content": content}])
    asked = fake.asked[-1].body["messages"][0]
    if isinstance(fake, FakeOllama):
        assert got.choices[0].message.content == "I see 1 images."
        assert asked["images"] == [PIXEL.partition(",")[2]]
    else:
        assert asked["content"][1]["image_url"]["url"] == PIXEL


@pytest.mark.parametrize("encoding", ["base64", "float"])
async def test_embeddings(world: World, fake: Fake, encoding: Any) -> None:
    client = await world.openai()
    # Unless it is told otherwise the SDK asks for base64, and reads it.
    more = {} if encoding == "base64" else {"encoding_format": encoding}
    got = await client.embeddings.with_raw_response.create(model="chat", input=["one", "three"], dimensions=4, **more)
    raw = json.loads(got.content)["data"][0]["embedding"]
    assert isinstance(raw, str if encoding == "base64" else list)
    answer = got.parse()
    if isinstance(fake, FakeCohere):
        expected = [vector(text, 4) for text in ("one", "three")]
        assert fake.asked[-1].body["input_type"] == "search_document"
        assert got.headers["x-headgate-warnings"].startswith("input_type: ")
    else:
        expected = [[(length + place) / 16 for place in range(4)] for length in (3, 5)]
    for row, wanted in zip(answer.data, expected, strict=True):
        assert row.embedding == pytest.approx(wanted, rel=1e-6)
    assert answer.usage.prompt_tokens == (6 if isinstance(fake, FakeCohere) else 8)


async def test_what_cannot_be_said_is_a_400_with_its_field(world: World, fake: Fake) -> None:
    client = await world.openai()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, n=2)
    assert caught.value.param == "n"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="chat", input=[1, 2, 3])
    assert caught.value.param == "input"
    assert fake.asked == []


@pytest.mark.parametrize(
    ("kind", "fault", "error", "code"),
    [
        (FakeCohere, "401", openai.APIStatusError, "upstream_credentials"),
        (FakeCohere, "429", openai.RateLimitError, "rate_limit_exceeded"),
        (FakeCohere, "500", openai.InternalServerError, "upstream_error"),
        (FakeCohere, "long", openai.BadRequestError, "context_length_exceeded"),
        (FakeOllama, "404", openai.InternalServerError, "upstream_model_not_found"),
        (FakeOllama, "busy", openai.InternalServerError, "upstream_overloaded"),
        (FakeOllama, "long", openai.BadRequestError, "context_length_exceeded"),
    ],
)
async def test_errors_are_the_sdks_own(world: World, kind: Any, fault: str, error: Any, code: str) -> None:
    async with kind() as fake:
        fake.fault = fault
        await world.serve({"only": place(fake)}, on_failure={"attempts": 1})
        client = await world.openai()
        with pytest.raises(error) as caught:
            await client.chat.completions.create(model="chat", messages=HELLO)
    assert caught.value.code == code
    assert "co-upstream-secret" not in str(caught.value)


@pytest.mark.parametrize("fault", ["cut", "error"])
async def test_a_stream_that_breaks_ends_in_an_error_and_not_in_an_end(world: World, fake: Fake, fault: str) -> None:
    fake.fault = fault
    got = await world.chat(stream=True)
    assert got.status == 200
    assert got.error["code"] in ("upstream_stream_cut", "upstream_error")
    assert "[DONE]" not in got.text
    assert '"finish_reason":"' not in got.text
    assert got.content in TEXTS[type(fake)]
