"""Budgets and rate limits as written -> the rules that hold: the config's, and those that stand on keys and teams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.accounting.budgets import Rule
from gateway.accounting.limits import LimitRule
from gateway.config import Config
from gateway.config.budgets import BudgetTerms, RateTerms
from gateway.core.allowances import Budget, RateLimits
from gateway.core.money import NANO_PER_USD
from gateway.state.protocols import KeyRow


def budget_of(written: BudgetTerms) -> Budget:
    """Compiles amounts."""
    return Budget(
        int(written.usd * NANO_PER_USD),
        written.per,
        written.zone,
        tuple(sorted(set(written.notify_at))),
        written.reject_at,
    )


def rates_of(written: RateTerms | None) -> RateLimits:
    """Compiles rates; None bounds nothing."""
    if written is None:
        return RateLimits()
    return RateLimits(written.calls_per_minute, written.tokens_per_minute, written.in_flight)


def budget_rules(config: Config, keys: Iterable[KeyRow]) -> Iterator[Rule]:
    """Yields every budget that holds; `keys` are those of the config and of the store."""
    for written in config.budgets:
        yield Rule(*written.scope, budget_of(written))
    for key in keys:
        for budget in key.budgets:
            yield Rule("key", key.name, budget, own=True)


def limit_rules(config: Config, keys: Iterable[KeyRow]) -> Iterator[LimitRule]:
    """Yields every rate limit that holds."""
    for written in config.rate_limits:
        scope, name, model = written.scope
        yield LimitRule(scope, name, rates_of(written), model)
    for name, team in config.teams.items():
        if limits := rates_of(team.limits):
            yield LimitRule("team", name, limits, own=True)
    for key in keys:
        if key.limits:
            yield LimitRule("key", key.name, key.limits, own=True)
