"""A signature over a tool call or a text goes out with chat, and comes back from clients of every kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.chat import ChatDialect
from gateway.core.blocks import (
    Begin,
    Event,
    Finished,
    Text,
    TextDelta,
    TextEnd,
    ThinkingDelta,
    ThinkingEnd,
    ToolCall,
    ToolCallBegin,
    ToolCallDelta,
    ToolResult,
)
from gateway.core.types import Call

CHAT = ChatDialect()
SIGNATURE = "CikBVKhc7nF/+w=="
ANSWER: list[Event] = [
    Begin("x", "m"),
    TextDelta("Let me see."),
    TextEnd("dGV4dA==", "gemini"),
    ToolCallBegin(0, "call_1", "look", signature=SIGNATURE, provider="gemini"),
    ToolCallDelta(0, '{"at":1}'),
    Finished("tool_calls"),
]


def call(**fields: Any) -> Call:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    return CHAT.parse("c", json.dumps(body).encode(), ())


def message(*events: Event, stream: bool) -> dict[str, Any]:
    """Returns the message that a client puts together."""
    asked = call(stream=stream)
    writer = CHAT.writer(asked, "m")
    written = b"".join([*map(writer.write, events), writer.end()])
    if stream:
        written = CHAT.replay(written, True, call())
    message: dict[str, Any] = json.loads(written)["choices"][0]["message"]
    return message


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_signature_stands_in_googles_field_and_in_the_id(stream: bool) -> None:
    said = message(*ANSWER, stream=stream)
    assert said["extra_content"] == {"google": {"thought_signature": "dGV4dA=="}}
    tool_call = said["tool_calls"][0]
    assert tool_call["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
    assert tool_call["id"].startswith("call_1__")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kept", ["everything", "ids alone", "the field alone"])
def test_it_comes_back_from_clients_that_keep(kept: str, stream: bool) -> None:
    said = message(*ANSWER, stream=stream)
    if kept == "ids alone":
        del said["extra_content"], said["tool_calls"][0]["extra_content"]
    elif kept == "the field alone":
        said["tool_calls"][0]["id"] = "call_1"
    result = {"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "found"}
    turns = CHAT.conversation(call(messages=[{"role": "user", "content": "hi"}, said, result])).messages
    text, called = turns[1].content
    assert called == ToolCall("call_1", "look", '{"at":1}', SIGNATURE, provider="gemini")
    assert turns[2].content == (ToolResult("call_1", (Text("found"),)),)
    signed = ("dGV4dA==", "gemini") if kept != "ids alone" else (None, None)
    assert text == Text("Let me see.", signature=signed[0], provider=signed[1])


def test_a_signature_of_nobodys_field_rides_in_the_id_alone() -> None:
    said = message(ToolCallBegin(0, "c", "f", signature="s", provider="acme"), stream=False)
    assert "extra_content" not in said["tool_calls"][0]
    read = CHAT.conversation(call(messages=[{"role": "user", "content": "hi"}, said])).messages[1].content[0]
    assert isinstance(read, ToolCall)
    assert (read.id, read.signature, read.provider) == ("c", "s", "acme")


def test_a_reasoning_block_keeps_its_id() -> None:
    said = message(ThinkingDelta("hm"), ThinkingEnd("sig", provider="openai", id="rs_1"), stream=False)
    thought = CHAT.conversation(call(messages=[{"role": "user", "content": "hi"}, said])).messages[1].content[0]
    assert getattr(thought, "id", None) == "rs_1"


@pytest.mark.parametrize("provider", ["gemini", "vertex"])
def test_the_field_says_which_place_of_googles_signed(provider: str) -> None:
    begin = ToolCallBegin(0, "c", "f", signature=SIGNATURE, provider=provider)
    said = message(TextDelta("so"), TextEnd("dGV4dA==", provider), begin, ToolCallDelta(0, "{}"), stream=False)
    said["tool_calls"][0]["id"] = "c"  # of a client that makes ids of its own
    read = CHAT.conversation(call(messages=[{"role": "user", "content": "hi"}, said])).messages[1].content
    assert [getattr(block, "provider", None) for block in read] == [provider, provider]
