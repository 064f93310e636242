"""What the shape cannot say: names that must resolve, names that must be unique, settings that need one another."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import urlsplit

from gateway.config import launched
from gateway.config.budgets import EACH
from gateway.config.document import Path
from gateway.config.models import Config
from gateway.config.own_gpus import OWN_GPUS
from gateway.config.policies import GuaranteeRequire, Route, Source, When
from gateway.config.providers import Kind, Provider

Problem = tuple[Path, str]

RESERVED: Final = {"deployments": "auto", "guarantees": "clearance"}
_POOLS_OWN: Final = OWN_GPUS | {
    "discover", "pool", "exact_usage", "health", "routing", "data_parallel_ranks", "prefix_cache"
}  # fmt: skip


def meant(word: str, known: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def problems(config: Config, kinds: Mapping[str, Kind], detectors: Collection[str]) -> Iterator[Problem]:
    """Yields everything that refuses a config whose shape is right."""
    yield from _server(config)
    for name, provider in config.providers.items():
        yield from _provider(("providers", name), provider, kinds, config)
    yield from _deployments(config)
    yield from _sensitivity(config, detectors)
    yield from _callers(config)
    yield from _budgets(config)
    yield from _guarantees(config)
    yield from _routes(config)
    yield from _tests(config)


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


def _unknown(path: Path, what: str, word: str, known: Collection[str]) -> Iterator[Problem]:
    if word not in known:
        yield path, f"there is no {what} {word!r}{meant(word, known)}"


def _each(path: Path, what: str, words: Iterable[str] | None, known: Collection[str]) -> Iterator[Problem]:
    for index, word in enumerate(words or ()):
        yield from _unknown((*path, index), what, word, known)


def _level(path: Path, word: str | None, config: Config) -> Iterator[Problem]:
    if word is not None:
        yield from _unknown(path, "level", word, config.sensitivity.levels)


def _unique(path: Path, what: str, names: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            yield (*path, index, "name"), f"the {what} {name!r} stands here twice"
        seen.add(name)


def _repeated(path: Path, words: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, word in enumerate(words):
        if word in seen:
            yield (*path, index), f"{word!r} stands here twice"
        seen.add(word)


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
    yield from _repeated((*path, "endpoints"), provider.endpoints)
    if provider.discover is not None:
        yield from _discovered(path, provider)
    yield from _own_gpus(path, provider)
    yield from _level((*path, "clearance"), provider.clearance, config)


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
        if name == RESERVED["deployments"]:
            yield path, f"{name!r} cannot be a deployment: it is the model name of the default route"
        yield from _unknown((*path, "provider"), "provider", deployment.provider, config.providers)
        yield from _level((*path, "clearance"), deployment.clearance, config)
        if not deployment.endpoints:
            yield (*path, "endpoints"), "a deployment serves at least one endpoint"


def _sensitivity(config: Config, detectors: Collection[str]) -> Iterator[Problem]:
    settings = config.sensitivity
    path: Path = ("sensitivity",)
    yield from _repeated((*path, "levels"), settings.levels)
    yield from _level((*path, "default"), settings.default, config)
    yield from _level((*path, "media"), settings.media, config)
    for location, level in settings.clearance.items():
        yield from _level((*path, "clearance", location), level, config)
    for index, source in enumerate(settings.sources):
        yield from _source((*path, "from", index), source, config, detectors)


def _source(path: Path, source: Source, config: Config, detectors: Collection[str]) -> Iterator[Problem]:
    ways = sorted(source.model_fields_set - {"level"})
    if len(ways) != 1:
        yield path, "write exactly one of header, key, detector, terms"
        return
    if source.detector is not None:
        yield from _unknown((*path, "detector"), "detector", source.detector, detectors)
    if source.detector is not None or source.terms is not None:
        if source.level is None:
            yield path, f"{ways[0]} needs a level to raise to"
    elif source.level is not None:
        yield (*path, "level"), f"{ways[0]} brings its own level"
    yield from _level((*path, "level"), source.level, config)


def _callers(config: Config) -> Iterator[Problem]:
    for name, team in config.teams.items():
        yield from _level(("teams", name, "sensitivity"), team.sensitivity, config)
    yield from _unique(("keys",), "key", [key.name for key in config.keys])
    models = set(names_of_models(config))
    routes = [route.name for route in config.policies.routes]
    hashes: set[str] = set()
    for index, key in enumerate(config.keys):
        path: Path = ("keys", index)
        if key.hash in hashes:
            yield (*path, "hash"), "another key has this hash"
        hashes.add(key.hash)
        if key.team is not None:
            yield from _unknown((*path, "team"), "team", key.team, config.teams)
        yield from _level((*path, "sensitivity"), key.sensitivity, config)
        yield from _each((*path, "routes"), "route", key.routes, routes)
        for position, model in enumerate(key.models or ()):
            provider, slash, _ = model.partition("/")
            if not (slash and provider in config.providers):
                yield from _unknown((*path, "models", position), "model", model, models)


def _budgets(config: Config) -> Iterator[Problem]:
    seen: set[tuple[str, ...]] = set()
    for index, budget in enumerate(config.budgets):
        path: Path = ("budgets", index)
        if budget.team not in (None, EACH):
            yield from _unknown((*path, "team"), "team", budget.team or "", config.teams)
        if budget.provider not in (None, EACH):
            yield from _unknown((*path, "provider"), "provider", budget.provider or "", config.providers)
        once = (*budget.scope, budget.per)
        if once in seen:
            yield path, f"there is a budget of {' '.join(budget.scope)} per {budget.per} above"
        seen.add(once)
    models = {*names_of_models(config)}
    limited: set[tuple[str | None, ...]] = set()
    for index, limit in enumerate(config.rate_limits):
        path = ("rate_limits", index)
        if limit.team not in (None, EACH):
            yield from _unknown((*path, "team"), "team", limit.team or "", config.teams)
        if limit.model is not None and not any(fnmatchcase(limit.model, each) for each in models):
            provider, slash, _ = limit.model.partition("/")
            if not (slash and provider in config.providers):
                yield from _unknown((*path, "model"), "model", limit.model, models)
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


def _when(path: Path, when: When, config: Config) -> Iterator[Problem]:
    yield from _each((*path, "team"), "team", when.team, config.teams)
    yield from _level((*path, "sensitivity"), when.sensitivity, config)
    for field in sorted(when.model_fields_set):
        if getattr(when, field) in ([], {}):
            yield (*path, field), f"an empty {field} matches no call"
    if (
        when.prompt_tokens_over is not None
        and when.prompt_tokens_under is not None
        and when.prompt_tokens_under <= when.prompt_tokens_over + 1
    ):
        yield (*path, "prompt_tokens_under"), "no number is over the one and under the other"


def _guarantees(config: Config) -> Iterator[Problem]:
    path: Path = ("policies", "guarantees")
    yield from _unique(path, "guarantee", [guarantee.name for guarantee in config.policies.guarantees])
    for index, guarantee in enumerate(config.policies.guarantees):
        here: Path = (*path, index)
        if guarantee.name == RESERVED["guarantees"]:
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
    yield from _each((*path, "location"), "location", require.location, locations)
    yield from _each((*path, "provider"), "provider", require.provider, config.providers)
    yield from _each((*path, "deployment"), "deployment", require.deployment, config.deployments)
    if require.max_price is not None and not require.max_price.model_fields_set:
        yield (*path, "max_price"), "write input, output or both"


def _routes(config: Config) -> Iterator[Problem]:
    path: Path = ("policies", "routes")
    yield from _unique(path, "route", [route.name for route in config.policies.routes])
    for index, route in enumerate(config.policies.routes):
        yield from _when((*path, index, "when"), route.when, config)
        yield from _route((*path, index), route, config)


def _route(path: Path, route: Route, config: Config) -> Iterator[Problem]:
    names, weights = route.among
    for index, name in enumerate(names or ()):
        place: Path = (*path, "among", index) if weights is None else (*path, "among", name)
        yield from _unknown(place, "deployment", name, config.deployments)
    if weights is None:
        yield from _repeated((*path, "among"), names or ())
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


def _tests(config: Config) -> Iterator[Problem]:
    for index, test in enumerate(config.policies.tests):
        given, expect = test.given, test.expect
        path: Path = ("policies", "tests", index, "given")
        if given.team is not None:
            yield from _unknown((*path, "team"), "team", given.team, config.teams)
        yield from _level((*path, "sensitivity"), given.sensitivity, config)
        yield from _each((*path, "down"), "deployment", given.down, config.deployments)
        for field, names in (("ttft_p95", given.ttft_p95), ("tpot_p95", given.tpot_p95), ("load", given.load)):
            for name in names:
                yield from _unknown((*path, field, name), "deployment", name, config.deployments)
        for name, load in given.load.items():
            if not 0 <= load <= 1:
                yield (*path, "load", name), "a load is between 0 and 1"
        if given.prompt_tokens_over is not None and given.prompt_tokens_under is not None:
            yield (*path, "prompt_tokens_under"), "state one size: over or under"
        path = ("policies", "tests", index, "expect")
        if not expect.model_fields_set:
            yield path, "a test expects something: first, only, never, error or sensitivity"
        if expect.first is not None:
            yield from _unknown((*path, "first"), "deployment", expect.first, config.deployments)
        yield from _each((*path, "only"), "deployment", expect.only, config.deployments)
        yield from _each((*path, "never"), "deployment", expect.never, config.deployments)
        yield from _level((*path, "sensitivity"), expect.sensitivity, config)
        if expect.error is not None and (expect.first is not None or expect.only is not None):
            yield (*path, "error"), "a call that ends in an error has no candidate"
