"""Embeddings at Google: `batchEmbedContents` at AI Studio, `predict` and `embedContent` at Vertex.

Sources (2026-11): https://ai.google.dev/api/embeddings and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, Declarations
from adapters._embeddings import Vectors, texts
from adapters._gemini_errors import error_of, in_band
from adapters._gemini_usage import counts_tokens, read_usage
from gateway.core.blocks import Json
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call

BATCH_MAX: Final = 100
PREDICT_MAX: Final = 250
_ALONE: Final = ("gemini-embedding-001",)  # one input a request at Vertex
_BY_CONTENT: Final = ("gemini-embedding-2",)  # and this one speaks embedContent there

_TASKS: Final[Mapping[str, str]] = {
    "search_document": "RETRIEVAL_DOCUMENT",
    "search_query": "RETRIEVAL_QUERY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


class Embedding(msgspec.Struct, frozen=True):
    """A request's verb, its body and what was declared."""

    verb: str
    body: dict[str, Json]
    warnings: tuple[str, ...] = ()


def at_studio(call: Call, request: EmbeddingRequest, model: str) -> Embedding:
    """Writes a request for AI Studio; `model` is its resource name ("models/gemini-embedding-001")."""
    declarations = Declarations(call.strict)
    own = _own(request, declarations)
    each = {
        "model": model,
        **_named(own.task, request.dimensions, "taskType", "outputDimensionality"),
        **_titled(own.title),
    }
    requests = [{**each, "content": {"parts": [{"text": text}]}} for text in texts(request, "Gemini", BATCH_MAX)]
    if own.truncate is not None:
        declarations.declare("auto_truncate", "Gemini has no such field, left out")
    return Embedding("batchEmbedContents", {"requests": requests}, declarations.warnings)


def at_vertex(call: Call, request: EmbeddingRequest, model: str) -> Embedding:
    """Writes a request for Vertex. It would cut inputs that are too long in silence: it does where a caller says so."""
    declarations = Declarations(call.strict)
    own = _own(request, declarations)
    truncate = own.truncate if own.truncate is not None else False
    if model.startswith(_BY_CONTENT):
        (text,) = texts(request, model, 1)
        body: dict[str, Json] = {
            "content": {"parts": [{"text": text}]},
            "autoTruncate": truncate,
            **_named(own.task, request.dimensions, "taskType", "outputDimensionality"),
            **_titled(own.title),
        }
        return Embedding("embedContent", body, declarations.warnings)
    most = 1 if model.startswith(_ALONE) else PREDICT_MAX
    each = {**_named(own.task, None, "task_type", ""), **_titled(own.title)}
    parameters = {"autoTruncate": truncate, **_named(None, request.dimensions, "", "outputDimensionality")}
    instances = [{"content": text, **each} for text in texts(request, model if most == 1 else "Vertex", most)]
    return Embedding("predict", {"instances": instances, "parameters": parameters}, declarations.warnings)


class _Own(msgspec.Struct, frozen=True):
    task: str | None
    title: str | None
    truncate: bool | None


def _own(request: EmbeddingRequest, declarations: Declarations) -> _Own:
    """Reads Google's own fields in either spelling; what is nobody's is declared."""
    extra = dict(request.extra)
    task = extra.pop("task_type", extra.pop("taskType", None))
    title = extra.pop("title", None)
    truncate = extra.pop("auto_truncate", extra.pop("autoTruncate", None))
    for field, value, kind in (("task_type", task, str), ("title", title, str), ("auto_truncate", truncate, bool)):
        if value is not None and not isinstance(value, kind):
            raise BadRequest(f"{field} must be a {kind.__name__}", param=field)
    for name in extra:
        declarations.declare(name, "Gemini has no such field, left out")
    if request.user is not None:
        declarations.declare("user", "Gemini has no such field, left out")
    if task is None and request.input_type is not None:
        task = _TASKS.get(request.input_type)
    return _Own(task, title, truncate)


def _named(task: str | None, dimensions: int | None, task_name: str, dimensions_name: str) -> dict[str, Json]:
    written: dict[str, Json] = {}
    if task is not None:
        written[task_name] = task
    if dimensions is not None:
        written[dimensions_name] = dimensions
    return written


def _titled(title: str | None) -> dict[str, Json]:
    return {} if title is None else {"title": title}


# -- answers ------------------------------------------------------------------------------------------------------


def read_vectors(body: bytes) -> Vectors:
    """Reads an answer of any of the verbs; raises UpstreamError for one that holds no vectors."""
    try:
        answer = msgspec.json.decode(body)
    except UNREADABLE:
        raise StreamCut("the answer is not whole JSON") from None
    error = error_of(answer)
    if error is not None:
        raise in_band(error)
    if not isinstance(answer, dict):
        raise _no_vectors()
    if isinstance(answer.get("predictions"), list):
        embedded = [each.get("embeddings") for each in answer["predictions"] if isinstance(each, dict)]
    elif isinstance(answer.get("embeddings"), list):
        embedded = answer["embeddings"]
    else:
        embedded = [answer.get("embedding")]
    vectors = []
    for each in embedded:
        values = each.get("values") if isinstance(each, dict) else None
        if not isinstance(values, list):
            raise _no_vectors()
        vectors.append(values)
    return Vectors(vectors, _usage(answer, embedded))


def _usage(answer: Mapping[str, Json], embedded: list[Json]) -> Usage | None:
    """Returns the tokens that were counted: for the request, or with each vector; AI Studio counts none."""
    counted = answer.get("usageMetadata")
    if isinstance(counted, dict) and counts_tokens(counted):
        return read_usage(counted)
    statistics = [each.get("statistics") for each in embedded]
    total = 0
    for each in statistics:
        count = each.get("token_count", each.get("tokenCount")) if isinstance(each, dict) else None
        if not isinstance(count, int | float) or isinstance(count, bool) or count < 0:
            return None
        total += int(count)
    return Usage(fresh_input=total, raw=msgspec.json.encode({"statistics": statistics})) if statistics else None


def _no_vectors() -> UpstreamError:
    return UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no vectors")
