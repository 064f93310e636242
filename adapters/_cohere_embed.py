"""Embeddings at Cohere: `POST /v2/embed`. Source: https://docs.cohere.com/reference/embed (2026-11)."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters import _embeddings
from adapters._blocks import UNREADABLE, Declarations
from adapters._cohere_errors import in_band
from adapters._cohere_usage import read_usage
from adapters._embeddings import Vectors
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.types import Call, Deployment

_TEXTS_MAX: Final = 96
_OWN: Final = frozenset({"truncate", "max_tokens", "priority"})


class _Vectors(msgspec.Struct, gc=False):
    float_: list[list[float]] | None = msgspec.field(default=None, name="float")


class _Answer(msgspec.Struct, gc=False):
    id: str = ""
    embeddings: _Vectors | None = None
    meta: Json = None
    message: Json = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


def encode(call: Call, request: EmbeddingRequest, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Cohere cannot express."""
    declarations = Declarations(call.strict)
    if request.input_type is None:
        declarations.declare("input_type", "Cohere must know what vectors are for: search_document is taken")
    body: dict[str, Json] = {
        "model": deployment.model,
        "texts": _embeddings.texts(request, "Cohere", _TEXTS_MAX),
        "input_type": request.input_type or "search_document",
        "embedding_types": ["float"],
        # OpenAI refuses a text that is too long; Cohere would leave its end out, and say nothing.
        "truncate": "NONE",
    }
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    if request.user is not None:
        declarations.declare("user", "Cohere has no such field, left out")
    for name, value in request.extra.items():
        if name in _OWN:
            body[name] = value
        elif name == "embedding_types":
            if value != ["float"]:
                raise BadRequest("embedding_types: the vectors of this endpoint are floats", param=name)
        else:
            declarations.declare(name, "Cohere has no such field, left out")
    return UpstreamRequest(
        path=deployment.base_path.rstrip(b"/") + b"/embed",
        body=msgspec.json.encode(body),
        warnings=declarations.warnings,
    )


def read(body: bytes) -> Vectors:
    """Reads the answer; raises UpstreamError for one that holds no vectors."""
    try:
        answer = _decode(body)
    except UNREADABLE:
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no embeddings") from None
    if answer.embeddings is None or answer.embeddings.float_ is None:
        if isinstance(answer.message, str):
            raise in_band({"message": answer.message})
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no embeddings")
    return Vectors(answer.embeddings.float_, read_usage(answer.meta), id=answer.id)
