"""OpenAI's embeddings, as callers speak it: https://platform.openai.com/docs/api-reference/embeddings (2026-11)."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from adapters.dialects._openai_errors import error_body, error_event
from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers


class _Request(msgspec.Struct, gc=False):
    # A text, texts, token ids, or lists of them.
    input: Annotated[str, msgspec.Meta(min_length=1)] | Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    model: str | None = None
    user: str | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | None = None
    encoding_format: str | None = None


_request: Final = msgspec.json.Decoder(_Request)


class EmbeddingsDialect:
    """The caller's wire of `POST /v1/embeddings`; relayed only, and never streamed."""

    name = "embeddings"
    endpoint = "embeddings"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`.

        The temperature is 0: the same input has the same embedding, so the answer may be cached.
        """
        request = read_body(body, _request)
        marks = read_headers(headers)
        return Call(
            id=call_id,
            endpoint="embeddings",
            dialect="embeddings",
            body=body,
            model=request.model or None,
            temperature=0.0,
            user=request.user,
            labels=marks.labels,
            cache_control=marks.cache_control,
            timeout_s=marks.timeout_s,
            strict=marks.strict,
            received_at=received_at,
        )

    def conversation(self, call: Call) -> Conversation:
        raise BadRequest("this deployment's provider does not speak /v1/embeddings")

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise BadRequest("no embeddings are asked for")

    def writer(self, call: Call, model: str) -> Writer:
        raise BadRequest("this deployment's provider does not speak /v1/embeddings")

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError) -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return body
