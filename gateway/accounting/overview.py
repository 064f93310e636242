"""Where the money went, at a glance: the sum against that of the time before, savings, unit costs, movers, GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.accounting.calendar import ceil_quarter, floor_quarter
from gateway.accounting.costs import (
    CostsQuery,
    CostsRow,
    Parameters,
    added,
    costs,
    iso,
    query_of,
    receipts_of,
    row,
    share,
)
from gateway.accounting.own_gpus import Hardware, OwnGpus, own_gpus
from gateway.accounting.savings import Savings, Units, savings_of, units_of
from gateway.core.money import usd
from gateway.state.books import Question, Sums, Where
from gateway.state.cover import HOUR_S
from gateway.state.protocols import ReceiptStore


class Summary(msgspec.Struct, frozen=True):
    """A time's sum, that of as long a time before it, and what both are worth.

    `estimated_share` is of the money; `unpriced_share` and `error_share` are of the calls.
    """

    since: str
    until: str
    before_since: str
    total: CostsRow
    before: CostsRow
    change_usd: str
    estimated_share: float
    unpriced_share: float
    error_share: float
    cached_share: float
    savings: Savings
    units: Units
    fresh_at: str | None


class Mover(msgspec.Struct, frozen=True):
    """A group's cost in a time and in as long a time before; `change_share` is of the cost before, None of nothing."""

    group: str
    usd: str
    before_usd: str
    change_nano: int
    change_usd: str
    change_share: float | None
    receipts: str | None


class Movers(msgspec.Struct, frozen=True):
    """The groups whose cost changed most, by dollars, the largest change first."""

    group_by: str
    since: str
    until: str
    before_since: str
    rows: tuple[Mover, ...]


class Gpus(msgspec.Struct, frozen=True):
    """Pools whose hardware has a price (`gpu_hour_usd`), over the hours of a time that have begun."""

    since: str
    until: str
    pools: tuple[OwnGpus, ...]


def summary(store: ReceiptStore, query: CostsQuery, own: Sequence[str], fresh_at: float | None = None) -> Summary:
    """Sums up a time; `own` are the providers that stand on one's own machines. Blocks on the store."""
    since, until, before = _times(query)
    then, now = _sums(store, (before, since), query.where), _sums(store, (since, until), query.where)
    pools = _sums(store, (since, until), (*query.where, ("provider", tuple(own)))) if own else Sums()
    people = store.sums(Question((since, until), ("user",), query.where)) if since < until else []
    named = [each.sums.nano_usd for each in people if each.names[0] is not None]
    return Summary(
        iso(since),
        iso(until),
        iso(before),
        row("total", now, receipts=receipts_of(since, until, query.where)),
        row("before", then, receipts=receipts_of(before, since, query.where)),
        usd(now.nano_usd - then.nano_usd),
        share(now.estimated_nano, now.nano_usd),
        share(now.unpriced, now.calls),
        share(now.errors, now.calls),
        share(now.cached, now.calls),
        savings_of(now, pools),
        units_of(now, len(named), sum(named)),
        None if fresh_at is None else iso(fresh_at),
    )


def movers(store: ReceiptStore, query: CostsQuery, most: int) -> Movers:
    """Compares a dimension's values with the time before; blocks on the store."""
    since, until, before = _times(query)
    now = _by_name(store, query, since, until)
    then = _by_name(store, query, before, since)
    found = []
    for name in now.keys() | then.keys():
        new, old = (each[name].nano_usd if name in each else 0 for each in (now, then))
        listed = now[name].receipts if name in now else None
        change = share(new - old, old) if old else None
        found.append(Mover(name, usd(new), usd(old), new - old, usd(new - old), change, listed))
    found.sort(key=lambda each: (-abs(each.change_nano), each.group))
    moved = tuple(each for each in found if each.change_nano)[:most]
    return Movers(query.group_by, iso(since), iso(until), iso(before), moved)


def gpus(store: ReceiptStore, query: CostsQuery, hardware: Sequence[Hardware], now: float) -> Gpus:
    """Works out what one's own GPUs cost and did; blocks on the store."""
    since, until, _ = _times(query)
    until = min(until, ceil_quarter(now))
    pools = []
    edges = (*range(since, until, HOUR_S), until)
    for each in hardware if since < until else ():
        of_pool: Where = (*query.where, ("provider", (each.provider,)))
        by_hour = [found.sums for found in store.sums(Question(edges, (), of_pool, compares=True))]
        spilled = _sums(store, (since, until), query.where).spilled
        pools.append(own_gpus(each, (min(until, now) - since) / HOUR_S, by_hour, added(by_hour), spilled))
    return Gpus(iso(since), iso(until), tuple(pools))


def movers_query(parameters: Parameters, now: float, only_team: str | None) -> CostsQuery:
    """Reads the parameters of movers: as those of costs, by team where nothing is said; raises BadRequest."""
    query = query_of(parameters, now, only_team)
    return msgspec.structs.replace(query, group_by="team") if query.group_by == "day" else query


def _times(query: CostsQuery) -> tuple[int, int, int]:
    since = floor_quarter(query.since)
    until = max(since, ceil_quarter(query.until))
    return since, until, max(0, since - (until - since))


def _sums(store: ReceiptStore, edges: tuple[int, int], where: Where) -> Sums:
    if edges[0] >= edges[1]:
        return Sums()
    return added(each.sums for each in store.sums(Question(edges, (), where, compares=True)))


def _by_name(store: ReceiptStore, query: CostsQuery, since: int, until: int) -> dict[str, CostsRow]:
    asked = msgspec.structs.replace(query, since=float(since), until=float(until))
    return {each.group: each for each in costs(store, asked).rows}
