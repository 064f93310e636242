"""Which kept sums a span of time is put together from: as few rows as there can be, each span exact.

Sums are kept for quarters of an hour, for hours and for days (UTC). A day of another time zone is a day of UTC, less
what is not of it, plus what is: for most zones that reads a tenth of the rows that its 24 hours have.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from gateway.state.books import QUARTER_S

HOUR_S: Final = 3600
DAY_S: Final = 86400
_LONG_S: Final = 20 * HOUR_S  # the shortest span that days may help with; the shortest day of a time zone has 23 hours


class Piece(NamedTuple):
    """Sums kept by `grain` (seconds) over [start, stop), and the spans they are added to (+1) or taken off (-1)."""

    grain: int
    start: int
    stop: int
    shares: tuple[tuple[int, int], ...]


def cover(edges: Sequence[int], grains: Sequence[int], stale: Container[tuple[int, int]]) -> list[Piece]:
    """Covers spans by pieces; `grains` are those that sums are kept by, QUARTER_S among them.

    `stale` are the (grain, slot) whose sums are not up to date; a quarter's always are.
    """
    coarse_first = sorted(grains, reverse=True)
    segments: dict[tuple[int, int], dict[int, int]] = {}

    def add(start: int, stop: int, span: int, sign: int) -> None:
        if start != stop:
            shares = segments.setdefault((start, stop), {})
            shares[span] = shares.get(span, 0) + sign

    for span, (since, until) in enumerate(pairwise(edges)):
        if DAY_S not in grains or until - since < _LONG_S:
            add(since, until, span, 1)
            continue
        first, last = _midnight(since, stale), _midnight(until, stale)
        add(first, last, span, 1)
        for edge, midnight, sign in ((since, first, -1), (until, last, 1)):
            add(min(edge, midnight), max(edge, midnight), span, sign if edge > midnight else -sign)
    return [
        Piece(grain, start, stop, tuple(shares.items()))
        for (since, until), shares in segments.items()
        for grain, start, stop in _split(since, until, coarse_first, stale)
    ]


def _midnight(moment: int, stale: Container[tuple[int, int]]) -> int:
    """Returns the nearest midnight (UTC); the one before where the day's sums could not be used anyway."""
    midnight = moment - moment % DAY_S
    later = moment - midnight > DAY_S // 2 and (DAY_S, midnight) not in stale
    return midnight + DAY_S if later else midnight


def _split(
    since: int, until: int, coarse_first: Sequence[int], stale: Container[tuple[int, int]]
) -> Iterator[tuple[int, int, int]]:
    """Yields (grain, start, stop): neighbours of one grain together."""
    run_grain, run_start, moment = 0, since, since
    while moment < until:
        grain = next(
            grain
            for grain in coarse_first
            if grain == QUARTER_S or (moment % grain == 0 and moment + grain <= until and (grain, moment) not in stale)
        )
        if grain != run_grain:
            if moment > run_start:
                yield run_grain, run_start, moment
            run_grain, run_start = grain, moment
        moment += grain
    if moment > run_start:
        yield run_grain, run_start, moment
