"""Ollama's own wire: chat with what OpenAI's has no field for, and embeddings.

Source: https://docs.ollama.com/api/introduction (2026-11). The OpenAI-shaped wire of the same server is a row in
`compatible`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters import _embeddings, _ollama_embed
from adapters._ollama_answer import OllamaAnswer
from adapters._ollama_errors import fault
from adapters._ollama_media import needed
from adapters._ollama_request import encode_request
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "http://127.0.0.1:11434/api"


class OllamaAdapter:
    """Translates to Ollama's chat and embeddings and back."""

    name = "ollama_native"

    def authorize(self, credential: str) -> Headers:
        """Returns the key of a server that wants one: Ollama's cloud does."""
        return ((b"authorization", b"Bearer " + credential.encode()),) if credential else ()

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns the images that stand in the request as a URL: Ollama takes bytes alone."""
        return needed(call)

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Ollama cannot express."""
        if call.endpoint == "embeddings":
            return _ollama_embed.encode(call, dialect.embedding_request(call), deployment)
        if call.endpoint != "chat":
            raise BadRequest(f"Ollama's own wire has no {call.endpoint}", param="model")
        return encode_request(call, dialect.conversation(call), deployment, fetched)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.endpoint == "embeddings":
            return _embeddings.decoder(call, deployment, dialect, _ollama_embed.read)
        return OllamaAnswer(dialect.writer(call, deployment.model), call.id, call.stream)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def adapter() -> OllamaAdapter:
    """Returns the adapter of Ollama's own wire."""
    return OllamaAdapter()
