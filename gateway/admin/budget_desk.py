"""What budgets and rate limits stand at, for whoever may see it: every team's, or one's own team and its keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.accounting.accounts import Account
from gateway.accounting.budgets import Budgets
from gateway.accounting.ledger import Ledger
from gateway.accounting.limits import Limits
from gateway.accounting.periods import Period, period_before, period_of
from gateway.admin.access import Visitor
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import usd
from gateway.state.protocols import StoreUnavailable

MOST_PERIODS: Final = 36
_EARLY: Final = 0.02  # of a period: before it what was spent foretells nothing

Shown = dict[str, Any]


class UnknownBudget(CallError):
    """No budget that this visitor may see is of that scope, name and period."""

    status = 404
    type = "invalid_request_error"
    code = "budget_not_found"


class BooksAway(CallError):
    """The store cannot be read now."""

    status = 503
    code = "store_unavailable"


class BudgetDesk:
    """Shows budgets and limits of a running gateway; its methods belong into the loop that calls are counted in.

    `teams_of_keys` says which team each key is of.
    """

    def __init__(
        self,
        budgets: Budgets,
        limits: Limits,
        ledger: Ledger,
        teams_of_keys: Callable[[], Mapping[str, str | None]],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._budgets = budgets
        self._limits = limits
        self._ledger = ledger
        self._teams_of_keys = teams_of_keys
        self._now = now

    def budgets(self, visitor: Visitor) -> list[Shown]:
        """Returns every budget of this period that has a name: those for each one are there once somebody has spent."""
        now = self._now()
        may_see = self._sight(visitor)
        found = [each for each in self._budgets.accounts(now) if may_see(each.scope, each.name)]
        found.sort(key=lambda each: (each.scope, each.name, each.end - each.start))
        return [_shown(each, now) for each in found]

    def limits(self, visitor: Visitor) -> list[Shown]:
        """Returns how every rate limit stands."""
        may_see = self._sight(visitor)
        found = [each for each in self._limits.usage(time.monotonic()) if may_see(each.scope, each.name)]
        found.sort(key=lambda each: (each.scope, each.name, each.model or ""))
        return [{field: getattr(each, field) for field in each.__struct_fields__} for each in found]

    async def history(self, visitor: Visitor, scope: str, name: str, per: str, periods: int) -> Shown:
        """Returns what was spent of one budget in its last periods, the present one last; raises UnknownBudget,
        BadRequest, BooksAway."""
        if not 1 <= periods <= MOST_PERIODS:
            raise BadRequest(f"between 1 and {MOST_PERIODS} periods", param="periods")
        now = self._now()
        may_see = self._sight(visitor)
        for account in self._budgets.accounts(now):
            if (account.scope, account.name, account.budget.per) == (scope, name, per) and may_see(scope, name):
                break
        else:
            raise UnknownBudget(f"there is no budget of {scope[:100]} {name[:100]} per {per}")
        zone = account.budget.zone
        span = [period_of(account.budget.per, zone, now)]
        while len(span) < periods:
            span.insert(0, period_before(account.budget.per, zone, span[0]))
        try:
            sums = await asyncio.to_thread(self._sums, scope, name, span)
        except StoreUnavailable as error:
            raise BooksAway(str(error), retry_after_s=5.0) from error
        return {
            "budget": account.label,
            "limit_usd": usd(account.budget.nano_usd),
            "limit_nano_usd": account.budget.nano_usd,
            "periods": [
                {"start_at": start, "end_at": end, "spent_usd": usd(nano), "spent_nano_usd": nano}
                for (start, end), nano in zip(span, sums, strict=True)
            ],
        }

    def _sums(self, scope: str, name: str, span: list[Period]) -> list[int]:
        self._ledger.settle()
        if scope == "overall":
            return [self._ledger.spent("", period).get("", 0) for period in span]
        return [self._ledger.spent(scope, period).get(name, 0) for period in span]

    def _sight(self, visitor: Visitor) -> Callable[[str, str], bool]:
        """Returns what somebody may see: of a team its own and its keys'."""
        team = visitor.team
        if team is None:
            return lambda scope, name: True
        teams_of_keys = self._teams_of_keys()
        return lambda scope, name: (
            (scope == "team" and name == team) or (scope == "key" and teams_of_keys.get(name) == team)
        )


def _shown(account: Account, now: float) -> Shown:
    budget, spent, limit = account.budget, account.spent, account.budget.nano_usd
    elapsed = (now - account.start) / (account.end - account.start)
    forecast = int(spent / elapsed) if elapsed >= _EARLY else None
    return {
        "budget": account.label,
        "scope": account.scope,
        "name": account.name,
        "own": account.own,
        "per": budget.per,
        "zone": budget.zone,
        "limit_usd": usd(limit),
        "limit_nano_usd": limit,
        "spent_usd": usd(spent),
        "spent_nano_usd": spent,
        "reserved_usd": usd(account.reserved),
        "reserved_nano_usd": account.reserved,
        "forecast_usd": None if forecast is None else usd(forecast),
        "forecast_nano_usd": forecast,
        "notify_at": list(budget.notify_at),
        "reject_at": budget.reject_at,
        "period_start_at": account.start,
        "resets_at": account.end,
    }
