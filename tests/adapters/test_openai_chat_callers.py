"""Callers of Responses at providers of OpenAI's wire: relayed where those speak them, else by way of chat."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.responses import ResponsesDialect
from tests.adapters.openai_chat import adapter_of, chunk, deployment

RESPONSES = ResponsesDialect()
ASKED = {
    "model": "x",
    "stream": True,
    "instructions": "be brief",
    "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}, {"type": "custom", "name": "patch"}],
    "input": [
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "call_abc", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_abc", "output": "1"},
    ],
}


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("openai", b"/v1/responses"),
        ("vllm", b"/v1/responses"),
        ("xai", b"/v1/responses"),
        ("azure", b"/v1/responses"),
        ("mistral", b"/v1/chat/completions"),
        ("cerebras", b"/v1/chat/completions"),
        ("openai_compatible", b"/v1/chat/completions"),
    ],
)
def test_responses_go_where_they_are_spoken_and_to_chat_elsewhere(kind: str, path: bytes) -> None:
    call = RESPONSES.parse("c1", json.dumps(ASKED).encode(), ())
    request = adapter_of(kind).encode(call, deployment(kind), RESPONSES, {})
    assert request.path == path
    body = json.loads(request.body)
    assert body["model"] == "m"
    assert ("input" in body) is not ("messages" in body)


def test_a_responses_caller_is_answered_from_chat() -> None:
    call = RESPONSES.parse("c1", json.dumps(ASKED).encode(), ())
    one: Any = adapter_of("cerebras").decoder(call, deployment("cerebras"), RESPONSES)
    patch = {"index": 0, "id": "i", "function": {"name": "patch", "arguments": '{"input":"a"}'}}
    stream = chunk({"reasoning": "think"}) + chunk({"content": "hello"}) + chunk({"tool_calls": [patch]})
    out = [*one.feed(stream + chunk(finish="tool_calls") + b"data: [DONE]\n\n"), *one.end()]
    last = json.loads(b"".join(out).decode().rstrip().rpartition("data: ")[2])
    assert last["type"] == "response.completed"
    assert [item["type"] for item in last["response"]["output"]] == ["reasoning", "message", "custom_tool_call"]
    assert last["response"]["output"][2]["input"] == "a"
