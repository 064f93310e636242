"""Why a receipt costs what it costs: each bucket's tokens, rate, exact amount and rounding, and what failed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from gateway.accounting.tables import table
from gateway.core.money import BUCKETS, MILLION, OUTPUT_BUCKETS, Price, line_nano, rate_of, usd

_PER_REQUEST: Final = "per_request"


class CostLine(msgspec.Struct, frozen=True):
    """One line: tokens, the rate in dollars per million of them, the exact nano-dollars, and what was booked.

    `exact_nano` is decimal text, rounded half up to `nano_usd`. Rate and amount are None where the price is not known.
    """

    bucket: str
    tokens: int
    usd_per_million: str | None
    exact_nano: str | None
    nano_usd: int
    usd: str


class FailedLine(msgspec.Struct, frozen=True):
    """A failed attempt that cost money: its buckets as they were booked."""

    deployment: str
    reason: str | None
    tokens: dict[str, int]
    cost: dict[str, int]
    nano_usd: int
    usd: str


class CostExplained(msgspec.Struct, frozen=True):
    """A receipt's cost, line by line. `usd` of None is unknown.

    `tier_above` is how many input tokens the prompt had to pass for these rates, where the price has tiers. `agrees`:
    the lines make up what was booked; None where the price is not kept, and nothing can be said. `notes` say the rest.
    """

    id: str
    price_version: str | None
    price_source: str | None
    tier_above: int | None
    lines: tuple[CostLine, ...]
    failed: tuple[FailedLine, ...]
    nano_usd: int | None
    usd: str | None
    agrees: bool | None
    estimated: bool
    notes: tuple[str, ...]


def explain_cost(receipt: Mapping[str, Any], price_of: Callable[[str], Price | None]) -> CostExplained:
    """Explains a receipt (as it is kept, decoded); `price_of` finds a price by its version."""
    version = receipt.get("price_version")
    price = price_of(version) if version is not None else None
    tokens: dict[str, int] = receipt.get("tokens", {})
    booked: dict[str, int] = receipt.get("cost", {})
    total: int | None = receipt.get("cost_nano")
    input_tokens = sum(count for bucket, count in tokens.items() if bucket not in OUTPUT_BUCKETS)
    lines = _lines(tokens, booked, price, input_tokens) if total is not None else ()
    failed = tuple(
        FailedLine(
            attempt["deployment"],
            attempt.get("reason"),
            attempt.get("tokens", {}),
            attempt.get("cost", {}),
            attempt.get("cost_nano", 0),
            usd(attempt.get("cost_nano", 0)),
        )
        for attempt in receipt.get("attempts", ())
        if attempt.get("cost_nano")
    )
    agrees = None
    if price is not None and total is not None:
        again = all(line.exact_nano is not None and line.nano_usd == _rounded(line.exact_nano) for line in lines)
        agrees = again and total == sum(line.nano_usd for line in lines) + sum(line.nano_usd for line in failed)
    return CostExplained(
        id=receipt["id"],
        price_version=version,
        price_source=price.source if price is not None else None,
        tier_above=_tier(price, input_tokens) if price is not None else None,
        lines=lines,
        failed=failed,
        nano_usd=total,
        usd=None if total is None else usd(total),
        agrees=agrees,
        estimated=bool(receipt.get("estimated")),
        notes=tuple(_notes(receipt, price, failed)),
    )


def _lines(
    tokens: Mapping[str, int], booked: Mapping[str, int], price: Price | None, input_tokens: int
) -> tuple[CostLine, ...]:
    rates = price.rates_for(input_tokens) if price is not None else None
    found = []
    for bucket in BUCKETS:
        count = tokens.get(bucket, 0)
        if not count:
            continue
        rate = rate_of(rates, bucket) if rates is not None else None
        nano = booked.get(bucket, 0)
        exact = None if rate is None else _text(Decimal(count * rate) / MILLION)
        per_million = None if rate is None else usd(rate)
        found.append(CostLine(bucket, count, per_million, exact, nano, usd(nano)))
    if fee := booked.get(_PER_REQUEST, 0):
        found.append(CostLine(_PER_REQUEST, 0, None, str(fee) if price is not None else None, fee, usd(fee)))
    return tuple(found)


def _rounded(exact_nano: str) -> int:
    return line_nano(1, int(Decimal(exact_nano) * MILLION))


def _text(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _tier(price: Price, input_tokens: int) -> int | None:
    if len(price.tiers) == 1:
        return None
    return max(above for above, _ in price.tiers if above == 0 or input_tokens > above)


def _notes(receipt: Mapping[str, Any], price: Price | None, failed: tuple[FailedLine, ...]) -> list[str]:
    notes = []
    if receipt.get("cache") == "hit":
        saved = receipt.get("saved_nano")
        notes.append("answered from the cache" + (f", which saved ${usd(saved)}" if saved else ""))
    elif receipt.get("cost_nano") is None:
        notes.append("nobody was asked, or the price is unknown: no sum holds this call")
    elif price is None and receipt.get("price_version") is not None:
        notes.append("the price of this version is not kept: amounts are as they were booked")
    if receipt.get("estimated"):
        notes.append("the provider told no usage: tokens are our own count")
    if receipt.get("usage_suspect"):
        notes.append("the provider's usage contradicts itself; it is kept as it came")
    if failed:
        notes.append("what failed is as it was booked: its price's version is not kept")
    return notes


def as_text(explained: CostExplained) -> str:
    """Writes it for people."""
    header = ["bucket", "tokens", "$ per million", "exact nano-$", "booked nano-$", "$"]
    lines = [
        [
            line.bucket.replace("_", " "),
            f"{line.tokens:,}" if line.tokens else "",
            line.usd_per_million or "",
            line.exact_nano or "",
            f"{line.nano_usd:,}",
            line.usd,
        ]
        for line in explained.lines
    ]
    lines += [
        [f"failed at {line.deployment} ({line.reason})", "", "", "", f"{line.nano_usd:,}", line.usd]
        for line in explained.failed
    ]
    booked = ["total", "", "", "", *([f"{explained.nano_usd:,}", explained.usd or ""] if explained.usd else ["", "?"])]
    parts = [f"{explained.id}\n\n", table([header, *lines, booked])]
    if explained.price_version is not None:
        tier = f", above {explained.tier_above:,} input tokens" if explained.tier_above else ""
        source = explained.price_source or "not kept"
        parts.append(f"\nprice {explained.price_version} ({source}{tier}); each line is rounded half up\n")
    if explained.agrees is False:
        parts.append("the lines do not make up what was booked\n")
    parts += [f"{note}\n" for note in explained.notes]
    return "".join(parts)
