"""What the shape of policies cannot say: names that must resolve, settings that need one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.config import findings
from gateway.config.document import Path
from gateway.config.findings import Problem
from gateway.config.models import Config
from gateway.config.policies import GuaranteeRequire, Route, When

_BUILT_IN: Final = "clearance"


def _when(path: Path, when: When, config: Config) -> Iterator[Problem]:
    yield from findings.each((*path, "team"), "team", when.team, config.teams)
    yield from findings.level((*path, "sensitivity"), when.sensitivity, config)
    for field in sorted(when.model_fields_set):
        if getattr(when, field) in ([], {}):
            yield (*path, field), f"an empty {field} matches no call"
    if (
        when.prompt_tokens_over is not None
        and when.prompt_tokens_under is not None
        and when.prompt_tokens_under <= when.prompt_tokens_over + 1
    ):
        yield (*path, "prompt_tokens_under"), "no number is over the one and under the other"


def guarantees(config: Config) -> Iterator[Problem]:
    """Yields what is wrong with `policies.guarantees`."""
    path: Path = ("policies", "guarantees")
    yield from findings.unique(path, "guarantee", [guarantee.name for guarantee in config.policies.guarantees])
    for index, guarantee in enumerate(config.policies.guarantees):
        here: Path = (*path, index)
        if guarantee.name == _BUILT_IN:
            yield (*here, "name"), "`clearance` is the built-in guarantee: take another name"
        yield from _when((*here, "when"), guarantee.when, config)
        yield from _require((*here, "require"), guarantee.require, config)


def _require(path: Path, require: GuaranteeRequire, config: Config) -> Iterator[Problem]:
    if not require.model_fields_set:
        yield path, "a guarantee requires something: location, retention, provider, deployment or max_price"
    for field in sorted(require.model_fields_set - {"max_price"}):
        if not getattr(require, field):
            yield (*path, field), f"an empty {field} permits no deployment"
    locations = {provider.place for provider in config.providers.values()} | config.sensitivity.clearance.keys()
    yield from findings.each((*path, "location"), "location", require.location, locations)
    yield from findings.each((*path, "provider"), "provider", require.provider, config.providers)
    yield from findings.each((*path, "deployment"), "deployment", require.deployment, config.deployments)
    if require.max_price is not None and not require.max_price.model_fields_set:
        yield (*path, "max_price"), "write input, output or both"


def routes(config: Config) -> Iterator[Problem]:
    """Yields what is wrong with `policies.routes`."""
    path: Path = ("policies", "routes")
    yield from findings.unique(path, "route", [route.name for route in config.policies.routes])
    for index, route in enumerate(config.policies.routes):
        yield from _when((*path, index, "when"), route.when, config)
        yield from _route((*path, index), route, config)


def _route(path: Path, route: Route, config: Config) -> Iterator[Problem]:
    names, weights = route.among
    for index, name in enumerate(names or ()):
        place: Path = (*path, "among", index) if weights is None else (*path, "among", name)
        yield from findings.unknown(place, "deployment", name, config.deployments)
    if weights is None:
        yield from findings.repeated((*path, "among"), names or ())
    picks = (route.pick, route.if_none)
    if "weighted" in picks and weights is None:
        yield (*path, "among"), "`weighted` needs weights: write {deployment: weight, …}"
    elif "weighted" not in picks and weights is not None:
        yield (*path, "among"), f"`pick: {route.pick}` takes no weights: write a list, or `pick: weighted`"
    if "balance" in route.model_fields_set and "balanced" not in picks:
        yield (*path, "balance"), "only `pick: balanced` takes a balance"
    if route.balance.cost == route.balance.latency == 0:
        yield (*path, "balance"), "one weight must be above 0"
    require = route.require
    latency = require.max_ttft_p95 is not None or require.max_tpot_p95 is not None
    for field in ("window", "min_samples"):
        if field in require.model_fields_set and not latency:
            yield (*path, "require", field), f"{field} goes with max_ttft_p95 or max_tpot_p95"
    if require.max_price is not None and not require.max_price.model_fields_set:
        yield (*path, "require", "max_price"), "write input, output or both"
    if route.if_none is not None and not latency and require.max_price is None:
        yield (*path, "if_none"), "there is no `require` that nobody could meet"
    if route.on_failure.errors == []:
        yield (*path, "on_failure", "errors"), "an empty list is written `attempts: 1`"


def tests(config: Config) -> Iterator[Problem]:
    """Yields what is wrong with `policies.tests`."""
    for index, test in enumerate(config.policies.tests):
        given, expect = test.given, test.expect
        path: Path = ("policies", "tests", index, "given")
        if given.team is not None:
            yield from findings.unknown((*path, "team"), "team", given.team, config.teams)
        yield from findings.level((*path, "sensitivity"), given.sensitivity, config)
        yield from findings.each((*path, "down"), "deployment", given.down, config.deployments)
        for field, names in (("ttft_p95", given.ttft_p95), ("tpot_p95", given.tpot_p95), ("load", given.load)):
            for name in names:
                yield from findings.unknown((*path, field, name), "deployment", name, config.deployments)
        for name, load in given.load.items():
            if not 0 <= load <= 1:
                yield (*path, "load", name), "a load is between 0 and 1"
        if given.prompt_tokens_over is not None and given.prompt_tokens_under is not None:
            yield (*path, "prompt_tokens_under"), "state one size: over or under"
        path = ("policies", "tests", index, "expect")
        if not expect.model_fields_set:
            yield path, "a test expects something: first, only, never, error or sensitivity"
        if expect.first is not None:
            yield from findings.unknown((*path, "first"), "deployment", expect.first, config.deployments)
        yield from findings.each((*path, "only"), "deployment", expect.only, config.deployments)
        yield from findings.each((*path, "never"), "deployment", expect.never, config.deployments)
        yield from findings.level((*path, "sensitivity"), expect.sensitivity, config)
        if expect.error is not None and (expect.first is not None or expect.only is not None):
            yield (*path, "error"), "a call that ends in an error has no candidate"
