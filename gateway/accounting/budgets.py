"""Budgets: before a call what it may cost is reserved at every one that it counts to, after it the truth is settled.

    plan = budgets.reserve(trace, plan, input_tokens, output_tokens, until)     # raises BudgetExceeded
    …
    budgets.settle(trace, cost_nano, deployment)                                # with the receipt, exactly once

Plain code of one thread, without an await: that is what makes a reservation one step over all levels. What is spent is
the sum of receipts, by the moment that a call arrived, so that it can be summed up again from the books at any time
(`gateway.accounting.refill`); what is reserved lives here alone.

A place that a call has no room for is left out of its plan. Only where none is left is the call refused: what costs
nothing is always served. A reservation has an owner (the call) and a lease; what is not given back by then, a sweep
gives back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Final

import msgspec

from gateway.accounting.accounts import Account, Crossing
from gateway.accounting.periods import period_of
from gateway.accounting.reservation import Reservation
from gateway.accounting.rulebook import EACH, Kept, Rule, Rulebook
from gateway.accounting.trace import Trace
from gateway.core.errors import Overloaded
from gateway.core.money import Price, line_nano, usd
from gateway.core.types import Deployment, Plan, Principal, Removal, Tags

_REMEMBERED: Final = 8192  # callers whose budgets are found without looking; forgotten all at once when full
_MEDIA_TOKENS: Final = 16_384  # what a call with media counts as at most: a picture's bytes are no tokens
_LEASE_S: Final = 60.0  # beyond the call's own deadline

_Caller = tuple[str, str | None, str | None, Tags]


# OpenAI's and Anthropic's SDKs then do not try again by themselves.
_NOT_SOON: Final = ((b"x-should-retry", b"false"),)
_SOON_S: Final = 1.0


class BudgetExceeded(Overloaded):
    """There is no room for the call in a budget; the message names it, its figures and when it begins anew."""

    status = 429
    type = "insufficient_quota"
    code = "budget_exceeded"


class Budgets:
    """All budgets of this process. `crossed` is told when spending reaches a share of one, at most once a period.

    `underestimated_nano` sums what calls cost beyond their reservations: no budget is passed by more than that.
    """

    def __init__(self, crossed: Callable[[Crossing], None]) -> None:
        self.active = False
        self.underestimated_nano = 0
        self.rejected: dict[str, int] = {}  # by scope
        self.swept = 0
        self._crossed = crossed
        self._rules = Rulebook()
        self._accounts: dict[Kept, Account] = {}
        self._unfilled: set[Kept] = set()  # rules whose past is not known yet
        self._by_caller: dict[_Caller, tuple[Account, ...]] = {}
        self._by_provider: dict[str, tuple[Account, ...]] = {}
        self._held: dict[str, Reservation] = {}

    # -- rules ---------------------------------------------------------------------------------------------------

    def lacks(self, rules: Rulebook) -> bool:
        """Says whether `apply` would want somebody's past."""
        return any(
            kept in self._unfilled or self._rules.counting.get(kept) != but for kept, but in rules.counting.items()
        )

    def apply(self, rules: Rulebook) -> tuple[Rule, ...]:
        """Takes over the rules of a config; returns those whose past is wanted (`fill`), and which bound nothing
        until it is known. They count from this moment on."""
        before, self._rules = self._rules, rules
        self._unfilled = {
            kept for kept, but in rules.counting.items() if kept in self._unfilled or before.counting.get(kept) != but
        }
        accounts, self._accounts = self._accounts, {}
        for account in accounts.values():
            for rule in rules.of(account.scope, account.name):
                if account.is_of(rule.budget, rule.own):
                    kept = self._account(rule, account.name, account.start, account)
                    if rule.account in self._unfilled:
                        kept.mark()
        self._forget_who_is_who()
        self.active = bool(rules)
        return tuple(rule for rule in rules if rule.account in self._unfilled)

    @property
    def waiting(self) -> bool:
        """Says whether the past of some rule is not known yet."""
        return bool(self._unfilled)

    @property
    def rules(self) -> Rulebook:
        """The rules that hold."""
        return self._rules

    def fill(self, rule: Rule, start: float, sums: Mapping[str, int]) -> None:
        """Gives a rule its past: what was spent of its period (that began at `start`) before `apply`, by name."""
        self._unfilled.discard(rule.account)
        names = {rule.name}
        if rule.name == EACH:
            names = {*sums, *(account.name for account in self._accounts.values() if account.scope == rule.scope)}
        for name in names:
            if rule in self._rules.of(rule.scope, name):
                account = self._account(rule, name, start)
                if account.start == start:
                    account.add_past(sums.get(name, 0))
                account.bind(rule.budget, bounding=True)
                self._look(account)

    # -- accounts ------------------------------------------------------------------------------------------------

    def known(self) -> list[Account]:
        """Returns the accounts that calls have been counted to, as they are; may be called from another thread."""
        return list(self._accounts.values())

    def accounts(self, time: float) -> list[Account]:
        """Returns all accounts as of a moment (seconds since the epoch), those with nothing in them too."""
        for rule in self._rules:
            if rule.name != EACH:
                self._account(rule, rule.name, time)
        found = list(self._accounts.values())
        for account in found:
            account.turn(time)
        return found

    def _account(self, rule: Rule, name: str, time: float, known: Account | None = None) -> Account:
        budget = rule.budget
        key = (rule.scope, name, budget.per, budget.zone, rule.own)
        account = self._accounts.get(key)
        if account is None:
            account = known or Account(rule.scope, name, budget, rule.own, period_of(budget.per, budget.zone, time))
            account.bind(budget, bounding=rule.account not in self._unfilled)
            self._accounts[key] = account
        return account

    def _of_caller(self, principal: Principal, user: str | None, time: float) -> tuple[Account, ...]:
        """Returns what a caller's calls count to, wherever they go."""
        caller = (principal.key, principal.team, user, principal.tags)
        found = self._by_caller.get(caller)
        if found is None:
            if len(self._by_caller) >= _REMEMBERED:
                self._by_caller.clear()
            names = [("key", principal.key), ("team", principal.team), ("user", user), ("overall", "overall")]
            tags = dict(principal.tags)
            names += [(f"tag:{name}", tags.get(name)) for name in self._rules.tags]
            found = self._by_caller[caller] = self._found(names, time)
        return found

    def _of_provider(self, provider: str, time: float) -> tuple[Account, ...]:
        found = self._by_provider.get(provider)
        if found is None:
            found = self._by_provider[provider] = self._found([("provider", provider)], time)
        return found

    def _found(self, names: Iterable[tuple[str, str | None]], time: float) -> tuple[Account, ...]:
        return tuple(
            self._account(rule, name, time)
            for scope, name in names
            if name is not None
            for rule in self._rules.of(scope, name)
        )

    def _forget_who_is_who(self) -> None:
        self._by_caller.clear()
        self._by_provider.clear()

    # -- calls ---------------------------------------------------------------------------------------------------

    def reserve(self, trace: Trace, plan: Plan, input_tokens: int, output_tokens: int, until: float) -> Plan:
        """Holds what a call may cost, in one step, and returns its plan without the places there is no room for.

        Tokens are what is expected of it; of several places the dearest counts. `until` (monotonic) is its deadline.
        Raises BudgetExceeded where no place is left.
        """
        principal, time = trace.principal, trace.time
        accounts = self._of_caller(principal, trace.call.user or principal.user, time)
        by_provider = self._rules.by_provider
        if not accounts and not by_provider:
            return plan
        if trace.call.has_media and input_tokens > _MEDIA_TOKENS:
            input_tokens = _MEDIA_TOKENS
        room, tightest = inf, None  # type: float, Account | None
        for account in accounts:
            if time >= account.end:
                account.turn(time)
            if (left := account.ceiling - account.spent - account.reserved) < room:
                room, tightest = left, account
        candidates = plan.candidates
        costs = [expected_nano(place.price, input_tokens, output_tokens) for place in candidates]
        most = max(costs)
        if most > room or (by_provider and self._short_of_a_provider(candidates, costs, time)):
            plan, costs = self._with_room(plan, costs, room, tightest, time, by_provider)
            candidates, most = plan.candidates, max(costs)
        if not most:
            return plan
        parts = [(account, account.start, most) for account in accounts]
        if by_provider:
            dearest: dict[str, int] = {}
            for place, cost in zip(candidates, costs, strict=True):
                dearest[place.provider] = max(cost, dearest.get(place.provider, 0))
            parts += [
                (account, account.start, cost)
                for provider, cost in dearest.items()
                for account in self._of_provider(provider, time)
            ]
        trace.reservation = self._held[trace.call.id] = Reservation(trace.call.id, most, parts, until + _LEASE_S)
        return plan

    def settle(self, trace: Trace, cost_nano: int, deployment: Deployment | None) -> None:
        """Gives back what a call held and counts what it cost, in one step; called with its receipt."""
        reservation = trace.reservation
        if reservation is not None:
            trace.reservation = None
            if self._held.pop(reservation.owner, None) is not None:  # else swept
                reservation.release()
        if not cost_nano:
            return
        principal, time = trace.principal, trace.time
        accounts = self._of_caller(principal, trace.call.user or principal.user, time)
        if deployment is not None and self._rules.by_provider:
            accounts += self._of_provider(deployment.provider, time)
        for account in accounts:
            if time >= account.end:
                account.turn(time)
            if time >= account.start:  # else of a period that is over
                account.spent += cost_nano
                if account.spent >= account.notice_nano:
                    self._look(account)
        if accounts and cost_nano > (held := reservation.nano if reservation is not None else 0):
            self.underestimated_nano += cost_nano - held

    def sweep(self, now: float, time: float) -> None:
        """Gives back what nobody did by the end of its lease (`now`, monotonic), and lets go of accounts whose period
        was over by `time`."""
        for reservation in [each for each in self._held.values() if each.until <= now]:
            del self._held[reservation.owner]
            self.swept += 1
            reservation.release()
        over = [key for key, account in self._accounts.items() if account.end <= time and not account.reserved]
        for key in over:
            del self._accounts[key]
        if over:
            self._forget_who_is_who()

    @property
    def held(self) -> int:
        """How many calls hold something."""
        return len(self._held)

    def _short_of_a_provider(self, places: Sequence[Deployment], costs: Sequence[int], time: float) -> bool:
        return any(
            _without_room(self._of_provider(place.provider, time), cost, time)
            for place, cost in zip(places, costs, strict=True)
        )

    def _with_room(
        self,
        plan: Plan,
        costs: Sequence[int],
        room: float,
        tightest: Account | None,
        time: float,
        by_provider: bool,
    ) -> tuple[Plan, list[int]]:
        """Leaves out the places that there is no room for; raises BudgetExceeded where that is all of them."""
        kept: list[Deployment] = []
        kept_costs: list[int] = []
        kept_scores: list[float] = []
        removed: list[Removal] = []
        lacking: tuple[Account, int] | None = None
        for index, (place, cost) in enumerate(zip(plan.candidates, costs, strict=True)):
            short = tightest if cost > room else None
            if short is None and by_provider:
                short = _without_room(self._of_provider(place.provider, time), cost, time)
            if short is None or not cost:
                kept.append(place)
                kept_costs.append(cost)
                kept_scores += plan.scores[index : index + 1]
            else:
                lacking = lacking or (short, cost)
                removed.append(Removal(place.name, "budget", f"{short.label}: {usd(short.left)} of {usd(cost)} left"))
        if lacking is not None and not kept:
            raise self._exceeded(*lacking, time)
        if not removed:
            return plan, kept_costs
        return (
            msgspec.structs.replace(
                plan, candidates=tuple(kept), scores=tuple(kept_scores), removed=(*plan.removed, *removed)
            ),
            kept_costs,
        )

    def _exceeded(self, account: Account, cost_nano: int, time: float) -> BudgetExceeded:
        self.rejected[account.scope] = self.rejected.get(account.scope, 0) + 1
        soon = account.spent + cost_nano <= account.ceiling  # where calls under way cost less than they hold
        error = BudgetExceeded(
            f"the budget of {account.label} has no room for this call: ${usd(account.spent)} spent and "
            f"${usd(account.reserved)} reserved of ${usd(int(account.ceiling))}, and the call may cost "
            f"${usd(cost_nano)}; it begins anew at {account.resets}",
            retry_after_s=_SOON_S if soon else max(_SOON_S, account.end - time),
        )
        if not soon:
            error.headers = _NOT_SOON
        return error

    def _look(self, account: Account) -> None:
        """Tells of every share that has been reached."""
        for crossing in account.crossings():
            self._crossed(crossing)


def expected_nano(price: Price | None, input_tokens: int, output_tokens: int) -> int:
    """Returns what a call is expected to cost at a place, in nano-dollars, rounded as it will be charged."""
    if price is None:
        return 0
    rates = price.tiers[0][1] if len(price.tiers) == 1 else price.rates_for(input_tokens)
    return (
        line_nano(input_tokens, rates.fresh_input)
        + line_nano(output_tokens, rates.output_text)
        + price.per_request_nano
    )


def _without_room(accounts: Iterable[Account], cost: int, time: float) -> Account | None:
    for account in accounts:
        if time >= account.end:
            account.turn(time)
        if account.spent + account.reserved + cost > account.ceiling:
            return account
    return None
