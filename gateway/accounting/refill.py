"""What was spent before a budget was there, out of the books: at the start, and where a config brings a budget.

Exact, whatever is on its way from the journal to the store: a line is drawn under what was booked, from which on the
budget counts by itself; what lies before the line is moved, summed up and added. Calls that died with a process are in
it, as the receipts that their openings became.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from gateway.accounting.budgets import Budgets
from gateway.accounting.ledger import Ledger
from gateway.accounting.periods import Period, period_of
from gateway.accounting.rulebook import Rule, Rulebook

Sums = list[tuple[Rule, Period, dict[str, int]]]


async def refill(budgets: Budgets, rules: Iterable[Rule], ledger: Ledger, time: float) -> None:
    """Has budgets go by these rules, and gives those that are new their past; without such nothing is waited for.

    Raises StoreUnavailable or OSError where the books cannot be read: the new rules then bound nothing until this is
    called again.
    """
    book = Rulebook(rules)
    if not budgets.lacks(book):
        budgets.apply(book)
        return
    async with ledger.mover.cut() as move:
        fresh = budgets.apply(book)
        sums = await asyncio.to_thread(_read, ledger, fresh, time, move)
    for rule, period, spent in sums:
        budgets.fill(rule, period.start, spent)


def _read(ledger: Ledger, rules: Sequence[Rule], time: float, move: Callable[[], None]) -> Sums:
    move()
    known: dict[tuple[str, Period], dict[str, int]] = {}
    sums: Sums = []
    for rule in rules:
        period = period_of(rule.budget.per, rule.budget.zone, time)
        group = "" if rule.scope == "overall" else rule.scope
        if (group, period) not in known:
            known[group, period] = ledger.spent(group, period)
        spent = known[group, period]
        sums.append((rule, period, {"overall": spent.get("", 0)} if rule.scope == "overall" else spent))
    return sums
