"""What can be asked of the receipts in a store: sums over spans of time, and the log of calls.

Times are seconds since the epoch, money integer nano-dollars.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

DIMENSIONS: Final = ("team", "key", "user", "model", "deployment", "provider", "route", "sensitivity")
TAG: Final = "tag:"  # `tag:project` is the value of one tag
QUARTER_S: Final = 900  # the finest span that sums are kept for: no time zone's day begins within one

# (dimension, values): a receipt matches where it has one of the values; None is a receipt that has no such attribute.
Where = tuple[tuple[str, tuple[str | None, ...]], ...]


def is_dimension(name: str) -> bool:
    """Says whether receipts can be summed and filtered by this word."""
    return name in DIMENSIONS or (name.startswith(TAG) and name != TAG)


class Question(msgspec.Struct, frozen=True):
    """Sums of receipts by spans of time and by dimensions.

    `edges` ascend, each a multiple of QUARTER_S: span `i` is [edges[i], edges[i + 1]). A receipt must match all of
    `where`. Of the sums that `compares` adds none is read without it, and all are zero.
    """

    edges: tuple[int, ...]
    by: tuple[str, ...] = ()
    where: Where = ()
    compares: bool = False


class Sums(msgspec.Struct, frozen=True):
    """Sums over receipts; no sum of money holds a call whose price is unknown (`unpriced` counts those).

    `spilled` counts calls that a hosted place answered though a pool of one's own was permitted. `*_nano` of a bucket
    is what that kind of token cost; what `nano_usd` holds beyond them is fees and attempts that failed.
    `estimated_nano` is the part of `nano_usd` that rests on an estimate. Of the `compared` calls, `dearest_nano` is
    what the dearest permitted place would have cost and `dearest_paid_nano` what was paid; of the `listed` calls,
    `list_nano` is what a hosted place at list price would have cost and `list_paid_nano` what was paid.
    """

    calls: int = 0
    errors: int = 0
    cached: int = 0
    unpriced: int = 0
    fresh_input: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output_text: int = 0
    reasoning: int = 0
    audio_output: int = 0
    nano_usd: int = 0
    saved_nano: int = 0
    estimated_nano: int = 0
    fresh_input_nano: int = 0
    cached_input_nano: int = 0
    cache_write_5m_nano: int = 0
    cache_write_1h_nano: int = 0
    audio_input_nano: int = 0
    image_input_nano: int = 0
    output_text_nano: int = 0
    reasoning_nano: int = 0
    audio_output_nano: int = 0
    spilled: int = 0
    compared: int = 0
    dearest_nano: int = 0
    dearest_paid_nano: int = 0
    listed: int = 0
    list_nano: int = 0
    list_paid_nano: int = 0


MEASURES: Final = Sums.__struct_fields__
PLAIN: Final = MEASURES[: MEASURES.index("spilled")]  # without those that compare


class Summed(NamedTuple):
    """The sums of one span and one value of each dimension that was asked for."""

    span: int
    names: tuple[str | None, ...]
    sums: Sums


class LogQuestion(msgspec.Struct, frozen=True):
    """Which receipts of [since, until) to list, the newest first; every condition that is set must hold.

    `statuses` are ranges of statuses, both ends included. `before` is the (time, id) of the last receipt of the page
    before.
    """

    since: float
    until: float
    where: Where = ()
    statuses: tuple[tuple[int, int], ...] = ()
    reasons: tuple[str, ...] = ()
    cached: bool | None = None
    estimated: bool | None = None
    unpriced: bool | None = None
    min_nano: int | None = None
    min_e2e_us: int | None = None
    min_ttft_us: int | None = None
    before: tuple[float, str] | None = None
    limit: int = 50


class LogRow(NamedTuple):
    """A receipt as the log lists it, in the order of `LOG_COLUMNS`."""

    id: str
    time: float
    key: str
    team: str | None
    user: str | None
    tags: str | bytes | None  # JSON
    route: str | None
    deployment: str | None
    provider: str | None
    model: str | None
    sensitivity: str | None
    status: int
    reason: str | None
    cached: bool
    estimated: bool
    unpriced: bool
    fresh_input: int
    cached_input: int
    cache_write_5m: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    output_text: int
    reasoning: int
    audio_output: int
    nano_usd: int
    saved_nano: int
    ttft_us: int | None
    tpot_us: int | None
    e2e_us: int | None
