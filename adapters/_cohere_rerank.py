"""Reranking at Cohere: `POST /v2/rerank`. Source: https://docs.cohere.com/reference/rerank (2026-11).

Its answer has the shape that callers know; what its second version left out is put back: documents that are objects,
and documents that are returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, Declarations
from adapters._cohere_errors import in_band
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment

_OWN: Final = frozenset({"top_n", "max_tokens_per_doc", "priority"})
_READ: Final = frozenset({"model", "query", "documents", "return_documents"})

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def encode(call: Call, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Cohere cannot express."""
    declarations = Declarations(call.strict)
    asked = _asked(call)
    query = asked.get("query")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("query must be a text that is not empty", param="query")
    body: dict[str, Json] = {"model": deployment.model, "query": query, "documents": _texts(asked)}
    for name, value in asked.items():
        if name in _OWN:
            if value is not None:
                body[name] = value
        elif name not in _READ and value is not None:
            declarations.declare(name, "Cohere has no such field, left out")
    return UpstreamRequest(
        path=deployment.base_path.rstrip(b"/") + b"/rerank", body=_encode(body), warnings=declarations.warnings
    )


def _asked(call: Call) -> dict[str, Json]:
    try:
        asked = _decode(call.body)
    except UNREADABLE:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(asked, dict):
        raise BadRequest("the body must be a JSON object")
    return asked


def _texts(asked: dict[str, Json]) -> list[str]:
    """Returns the documents as the texts that they are or hold."""
    documents = asked.get("documents")
    if not isinstance(documents, list) or not documents:
        raise BadRequest("documents must be a list that is not empty", param="documents")
    texts = []
    for index, document in enumerate(documents):
        text = document.get("text") if isinstance(document, dict) else document
        if not isinstance(text, str) or not text:
            where = f"documents.{index}"
            raise BadRequest(f"{where} must be a text, or an object with one", param=where)
        texts.append(text)
    return texts


class RerankDecoder:
    """Gathers a body that comes in one piece, and hands it on with the documents that the caller wants back."""

    def __init__(self, call: Call) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._call = call
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where it holds no results."""
        try:
            answer = _decode(b"".join(self._pieces))
        except UNREADABLE:
            answer = None
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            if isinstance(answer, dict) and isinstance(answer.get("message"), str):
                raise in_band(answer)
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no results")
        asked = _asked(self._call)
        if asked.get("return_documents") is True:
            texts = _texts(asked)
            for result in results:
                index = result.get("index") if isinstance(result, dict) else None
                if not isinstance(index, int) or not 0 <= index < len(texts):
                    raise UpstreamError(Reason.SERVER_ERROR, "the provider ranked a document that it was not given")
                result["document"] = {"text": texts[index]}
        # Searches are billed, not tokens: a price of `per_request` books one.
        self.usage = Usage(raw=_encode(answer.get("meta")), uncounted=True)
        self.started = self.complete = True
        self.progress = 1
        return (
            _encode(
                {"id": answer.get("id"), "model": asked.get("model"), "results": results, "meta": answer.get("meta")}
            ),
        )
