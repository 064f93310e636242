"""Gemini's usage object in disjoint buckets.

Sources (2026-11): https://ai.google.dev/api/generate-content#UsageMetadata and recorded answers: `promptTokenCount`
holds the cached tokens; the total is prompt, candidates, thoughts and the tools' prompts together in all 94 of them.
Where a total says that the candidates hold the thoughts already, they are taken out. Tools' prompts are read by the
model like the caller's. Only audio and images have buckets of their own; what was cached of them is in the cached one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode

# As names, or as the numbers that a server writes which was asked for them.
_AUDIO: Final = ("AUDIO", 4)
_IMAGE: Final = ("IMAGE", 2)

_TRAFFIC: Final[Mapping[str, str]] = {
    "ON_DEMAND": "standard",
    "ON_DEMAND_PRIORITY": "priority",
    "ON_DEMAND_FLEX": "flex",
    "ON_DEMAND_OFFPEAK": "offpeak",
    "PROVISIONED_THROUGHPUT": "provisioned_throughput",
}


class _Counts:
    """Reads counts; `sound` is False once one made no sense."""

    __slots__ = ("_counts", "sound")

    def __init__(self, counts: Mapping[str, Json]) -> None:
        self._counts = counts
        self.sound = True

    def tokens(self, name: str) -> int:
        value = self._counts.get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or value < 0:
            self.sound = False
            return 0
        return value

    def of(self, details: str, modality: tuple[str, int]) -> int:
        listed = self._counts.get(details)
        found = 0
        for item in listed if isinstance(listed, list) else ():
            count = item.get("tokenCount", 0) if isinstance(item, dict) and item.get("modality") in modality else 0
            if isinstance(count, int) and count > 0:  # a count of none is left out of the object
                found += count
        return found


def counts_tokens(usage: Mapping[str, Json]) -> bool:
    """Says whether a usage object counts anything: the first ones of a stream may only name the traffic's type."""
    return "promptTokenCount" in usage or "totalTokenCount" in usage


def read_usage(usage: Mapping[str, Json]) -> Usage:
    """Normalises a usage object; `suspect` where it contradicts itself."""
    counts = _Counts(usage)
    prompt = counts.tokens("promptTokenCount")
    output = counts.tokens("candidatesTokenCount")
    thoughts = counts.tokens("thoughtsTokenCount")
    tools = counts.tokens("toolUsePromptTokenCount")
    total = counts.tokens("totalTokenCount")
    if total and total != prompt + tools + output + thoughts:
        if thoughts <= output and total == prompt + tools + output:
            output -= thoughts  # they were counted among the candidates' already
        else:
            counts.sound = False
    cached = counts.tokens("cachedContentTokenCount")
    if cached > prompt:
        counts.sound = False
        cached = prompt
    fresh = prompt - cached
    audio = _fresh_of(counts, _AUDIO, fresh)
    image = _fresh_of(counts, _IMAGE, fresh - audio)
    spoken = min(counts.of("candidatesTokensDetails", _AUDIO), output)
    return Usage(
        fresh_input=fresh - audio - image + tools,
        cached_input=cached,
        audio_input=audio,
        image_input=image,
        output_text=output - spoken,
        reasoning=thoughts,
        audio_output=spoken,
        raw=_encode(usage),
        suspect=not counts.sound,
        service_tier=_tier(usage),
    )


def _fresh_of(counts: _Counts, modality: tuple[str, int], most: int) -> int:
    """Returns the tokens of a modality that did not come from the cache."""
    return max(0, min(counts.of("promptTokensDetails", modality) - counts.of("cacheTokensDetails", modality), most))


def _tier(usage: Mapping[str, Json]) -> str | None:
    tier = usage.get("serviceTier")
    if isinstance(tier, str) and tier:
        return tier.lower()
    return _TRAFFIC.get(str(usage.get("trafficType")))
