"""Spans of time as people cut them: hours, days, weeks and months of a time zone, or so many minutes from a moment on.

Pure, but for the time zones, which are the system's (or the `tzdata` package's). Every edge is a multiple of a quarter
of an hour (UTC), as all time zones' midnights have been since 1972.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from gateway.state.books import QUARTER_S

MOST_SPANS: Final = 3000
UNITS: Final = ("hour", "day", "week", "month")
_AMOUNT: Final = re.compile(r"([1-9]\d{0,4})(m|h|d)")
_AMOUNT_S: Final = {"m": 60, "h": 3600, "d": 86400}


class Span(NamedTuple):
    """[start, stop) in seconds since the epoch, and its name."""

    name: str
    start: int
    stop: int


def zone_named(name: str) -> tzinfo:
    """Returns a time zone by its IANA name; raises ValueError for one that is not known here."""
    if name.upper() in ("UTC", "Z"):
        return UTC
    try:
        if not re.fullmatch(r"[A-Za-z0-9_+\-/]{1,64}", name):
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError; a folder is an OSError
        raise ValueError(f"{name!r} is no time zone: write its IANA name, such as Europe/Berlin") from None


def is_time(word: str) -> bool:
    """Says whether a word names spans: a unit, or an amount that quarters of an hour make up (`15m`, `6h`)."""
    return word in UNITS or _amount_s(word) is not None


def floor_quarter(moment: float) -> int:
    """Returns the start of the quarter of an hour that a moment lies in."""
    return int(moment // QUARTER_S) * QUARTER_S


def ceil_quarter(moment: float) -> int:
    """Returns the end of the quarter of an hour that a moment lies in, or the moment where it is an edge."""
    return -floor_quarter(-moment)


def spans(word: str, since: int, until: int, zone: tzinfo) -> list[Span]:
    """Cuts [since, until), whose ends are edges of quarters; the first and the last span may be cut short.

    Raises ValueError where that makes more than MOST_SPANS.
    """
    found: list[Span] = []
    start = since
    starts = _STARTS[word](since, zone) if word in UNITS else _steps(since, _amount_s(word) or QUARTER_S, zone)
    name, _ = next(starts)
    for following, edge in starts:
        stop = min(edge, until)
        if stop > start:
            if len(found) == MOST_SPANS:
                raise ValueError(f"more than {MOST_SPANS} spans of time: take longer ones, or a shorter time")
            found.append(Span(name, start, stop))
            start = stop
        if edge >= until:
            break
        name = following
    return found


# Each yields (name, start) of spans in their order, for ever; the first contains `since`.


def _hours(since: int, zone: tzinfo) -> Iterator[tuple[str, int]]:
    """Hours of the clock; where it is put on or back by half an hour, a half one too."""
    moment, local = since, datetime.fromtimestamp(since, zone)
    shown = local.replace(minute=0, second=0)
    while True:
        yield _clock(shown), moment
        moment = floor_quarter(moment + 3600 - (local.minute * 60 + local.second))
        shown = local = datetime.fromtimestamp(moment, zone)


def _days(since: int, zone: tzinfo) -> Iterator[tuple[str, int]]:
    return _dates(since, zone, lambda day: day, lambda day: day + timedelta(days=1), date.isoformat)


def _weeks(since: int, zone: tzinfo) -> Iterator[tuple[str, int]]:
    return _dates(
        since,
        zone,
        lambda day: day - timedelta(days=day.weekday()),
        lambda day: day + timedelta(days=7),
        lambda day: "{}-W{:02}".format(*day.isocalendar()),
    )


def _months(since: int, zone: tzinfo) -> Iterator[tuple[str, int]]:
    return _dates(
        since,
        zone,
        lambda day: day.replace(day=1),
        lambda day: (day + timedelta(days=31)).replace(day=1),
        lambda day: f"{day:%Y-%m}",
    )


def _dates(
    since: int,
    zone: tzinfo,
    first: Callable[[date], date],
    following: Callable[[date], date],
    name: Callable[[date], str],
) -> Iterator[tuple[str, int]]:
    day = first(datetime.fromtimestamp(since, zone).date())
    while True:
        # Where a clock skips midnight, this is the moment at which it does; a day that a zone skipped has no length.
        yield name(day), floor_quarter(datetime.combine(day, time(), zone).timestamp())
        day = following(day)


def _steps(since: int, step_s: int, zone: tzinfo) -> Iterator[tuple[str, int]]:
    moment = since
    while True:
        yield _clock(datetime.fromtimestamp(moment, zone)), moment
        moment += step_s


def _clock(local: datetime) -> str:
    return local.isoformat(timespec="minutes").replace("+00:00", "Z")


def _amount_s(word: str) -> int | None:
    matched = _AMOUNT.fullmatch(word)
    if matched is None:
        return None
    seconds = int(matched[1]) * _AMOUNT_S[matched[2]]
    return seconds if seconds % QUARTER_S == 0 else None


_STARTS: Final[Mapping[str, Callable[[int, tzinfo], Iterator[tuple[str, int]]]]] = {
    "hour": _hours,
    "day": _days,
    "week": _weeks,
    "month": _months,
}
