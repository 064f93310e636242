"""Embeddings at Ollama: `POST /api/embed`. Source: https://docs.ollama.com/api/embed (2026-11)."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters import _embeddings
from adapters._blocks import UNREADABLE, Declarations
from adapters._embeddings import Vectors
from adapters._ollama_errors import in_band
from adapters._ollama_request import OPTIONS, options
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Json
from gateway.core.embeddings import EmbeddingRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment

_OWN: Final = frozenset({"truncate", "keep_alive"})


class _Answer(msgspec.Struct, gc=False):
    model: str = ""
    embeddings: list[list[float]] | None = None
    prompt_eval_count: int | None = None
    error: Json = None


_decode: Final = msgspec.json.Decoder(_Answer).decode


def encode(call: Call, request: EmbeddingRequest, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Ollama cannot express."""
    declarations = Declarations(call.strict)
    body: dict[str, Json] = {
        "model": deployment.model,
        "input": _embeddings.texts(request, "Ollama", None),
        # OpenAI refuses a text that is too long; Ollama would leave its end out, and say nothing.
        "truncate": False,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.input_type is not None:
        declarations.declare("input_type", "Ollama's models are told by the text itself, left out")
    if request.user is not None:
        declarations.declare("user", "Ollama has no such field, left out")
    for name, value in request.extra.items():
        if name in _OWN:
            body[name] = value
        elif name not in OPTIONS and name != "options":
            declarations.declare(name, "Ollama has no such field, left out")
    own = options(request.extra, declarations)
    if own:
        body["options"] = own
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
    if answer.error is not None:
        raise in_band(answer.error)
    if answer.embeddings is None:
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no embeddings")
    count = answer.prompt_eval_count
    usage = None
    if count is not None:
        usage = Usage(fresh_input=max(0, count), raw=b'{"prompt_eval_count":%d}' % count, suspect=count < 0)
    return Vectors(answer.embeddings, usage, answer.model)
