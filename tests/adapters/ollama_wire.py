"""What the tests of Ollama's own wire share: calls, a deployment, and requests that its documented fields allow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.chat import ChatDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from adapters.ollama import OllamaAdapter
from gateway.core.adapter import Decoder, Fetched, UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import a_call
from tests.fakes.ollama import check

ADAPTER = OllamaAdapter()
CHAT = ChatDialect()
EMBEDDINGS = EmbeddingsDialect()
PLACE = Deployment(
    name="llama",
    provider="ollama",
    kind="ollama_native",
    model="llama3.2",
    adapter="ollama_native",
    base_path=b"/api",
    endpoints=(),
)


def encode(strict: bool = False, fetched: Fetched | None = None, **body: Any) -> UpstreamRequest:
    return ADAPTER.encode(a_call(body, strict), PLACE, CHAT, fetched or {})


def sent(fetched: Fetched | None = None, **body: Any) -> dict[str, Any]:
    """Returns the body that goes to Ollama, which would take it."""
    request = encode(fetched=fetched, **body)
    assert request.path == b"/api/chat"
    written: dict[str, Any] = json.loads(request.body)
    check("/api/chat", written)
    return written


def refused(strict: bool = False, **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(strict, **body)
    return caught.value.param


def declared(**body: Any) -> list[str]:
    """Returns the fields of which something was declared; a strict caller is refused for the first of them."""
    fields = [warning.split(":")[0] for warning in encode(**body).warnings]
    assert not fields or refused(strict=True, **body) in fields
    return fields


def decoder(call: Call | None = None) -> Decoder:
    return ADAPTER.decoder(call or a_call(), PLACE, CHAT)


def line(done: bool = False, **fields: Any) -> bytes:
    return (
        json.dumps({"model": "llama3.2", "created_at": "2026-11-20T10:00:00Z", "done": done, **fields}).encode() + b"\n"
    )
