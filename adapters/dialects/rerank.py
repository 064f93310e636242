"""Reranking, as callers speak it: the shape that Jina and Cohere have in common, and vLLM and Together speak as well.

{model, query, documents, top_n, return_documents} -> {results: [{index, relevance_score, document?}], usage | meta}:
https://jina.ai/reranker, https://docs.cohere.com/reference/rerank, https://docs.vllm.ai/en/stable/serving (2026-11).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from adapters.dialects._relayed import Relayed
from gateway.core.types import Call, Headers


class _Request(msgspec.Struct, gc=False):
    documents: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1)]  # texts, or objects that hold one
    query: msgspec.Raw  # a text; Jina's multimodal models take an object
    model: str | None = None
    user: str | None = None


# Members by which Jina's and vLLM's multimodal rerankers are given more than text.
_MEDIA: Final = (b'"image', b'"video', b'"audio')

_request: Final = msgspec.json.Decoder(_Request)


class RerankDialect(Relayed):
    """The caller's wire of `POST /v1/rerank`."""

    name = "rerank"
    endpoint = "rerank"
    path = "/v1/rerank"

    def parse(self, call_id: str, body: bytes, headers: Headers, received_at: int = 0) -> Call:
        """Reads what routing needs; raises BadRequest with the field in `param`."""
        request = self._read(body, _request)
        media = any(map(_shows_media, (request.query, *request.documents)))
        return self._call(call_id, body, headers, received_at, model=request.model, user=request.user, has_media=media)


def _shows_media(document: msgspec.Raw) -> bool:
    """Says whether an object may hold more than text: where in doubt, it does."""
    written = bytes(document)
    return not written.startswith(b'"') and any(word in written for word in _MEDIA)
