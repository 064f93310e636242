"""Cohere's wire, version 2: chat, embeddings and reranking.

Source: https://docs.cohere.com/reference/about (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters import _cohere_embed, _cohere_rerank, _embeddings
from adapters._cohere_answer import CohereAnswer
from adapters._cohere_errors import fault
from adapters._cohere_request import encode_request, renamed
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "https://api.cohere.com/v2"


class CohereAdapter:
    """Translates to Cohere's chat, embeddings and reranking, and back."""

    name = "cohere"

    def authorize(self, credential: str) -> Headers:
        return ((b"authorization", b"Bearer " + credential.encode()),)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns nothing: Cohere fetches images from their URLs itself."""
        return ()

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Cohere cannot express."""
        if call.endpoint == "embeddings":
            return _cohere_embed.encode(call, dialect.embedding_request(call), deployment)
        if call.endpoint == "rerank":
            return _cohere_rerank.encode(call, deployment)
        if call.endpoint != "chat":
            raise BadRequest(f"Cohere has no {call.endpoint}", param="model")
        return encode_request(call, dialect.conversation(call), deployment)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.endpoint == "embeddings":
            return _embeddings.decoder(call, deployment, dialect, _cohere_embed.read)
        if call.endpoint == "rerank":
            return _cohere_rerank.RerankDecoder(call)

        def names() -> Mapping[str, str]:
            return renamed(dialect.conversation(call))

        return CohereAnswer(dialect.writer(call, deployment.model), deployment.model, names, call.stream)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def adapter() -> CohereAdapter:
    """Returns the adapter of Cohere."""
    return CohereAdapter()
