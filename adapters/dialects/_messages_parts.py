"""The parts of an answer in Anthropic's Messages that are the same whole and streamed: usage, the end, framed blocks.

Source: https://platform.claude.com/docs/en/api/messages (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._signatures import holds, wrap
from adapters.dialects._messages_read import OF_BLOCK, PROVIDER
from gateway.core.blocks import Finished, ImagePart, Json, OpaqueBlock, ThinkingEnd
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode

_STOPS: Final[Mapping[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
# Words of Anthropic's that say more than ours; a provider of its models may give them.
# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons (2026-11)
_NATIVE_STOPS: Final = frozenset({"stop_sequence", "pause_turn", "model_context_window_exceeded"})

# What Anthropic's schema allows for `service_tier`; the field is left out for any other.
_TIERS: Final = {"standard": "standard", "default": "standard", "priority": "priority", "batch": "batch"}


def usage_object(usage: Usage | None) -> dict[str, Json]:
    """Writes usage as Anthropic counts it: `input_tokens` are those that no cache had a part in.

    Of the counts that the schema requires, those that nobody reported are 0.
    """
    usage = usage or Usage()
    written: dict[str, Json] = {
        "input_tokens": usage.fresh_input + usage.audio_input + usage.image_input,
        "cache_creation_input_tokens": usage.cache_write_5m + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cached_input,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning:
        written["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return written


def message_usage(usage: Usage | None) -> dict[str, Json]:
    """Writes the usage of a whole message, or of a stream's beginning, which has the split of cache writes too."""
    usage = usage or Usage()
    written = usage_object(usage)
    written["cache_creation"] = {
        "ephemeral_5m_input_tokens": usage.cache_write_5m,
        "ephemeral_1h_input_tokens": usage.cache_write_1h,
    }
    tier = _TIERS.get(usage.service_tier or "")
    if tier is not None:
        written["service_tier"] = tier
    return written


def ending(event: Finished | None, called: bool, refusal: str) -> dict[str, Json]:
    """Writes why the answer stopped; a word that nobody here knows goes on as it is, and is never a natural end."""
    if event is None:
        return {"stop_reason": None, "stop_sequence": None, "stop_details": None}
    reason = _STOPS.get(event.finish, event.finish)
    if event.native in _NATIVE_STOPS:
        reason = event.native
    elif reason == "end_turn":
        if called:  # OpenAI ends a call that was forced with "stop", and Gemini every one
            reason = "tool_use"
        elif event.stop_sequence is not None:
            reason = "stop_sequence"
        elif refusal:
            reason = "refusal"
    details = {"type": "refusal", "category": None, "explanation": refusal or None} if reason == "refusal" else None
    return {"stop_reason": reason, "stop_sequence": event.stop_sequence, "stop_details": details}


def signature(event: ThinkingEnd) -> str:
    """Returns the signature of a thinking block: bare where it holds at Anthropic, else framed: it never goes there."""
    if event.provider is not None and event.id is None and holds(event.provider, PROVIDER):
        return event.signature or ""
    return wrap(event.id or "", event.signature or "", event.provider)


def redacted(data: str, provider: str | None) -> dict[str, Json]:
    framed = data if provider == PROVIDER else wrap("", data, provider)
    return {"type": "redacted_thinking", "data": framed}


def opaque(event: OpaqueBlock) -> Json:
    if event.provider == PROVIDER:
        return event.value
    return {"type": "redacted_thinking", "data": wrap(OF_BLOCK, _encode(event.value).decode(), event.provider)}


def image(event: ImagePart) -> dict[str, Json]:
    return {"type": "image", "source": {"type": "base64", "media_type": event.media_type, "data": event.data}}


def citation(value: Json) -> Json:
    """Returns a citation in Anthropic's form; of one of the web's, Anthropic's has no span and wants an index."""
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind.endswith("_location"):
        return {name: part for name, part in value.items() if name not in ("start_index", "end_index")}
    given = value.get("url_citation") or value if isinstance(value, dict) else {}
    if not isinstance(given, dict):
        return None
    url = given.get("url") or given.get("source")
    if not isinstance(url, str):
        return None
    title = given.get("title")
    return {
        "type": "web_search_result_location",
        "url": url,
        "title": title if isinstance(title, str) else None,
        "cited_text": str(given.get("cited_text") or ""),
        "encrypted_index": "",
    }


def message(answer_id: str, model: str, content: list[dict[str, Json]], usage: Json) -> dict[str, Json]:
    return {
        "id": answer_id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "usage": usage,
    }


def tool_input(arguments: str, cut: bool) -> Json:
    """Returns a tool's input as the object it must be.

    Words that are none go in as Anthropic asks its own callers to send them back:
    https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming (2026-11)
    """
    try:
        read = msgspec.json.decode(arguments) if arguments.strip() else {}
    except UNREADABLE:
        read = None
    if isinstance(read, dict):
        return read
    return {} if cut else {"INVALID_JSON": arguments}
