"""The pools of a process and their routers, and one call's way through them.

A router outlives configs: `watch` tells it who is there. Deployments of one provider stand on the same replicas and
share a router. A replica is an origin, or one data-parallel rank behind it: each rank has a cache of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Endpoint, Origin, Outcome
from gateway.pool.router.baselines import LeastLoaded, RoundRobin
from gateway.pool.router.prefix import PrefixRouter
from gateway.pool.router.prompts import Prompt, prompt_of
from gateway.pool.router.replicas import Gauges
from gateway.pool.router.standing import Standing

RANK_HEADER: Final = b"x-data-parallel-rank"

Grouped = dict[str, tuple[Endpoint, ...]]  # a deployment's endpoints by replica


class Router(Protocol):
    """Picks replicas by name, and is told what became of it. A ticket is the router's own."""

    def watch(self, replicas: Iterable[str]) -> None: ...

    def tell(self, key: str, gauges: Gauges) -> None: ...

    def restarted(self, key: str) -> None: ...

    def order(self, prompt: Prompt, among: list[str], now: float) -> list[str]: ...

    def reserve(self, key: str, prompt: Prompt, now: float) -> Any: ...

    def first_token(self, ticket: Any, now: float) -> None: ...

    def finished(
        self, ticket: Any, now: float, prompt_tokens: int = 0, cached_tokens: int | None = None, output_tokens: int = 0
    ) -> None: ...

    def failed(self, ticket: Any, now: float) -> None: ...


class Pool:
    """The replicas that one provider's calls go to.

    A call keeps to the endpoints of the deployment that it was planned with, whatever a new config says of its name.
    """

    def __init__(self, routing: str) -> None:
        self.routing = routing
        self.router = ROUTINGS[routing](())
        self.choices: dict[str, int] = {}  # calls that were sent to each replica
        self._grouped: dict[str, tuple[Deployment, Grouped]] = {}

    def watch(self, deployments: Iterable[Deployment]) -> None:
        """Routes the calls of these from now on."""
        self._grouped = {deployment.name: (deployment, _grouped(deployment.endpoints)) for deployment in deployments}
        replicas = dict.fromkeys(key for _, grouped in self._grouped.values() for key in grouped)
        self.choices = {key: count for key, count in self.choices.items() if key in replicas}
        self.router.watch(replicas)

    def endpoints(self, deployment: Deployment) -> Grouped:
        """Returns a deployment's endpoints by replica."""
        known = self._grouped.get(deployment.name)
        return known[1] if known is not None and known[0] is deployment else _grouped(deployment.endpoints)

    def order(
        self, deployment: Deployment, standing: tuple[Endpoint, ...], prompt: Prompt, now: float
    ) -> tuple[Endpoint, ...]:
        """Returns a deployment's endpoints as a call should try them; of one replica those of each credential."""
        whole = len(standing) == len(deployment.endpoints)
        grouped = self.endpoints(deployment) if whole else _grouped(standing)
        return tuple(endpoint for key in self.router.order(prompt, list(grouped), now) for endpoint in grouped[key])


def _grouped(endpoints: Iterable[Endpoint]) -> Grouped:
    grouped: Grouped = {}
    for endpoint in endpoints:
        key = replica_of(endpoint)
        grouped[key] = (*grouped.get(key, ()), endpoint)
    return grouped


class Pools:
    """Every pool of a process, by provider; `in_flight` counts the calls under way at each server."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self.standing = Standing()
        self.in_flight: dict[Origin, int] = {}
        self.heard: Callable[[Endpoint, Outcome], None] = _unheard  # who is told how each call to a replica ended

    def __bool__(self) -> bool:
        return bool(self._pools)

    def __iter__(self) -> Iterator[Pool]:
        return iter(self._pools.values())

    def watch(self, deployments: Iterable[Deployment]) -> None:
        """Takes a new config over: a pool that stays keeps what its router learned."""
        by_provider: dict[str, list[Deployment]] = {}
        deployments = tuple(deployments)
        self.standing.watch(deployments)
        for deployment in deployments:
            if deployment.pooled is not None and deployment.pooled.routing in ROUTINGS:
                by_provider.setdefault(deployment.provider, []).append(deployment)
        old, self._pools = self._pools, {}
        for provider, group in by_provider.items():
            assert group[0].pooled is not None
            routing = group[0].pooled.routing
            pool = old.get(provider)
            if pool is None or pool.routing != routing:
                pool = Pool(routing)
            pool.watch(group)
            self._pools[provider] = pool

    def named(self, provider: str) -> Pool | None:
        """Returns a provider's pool; None where it is routed by two choices, which takes no router."""
        return self._pools.get(provider)

    def of(self, deployment: Deployment) -> Pool | None:
        """Returns the pool that a deployment's calls are routed over, if there is something to choose."""
        pool = self._pools.get(deployment.provider)
        return pool if pool is not None and len(pool.endpoints(deployment)) > 1 else None

    def tell(self, replica: str, gauges: Gauges) -> None:
        """Hands on what a replica's /metrics said; gauges are in monotonic seconds."""
        for pool in self:
            pool.router.tell(replica, gauges)

    def restarted(self, replica: str) -> None:
        """Notes that a replica's cache is empty."""
        for pool in self:
            pool.router.restarted(replica)

    # -- who gets no calls -------------------------------------------------------------------------------------------

    def bar(self, pool: str, replica: str, why: str, ready_at: float | None = None) -> None:
        """Sends a replica (its origin, with all of its ranks) no new calls until it is admitted; see `Standing`."""
        self.standing.bar(pool, replica, why, ready_at)

    def admit(self, pool: str, replica: str, models: frozenset[str] | None = None) -> None:
        """Lets calls go to a replica again: those for `models`, or all."""
        self.standing.admit(pool, replica, models)

    @property
    def bars(self) -> bool:
        """Whether any replica is barred."""
        return self.standing.bars

    def barred(self, endpoint: Endpoint) -> str | None:
        """Returns why a replica gets no calls, or None."""
        return self.standing.barred(endpoint)

    def away(self, deployments: Iterable[Deployment]) -> dict[str, str]:
        """Returns the deployments that no replica may be asked for now, each with why."""
        away = self.standing.away
        return {each.name: away[each.name] for each in deployments if each.name in away}


class Routed:
    """One call's way through pools: in which order it asks, where it has a place, what became of it.

    `spread` orders endpoints where no router has a say.
    """

    __slots__ = ("_call", "_endpoint", "_pools", "_prompt", "_session", "_spread", "_ticket")

    def __init__(
        self,
        pools: Pools,
        call: Call,
        session: bytes = b"",
        spread: Callable[[tuple[Endpoint, ...]], tuple[Endpoint, ...]] = tuple,
    ) -> None:
        self._pools = pools
        self._call = call
        self._session = session  # the conversation, where a header names it
        self._spread = spread
        self._prompt: tuple[str, Prompt] | None = None  # as the model and salt of this deployment make it
        self._ticket: tuple[Router, Any] | None = None
        self._endpoint: Endpoint | None = None  # where it is, in a pool

    def order(self, deployment: Deployment, now: float) -> tuple[Endpoint, ...] | None:
        """Returns a deployment's endpoints that stand, best first; what `attempts` asks.

        None where all of them stand and no router has a say.
        """
        if deployment.pooled is None:
            return None
        standing = self._pools.standing.endpoints(deployment)
        pool = self._pools.of(deployment)
        if pool is None:
            whole = len(standing) == len(deployment.endpoints)
            return None if whole else self._spread(standing) if standing else ()
        return pool.order(deployment, standing, self._read(deployment), now)

    def begin(self, deployment: Deployment, endpoint: Endpoint) -> None:
        """Reserves a place; called with nothing awaited since `order`."""
        if deployment.pooled is None:
            return
        self._endpoint = endpoint
        counts, origin = self._pools.in_flight, endpoint.origin
        counts[origin] = counts.get(origin, 0) + 1
        pool = self._pools.of(deployment)
        if pool is not None:
            key = replica_of(endpoint)
            pool.choices[key] = pool.choices.get(key, 0) + 1
            ticket = pool.router.reserve(key, self._read(deployment), time.monotonic())
            self._ticket = None if ticket is None else (pool.router, ticket)

    def first_token(self, now: float) -> None:
        """The first content has come."""
        if self._ticket is not None:
            router, ticket = self._ticket
            router.first_token(ticket, now)

    def end(self, outcome: Outcome, usage: Usage | None) -> None:
        """Gives the place back and tells what the answer teaches; called once after each `begin`, whatever happened."""
        if self._endpoint is not None:
            self._pools.heard(self._endpoint, outcome)
            counts, origin = self._pools.in_flight, self._endpoint.origin
            self._endpoint = None
            left = counts[origin] - 1
            if left:
                counts[origin] = left
            else:
                del counts[origin]
        if self._ticket is None:
            return
        (router, ticket), self._ticket = self._ticket, None
        now = time.monotonic()
        if outcome.reason is not None:
            router.failed(ticket, now)
        elif usage is None or usage.estimated or usage.suspect:
            router.finished(ticket, now)
        else:
            # Where vLLM runs without --enable-prompt-tokens-details, no word of cached tokens is no nought.
            cached = usage.cached_input if usage.cached_input or b'"cached_tokens"' in usage.raw else None
            router.finished(ticket, now, usage.input_tokens, cached, usage.output_tokens)

    def _read(self, deployment: Deployment) -> Prompt:
        """Reads the prompt, once for each model that it may go to."""
        call = self._call
        if self._prompt is None or self._prompt[0] != deployment.name:
            salt = deployment.pooled.salt(call.tenant) if deployment.pooled is not None else ""
            scope = f"{deployment.model}\0{salt}".encode()
            has_media = call.has_media or call.form is not None
            read = prompt_of(call.body, scope, stream=call.stream, has_media=has_media, session=self._session)
            self._prompt = deployment.name, read
        return self._prompt[1]


# By two choices means by none of these: so `attempts` does by itself.
ROUTINGS: Final[Mapping[str, Callable[[Iterable[str]], Router]]] = {
    "prefix": PrefixRouter,
    "least_loaded": LeastLoaded,
    "round_robin": RoundRobin,
}


def replica_of(endpoint: Endpoint) -> str:
    """Returns the name of the replica behind an endpoint: the same in every gateway."""
    rank = rank_of(endpoint)
    return str(endpoint.origin) if rank is None else f"{endpoint.origin}#{rank}"


def rank_of(endpoint: Endpoint) -> str | None:
    """Returns the data-parallel rank that an endpoint is pinned to, where it is."""
    return next((value.decode("latin-1") for name, value in endpoint.auth if name == RANK_HEADER), None)


def _unheard(endpoint: Endpoint, outcome: Outcome) -> None:
    """Hears of a call and does nothing."""
