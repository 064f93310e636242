"""Embeddings through InvokeModel, whose body is each model's own.

Sources (2026-11): https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
…/model-parameters-embed-v3.html, …/model-parameters-embed-v4.html and
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._bedrock_model import base_model
from adapters._bedrock_request import path_of
from adapters._blocks import UNREADABLE, Declarations
from adapters._embeddings import Vectors, texts
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment


class _Model(msgspec.Struct, frozen=True):
    """One model's body: how it is written, the inputs it takes at once, whether it takes dimensions and a purpose."""

    form: str
    inputs_max: int = 1
    dimensions: bool = False
    purpose: bool = False


_TITAN: Final = "titan"
_COHERE: Final = "cohere"
_NOVA: Final = "nova"

_ROWS: Final[tuple[tuple[str, _Model], ...]] = (
    ("amazon.titan-embed-text-v2", _Model(_TITAN, dimensions=True)),
    ("amazon.titan-embed-text-v1", _Model(_TITAN)),
    ("amazon.titan-embed-g1-text", _Model(_TITAN)),
    ("cohere.embed-v4", _Model(_COHERE, 96, dimensions=True, purpose=True)),
    ("cohere.embed-", _Model(_COHERE, 96, purpose=True)),
    ("amazon.nova-2-multimodal-embeddings", _Model(_NOVA, dimensions=True, purpose=True)),
)

# Cohere's words for what vectors are for -> Nova's.
_PURPOSES: Final[Mapping[str, str]] = {
    "search_document": "GENERIC_INDEX",
    "search_query": "GENERIC_RETRIEVAL",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


def encode(call: Call, asked: EmbeddingRequest, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that the model cannot express."""
    base = base_model(deployment)
    model = next((row for beginning, row in _ROWS if base.startswith(beginning)), None)
    if model is None:
        raise BadRequest(f"no embeddings are known of {base!r} on Bedrock", param="model")
    declarations = Declarations(call.strict)
    inputs = _texts(asked, model)
    if asked.dimensions is not None and not model.dimensions:
        raise BadRequest("the model's vectors have one length", param="dimensions")
    purpose = asked.input_type
    if purpose is not None and purpose not in _PURPOSES:
        raise BadRequest(f"input_type must be one of {', '.join(_PURPOSES)}", param="input_type")
    if purpose is None and model.purpose:
        purpose = "search_document"
        declarations.declare("input_type", "the model wants one, search_document was taken")
    elif purpose is not None and not model.purpose:
        declarations.declare("input_type", "the model has no such field, left out")
    # Of a text that is too long nothing is cut off in silence.
    truncate: Json = "NONE"
    for name, value in {"user": asked.user, **asked.extra}.items():
        if name == "truncate" and model.form != _TITAN:
            truncate = value
        elif value is not None:
            declarations.declare(name, "Bedrock has no such field, left out")
    return UpstreamRequest(
        path=path_of(deployment, "invoke"),
        body=msgspec.json.encode(_body(model, inputs, asked.dimensions, purpose or "", truncate)),
        warnings=declarations.warnings,
    )


def _texts(asked: EmbeddingRequest, model: _Model) -> list[str]:
    if model.inputs_max == 1 and len(asked.inputs) > 1:
        # A vector of Titan or Nova takes a call of its own, and an attempt is one request.
        raise BadRequest(
            f"input: the model takes one text a call, not {len(asked.inputs)}: send them one by one", param="input"
        )
    return texts(asked, "the model", model.inputs_max)


def _body(model: _Model, inputs: list[str], dimensions: int | None, purpose: str, truncate: Json) -> dict[str, Json]:
    if model.form == _TITAN:
        return {"inputText": inputs[0]} if dimensions is None else {"inputText": inputs[0], "dimensions": dimensions}
    if model.form == _COHERE:
        body: dict[str, Json] = {"texts": inputs, "input_type": purpose, "truncate": truncate}
        if model.dimensions:
            body["embedding_types"] = ["float"]
        if dimensions is not None:
            body["output_dimension"] = dimensions
        return body
    single: dict[str, Json] = {
        "embeddingPurpose": _PURPOSES[purpose],
        "text": {"truncationMode": truncate, "value": inputs[0]},
    }
    if dimensions is not None:
        single["embeddingDimension"] = dimensions
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": single}


class _Vector(msgspec.Struct, gc=False):
    embedding: list[float]


class _ByType(msgspec.Struct, gc=False):
    vectors: list[list[float]] = msgspec.field(name="float")


class _Answer(msgspec.Struct, gc=False):
    """Titan's `embedding`; Cohere's `embeddings`, bare or by type, or Nova's, each in an object."""

    embedding: list[float] | None = None
    embeddings: msgspec.Raw = msgspec.Raw()
    inputTextTokenCount: int | None = None


_decode: Final = msgspec.json.Decoder(_Answer).decode
_decode_bare: Final = msgspec.json.Decoder(list[list[float]]).decode
_decode_by_type: Final = msgspec.json.Decoder(_ByType).decode
_decode_objects: Final = msgspec.json.Decoder(list[_Vector]).decode


def read(body: bytes) -> Vectors:
    """Reads the answer; raises UpstreamError for one that holds no vectors.

    Titan alone counts its tokens in the body: the usage of the others is not known, and None.
    """
    try:
        answer = _decode(body)
        vectors = [answer.embedding] if answer.embedding is not None else _vectors(bytes(answer.embeddings))
    except UNREADABLE:
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no embeddings") from None
    count = answer.inputTextTokenCount
    if count is None:
        return Vectors(vectors)
    raw = b'{"inputTextTokenCount":%d}' % count
    return Vectors(vectors, Usage(fresh_input=max(0, count), raw=raw, suspect=count < 0))


def _vectors(raw: bytes) -> list[list[float]]:
    if raw.startswith(b"{"):
        return _decode_by_type(raw).vectors
    first = raw[1:].lstrip()[:1]
    if first == b"{":
        return [each.embedding for each in _decode_objects(raw)]
    return _decode_bare(raw or b"null")
