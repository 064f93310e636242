"""Budgets and rate limits as written -> the rules that hold: the config's, and those that stand on keys and teams."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.accounting.limits import LimitRule
from gateway.accounting.rulebook import Rule
from gateway.config import Config
from gateway.state.protocols import KeyRow


def budget_rules(config: Config, keys: Iterable[KeyRow]) -> Iterator[Rule]:
    """Yields every budget that holds; `keys` are those of the config and of the store."""
    for written in config.budgets:
        yield Rule(*written.scope, written.compiled)
    for key in keys:
        for budget in key.budgets:
            yield Rule("key", key.name, budget, own=True)


def limit_rules(config: Config, keys: Iterable[KeyRow]) -> Iterator[LimitRule]:
    """Yields every rate limit that holds."""
    for written in config.rate_limits:
        scope, name, model = written.scope
        yield LimitRule(scope, name, written.compiled, model)
    for name, team in config.teams.items():
        if team.limits is not None:
            yield LimitRule("team", name, team.limits.compiled, own=True)
    for key in keys:
        if key.limits:
            yield LimitRule("key", key.name, key.limits, own=True)
