"""The engine: guarantees and routes folded over a call into a plan.

A plan is made in two steps. What depends on the rules and on plain facts of the call (the route, what the guarantees
permit, what is capable) is worked out once per combination of facts and remembered: 500 rules over 1,000 deployments
cost one look-up. What depends on the moment (what is down, latency, load, the pick) is worked out per call, and
draws from the permitted set and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from gateway.core.errors import BadRequest, CallError, Forbidden, Overloaded
from gateway.core.own import Standing, standing_of
from gateway.core.policy import Policy, Ranking, View
from gateway.core.types import Deployment, FailurePolicy, Plan, Principal, Removal, Request
from gateway.routing.facts import Facts
from gateway.routing.names import Names, may_ask
from gateway.routing.rules import AUTO, Guarantee, Route

_REMEMBERED: Final = 1 << 17  # candidates in remembered answers, some 10 MB; forgotten all at once when full
_ANSWER_SIZE: Final = 8  # of an answer itself, in candidates
_STILL: Final = View(now=0.0, draw=0.0)  # what static filters are shown
_ALL_UP: Final[Mapping[str, str]] = {}
_name_of: Final = attrgetter("name")
_NAMED_RULES: Final = 5  # of those that emptied a route, in an error


class Refusal(msgspec.Struct, frozen=True):
    """Why a call cannot be planned whatever the moment; a fresh error is made of it for every call."""

    error: type[CallError]
    message: str
    code: str

    def raised(self) -> CallError:
        """Returns an error to raise."""
        return self.error(self.message, code=self.code)


class Reach(msgspec.Struct, frozen=True):
    """What the static rules leave of a route for one combination of facts."""

    route: Route
    permitted: frozenset[str]
    candidates: tuple[Deployment, ...]
    removed: tuple[Removal, ...]
    smallest_window: int
    refusal: Refusal | None = None
    pooled: bool = False  # there are candidates on one's own GPUs


class Routing:
    """All rules of a snapshot, compiled.

    `clearance`, `capable` and `window` are the built-in filters: clearance is held before every guarantee, the others
    before every route. `levels` are the sensitivity levels' names, low to high.
    """

    def __init__(
        self,
        deployments: Sequence[Deployment],
        guarantees: Sequence[Guarantee],
        routes: Sequence[Route],
        *,
        levels: Sequence[str],
        clearance: Policy,
        capable: Policy,
        window: Policy,
        on_failure: FailurePolicy = FailurePolicy(),  # noqa: B008  a frozen value
    ) -> None:
        self.deployments = tuple(deployments)
        self.guarantees = tuple(guarantees)
        self.routes = tuple(routes)
        self.levels = tuple(levels)
        self.clearance, self.capable, self.window = clearance, capable, window
        self.on_failure = on_failure
        self.names = Names(self.routes, self.deployments, on_failure)
        self._facts = Facts([rule.when for rule in self.guarantees] + [rule.when for rule in self.routes])
        self._reaches: dict[Hashable, Reach] = {}
        self._remembered = 0

    def plan(self, request: Request, view: View, unavailable: Mapping[str, str] = _ALL_UP) -> Plan:
        """Returns where the call may go and in which order; `unavailable` maps deployments to why (their breaker).

        Raises UnknownModel; Forbidden where key or guarantees leave nothing; BadRequest where nothing that is
        permitted can do the call; Overloaded where all that could is unavailable or fails the route's `require`.
        """
        principal = request.principal
        if principal.models is not None and not may_ask(principal, request.call.model or AUTO):
            raise self.names.refused(request)
        facts = self._facts.of(request)
        reach = self._reaches.get(facts)
        if reach is None:
            reach = self.reach(request)
            self._remembered += len(reach.route.among) + _ANSWER_SIZE
            if self._remembered > _REMEMBERED:
                self._reaches.clear()
                self._remembered = 0
            self._reaches[facts] = reach
        route = reach.route
        if principal.routes is not None and route.name not in principal.routes:
            raise Forbidden(f"this key may not use route {route.name!r}", code="model_not_allowed", param="model")
        if reach.refusal is not None:
            raise reach.refusal.raised()

        candidates: Sequence[Deployment] = reach.candidates
        removed = reach.removed
        note = ""
        if unavailable:
            candidates, removed = _without(unavailable, route, candidates, removed)
        call = request.call
        if request.input_tokens + (call.max_tokens or 0) > reach.smallest_window:
            ranking = self.window.rank(request, candidates, view)
            candidates, note = ranking.kept, ranking.note
            removed = (*removed, *ranking.removed)
            if not candidates:
                why = "; ".join(f"{removal.deployment}: {removal.why}" for removal in ranking.removed[:_NAMED_RULES])
                raise BadRequest(
                    f"the prompt is too long for every permitted deployment of route {route.name!r}: {why}",
                    code="context_length_exceeded",
                )
        pick = route.pick
        scores: Sequence[float] = ()
        if route.require:
            pick, ranking = _required(request, route, candidates, view)
            removed = (*removed, *ranking.removed)
            note = _join(note, ranking.note)
            candidates, scores = ranking.kept, ranking.scores
        elif len(candidates) > 1:
            ranking = pick.rank(request, candidates, view)
            note = _join(note, ranking.note)
            candidates, scores = ranking.kept, ranking.scores
        permitted = reach.permitted
        if not permitted.issuperset(map(_name_of, candidates)):
            raise ValueError(f"policy {pick.name!r} of route {route.name!r} kept a deployment that it was not given")
        return Plan(
            route.name,
            pick.name,
            permitted,
            tuple(candidates),
            removed,
            tuple(scores),
            note,
            route.on_failure,
            _standings(candidates, view) if reach.pooled else (),
        )

    def reach(self, request: Request) -> Reach:
        """Works out what the static rules leave, remembering nothing; raises UnknownModel."""
        route, aliases = self.names.resolve(request)
        candidates = route.among
        removed: list[Removal] = []
        candidates = _filter("clearance", self.clearance, request, candidates, removed)
        for guarantee in self.guarantees:
            if guarantee.when.matches(request, aliases):
                for policy in guarantee.policies:
                    candidates = _filter(guarantee.name, policy, request, candidates, removed)
        permitted = frozenset([deployment.name for deployment in candidates])
        refusal: Refusal | None = None
        if not candidates:
            message = f"no deployment of route {route.name!r} is permitted for this call: {_rules(removed)}"
            refusal = Refusal(Forbidden, message, "no_permitted_deployment")
        before = len(removed)
        candidates = _filter(self.capable.name, self.capable, request, candidates, removed)
        if refusal is None and not candidates:
            missing = ", ".join(dict.fromkeys(removal.why for removal in removed[before:]))
            message = f"no permitted deployment of route {route.name!r} can do: {missing}"
            if missing == request.call.endpoint:
                message += " (each serves what its `endpoints` list, by default chat, completions and embeddings)"
            refusal = Refusal(BadRequest, message, "unsupported_capability")
        enabled = tuple([deployment for deployment in candidates if deployment.disabled is None])
        removed += [
            Removal(deployment.name, "disabled", deployment.disabled)
            for deployment in candidates
            if deployment.disabled is not None
        ]
        if refusal is None and not enabled:
            why = ", ".join(f"{deployment.name} ({deployment.disabled})" for deployment in candidates[:_NAMED_RULES])
            message = f"every permitted deployment of route {route.name!r} is disabled: {why}"
            refusal = Refusal(Overloaded, message, "no_permitted_deployment")
        windows = [deployment.context_window or sys.maxsize for deployment in enabled]
        pooled = any(deployment.own is not None for deployment in enabled)
        return Reach(route, permitted, enabled, tuple(removed), min(windows, default=sys.maxsize), refusal, pooled)

    def usable(self, principal: Principal) -> list[str]:
        """Returns the model names that a caller may use, routes' names first."""
        return self.names.usable(principal)

    def assuming_enabled(self) -> Routing:
        """Returns the same rules in a world where every provider has its key: what proof and policy tests judge."""
        enabled = {
            deployment.name: msgspec.structs.replace(deployment, disabled=None) for deployment in self.deployments
        }
        return Routing(
            tuple(enabled.values()),
            self.guarantees,
            [
                msgspec.structs.replace(route, among=tuple([enabled[deployment.name] for deployment in route.among]))
                for route in self.routes
            ],
            levels=self.levels,
            clearance=self.clearance,
            capable=self.capable,
            window=self.window,
            on_failure=self.on_failure,
        )


def _standings(candidates: Sequence[Deployment], view: View) -> tuple[Standing, ...]:
    """Returns what the tokens of those on one's own GPUs cost at this moment."""
    return tuple(
        [
            standing_of(each.name, each.price, each.own, view.load.get(each.name, 0.0))
            for each in candidates
            if each.own is not None and each.price is not None
        ]
    )


def _filter(
    rule: str, policy: Policy, request: Request, candidates: tuple[Deployment, ...], removed: list[Removal]
) -> tuple[Deployment, ...]:
    """Applies a static filter: keeps the order given, and nothing that was not given; removals carry the rule."""
    if not candidates:
        return candidates
    ranking = policy.rank(request, candidates, _STILL)
    if len(ranking.kept) == len(candidates) and not ranking.removed:
        return candidates
    names = {deployment.name for deployment in ranking.kept}
    removed += [Removal(removal.deployment, rule, removal.why) for removal in ranking.removed]
    return tuple([deployment for deployment in candidates if deployment.name in names])


def _without(
    unavailable: Mapping[str, str], route: Route, candidates: Sequence[Deployment], removed: tuple[Removal, ...]
) -> tuple[Sequence[Deployment], tuple[Removal, ...]]:
    """Takes out what cannot be asked now; raises Overloaded where nothing is left."""
    left = [deployment for deployment in candidates if deployment.name not in unavailable]
    if len(left) == len(candidates):
        return candidates, removed
    away = [
        Removal(deployment.name, unavailable[deployment.name], unavailable[deployment.name])
        for deployment in candidates
        if deployment.name in unavailable
    ]
    if not left:
        why = ", ".join(f"{removal.deployment} ({removal.why})" for removal in away[:_NAMED_RULES])
        message = f"every permitted deployment of route {route.name!r} is unavailable: {why}"
        raise Overloaded(message, code="no_permitted_deployment")
    return left, (*removed, *away)


def _required(request: Request, route: Route, candidates: Sequence[Deployment], view: View) -> tuple[Policy, Ranking]:
    """Applies a route's `require`, then its pick within each tier; or `if_none` where nobody is left.

    A requirement's scores are tiers: whatever the pick compares, a lower tier comes first.
    """
    kept = candidates
    removed: list[Removal] = []
    tiers: dict[str, float] = {}
    note = ""
    for policy in route.require:
        ranking = policy.rank(request, kept, view)
        kept = ranking.kept
        removed += ranking.removed
        note = _join(note, ranking.note)
        for deployment, tier in zip(kept, ranking.scores, strict=False):
            tiers[deployment.name] = tiers.get(deployment.name, 0.0) + tier
        if not kept:
            break
    if not kept:
        unmet = "; ".join(f"{removal.deployment}: {removal.why}" for removal in removed[:_NAMED_RULES])
        if route.if_none is None:
            message = f"no permitted deployment of route {route.name!r} meets what it requires: {unmet}"
            raise Overloaded(message, code="requirement_unmet")
        ranking = route.if_none.rank(request, candidates, view)
        note = _join(f"nobody meets what the route requires ({unmet})", ranking.note)
        return route.if_none, Ranking(ranking.kept, (), ranking.scores, note)
    if not tiers:
        ranking = route.pick.rank(request, kept, view)
        return route.pick, Ranking(ranking.kept, removed, ranking.scores, _join(note, ranking.note))
    ordered: list[Deployment] = []
    scores: list[float] = []
    for tier in sorted({tiers.get(deployment.name, 0.0) for deployment in kept}):
        ranking = route.pick.rank(request, [one for one in kept if tiers.get(one.name, 0.0) == tier], view)
        ordered += ranking.kept
        scores += ranking.scores
        note = _join(note, ranking.note)
    return route.pick, Ranking(ordered, removed, scores, note)


def _join(first: str, second: str) -> str:
    """Joins two notes; nearly always one of them is empty."""
    return f"{first}, {second}" if first and second and second not in first else first or second


def _rules(removed: Sequence[Removal]) -> str:
    rules = dict.fromkeys(f"{removal.rule} ({removal.why})" for removal in removed)
    return ", ".join(list(rules)[:_NAMED_RULES]) or "it lists none"
