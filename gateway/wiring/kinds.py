"""Every kind of provider: its adapter, where it listens unless a config says otherwise, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from adapters import anthropic, azure, bedrock, cohere, compatible, gemini, ollama, openai, vertex, vllm
from adapters.dialects.chat import ChatDialect
from adapters.dialects.completions import CompletionsDialect
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from adapters.dialects.messages import MessagesDialect
from adapters.dialects.responses import ResponsesDialect
from gateway.config import Kind
from gateway.config.providers import Provider
from gateway.core.adapter import Adapter
from gateway.core.dialect import Dialect
from gateway.upstream.signing import Signer
from gateway.wiring import aws, google
from gateway.wiring import azure as entra

SIMULATOR: Final = "simulator"
_OPENAI_FAMILIES: Final = frozenset({"chat", "completions", "embeddings"})
_CHAT_AND_EMBEDDINGS: Final = frozenset({"chat", "embeddings"})


class Wire(msgspec.Struct, frozen=True):
    """One kind: `base_url` of None must be configured, `{region}` in one is that setting's value.

    `serves` are the endpoint families that it speaks.

    `path` is where its API begins on a server that is written without a path. `settings` are those of `CloudSettings`
    that it takes; `signer` makes what signs its requests (files are found from the config's folder), where a config
    gives an identity instead of a key. `counts`: it counts a prompt's tokens for whoever asks (`Call.counting`).
    """

    adapter: Callable[[], Adapter]
    base_url: str | None
    needs_key: bool = True
    serves: frozenset[str] = _OPENAI_FAMILIES
    path: str = ""
    settings: frozenset[str] = frozenset()
    counts: bool = False
    signer: Callable[[Provider, Path], Signer | None] | None = None
    address: Callable[[str | None], str] | None = None  # region -> base URL, where it depends on it


WIRES: Final[Mapping[str, Wire]] = {
    "openai": Wire(openai.adapter, openai.BASE_URL),
    "anthropic": Wire(anthropic.adapter, anthropic.BASE_URL, serves=frozenset({"chat"}), counts=True),
    "cohere": Wire(cohere.adapter, cohere.BASE_URL, serves=_CHAT_AND_EMBEDDINGS, path="/v2"),
    "ollama_native": Wire(ollama.adapter, ollama.BASE_URL, needs_key=False, serves=_CHAT_AND_EMBEDDINGS, path="/api"),
    "bedrock": Wire(
        bedrock.adapter,
        aws.BASE_URL,
        needs_key=False,  # AWS's own chain of credentials may have one
        serves=_CHAT_AND_EMBEDDINGS,
        settings=aws.SETTINGS,
        signer=aws.signer,
    ),
    "gemini": Wire(gemini.adapter, gemini.BASE_URL, serves=_CHAT_AND_EMBEDDINGS),
    "vertex": Wire(
        vertex.adapter,
        vertex.base_url(None),
        needs_key=False,  # the surroundings may have an identity
        serves=_CHAT_AND_EMBEDDINGS,
        settings=google.SETTINGS,
        signer=google.signer,
        address=vertex.base_url,
    ),
    "vllm": Wire(vllm.adapter, None, needs_key=False, path="/v1"),
    "azure": Wire(
        azure.adapter,
        None,
        needs_key=False,  # without one, an identity signs
        settings=frozenset({"endpoint", "api_version", "tenant_id", "client_id", "client_secret"}),
        signer=entra.signer,
    ),
    "openai_compatible": Wire(compatible.unknown, None, needs_key=False),
    SIMULATOR: Wire(openai.adapter, None, needs_key=False),
} | {
    kind: Wire(
        lambda kind=kind: compatible.adapter(kind),  # type: ignore[misc]
        row.base_url,
        row.needs_key,
        path=row.path,
        settings=frozenset({"region"}) if "{region}" in (row.base_url or "") else frozenset(),
    )
    for kind, row in compatible.KINDS.items()
}

KINDS: Final[Mapping[str, Kind]] = {
    name: Kind(
        needs_key=wire.needs_key,
        needs_base_url=wire.base_url is None and name != SIMULATOR,
        settings=wire.settings,
        needs_region="{region}" in (wire.base_url or ""),
    )
    for name, wire in WIRES.items()
}

DIALECTS: Final[Mapping[str, Dialect]] = {
    "chat": ChatDialect(),
    "completions": CompletionsDialect(),
    "embeddings": EmbeddingsDialect(),
    "responses": ResponsesDialect(),
    "messages": MessagesDialect(),
    "count_tokens": CountTokensDialect(),
}
