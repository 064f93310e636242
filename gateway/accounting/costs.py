"""What calls cost, summed by one attribute: the query as a caller writes it, its answer as JSON, CSV and text."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from gateway.core.errors import BadRequest
from gateway.core.money import BUCKETS, usd
from gateway.state.protocols import GROUPS, TAG, ReceiptStore, Totals

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_COUNTS: Final = ("calls", "errors", "cached", "unpriced")
_SUMMED: Final = (*_COUNTS, *BUCKETS, "nano_usd", "saved_nano", "estimated_nano")


class CostsQuery(msgspec.Struct, frozen=True):
    """Which receipts, summed by what; `since` and `until` are seconds since the epoch, `where` (group, value) pairs."""

    group_by: str
    since: float
    until: float
    where: tuple[tuple[str, str], ...] = ()


class CostsRow(msgspec.Struct, frozen=True):
    """One group's sums. Dollars are exact decimal text; `estimated_share` is the part of them resting on estimates;
    `unpriced` counts calls whose price is unknown, which `usd` does not hold."""

    group: str
    calls: int
    errors: int
    cached: int
    tokens: dict[str, int]
    nano_usd: int
    usd: str
    saved_usd: str
    estimated_share: float
    unpriced: int


class Costs(msgspec.Struct, frozen=True):
    """The answer: times in ISO 8601 (UTC), a row per group, and their sum."""

    group_by: str
    since: str
    until: str
    rows: tuple[CostsRow, ...]
    total: CostsRow


def query_of(parameters: Mapping[str, str], now: float) -> CostsQuery:
    """Reads `group_by`, `since`, `until` and filters (any group: its value); raises BadRequest naming the parameter.

    Times are ISO 8601 (UTC where they name no zone) or an age such as `24h`, `7d`; by default the last 24 hours by day.
    """
    rest = dict(parameters)
    group_by = rest.pop("group_by", "day")
    _check_group("group_by", group_by)
    since = _instant("since", rest.pop("since", "24h"), now)
    until = _instant("until", rest.pop("until"), now) if "until" in rest else now
    for name in rest:
        _check_group(name, name)
    return CostsQuery(group_by, since, until, tuple(rest.items()))


def costs(store: ReceiptStore, query: CostsQuery) -> Costs:
    """Sums receipts; blocks on the store."""
    sums = store.totals(query.group_by, query.since, query.until, query.where)
    total = {name: sum(getattr(totals, name) for totals in sums) for name in _SUMMED}
    nameless = "untagged" if query.group_by.startswith(TAG) else "-"
    return Costs(
        query.group_by,
        _iso(query.since),
        _iso(query.until),
        tuple(_row(totals.group if totals.group is not None else nameless, totals) for totals in sums),
        _row("total", Totals("total", **total)),
    )


def as_csv(answer: Costs) -> str:
    """Writes the rows as CSV with a header line, without their sum."""
    text = io.StringIO()
    writer = csv.writer(text)
    money = ["usd", "saved_usd", "estimated_share", "unpriced"]
    writer.writerow([answer.group_by, "calls", "errors", "cached", *BUCKETS, *money])
    for row in answer.rows:
        counts = [row.calls, row.errors, row.cached, *(row.tokens.get(bucket, 0) for bucket in BUCKETS)]
        writer.writerow([row.group, *counts, row.usd, row.saved_usd, row.estimated_share, row.unpriced])
    return text.getvalue()


def as_text(answer: Costs) -> str:
    """Writes a table for people: buckets of tokens that nobody used are left out."""
    buckets = [bucket for bucket in BUCKETS if bucket in answer.total.tokens]
    named = [bucket.replace("_", " ") for bucket in buckets]
    header = [answer.group_by, "calls", "errors", "cached", *named, "usd", "saved", "estimated", "unpriced"]
    return _table([header, *(_cells(row, buckets) for row in (*answer.rows, answer.total))])


def _cells(row: CostsRow, buckets: Sequence[str]) -> list[str]:
    counts = [row.calls, row.errors, row.cached, *(row.tokens.get(bucket, 0) for bucket in buckets)]
    money = [row.usd, row.saved_usd, f"{row.estimated_share:.1%}", f"{row.unpriced:,}"]
    return [row.group, *(f"{count:,}" for count in counts), *money]


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = "  ".join("-" * width for width in widths)
    drawn = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    return "\n".join([drawn[0], rule, *drawn[1:-1], rule, drawn[-1]]) + "\n"


def _row(group: str, totals: Totals) -> CostsRow:
    tokens = {bucket: count for bucket in BUCKETS if (count := getattr(totals, bucket))}
    share = totals.estimated_nano / totals.nano_usd if totals.nano_usd else 0.0
    return CostsRow(
        group,
        totals.calls,
        totals.errors,
        totals.cached,
        tokens,
        totals.nano_usd,
        usd(totals.nano_usd),
        usd(totals.saved_nano),
        round(share, 4),
        totals.unpriced,
    )


def _check_group(parameter: str, group: str) -> None:
    if group in GROUPS or (group.startswith(TAG) and group != TAG):
        return
    near = difflib.get_close_matches(group, GROUPS, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    choices = f"{', '.join(GROUPS)} or {TAG}NAME"
    raise BadRequest(f"{group!r} is not something to group or filter by{guess}: choose {choices}", param=parameter)


def _instant(parameter: str, text: str, now: float) -> float:
    amount, unit = text[:-1], text[-1:]
    try:
        if unit in _UNITS and amount.isdecimal():
            return now - timedelta(**{_UNITS[unit]: int(amount)}).total_seconds()
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{text!r} is no time: write an age (30m, 24h, 7d, 2w) or a date (2026-11-20, 2026-11-20T08:00:00Z)",
            param=parameter,
        ) from None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
