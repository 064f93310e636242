"""The log of calls: receipts without what was said, the newest first, page by page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.accounting.costs import Parameters, amount_of, iso, span_of, take, where_of
from gateway.config.units import duration
from gateway.core.errors import BadRequest
from gateway.core.money import BUCKETS, rate_from_usd, usd
from gateway.state.books import LogQuestion, LogRow
from gateway.state.protocols import ReceiptStore

LIMIT: Final = 50
MOST: Final = 500
_CLASSES: Final = {"ok": (0, 399), "error": (400, 999), "4xx": (400, 499), "5xx": (500, 599)}
_FLAGS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Logged(msgspec.Struct, frozen=True):
    """One call: who, what, where, how it ended, what it cost. Times of day in ISO 8601 (UTC) and seconds.

    `usd` is None where the price is unknown. Milliseconds are None where nothing was measured.
    """

    id: str
    at: float
    time: str
    key: str
    team: str | None
    user: str | None
    tags: dict[str, str]
    model: str | None
    route: str | None
    deployment: str | None
    provider: str | None
    sensitivity: str | None
    status: int
    reason: str | None
    cached: bool
    estimated: bool
    unpriced: bool
    tokens: dict[str, int]
    nano_usd: int
    usd: str | None
    saved_usd: str
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None


class LogPage(msgspec.Struct, frozen=True):
    """A page; `next` is the parameter `before` of the one that follows, None at the end."""

    since: str
    until: str
    receipts: tuple[Logged, ...]
    next: str | None


def log_query_of(parameters: Parameters, now: float, only_team: str | None = None) -> LogQuestion:
    """Reads `since`, `until`, `tz`, `limit`, `before` and filters; raises BadRequest naming the parameter.

    `status` is a number or one of ok, error, 4xx, 5xx; `reason` why a call failed; `cached`, `estimated` and `unpriced`
    true or false; `min_usd` dollars; `min_e2e` and `min_ttft` durations (`1500ms`, `2s`). Every other parameter is a
    dimension, as in costs. `only_team` confines the page to a team, whatever is asked.
    """
    rest = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
    _, since, until = span_of(rest, now)
    statuses = tuple(_statuses(value) for value in _taken(rest, "status"))
    reasons = tuple(_taken(rest, "reason"))
    return LogQuestion(
        since=since,
        until=until,
        statuses=statuses,
        reasons=reasons,
        cached=_flag(rest, "cached"),
        estimated=_flag(rest, "estimated"),
        unpriced=_flag(rest, "unpriced"),
        min_nano=_nano(rest, "min_usd"),
        min_e2e_us=_us(rest, "min_e2e"),
        min_ttft_us=_us(rest, "min_ttft"),
        before=_before(take(rest, "before")),
        limit=amount_of(rest, "limit", LIMIT, MOST),
        where=where_of(rest, only_team),
    )


def log_page(store: ReceiptStore, question: LogQuestion) -> LogPage:
    """Lists a page; blocks on the store."""
    more = store.log(msgspec.structs.replace(question, limit=question.limit + 1))
    rows = more[: question.limit]
    following = f"{rows[-1].time!r}_{rows[-1].id}" if len(more) > len(rows) else None
    return LogPage(iso(question.since), iso(question.until), tuple(_logged(row) for row in rows), following)


def _logged(row: LogRow) -> Logged:
    return Logged(
        id=row.id,
        at=row.time,
        time=iso(row.time),
        key=row.key,
        team=row.team,
        user=row.user,
        tags=msgspec.json.decode(row.tags, type=dict[str, str]) if row.tags is not None else {},
        model=row.model,
        route=row.route,
        deployment=row.deployment,
        provider=row.provider,
        sensitivity=row.sensitivity,
        status=row.status,
        reason=row.reason,
        cached=bool(row.cached),
        estimated=bool(row.estimated),
        unpriced=bool(row.unpriced),
        tokens={bucket: count for bucket in BUCKETS if (count := getattr(row, bucket))},
        nano_usd=row.nano_usd,
        usd=None if row.unpriced else usd(row.nano_usd),
        saved_usd=usd(row.saved_nano),
        ttft_ms=_ms(row.ttft_us),
        tpot_ms=_ms(row.tpot_us),
        e2e_ms=_ms(row.e2e_us),
    )


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000


def _taken(rest: list[tuple[str, str]], name: str) -> list[str]:
    values = [value for given, value in rest if given == name]
    take(rest, name)
    return values


def _statuses(written: str) -> tuple[int, int]:
    if written in _CLASSES:
        return _CLASSES[written]
    if not re.fullmatch(r"[1-9]\d\d", written, re.ASCII):
        raise BadRequest(f"status: write a number such as 429, or one of {', '.join(_CLASSES)}", param="status")
    return int(written), int(written)


def _flag(rest: list[tuple[str, str]], name: str) -> bool | None:
    written = take(rest, name)
    if written is None:
        return None
    if written not in _FLAGS:
        raise BadRequest(f"{name}: write true or false", param=name)
    return _FLAGS[written]


def _nano(rest: list[tuple[str, str]], name: str) -> int | None:
    written = take(rest, name)
    if written is None:
        return None
    try:
        nano = rate_from_usd(written)
    except (ArithmeticError, ValueError):
        nano = -1
    if not 0 <= nano < 2**63:
        raise BadRequest(f"{name}: write dollars, such as 0.05", param=name)
    return nano


def _us(rest: list[tuple[str, str]], name: str) -> int | None:
    written = take(rest, name)
    if written is None:
        return None
    try:
        us = duration(written) * 1e6
    except (OverflowError, ValueError):
        us = -1
    if not 0 <= us < 2**62:
        raise BadRequest(f"{name}: write a time with its unit, such as 1500ms or 2s", param=name)
    return int(us)


def _before(written: str | None) -> tuple[float, str] | None:
    if written is None:
        return None
    time, _, id = written.partition("_")
    try:
        moment = float(time)
    except ValueError:
        moment = -1.0
    if not 0 <= moment < 1e11 or not id:
        raise BadRequest("before: write what `next` of the page before said", param="before")
    return moment, id
