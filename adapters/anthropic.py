"""Anthropic's wire, `POST /v1/messages`, for callers of other dialects.

Source: https://platform.claude.com/docs/en/api/messages (2026-11-20).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters._anthropic_decoders import StreamDecoder, UnaryDecoder
from adapters._anthropic_errors import fault
from adapters._anthropic_model import model_of
from adapters._anthropic_request import encode_request
from adapters._anthropic_tools import Answering, answering
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "https://api.anthropic.com/v1"

_VERSION: Final = (b"anthropic-version", b"2023-06-01")
_OAUTH_PREFIX: Final = "sk-ant-oat"


class AnthropicAdapter:
    """Translates to Anthropic's Messages and back."""

    name = "anthropic"

    def authorize(self, credential: str) -> Headers:
        """Returns an API key as `x-api-key`, an OAuth token as a bearer, each with the API's version."""
        if credential.startswith(_OAUTH_PREFIX):
            return ((b"authorization", b"Bearer " + credential.encode()), _VERSION)
        return ((b"x-api-key", credential.encode()), _VERSION)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns nothing: Anthropic fetches images and documents from their URLs itself."""
        return ()

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Anthropic cannot express."""
        if call.endpoint != "chat":
            raise BadRequest(f"Anthropic has no {call.endpoint}", param="model")
        return encode_request(call, dialect.conversation(call), deployment)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        def undo() -> Answering:
            return answering(dialect.conversation(call), model_of(deployment))

        writer = dialect.writer(call, deployment.model)
        return StreamDecoder(writer, undo) if call.stream else UnaryDecoder(writer, undo)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def adapter() -> AnthropicAdapter:
    """Returns the adapter of Anthropic."""
    return AnthropicAdapter()
