"""Anthropic's usage object in disjoint buckets.

Source: https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance and
…/build-with-claude/compaction#understanding-usage (2026-11-20): `input_tokens` holds neither cache reads nor cache
writes; the top-level counts leave out compaction and advisor iterations, which are billed; thinking is in
`output_tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode


class _Count:
    """Tokens summed over the iterations of one answer; `sound` is False once a count made no sense."""

    __slots__ = ("cached", "fresh", "output", "sound", "write_1h", "write_5m")

    def __init__(self) -> None:
        self.fresh = self.cached = self.write_5m = self.write_1h = self.output = 0
        self.sound = True

    def add(self, counts: Mapping[str, Json]) -> None:
        self.fresh += self.tokens(counts, "input_tokens")
        self.cached += self.tokens(counts, "cache_read_input_tokens")
        self.output += self.tokens(counts, "output_tokens")
        written = self.tokens(counts, "cache_creation_input_tokens")
        split = counts.get("cache_creation")
        if not isinstance(split, dict):
            self.write_5m += written  # five minutes is what a marker without a ttl asks for
            return
        hour = self.tokens(split, "ephemeral_1h_input_tokens")
        five = self.tokens(split, "ephemeral_5m_input_tokens")
        if hour + five != written:
            self.sound = False
            five = max(0, written - hour)
        self.write_1h += min(hour, written)
        self.write_5m += five

    def tokens(self, counts: Mapping[str, Json], name: str) -> int:
        value = counts.get(name)
        if value is None:
            return 0
        if not isinstance(value, int) or value < 0:
            self.sound = False
            return 0
        return int(value)


def merged(first: Mapping[str, Json], last: Mapping[str, Json]) -> dict[str, Json]:
    """Returns a stream's usage: what `message_delta` says (it is cumulative) over what `message_start` said.

    `message_delta` repeats the sum of the cache writes without their split; where the sum grew, the split no longer
    holds and is taken from the iterations, if it is there.
    """
    usage = {**first, **{name: value for name, value in last.items() if value is not None}}
    written = usage.get("cache_creation_input_tokens")
    if written != first.get("cache_creation_input_tokens") and "cache_creation" not in last:
        usage.pop("cache_creation", None)
    return usage


def read_usage(usage: Mapping[str, Json], model: str) -> Usage:
    """Normalises a usage object; `suspect` where it breaks a law, or holds tokens of another model than `model`."""
    count = _Count()
    iterations = usage.get("iterations")
    foreign = False
    if isinstance(iterations, list) and iterations and all(isinstance(item, dict) for item in iterations):
        for iteration in iterations:
            count.add(iteration)
            # An advisor's tokens, or those of a model that declined before a fallback, have another price than ours.
            foreign = foreign or iteration.get("model", model) != model
        if count.output < _Count().tokens(usage, "output_tokens"):
            count.sound = False
        if len(iterations) == 1 and isinstance(usage.get("cache_creation"), dict):
            count = _Count()
            count.add(usage)
    else:
        count.add(usage)
    details = usage.get("output_tokens_details")
    reasoning = details.get("thinking_tokens") if isinstance(details, dict) else None
    if not isinstance(reasoning, int) or reasoning < 0:
        reasoning = 0
    elif reasoning > count.output:
        count.sound = False
        reasoning = count.output
    tier = usage.get("service_tier")
    return Usage(
        fresh_input=count.fresh,
        cached_input=count.cached,
        cache_write_5m=count.write_5m,
        cache_write_1h=count.write_1h,
        output_text=count.output - reasoning,
        reasoning=reasoning,
        raw=_encode(usage),
        suspect=foreign or not count.sound,
        service_tier=tier if isinstance(tier, str) else None,
    )
