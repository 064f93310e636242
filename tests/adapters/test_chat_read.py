"""A chat request is read into blocks, or refused with the path of the field that cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters._signatures import wrap
from adapters.dialects._chat_read import conversation
from adapters.dialects.chat import ChatDialect
from gateway.core.blocks import (
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gateway.core.errors import BadRequest
from gateway.core.types import Call


def read(*messages: Any, **fields: Any) -> Conversation:
    asked = list(messages) or [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": "m", "messages": asked, **fields}).encode()
    return conversation(Call(id="c", endpoint="chat", dialect="chat", body=body))


def refused(*messages: Any, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        read(*messages, **fields)
    return caught.value.param


def test_each_message_is_one_turn() -> None:
    turns = read(
        {"role": "developer", "content": "d"},
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": "u", "name": "jo"},
        {"role": "assistant", "content": "a"},
    ).messages
    assert turns == (
        Message("system", (Text("d"),)),
        Message("system", (Text("s"),)),
        Message("user", (Text("u"),), "jo"),
        Message("assistant", (Text("a"),)),
    )


def test_the_parts_of_a_user_are_blocks() -> None:
    parts = [
        {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/PNG;charset=x;base64,AAAA", "detail": "low"}},
        {"type": "image_url", "image_url": "https://x.org/a.png"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    assert read({"role": "user", "content": parts}).messages[0].content == (
        Text("t", {"type": "ephemeral"}),
        Image(media_type="image/png", data="AAAA", detail="low"),
        Image(url="https://x.org/a.png"),
        Audio("AAAA", "wav"),
        Document(data="AAAA", media_type="application/pdf", name="a.pdf"),
        Document(file_id="file-1"),
    )


def test_a_marker_on_a_message_is_on_its_last_block() -> None:
    marker = {"type": "ephemeral"}
    message = {
        "role": "user",
        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "cache_control": marker,
    }
    assert read(message).messages[0].content == (Text("a"), Text("b", marker))


def test_an_assistants_turn_has_reasoning_text_refusal_and_calls_in_that_order() -> None:
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "r1"}],
        "refusal": "r2",
        "thinking_blocks": [
            {"type": "thinking", "thinking": "t", "signature": "s", "provider": "anthropic", "index": 0},
            {"type": "redacted_thinking", "data": "x"},
        ],
        "reasoning_content": "t",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    assert read(message).messages[0].content == (
        Thinking("t", "s", "anthropic"),
        RedactedThinking("x"),
        Text("a"),
        Refusal("r1"),
        Refusal("r2"),
        ToolCall("1", "f", "{}"),
    )


def test_reasoning_without_blocks_is_reasoning_without_a_signature() -> None:
    for name in ("reasoning_content", "reasoning"):
        assert read({"role": "assistant", "content": "a", name: "t"}).messages[0].content == (Thinking("t"), Text("a"))


def test_blocks_with_a_place_go_back_between_the_text() -> None:
    message = {
        "role": "assistant",
        "content": "abcd",
        "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s", "offset": 2}],
        "provider_blocks": [
            {"provider": "p", "offset": 1, "thinking_before": 0, "block": {"n": 1}},
            {"provider": "p", "offset": 2, "thinking_before": 1, "block": {"n": 2}},
        ],
    }
    assert read(message).messages[0].content == (
        Text("a"),
        Opaque("p", {"n": 1}),
        Text("b"),
        Thinking("t", "s"),
        Opaque("p", {"n": 2}),
        Text("cd"),
    )


def test_a_tools_answer_is_a_result_in_a_users_turn() -> None:
    message = {
        "role": "tool",
        "tool_call_id": "1",
        "content": [{"type": "text", "text": "x"}],
        "is_error": True,
        "name": "f",
    }
    assert read(message).messages == (Message("user", (ToolResult("1", (Text("x"),), True),)),)


def test_a_functions_answer_goes_to_the_call_before_it() -> None:
    turns = read(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "x"},
    ).messages
    called, answered = turns[0].content[0], turns[1].content[0]
    assert isinstance(called, ToolCall)
    assert isinstance(answered, ToolResult)
    assert called.id == answered.call_id
    assert refused({"role": "function", "name": "f", "content": "x"}) == "messages.0.name"


def test_tools_and_functions_are_tools_and_a_providers_own_passes_as_it_came() -> None:
    own = {"type": "web_search_20250305", "name": "web_search"}
    read_tools = read(
        tools=[
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
                "cache_control": {"type": "ephemeral"},
            },
            own,
        ],
        functions=[{"name": "g"}],
    ).tools
    assert read_tools == (
        Tool("f", "d", {"type": "object"}, True, {"type": "ephemeral"}),
        Tool("web_search", native=own),
        Tool("g"),
    )


GRAMMAR = {"syntax": "lark", "definition": "start: WORD"}


def test_a_custom_tool_takes_plain_text_and_its_grammar_stands_as_in_responses() -> None:
    given = read(
        tools=[
            {"type": "custom", "custom": {"name": "patch", "description": "d"}},
            {"type": "custom", "custom": {"name": "word", "format": {"type": "grammar", "grammar": GRAMMAR}}},
            {"type": "custom", "custom": {"name": "text", "format": {"type": "text"}}},
        ],
        tool_choice={"type": "custom", "custom": {"name": "word"}},
    )
    assert given.tools == (
        Tool("patch", "d", custom=True),
        Tool("word", schema={"type": "grammar", **GRAMMAR}, custom=True),
        Tool("text", schema={"type": "text"}, custom=True),
    )
    assert given.tool_choice == ToolChoice("tool", "word")


def test_a_choice_of_allowed_tools_leaves_custom_ones_too() -> None:
    tools = [{"type": "custom", "custom": {"name": name}} for name in ("a", "b")]
    allowed = {"mode": "required", "tools": [tools[1]]}
    given = read(tools=tools, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool.name for tool in given.tools] == ["b"]


def test_a_call_of_plain_text_goes_back_as_one_with_the_signature_in_its_id() -> None:
    call = {"id": wrap("1", "c2ln", "gemini"), "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert read({"role": "assistant", "content": None, "tool_calls": [call]}).messages[0].content == (
        ToolCall("1", "patch", "*** Begin", "c2ln", provider="gemini", custom=True),
    )


def test_reasoning_details_are_openrouters_reasoning_whole_or_in_the_pieces_of_a_stream() -> None:
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "x", "id": "rs_1", "format": "openai-responses-v1", "index": 1}
    whole = [{**text, "text": "hm, ok", "signature": "s"}, sealed]
    pieces = [{**text, "text": "hm,"}, {**text, "text": " ok"}, {**text, "signature": "s"}, sealed]
    for details in (whole, pieces):
        message = {"role": "assistant", "content": "a", "reasoning": "hm, ok", "reasoning_details": details}
        thinking, redacted, said = read(message).messages[0].content
        assert isinstance(thinking, Thinking)
        assert (thinking.text, thinking.provider) == ("hm, ok", "openrouter")
        assert json.loads(thinking.signature or "") == {**text, "signature": "s"}
        assert isinstance(redacted, RedactedThinking)
        assert (json.loads(redacted.data), redacted.provider) == (sealed, "openrouter")
        assert said == Text("a")


def test_two_signed_elements_without_an_index_stay_two() -> None:
    details = [{"type": "reasoning.text", "text": text, "signature": text} for text in ("a", "b")]
    blocks = read({"role": "assistant", "content": None, "reasoning_details": details}).messages[0].content
    assert [block.text for block in blocks if isinstance(block, Thinking)] == ["a", "b"]


def test_images_that_a_model_made_stand_after_its_text() -> None:
    images = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}]
    message = {"role": "assistant", "content": "here", "images": images}
    assert read(message).messages[0].content == (Text("here"), Image(media_type="image/png", data="AAAA"))
    assert refused({"role": "assistant", "content": "", "images": [{}]}) == "messages.0.images.0.image_url"


@pytest.mark.parametrize(("images", "has_media"), [([{"image_url": {"url": "x"}}], True), ([], False), (None, False)])
def test_images_that_a_model_made_are_media(images: Any, has_media: bool) -> None:
    body = json.dumps({"messages": [{"role": "assistant", "content": "", "images": images}]}).encode()
    assert ChatDialect().parse("c", body, ()).has_media is has_media


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "required"}, ToolChoice("required")),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, ToolChoice("tool", "f")),
        ({"function_call": "none"}, ToolChoice("none")),
        ({"function_call": {"name": "f"}}, ToolChoice("tool", "f")),
        ({}, None),
    ],
)
def test_the_choice_of_a_tool_in_every_form(fields: dict[str, Any], choice: ToolChoice | None) -> None:
    assert read(**fields).tool_choice == choice


def test_every_parameter_has_its_place_and_the_rest_is_extra() -> None:
    given = read(
        max_tokens=5,
        max_completion_tokens=7,
        temperature=1,
        top_p=0.5,
        top_k=3,
        n=2,
        stop="x",
        seed=1,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"1": 1},
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        reasoning_effort={"effort": "low", "summary": "auto"},
        thinking={"type": "adaptive"},
        user="u",
        metadata={"a": "b"},
        service_tier="flex",
        parallel_tool_calls=False,
        stream_options={"include_usage": True},
        verbosity="low",
        prediction=None,
    )
    assert given == Conversation(
        messages=(Message("user", (Text("hi"),)),),
        parallel_tool_calls=False,
        max_tokens=7,
        temperature=1.0,
        top_p=0.5,
        top_k=3,
        n=2,
        stop=("x",),
        seed=1,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        top_logprobs=3,
        logit_bias={"1": 1},
        response_format=ResponseFormat("json_schema", "n", {"type": "object"}, True),
        reasoning_effort="low",
        thinking={"type": "adaptive"},
        user="u",
        metadata={"a": "b"},
        service_tier="flex",
        extra={"verbosity": "low", "reasoning_effort.summary": "auto"},
    )


USER = {"role": "user", "content": "hi"}


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([USER, 1], "messages.1"),
        ([{"role": "robot", "content": "x"}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "user", "content": 1}], "messages.0.content"),
        ([USER, {"role": "user", "content": ["x"]}], "messages.1.content.0"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages.0.content.0.text"),
        ([{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}], "messages.0.content.0.type"),
        (
            [{"role": "system", "content": [{"type": "image_url", "image_url": "https://x"}]}],
            "messages.0.content.0.type",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "messages.0.content.0.image_url.url"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages.0.content.0.image_url"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": "data:x"}]}],
            "messages.0.content.0.image_url.url",
        ),
        ([{"role": "user", "content": [{"type": "file", "file": {}}]}], "messages.0.content.0.file"),
        ([{"role": "user", "content": [{"type": "input_audio"}]}], "messages.0.content.0.input_audio.data"),
        ([{"role": "tool", "content": "x"}], "messages.0.tool_call_id"),
        ([{"role": "assistant", "tool_calls": {}}], "messages.0.tool_calls"),
        ([{"role": "assistant", "tool_calls": [{"id": "1", "function": {}}]}], "messages.0.tool_calls.0.function.name"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages.0.tool_calls.0.id"),
        ([{"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}], "messages.0.tool_calls.0.custom"),
        ([{"role": "assistant", "tool_calls": [{"id": "1", "type": "shell"}]}], "messages.0.tool_calls.0.type"),
        ([{"role": "assistant", "audio": {"id": "a"}}], "messages.0.audio"),
        ([{"role": "assistant", "thinking_blocks": [{"type": "x"}]}], "messages.0.thinking_blocks.0.type"),
        ([{"role": "assistant", "provider_blocks": [{"block": {}}]}], "messages.0.provider_blocks.0.provider"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_by_its_path(messages: list[Any], field: str) -> None:
    assert refused(*messages) == field


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "x"}, "messages"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": "1"}, "top_p"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"seed": "1"}, "seed"),
        ({"user": 1}, "user"),
        ({"stop": [1]}, "stop"),
        ({"logprobs": 1}, "logprobs"),
        ({"tools": {}}, "tools"),
        ({"tools": [1]}, "tools.0"),
        ({"tools": [{"function": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]}, "tools.0.function.parameters"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"thinking": True}, "thinking"),
    ],
)
def test_a_field_that_cannot_be_read_is_refused_by_its_path(fields: dict[str, Any], field: str) -> None:
    assert refused(**fields) == field


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b'"\xff"'])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        conversation(Call(id="c", endpoint="chat", dialect="chat", body=body))
