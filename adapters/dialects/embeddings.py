"""OpenAI's embeddings, as callers speak it: https://platform.openai.com/docs/api-reference/embeddings (2026-11).

Beyond OpenAI's fields a caller may say what its vectors are for: `input_type`, in Cohere's words. Other fields go to
the provider that knows them.
"""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters.dialects._chat_fields import string, wrong
from adapters.dialects._openai_errors import error_body, error_event
from adapters.dialects._openai_request import TOKENS_MAX, read_body, read_headers
from gateway.core.blocks import Begin, Conversation, Embedded, Event, Json, Metered
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import Usage
from gateway.core.types import Call, Headers

INPUT_TYPES: Final = ("search_document", "search_query", "classification", "clustering")

# The same in Voyage's words and in NVIDIA's: https://docs.voyageai.com/docs/embeddings and
# https://docs.nvidia.com/nim/nemo-retriever/text-embedding/latest/reference.html (2026-11).
_OTHER_WORDS: Final = {"document": "search_document", "passage": "search_document", "query": "search_query"}

_FORMATS: Final = ("float", "base64")
_NAMED: Final = frozenset({"input", "model", "user", "dimensions", "encoding_format", "input_type"})
_BYTES_PER_TOKEN: Final = 4  # of the estimate where a provider counts nothing

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class _Request(msgspec.Struct, gc=False):
    # A text, texts, token ids, or lists of them.
    input: Annotated[str, msgspec.Meta(min_length=1)] | Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]
    model: str | None = None
    user: str | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=TOKENS_MAX)] | None = None
    encoding_format: str | None = None


_request: Final = msgspec.json.Decoder(_Request)


class EmbeddingsDialect:
    """The caller's wire of `POST /v1/embeddings`; never streamed."""

    name = "embeddings"
    numbered = False
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
        """Reads what is to be embedded; raises BadRequest whose `param` is the field's path (`input.2`)."""
        body = _read(call)
        input_type = string(body, "input_type")
        input_type = _OTHER_WORDS.get(input_type or "", input_type)
        if input_type is not None and input_type not in INPUT_TYPES:
            raise wrong("input_type", f"one of {', '.join(INPUT_TYPES)}")
        return EmbeddingRequest(
            inputs=_inputs(body.get("input")),
            dimensions=body.get("dimensions"),  # a count: `parse` has seen to it
            base64=_wants_base64(body),
            input_type=input_type,
            user=body.get("user"),
            extra={name: value for name, value in body.items() if name not in _NAMED and value is not None},
        )

    def fields(self, call: Call, names: Sequence[str]) -> Sequence[str]:
        return names

    def writer(self, call: Call, model: str) -> Writer:
        """Returns a writer of OpenAI's list; `model` is shown where the provider does not name its own."""
        return _Whole(call, model, self)

    def error(self, error: CallError) -> bytes:
        return error_body(error)

    def error_event(self, error: CallError, after: bytes = b"") -> bytes:
        return error_event(error)

    def replay(self, body: bytes, streamed: bool, call: Call, usage: Usage | None = None) -> bytes:
        return body


# -- reading ------------------------------------------------------------------------------------------------------


def _read(call: Call) -> dict[str, Json]:
    try:
        body = _decode(call.body)
    except UNREADABLE:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body


def _wants_base64(body: dict[str, Json]) -> bool:
    wanted = string(body, "encoding_format")
    if wanted is not None and wanted not in _FORMATS:
        raise wrong("encoding_format", "float or base64")
    return wanted == "base64"


def _inputs(value: Json) -> tuple[str | tuple[int, ...], ...]:
    """Reads the four forms of `input`: a text, texts, tokens, lists of tokens; in a list all are of one form."""
    if isinstance(value, str) and value:
        return (value,)
    if not isinstance(value, list) or not value:
        raise wrong("input", "a text, a list of texts, a list of tokens, or a list of such lists, and not empty")
    if isinstance(value[0], int):
        return (_tokens(value, "input"),)
    texts = isinstance(value[0], str)
    inputs: list[str | tuple[int, ...]] = []
    for index, item in enumerate(value):
        if texts and (not isinstance(item, str) or not item):
            raise wrong(f"input.{index}", "a text that is not empty")
        inputs.append(item if texts else _tokens(item, f"input.{index}"))
    return tuple(inputs)


def _tokens(value: Json, field: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value:
        raise wrong(field, "a list of tokens that is not empty")
    for index, token in enumerate(value):
        if not isinstance(token, int) or isinstance(token, bool) or token < 0:
            raise wrong(f"{field}.{index}", "a token's number")
    return tuple(value)


# -- writing ------------------------------------------------------------------------------------------------------


class _Whole:
    """One list of vectors, written when all have come; base64 where the caller asked for it."""

    __slots__ = ("_begin", "_call", "_dialect", "_model", "_usage", "_vectors")

    def __init__(self, call: Call, model: str, dialect: EmbeddingsDialect) -> None:
        self._call = call
        self._model = model
        self._dialect = dialect
        self._begin = Begin("", "")
        self._vectors: dict[int, Sequence[float]] = {}
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        if isinstance(event, Embedded):
            self._vectors[event.index] = event.vector
        elif isinstance(event, Begin):
            self._begin = event
        elif isinstance(event, Metered):
            self._usage = event.usage
        return b""

    def end(self) -> bytes:
        packed = _wants_base64(_read(self._call))
        return _encode(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else list(vector)}
                    for index, vector in sorted(self._vectors.items())
                ],
                "model": self._begin.model or self._model,
                "usage": self._counted(),
            }
        )

    def _counted(self) -> Json:
        """Writes the usage, which OpenAI's schema requires: an estimate says that it is one."""
        usage = self._usage
        if usage is not None:
            total = usage.input_tokens + usage.output_tokens
            return {"prompt_tokens": usage.input_tokens, "total_tokens": total}
        tokens = sum(
            -(-len(item.encode()) // _BYTES_PER_TOKEN) if isinstance(item, str) else len(item)
            for item in self._dialect.embedding_request(self._call).inputs
        )
        return {"prompt_tokens": tokens, "total_tokens": tokens, "estimated": True}


def _packed(vector: Sequence[float]) -> str:
    """Writes a vector as OpenAI packs it: base64 of float32, the lowest byte first."""
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
