"""What a caller says of a document beside its file: it reaches every provider, is declared, or is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters import bedrock, cohere, gemini, ollama, openai
from adapters.dialects.messages import MessagesDialect
from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Deployment

MESSAGES = MessagesDialect()
PROVIDERS: dict[str, Any] = {"openai": openai, "bedrock": bedrock, "cohere": cohere, "gemini": gemini, "ollama": ollama}
MODELS = {"bedrock": "anthropic.claude-sonnet-4-5-v1:0", "gemini": "gemini-2.5-pro"}
WORDS = {"type": "text", "media_type": "text/plain", "data": "the words"}
PARTS = {"type": "content", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}


def encoded(kind: str, strict: bool = False, type: str = "document", **block: Any) -> UpstreamRequest:
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": type, **block}, {"type": "text", "text": "?"}]}],
    }
    headers = ((b"x-headgate-strict", b"true"),) if strict else ()
    call = MESSAGES.parse("c", json.dumps(body).encode(), headers)
    place = Deployment("d", kind, kind, MODELS.get(kind, "m"), kind, b"/v1", ())
    request: UpstreamRequest = PROVIDERS[kind].adapter().encode(call, place, MESSAGES, {})
    return request


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_documents_context_stands_before_it(kind: str) -> None:
    body = encoded(kind, source=WORDS, title="Notes", context="of last year").body.decode()
    assert body.index("of last year") < body.index("dGhlIHdvcmRz" if kind in ("bedrock", "gemini") else "the words")


@pytest.mark.parametrize("kind", PROVIDERS)
def test_a_document_of_parts_is_its_parts_in_their_order_under_its_name(kind: str) -> None:
    request = encoded(kind, source=PARTS, title="Notes", context="of last year")
    body = request.body.decode()
    places = [body.index(words) for words in ("Notes:", "of last year", "one", "two", "?")]
    assert places == sorted(places)
    assert request.warnings == ()


@pytest.mark.parametrize("kind", PROVIDERS)
def test_citations_that_are_asked_for_are_declared_and_refused_to_a_strict_caller(kind: str) -> None:
    warnings = encoded(kind, source=PARTS, citations={"enabled": True}).warnings
    assert [warning.partition(":")[0] for warning in warnings] == ["messages.0.content.0.citations"]
    assert encoded(kind, source=PARTS, citations={"enabled": False}).warnings == ()
    with pytest.raises(BadRequest):
        encoded(kind, strict=True, source=PARTS, citations={"enabled": True})


@pytest.mark.parametrize("kind", PROVIDERS)
def test_an_image_by_its_id_is_googles_or_refused(kind: str) -> None:
    kept = {"type": "file", "file_id": "files/abc"}
    if kind == "gemini":
        part = json.loads(encoded(kind, type="image", source=kept).body)["contents"][0]["parts"][0]
        assert part["fileData"]["fileUri"].endswith("files/abc")
        return
    with pytest.raises(BadRequest) as caught:
        encoded(kind, type="image", source=kept)
    assert caught.value.param == "messages.0.content.0"


@pytest.mark.parametrize("type", ["image", "document"])
def test_a_file_that_another_provider_keeps_is_refused_at_googles(type: str) -> None:
    with pytest.raises(BadRequest) as caught:
        encoded("gemini", type=type, source={"type": "file", "file_id": "file_011C"})
    assert caught.value.param == "messages.0.content.0"
