"""Every kind of provider: its adapter, where it listens unless a config says otherwise, and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from adapters import anthropic, azure, bedrock, cohere, compatible, gemini, ollama, openai, vertex, vllm
from adapters._anthropic_support import SUPPORT as ANTHROPIC
from adapters._bedrock_support import SUPPORT as BEDROCK
from adapters._cohere_support import SUPPORT as COHERE
from adapters._gemini_support import GEMINI, VERTEX
from adapters._ollama_support import SUPPORT as OLLAMA
from adapters._openai_media import PATHS as MEDIA
from adapters._support import RELAY, Quirk, Support
from adapters.dialects.audio import SpeechDialect, TranscriptionsDialect, TranslationsDialect
from adapters.dialects.chat import ChatDialect
from adapters.dialects.completions import CompletionsDialect
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from adapters.dialects.images import ImageEditsDialect, ImagesDialect, ImageVariationsDialect
from adapters.dialects.messages import MessagesDialect
from adapters.dialects.moderations import ModerationsDialect
from adapters.dialects.rerank import RerankDialect
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
_EVERY: Final = _OPENAI_FAMILIES | {"moderations", "images", "speech", "transcriptions", "rerank"}

# What a kind serves beside chat, completions and embeddings; a deployment still has to list it.
_BESIDE: Final[Mapping[str, frozenset[str]]] = {
    # https://console.groq.com/docs/speech-to-text and …/text-to-speech, 2026-11
    "groq": frozenset({"transcriptions", "speech"}),
    # its SDK's own resources (mistralai: /v1/moderations, /v1/audio/transcriptions), 2026-11
    "mistral": frozenset({"moderations", "transcriptions"}),
    # https://docs.together.ai/docs/inference/openai-compatibility and …/reference/rerank, 2026-11
    "together": frozenset({"images", "speech", "transcriptions", "rerank"}),
    # https://docs.x.ai/docs/overview, "Image Generation and Edit", 2026-11
    "xai": frozenset({"images"}),
}


class Wire(msgspec.Struct, frozen=True):
    """One kind: `base_url` of None must be configured, `{region}` in one is that setting's value.

    `serves` are the endpoint families that it speaks.

    `path` is where its API begins on a server that is written without a path. `settings` are those of `CloudSettings`
    that it takes; `signer` makes what signs its requests (files are found from the config's folder), where a config
    gives an identity instead of a key. `counts`: it counts a prompt's tokens for whoever asks (`Call.counting`).
    `support` is its row of the matrix.
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
    support: Support = RELAY


def _speaks(quirks: openai.Quirks, notes: tuple[compatible.Note, ...] = ()) -> Support:
    """Returns the row of a provider of OpenAI's wire: what it does not speak itself is translated to chat."""
    return Support(relays=quirks.relays | MEDIA.keys(), quirks=tuple(Quirk(note.what, note.source) for note in notes))


WIRES: Final[Mapping[str, Wire]] = {
    # OpenAI has no reranking (https://platform.openai.com/docs/api-reference, 2026-11)
    "openai": Wire(openai.adapter, openai.BASE_URL, serves=_EVERY - {"rerank"}, support=_speaks(openai.QUIRKS)),
    "anthropic": Wire(
        anthropic.adapter, anthropic.BASE_URL, serves=frozenset({"chat"}), counts=True, support=ANTHROPIC
    ),
    "cohere": Wire(
        cohere.adapter, cohere.BASE_URL, serves=_CHAT_AND_EMBEDDINGS | {"rerank"}, path="/v2", support=COHERE
    ),
    "ollama_native": Wire(
        ollama.adapter, ollama.BASE_URL, needs_key=False, serves=_CHAT_AND_EMBEDDINGS, path="/api", support=OLLAMA
    ),
    "bedrock": Wire(
        bedrock.adapter,
        aws.BASE_URL,
        needs_key=False,  # AWS's own chain of credentials may have one
        serves=_CHAT_AND_EMBEDDINGS,
        settings=aws.SETTINGS,
        signer=aws.signer,
        support=BEDROCK,
    ),
    "gemini": Wire(gemini.adapter, gemini.BASE_URL, serves=_CHAT_AND_EMBEDDINGS, counts=True, support=GEMINI),
    "vertex": Wire(
        vertex.adapter,
        vertex.base_url(None),
        needs_key=False,  # the surroundings may have an identity
        serves=_CHAT_AND_EMBEDDINGS,
        settings=google.SETTINGS,
        counts=True,
        signer=google.signer,
        address=vertex.base_url,
        support=VERTEX,
    ),
    # https://docs.vllm.ai/en/stable/serving/online_serving.html, 2026-11
    "vllm": Wire(
        vllm.adapter,
        None,
        needs_key=False,
        path="/v1",
        serves=_OPENAI_FAMILIES | {"transcriptions", "rerank"},
        counts=True,
        support=_speaks(vllm.QUIRKS),
    ),
    "azure": Wire(
        azure.adapter,
        None,
        needs_key=False,  # without one, an identity signs
        # https://learn.microsoft.com/en-us/azure/foundry/openai/reference, 2026-11
        serves=_OPENAI_FAMILIES | {"images", "speech", "transcriptions"},
        settings=frozenset({"endpoint", "api_version", "tenant_id", "client_id", "client_secret"}),
        signer=entra.signer,
        support=_speaks(openai.QUIRKS),
    ),
    "openai_compatible": Wire(
        compatible.unknown, None, needs_key=False, serves=_EVERY, support=_speaks(openai.Quirks())
    ),
    SIMULATOR: Wire(openai.adapter, None, needs_key=False, serves=_EVERY, support=_speaks(openai.QUIRKS)),
} | {
    kind: Wire(
        lambda kind=kind: compatible.adapter(kind),  # type: ignore[misc]
        row.base_url,
        row.needs_key,
        path=row.path,
        settings=frozenset({"region"}) if "{region}" in (row.base_url or "") else frozenset(),
        serves=_OPENAI_FAMILIES | _BESIDE.get(kind, frozenset()),
        support=_speaks(row.quirks, row.notes),
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
    "moderations": ModerationsDialect(),
    "images": ImagesDialect(),
    "image_edits": ImageEditsDialect(),
    "image_variations": ImageVariationsDialect(),
    "speech": SpeechDialect(),
    "transcriptions": TranscriptionsDialect(),
    "translations": TranslationsDialect(),
    "rerank": RerankDialect(),
}
