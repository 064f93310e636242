"""Usage of OpenAI-shaped answers, normalised to disjoint buckets.

What `prompt_tokens` and `completion_tokens` contain differs between providers; each rule below names where it is from.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from gateway.core.money import Usage


class _PromptDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Tokens(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    # Writer spells the details without the plural.
    prompt_token_details: _PromptDetails | None = None
    completion_token_details: _CompletionDetails | None = None
    # Cached input beside the details rather than in them: DeepSeek
    # (https://api-docs.deepseek.com/guides/kv_cache, 2026-11), Together and Hugging Face, older Mistral.
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    num_cached_tokens: int | None = None
    service_tier: str | None = None


class _GroqExtension(msgspec.Struct, gc=False):
    usage: msgspec.Raw = msgspec.Raw(b"")


class _Carrier(msgspec.Struct, gc=False):
    """The parts of an answer or a chunk that usage is read from."""

    usage: msgspec.Raw = msgspec.Raw(b"")
    service_tier: str | None = None
    x_groq: _GroqExtension | None = None


_NO_PROMPT_DETAILS: Final = _PromptDetails()
_NO_COMPLETION_DETAILS: Final = _CompletionDetails()
_decode_carrier: Final = msgspec.json.Decoder(_Carrier).decode
# Some servers write counts as 12.0 or "12"; both are read.
_decode_tokens: Final = msgspec.json.Decoder(_Tokens, strict=False).decode


def usage_in(document: bytes) -> Usage | None:
    """Reads the usage of a whole answer or chunk; None where it holds none."""
    try:
        carrier = _decode_carrier(document)
    except UNREADABLE:
        return None
    raw = bytes(carrier.usage)
    if raw in (b"", b"null"):
        # Groq puts a stream's usage into its own extension, unless asked for the usual one
        # (https://console.groq.com/docs/api-reference, 2026-11).
        if carrier.x_groq is None:
            return None
        raw = bytes(carrier.x_groq.usage)
    return read_usage(raw, carrier.service_tier)


def read_usage(raw: bytes, service_tier: str | None) -> Usage | None:
    """Normalises a provider's usage object; None where it counts nothing, `suspect` where it contradicts itself."""
    if raw in (b"", b"null"):
        return None
    try:
        tokens = _decode_tokens(raw)
    except UNREADABLE:
        return Usage(raw=raw, suspect=True, service_tier=service_tier)
    total = tokens.total_tokens
    prompt = tokens.prompt_tokens
    completion = tokens.completion_tokens or 0
    if prompt is None:
        if total is None:
            return None
        prompt = total - completion  # Voyage's embeddings name the total alone
    into = tokens.prompt_tokens_details or tokens.prompt_token_details or _NO_PROMPT_DETAILS
    out_of = tokens.completion_tokens_details or tokens.completion_token_details or _NO_COMPLETION_DETAILS

    # OpenAI: prompt_tokens contains cached and cache-write tokens, completion_tokens contains reasoning
    # (https://platform.openai.com/docs/api-reference/chat/object, 2026-11).
    cached = (
        into.cached_tokens or tokens.prompt_cache_hit_tokens or tokens.cached_tokens or tokens.num_cached_tokens or 0
    )
    written = into.cache_write_tokens or 0
    audio = into.audio_tokens or 0
    image = into.image_tokens or 0
    reasoning = out_of.reasoning_tokens or 0
    spoken = out_of.audio_tokens or 0
    if total is not None and total != prompt + completion:
        if reasoning and total == prompt + completion + reasoning:
            completion += reasoning  # xAI leaves reasoning out of completion_tokens; its total holds it
        elif audio and total == prompt + audio + completion:
            prompt += audio  # Mistral leaves audio out of prompt_tokens; its total holds it

    fresh = prompt - cached - written
    text = completion - reasoning - spoken
    suspect = (
        fresh < 0
        or text < 0
        or cached < 0
        or written < 0
        or audio < 0
        or image < 0
        or reasoning < 0
        or spoken < 0
        or (total is not None and total != prompt + completion)
    )
    if suspect:  # the buckets still are no less than nothing, and sum to what the provider's own two counts say
        prompt, completion = max(0, prompt), max(0, completion)
        cached = min(max(0, cached), prompt)
        written = min(max(0, written), prompt - cached)
        fresh = prompt - cached - written
        audio, image = max(0, audio), max(0, image)
        reasoning = min(max(0, reasoning), completion)
        spoken = min(max(0, spoken), completion - reasoning)
        text = completion - reasoning - spoken
    if audio or image:
        # A cached token may be an audio or image token as well, and no provider says which are: it counts as cached.
        audio = min(audio, fresh)
        image = min(image, fresh - audio)
        fresh -= audio + image
    # By place: of the two ways of writing to the cache, these providers bill the short one.
    return Usage(
        fresh,
        cached,
        written,
        0,
        audio,
        image,
        text,
        reasoning,
        spoken,
        raw,
        suspect,
        False,
        service_tier or tokens.service_tier,
    )
