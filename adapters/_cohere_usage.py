"""Cohere's usage in disjoint buckets: what is billed.

`billed_units` are the tokens that are paid for; `tokens` hold the ones that Cohere puts in by itself too, which are
free: https://docs.cohere.com/docs/how-does-cohere-pricing-work (2026-11). `cached_tokens` are of those in `tokens`,
more than are billed at all (recorded, 2026-08), and have no price of their own: they are no bucket. Where nothing is
billed (a private deployment) the tokens count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.blocks import Json
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode


class _Counts:
    """Counts of one object; `sound` is False once one made no sense."""

    __slots__ = ("_counts", "sound")

    def __init__(self, counts: Json) -> None:
        self._counts: Mapping[str, Json] = counts if isinstance(counts, dict) else {}
        self.sound = True

    def __bool__(self) -> bool:
        return any(isinstance(self._counts.get(name), int | float) for name in ("input_tokens", "output_tokens"))

    def names(self, name: str) -> bool:
        return name in self._counts

    def of(self, name: str) -> int:
        value = self._counts.get(name)
        if value is None:
            return 0
        if not isinstance(value, int | float) or isinstance(value, bool) or value < 0 or value != int(value):
            self.sound = False
            return 0
        return int(value)


def read_usage(usage: Json) -> Usage | None:
    """Normalises the `usage` of a chat or the `meta` of an embedding; None where it counts nothing."""
    if not isinstance(usage, dict):
        return None
    billed, tokens = _Counts(usage.get("billed_units")), _Counts(usage.get("tokens"))
    counts = billed or tokens
    if not counts:
        return None
    whole_input, output = counts.of("input_tokens"), counts.of("output_tokens")
    image = min(tokens.of("image_tokens"), whole_input)  # billed input holds them (recorded, 2026-08)
    fresh = whole_input - image
    if not tokens.names("image_tokens"):
        image = billed.of(
            "image_tokens"
        )  # an embedding's stand beside its input: https://docs.cohere.com/reference/embed
    cached = min(_Counts(usage).of("cached_tokens"), fresh) if counts is tokens else 0
    reasoning = min(tokens.of("reasoning_tokens"), output)  # with its marks, which are not billed
    return Usage(
        fresh_input=fresh - cached,
        cached_input=cached,
        image_input=image,
        output_text=output - reasoning,
        reasoning=reasoning,
        raw=_encode(usage),
        suspect=not (billed.sound and tokens.sound),
    )
