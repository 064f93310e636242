"""Config -> Snapshot: names resolved, prices bound, the proof done, the tests passed, or every reason why not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from ipaddress import ip_network

import msgspec

from adapters._blocks import SNIFFABLE, sniffed
from gateway.accounting.elsewhere import elsewhere_of
from gateway.accounting.pairings import Pairings
from gateway.auth import Team, anonymous, keys_of, principal_of
from gateway.cache import Cache, CacheSettings, epoch_of
from gateway.classify import Classifier
from gateway.config import Config, Loaded
from gateway.core.allowances import RateLimits
from gateway.core.errors import ConfigError
from gateway.core.types import Call, Principal, Sensitivity
from gateway.routing import Given, Matrix, Routing, prove, run_tests
from gateway.snapshot import Snapshot
from gateway.state.cache import ResponseCache
from gateway.state.protocols import KeyRow
from gateway.upstream.fetch import Fetcher, MediaLimits, Sniff
from gateway.wiring.labels import classifier_of
from gateway.wiring.places import Places
from gateway.wiring.rules import routing_of, tests_of


class Compiled(msgspec.Struct, frozen=True):
    """A snapshot, the proof that it rests on, what deserves a word without refusing it, and what prices leave out."""

    snapshot: Snapshot
    matrix: Matrix
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def compile_config(
    loaded: Loaded, places: Places, stored_keys: Sequence[KeyRow], cached: ResponseCache, revision: int
) -> Compiled:
    """Compiles a loaded config; raises ConfigError with every problem, each at its place in the file."""
    config = loaded.config
    levels = tuple(config.sensitivity.levels)
    problems = [f"{loaded.at(*path)}: {message}" for path, message in places.problems]
    routing = routing_of(config.policies, places.deployments, levels)
    classifier = classifier_of(config.sensitivity)
    matrix = prove(routing)
    problems += [f"{loaded.at('policies')}: {message}" for message in matrix.errors]
    if not problems:
        problems += _failed_tests(loaded, classifier, routing)
    if problems:
        raise ConfigError(problems)
    keys = keys_of(
        [*written_keys(config), *stored_keys],
        levels,
        teams_of(config),
        anonymous=anonymous() if config.auth == "open" else None,
    )
    snapshot = Snapshot(
        revision=revision,
        compiled_at=int(time.time()),
        open_door=config.auth == "open",
        levels=levels,
        deployments=tuple(places.deployments.values()),
        adapters=places.adapters,
        keys=keys,
        classifier=classifier,
        routing=routing,
        elsewhere=elsewhere_of(
            ((route.name, route.among) for route in routing.routes), places.deployments.values(), places.listed
        ),
        cache=Cache(
            cached, CacheSettings(config.cache.at, config.cache.ttl, config.cache.share, config.cache.max_entry)
        ),
        pairings=Pairings(revision),
        epoch=epoch_of(places.deployments.values()),
        media=Fetcher(_media_limits(config), Sniff(sniffed, SNIFFABLE)),
    )
    notes = tuple(f"{loaded.at(*path)}: {message}" for path, message in places.notes)
    return Compiled(snapshot, matrix, (*loaded.warnings, *matrix.warnings), notes)


def _media_limits(config: Config) -> MediaLimits:
    written = config.media
    return MediaLimits(
        allow_http=written.allow_http,
        max_bytes=written.max_bytes,
        max_bytes_per_call=written.max_bytes_per_call,
        max_per_call=written.max_per_call,
        timeout_s=written.timeout,
        allow_private=tuple(ip_network(network) for network in written.allow_private),
    )


def _failed_tests(loaded: Loaded, classifier: Classifier, routing: Routing) -> list[str]:
    """Runs the config's own tests against the very engine and detectors that will serve."""
    config = loaded.config
    levels = config.sensitivity.levels
    floors = {key.name: row for key, row in zip(config.keys, written_keys(config), strict=True)}
    teams = teams_of(config)

    def caller(given: Given) -> Principal:
        row = floors.get(given.key or "")
        if row is not None:
            return principal_of(row, levels, teams)
        return principal_of(
            KeyRow(hash="", name=given.key or "policy-test", team=given.team, user=given.user), levels, teams
        )

    def classify(text: str, principal: Principal) -> Sensitivity:
        body = msgspec.json.encode({"messages": [{"role": "user", "content": text}]})
        return classifier.classify(Call("policy-test", "chat", "chat", body), principal)

    places = [f"{loaded.at('policies', 'tests', index)}: test failed" for index in range(len(config.policies.tests))]
    return run_tests(tests_of(config.policies.tests, places, levels), routing, classify, caller)


def teams_of(config: Config) -> dict[str, Team]:
    """Returns what keys inherit of their teams."""
    levels = config.sensitivity.levels
    return {
        name: Team(
            levels.index(team.sensitivity) if team.sensitivity is not None else 0, tuple(sorted(team.tags.items()))
        )
        for name, team in config.teams.items()
    }


def written_keys(config: Config) -> list[KeyRow]:
    """Returns the config's own keys, as the store would hold them."""
    return [
        KeyRow(
            hash=key.hash,
            name=key.name,
            team=key.team,
            user=key.user,
            tags=tuple(sorted(key.tags.items())),
            models=None if key.models is None else tuple(key.models),
            routes=None if key.routes is None else tuple(key.routes),
            sensitivity=key.sensitivity,
            expires_at=None if key.expires is None else key.expires.timestamp(),
            enabled=key.enabled,
            strict=key.strict,
            role=key.role,
            budgets=tuple(budget.compiled for budget in key.budgets),
            limits=key.limits.compiled if key.limits is not None else RateLimits(),
        )
        for key in config.keys
    ]
