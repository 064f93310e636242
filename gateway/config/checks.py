"""What the shape cannot say: names that must resolve, names that must be unique, settings that need one another."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from gateway.config import findings, launched, policy_checks
from gateway.config.budgets import EACH
from gateway.config.document import Path
from gateway.config.findings import Problem, meant
from gateway.config.models import Config
from gateway.config.own_gpus import OWN_GPUS
from gateway.config.policies import Source
from gateway.config.providers import Kind, Provider

_DEFAULT_ROUTE: Final = "auto"
_POOLS_OWN: Final = OWN_GPUS | {
    "discover", "pool", "exact_usage", "health", "routing", "data_parallel_ranks", "prefix_cache"
}  # fmt: skip


def problems(config: Config, kinds: Mapping[str, Kind], detectors: Collection[str]) -> Iterator[Problem]:
    """Yields everything that refuses a config whose shape is right."""
    yield from _server(config)
    for name, provider in config.providers.items():
        yield from _provider(("providers", name), provider, kinds, config)
    yield from _deployments(config)
    yield from _sensitivity(config, detectors)
    yield from _callers(config)
    yield from _budgets(config)
    yield from policy_checks.guarantees(config)
    yield from policy_checks.routes(config)
    yield from policy_checks.tests(config)


def warnings(config: Config, kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    """Yields what loads, and still deserves a word."""
    lowest = config.sensitivity.levels[0]
    for name, provider in config.providers.items():
        kind = kinds[provider.kind]
        if provider.clearance is None and provider.place not in config.sensitivity.clearance:
            yield (
                ("providers", name),
                f"the location {provider.place!r} of provider {name!r} has no clearance: it may see {lowest!r} alone",
            )
        absent = [index for index, secret in enumerate(provider.api_keys) if not secret.present]
        if provider.no_key(kind) is None:
            for index in absent:
                secret = provider.api_keys[index]
                yield (
                    ("providers", name, "api_keys", index),
                    f"{secret.source} has no value: this credential is left out",
                )


def is_address(host: str) -> bool:
    """Says whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Says whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _server(config: Config) -> Iterator[Problem]:
    host, _ = config.server.address
    if config.auth == "open" and not is_loopback(host):
        yield (
            ("auth",),
            f"`auth: open` answers on a loopback address only, and `server.listen` is {config.server.listen}",
        )
    if config.breakers.longest_rest < config.breakers.rest:
        yield ("breakers", "longest_rest"), "the longest rest is shorter than the first"
    url = config.shared.url
    if url is not None and url.present and not url.reveal().startswith(("redis://", "rediss://")):
        yield ("shared", "url"), "write redis://… or rediss://…"
    store = config.store
    if not store.url.present:
        yield ("store", "url"), f"{store.url.source} has no value"
    elif store.path is None and not store.is_postgres:
        yield (
            ("store", "url"),
            "write sqlite:///path/to/file.db (a fourth slash begins an absolute path), or postgresql://…",
        )


def _provider(path: Path, provider: Provider, kinds: Mapping[str, Kind], config: Config) -> Iterator[Problem]:
    kind = kinds.get(provider.kind)
    if kind is None:
        yield (*path, "kind"), f"the kind {provider.kind!r} is not known{meant(provider.kind, kinds)}"
        return
    if provider.kind == "simulator":
        for field in ("base_url", "endpoints", "pool", "api_key", "api_keys", "proxy", "ca_file", "cert_file"):
            if field in provider.model_fields_set:
                yield (*path, field), f"a simulator runs here and takes no {field}"
    elif provider.endpoints and provider.kind != "vllm":
        yield (*path, "endpoints"), "only the kind vllm takes endpoints: write base_url"
    elif provider.kind != "vllm" and (own := sorted(_POOLS_OWN & provider.model_fields_set)):
        yield (*path, own[0]), f"only the kind vllm takes {own[0]}"
    elif provider.pool is not None and (other := sorted({"base_url", "endpoints"} & provider.model_fields_set)):
        yield (*path, other[0]), f"write pool or {other[0]}, not both: replicas are launched here, or found"
    elif provider.pool is not None and provider.api_keys:
        yield (*path, "api_keys"), "replicas that are launched here take one key: write api_key"
    elif provider.endpoints and provider.base_url is not None:
        yield (*path, "endpoints"), "write endpoints or base_url, not both"
    elif "endpoint" in kind.settings and provider.endpoint is not None and provider.base_url is not None:
        yield (*path, "endpoint"), "write endpoint or base_url, not both"
    elif provider.pool is not None:
        models = [each.model for each in config.deployments.values() if each.provider == path[-1]]
        yield from launched.problems((*path, "pool"), str(path[-1]), provider.pool, models)
    elif kind.needs_base_url and not provider.endpoints and provider.base_url is None and provider.endpoint is None:
        either = "pool, endpoints or base_url" if provider.kind == "vllm" else "base_url"
        either = "endpoint" if "endpoint" in kind.settings else either
        yield path, f"the kind {provider.kind} has no server of its own: {either} is required"
    elif kind.needs_region and provider.base_url is None and provider.region is None:
        yield path, f"the kind {provider.kind} has its region in its address: region is required"
    for setting in provider.cloud_settings:
        if setting not in kind.settings:
            yield (*path, setting), f"the kind {provider.kind} takes no {setting}"
    if provider.api_key is not None and provider.api_keys:
        yield (*path, "api_keys"), "write api_key or api_keys, not both"
    if provider.key_file is not None and provider.cert_file is None:
        yield (*path, "key_file"), "a key needs its certificate: write cert_file"
    yield from findings.repeated((*path, "endpoints"), provider.endpoints)
    if provider.discover is not None:
        yield from _discovered(path, provider)
    yield from _own_gpus(path, provider)
    yield from findings.level((*path, "clearance"), provider.clearance, config)


def _own_gpus(path: Path, provider: Provider) -> Iterator[Problem]:
    given = OWN_GPUS & provider.model_fields_set
    if provider.gpu_hour_usd is None:
        for field in sorted(given - {"gpu_hour_usd"}):
            yield (*path, field), f"{field} is for the price of one's own GPUs: write gpu_hour_usd too"
    elif not provider.gpu_hour_usd:
        yield (*path, "gpu_hour_usd"), "GPUs that cost nothing: write `price: free` at their deployments"
    elif provider.gpu is None and provider.throughput is None:
        yield (*path, "gpu_hour_usd"), "a price takes a speed: write gpu, to estimate it, or throughput"


def _discovered(path: Path, provider: Provider) -> Iterator[Problem]:
    """Yields what keeps the addresses behind a provider's names from being found."""
    if not provider.endpoints:
        yield (*path, "discover"), "write the names to look up as endpoints, such as http://name:8000"
    for index, url in enumerate(provider.endpoints):
        parts = urlsplit(url)
        if parts.scheme == "https":
            yield (*path, "endpoints", index), "with `discover`, write http://: no certificate names an address"
        elif is_address(parts.hostname or ""):
            yield (*path, "endpoints", index), f"{parts.hostname} is an address: `discover` looks up names"


def _deployments(config: Config) -> Iterator[Problem]:
    for name, deployment in config.deployments.items():
        path: Path = ("deployments", name)
        if name == _DEFAULT_ROUTE:
            yield path, f"{name!r} cannot be a deployment: it is the model name of the default route"
        yield from findings.unknown((*path, "provider"), "provider", deployment.provider, config.providers)
        yield from findings.level((*path, "clearance"), deployment.clearance, config)
        if not deployment.endpoints:
            yield (*path, "endpoints"), "a deployment serves at least one endpoint"


def _sensitivity(config: Config, detectors: Collection[str]) -> Iterator[Problem]:
    settings = config.sensitivity
    path: Path = ("sensitivity",)
    yield from findings.repeated((*path, "levels"), settings.levels)
    yield from findings.level((*path, "default"), settings.default, config)
    yield from findings.level((*path, "media"), settings.media, config)
    for location, level in settings.clearance.items():
        yield from findings.level((*path, "clearance", location), level, config)
    for index, source in enumerate(settings.sources):
        yield from _source((*path, "from", index), source, config, detectors)


def _source(path: Path, source: Source, config: Config, detectors: Collection[str]) -> Iterator[Problem]:
    ways = sorted(source.model_fields_set - {"level"})
    if len(ways) != 1:
        yield path, "write exactly one of header, key, detector, terms"
        return
    if source.detector is not None:
        yield from findings.unknown((*path, "detector"), "detector", source.detector, detectors)
    if source.detector is not None or source.terms is not None:
        if source.level is None:
            yield path, f"{ways[0]} needs a level to raise to"
    elif source.level is not None:
        yield (*path, "level"), f"{ways[0]} brings its own level"
    yield from findings.level((*path, "level"), source.level, config)


def _callers(config: Config) -> Iterator[Problem]:
    for name, team in config.teams.items():
        yield from findings.level(("teams", name, "sensitivity"), team.sensitivity, config)
    yield from findings.unique(("keys",), "key", [key.name for key in config.keys])
    models = set(names_of_models(config))
    routes = [route.name for route in config.policies.routes]
    hashes: set[str] = set()
    for index, key in enumerate(config.keys):
        path: Path = ("keys", index)
        if key.hash in hashes:
            yield (*path, "hash"), "another key has this hash"
        hashes.add(key.hash)
        if key.team is not None:
            yield from findings.unknown((*path, "team"), "team", key.team, config.teams)
        yield from findings.level((*path, "sensitivity"), key.sensitivity, config)
        yield from findings.each((*path, "routes"), "route", key.routes, routes)
        for position, model in enumerate(key.models or ()):
            provider, slash, _ = model.partition("/")
            if not (slash and provider in config.providers):
                yield from findings.unknown((*path, "models", position), "model", model, models)


def _budgets(config: Config) -> Iterator[Problem]:
    seen: set[tuple[str, ...]] = set()
    for index, budget in enumerate(config.budgets):
        path: Path = ("budgets", index)
        if budget.team not in (None, EACH):
            yield from findings.unknown((*path, "team"), "team", budget.team or "", config.teams)
        if budget.provider not in (None, EACH):
            yield from findings.unknown((*path, "provider"), "provider", budget.provider or "", config.providers)
        once = (*budget.scope, budget.per)
        if once in seen:
            yield path, f"there is a budget of {' '.join(budget.scope)} per {budget.per} above"
        seen.add(once)
    models = {*names_of_models(config)}
    limited: set[tuple[str | None, ...]] = set()
    for index, limit in enumerate(config.rate_limits):
        path = ("rate_limits", index)
        if limit.team not in (None, EACH):
            yield from findings.unknown((*path, "team"), "team", limit.team or "", config.teams)
        if limit.model is not None and not any(fnmatchcase(limit.model, each) for each in models):
            provider, slash, _ = limit.model.partition("/")
            if not (slash and provider in config.providers):
                yield from findings.unknown((*path, "model"), "model", limit.model, models)
        if limit.scope in limited:
            yield path, "there is a limit of the same above: write them as one"
        limited.add(limit.scope)
    for index, key in enumerate(config.keys):
        periods = [budget.per for budget in key.budgets]
        if len(set(periods)) < len(periods):
            yield ("keys", index, "budgets"), "a key has one budget a period"
    if config.notify is not None:
        url = config.notify.webhook
        if url.present and not _is_web(url.reveal()):
            yield ("notify", "webhook"), "write http://… or https://… and a host"


def _is_web(url: str) -> bool:
    """Says whether a request can be sent to a URL."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return valid and parts.username is None and all("!" <= character <= "~" for character in url)


def names_of_models(config: Config) -> Iterator[str]:
    """Yields every name a caller can ask for, patterns as they are written."""
    yield "auto"
    yield from config.deployments
    for route in config.policies.routes:
        yield from route.when.model or ()
