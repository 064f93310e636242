"""Providers and deployments as written -> deployments as compiled: origins, credentials, prices, timeouts bound."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from gateway.config import Config, Loaded
from gateway.config import providers as written
from gateway.config.secret import Secret
from gateway.core.adapter import Adapter
from gateway.core.money import Price
from gateway.core.own import OwnPrice
from gateway.core.types import Deployment, Endpoint, Headers, Origin, Pooled, Timeouts
from gateway.pool.discovery import Name
from gateway.pool.planner.quantisation import UnknownWord
from gateway.pool.router.pools import RANK_HEADER
from gateway.prices import Catalogue, price_from
from gateway.upstream import Transport
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.signing import Signer
from gateway.upstream.tls import HTTP1, HTTP2, TlsFiles, UnusableFile, client_context
from gateway.wiring.kinds import SIMULATOR, WIRES, Wire
from gateway.wiring.own_gpus import own_price

_PORTS: Final = {"http": 80, "https": 443}
_KEPT_S: Final = 3600.0
_UNMEASURED: Final[Mapping[str, float]] = {}

Addresses = Callable[[str, int], tuple[str, ...]]  # host and port -> who stands behind that name


def _nowhere(host: str, port: int) -> tuple[str, ...]:
    """Knows of nobody."""
    return ()


Problem = tuple[tuple[str | int, ...], str]


class Transports(dict[str, Transport]):
    """The transports of a process, by name; one for each way out that a config has asked for.

    A PEM file that has changed makes another way out: calls under way keep the one that they began with.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unused_since: dict[str, float] = {}

    async def retire(self, used: AbstractSet[str]) -> None:
        """Closes what no config has used for an hour and no call uses: a call may outlive its config."""
        now = time.monotonic()
        self._unused_since = {name: self._unused_since.get(name, now) for name in self.keys() - used}
        for name, since in list(self._unused_since.items()):
            if now - since >= _KEPT_S and not self[name].active:
                del self._unused_since[name]
                await self.pop(name).aclose()

    def named(self, provider: written.Provider, folder: Path) -> str:
        """Returns the name of the transport that a provider's calls take; makes it on its first use.

        Files are taken from the config's `folder`. Raises UnusableFile, and ValueError for a proxy that is none.
        """
        proxy = provider.proxy.reveal() if provider.proxy is not None and provider.proxy.present else None
        files = TlsFiles(*(folder / file if file else None for file in provider.tls_files))
        name: str = provider.transport
        if proxy or files:
            # Secrets may stand in a proxy's URL: a name holds their hash.
            name += ":" + hashlib.sha256(f"{proxy}|{files.digest()}".encode()).hexdigest()[:12]
        if name not in self:
            self[name] = _transport(provider, proxy, files)
        return name


def _transport(provider: written.Provider, proxy: str | None, files: TlsFiles) -> Transport:
    # Without files the context is made on first use: the system's authorities take 50 ms to load.
    if provider.transport == "httpx":
        from gateway.upstream.httpx_transport import HttpxTransport

        return HttpxTransport(proxy=proxy, context=client_context(files, HTTP2) if files else None)
    if provider.transport == "http2" or proxy:
        from gateway.upstream.dial import Proxy
        from gateway.upstream.negotiating import NegotiatingTransport

        protocols = HTTP2 if provider.transport == "http2" else HTTP1
        return NegotiatingTransport(
            protocols=protocols,
            context=client_context(files, protocols) if files else None,
            proxy=Proxy(proxy, client_context(files) if files else None) if proxy else None,
        )
    return Http1Transport(context=client_context(files) if files else None)


class Signers(dict[str, Signer]):
    """The signers of a process, by name: one for each identity that a config has asked for, its token kept."""

    def named(self, provider: written.Provider, wire: Wire, folder: Path) -> str:
        """Returns the name of the signer of a provider's calls, or nothing; makes it on its first use.

        Raises ValueError where the settings make no identity.
        """
        settings = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in provider.cloud_settings.items()
            if not isinstance(value, Secret) or value.present
        }
        name = f"{provider.kind}:{hashlib.sha256(repr((folder, settings)).encode()).hexdigest()[:12]}"
        if name not in self and wire.signer is not None and (signer := wire.signer(provider, folder)) is not None:
            self[name] = signer
        return name if name in self else ""


class Places(NamedTuple):
    """What `places_of` compiles: deployments by name, the adapter of each, what is wrong with them, and list prices."""

    deployments: dict[str, Deployment]
    adapters: dict[str, Adapter]
    problems: list[Problem]
    notes: list[Problem]
    listed: dict[str, Price]


def places_of(
    loaded: Loaded,
    catalogue: Catalogue,
    transports: Transports,
    signers: Signers,
    simulator: Callable[[], Origin],
    addresses: Addresses = _nowhere,
    *,
    launched: Mapping[str, Sequence[Origin]] = MappingProxyType({}),
    measured: Mapping[str, float] = _UNMEASURED,
) -> Places:
    """Compiles every deployment; a price that is unknown where none is given is a problem, never zero.

    `addresses` of a name stand in its place, where a provider discovers its replicas and they are known. `launched` are
    those of replicas that are launched here, by provider; `measured` is, by provider, how many times its estimate a
    pool does.
    """
    config = loaded.config
    adapters = {name: WIRES[provider.kind].adapter() for name, provider in config.providers.items()}
    places = Places({}, {}, [], [], {})
    ways = {name: _way(name, each, loaded.folder, transports, places) for name, each in config.providers.items()}
    signed_by = {name: _signer(name, each, loaded.folder, signers, places) for name, each in config.providers.items()}
    for name, deployment in config.deployments.items():
        provider = config.providers[deployment.provider]
        adapter = adapters[deployment.provider]
        facts = catalogue.find(provider.kind, deployment.base_model or deployment.model)
        own = _own(name, deployment, provider, measured.get(deployment.provider), places)
        price = own[0] if own is not None else _price(config, deployment, facts.price)
        if facts.price is not None:
            places.listed[name] = facts.price
        if price is None:
            places.problems.append(
                (
                    ("deployments", name),
                    f"the price of {deployment.model!r} at {provider.kind!r} is unknown: write `price: {{input: …, "
                    "output: …}`, `price: free`, or `unknown_price` for all such deployments",
                )
            )
        elif deployment.price is None:
            places.notes.extend((("deployments", name), f"price of {name!r}: {note}") for note in facts.notes)
        wire = WIRES[provider.kind]
        _check_endpoints(name, deployment, provider.kind, wire, places)
        urls = _urls(provider, wire, simulator, addresses, launched.get(deployment.provider, ()))
        places.adapters[name] = adapter
        places.deployments[name] = Deployment(
            name=name,
            provider=deployment.provider,
            kind=provider.kind,
            model=deployment.model,
            adapter=adapter.name,
            base_path=urls[0].path.rstrip("/").encode() if urls else b"",
            endpoints=_endpoints(name, deployment.provider, provider, adapter, urls, ways, signed_by),
            location=provider.place,
            retention=provider.keeps,
            clearance=_clearance(config, provider, deployment),
            price=price,
            context_window=deployment.context_window or facts.context_window,
            max_output=deployment.max_output,
            default_temperature=deployment.default_temperature,
            capabilities=deployment.can,
            serves=frozenset(deployment.endpoints) & wire.serves,
            timeouts=deployment.timeouts.onto(provider.timeouts.onto(Timeouts())),
            disabled=loaded.disabled.get(deployment.provider),
            options=_options(provider, deployment),
            counts=wire.counts,
            pooled=_pooled(deployment.provider, provider),
            own=own[1] if own is not None else None,
        )
    return places


def _check_endpoints(name: str, deployment: written.Deployment, kind: str, wire: Wire, places: Places) -> None:
    """Says of endpoints that somebody listed, and that such a provider does not have."""
    absent = sorted(set(deployment.endpoints) - wire.serves)
    if absent and "endpoints" in deployment.model_fields_set:
        told = f"a provider of kind {kind!r} does not serve {', '.join(absent)}"
        found = places.notes if wire.serves & set(deployment.endpoints) else places.problems
        found.append((("deployments", name, "endpoints"), told))


def _way(name: str, provider: written.Provider, folder: Path, transports: Transports, places: Places) -> str:
    try:
        return transports.named(provider, folder)
    except UnusableFile as error:
        places.problems.append((("providers", name, error.key), str(error)))
    except ValueError as error:
        places.problems.append((("providers", name, "proxy"), str(error)))
    return ""


def _signer(name: str, provider: written.Provider, folder: Path, signers: Signers, places: Places) -> str:
    try:
        return signers.named(provider, WIRES[provider.kind], folder)
    except ValueError as error:
        places.problems.append((("providers", name), str(error)))
    return ""


def _options(provider: written.Provider, deployment: written.Deployment) -> dict[str, str]:
    """Returns what an adapter may want to know of its place beside the model's name."""
    told = {
        "api_version": provider.api_version,
        "project": provider.project,
        "region": provider.region,
        "deployment_name": deployment.deployment_name,
        "base_model": deployment.base_model,
        "exact_usage": "true" if provider.exact_usage else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _pooled(name: str, provider: written.Provider) -> Pooled | None:
    """Returns how a pool is routed; the salts' key comes from the config alone, so that all gateways make the same."""
    if provider.kind != "vllm":
        return None
    secrets = [name, *(secret.reveal() for secret in provider.api_credentials)]
    key = hashlib.blake2b("\0".join(secrets).encode(), digest_size=32, person=b"headgate salts").digest()
    return Pooled(provider.routing or "two_choices", key if provider.prefix_cache == "tenant" else None)


def _own(
    name: str, deployment: written.Deployment, provider: written.Provider, factor: float | None, places: Places
) -> tuple[Price, OwnPrice] | None:
    """Returns what a deployment costs whose GPUs are paid by the hour, and that has no price written."""
    try:
        return own_price(provider, deployment, factor) if deployment.price is None else None
    except UnknownWord as error:
        told = (
            f"its price cannot be estimated ({error}): write `base_model`, or `throughput` at {deployment.provider!r}"
        )
        places.problems.append((("deployments", name), told))
        return None


def _price(config: Config, deployment: written.Deployment, listed: Price | None) -> Price | None:
    if deployment.price is not None:
        return price_from(deployment.price.written)
    if listed is not None:
        return listed
    return price_from(config.unknown_price.written, "ceiling") if config.unknown_price is not None else None


def names_of(config: Config) -> dict[Name, str]:
    """Returns the names whose addresses are replicas, each with its pool."""
    return {
        (url.hostname or "", url.port or _PORTS[url.scheme]): name
        for name, provider in config.providers.items()
        if provider.discover is not None
        for url in map(urlsplit, provider.endpoints)
    }


def _found(url: SplitResult, addresses: Addresses) -> list[SplitResult]:
    """Returns an URL for each address behind its name; itself where none is known, for the transport to look up."""
    port = url.port or _PORTS[url.scheme]
    found = addresses(url.hostname or "", port)
    return [url._replace(netloc=f"[{each}]:{port}" if ":" in each else f"{each}:{port}") for each in found] or [url]


def _urls(
    provider: written.Provider,
    wire: Wire,
    simulator: Callable[[], Origin],
    addresses: Addresses,
    launched: Sequence[Origin],
) -> list[SplitResult]:
    if provider.kind == SIMULATOR:
        return [urlsplit(f"{simulator()}/v1")]
    if provider.pool is not None:
        return [urlsplit(f"{origin}{wire.path}") for origin in launched]
    usual = (wire.base_url or "").replace("{region}", provider.region or "")
    if wire.address is not None:
        usual = wire.address(provider.region)
    if provider.discover is not None:
        found = [each for url in map(urlsplit, provider.endpoints) for each in _found(url, addresses)]
        urls = list(dict.fromkeys(found))  # two names may have an address in common
    else:
        urls = [urlsplit(url) for url in provider.endpoints or [provider.base_url or provider.endpoint or usual]]
    return [url if url.path.strip("/") else url._replace(path=wire.path) for url in urls]


def _endpoints(
    deployment: str,
    name: str,
    provider: written.Provider,
    adapter: Adapter,
    urls: list[SplitResult],
    ways: Mapping[str, str],
    signed_by: Mapping[str, str],
) -> tuple[Endpoint, ...]:
    """One endpoint per server and credential; a server that takes no key has one."""
    headers: Headers = tuple(
        (header.lower().encode(), secret.reveal().encode("latin-1"))
        for header, secret in provider.headers.items()
        if secret.present
    )
    endpoints: list[Endpoint] = []
    for url in urls:
        origin = Origin(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme])
        ways_in = product(enumerate(provider.api_credentials or [None]), _ranks(provider))
        for number, ((index, secret), rank) in enumerate(ways_in):
            auth = adapter.authorize(secret.reveal()) if secret is not None else ()
            endpoints.append(
                Endpoint(
                    id=f"{deployment}#{_named(origin, number) if provider.discover else len(endpoints)}",
                    deployment=deployment,
                    provider=name,
                    origin=origin,
                    auth=(*auth, *headers, *rank),
                    credential=f"{name}/{index}" if secret is not None else "",
                    transport=ways[name],
                    server=name if len(urls) == 1 else f"{name} {origin}",
                    signer=signed_by[name] if secret is None else "",
                )
            )
    return tuple(endpoints)


def _named(origin: Origin, number: int) -> str:
    """Names an endpoint by its address: who stays has the same name when others come and go."""
    return f"{origin.host}:{origin.port}" + (f".{number}" if number else "")


def _ranks(provider: written.Provider) -> Sequence[Headers]:
    """Returns what pins a call to each of a server's data-parallel ranks, where it has any."""
    ranks = provider.data_parallel_ranks
    return [()] if ranks is None else [((RANK_HEADER, b"%d" % rank),) for rank in range(ranks)]


def _clearance(config: Config, provider: written.Provider, deployment: written.Deployment) -> int:
    settings = config.sensitivity
    level = deployment.clearance or provider.clearance or settings.clearance.get(provider.place)
    return settings.levels.index(level) if level is not None else 0
