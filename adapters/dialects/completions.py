"""OpenAI's legacy completions, as callers speak it.

https://platform.openai.com/docs/api-reference/completions (2026-11).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from adapters.dialects import _openai_replay
from adapters.dialects._openai_errors import error_body, error_event
from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from gateway.core.blocks import Conversation
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers


class _StreamOptions(msgspec.Struct, gc=False):
    include_usage: bool | None = None


class _Request(msgspec.Struct, gc=False):
    prompt: str | list[msgspec.Raw]  # a text, texts, token ids, or lists of them
    model: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=TOKENS_MAX)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    user: str | None = None
    stream_options: _StreamOptions | None = None
    logprobs: int | None = None


_request: Final = msgspec.json.Decoder(_Request)


class CompletionsDialect:
    """The caller's wire of `POST /v1/completions`; relayed only, no provider's other wire is written from it."""

    name = "completions"
    numbered = False
    endpoint = "completions"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        request = read_body(body, _request)
        marks = read_headers(headers)
        options = request.stream_options
        needs = []
        if request.logprobs is not None:
            needs.append("logprobs")
        if request.n is not None and request.n > 1:
            needs.append("n")
        return Call(
            id=call_id,
            endpoint="completions",
            dialect="completions",
            body=body,
            model=request.model or None,
            stream=request.stream is True,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            n=request.n or 1,
            user=request.user,
            include_usage=options is not None and options.include_usage is True,
            needs=frozenset(needs),
            labels=marks.labels,
            cache_control=marks.cache_control,
            timeout_s=marks.timeout_s,
            strict=marks.strict,
            received_at=received_at,
        )

    def conversation(self, call: Call) -> Conversation:
        raise BadRequest("this deployment's provider does not speak /v1/completions")

    def embedding_request(self, call: Call) -> EmbeddingRequest:
        raise BadRequest("no embeddings are asked for")

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return names

    def writer(self, call: Call, model: str) -> Writer:
        raise BadRequest("this deployment's provider does not speak /v1/completions")

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return _openai_replay.replay(_openai_replay.COMPLETIONS, body, streamed, call, usage)
