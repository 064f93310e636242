"""Embeddings through InvokeModel, whose body is each model's own.

Sources (2026-11): https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html,
…/model-parameters-embed-v3.html, …/model-parameters-embed-v4.html and
https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from adapters._bedrock_model import base_model
from adapters._bedrock_request import path_of
from adapters._blocks import UNREADABLE, Declarations
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Begin, Embedded, Json, Metered
from gateway.core.dialect import Writer
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
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


def encode_embedding(call: Call, asked: EmbeddingRequest, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that the model cannot express."""
    name = base_model(deployment)
    model = next((row for beginning, row in _ROWS if name.startswith(beginning)), None)
    if model is None:
        raise BadRequest(f"no embeddings are known of {name!r} on Bedrock", param="model")
    declarations = Declarations(call.strict)
    texts = _texts(asked, model)
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
    for field in asked.extra:
        declarations.declare(field, "Bedrock has no such field, left out")
    return UpstreamRequest(
        path=path_of(deployment, "invoke"),
        body=msgspec.json.encode(_body(model, texts, asked.dimensions, purpose or "")),
        warnings=declarations.warnings,
    )


def _texts(asked: EmbeddingRequest, model: _Model) -> list[str]:
    texts = [each for each in asked.inputs if isinstance(each, str)]
    if len(texts) != len(asked.inputs):
        raise BadRequest("the model takes texts, not tokens", param="input")
    if len(texts) > model.inputs_max:
        # A vector of Titan or Nova takes a call of its own, and an attempt is one request.
        most = "one text" if model.inputs_max == 1 else f"{model.inputs_max} texts"
        raise BadRequest(f"the model takes {most} a call, not {len(texts)}: send them one by one", param="input")
    return texts


def _body(model: _Model, texts: list[str], dimensions: int | None, purpose: str) -> dict[str, Json]:
    if model.form == _TITAN:
        return {"inputText": texts[0]} if dimensions is None else {"inputText": texts[0], "dimensions": dimensions}
    if model.form == _COHERE:
        # Of a text that is too long nothing is cut off in silence.
        body: dict[str, Json] = {"texts": texts, "input_type": purpose, "truncate": "NONE"}
        if model.dimensions:
            body["embedding_types"] = ["float"]
        if dimensions is not None:
            body["output_dimension"] = dimensions
        return body
    single: dict[str, Json] = {
        "embeddingPurpose": _PURPOSES[purpose],
        "text": {"truncationMode": "NONE", "value": texts[0]},
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


class EmbeddingDecoder:
    """Gathers the answer and writes its vectors at its end.

    Titan alone counts its tokens in the body: the usage of the others is not known, and None.
    """

    def __init__(self, writer: Writer) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the caller's body; raises UpstreamError where a 200 holds no vectors."""
        try:
            answer = _decode(b"".join(self._pieces))
            vectors = [answer.embedding] if answer.embedding is not None else _vectors(bytes(answer.embeddings))
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no vectors") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        if answer.inputTextTokenCount is not None:
            raw = b'{"inputTextTokenCount":%d}' % answer.inputTextTokenCount
            self.usage = Usage(fresh_input=max(0, answer.inputTextTokenCount), raw=raw)
        out = [self._writer.write(Begin("", ""))]
        out.extend(self._writer.write(Embedded(index, vector)) for index, vector in enumerate(vectors))
        if self.usage is not None:
            out.append(self._writer.write(Metered(self.usage)))
        out.append(self._writer.end())
        self.started = self.complete = True
        self.progress = len(vectors)
        return (b"".join(out),)


def _vectors(raw: bytes) -> list[list[float]]:
    if raw.startswith(b"{"):
        return _decode_by_type(raw).vectors
    first = raw[1:].lstrip()[:1]
    if first == b"{":
        return [each.embedding for each in _decode_objects(raw)]
    return _decode_bare(raw or b"null")
