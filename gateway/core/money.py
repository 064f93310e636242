"""Usage in disjoint buckets, prices as exact rates, costs as integer nano-dollars.

A rate is an integer of nano-dollars per million tokens, so that every decimal price with up to nine places is exact
("0.025" dollars per million tokens = 25_000_000). A cost rounds once per line item, half up.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

INPUT_BUCKETS: Final = ("fresh_input", "cached_input", "cache_write_5m", "cache_write_1h", "audio_input", "image_input")
OUTPUT_BUCKETS: Final = ("output_text", "reasoning", "audio_output")
BUCKETS: Final = INPUT_BUCKETS + OUTPUT_BUCKETS

NANO_PER_USD: Final = 1_000_000_000
MILLION: Final = 1_000_000


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer; each token stands in exactly one bucket.

    `raw` is the provider's usage object as it came (JSON). `suspect` marks an object that contradicts itself
    (a negative bucket, or buckets that do not sum to the provider's totals); `estimated` one that we made. `uncounted`:
    what was used is counted in something else than tokens (seconds, images, characters), or not told at all.
    """

    fresh_input: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output_text: int = 0
    reasoning: int = 0
    audio_output: int = 0
    raw: bytes = b""
    suspect: bool = False
    estimated: bool = False
    service_tier: str | None = None
    uncounted: bool = False

    @property
    def input_tokens(self) -> int:
        """All tokens that went in, cached ones included."""
        return (
            self.fresh_input
            + self.cached_input
            + self.cache_write_5m
            + self.cache_write_1h
            + self.audio_input
            + self.image_input
        )

    @property
    def is_plain(self) -> bool:
        """Says whether all tokens are fresh input and output text, as most answers' are."""
        return not (
            self.cached_input
            or self.reasoning
            or self.cache_write_5m
            or self.cache_write_1h
            or self.audio_input
            or self.image_input
            or self.audio_output
        )

    @property
    def output_tokens(self) -> int:
        """All tokens that came out, reasoning included."""
        return self.output_text + self.reasoning + self.audio_output


class Rates(msgspec.Struct, frozen=True):
    """Nano-dollars per million tokens, bucket by bucket; None means the provider names no rate for that bucket."""

    fresh_input: int = 0
    cached_input: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    audio_input: int | None = None
    image_input: int | None = None
    output_text: int = 0
    reasoning: int | None = None
    audio_output: int | None = None


class Price(msgspec.Struct, frozen=True):
    """What a deployment's tokens cost.

    `version` is a content hash, kept in every receipt. `tiers` are (input tokens above which it holds, rates),
    ascending, the first at 0; the whole call is charged at the tier of its input size. `per_request_nano` is a fee
    per answered call. `source` says where the price is from: "catalogue", "config", "free", "ceiling"; of one's own
    GPUs "estimate", "measured", or "throughput" (their speed is the config's).
    `service_tiers` are the prices of the tiers an answer may name in its usage ("flex", "priority").
    """

    version: str
    tiers: tuple[tuple[int, Rates], ...]
    per_request_nano: int = 0
    source: str = "config"
    service_tiers: Mapping[str, Price] = {}

    def rates_for(self, input_tokens: int) -> Rates:
        """Returns the rates of the tier that a prompt of this size falls in."""
        rates = self.tiers[0][1]
        for above, tier in self.tiers[1:]:
            if input_tokens > above:
                rates = tier
        return rates


FREE: Final = Price(version="free", tiers=((0, Rates()),), source="free")


class Cost(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars of one answer: the total, the same by bucket (buckets at zero left out), and the price's version."""

    nano_usd: int
    lines: dict[str, int]
    price_version: str


def knows(price: Price, usage: Usage) -> bool:
    """Says whether a price says what a usage costs: one per token does not, where no tokens are counted."""
    rates = price.tiers[0][1]
    free = not (rates.fresh_input or rates.output_text)
    return not usage.uncounted or price.per_request_nano > 0 or free


_HALF: Final = MILLION // 2


def line_nano(tokens: int, rate: int) -> int:
    """Returns the nano-dollars of one line item, rounded half up."""
    return (tokens * rate + _HALF) // MILLION


# A bucket without a rate of its own is charged as the one it is a kind of.
_FALLBACK: Final = {
    "cached_input": "fresh_input",
    "cache_write_5m": "fresh_input",
    "cache_write_1h": "cache_write_5m",
    "audio_input": "fresh_input",
    "image_input": "fresh_input",
    "reasoning": "output_text",
    "audio_output": "output_text",
}


def rate_of(rates: Rates, bucket: str) -> int:
    """Returns the rate a bucket is charged at: its own, or that of the bucket it is a kind of."""
    rate: int | None = getattr(rates, bucket)
    while rate is None:
        bucket = _FALLBACK[bucket]
        rate = getattr(rates, bucket)
    return rate


def charge(usage: Usage, price: Price) -> Cost:
    """Prices a usage, bucket by bucket, at the price of the service tier that it names, if that has its own."""
    if price.service_tiers and usage.service_tier is not None:
        price = price.service_tiers.get(usage.service_tier, price)
    rates = price.tiers[0][1] if len(price.tiers) == 1 else price.rates_for(usage.input_tokens)
    lines: dict[str, int] = {}
    total = 0
    # Rounded half up, as `line_nano` does; written out for the two buckets that nearly every answer has.
    if usage.fresh_input:
        total = lines["fresh_input"] = (usage.fresh_input * rates.fresh_input + _HALF) // MILLION
    if usage.output_text:
        lines["output_text"] = line = (usage.output_text * rates.output_text + _HALF) // MILLION
        total += line
    if not usage.is_plain:
        for bucket in _OTHER_BUCKETS:
            tokens: int = getattr(usage, bucket)
            if tokens:
                lines[bucket] = line = line_nano(tokens, rate_of(rates, bucket))
                total += line
    if price.per_request_nano:
        lines["per_request"] = price.per_request_nano
        total += price.per_request_nano
    return Cost(total, lines, price.version)


_OTHER_BUCKETS: Final = tuple(bucket for bucket in BUCKETS if bucket not in ("fresh_input", "output_text"))


def rate_from_usd(per_million: str | Decimal) -> int:
    """Turns decimal dollars per million tokens into a rate; raises ValueError on more than nine decimals or a sign."""
    nano = Decimal(per_million) * NANO_PER_USD
    if not nano.is_finite() or nano < 0 or nano != nano.to_integral_value():
        raise ValueError(f"{per_million} is not an amount of dollars with at most nine decimals")
    return int(nano)


def usd(nano: int) -> str:
    """Writes nano-dollars as exact decimal dollars, without trailing zeros beyond cents."""
    text = f"{Decimal(nano) / NANO_PER_USD:.9f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction[:2]}{fraction[2:].rstrip('0')}"
