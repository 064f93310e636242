"""Google's own SDK, on real sockets, takes the simulator for Gemini."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from gateway.simulator import Fault, Simulator

WEATHER = types.FunctionDeclaration(
    name="get_weather",
    parameters_json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
)
SIGNING = "gemini-3-flash"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as one:
        yield one


@pytest.fixture
async def models(simulator: Simulator) -> AsyncIterator[Any]:
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=simulator.url))
    yield client.aio.models
    await client.aio.aclose()


async def test_a_stream_says_what_the_unary_answer_says(models: Any) -> None:
    config = types.GenerateContentConfig(thinking_config=types.ThinkingConfig(include_thoughts=True), candidate_count=2)
    whole = await models.generate_content(model="demo", contents="Hello", config=config)
    said: dict[tuple[int, bool], str] = {}
    async for chunk in await models.generate_content_stream(model="demo", contents="Hello", config=config):
        for candidate in chunk.candidates:
            for part in candidate.content.parts:
                place = (candidate.index or 0, bool(part.thought))
                said[place] = said.get(place, "") + (part.text or "")
        usage = chunk.usage_metadata
    for candidate in whole.candidates:
        thought, answer = candidate.content.parts
        assert said[candidate.index or 0, True] == thought.text
        assert said[candidate.index or 0, False] == answer.text
        assert candidate.finish_reason is types.FinishReason.STOP
    assert usage == whole.usage_metadata
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


async def test_a_signed_call_must_come_back_signed_and_answered(models: Any) -> None:
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[WEATHER])])
    asked = types.Content(role="user", parts=[types.Part(text="get_weather")])
    got = await models.generate_content(model=SIGNING, contents=[asked], config=config)
    said = got.candidates[0].content
    (call,) = got.function_calls
    assert set(call.args) == {"city", "days"}
    response = types.Part(
        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"degrees": 20})
    )
    result = types.Content(role="user", parts=[response])
    again = await models.generate_content(model=SIGNING, contents=[asked, said, result], config=config)
    assert again.text
    unsigned = types.Content(role="model", parts=[types.Part(function_call=call)])
    skipped = types.Content(
        role="model", parts=[types.Part(function_call=call, thought_signature=b"\xb2\x48\xa9\xfe\xda\x2d\xa2\xe8")]
    )
    for history, words in (
        ([asked, unsigned, result], "thought_signature"),
        ([asked, skipped, result], "signature"),
        ([asked, said], "function response"),
        ([asked, said, types.Content(role="user", parts=[response, response])], "function response parts"),
    ):
        with pytest.raises(errors.ClientError, match=words):
            await models.generate_content(model=SIGNING, contents=history, config=config)


async def test_an_answer_satisfies_a_schema_and_ends_at_its_limit(models: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=schema)
    got = await models.generate_content(model="demo", contents="Hello", config=config)
    assert isinstance(got.parsed["n"], int)
    short = types.GenerateContentConfig(max_output_tokens=3)
    got = await models.generate_content(model="demo", contents="Hello", config=short)
    assert got.candidates[0].finish_reason is types.FinishReason.MAX_TOKENS
    assert got.usage_metadata.candidates_token_count == 3


async def test_vectors_are_the_same_for_the_same_text(models: Any) -> None:
    got = await models.embed_content(
        model="demo", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=3)
    )
    again = await models.embed_content(
        model="demo", contents="a", config=types.EmbedContentConfig(output_dimensionality=3)
    )
    assert [len(each.values) for each in got.embeddings] == [3, 3]
    assert again.embeddings[0].values == got.embeddings[0].values


@pytest.mark.parametrize(
    ("named", "status", "word"),
    [
        ("429", 429, "RESOURCE_EXHAUSTED"),
        ("quota", 429, "RESOURCE_EXHAUSTED"),
        ("503", 503, "UNAVAILABLE"),
        ("context", 400, "INVALID_ARGUMENT"),
        ("404", 404, "NOT_FOUND"),
    ],
)
async def test_a_failure_that_the_models_name_asks_for_is_googles(
    models: Any, simulator: Simulator, named: str, status: int, word: str
) -> None:
    with pytest.raises(errors.APIError) as caught:
        await models.generate_content(model=f"demo!{named}", contents="Hello")
    assert (caught.value.code, caught.value.status) == (status, word)
    simulator.script.append(Fault.parse(named))
    with pytest.raises(errors.APIError):
        await models.embed_content(model="demo", contents="a")
