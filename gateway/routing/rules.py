"""The compiled rules: conditions, guarantees and routes, with every name resolved and every unit read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec

from gateway.core.policy import Policy, Ranking, View
from gateway.core.types import Deployment, FailurePolicy, Request, Tags

AUTO: Final = "auto"  # the name of the default route for callers; a call without a model asks for it
DIRECT: Final = "direct"  # the route of a call that names a deployment


def is_pattern(name: str) -> bool:
    """Tells a pattern (`gpt-*`) from a name."""
    return "*" in name


def fits(name: str, names: Iterable[str]) -> bool:
    """Tells whether a name is among names and patterns."""
    return any(name == one or (is_pattern(one) and fnmatchcase(name, one)) for one in names)


class When(msgspec.Struct, frozen=True):
    """The closed vocabulary of conditions; those that are set must all hold. None, 0 and () set nothing.

    `model` holds names and patterns, in the order written. `sensitivity` is the index of a level: at least.
    `tag` pairs a key with the values that are accepted. Token bounds are exclusive.
    """

    model: tuple[str, ...] | None = None
    endpoint: frozenset[str] | None = None
    dialect: frozenset[str] | None = None
    stream: bool | None = None
    team: frozenset[str] | None = None
    key: frozenset[str] | None = None
    user: frozenset[str] | None = None
    tag: tuple[tuple[str, frozenset[str]], ...] = ()
    sensitivity: int = 0
    prompt_tokens_over: int | None = None
    prompt_tokens_under: int | None = None

    def matches(self, request: Request, names: Sequence[str] = ()) -> bool:
        """Tells whether a call meets all conditions; `names` are all the names of the deployment it calls directly.

        A user is the key's or the one the caller states: a guarantee is not lost because both are there.
        """
        if self.model is not None:
            asked = names or (request.call.model or AUTO,)
            if not any(fits(name, self.model) for name in asked):
                return False
        return self.matches_otherwise(request)

    def matches_otherwise(self, request: Request) -> bool:
        """Tells whether a call meets all conditions but `model`."""
        call, principal = request.call, request.principal
        tokens = request.input_tokens
        return (
            request.sensitivity.level >= self.sensitivity
            and (self.endpoint is None or call.endpoint in self.endpoint)
            and (self.dialect is None or call.dialect in self.dialect)
            and (self.stream is None or call.stream is self.stream)
            and (self.team is None or principal.team in self.team)
            and (self.key is None or principal.key in self.key)
            and (self.user is None or principal.user in self.user or call.user in self.user)
            and (not self.tag or _tagged(request.tags, self.tag))
            and (self.prompt_tokens_over is None or tokens > self.prompt_tokens_over)
            and (self.prompt_tokens_under is None or tokens < self.prompt_tokens_under)
        )

    @property
    def conditional(self) -> bool:
        """Tells whether anything is set at all."""
        return self != ANY


ANY: Final = When()


def _tagged(tags: Tags, wanted: tuple[tuple[str, frozenset[str]], ...]) -> bool:
    return all(any(key == name and value in values for name, value in tags) for key, values in wanted)


class Guarantee(msgspec.Struct, frozen=True):
    """What must hold whenever `when` matches; guarantees are AND-ed.

    Its policies look at deployments and the call's level alone, so that their answer can be remembered.
    """

    name: str
    policies: tuple[Policy, ...]
    when: When = ANY


class Route(msgspec.Struct, frozen=True):
    """How a call is placed among what the guarantees leave.

    `require` are filters on live facts; where they leave nobody, `if_none` picks among those they were given, or
    (None) the call is refused.
    """

    name: str
    among: tuple[Deployment, ...]
    pick: Policy
    when: When = ANY
    require: tuple[Policy, ...] = ()
    if_none: Policy | None = None
    on_failure: FailurePolicy = FailurePolicy()

    @property
    def names(self) -> tuple[str, ...]:
        """The model names that it lists letter by letter."""
        return tuple(name for name in self.when.model or () if not is_pattern(name))

    @property
    def patterns(self) -> tuple[str, ...]:
        """The model patterns that it lists."""
        return tuple(name for name in self.when.model or () if is_pattern(name))


class Directly:
    """The pick of a call that names its deployment: there is nothing to choose."""

    name = DIRECT

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        return Ranking(candidates)
