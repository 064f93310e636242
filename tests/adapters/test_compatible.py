"""The table of compatible providers: each row does what its notes say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from adapters import compatible
from adapters.dialects.chat import ChatDialect
from gateway.core.types import Deployment

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
    address = urlsplit(row.base_url)
    assert address.scheme == ("https" if row.needs_key else "http")
    assert address.path.endswith("/v1")
    assert all(note.what and note.source for note in row.notes)
    assert row.notes or row.quirks == compatible.Quirks()
    assert compatible.adapter(kind).name == kind


def test_a_kind_without_a_row_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        compatible.adapter("nobody")


def test_mistral_gets_the_names_it_knows_and_nothing_about_usage() -> None:
    body = sent("mistral", stream=True, stream_options={"include_usage": True}, max_completion_tokens=5, seed=7)
    assert body == {"messages": [{}], "stream": True, "max_tokens": 5, "random_seed": 7, "model": "m"}


@pytest.mark.parametrize("kind", ["deepseek", "ollama"])
def test_a_bound_that_would_be_ignored_is_sent_under_the_older_name(kind: str) -> None:
    assert sent(kind, max_completion_tokens=5, max_tokens=9) == {"messages": [{}], "max_tokens": 5, "model": "m"}


@pytest.mark.parametrize("kind", ["groq", "xai", "openrouter", "together", "fireworks"])
def test_a_provider_without_quirks_gets_what_the_caller_said(kind: str) -> None:
    assert sent(kind, max_completion_tokens=5, stream=True) == {
        "messages": [{}],
        "max_completion_tokens": 5,
        "stream": True,
        "model": "m",
        "stream_options": {"include_usage": True},
    }
