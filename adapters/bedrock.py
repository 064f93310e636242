"""Amazon Bedrock's wire: Converse and ConverseStream for chat, InvokeModel for embeddings.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_Operations_Amazon_Bedrock_Runtime.html (2026-11).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from adapters import _bedrock_embeddings, _embeddings
from adapters._bedrock_decoders import StreamDecoder, UnaryDecoder
from adapters._bedrock_errors import fault
from adapters._bedrock_media import remote_urls
from adapters._bedrock_model import family_of
from adapters._bedrock_request import encode_request, provider_of
from adapters._bedrock_tools import Answering, answering
from adapters._blocks import UNREADABLE
from gateway.core.adapter import Decoder, Fetch, Fetched, UpstreamRequest
from gateway.core.dialect import Dialect
from gateway.core.errors import UpstreamError
from gateway.core.types import Call, Deployment, Headers


class BedrockAdapter:
    """Translates to Converse and back."""

    name = "bedrock"

    def authorize(self, credential: str) -> Headers:
        """Returns a Bedrock API key as a bearer; every other identity signs, request by request."""
        return ((b"authorization", b"Bearer " + credential.encode()),)

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns the images and files that the caller gave by URL: Bedrock takes their bytes."""
        if not call.has_media:
            return ()
        try:
            body = msgspec.json.decode(call.body)
        except UNREADABLE:
            return ()
        return [Fetch(url, "messages") for url in dict.fromkeys(remote_urls(body))]

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest naming the field that Bedrock cannot express."""
        if call.endpoint == "embeddings":
            return _bedrock_embeddings.encode(call, dialect.embedding_request(call), deployment)
        return encode_request(call, dialect.conversation(call), deployment, fetched)

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        if call.endpoint == "embeddings":
            return _embeddings.decoder(call, deployment, dialect, _bedrock_embeddings.read)

        def undo() -> Answering:
            return answering(dialect.conversation(call), family_of(deployment))

        writer, provider = dialect.writer(call, deployment.model), provider_of(deployment)
        return StreamDecoder(writer, undo, provider) if call.stream else UnaryDecoder(writer, undo, provider)

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        return fault(status, headers, body)


def adapter() -> BedrockAdapter:
    """Returns the adapter of Bedrock."""
    return BedrockAdapter()
