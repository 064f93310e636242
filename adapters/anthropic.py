"""Anthropic's wire, `POST /v1/messages`: relayed to callers who speak it, translated for those of other dialects.

Source: https://platform.claude.com/docs/en/api/messages (2026-11-20).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from adapters._anthropic_decoders import StreamDecoder, UnaryDecoder
from adapters._anthropic_errors import fault
from adapters._anthropic_model import model_of
from adapters._anthropic_relay import CountRelay, StreamRelay, UnaryRelay
from adapters._anthropic_request import encode_request
from adapters._anthropic_splice import relayed
from adapters._anthropic_tools import Answering, answering
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest, UpstreamError
from gateway.core.types import Call, Deployment, Headers

BASE_URL: Final = "https://api.anthropic.com/v1"

_VERSION: Final = (b"anthropic-version", b"2023-06-01")
_OAUTH_PREFIX: Final = "sk-ant-oat"

_RELAYED: Final = "messages"  # the callers' dialect that is this very wire


class AnthropicAdapter:
    """Hands Anthropic's Messages on, and translates what other dialects ask."""

    name = "anthropic"

    def authorize(self, credential: str) -> Headers:
        """Returns an API key as `x-api-key`, an OAuth token as a bearer."""
        if credential.startswith(_OAUTH_PREFIX):
            return ((b"authorization", b"Bearer " + credential.encode()),)
        return ((b"x-api-key", credential.encode()),)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns nothing: Anthropic fetches images and documents from their URLs itself."""
        return ()

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Anthropic cannot express."""
        if call.dialect == _RELAYED:
            path = _base(deployment) + (b"/messages/count_tokens" if call.counting else b"/messages")
            return relayed(call, deployment, path, (_VERSION,))
        if call.endpoint != "chat":
            raise BadRequest(f"Anthropic has no {call.endpoint}", param="model")
        request = encode_request(call, dialect.conversation(call), deployment)
        return msgspec.structs.replace(request, headers=(*request.headers, _VERSION))

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.counting:
            return CountRelay()
        if call.dialect == _RELAYED:
            return StreamRelay() if call.stream else UnaryRelay()

        def undo() -> Answering:
            return answering(dialect.conversation(call), model_of(deployment))

        writer = dialect.writer(call, deployment.model)
        return StreamDecoder(writer, undo) if call.stream else UnaryDecoder(writer, undo)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def _base(deployment: Deployment) -> bytes:
    """Returns where Anthropic's API begins, whether or not a base URL names its version."""
    base = deployment.base_path.rstrip(b"/")
    return base if base.endswith(b"/v1") else base + b"/v1"


def adapter() -> AnthropicAdapter:
    """Returns the adapter of Anthropic."""
    return AnthropicAdapter()
