"""The periods that budgets count by: the calendar's hours, days, weeks and months, in a time zone of its own.

Periods of one kind and zone follow each other without a gap: a day of 23 or 25 hours is a day, and where a clock jumps
over midnight the day begins with the jump. Hours are UTC's: a zone's clock may show one twice.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.core.allowances import Per

_HOUR_S: Final = 3600


class Period(NamedTuple):
    """[start, end) in seconds since the epoch."""

    start: float
    end: float


def period_of(per: Per, zone: str, time: float) -> Period:
    """Returns the period that a moment (seconds since the epoch) is in."""
    if per == "hour":
        start = time // _HOUR_S * _HOUR_S
        return Period(start, start + _HOUR_S)
    where = _zone(zone)
    first = _first_day(per, datetime.fromtimestamp(time, where).date())
    following = _next(per, first)
    if (end := _begin(following, where)) <= time:  # a clock that was turned back over midnight shows the old day again
        first, end = following, _begin(_next(per, following), where)
    return Period(_begin(first, where), end)


def period_before(per: Per, zone: str, period: Period) -> Period:
    """Returns the period that ends where this one starts."""
    return period_of(per, zone, period.start - 1)


def _first_day(per: Per, day: date) -> date:
    if per == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == "month" else day


def _next(per: Per, first: date) -> date:
    if per == "month":
        return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return first + timedelta(days=7 if per == "week" else 1)


def _begin(day: date, zone: tzinfo) -> float:
    """Returns a day's first moment: of two midnights the first; where there is none, the jump (PEP 495, fold=0)."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)  # cached by zoneinfo; UTC needs no time zone database
