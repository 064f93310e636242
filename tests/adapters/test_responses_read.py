"""A Responses request becomes blocks: every kind of item, tools, the form of the answer; what cannot is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from adapters._signatures import wrap
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Event,
    Image,
    Message,
    Opaque,
    OpaqueBlock,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    Text,
    TextEnd,
    Thinking,
    ThinkingEnd,
    Tool,
    ToolCall,
    ToolCallBegin,
    ToolChoice,
    ToolResult,
)
from gateway.core.errors import BadRequest
from tests.adapters.responses_wire import CUSTOM, FUNCTION, RESPONSES, a_call, answers, whole

PNG = "data:image/png;base64,iVBORw0K"


def read(**fields: Any) -> Conversation:
    return RESPONSES.conversation(a_call(**fields))


def turns(*items: dict[str, Any]) -> list[tuple[str, tuple[Block, ...]]]:
    return [(message.role, message.content) for message in read(input=list(items)).messages]


def refused(**fields: Any) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        read(**fields)
    return caught.value


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def test_an_id_that_holds_a_signature_is_read_as_both() -> None:
    framed = wrap("c1", "c2ln", "gemini")
    called, answered = turns(
        {"type": "function_call", "call_id": framed, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": framed, "output": "x"},
    )
    assert called == ("assistant", (ToolCall("c1", "f", "{}", "c2ln", provider="gemini"),))
    assert answered == ("user", (ToolResult("c1", (Text("x"),)),))


def test_a_text_and_instructions_are_two_turns() -> None:
    assert read(input="hi", instructions="Be brief.").messages == (
        Message("system", (Text("Be brief."),)),
        Message("user", (Text("hi"),)),
    )


def test_messages_of_every_role_are_read() -> None:
    assert turns(
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "s"}]},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ) == [
        ("system", (Text("d"),)),
        ("system", (Text("s"),)),
        ("user", (Text("u"),)),
        ("assistant", (Text("a"),)),
    ]


def test_every_part_of_a_users_message_is_read() -> None:
    ((_, content),) = turns(
        user(
            {"type": "input_text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "https://x.org/a.png", "detail": "low"},
            {"type": "input_image", "image_url": PNG},
            {"type": "input_image", "file_id": "file_1", "detail": "low"},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
            {"type": "input_file", "file_url": "https://x.org/a.pdf"},
            {"type": "input_file", "file_id": "file_2"},
            {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
        )
    )
    assert content == (
        Text("t", {"type": "ephemeral"}),
        Image(url="https://x.org/a.png", detail="low"),
        Image(media_type="image/png", data="iVBORw0K"),
        Image(file_id="file_1", detail="low"),
        Document(data="JVBERi0=", media_type="application/pdf", name="a.pdf"),
        Document(url="https://x.org/a.pdf"),
        Document(file_id="file_2"),
        Audio("aGk=", "wav"),
    )


def test_what_the_assistant_said_in_one_go_is_one_turn() -> None:
    annotation = {"type": "url_citation", "url": "https://x.org", "title": "t", "start_index": 0, "end_index": 1}
    assert turns(
        {"role": "user", "content": "u"},
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "gA",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "a", "annotations": [annotation]},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "search", "arguments": '{"q":1}'},
        {"type": "custom_tool_call", "call_id": "c2", "name": "note", "input": "plain"},
        {"type": "function_call_output", "call_id": "c1", "output": "found"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_image", "image_url": PNG}]},
    ) == [
        ("user", (Text("u"),)),
        (
            "assistant",
            (
                Thinking("hm", "gA", "openai", "rs_1"),
                Text("a", None, (annotation,)),
                Refusal("no"),
                ToolCall("c1", "search", '{"q":1}'),
                ToolCall("c2", "note", "plain", custom=True),
            ),
        ),
        ("user", (ToolResult("c1", (Text("found"),)),)),
        ("user", (ToolResult("c2", (Image(media_type="image/png", data="iVBORw0K"),)),)),
    ]


def test_reasoning_in_the_open_is_read_from_its_content_and_else_from_its_summary() -> None:
    summary = [{"type": "summary_text", "text": "s1"}, {"type": "summary_text", "text": "s2"}]
    content = [{"type": "reasoning_text", "text": "c"}]
    assert turns(
        {"type": "reasoning", "id": "a", "summary": summary, "content": content},
        {"type": "reasoning", "id": "b", "summary": summary},
        {"type": "reasoning", "id": "c", "summary": []},
    ) == [("assistant", (Thinking("c", id="a"), Thinking("s1\n\ns2", id="b")))]


def test_items_of_openais_own_tools_are_openais() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    screen = {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}}
    assert turns(search, screen) == [
        ("assistant", (Opaque("openai", search),)),
        ("user", (Opaque("openai", screen),)),
    ]


def test_tools_choice_and_form_are_read() -> None:
    schema = {"type": "object"}
    asked = read(
        tools=[{**FUNCTION, "strict": True, "description": "d"}, CUSTOM, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "search"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "f", "schema": schema, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "high", "summary": "auto"},
        max_output_tokens=99,
        top_logprobs=3,
        metadata={"a": "b"},
        service_tier="flex",
        user="u",
        temperature=0.5,
        top_p=0.5,
        safety_identifier="s",
        prompt_cache_key="k",
        truncation="auto",
        include=["reasoning.encrypted_content", "file_search_call.results"],
        store=True,
    )
    assert asked.tools == (
        Tool("search", "d", FUNCTION["parameters"], strict=True),
        Tool("note", "Takes notes.", custom=True),
        Tool("web_search", native={"type": "web_search"}),
    )
    assert asked.tool_choice == ToolChoice("tool", "search")
    assert asked.parallel_tool_calls is False
    assert asked.response_format == ResponseFormat("json_schema", "f", schema, True)
    assert (asked.reasoning_effort, asked.max_tokens, asked.logprobs, asked.top_logprobs) == ("high", 99, True, 3)
    assert (asked.metadata, asked.service_tier, asked.user) == ({"a": "b"}, "flex", "u")
    assert (asked.temperature, asked.top_p) == (0.5, 0.5)
    assert asked.extra == {
        "store": True,
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "verbosity": "low",
        "reasoning_effort.summary": "auto",
        "truncation": "auto",
        "include": ["file_search_call.results"],
    }


def test_what_most_callers_send_leaves_nothing_to_declare() -> None:
    asked = read(store=False, truncation="disabled", include=["reasoning.encrypted_content"], stream_options={})
    assert asked.extra == {}


@pytest.mark.parametrize(
    ("choice", "expected", "names"),
    [
        (None, None, ["search", "note"]),
        ("auto", ToolChoice("auto"), ["search", "note"]),
        ("required", ToolChoice("required"), ["search", "note"]),
        ("none", ToolChoice("none"), ["search", "note"]),
        ({"type": "custom", "name": "note"}, ToolChoice("tool", "note"), ["search", "note"]),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "search"}]},
            ToolChoice("required"),
            ["search"],
        ),
    ],
)
def test_a_choice_of_tools_is_read(choice: Any, expected: ToolChoice | None, names: list[str]) -> None:
    asked = read(tools=[FUNCTION, CUSTOM], tool_choice=choice)
    assert asked.tool_choice == expected
    assert [tool.name for tool in asked.tools] == names


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
        ({"input": [user({"type": "text", "text": "x"})]}, "input.0.content.0.type"),
        ({"input": [user({"type": "input_image"})]}, "input.0.content.0.file_id"),
        ({"input": [user({"type": "input_image", "image_url": "data:x,y"})]}, "input.0.content.0.image_url"),
        ({"input": [user({"type": "input_file"})]}, "input.0.content.0"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input.0.output"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0.id"),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "hg1.{"}]}, "input.0.encrypted_content"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [{"type": "web_search_preview_2025_03_11"}]}, "tools.0"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.name"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@settings(max_examples=150, deadline=None)
@given(answers())
def test_what_an_answer_holds_comes_back_with_the_next_request(events: list[Event]) -> None:
    """Every signature, redacted thought and block of a provider stands where it stood, among what was said."""
    written = whole(events)
    asked = [{"role": "user", "content": "hi"}, *written["output"], {"role": "user", "content": "go on"}]
    messages = RESPONSES.conversation(a_call(input=json.loads(json.dumps(asked)))).messages
    blocks = [block for message in messages if message.role == "assistant" for block in message.content]
    signed: list[Any] = []
    for event in events:
        if isinstance(event, ThinkingEnd) and event.redacted is not None:
            signed.append(RedactedThinking(event.redacted, event.provider))
        elif isinstance(event, ThinkingEnd) and event.signature is not None:
            signed.append((event.signature, event.provider, event.id))
        elif isinstance(event, TextEnd):
            signed.append(("text", event.signature, event.provider))
        elif isinstance(event, OpaqueBlock):
            signed.append(Opaque(event.provider, event.value))
        elif isinstance(event, ToolCallBegin):
            signed.append((event.id, event.signature, event.provider if event.signature else None, event.custom))
    back: list[Any] = []
    for block in blocks:
        if isinstance(block, RedactedThinking) or (isinstance(block, Opaque) and block.provider != "openai"):
            back.append(block)
        elif isinstance(block, Thinking) and block.signature is not None:
            back.append((block.signature, block.provider, block.id))
        elif isinstance(block, Text) and block.signature is not None:
            back.append(("text", block.signature, block.provider))
        elif isinstance(block, ToolCall):
            back.append((block.id, block.signature, block.provider, block.custom))
    assert back == signed
    text = "".join(block.text for block in blocks if isinstance(block, Text))
    assert text == "".join(
        part["text"]
        for item in written["output"]
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    )
