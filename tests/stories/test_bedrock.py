"""The official `openai` SDK speaks with Bedrock through the gateway; a strict fake verifies whatever arrives there."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from tests.fakes.bedrock import KEY_ID, REGION, SECRET, Answer, Bedrock, Fault, calls, text
from tests.fakes.bedrock_wire import called
from tests.stories.house import Place, World

SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
KEYS = {"access_key_id": KEY_ID, "secret_access_key": SECRET}
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get.weather",  # Converse takes no dot
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def bedrock() -> AsyncIterator[Bedrock]:
    async with Bedrock() as bedrock:
        yield bedrock


def at(bedrock: Bedrock, model: str = SONNET, **provider: Any) -> Place:
    """Returns a deployment at the fake, which signs with the keys that it knows."""
    identity = provider or KEYS
    written = {"kind": "bedrock", "base_url": bedrock.url, "region": REGION, "location": "eu", **identity}
    return Place(written, {"model": model, "price": {"input": "1.00", "output": "4.00"}})


async def client_of(world: World, bedrock: Bedrock, model: str = SONNET, **provider: Any) -> AsyncOpenAI:
    await world.serve({"only": at(bedrock, model, **provider)})
    return await world.openai()


async def test_a_chat(world: World, bedrock: Bedrock) -> None:
    client = await client_of(world, bedrock)
    got = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=20, temperature=0.5)
    assert got.choices[0].message.content == "You said: Hello"
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (10, 7)
    asked = bedrock.asked[0]
    assert (asked.model, asked.operation) == (SONNET, "converse")
    assert asked.path == "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
    assert asked.body["inferenceConfig"] == {"maxTokens": 20, "temperature": 0.5}
    receipt = await world.receipt(got._request_id or "")
    assert receipt["cost_nano"] == 10 * 1000 + 7 * 4000


async def test_a_stream(world: World, bedrock: Bedrock) -> None:
    bedrock.answers.append(text("Good ", "day", "!"))
    client = await client_of(world, bedrock)
    stream = await client.chat.completions.create(
        model="chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert said == ["Good ", "day", "!"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 17
    assert bedrock.asked[0].operation == "converse-stream"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_tool_over_two_turns(world: World, bedrock: Bedrock, streamed: bool) -> None:
    bedrock.answers += [calls("get_weather", {"city": "Bern"}), text("It is 21 degrees.")]
    client = await client_of(world, bedrock)
    messages: list[ChatCompletionMessageParam] = [*HELLO]
    if streamed:
        async with client.chat.completions.stream(model="chat", messages=messages, tools=[_strict(WEATHER)]) as stream:
            first: Any = await stream.get_final_completion()
    else:
        first = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER])
    asked = first.choices[0]
    assert asked.finish_reason == "tool_calls"
    call = asked.message.tool_calls[0]
    assert call.function.name == "get.weather"
    assert json.loads(call.function.arguments) == {"city": "Bern"}
    messages.append(asked.message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'})
    second = await client.chat.completions.create(model="chat", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "It is 21 degrees."
    assert bedrock.refused == []


def _strict(tool: ChatCompletionToolParam) -> ChatCompletionToolParam:
    """The SDK's `stream` parses the calls of strict tools alone."""
    return {**tool, "function": {**tool["function"], "strict": True}}


class Town(BaseModel):
    name: str
    people: int


@pytest.mark.parametrize("model", [SONNET, NOVA], ids=["native", "through a tool"])
async def test_structured_output(world: World, bedrock: Bedrock, model: str) -> None:
    town = Town(name="Bern", people=134_000)
    native = model == SONNET
    answer = text(town.model_dump_json()) if native else calls("json_tool_call", {"properties": town.model_dump()})
    bedrock.answers.append(answer)
    client = await client_of(world, bedrock, model)
    got = await client.chat.completions.parse(model="chat", messages=HELLO, response_format=Town)
    assert got.choices[0].message.parsed == town
    assert got.choices[0].finish_reason == "stop"
    assert ("outputConfig" in bedrock.asked[0].body) == native


async def test_an_image(world: World, bedrock: Bedrock) -> None:
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
    client = await client_of(world, bedrock)
    shown: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}},
            ],
        }
    ]
    await client.chat.completions.create(model="chat", messages=shown)
    assert bedrock.asked[0].body["messages"][0]["content"][1] == {"image": {"format": "png", "source": {"bytes": png}}}


async def test_reasoning_goes_and_comes_back(world: World, bedrock: Bedrock) -> None:
    deltas = [{"reasoningContent": {"text": "hm"}}, {"reasoningContent": {"signature": "sig"}}]
    bedrock.answers.append(Answer(((None, deltas), called("get_weather", "{}")), "tool_use"))
    client = await client_of(world, bedrock)
    first: Any = await client.chat.completions.create(
        model="chat", messages=HELLO, tools=[WEATHER], reasoning_effort="low"
    )
    message = first.choices[0].message
    assert message.reasoning_content == "hm"
    answered = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21"}
    told: list[Any] = [*HELLO, message.model_dump(exclude_none=True), answered]
    await client.chat.completions.create(model="chat", messages=told, tools=[WEATHER], reasoning_effort="low")
    assert bedrock.asked[1].body["messages"][1]["content"][0] == {
        "reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}
    }
    assert bedrock.asked[1].body["additionalModelRequestFields"]["thinking"]["type"] == "enabled"


async def test_a_session_and_an_api_key_are_let_in_and_a_wrong_secret_is_not(world: World, bedrock: Bedrock) -> None:
    bedrock.session_token = "session"
    client = await client_of(world, bedrock, **KEYS, session_token="session")
    await client.chat.completions.create(model="chat", messages=HELLO)
    bedrock.api_keys.add("bedrock-key")
    client = await client_of(world, bedrock, api_key="bedrock-key")
    await client.chat.completions.create(model="chat", messages=HELLO)
    assert bedrock.asked[-1].headers["authorization"] == "Bearer bedrock-key"
    bedrock.session_token = None
    client = await client_of(world, bedrock, access_key_id=KEY_ID, secret_access_key="not it")
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO)
    assert caught.value.code == "upstream_credentials"
    assert "not it" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (
            Fault("ThrottlingException", status=429, headers={"retry-after": "0"}),
            openai.RateLimitError,
            "rate_limit_exceeded",
        ),
        (Fault("ServiceUnavailableException", status=503), openai.InternalServerError, "upstream_overloaded"),
        (Fault("ModelNotReadyException", status=429), openai.InternalServerError, "upstream_overloaded"),
        (Fault("AccessDeniedException", status=403), openai.InternalServerError, "upstream_credentials"),
        (Fault("ResourceNotFoundException", status=404), openai.InternalServerError, "upstream_model_not_found"),
        (Fault("ValidationException", "messages.0: odd"), openai.BadRequestError, None),
        (
            Fault("ValidationException", "Input is too long for requested model."),
            openai.BadRequestError,
            "context_length_exceeded",
        ),
    ],
)
async def test_errors(
    world: World, bedrock: Bedrock, fault: Fault, error: type[openai.APIStatusError], code: str | None
) -> None:
    bedrock.faults += [fault] * 8
    await world.serve({"only": at(bedrock)}, on_failure={"attempts": 1})
    client = await world.openai()
    with pytest.raises(error) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO)
    assert caught.value.code == code
    if error is openai.BadRequestError:
        assert fault.message in caught.value.message


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("throttlingException", "rate_limited"),
        ("modelStreamErrorException", "server_error"),
        pytest.param("", "stream_cut", id="cut"),
    ],
)
async def test_a_stream_that_breaks_says_so_in_band(world: World, bedrock: Bedrock, kind: str, reason: str) -> None:
    bedrock.answers.append(text("Good ", "day"))
    bedrock.faults.append(Fault(kind, after=2))
    await world.serve({"only": at(bedrock)})
    got = await world.chat("Hello", stream=True)
    assert got.content == "Good "
    assert not got.whole
    assert got.error["message"]
    assert (await world.receipt(got.id))["reason"] == reason


async def test_a_stream_that_breaks_before_content_is_tried_elsewhere(world: World, bedrock: Bedrock) -> None:
    bedrock.faults.append(Fault("serviceUnavailableException", after=1))
    bedrock.answers += [text("lost"), text("found")]
    await world.serve({"first": at(bedrock), "second": at(bedrock)})
    got = await world.chat("Hello", stream=True)
    assert got.content == "found"
    assert got.whole
    assert len(bedrock.asked) == 2


async def test_what_bedrock_cannot_express_is_a_400_that_names_the_field(world: World, bedrock: Bedrock) -> None:
    client = await client_of(world, bedrock)
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, n=2)
    assert caught.value.param == "n"
    got = await world.chat("Hello", seed=7)
    assert got.headers["x-headgate-warnings"] == "seed: Bedrock has no such parameter, left out"
    assert len(bedrock.asked) == 1


@pytest.mark.parametrize("transport", ["http2", "httpx"])
async def test_every_transport_sends_what_was_signed(world: World, bedrock: Bedrock, transport: str) -> None:
    bedrock.answers.append(text("Good ", "day"))
    client = await client_of(world, bedrock, **KEYS, transport=transport)
    stream = await client.chat.completions.create(model="chat", messages=HELLO, stream=True)
    said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == "Good day"


async def test_embeddings(world: World, bedrock: Bedrock) -> None:
    client = await client_of(world, bedrock, "cohere.embed-english-v3")
    got = await client.embeddings.create(model="chat", input=["a", "b"])  # as base64, unless one says otherwise
    assert [each.embedding for each in got.data] == [[0.0, 1.0], [1.0, 1.0]]
    assert bedrock.asked[0].path == "/model/cohere.embed-english-v3/invoke"
    client = await client_of(world, bedrock, "amazon.titan-embed-text-v2:0")
    titan = await client.embeddings.create(model="chat", input="one two three", dimensions=256, encoding_format="float")
    assert titan.data[0].embedding == [0.5] * 256
    assert titan.usage.prompt_tokens == 3
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="chat", input=["a", "b"])
    assert caught.value.param == "input"
    assert "one text a call" in caught.value.message
