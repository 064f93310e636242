"""What a relay looks at in OpenAI-shaped answers and chunks; everything else is skipped, not decoded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json

_NONE: Final = msgspec.Raw(b"")

# The providers' own words for ours; one that is not here is kept as it is, never taken for "stop".
_FINISHES: Final[Mapping[str, str]] = {
    "eos": "stop",  # Together
    "end_turn": "stop",
    "stop_sequence": "stop",
    "function_call": "tool_calls",  # OpenAI, before tools
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_length": "length",  # Mistral (https://docs.mistral.ai/api, 2026-11)
    "MAX_TOKENS": "length",
    "refusal": "content_filter",
}


class Present(msgspec.Struct, gc=False):
    """A JSON object of which only its being there counts."""


class Part(msgspec.Struct, gc=False):
    """A message or a delta. Mistral's `content` may be a list of parts (thinking, text)."""

    content: str | list[Present] | None = None
    reasoning_content: str | None = None  # DeepSeek, xAI, vLLM
    reasoning: str | None = None  # Groq, OpenRouter, Ollama, Cerebras
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    reasoning_details: list[msgspec.Raw] | None = None  # OpenRouter, where the reasoning itself is encrypted
    function_call: Present | None = None
    audio: Present | None = None
    images: list[Present] | None = None

    def size(self) -> int:
        """Returns the bytes of content: 0 for a role, an empty delta, a null."""
        total = 0
        content = self.content
        if content:
            total = text_size(content) if isinstance(content, str) else len(content)
        if self.reasoning_content:
            total += text_size(self.reasoning_content)
        elif self.reasoning:
            total += text_size(self.reasoning)
        elif self.reasoning_details:
            total += sum(map(len, self.reasoning_details))
        if self.refusal:
            total += text_size(self.refusal)
        if self.tool_calls:
            total += sum(map(len, self.tool_calls))
        if self.function_call is not None or self.audio is not None or self.images:
            total += 1
        return total


class Choice(msgspec.Struct, gc=False):
    """One choice of a chunk (`delta`), an answer (`message`) or a legacy completion (`text`)."""

    index: int | None = 0
    finish_reason: str | None = None
    delta: Part | None = None
    message: Part | None = None
    text: str | None = None

    def size(self) -> int:
        """Returns the bytes of content; of a chunk that has a message beside its delta (Perplexity), the delta's."""
        if self.delta is not None:
            return self.delta.size()
        if self.text:
            return text_size(self.text)
        return self.message.size() if self.message is not None else 0


class Chunk(msgspec.Struct, gc=False):
    """One event of a stream."""

    choices: list[Choice] | None = None
    usage: Present | None = None
    x_groq: Present | None = None
    error: msgspec.Raw = _NONE


class Answer(msgspec.Struct, gc=False):
    """A whole answer: `choices` of chat and completions, `data` of embeddings."""

    choices: list[Choice] | None = None
    data: list[Present] | None = None
    usage: msgspec.Raw = _NONE
    service_tier: str | None = None
    error: msgspec.Raw = _NONE


def text_size(text: str) -> int:
    """Returns the bytes of a text in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def finish_word(native: str) -> str:
    """Returns our word for a provider's finish reason, or the provider's own."""
    return _FINISHES.get(native, native)


def read_loosely(document: bytes) -> dict[str, Json] | None:
    """Reads JSON that the typed decoder refuses (NaN, lone surrogates, odd types); None where it is no JSON object."""
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def loose_choices(value: Json) -> list[Choice]:
    """Returns what can be read of `choices` whose types are odd; what cannot be read counts as absent."""
    return [_loose_choice(choice) for choice in value if isinstance(choice, dict)] if isinstance(value, list) else []


def _loose_choice(choice: Mapping[str, Json]) -> Choice:
    index = choice.get("index")
    finish = choice.get("finish_reason")
    return Choice(
        index=index if isinstance(index, int) else 0,
        finish_reason=finish if isinstance(finish, str) else None,
        delta=_loose_part(choice.get("delta")),
        message=_loose_part(choice.get("message")),
        text=_text(choice.get("text")),
    )


def _loose_part(part: Json) -> Part | None:
    if not isinstance(part, dict):
        return None
    content = part.get("content")
    calls = part.get("tool_calls")
    return Part(
        content=content if isinstance(content, str) else [Present()] if content else None,
        reasoning_content=_text(part.get("reasoning_content")),
        reasoning=_text(part.get("reasoning")),
        refusal=_text(part.get("refusal")),
        tool_calls=[msgspec.Raw(json.dumps(call).encode()) for call in calls] if isinstance(calls, list) else None,
        function_call=Present() if part.get("function_call") else None,
    )


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
