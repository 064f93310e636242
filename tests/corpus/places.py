"""Which of Headgate's kinds reads a recorded line, and what a line that none reads is skipped for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.core.adapter import Adapter, Decoder
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment
from gateway.wiring.kinds import DIALECTS, WIRES
from tests.corpus.lines import Record
from tests.corpus.readers import bedrock, chat, cohere, embeddings, gemini, messages, ollama, responses
from tests.corpus.reading import Reading

Read = Callable[[bytes], Reading]


class Wire(NamedTuple):
    """A provider's wire: how it is read, and the path by which a request to it is known."""

    whole: Read
    stream: Read
    path: re.Pattern[bytes]


def _unread(raw: bytes) -> Reading:
    raise AssertionError("this wire has no streams")


READERS: dict[str, Wire] = {
    name: Wire(whole, stream, re.compile(path))
    for name, whole, stream, path in (
        ("chat", chat.whole, chat.stream, rb"(?<!v2)/chat(/completions)?(\?|$)"),
        ("completions", chat.whole, chat.stream, rb"(?<!chat)/completions(\?|$)"),
        ("responses", responses.whole, responses.stream, rb"/responses(\?|$)"),
        ("messages", messages.whole, messages.stream, rb"/messages(\?|$)|:(streamR|r)awPredict"),
        ("gemini", gemini.whole, gemini.stream, rb":(generateContent|streamGenerateContent)"),
        ("converse", bedrock.whole, bedrock.stream, rb"/converse(-stream)?$"),
        ("cohere", cohere.whole, cohere.stream, rb"/v2/chat$"),
        ("ollama", ollama.whole, ollama.stream, rb"/api/chat$"),
        ("count_tokens", messages.counted, _unread, rb"/messages/count_tokens$"),
        ("moderations", embeddings.moderated, _unread, rb"/moderations$"),
        ("rerank", embeddings.reranked, _unread, rb"/rerank$"),
        ("embeddings", embeddings.openai, _unread, rb"/embeddings(\?|$)"),
        ("gemini_embeddings", embeddings.gemini, _unread, rb":(embedContent|batchEmbedContents|predict)"),
        ("cohere_embeddings", embeddings.cohere, _unread, rb"/v2/embed$"),
        ("ollama_embeddings", embeddings.ollama, _unread, rb"/api/embed$"),
    )
}

# The dialects that an answer of a wire is told in; its own is first, where it has one.
SPOKEN = {
    "chat": ("chat", "responses", "messages"),
    "completions": ("completions",),
    "responses": ("responses",),
    "messages": ("messages", "chat", "responses"),
    "gemini": ("chat", "responses", "messages"),
    "converse": ("chat", "responses", "messages"),
    "cohere": ("chat", "responses", "messages"),
    "ollama": ("chat", "responses", "messages"),
    "count_tokens": ("count_tokens",),
    "moderations": ("moderations",),
    "rerank": ("rerank",),
    "embeddings": ("embeddings",),
    "gemini_embeddings": ("embeddings",),
    "cohere_embeddings": ("embeddings",),
    "ollama_embeddings": ("embeddings",),
}

# The corpus names a surface; this is its wire.
_SURFACES = {
    "chat": "chat",
    "completions": "completions",
    "responses": "responses",
    "messages": "messages",
    "generate": "gemini",
    "converse": "converse",
    "chat.native": "ollama",
    "embeddings": "embeddings",
    "count_tokens": "count_tokens",
    "moderations": "moderations",
    "rerank": "rerank",
    "embeddings.native": "ollama_embeddings",
}
_OWN_WIRES = {
    ("cohere", "chat"): "cohere",
    ("cohere", "embeddings"): "cohere_embeddings",
    ("gemini", "embeddings"): "gemini_embeddings",
    ("vertex", "embeddings"): "gemini_embeddings",
}

# A provider of the corpus -> the kind that it is configured as; where none is named, the name itself.
_KINDS = {
    "bedrock-mantle": "bedrock_openai",
    "gpustack-vllm": "vllm",
    "llama.cpp": "llamacpp",
    "vercel-gateway": "vercel",
    "openai-compatible": "openai_compatible",
    "local": "openai_compatible",
    "mirascope-router": "openai_compatible",
    "pydantic-gateway": "openai_compatible",
    "portkey": "openai_compatible",
}
# The kinds that read a wire where the provider's own would choose another for this dialect, or has no row.
_READ_BY = {
    "chat": ("openai_compatible", "vllm"),
    "completions": ("openai_compatible",),
    "embeddings": ("openai_compatible",),
    "responses": ("openai", "openai_compatible"),
    "messages": ("anthropic",),
    "count_tokens": ("anthropic",),
    "moderations": ("openai",),
    "rerank": ("cohere", "openai_compatible"),
    "gemini": ("gemini", "vertex"),
    "converse": ("bedrock",),
    "cohere": ("cohere",),
    "ollama": ("ollama_native",),
    "gemini_embeddings": ("gemini", "vertex"),
    "cohere_embeddings": ("cohere",),
    "ollama_embeddings": ("ollama_native",),
}

_ASKED: dict[str, dict[str, Any]] = {
    "chat": {"messages": [{"role": "user", "content": "hi"}]},
    "completions": {"prompt": "hi"},
    "responses": {"input": "hi"},
    "messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000},
    "count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "moderations": {"input": "hi"},
    "rerank": {"query": "hi", "documents": ["ho", "hu"]},
    "embeddings": {"input": ["hi"], "encoding_format": "float"},
}
_OPTIONS = {"project": "p", "region": "us-east-1", "api_version": "2025-01-01"}


class Place(NamedTuple):
    """A deployment that reads a line, for a caller of one dialect."""

    adapter: Adapter
    deployment: Deployment
    dialect: Dialect

    def call(self, streamed: bool, **fields: Any) -> Call:
        """Returns a call of the dialect."""
        name = self.dialect.name
        body = {"model": "m", **_ASKED[name], **fields}
        if streamed:
            body["stream"] = True
            if name in ("chat", "completions"):
                body["stream_options"] = {"include_usage": True}
        return self.dialect.parse("call-1", json.dumps(body).encode(), (), 1_700_000_000)

    def decoder(self, streamed: bool, **fields: Any) -> Decoder:
        return self.adapter.decoder(self.call(streamed, **fields), self.deployment, self.dialect)


@cache
def adapter(kind: str) -> Adapter:
    """Returns the adapter of a kind."""
    return WIRES[kind].adapter()


def wire_of(record: Record) -> str | None:
    """Returns the wire of a line; None where no wire of ours speaks its surface."""
    provider, surface = record["provider"], record["surface"]
    path = record["request"].get("path") or ""
    if provider == "cohere" and path.startswith("/v1/"):
        return None
    if surface == "invoke" or provider == "portkey":
        return None
    return _OWN_WIRES.get((provider, surface), _SURFACES.get(surface))


def unspoken(record: Record) -> str:
    """Says why a line has no wire of ours."""
    provider, surface = record["provider"], record["surface"]
    if provider == "cohere":
        return "version 1 of Cohere's API, which is not spoken"
    if surface == "invoke":
        return "InvokeModel, in each model's own form; its models are reached by Converse"
    return f"/{surface} is not spoken"


def kinds_of(record: Record, wire: str) -> list[str]:
    """Returns the kinds that may read a line, the provider's own first."""
    provider = record["provider"]
    own = _KINDS.get(provider, provider.replace("-", "_").replace(".", ""))
    return [kind for kind in dict.fromkeys((own, *_READ_BY[wire])) if kind in WIRES]


def place_of(record: Record, wire: str, dialect: str, streamed: bool) -> Place | str:
    """Returns the deployment by which an answer of this wire reaches a caller of this dialect, or why none does."""
    if dialect not in DIALECTS:
        return f"the {dialect} dialect"
    why = f"no kind reads {wire}"
    for kind in kinds_of(record, wire):
        place = Place(adapter(kind), deployment_of(kind, record.get("model")), DIALECTS[dialect])
        try:
            sent = place.adapter.encode(place.call(streamed), place.deployment, place.dialect, {})
        except BadRequest as refused:
            why = f"{kind} for {dialect}: {refused.message}"
            continue
        if READERS[wire].path.search(sent.path):
            return place
        why = f"{kind} for {dialect} speaks another wire than {wire}"
    return why


def deployment_of(kind: str, model: str | None) -> Deployment:
    """Returns a deployment of a kind with this model."""
    return Deployment(
        name=kind,
        provider=kind,
        kind=kind,
        model=model or "m",
        adapter=adapter(kind).name,
        base_path=(urlsplit(WIRES[kind].base_url or "").path.rstrip("/") or WIRES[kind].path or "/v1").encode(),
        endpoints=(),
        options=_OPTIONS,
    )
