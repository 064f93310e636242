"""OpenAI's SDK, the gateway, and Gemini's wire behind it: what callers see of a provider that speaks otherwise."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam

from gateway.simulator import Fault, Simulator
from tests.adapters.anthropic_wire import PNG
from tests.stories.house import World, at
from tests.stories.test_openai_sdk import HELLO, WEATHER

SIGNING = "gemini-3-flash"  # a model that asks for its signatures
SENTINEL = "skip_thought_signature_validator"


@pytest.fixture
async def provider(world: World) -> AsyncIterator[Simulator]:
    return await world.simulator()


async def client_of(world: World, simulator: Simulator, kind: str = "gemini", **settings: Any) -> AsyncOpenAI:
    """Serves one deployment of a kind, and returns a client."""
    await world.serve({"only": at(simulator, kind=kind, **settings)})
    return await world.openai()


def sent(provider: Simulator, number: int = -1) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(provider.requests[number].body)
    return body


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_chat_is_answered_and_booked(world: World, provider: Simulator, stream: bool) -> None:
    client = await client_of(world, provider)
    asked: dict[str, Any] = {"model": "chat", "messages": HELLO, "max_tokens": 200, "reasoning_effort": "low"}
    if stream:
        chunks = [
            each
            async for each in await client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        ]
        said = "".join(each.choices[0].delta.content or "" for each in chunks if each.choices)
        finishes = [each.choices[0].finish_reason for each in chunks if each.choices]
        usage = chunks[-1].usage
        assert finishes[-1] == "stop"
        id = chunks[0]._request_id if hasattr(chunks[0], "_request_id") else None
    else:
        got = await client.chat.completions.create(**asked)
        said, usage, id = got.choices[0].message.content or "", got.usage, got._request_id
        assert got.choices[0].message.model_extra
        assert got.choices[0].message.model_extra["reasoning_content"]
    assert said.startswith("I am a simulator standing in for demo")
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert provider.requests[-1].path == f"/v1/models/demo:{method}"
    assert provider.requests[-1].header(b"x-goog-api-key") == b"sk-upstream-secret"
    if id is not None:
        receipt = await world.receipt(id)
        assert sum(receipt["tokens"].values()) == usage.total_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", ["demo", SIGNING])
async def test_a_tool_is_called_and_its_result_answered(
    world: World, provider: Simulator, stream: bool, model: str
) -> None:
    client = await client_of(world, provider, model=model)
    history: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Get weather, please: get_weather"}]
    if stream:
        async with client.chat.completions.stream(model="chat", messages=history, tools=[WEATHER]) as events:
            message = (await events.get_final_completion()).choices[0].message
    else:
        got = await client.chat.completions.create(model="chat", messages=history, tools=[WEATHER])
        assert got.choices[0].finish_reason == "tool_calls"
        message = got.choices[0].message
    assert message.tool_calls
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments).keys() == {"city", "unit"}
    # A client that keeps an id, a name and arguments, and knows of nothing else.
    kept = {
        "id": call.id,
        "type": "function",
        "function": {"name": "get_weather", "arguments": call.function.arguments},
    }
    history += [
        {"role": "assistant", "tool_calls": [kept]},  # type: ignore[list-item]
        {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 21}'},
    ]
    answer = await client.chat.completions.create(model="chat", messages=history, tools=[WEATHER])
    assert answer.choices[0].message.content
    _, called, responded = sent(provider)["contents"]
    assert responded["parts"][0]["functionResponse"]["response"] == {"degrees": 21}
    assert responded["parts"][0]["functionResponse"]["id"] == called["parts"][0]["functionCall"]["id"]
    signature = called["parts"][0].get("thoughtSignature")
    if model != SIGNING:  # nobody knows what stands behind the name: it is taken for a current model
        assert signature == SENTINEL
    elif find_spec("adapters._signatures") is not None:
        assert signature not in (None, SENTINEL)  # it came back inside the id
    else:
        assert signature == SENTINEL


async def test_an_answer_has_the_form_that_was_asked_for(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    got = await client.chat.completions.create(model="chat", messages=HELLO, response_format=form)
    assert isinstance(json.loads(got.choices[0].message.content or "")["n"], int)
    assert sent(provider)["generationConfig"]["responseJsonSchema"] == schema


async def test_several_answers_are_several_choices(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    got = await client.chat.completions.create(model="chat", messages=HELLO, n=2)
    assert [choice.index for choice in got.choices] == [0, 1]
    stream = await client.chat.completions.create(model="chat", messages=HELLO, n=2, stream=True)
    ends = {each.choices[0].index: each.choices[0].finish_reason async for each in stream if each.choices}
    assert ends == {0: "stop", 1: "stop"}


async def test_an_image_goes_along(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    url = f"data:image/png;base64,{PNG}"
    messages: Any = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}],
        }
    ]
    await client.chat.completions.create(model="chat", messages=messages)
    assert sent(provider)["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": PNG}}


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        (Fault("context"), openai.BadRequestError, "context_length_exceeded"),
        (Fault("400"), openai.BadRequestError, None),
        (Fault("401"), openai.InternalServerError, "upstream_credentials"),
        (Fault("quota"), openai.InternalServerError, "upstream_credentials"),
        (Fault("429"), openai.RateLimitError, "rate_limit_exceeded"),
        (Fault("503"), openai.InternalServerError, "upstream_overloaded"),
        (Fault("404"), openai.InternalServerError, "upstream_model_not_found"),
        (Fault("error", after=0), openai.InternalServerError, "upstream_overloaded"),
        (Fault("empty"), openai.InternalServerError, "upstream_stream_cut"),
        (Fault("torn", after=0), openai.InternalServerError, "upstream_stream_cut"),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_a_failure_is_the_callers_or_ours(
    world: World, provider: Simulator, fault: Fault, error: type[openai.APIError], code: str | None
) -> None:
    await world.serve({"only": at(provider, kind="gemini")}, on_failure={"attempts": 1})
    client = await world.openai()
    provider.script.extend([fault] * 2)
    in_stream = fault.kind in ("error", "empty", "torn")
    with pytest.raises(openai.APIError) as caught:
        await client.chat.completions.create(model="chat", messages=HELLO, stream=in_stream)
    assert caught.value.code == code
    assert isinstance(caught.value, error)


async def test_a_blocked_answer_is_filtered_and_an_abort_is_none(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    provider.script.append(Fault("filter", after=2))
    got = await client.chat.completions.create(model="chat", messages=HELLO)
    assert got.choices[0].finish_reason == "content_filter"
    assert (got.choices[0].model_extra or {})["native_finish_reason"] == "SAFETY"


async def test_vectors_come_in_floats_and_packed(world: World, provider: Simulator) -> None:
    client = await client_of(world, provider)
    config: Any = {"model": "only", "input": ["a", "b"], "dimensions": 4}
    floats = await client.embeddings.create(**config, encoding_format="float")
    packed = await client.embeddings.create(**config)
    assert [len(each.embedding) for each in floats.data] == [4, 4]
    assert packed.data[1].embedding == pytest.approx(floats.data[1].embedding)
    assert provider.requests[-1].path == "/v1/models/demo:batchEmbedContents"


# -- vertex -------------------------------------------------------------------------------------------------------

VERTEX = {"project": "p", "region": "eu", "access_token": "ya29.token", "api_keys": []}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("model", "path"),
    [
        (SIGNING, f"/v1/projects/p/locations/eu/publishers/google/models/{SIGNING}:"),
        ("claude-sonnet-4-5@1", "/v1/projects/p/locations/eu/publishers/anthropic/models/claude-sonnet-4-5@1:"),
    ],
)
async def test_vertex_serves_both_publishers_to_a_signed_call(
    world: World, provider: Simulator, stream: bool, model: str, path: str
) -> None:
    client = await client_of(world, provider, "vertex", model=model, provider=VERTEX)
    got: Any = await client.chat.completions.create(model="chat", messages=HELLO, max_tokens=200, stream=stream)
    if stream:
        said = "".join([each.choices[0].delta.content or "" async for each in got if each.choices])
    else:
        said = got.choices[0].message.content
    assert said.startswith(f"I am a simulator standing in for {model}")
    request = provider.requests[-1]
    assert request.path.startswith(path)
    assert request.header(b"authorization") == b"Bearer ya29.token"
    assert request.header(b"x-goog-api-key") is None
