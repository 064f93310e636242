"""What one budget holds of one name: spent, reserved, and what is left of its period."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf

import msgspec

from gateway.accounting.periods import Period, period_of
from gateway.core.allowances import Budget


class Crossing(msgspec.Struct, frozen=True):
    """A share of a budget that spending has reached; money in nano-dollars, times in seconds since the epoch."""

    scope: str
    name: str
    budget: Budget
    own: bool
    percent: int
    spent_nano: int
    period: Period

    @property
    def id(self) -> str:
        """The same for the same share of the same budget in the same period, in every process."""
        whose = "own" if self.own else "budgets"
        budget = self.budget
        return f"{self.scope}={self.name}/{budget.per}/{budget.zone}/{whose}/{self.percent}/{int(self.period.start)}"


class Account:
    """The sums of one budget and name in the period [start, end).

    `ceiling` is what may be spent and reserved together, infinite where nothing is refused; `notice_nano` the next sum
    that somebody wants to hear of.
    """

    __slots__ = (
        "_mark",
        "_noticed",
        "budget",
        "ceiling",
        "end",
        "name",
        "notice_nano",
        "own",
        "reserved",
        "scope",
        "spent",
        "start",
    )

    def __init__(self, scope: str, name: str, budget: Budget, own: bool, period: Period) -> None:
        self.scope = scope
        self.name = name
        self.own = own
        self.start, self.end = period
        self.spent = 0
        self.reserved = 0
        self._mark = 0
        self._noticed = 0  # percent: up to it everything was told
        self.bind(budget, bounding=False)

    def bind(self, budget: Budget, *, bounding: bool) -> None:
        """Takes over amounts; without `bounding` nothing is refused and nothing told."""
        self.budget = budget
        ceiling = budget.ceiling_nano if bounding else None
        self.ceiling: float = inf if ceiling is None else ceiling
        self.notice_nano = self._next_notice() if bounding else inf

    def is_of(self, budget: Budget, own: bool) -> bool:
        """Says whether a budget's sums are these: amounts apart, it is the same."""
        return (budget.per, budget.zone, own) == (self.budget.per, self.budget.zone, self.own)

    def turn(self, time: float) -> None:
        """Goes over to the period of a moment, if that is a later one: nothing is spent or reserved in it yet."""
        if time >= self.end:
            self.start, self.end = period_of(self.budget.per, self.budget.zone, time)
            self.spent = self.reserved = self._mark = self._noticed = 0
            if self.notice_nano != inf or self.ceiling != inf:
                self.notice_nano = self._next_notice()

    def mark(self) -> None:
        """Remembers what is counted already: its past, which `add_past` brings, holds it too."""
        self._mark = self.spent

    def add_past(self, nano: int) -> None:
        """Adds what was spent before `mark`, or before this account was there."""
        self.spent += nano - self._mark
        self._mark = 0

    def crossings(self) -> Iterator[Crossing]:
        """Yields the shares that were reached and not told, and takes them for told."""
        if self.notice_nano == inf:
            return
        for percent in self.budget.notify_at:
            if self._noticed < percent and self.spent >= self._sum_at(percent):
                self._noticed = percent
                period = Period(self.start, self.end)
                yield Crossing(self.scope, self.name, self.budget, self.own, percent, self.spent, period)
        self.notice_nano = self._next_notice()

    @property
    def left(self) -> int:
        """What may still be spent, where something bounds it; never less than nothing."""
        return max(0, int(self.ceiling) - self.spent - self.reserved) if self.ceiling != inf else 0

    @property
    def over(self) -> int:
        """By how much it is passed."""
        return max(0, self.spent - int(self.ceiling)) if self.ceiling != inf else 0

    @property
    def label(self) -> str:
        """Its name for people."""
        return label_of(self.scope, self.name, self.budget.per)

    @property
    def resets(self) -> str:
        """When its next period begins, in ISO 8601 (UTC)."""
        return datetime.fromtimestamp(self.end, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _sum_at(self, percent: int) -> int:
        return max(1, self.budget.nano_usd * percent // 100)

    def _next_notice(self) -> float:
        return min((self._sum_at(each) for each in self.budget.notify_at if each > self._noticed), default=inf)


def label_of(scope: str, name: str, per: str) -> str:
    """Names a budget: "team sales per month", "tag project=crm per day", "everybody per hour"."""
    if scope == "overall":
        return f"everybody per {per}"
    if scope.startswith("tag:"):
        return f"tag {scope[4:]}={name} per {per}"
    return f"{scope} {name} per {per}"
