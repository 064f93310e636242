"""What a chat caller's history holds that a provider refuses: taken out of a relayed body, and declared."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._openai_tool_ids import short_ids
from adapters._signatures import wrap
from adapters.dialects.chat import ChatDialect
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest
from tests.adapters.openai_chat import adapter_of, deployment

CHAT = ChatDialect()
HISTORY = {
    "role": "assistant",
    "content": "a",
    "reasoning_content": "hm",
    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "s"}],
    "annotations": [],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
    "extra_content": {"google": 1},
}


def relayed(kind: str, messages: list[Any], **fields: Any) -> UpstreamRequest:
    body = json.dumps({"model": "x", "messages": messages, **fields}).encode()
    return adapter_of(kind).encode(CHAT.parse("c", body, ()), deployment(kind), CHAT, {})


def sent(request: UpstreamRequest) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads(request.body)["messages"]
    return messages


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("openai", {"annotations"}),
        ("azure", {"annotations"}),
        ("groq", {"annotations"}),
        ("mistral", {"annotations"}),
        ("deepseek", {"annotations", "reasoning_content"}),
        ("vllm", {"annotations", "reasoning_content"}),
        ("openrouter", {"annotations", "images"}),
        ("openai_compatible", {"annotations", "images", "reasoning_content", "thinking_blocks"}),
        ("fireworks", {"annotations", "images", "reasoning_content", "thinking_blocks"}),
    ],
)
def test_a_provider_gets_back_what_it_takes(kind: str, kept: set[str]) -> None:
    request = relayed(kind, [{"role": "user", "content": "q"}, HISTORY])
    assert sent(request)[1].keys() == {"role", "content"} | kept
    said = {warning.partition(":")[0].removeprefix("messages.") for warning in request.warnings}
    assert said == HISTORY.keys() - {"role", "content"} - kept


def test_a_strict_caller_is_refused() -> None:
    call = msgspec.structs.replace(CHAT.parse("c", json.dumps({"messages": [HISTORY]}).encode(), ()), strict=True)
    with pytest.raises(BadRequest) as caught:
        adapter_of("openai").encode(call, deployment(), CHAT, {})
    assert str(caught.value.param).startswith("messages.")


def test_a_signature_on_a_tool_call_is_taken_out() -> None:
    messages = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
    assert "extra_content" not in sent(relayed("openai", messages))[0]["tool_calls"][0]
    assert sent(relayed("openai_compatible", messages)) == messages


def test_a_body_that_only_speaks_of_such_things_keeps_its_bytes() -> None:
    text = '{"messages": [{"role":"user",  "content":"\\"reasoning_content\\" and \\u00e9"}],"model":"m"}'
    request = adapter_of("openai").encode(CHAT.parse("c", text.encode(), ()), deployment(), CHAT, {})
    assert b'[{"role":"user",  "content":"\\"reasoning_content\\" and \\u00e9"}]' in request.body
    assert request.warnings == ()


def test_messages_that_cannot_be_read_are_the_providers_to_refuse() -> None:
    body = b'{"messages":[{"role":"assistant","tool_calls":{"x":1},"tool_call_id":7}],"model":"m"}'
    request = adapter_of("mistral").encode(CHAT.parse("c", body, ()), deployment("mistral"), CHAT, {})
    assert json.loads(request.body)["messages"] == [{"role": "assistant", "tool_calls": {"x": 1}, "tool_call_id": 7}]


def test_hints_that_a_provider_refuses_are_left_out_and_declared() -> None:
    request = relayed(
        "mistral", [{"role": "user", "content": "q"}], user="u", store=False, logit_bias=None, safe_prompt=True
    )
    assert json.loads(request.body).keys() == {"model", "messages", "safe_prompt"}
    assert [warning.partition(":")[0] for warning in request.warnings] == ["user", "store"]


def test_mistrals_ids_are_short_in_relayed_messages_too() -> None:
    calls = [{**CALL, "id": one} for one in ("call_1", "abcdefGH9")]
    messages = [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{k: v for k, v in c.items() if k != "extra_content"} for c in calls],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        {"role": "tool", "tool_call_id": "abcdefGH9", "content": "2"},
    ]
    assistant, one, two = sent(relayed("mistral", messages))
    ids = [call["id"] for call in assistant["tool_calls"]]
    assert ids == [one["tool_call_id"], two["tool_call_id"]]
    assert ids[0] != "call_1"
    assert ids[1] == "abcdefGH9"
    fine = [messages[0] | {"tool_calls": messages[0]["tool_calls"][1:]}, messages[2]]
    assert sent(relayed("mistral", fine)) == fine


@pytest.mark.parametrize("kind", ["openai", "fireworks", "mistral"])
def test_a_signature_inside_an_id_reaches_no_provider(kind: str) -> None:
    framed = wrap("abcdefGH9", "c2ln", "gemini")
    bare = {name: value for name, value in CALL.items() if name != "extra_content"}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [{**bare, "id": framed}]},
        {"role": "tool", "tool_call_id": framed, "content": framed},
    ]
    called, answered = sent(relayed(kind, messages))
    assert called["tool_calls"] == [{**bare, "id": "abcdefGH9"}]
    assert answered == {"role": "tool", "tool_call_id": "abcdefGH9", "content": framed}


def test_a_body_that_only_speaks_of_framed_ids_keeps_its_bytes() -> None:
    text = '[{"role":"user",  "content":"x__signed__gemini-bAAAA"}, {"role":"tool","tool_call_id":"x__signed__"}]'
    body = f'{{"messages": {text},"model":"m"}}'.encode()
    request = adapter_of("openai").encode(CHAT.parse("c", body, ()), deployment(), CHAT, {})
    assert text.encode() in request.body


@given(st.lists(st.text(max_size=12)))
def test_short_ids_are_short_no_two_alike_and_the_same_every_time(ids: list[str]) -> None:
    short = short_ids(ids)
    assert short.keys() == set(ids)
    assert len(set(short.values())) == len(short)
    assert all(len(one) == 9 and one.isascii() and one.isalnum() for one in short.values())
    assert short_ids(ids) == short


@pytest.mark.parametrize("kind", ["openai", "vllm", "groq"])
def test_ids_go_without_the_signatures_of_other_providers(kind: str) -> None:
    signed = wrap("call_1", "c2ln", "gemini")
    called = {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": signed}]}
    asked = [{"role": "user", "content": signed}, called, {"role": "tool", "tool_call_id": signed, "content": "1"}]
    user, assistant, tool = sent(relayed(kind, asked))
    assert (assistant["tool_calls"][0]["id"], tool["tool_call_id"]) == ("call_1", "call_1")
    assert user["content"] == signed
