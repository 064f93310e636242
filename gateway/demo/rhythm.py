"""When calls come: by the hour of the day, the day of the week, growth over the month, and a campaign."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import accumulate
from typing import Final

from gateway.demo.world import Hours, Workload

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
DAYS: Final = 30

# How much of a day's work each hour has, in UTC; a company in central Europe.
_OFFICE: Final = (0, 0, 0, 0, 0, 1, 4, 9, 12, 12, 11, 8, 9, 12, 11, 8, 4, 2, 1, 1, 0, 0, 0, 0)
_LONG: Final = (1, 1, 1, 1, 1, 2, 5, 8, 9, 9, 9, 8, 8, 9, 9, 8, 7, 6, 6, 5, 4, 3, 2, 1)
_NIGHT: Final = (14, 16, 16, 14, 9, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 10)
_ALWAYS: Final = (3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 3, 3, 3, 3)
_BY_HOUR: Final[dict[Hours, tuple[int, ...]]] = {
    "office": _OFFICE,
    "long": _LONG,
    "night": _NIGHT,
    "always": _ALWAYS,
}
_WEEKEND: Final[dict[Hours, float]] = {"office": 0.05, "long": 0.45, "night": 0.8, "always": 0.6}
CAMPAIGN_DAYS: Final = (6, 3)  # from so many days before the end to so many
_CAMPAIGN: Final = 9.0


def moments(random: random.Random, workloads: Sequence[Workload], until: float, calls: int) -> list[tuple[float, int]]:
    """Draws when each of so many calls comes within the month that ends at `until`, and whose it is; in order.

    Times are seconds since the epoch, workloads their indices.
    """
    since = until - DAYS * DAY_S
    cells = [(index, hour) for index in range(len(workloads)) for hour in range(DAYS * 24)]
    weights = list(accumulate(_weight(workloads[index], since + hour * HOUR_S, hour, until) for index, hour in cells))
    drawn = random.choices(cells, cum_weights=weights, k=calls)
    return sorted((round(since + (hour + random.random()) * HOUR_S, 3), index) for index, hour in drawn)


def _weight(workload: Workload, at: float, hour: int, until: float) -> float:
    moment = datetime.fromtimestamp(at, UTC)
    by_hour = _BY_HOUR[workload.hours]
    weight = workload.share * by_hour[moment.hour] / sum(by_hour)
    if moment.weekday() >= 5:
        weight *= _WEEKEND[workload.hours]
    weight *= 1 + workload.growth * hour / (DAYS * 24)
    if workload.campaign and is_campaign(at, until):
        weight *= _CAMPAIGN
    return weight


def is_campaign(at: float, until: float) -> bool:
    """Says whether the growth team's campaign runs at a moment."""
    first, last = CAMPAIGN_DAYS
    return until - first * DAY_S <= at < until - last * DAY_S
