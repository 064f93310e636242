"""Histories as Gemini's contents: sides, functions and their responses, signatures on the part that they came on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.blocks import (
    Conversation,
    Image,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest
from tests.adapters.anthropic_wire import PNG, answers, asks, calls
from tests.adapters.gemini_rules import SENTINEL, accepted
from tests.adapters.gemini_wire import encode, sent, told

SIGNED = base64.b64encode(b"signed").decode()


def refused(model: str = "gemini-2.5-flash", **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(model, **body)
    return caught.value.param


def said(*blocks: Any, role: str = "assistant") -> Message:
    return Message(role, tuple(blocks))


def contents(*messages: Message, model: str = "gemini-3-flash-preview", vertex: bool = False) -> list[Any]:
    names = {block.name for turn in messages for block in turn.content if isinstance(block, ToolCall)}
    body = told(Conversation(messages, tools=tuple(map(Tool, sorted(names)))), model, vertex)
    accepted(body, model.startswith("gemini-3"))
    found: list[Any] = body["contents"]
    return found


def test_a_leading_run_of_system_messages_is_the_instruction_and_a_later_one_a_users_text() -> None:
    messages = [
        {"role": "system", "content": "a"},
        {"role": "developer", "content": [{"type": "text", "text": "b"}]},
        asks("c"),
        {"role": "assistant", "content": "d"},
        {"role": "system", "content": "e"},
        asks("f"),
    ]
    body = sent(messages=messages)
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "c"}]},
        {"role": "model", "parts": [{"text": "d"}]},
        {"role": "user", "parts": [{"text": "e"}, {"text": "f"}]},
    ]


def test_a_model_without_an_instruction_is_told_by_the_user() -> None:
    body = sent("gemma-3-27b-it", messages=[{"role": "system", "content": "a"}, asks("b")])
    assert "systemInstruction" not in body
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


def test_an_instruction_alone_gets_a_blank_turn_and_nothing_at_all_is_refused() -> None:
    body = sent(messages=[{"role": "system", "content": "a"}])
    assert body["contents"] == [{"role": "user", "parts": [{"text": " "}]}]
    assert refused(messages=[asks("")]) == "messages"


def test_sides_alternate_whatever_the_caller_sends() -> None:
    body = sent(messages=[asks("a"), asks("b"), {"role": "assistant", "content": "c"}, asks("d")])
    assert [(turn["role"], len(turn["parts"])) for turn in body["contents"]] == [("user", 2), ("model", 1), ("user", 1)]
    request = encode(messages=[{"role": "assistant", "content": "a"}, asks("b")])
    assert json.loads(request.body)["contents"][0] == {"role": "user", "parts": [{"text": " "}]}
    assert request.warnings


def test_an_image_alone_has_a_text_beside_it() -> None:
    url = f"data:image/png;base64,{PNG}"
    body = sent(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert body["contents"][0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": PNG}}, {"text": " "}]


def test_parallel_responses_stand_in_one_turn_in_the_order_of_their_calls() -> None:
    body = sent(
        messages=[
            asks(),
            calls("c1", "c2", "c3"),
            answers("c3", "3"),
            answers("c1", '{"n": 1}'),
            answers("c2", "two", is_error=True),
            asks("go on"),
        ]
    )
    _, called, responded, rest = body["contents"]
    assert [part["functionCall"]["id"] for part in called["parts"]] == ["c1", "c2", "c3"]
    assert [part["functionResponse"]["response"] for part in responded["parts"]] == [
        {"n": 1},
        {"error": "two"},
        {"output": 3},
    ]
    assert {part["functionResponse"]["name"] for part in responded["parts"]} == {"search"}
    assert rest == {"role": "user", "parts": [{"text": "go on"}]}
    accepted(body, signs=False)


def test_a_history_with_a_call_unanswered_or_a_result_of_none_is_refused() -> None:
    assert refused(messages=[asks(), calls("c1", "c2"), answers("c1"), asks()]) == "messages.1.tool_calls"
    assert refused(messages=[asks(), calls("c1")]) == "messages.1.tool_calls"
    assert refused(messages=[asks(), answers("c1")]) == "messages.1.tool_call_id"
    field = "messages.1.tool_calls.0.function.arguments"
    assert refused(messages=[asks(), calls("c1", arguments="[1]"), answers("c1")]) == field


def test_signatures_go_back_on_the_part_that_they_came_on() -> None:
    history = contents(
        said(Text("q"), role="user"),
        said(
            Thinking("hm", SIGNED, "gemini"),
            Text("let me see", signature=SIGNED, provider="gemini"),
            ToolCall("c1", "f", "{}", SIGNED, provider="gemini"),
            ToolCall("c2", "f", '{"a": 1}'),
        ),
        said(ToolResult("c1", (Text("1"),)), ToolResult("c2", (Text("2"),)), role="user"),
    )
    assert history[1]["parts"] == [
        {"text": "hm", "thought": True, "thoughtSignature": SIGNED},
        {"text": "let me see", "thoughtSignature": SIGNED},
        {"functionCall": {"name": "f", "args": {}, "id": "c1"}, "thoughtSignature": SIGNED},
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c2"}},
    ]


def test_a_signature_that_came_after_the_last_text_goes_back_with_an_empty_one() -> None:
    history = contents(
        said(Text("q"), role="user"), said(Text("", signature=SIGNED, provider="gemini")), said(Text("q"), role="user")
    )
    assert history[1]["parts"] == [{"text": "", "thoughtSignature": SIGNED}]


@pytest.mark.parametrize(
    "call",
    [
        ToolCall("c1", "f", "{}"),
        ToolCall("c1", "f", "{}", SIGNED, provider="anthropic"),
        ToolCall("c1", "f", "{}", SIGNED, provider="vertex"),  # its keys are not AI Studio's
    ],
)
def test_a_foreign_call_is_sent_as_google_says_where_a_signature_is_asked_for(call: ToolCall) -> None:
    turns = (
        said(Text("q"), role="user"),
        said(call, ToolCall("c2", "f", "{}")),
        said(ToolResult("c1", (Text("1"),)), ToolResult("c2", (Text("2"),)), role="user"),
    )
    parts = contents(*turns)[1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [SENTINEL, None]
    assert not any("thoughtSignature" in part for part in contents(*turns, model="gemini-2.5-flash")[1]["parts"])


def test_reasoning_and_blocks_of_another_provider_are_left_out_and_declared() -> None:
    mine = Opaque("gemini", {"executableCode": {"language": "PYTHON", "code": "1"}})
    foreign = (Thinking("hm", "sig", "anthropic"), RedactedThinking("x", "anthropic"), Opaque("anthropic", {"a": 1}))
    turns = (said(Text("q"), role="user"), said(*foreign, mine, Refusal("no")), said(Text("q"), role="user"))
    assert contents(*turns)[1]["parts"] == [mine.value, {"text": "no"}]
    with pytest.raises(BadRequest):
        told(Conversation(turns), strict=True)


def test_a_results_image_stands_within_the_response_or_beside_it_by_model() -> None:
    turns = (
        said(Text("q"), role="user"),
        said(ToolCall("c1", "f", "{}")),
        said(ToolResult("c1", (Text("seen"), Image(media_type="image/png", data=PNG))), role="user"),
    )
    image = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    (within,) = contents(*turns)[2]["parts"]
    assert within["functionResponse"]["parts"] == [image]
    _, _, responded, beside = contents(*turns, model="gemini-2.5-flash")
    assert "parts" not in responded["parts"][0]["functionResponse"]
    assert beside["parts"] == [image, {"text": " "}]


def test_the_newest_models_do_not_go_on_from_an_assistants_message() -> None:
    messages = [asks(), {"role": "assistant", "content": "Once"}]
    assert sent("gemini-2.5-flash", messages=messages)["contents"][-1]["role"] == "model"
    assert refused("gemini-3.6-flash", messages=messages) == "messages.1"
    assert refused("gemini-3.5-flash-lite", messages=messages) == "messages.1"


def test_a_participants_name_is_declared() -> None:
    assert encode(messages=[{**asks(), "name": "Ann"}]).warnings
