"""The table of compatible providers: each row does what its notes say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters import compatible
from adapters.dialects.chat import ChatDialect
from adapters.openai import Relay
from gateway.core.errors import StreamCut
from gateway.core.types import Call, Deployment

CHAT = ChatDialect()


def sent(kind: str, **fields: Any) -> dict[str, Any]:
    call = CHAT.parse("c", json.dumps({"messages": [{}], **fields}).encode(), ())
    request = compatible.adapter(kind).encode(call, Deployment("d", kind, kind, "m", kind, b"/v1", ()), CHAT, {})
    assert request.warnings == ()
    body: dict[str, Any] = json.loads(request.body)
    return body


@pytest.mark.parametrize("kind", compatible.KINDS)
def test_a_row_has_an_address_and_each_quirk_its_source(kind: str) -> None:
    row = compatible.KINDS[kind]
    if row.base_url is not None:
        address = urlsplit(row.base_url)
        assert address.scheme == ("https" if row.needs_key else "http")
        assert not address.path.endswith("/")
    assert row.path == "" or row.base_url is None
    assert all(note.what and note.source for note in row.notes)
    assert row.notes or row.quirks == compatible.Quirks()
    assert compatible.adapter(kind).name == kind


def test_a_kind_without_a_row_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        compatible.adapter("nobody")


def test_mistral_gets_the_names_it_knows_and_nothing_about_usage() -> None:
    body = sent("mistral", stream=True, stream_options={"include_usage": True}, max_completion_tokens=5, seed=7)
    assert body == {"messages": [{}], "stream": True, "max_tokens": 5, "random_seed": 7, "model": "m"}


@pytest.mark.parametrize("kind", ["deepseek", "ollama", "tgi", "lmstudio"])
def test_a_bound_that_would_be_ignored_is_sent_under_the_older_name(kind: str) -> None:
    assert sent(kind, max_completion_tokens=5, max_tokens=9) == {"messages": [{}], "max_tokens": 5, "model": "m"}


@pytest.mark.parametrize(
    "kind", ["groq", "xai", "openrouter", "together", "fireworks", "cerebras", "nvidia", "bedrock_openai"]
)
def test_a_provider_without_quirks_gets_what_the_caller_said(kind: str) -> None:
    assert sent(kind, max_completion_tokens=5, stream=True) == {
        "messages": [{}],
        "max_completion_tokens": 5,
        "stream": True,
        "model": "m",
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("groq", "store", False),
        ("groq", "logit_bias", {}),
        ("cerebras", "presence_penalty", 1),
        ("mistral", "user", "u"),
    ],
)
def test_a_hint_that_would_be_an_error_is_left_out_and_told(kind: str, field: str, value: Any) -> None:
    call = CHAT.parse("c", json.dumps({"messages": [{}], field: value}).encode(), ())
    request = compatible.adapter(kind).encode(call, Deployment("d", kind, kind, "m", kind, b"/v1", ()), CHAT, {})
    assert json.loads(request.body) == {"messages": [{}], "model": "m"}
    assert request.warnings == (f"{field}: the provider does not take it, left out",)


@pytest.mark.parametrize(("kind", "field"), [("sglang", "extra_key"), ("sglang", "rid"), ("llamacpp", "id_slot")])
def test_a_field_by_which_one_caller_could_touch_another_is_withheld(kind: str, field: str) -> None:
    call = CHAT.parse("c", json.dumps({"messages": [{}], field: 1}).encode(), ())
    request = compatible.adapter(kind).encode(call, Deployment("d", kind, kind, "m", kind, b"/v1", ()), CHAT, {})
    assert json.loads(request.body) == {"messages": [{}], "model": "m"}
    assert request.warnings == (f"{field}: not passed on, the gateway sets it",)


def test_snowflakes_stream_is_whole_with_its_usage_and_nobody_elses_is() -> None:
    call = CHAT.parse("c", b'{"messages":[{}],"stream":true,"stream_options":{"include_usage":true}}', ())
    text = b'data: {"choices":[{"index":0,"delta":{"content":"4"}}]}\n\n'
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\n'
    for kind, reads in (("snowflake", (text,)), ("groq", (text, usage))):
        with pytest.raises(StreamCut):
            _relayed(compatible.adapter(kind), call, *reads)
    assert _relayed(compatible.adapter("snowflake"), call, text, usage) == text + usage + b"data: [DONE]\n\n"


def _relayed(adapter: Relay, call: Call, *reads: bytes) -> bytes:
    one = adapter.decoder(call, Deployment("d", "p", "p", "m", "p", b"/v1", ()), CHAT)
    return b"".join([*(piece for data in reads for piece in one.feed(data)), *one.end()])
