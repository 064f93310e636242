"""Policies as written -> policies as compiled: every name resolved, every unit read, every pick an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.config import policies as written
from gateway.core.errors import Reason
from gateway.core.money import rate_from_usd
from gateway.core.policy import Policy
from gateway.core.types import Deployment, FailurePolicy
from gateway.routing import Expect, Given, Guarantee, PolicyTest, Route, Routing, When
from policies.balanced import Balanced
from policies.capable import Capable
from policies.cheapest import Cheapest
from policies.clearance import Clearance
from policies.context_window import ContextWindow
from policies.deployment import Named
from policies.fastest import Fastest
from policies.in_order import InOrder
from policies.latency import Latency
from policies.least_loaded import LeastLoaded
from policies.location import Location
from policies.price_cap import PriceCap
from policies.provider import Provider
from policies.retention import Retention
from policies.weighted import Weighted

Deployments = Mapping[str, Deployment]


def routing_of(rules: written.Policies, deployments: Deployments, levels: Sequence[str]) -> Routing:
    """Compiles guarantees and routes; every name in them has been checked."""
    return Routing(
        tuple(deployments.values()),
        [_guarantee(guarantee, levels) for guarantee in rules.guarantees],
        [_route(route, deployments, levels) for route in rules.routes],
        levels=levels,
        clearance=Clearance(levels),
        capable=Capable(),
        window=ContextWindow(),
    )


def tests_of(tests: Sequence[written.PolicyTest], names: Sequence[str], levels: Sequence[str]) -> list[PolicyTest]:
    """Compiles the config's own tests."""
    return [
        PolicyTest(name, _given(test.given, levels), _expect(test.expect, levels))
        for name, test in zip(names, tests, strict=True)
    ]


def windows_of(rules: written.Policies) -> set[float]:
    """Returns the measurement windows (seconds) that routes ask for."""
    return {route.require.window for route in rules.routes if route.require.max_ttft_p95 or route.require.max_tpot_p95}


def _when(when: written.When, levels: Sequence[str]) -> When:
    return When(
        model=None if when.model is None else tuple(when.model),
        endpoint=_set(when.endpoint),
        dialect=_set(when.dialect),
        stream=when.stream,
        team=_set(when.team),
        key=_set(when.key),
        user=_set(when.user),
        tag=tuple(sorted((key, frozenset(values)) for key, values in (when.tag or {}).items())),
        sensitivity=levels.index(when.sensitivity) if when.sensitivity is not None else 0,
        prompt_tokens_over=when.prompt_tokens_over,
        prompt_tokens_under=when.prompt_tokens_under,
    )


def _set(words: Sequence[str] | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words)


def _guarantee(guarantee: written.Guarantee, levels: Sequence[str]) -> Guarantee:
    require = guarantee.require
    policies: list[Policy] = []
    if require.location is not None:
        policies.append(Location(require.location))
    if require.retention is not None:
        policies.append(Retention(require.retention))
    if require.provider is not None:
        policies.append(Provider(require.provider))
    if require.deployment is not None:
        policies.append(Named(require.deployment))
    if require.max_price is not None:
        policies.append(_price_cap(require.max_price))
    return Guarantee(guarantee.name, tuple(policies), _when(guarantee.when, levels))


def _price_cap(ceiling: written.MaxPrice) -> PriceCap:
    return PriceCap(
        None if ceiling.input is None else rate_from_usd(ceiling.input),
        None if ceiling.output is None else rate_from_usd(ceiling.output),
    )


def _route(route: written.Route, deployments: Deployments, levels: Sequence[str]) -> Route:
    names = route.among.names if route.among.names is not None else tuple(deployments)
    among = tuple(deployments[name] for name in names)
    weights = dict(zip(names, route.among.weights or (1.0,) * len(names), strict=True))
    require = route.require
    policies: list[Policy] = []
    if require.max_price is not None:
        policies.append(_price_cap(require.max_price))
    if require.max_ttft_p95 is not None or require.max_tpot_p95 is not None:
        policies.append(Latency(require.max_ttft_p95, require.max_tpot_p95, require.window, require.min_samples))
    if_none: Policy | None = None
    if route.if_none != "reject":
        if_none = _pick(route.if_none or route.pick, route, among, weights)
    return Route(
        route.name,
        among,
        _pick(route.pick, route, among, weights),
        _when(route.when, levels),
        tuple(policies),
        if_none,
        _on_failure(route.on_failure),
    )


def _pick(
    name: written.Pick, route: written.Route, among: Sequence[Deployment], weights: Mapping[str, float]
) -> Policy:
    match name:
        case "cheapest":
            return Cheapest(among)
        case "fastest":
            return Fastest(route.require.min_samples)
        case "least_loaded":
            return LeastLoaded()
        case "weighted":
            return Weighted(weights)
        case "in_order":
            return InOrder()
        case "balanced":
            return Balanced(among, route.balance.cost, route.balance.latency, route.require.min_samples)


def _on_failure(written: written.OnFailure) -> FailurePolicy:
    errors = None if written.errors is None else frozenset(Reason(error) for error in written.errors)
    if errors is not None and Reason.OVERLOADED in errors:
        errors |= {Reason.QUEUE_FULL}  # which is the same of one's own replicas
    return FailurePolicy(
        attempts=written.attempts,
        errors=errors,
        first_token_s=written.first_token,
        deadline_s=written.deadline,
        patience_s=written.patience,
    )


def _given(given: written.Given, levels: Sequence[str]) -> Given:
    return Given(
        model=given.model,
        endpoint=given.endpoint,
        dialect=given.dialect or given.endpoint,
        stream=given.stream,
        team=given.team,
        key=given.key,
        user=given.user,
        tag=tuple(sorted(given.tag.items())),
        sensitivity=levels.index(given.sensitivity) if given.sensitivity is not None else 0,
        prompt_tokens_over=given.prompt_tokens_over,
        prompt_tokens_under=given.prompt_tokens_under,
        text=given.text or "",
        down=frozenset(given.down),
        ttft_p95=given.ttft_p95,
        tpot_p95=given.tpot_p95,
        load=given.load,
    )


def _expect(expect: written.Expect, levels: Sequence[str]) -> Expect:
    return Expect(
        first=expect.first,
        only=_set(expect.only),
        never=frozenset(expect.never or ()),
        error=expect.error,
        sensitivity=levels.index(expect.sensitivity) if expect.sensitivity is not None else None,
    )
