"""What can be said of two conditions before any call: may they hold together, does one imply the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from gateway.routing.rules import AUTO, Route, When, is_pattern

_SETS = ("endpoint", "dialect", "team", "key")


def may_hold_together(one: When, other: When) -> bool:
    """Tells whether some call could meet both; in doubt (two patterns, users, tags) it says yes."""
    if one.model is not None and other.model is not None and not _share_a_name(one.model, other.model):
        return False
    if None not in (one.stream, other.stream) and one.stream is not other.stream:
        return False
    for field in _SETS:
        mine: frozenset[str] | None = getattr(one, field)
        theirs: frozenset[str] | None = getattr(other, field)
        if mine is not None and theirs is not None and not mine & theirs:
            return False
    over = max(one.prompt_tokens_over or -1, other.prompt_tokens_over or -1)
    unders = [bound for bound in (one.prompt_tokens_under, other.prompt_tokens_under) if bound is not None]
    return not unders or over + 1 < min(unders)


def implies(one: When, other: When) -> bool:
    """Tells whether every call that meets `one` meets `other`; it never says yes wrongly."""
    if other.model is not None and (one.model is None or not all(_covered(name, other.model) for name in one.model)):
        return False
    return implies_otherwise(one, other)


def implies_otherwise(one: When, other: When) -> bool:
    """Tells the same of all conditions but `model`."""
    if other.stream is not None and one.stream is not other.stream:
        return False
    for field in (*_SETS, "user"):
        mine: frozenset[str] | None = getattr(one, field)
        theirs: frozenset[str] | None = getattr(other, field)
        if theirs is not None and (mine is None or not mine <= theirs):
            return False
    if not all(any(key == name and values <= accepted for name, values in one.tag) for key, accepted in other.tag):
        return False
    if other.sensitivity > one.sensitivity:
        return False
    if other.prompt_tokens_over is not None and (
        one.prompt_tokens_over is None or one.prompt_tokens_over < other.prompt_tokens_over
    ):
        return False
    return other.prompt_tokens_under is None or (
        one.prompt_tokens_under is not None and one.prompt_tokens_under <= other.prompt_tokens_under
    )


def shadowed_by(routes: Sequence[Route], index: int) -> tuple[Route, ...]:
    """Returns the earlier routes that together leave a route nothing to match, or nothing where it can match.

    Every name that the route serves is looked at by itself, in the order in which names are resolved; for a name one
    earlier route must suffice.
    """
    route = routes[index]
    earlier = [other for other in routes[:index] if implies_otherwise(route.when, other.when)]
    if not earlier:
        return ()
    if route.when.model is None:
        names = {AUTO, *(name for other in routes for name in other.names)}
        patterns = {pattern for other in routes for pattern in other.patterns}
    else:
        names, patterns = set(route.names), set(route.patterns)
    shadows: dict[str, Route] = {}
    for name in names:
        shadow = next((one for one in earlier if one.when.model is None or name in one.names), None)
        if shadow is None:
            return ()
        shadows[shadow.name] = shadow
    for pattern in patterns:
        shadow = next((one for one in earlier if one.when.model is None or _covered(pattern, one.patterns)), None)
        if shadow is None:
            return ()
        shadows[shadow.name] = shadow
    return tuple(shadows.values())


def _covered(name: str, by: Iterable[str]) -> bool:
    # A pattern that matches the text of another one, asterisks included, matches all that the other matches.
    return any(name == one or (is_pattern(one) and fnmatchcase(name, one)) for one in by)


def _share_a_name(one: Sequence[str], other: Sequence[str]) -> bool:
    return any(
        (is_pattern(mine) and is_pattern(theirs)) or _covered(mine, (theirs,)) or _covered(theirs, (mine,))
        for mine in one
        for theirs in other
    )
