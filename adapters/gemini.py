"""Gemini's wire at AI Studio, `POST /v1beta/models/…:generateContent`, for callers of other dialects.

Source: https://ai.google.dev/api/generate-content (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from adapters import _embeddings
from adapters._blocks import UNREADABLE
from adapters._counts import CountDecoder
from adapters._gemini_decoders import StreamDecoder, UnaryDecoder
from adapters._gemini_embeddings import at_studio, read_vectors
from adapters._gemini_errors import fault
from adapters._gemini_media import wanted
from adapters._gemini_request import encode_body, encode_json
from adapters._gemini_tools import callers_names
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "https://generativelanguage.googleapis.com/v1beta"

_SAFE: Final = "/@:-._~"  # what a resource's name keeps in a path


class GeminiAdapter:
    """Translates to Gemini's generateContent and embeddings, and back."""

    name = "gemini"

    def authorize(self, credential: str) -> Headers:
        """Returns the key in its header, not in the URL, which ends in logs."""
        return ((b"x-goog-api-key", credential.encode()),)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns the media that only their URL is given of, and that Google does not keep itself."""
        return needed(call)

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Gemini cannot express."""
        resource = deployment.model if "/" in deployment.model else f"models/{deployment.model}"
        base = f"{deployment.base_path.decode()}/{quote(resource, safe=_SAFE)}"
        if call.endpoint == "embeddings":
            embedding = at_studio(call, dialect.embedding_request(call), resource)
            return UpstreamRequest(
                f"{base}:{embedding.verb}".encode(), encode_json(embedding.body), warnings=embedding.warnings
            )
        body, warnings = encode_body(call, dialect.conversation(call), deployment, self.name, fetched)
        if call.counting:  # whole, as it would be asked: beside it `contents` alone could be counted
            body = {"generateContentRequest": {"model": resource, **body}}
        return UpstreamRequest(f"{base}:{verb(call)}".encode(), encode_json(body), warnings=warnings)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        return decoder(call, deployment, dialect, self.name)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def needed(call: Call) -> Sequence[Fetch]:
    """Returns the media to fetch, out of the body as it came."""
    if not call.has_media:
        return ()
    try:
        return wanted(msgspec.json.decode(call.body))
    except UNREADABLE:
        return ()


def verb(call: Call) -> str:
    """Returns the method's name, and the query that makes a stream an event stream."""
    if call.counting:
        return "countTokens"  # https://ai.google.dev/api/tokens (2026-11)
    return "streamGenerateContent?alt=sse" if call.stream else "generateContent"


def decoder(call: Call, deployment: Deployment, dialect: Dialect, provider: str) -> Decoder:
    """Returns a fresh decoder; `provider` is whose signatures the answer carries."""
    if call.endpoint == "embeddings":
        return _embeddings.decoder(call, deployment, dialect, read_vectors)

    if call.counting:
        return CountDecoder(dialect.writer(call, deployment.model), "totalTokens")

    def undo() -> Mapping[str, str]:
        return callers_names(dialect.conversation(call))

    writer = dialect.writer(call, deployment.model)
    kind = StreamDecoder if call.stream else UnaryDecoder
    return kind(writer, undo, provider, call.id)


def adapter() -> GeminiAdapter:
    """Returns the adapter of Gemini at AI Studio."""
    return GeminiAdapter()
