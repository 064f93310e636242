"""Bedrock's usage object in disjoint buckets.

Source: botocore's model of TokenUsage (1.44) and recorded answers (2025 and 2026): `inputTokens` holds neither cache
reads nor cache writes, `totalTokens` holds all; `cacheDetails` split the writes by time to live; reasoning is in
`outputTokens`, and no count of it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode


def read_usage(usage: Mapping[str, Json], tier: Json) -> Usage:
    """Normalises a usage object; `suspect` where it breaks a law. `tier` is the answer's `serviceTier`."""
    sound = True

    def tokens(counts: Mapping[str, Json], name: str) -> int:
        nonlocal sound
        value = counts.get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            sound = False
            return 0
        return value

    fresh, output = tokens(usage, "inputTokens"), tokens(usage, "outputTokens")
    cached, written = tokens(usage, "cacheReadInputTokens"), tokens(usage, "cacheWriteInputTokens")
    details = usage.get("cacheDetails")
    hour = 0
    if isinstance(details, list) and details:
        split = [detail for detail in details if isinstance(detail, dict)]
        hour = sum(tokens(detail, "inputTokens") for detail in split if detail.get("ttl") == "1h")
        sound = sound and sum(tokens(detail, "inputTokens") for detail in split) == written
    if hour > written:
        sound, hour = False, written
    if "totalTokens" in usage and tokens(usage, "totalTokens") != fresh + cached + written + output:
        sound = False
    kind = tier.get("type") if isinstance(tier, dict) else None
    return Usage(
        fresh_input=fresh,
        cached_input=cached,
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        output_text=output,
        raw=_encode(usage),
        suspect=not sound,
        service_tier=kind if isinstance(kind, str) else None,
    )
