"""Usage of a Response, normalised to disjoint buckets."""

from __future__ import annotations

from typing import Final

import msgspec

from adapters import _openai_usage
from adapters._blocks import UNREADABLE
from gateway.core.money import Usage


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct, gc=False):
    reasoning_tokens: int | None = None


class _Tokens(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


_decode: Final = msgspec.json.Decoder(_Tokens, strict=False).decode
_encode: Final = msgspec.json.Encoder().encode


def read_usage(raw: bytes, service_tier: str | None) -> Usage | None:
    """Normalises a Response's usage; None where it counts nothing, `suspect` where it contradicts itself.

    The input's tokens contain cached and cache-write ones, the output's contain reasoning
    (https://platform.openai.com/docs/api-reference/responses/object, 2026-11; xAI too, whose chat leaves it out:
    recorded, 2026-08): the rules are those of chat, under other names.
    """
    if raw in (b"", b"null"):
        return None
    try:
        tokens = _decode(raw)
    except UNREADABLE:
        return Usage(raw=raw, suspect=True, service_tier=service_tier)
    into, out_of = tokens.input_tokens_details or _InputDetails(), tokens.output_tokens_details or _OutputDetails()
    as_chat = {
        "prompt_tokens": tokens.input_tokens,
        "completion_tokens": tokens.output_tokens,
        "total_tokens": tokens.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": into.cached_tokens,
            "cache_write_tokens": into.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": out_of.reasoning_tokens},
    }
    usage = _openai_usage.read_usage(_encode(as_chat), service_tier)
    return None if usage is None else msgspec.structs.replace(usage, raw=raw)
