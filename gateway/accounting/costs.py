"""What calls cost, summed by time and by what they were: the query as a caller writes it, and its answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from urllib.parse import quote_plus, urlencode

import msgspec

from gateway.accounting.calendar import UNITS, Span, ceil_quarter, floor_quarter, is_time, spans, zone_named
from gateway.core.errors import BadRequest
from gateway.core.money import BUCKETS, usd
from gateway.state.books import DIMENSIONS, TAG, Question, Summed, Sums, Where, is_dimension
from gateway.state.protocols import ReceiptStore

_AGES: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
LIMIT: Final = 100
MOST: Final = 5000
NONE: Final = "none"  # the parameter that asks for what has no such attribute

Parameters = Mapping[str, str] | Iterable[tuple[str, str]]
Names = tuple[str | None, ...]


class CostsQuery(msgspec.Struct, frozen=True):
    """Which receipts, summed by what; `since` and `until` are seconds since the epoch, `tz` cuts days and months.

    `group_by` and `split_by` are a dimension, a tag (`tag:NAME`), or, one of them, time. Of a dimension's values the
    `limit` dearest are told one by one, the others as one.
    """

    group_by: str
    since: float
    until: float
    where: Where = ()
    split_by: str | None = None
    tz: str = "UTC"
    limit: int = LIMIT


class CostsRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One group's sums. Dollars are exact decimal text; `estimated_share` is the part of them resting on estimates.

    `cost` is nano-dollars by bucket, and `other`: fees, and attempts that failed. `unpriced` counts calls whose
    price is unknown, which no sum of money holds. `receipts` are the parameters of `/admin/receipts` that list these
    calls. `others` marks the sum of groups that are not told one by one.
    """

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
    cost: dict[str, int]
    split: str | None = None
    receipts: str | None = None
    others: bool = False


class CostsSpan(msgspec.Struct, frozen=True):
    """A span of time that rows name, in ISO 8601 (UTC); also one without any call."""

    name: str
    since: str
    until: str


class Costs(msgspec.Struct, frozen=True):
    """The answer: times in ISO 8601 (UTC), a row per group, and their sum.

    `since` and `until` are those asked for, widened to whole quarters of an hour. Every receipt of this gateway that
    was there at `fresh_at` is in it; None where another process moves receipts into the store.
    """

    group_by: str
    since: str
    until: str
    rows: tuple[CostsRow, ...]
    total: CostsRow
    split_by: str | None = None
    tz: str = "UTC"
    spans: tuple[CostsSpan, ...] = ()
    fresh_at: str | None = None


# -- the query ----------------------------------------------------------------------------------------------------


def query_of(parameters: Parameters, now: float, only_team: str | None = None) -> CostsQuery:
    """Reads `group_by`, `split_by`, `tz`, `since`, `until`, `limit` and filters; raises BadRequest naming one.

    A filter is a dimension and a value, of several any; `none` names a dimension that must have none. Times are ISO
    8601 (in `tz` where they name no zone) or an age such as `24h`, `7d`; by default the last 24 hours by day.
    `only_team` confines the answer to a team, whatever is asked.
    """
    rest = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
    group_by = take(rest, "group_by") or "day"
    split_by = take(rest, "split_by")
    _check_group("group_by", group_by)
    if split_by is not None:
        _check_group("split_by", split_by)
        if split_by == group_by or (is_time(group_by) and is_time(split_by)):
            raise BadRequest("split_by: by something else than group_by, and one of them by time", param="split_by")
    tz, since, until = span_of(rest, now)
    limit = amount_of(rest, "limit", LIMIT, MOST)
    return CostsQuery(group_by, since, until, where_of(rest, only_team), split_by, tz, limit)


def take(rest: list[tuple[str, str]], name: str) -> str | None:
    """Takes a parameter out of those that are left; the last holds where there are several."""
    values = [value for given, value in rest if given == name]
    rest[:] = [pair for pair in rest if pair[0] != name]
    return values[-1] if values else None


def span_of(rest: list[tuple[str, str]], now: float, default: str = "24h") -> tuple[str, float, float]:
    """Takes `tz`, `since` and `until` out of the parameters; raises BadRequest."""
    tz = take(rest, "tz") or "UTC"
    try:
        zone = zone_named(tz)
    except ValueError as error:
        raise BadRequest(str(error), param="tz") from None
    written = take(rest, "since")
    since = _instant("since", default if written is None else written, now, zone)
    written = take(rest, "until")
    return tz, since, now if written is None else _instant("until", written, now, zone)


def amount_of(rest: list[tuple[str, str]], name: str, default: int, most: int) -> int:
    """Takes a count from 1 to `most` out of the parameters; raises BadRequest."""
    written = take(rest, name)
    if written is None:
        return default
    if not (written.isascii() and written.isdecimal() and len(written) < 7 and 1 <= int(written) <= most):
        raise BadRequest(f"{name}: write a number from 1 to {most}", param=name)
    return int(written)


def where_of(rest: list[tuple[str, str]], only_team: str | None = None) -> Where:
    """Reads what is left as filters; raises BadRequest for what is none."""
    wanted: dict[str, list[str | None]] = {}
    for name, value in rest:
        dimension = value if name == NONE else name
        if not is_dimension(dimension):
            raise _no_group(name, dimension, filtering=True)
        wanted.setdefault(dimension, []).append(None if name == NONE else value)
    where = tuple((name, tuple(values)) for name, values in wanted.items())
    return where if only_team is None else (*where, ("team", (only_team,)))


def _check_group(parameter: str, group: str) -> None:
    if not is_dimension(group) and not is_time(group):
        raise _no_group(parameter, group, filtering=False)


def _no_group(parameter: str, group: str, *, filtering: bool) -> BadRequest:
    words = DIMENSIONS if filtering else (*UNITS, *DIMENSIONS)
    near = difflib.get_close_matches(group, words, n=1)
    guess = f" (did you mean {near[0]}?)" if near else ""
    choices = f"{', '.join(words)} or {TAG}NAME" + ("" if filtering else ", or an amount of time such as 15m or 6h")
    return BadRequest(f"{group!r} is not something to group or filter by{guess}: choose {choices}", param=parameter)


def _instant(parameter: str, text: str, now: float, zone: tzinfo) -> float:
    amount, unit = text[:-1], text[-1:]
    try:
        if unit in _AGES and amount.isdecimal():
            moment = now - timedelta(**{_AGES[unit]: int(amount)}).total_seconds()
        else:
            read = datetime.fromisoformat(text)
            moment = (read if read.tzinfo else read.replace(tzinfo=zone)).timestamp()
        if moment > _LATEST:
            raise ValueError
        return max(0.0, moment)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{text!r} is no time: write an age (30m, 24h, 7d, 2w) or a date (2026-11-20, 2026-11-20T08:00:00Z)",
            param=parameter,
        ) from None


# -- the answer ---------------------------------------------------------------------------------------------------


def costs(store: ReceiptStore, query: CostsQuery, fresh_at: float | None = None) -> Costs:
    """Sums receipts; blocks on the store. Raises BadRequest for more spans of time than anybody reads."""
    since, until = floor_quarter(query.since), max(floor_quarter(query.since), ceil_quarter(query.until))
    by = tuple(word for word in (query.group_by, query.split_by) if word is not None)
    cut: list[Span] = []
    for parameter, word in zip(("group_by", "split_by"), by, strict=False):
        if is_time(word):
            try:
                cut = spans(word, since, until, zone_named(query.tz))
            except ValueError as error:
                raise BadRequest(str(error), param=parameter) from None
    dimensions = tuple(word for word in by if not is_time(word))
    found = _asked(store, query, dimensions, cut, (since, until))
    rows = tuple(_row_of(query, by, cut, (since, until), each) for each in found)
    return Costs(
        query.group_by,
        iso(since),
        iso(until),
        rows,
        row("total", added(each.sums for each in found), receipts=receipts_of(since, until, query.where)),
        query.split_by,
        query.tz,
        tuple(CostsSpan(span.name, iso(span.start), iso(span.stop)) for span in cut),
        None if fresh_at is None else iso(fresh_at),
    )


_OTHERS: Final = "\0others"  # stands in a group's name for those beyond the limit


def _asked(
    store: ReceiptStore, query: CostsQuery, dimensions: tuple[str, ...], cut: Sequence[Span], whole: tuple[int, int]
) -> list[Summed]:
    """Returns a sum for each span and group, in order; those of values beyond the limit together."""
    edges = (cut[0].start, *(span.stop for span in cut)) if cut else whole
    if edges[0] == edges[-1]:
        return []
    if not dimensions:
        return _in_order(store.sums(Question(edges, (), query.where)))
    by_first = store.sums(Question(whole, dimensions[:1], query.where))
    kept = [_dearest(by_first, 0, query.limit)]
    if len(dimensions) > 1:
        by_second = store.sums(Question(whole, dimensions[1:], query.where))
        kept.append(_dearest(by_second, 0, query.limit))
        if len(by_second) > len(by_first):  # fewer are asked for, the more are left out
            found = _told(store, query, (dimensions[1], dimensions[0]), kept[::-1], edges, by_second)
            found = [Summed(each.span, each.names[::-1], each.sums) for each in found]
        else:
            found = _told(store, query, dimensions, kept, edges, by_first)
    elif cut:
        found = _told(store, query, dimensions, kept, edges, by_first)
    else:
        found = by_first
    return _in_order(_with_others(found, kept))


def _told(
    store: ReceiptStore,
    query: CostsQuery,
    dimensions: tuple[str, ...],
    kept: Sequence[set[str | None]],
    edges: tuple[int, ...],
    first: Sequence[Summed],
) -> list[Summed]:
    """Returns the sums by time or a second dimension of those values of the first that are kept, and of the others.

    `first` are the sums by the first dimension. Where many values are left out, the others are what is left of a sum
    without the dimension: that reads few rows, where all would be many.
    """
    if len(first) <= len(kept[0]):
        return store.sums(Question(edges, dimensions, query.where))
    told = store.sums(Question(edges, dimensions, (*query.where, (dimensions[0], tuple(kept[0])))))
    # Read after what is told: a receipt that came between is among the others, and none is below zero.
    whole = store.sums(Question(edges, dimensions[1:], query.where))
    left = {(each.span, each.names): each.sums for each in whole}
    for each in told:
        place = (each.span, each.names[1:])
        left[place] = less(left[place], each.sums)
    return [*told, *(Summed(span, (_OTHERS, *names), sums) for (span, names), sums in left.items() if sums.calls)]


def _dearest(found: Iterable[Summed], place: int, limit: int) -> set[str | None]:
    """Returns the names at a place that cost most; of those that cost the same, the most called."""
    weights: dict[str | None, tuple[int, int]] = {}
    for each in found:
        nano, calls = weights.get(each.names[place], (0, 0))
        weights[each.names[place]] = nano + each.sums.nano_usd, calls + each.sums.calls
    order = sorted(weights, key=lambda name: (*weights[name], name or ""), reverse=True)
    return set(order[:limit])


def _with_others(found: Sequence[Summed], kept: Sequence[set[str | None]]) -> list[Summed]:
    """Adds up, at each place of the names, what is not kept."""
    sums: dict[tuple[int, Names], list[Sums]] = {}
    for each in found:
        names = tuple(name if name in told else _OTHERS for name, told in zip(each.names, kept, strict=True))
        sums.setdefault((each.span, names), []).append(each.sums)
    return [Summed(span, names, added(parts)) for (span, names), parts in sums.items()]


def _in_order(found: Iterable[Summed]) -> list[Summed]:
    """Sorts by time, then by the bytes of names: what has none first, others last."""

    def place(name: str | None) -> tuple[int, bytes]:
        return (0 if name is None else 2 if name == _OTHERS else 1, (name or "").encode())

    return sorted(found, key=lambda each: (each.span, *(place(name) for name in each.names)))


def added(parts: Iterable[Sums]) -> Sums:
    """Adds sums up."""
    columns = zip(*(msgspec.structs.astuple(each) for each in parts), strict=True)
    return Sums(*(sum(column) for column in columns))


def less(whole: Sums, part: Sums) -> Sums:
    """Takes a part off a whole."""
    pairs = zip(msgspec.structs.astuple(whole), msgspec.structs.astuple(part), strict=True)
    return Sums(*(amount - taken for amount, taken in pairs))


def _row_of(
    query: CostsQuery, by: Sequence[str], cut: Sequence[Span], whole: tuple[int, int], each: Summed
) -> CostsRow:
    names, left, where = [], list(each.names), list(query.where)
    since, until = (cut[each.span].start, cut[each.span].stop) if cut else whole
    for word in by:
        if is_time(word):
            names.append(cut[each.span].name)
            continue
        name = left.pop(0)
        names.append(_shown(word, name))
        where.append((word, (name,)))
    others = _OTHERS in each.names
    receipts = None if others else receipts_of(since, until, tuple(where))
    return row(names[0], each.sums, names[1] if len(names) > 1 else None, receipts, others)


def _shown(word: str, name: str | None) -> str:
    if name is None:
        return "untagged" if word.startswith(TAG) else "-"
    return "others" if name == _OTHERS else name


def row(
    group: str, sums: Sums, split: str | None = None, receipts: str | None = None, others: bool = False
) -> CostsRow:
    """Lays sums out as they are told."""
    cost = {bucket: nano for bucket in BUCKETS if (nano := getattr(sums, f"{bucket}_nano"))}
    if other := sums.nano_usd - sum(cost.values()):
        cost["other"] = other
    return CostsRow(
        group,
        sums.calls,
        sums.errors,
        sums.cached,
        {bucket: count for bucket in BUCKETS if (count := getattr(sums, bucket))},
        sums.nano_usd,
        usd(sums.nano_usd),
        usd(sums.saved_nano),
        share(sums.estimated_nano, sums.nano_usd),
        sums.unpriced,
        cost,
        split,
        receipts,
        others,
    )


def share(part: int, whole: int) -> float:
    """Returns a part of a whole, to four places; 0 of nothing."""
    return round(part / whole, 4) if whole else 0.0


def receipts_of(since: int, until: int, where: Where) -> str:
    """Writes the parameters of `/admin/receipts` that list what a sum is of."""
    narrowed: dict[str, tuple[str | None, ...]] = {}
    for name, values in where:  # of one dimension all conditions hold, and as parameters any would
        narrowed[name] = tuple(value for value in values if value in narrowed.get(name, values)) or values
    pairs = [
        f"{NONE}={_quoted(name)}" if value is None else f"{_quoted(name)}={_quoted(value)}"
        for name, values in narrowed.items()
        for value in values
    ]
    return "&".join([_between(since, until), *pairs])


@lru_cache(4096)
def _quoted(text: str) -> str:
    return quote_plus(text)


@lru_cache(4096)
def _between(since: int, until: int) -> str:
    return urlencode({"since": iso(since), "until": iso(until)})


def iso(seconds: float) -> str:
    """Writes a moment in ISO 8601, UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
