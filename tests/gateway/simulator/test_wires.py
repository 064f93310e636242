"""The providers' own SDKs, on real sockets, take the simulator for the provider."""

import asyncio
import base64
import json
import struct
from collections.abc import AsyncIterator

import anthropic
import jsonschema
import openai
import pytest

from gateway.simulator import Fault, Simulator

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}
HELLO = [{"role": "user", "content": "Hello, who are you?"}]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as one:
        yield one


@pytest.fixture
async def vllm() -> AsyncIterator[Simulator]:
    async with Simulator(wire="vllm") as one:
        yield one


def sdk(simulator: Simulator) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=simulator.url + "/v1", api_key="sk-test", max_retries=0, timeout=30)


def claude(simulator: Simulator) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(base_url=simulator.url, api_key="sk-ant-test", max_retries=0, timeout=30)


async def test_a_stream_says_what_the_unary_answer_says(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        whole = await client.chat.completions.create(model="demo", messages=HELLO)
        stream = await client.chat.completions.create(
            model="demo", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert "simulator" in (whole.choices[0].message.content or "")
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert whole.usage.completion_tokens > 10
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].id != whole.id
    assert whole.system_fingerprint


async def test_the_answer_depends_on_model_prompt_and_seed_alone(simulator: Simulator) -> None:
    async def said(**asked: object) -> str:
        answer = await client.chat.completions.create(**{"model": "demo", "messages": HELLO, **asked})
        return answer.choices[0].message.content

    async with sdk(simulator) as client:
        assert await said() == await said()
        assert len({await said(), await said(seed=1), await said(model="other"), await said(messages=HELLO * 2)}) == 4


async def test_max_tokens_ends_with_length_and_stop_cuts(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        short = await client.chat.completions.create(model="demo", messages=HELLO, max_tokens=5)
        stopped = await client.chat.completions.create(model="demo", messages=HELLO, stop=["standing"])
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 5)
    assert stopped.choices[0].message.content == "I am a simulator"
    assert stopped.choices[0].finish_reason == "stop"


async def test_n_answers_differ_and_are_all_counted(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        three = await client.chat.completions.create(model="demo", messages=HELLO, n=3)
        stream = await client.chat.completions.create(model="demo", messages=HELLO, n=3, stream=True)
        parts = {0: "", 1: "", 2: ""}
        async for chunk in stream:
            parts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert [choice.message.content for choice in three.choices] == list(parts.values())
    assert len(set(parts.values())) == 3


@pytest.mark.parametrize(
    ("choice", "finish"),
    [({"type": "function", "function": {"name": "get_weather"}}, "stop"), ("required", "tool_calls")],
)
async def test_a_forced_tool_is_called_with_arguments_of_its_schema(
    simulator: Simulator, choice: object, finish: str
) -> None:
    asked = {"model": "demo", "messages": HELLO, "tools": [WEATHER], "tool_choice": choice}
    async with sdk(simulator) as client:
        whole = await client.chat.completions.create(**asked)
        arguments, names, ids = "", [], []
        async for chunk in await client.chat.completions.create(**asked, stream=True):
            for call in chunk.choices[0].delta.tool_calls or ():
                arguments += call.function.arguments or ""
                names += [call.function.name] if call.function.name else []
                ids += [call.id] if call.id else []
    call = whole.choices[0].message.tool_calls[0]
    jsonschema.validate(json.loads(arguments), WEATHER["function"]["parameters"])
    assert (call.function.name, call.function.arguments) == (names[0], arguments)
    assert ids == [call.id]
    assert whole.choices[0].finish_reason == finish


async def test_an_offered_tool_is_called_when_the_prompt_names_it(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        plain = await client.chat.completions.create(model="demo", messages=HELLO, tools=[WEATHER])
        asking = [{"role": "user", "content": "Please get weather for Berlin"}]
        called = await client.chat.completions.create(model="demo", messages=asking, tools=[WEATHER])
        message = called.choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        history = [*asking, message.model_dump(exclude_none=True), result]
        after = await client.chat.completions.create(model="demo", messages=history, tools=[WEATHER])
    assert plain.choices[0].message.tool_calls is None
    assert message.content is None
    assert after.choices[0].message.content


async def test_structured_output_satisfies_the_schema(simulator: Simulator) -> None:
    schema = {**WEATHER["function"]["parameters"], "additionalProperties": False}
    strict = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, "strict": True}}
    async with sdk(simulator) as client:
        bound = await client.chat.completions.create(model="demo", messages=HELLO, response_format=strict)
        free = await client.chat.completions.create(
            model="demo", messages=HELLO, response_format={"type": "json_object"}
        )
    jsonschema.validate(json.loads(bound.choices[0].message.content), schema)
    assert isinstance(json.loads(free.choices[0].message.content), dict)


async def test_embeddings_are_unit_vectors_in_both_encodings(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        plain = await client.embeddings.create(
            model="demo", input=["one", "two"], dimensions=8, encoding_format="float"
        )
        packed = await client.embeddings.with_raw_response.create(
            model="demo", input="one", dimensions=8, encoding_format="base64"
        )
    first, second = (item.embedding for item in plain.data)
    assert sum(x * x for x in first) == pytest.approx(1.0)
    assert first != second
    raw = json.loads(packed.content)["data"][0]["embedding"]
    assert struct.unpack("<8f", base64.b64decode(raw)) == pytest.approx(first, abs=1e-6)
    assert plain.usage.prompt_tokens == 2


async def test_legacy_completions_answer_unary_and_streamed(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        whole = await client.completions.create(model="demo", prompt="Once upon a time")
        stream = await client.completions.create(model="demo", prompt="Once upon a time", stream=True)
        said = "".join([chunk.choices[0].text async for chunk in stream])
    assert whole.choices[0].text == said
    assert whole.object == "text_completion"


async def test_logprobs_cover_the_text(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        whole = await client.chat.completions.create(model="demo", messages=HELLO, logprobs=True)
    tokens = whole.choices[0].logprobs.content
    assert "".join(token.token for token in tokens) == whole.choices[0].message.content


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ("400", openai.BadRequestError),
        ("401", openai.AuthenticationError),
        ("403", openai.PermissionDeniedError),
        ("404", openai.NotFoundError),
        ("422", openai.UnprocessableEntityError),
        ("429;retry-after=1", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("529", openai.InternalServerError),
        ("context", openai.BadRequestError),
        ("cut", openai.APIConnectionError),
        ("reset", openai.APIConnectionError),
    ],
)
async def test_the_sdk_raises_its_own_errors(simulator: Simulator, fault: str, raised: type[Exception]) -> None:
    async with sdk(simulator) as client:
        with pytest.raises(raised) as failure:
            await client.chat.completions.create(model=f"demo!{fault}", messages=HELLO)
    if fault == "context":
        assert failure.value.code == "context_length_exceeded"
    if fault.startswith("429"):
        assert failure.value.response.headers["retry-after"] == "1"


async def test_a_body_of_wrong_types_is_a_400_with_its_param(simulator: Simulator) -> None:
    async with sdk(simulator) as client:
        for wrong, param in (({"messages": "hi"}, "messages"), ({"max_tokens": -1}, "max_tokens"), ({"stop": 5}, None)):
            with pytest.raises(openai.BadRequestError) as failure:
                await client.chat.completions.create(**{"model": "demo", "messages": HELLO, **wrong})
            assert failure.value.param == param
        with pytest.raises(openai.NotFoundError):
            await client.files.list()


async def test_anthropic_answers_unary_and_streamed(simulator: Simulator) -> None:
    asked = {"model": "demo", "max_tokens": 500, "messages": HELLO}
    async with claude(simulator) as client:
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            events = [event.type async for event in stream]
            streamed = await stream.get_final_message()
    assert streamed.content[0].text == whole.content[0].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert (whole.stop_reason, streamed.stop_reason) == ("end_turn", "end_turn")
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    tokens = simulator.requests[0].json()
    assert tokens["max_tokens"] == 500


async def test_anthropic_thinks_and_calls_tools_when_asked(simulator: Simulator) -> None:
    tool = {"name": "get_weather", "input_schema": WEATHER["function"]["parameters"]}
    asked = {
        "model": "demo",
        "max_tokens": 4000,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [{"role": "user", "content": "get weather of Rome"}],
        "tools": [tool],
    }
    async with claude(simulator) as client:
        whole = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            streamed = await stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "tool_use"]
    assert whole.content[0].signature
    jsonschema.validate(whole.content[1].input, tool["input_schema"])
    assert [block.model_dump(exclude={"caller"}) for block in streamed.content] == [
        block.model_dump(exclude={"caller"}) for block in whole.content
    ]
    assert whole.stop_reason == "tool_use"


async def test_anthropic_stop_sequences_and_limits_are_named(simulator: Simulator) -> None:
    async with claude(simulator) as client:
        stopped = await client.messages.create(model="demo", max_tokens=99, messages=HELLO, stop_sequences=["standing"])
        short = await client.messages.create(model="demo", max_tokens=3, messages=HELLO)
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "standing")
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)


async def test_anthropic_caches_up_to_the_mark(simulator: Simulator) -> None:
    system = [{"type": "text", "text": "be brief " * 400, "cache_control": {"type": "ephemeral"}}]
    async with claude(simulator) as client:
        first = (await client.messages.create(model="demo", max_tokens=9, system=system, messages=HELLO)).usage
        again = (await client.messages.create(model="demo", max_tokens=9, system=system, messages=HELLO)).usage
    assert first.cache_creation_input_tokens == again.cache_read_input_tokens == 900
    assert first.cache_read_input_tokens == again.cache_creation_input_tokens == 0
    assert first.input_tokens == again.input_tokens > 0


async def test_anthropic_errors_are_its_own(simulator: Simulator) -> None:
    simulator.faults["demo"] = [Fault("529"), Fault("429", retry_after="7"), Fault("quota")]
    async with claude(simulator) as client:
        with pytest.raises(anthropic.APIStatusError) as overloaded:
            await client.messages.create(model="demo", max_tokens=9, messages=HELLO)
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(model="demo", max_tokens=9, messages=HELLO)
    assert overloaded.value.status_code == 529
    assert overloaded.value.body["error"]["type"] == "overloaded_error"


async def test_an_anthropic_stream_fails_in_band(simulator: Simulator) -> None:
    asked = {"model": "demo!error", "max_tokens": 99, "messages": HELLO}
    async with claude(simulator) as client, client.messages.stream(**asked) as stream:
        with pytest.raises(anthropic.APIStatusError):
            await stream.get_final_message()


async def test_both_list_their_models(simulator: Simulator, vllm: Simulator) -> None:
    async with sdk(simulator) as client, claude(simulator) as other, sdk(vllm) as pool:
        assert [model.id async for model in client.models.list()] == ["demo"]
        assert [model.id async for model in other.models.list()] == ["demo"]
        assert [model.max_model_len async for model in pool.models.list()] == [32768]


async def test_vllm_reports_truly_cached_tokens(vllm: Simulator) -> None:
    long = [{"role": "system", "content": "be brief " * 100}, *HELLO]
    other = [{"role": "system", "content": "be brief " * 50 + "or not " * 90}, *HELLO]
    async with sdk(vllm) as client:
        usages = [
            (await client.chat.completions.create(model="demo", messages=messages)).usage
            for messages in (long, long, other)
        ]
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    assert cached[0] == 0
    assert cached[1] % 16 == 0
    assert usages[1].prompt_tokens > cached[1] >= usages[1].prompt_tokens - 32
    assert 96 <= cached[2] <= 112


async def test_vllm_makes_as_many_tokens_as_it_is_told(vllm: Simulator) -> None:
    async with sdk(vllm) as client:
        told = await client.chat.completions.create(
            model="demo", messages=HELLO, max_tokens=321, extra_body={"ignore_eos": True}
        )
    assert told.usage.completion_tokens == 321


async def test_a_full_vllm_queue_is_a_503(vllm: Simulator) -> None:
    vllm.max_running, vllm.max_queued, vllm.ttft_s = 1, 2, 0.1
    async with sdk(vllm) as client:
        tasks = [asyncio.create_task(client.chat.completions.create(model="demo", messages=HELLO)) for _ in range(3)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [one for one in done if isinstance(one, openai.InternalServerError)]
    assert len(refused) == 1
    assert refused[0].status_code == 503
    assert refused[0].body["type"] == "ServiceUnavailableError"
    assert vllm.in_flight == 0


async def test_vllm_shows_its_metrics(vllm: Simulator) -> None:
    async with sdk(vllm) as client:
        answer = await client.chat.completions.create(model="demo", messages=HELLO)
        page = await client.with_options(base_url=vllm.url).get("/metrics", cast_to=str)
        version = await client.with_options(base_url=vllm.url).get("/version", cast_to=object)
    assert (
        f'vllm:generation_tokens_total{{model_name="demo",engine="0"}} {float(answer.usage.completion_tokens)}' in page
    )
    assert 'finished_reason="stop"} 1.0' in page
    assert "vllm:num_requests_running" in page
    assert 'vllm:time_to_first_token_seconds_count{model_name="demo",engine="0"} 1.0' in page
    assert version == {"version": "0.33.0"}


async def test_vllm_aborts_without_content(vllm: Simulator) -> None:
    async with sdk(vllm) as client:
        aborted = await client.chat.completions.create(model="demo!abort;after=0", messages=HELLO)
    assert (aborted.choices[0].finish_reason, aborted.choices[0].message.content) == ("abort", None)
