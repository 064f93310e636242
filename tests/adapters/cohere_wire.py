"""What the tests of the Cohere translation share: calls, a deployment, and requests that its own types have checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.cohere import CohereAdapter
from adapters.dialects.chat import ChatDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.adapter import Decoder, UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import a_call
from tests.fakes.cohere import check

ADAPTER = CohereAdapter()
CHAT = ChatDialect()
EMBEDDINGS = EmbeddingsDialect()
PLACE = Deployment(
    name="cohere",
    provider="cohere",
    kind="cohere",
    model="command-a-03-2025",
    adapter="cohere",
    base_path=b"/v2",
    endpoints=(),
)


def encode(strict: bool = False, **body: Any) -> UpstreamRequest:
    return ADAPTER.encode(a_call(body, strict), PLACE, CHAT, {})


def sent(**body: Any) -> dict[str, Any]:
    """Returns the body that goes to Cohere, which would take it."""
    request = encode(**body)
    assert request.path == b"/v2/chat"
    written: dict[str, Any] = json.loads(request.body)
    check("/v2/chat", written)
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


def embeddings_call(strict: bool = False, **body: Any) -> Call:
    headers = ((b"x-headgate-strict", b"true"),) if strict else ()
    return EMBEDDINGS.parse("call-1", json.dumps({"model": "m", "input": "a", **body}).encode(), headers)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
