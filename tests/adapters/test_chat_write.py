"""Events become OpenAI's chunks or one completion, valid to its schema and readable to its SDK."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from adapters.dialects._chat_write import writer
from adapters.dialects.chat import ChatDialect
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Logprobs,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.money import Usage
from gateway.core.types import Call
from tests.adapters.anthropic_wire import chunks, validator

EVENTS: tuple[Event, ...] = (
    Begin("id-1", "model-1", 1700000000),
    ThinkingDelta("th"),
    ThinkingDelta("ink"),
    ThinkingEnd("sig", provider="p"),
    TextDelta("Hel"),
    TextDelta('lo "\n\u2028é'),
    OpaqueBlock("p", {"type": "server_tool_use", "id": "s"}),
    ThinkingEnd(redacted="enc", provider="p"),
    OpaqueBlock("p", {"type": "result"}),
    Citation({"url": "https://x.org", "title": "X", "start_index": 0, "end_index": 3}),
    Citation({"url": "https://y.org", "start_index": 3, "end_index": 4}),
    Citation({"type": "page_location", "start_page_number": 1}),
    ToolCallBegin(0, "t0", "f"),
    ToolCallDelta(0, '{"a":'),
    ToolCallDelta(0, " 1}"),
    ToolCallBegin(1, "t1", "g"),
    ToolCallDelta(1, "{}"),
    Finished("tool_calls", "tool_use"),
    Metered(
        Usage(fresh_input=3, cached_input=4, cache_write_1h=5, output_text=6, reasoning=7, service_tier="standard")
    ),
)


def written(events: Sequence[Event], stream: bool = False, usage: bool = True) -> bytes:
    call = Call(id="call-1", endpoint="chat", dialect="chat", body=b"{}", stream=stream, include_usage=usage)
    pen = writer(call, "public-model")
    return b"".join([*(pen.write(event) for event in events), pen.end()])


def completion(*events: Event) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(written(events))
    return body


def message(*events: Event) -> dict[str, Any]:
    said: dict[str, Any] = completion(*events)["choices"][0]["message"]
    return said


def test_a_completion_holds_all_that_was_said() -> None:
    body = completion(*EVENTS)
    assert (body["id"], body["model"], body["created"], body["object"]) == (
        "id-1",
        "model-1",
        1700000000,
        "chat.completion",
    )
    assert body["service_tier"] == "default"
    choice = body["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"], choice["logprobs"]) == (
        "tool_calls",
        "tool_use",
        None,
    )
    assert choice["message"] == {
        "role": "assistant",
        "content": 'Hello "\n\u2028é',
        "refusal": None,
        "reasoning_content": "think",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "think", "signature": "sig", "provider": "p"},
            {"type": "redacted_thinking", "data": "enc", "provider": "p", "offset": 10},
        ],
        "provider_blocks": [
            {"provider": "p", "offset": 10, "thinking_before": 1, "block": {"type": "server_tool_use", "id": "s"}},
            {"provider": "p", "offset": 10, "thinking_before": 2, "block": {"type": "result"}},
        ],
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 3, "url": "https://x.org", "title": "X"},
            },
            {
                "type": "url_citation",
                "url_citation": {"start_index": 3, "end_index": 4, "url": "https://y.org", "title": "https://y.org"},
            },
        ],
        "citations": [{"type": "page_location", "start_page_number": 1}],
        "tool_calls": [
            {"id": "t0", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
            {"id": "t1", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_usage_counts_as_openai_does_and_makes_no_number_up() -> None:
    assert completion(*EVENTS)["usage"] == {
        "prompt_tokens": 12,
        "completion_tokens": 13,
        "total_tokens": 25,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    plain = completion(Begin("i", "m"), TextDelta("x"), Finished("stop"), Metered(Usage(fresh_input=3, output_text=6)))
    assert plain["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert "usage" not in completion(Begin("i", "m"), TextDelta("x"), Finished("stop"))


def test_content_is_null_only_beside_tools_or_a_refusal() -> None:
    assert message(Begin("i", "m"), Finished("stop"))["content"] == ""
    assert message(Begin("i", "m"), ToolCallBegin(0, "t", "f"), Finished("tool_calls"))["content"] is None
    refusing = message(Begin("i", "m"), RefusalDelta("no"), RefusalDelta("."), Finished("content_filter"))
    assert (refusing["content"], refusing["refusal"]) == (None, "no.")


def test_reasoning_that_nobody_signed_is_no_block() -> None:
    said = message(Begin("i", "m"), ThinkingDelta("x"), ThinkingEnd(), TextDelta("a"), Finished("stop"))
    assert said["reasoning_content"] == "x"
    assert "thinking_blocks" not in said


def test_what_the_provider_did_not_name_is_the_calls_own() -> None:
    body = completion(Begin("", ""), TextDelta("x"), Finished("stop"))
    assert (body["id"], body["model"]) == ("call-1", "public-model")
    (first, *_) = chunks(written([TextDelta("x"), Finished("stop")], stream=True))
    assert (first["id"], first["model"]) == ("call-1", "public-model")


def test_a_stop_sequence_is_told_beside_the_finish() -> None:
    events = [Begin("i", "m"), TextDelta("x"), Finished("stop", "stop_sequence", "END")]
    assert completion(*events)["choices"][0]["stop_sequence"] == "END"
    assert chunks(written(events, stream=True))[-1]["choices"][0]["stop_sequence"] == "END"


def test_a_stream_is_what_openais_own_sdk_puts_together_to_the_same_completion() -> None:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks(written(EVENTS, stream=True)):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True))
    together = state.get_final_completion().model_dump(exclude_unset=True)
    expected = completion(*EVENTS)
    said = together["choices"][0]["message"]
    for name in ("content", "refusal", "reasoning_content"):
        assert said[name] == expected["choices"][0]["message"][name]
    for name in ("thinking_blocks", "provider_blocks", "citations", "annotations"):
        bare = [{key: value for key, value in element.items() if key != "index"} for element in said[name]]
        assert bare == expected["choices"][0]["message"][name]
    assert [call["function"]["arguments"] for call in said["tool_calls"]] == ['{"a": 1}', "{}"]
    assert together["choices"][0]["finish_reason"] == "tool_calls"
    assert together["usage"]["total_tokens"] == 25


def test_each_choice_begins_with_its_own_role() -> None:
    events = [
        Begin("i", "m"),
        TextDelta("a"),
        TextDelta("b", 1),
        TextDelta("c"),
        Finished("stop"),
        Finished("length", choice=1),
    ]
    opened = [
        (choice["index"], choice["delta"].get("role"), choice["delta"].get("content"), choice["finish_reason"])
        for chunk in chunks(written(events, stream=True))
        for choice in chunk["choices"]
    ]
    assert opened == [
        (0, "assistant", "", None),
        (0, None, "a", None),
        (1, "assistant", "", None),
        (1, None, "b", None),
        (0, None, "c", None),
        (0, None, None, "stop"),
        (1, None, None, "length"),
    ]
    whole = completion(*events)["choices"]
    assert [(choice["index"], choice["message"]["content"]) for choice in whole] == [(0, "ac"), (1, "b")]


RICH: tuple[Event, ...] = (
    Begin("id-1", "model-1", 1700000000),
    TextDelta("Hi"),
    Logprobs(({"token": "H", "logprob": -0.1, "top_logprobs": [{"token": "h", "logprob": -2.0}]},)),
    Logprobs(({"token": "i", "logprob": -0.2, "bytes": [105], "top_logprobs": []},)),
    ImagePart("image/png", "AAAA"),
    ImagePart("image/webp", "BBBB"),
    Finished("stop"),
)
TOKENS = [
    {"token": "H", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "h", "logprob": -2.0, "bytes": None}]},
    {"token": "i", "logprob": -0.2, "bytes": [105], "top_logprobs": []},
]


def test_log_probabilities_stand_in_the_choice_as_the_schema_has_them() -> None:
    assert completion(*RICH)["choices"][0]["logprobs"] == {"content": TOKENS, "refusal": None}
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks(written(RICH, stream=True, usage=False))]
    assert [token for part in streamed if part is not None for token in part["content"]] == TOKENS
    whole, part = validator("CreateChatCompletionResponse"), validator("CreateChatCompletionStreamResponse")
    if whole is None or part is None:
        pytest.skip("no ../shared/schemas here")
    whole.validate(completion(*RICH))
    for chunk in chunks(written(RICH, stream=True, usage=False)):
        part.validate(chunk)


def test_images_stand_beside_the_text_as_openrouter_answers_with_them() -> None:
    urls = ["data:image/png;base64,AAAA", "data:image/webp;base64,BBBB"]
    assert message(*RICH)["images"] == [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in chunks(written(RICH, stream=True)):
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True))
    said = state.get_final_completion().model_dump(exclude_unset=True)["choices"][0]["message"]
    assert [image["image_url"]["url"] for image in said["images"]] == urls


PLAIN: tuple[Event, ...] = (
    Begin("i", "m"),
    ToolCallBegin(0, "t0", "f"),
    ToolCallDelta(0, "{}"),
    ToolCallBegin(1, "t1", "patch", custom=True),
    ToolCallDelta(1, "*** Be"),
    ToolCallDelta(1, "gin"),
    Finished("tool_calls"),
)
CUSTOM = {"id": "t1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}


def test_a_call_of_plain_text_is_a_custom_tool_call() -> None:
    assert message(*PLAIN)["tool_calls"] == [
        {"id": "t0", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        CUSTOM,
    ]
    whole = validator("CreateChatCompletionResponse")
    if whole is None:
        pytest.skip("no ../shared/schemas here")
    whole.validate(completion(*PLAIN))


def test_a_streamed_call_of_plain_text_is_a_custom_tool_call_in_pieces() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(written(PLAIN, stream=True, usage=False))]
    assert [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta][2:] == [
        {"index": 1, "id": "t1", "type": "custom", "custom": {"name": "patch", "input": ""}},
        {"index": 1, "custom": {"input": "*** Be"}},
        {"index": 1, "custom": {"input": "gin"}},
    ]


def test_a_kept_stream_with_all_of_that_is_replayed_as_the_whole() -> None:
    call = Call(id="call-1", endpoint="chat", dialect="chat", body=b"{}")
    for events in (RICH, PLAIN):
        replayed = json.loads(ChatDialect().replay(written(events, stream=True, usage=False), True, call))
        assert replayed["choices"] == completion(*events)["choices"]


@pytest.mark.parametrize("usage", [True, False])
def test_what_is_written_is_valid_to_openais_schema_and_sdk(usage: bool) -> None:
    whole, part = validator("CreateChatCompletionResponse"), validator("CreateChatCompletionStreamResponse")
    if whole is None or part is None:
        pytest.skip("no ../shared/schemas here")
    body = completion(*EVENTS)
    whole.validate(body)
    ChatCompletion.model_validate(body, strict=True)
    for chunk in chunks(written(EVENTS, stream=True, usage=usage)):
        part.validate(chunk)
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert ("usage" in chunk) == usage
