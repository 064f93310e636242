"""The facts of a call that the compiled rules look at: what a remembered answer is remembered by."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable

from gateway.core.types import Request
from gateway.routing.rules import AUTO, When


class Facts:
    """Reduces a call to what any rule can tell apart, so that a hundred thousand keys share a few answers.

    A team, key, user or tag that no rule names is as good as none; of the prompt's size only its place among the
    rules' thresholds counts.
    """

    def __init__(self, conditions: Iterable[When]) -> None:
        teams: set[str] = set()
        keys: set[str] = set()
        users: set[str] = set()
        tags: set[tuple[str, str]] = set()
        thresholds: set[int] = set()
        for when in conditions:
            teams |= when.team or frozenset()
            keys |= when.key or frozenset()
            users |= when.user or frozenset()
            tags |= {(key, value) for key, values in when.tag for value in values}
            thresholds |= {bound for bound in (when.prompt_tokens_over, when.prompt_tokens_under) if bound is not None}
        self._teams, self._keys, self._users, self._tags = teams, keys, users, tags
        self._thresholds = sorted(thresholds)
        self._any = bool(teams or keys or users or tags or thresholds)

    def of(self, request: Request) -> Hashable:
        """Returns a key: calls with equal keys get equal answers from every static rule."""
        call = request.call
        always = (
            call.model or AUTO,
            call.endpoint,
            call.dialect,
            call.stream,
            call.needs,
            request.sensitivity.level,
        )
        return (always, self._named(request)) if self._any else always

    def _named(self, request: Request) -> Hashable:
        principal, user = request.principal, request.call.user
        tokens, tags = request.input_tokens, self._tags
        return (
            principal.team if principal.team in self._teams else None,
            principal.key if principal.key in self._keys else None,
            principal.user if principal.user in self._users else None,
            user if user in self._users else None,
            tuple([tag for tag in request.tags if tag in tags]) if tags and request.tags else (),
            (bisect_left(self._thresholds, tokens), bisect_right(self._thresholds, tokens)),
        )
