"""Which budgets hold for whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from gateway.core.allowances import Budget

EACH: Final = "*"
Kept = tuple[str, str, str, str, bool]  # what sums are kept by: scope, name, per, zone, own


class Rule(msgspec.Struct, frozen=True):
    """A budget and what it bounds: `name` is one of its `scope`, or EACH of them on its own.

    An EACH steps back for who is named by a rule of the same scope and period. One that stands on the key itself
    (`own`) holds beside all others.
    """

    scope: str
    name: str
    budget: Budget
    own: bool = False

    @property
    def account(self) -> Kept:
        """What its sums are kept by: everything but amounts, which may change while they are."""
        return (self.scope, self.name, self.budget.per, self.budget.zone, self.own)


class Rulebook:
    """The rules of one config.

    `counting` has each rule, by what its sums are kept by, with the names that it is not for, because they have rules
    of their own. `tags` are the tags that somebody wrote a budget for.
    """

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules: dict[str, dict[str, tuple[Rule, ...]]] = {}  # scope -> name -> rules
        for rule in rules:
            named = self._rules.setdefault(rule.scope, {})
            named[rule.name] = (*named.get(rule.name, ()), rule)
        self.tags = tuple(scope.removeprefix("tag:") for scope in self._rules if scope.startswith("tag:"))
        self.by_provider = "provider" in self._rules
        self.counting = {rule.account: self._replaced(rule) for rule in self}

    def __iter__(self) -> Iterator[Rule]:
        """Yields all rules."""
        return (rule for named in self._rules.values() for rules in named.values() for rule in rules)

    def __bool__(self) -> bool:
        """Says whether there are any."""
        return bool(self._rules)

    def of(self, scope: str, name: str) -> tuple[Rule, ...]:
        """Returns the rules for one name: those that name it, and of those for each what they do not replace."""
        named = self._rules.get(scope)
        if named is None:
            return ()
        own = named.get(name, ())
        if name == EACH:
            return own
        replaced = {rule.budget.per for rule in own if not rule.own}
        return own + tuple(rule for rule in named.get(EACH, ()) if rule.budget.per not in replaced)

    def _replaced(self, rule: Rule) -> frozenset[str]:
        if rule.name != EACH:
            return frozenset()
        named = self._rules[rule.scope]
        return frozenset(name for name in named if name != EACH and rule not in self.of(rule.scope, name))
