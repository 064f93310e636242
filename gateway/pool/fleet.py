"""Every vLLM provider of the config that serves: its replicas, what each last told, how busy all of them are.

What routers know is of calls; what is known here is of pools: their load, by which policies price them, their tokens a
second, by which their price is measured, and the figures that operators are shown. It outlives configs.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.policy import Outlook
from gateway.core.types import Deployment, Endpoint, Origin
from gateway.pool.gauges import read
from gateway.pool.planner.measured import Factor, Window
from gateway.pool.planner.own import Hour, Speed
from gateway.pool.router import Gauges, Pools, PrefixRouter
from gateway.pool.router.pools import RANK_HEADER, replica_of
from gateway.pool.router.replicas import STALE_S

WINDOW_S: Final = 10.0
FULL_WAIT_S: Final = 2.0  # a backlog of prompts that takes so long to read is a full pool, however few they are

_COUNTER: Final = re.compile(
    rb"^vllm:(prompt_tokens|prompt_tokens_cached|prefix_cache_hits|generation_tokens)_total(?:\{(.*)\})? (\S+)",
    re.MULTILINE,
)
_ENGINE: Final = re.compile(rb'\bengine="([^"]*)"')


class Counters(NamedTuple):
    """Tokens since a replica's start: prompts in all, those of them that were cached, and answers."""

    prompt: float = 0.0
    cached: float = 0.0
    output: float = 0.0


def counters_in(page: bytes, rank: str | None = None) -> Counters:
    """Reads the counters of a page of /metrics; of one data-parallel rank, or summed over the engines of a server."""
    sums: dict[bytes, float] = {}
    for name, labels, value in _COUNTER.findall(page):
        engine = _ENGINE.search(labels)
        if rank is not None and engine is not None and engine[1] != rank.encode():
            continue
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            continue
    # The first counts what this server's own cache held; older ones tell of hits alone.
    cached = sums.get(b"prompt_tokens_cached", sums.get(b"prefix_cache_hits", 0.0))
    return Counters(sums.get(b"prompt_tokens", 0.0), cached, sums.get(b"generation_tokens", 0.0))


class Means(msgspec.Struct, frozen=True):
    """What a pool's price is made of; `fixed` where its speed is the config's word, which nothing corrects."""

    hour: Hour
    speed: Speed
    fixed: bool = False


class Pace(NamedTuple):
    """Tokens a second of a whole pool over the last window, and its mean load."""

    fresh: float = 0.0
    output: float = 0.0
    load: float = 0.0


class Reading:
    """What one replica told: its last gauges, its counters now and when the window began."""

    __slots__ = ("began", "born_at", "counters", "gauges", "ours")

    def __init__(self) -> None:
        self.gauges: Gauges | None = None
        self.counters = Counters()
        self.began: Counters | None = None
        self.born_at = 0.0
        self.ours = 0  # our calls in flight there when it told

    def turn(self) -> tuple[float, float]:
        """Begins a new window; returns the prompt tokens that were computed and the output tokens of the last one."""
        began, now = self.began, self.counters
        self.began = now if self.gauges is not None else None
        if began is None:
            return 0.0, 0.0
        fresh = (now.prompt - now.cached) - (began.prompt - began.cached)
        return max(0.0, fresh), max(0.0, now.output - began.output)


class Member:
    """One provider: its deployments, which stand on the same replicas, and how busy those are."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deployments: tuple[Deployment, ...] = ()
        self.replicas: dict[str, tuple[Endpoint, ...]] = {}
        self.readings: dict[str, Reading] = {}
        self.means: Means | None = None
        self.factor = Factor()
        self.pace = Pace()
        self.router: PrefixRouter | None = None
        self._names: tuple[str, ...] = ()
        self._others = 0  # calls of others in flight, as far as replicas told
        self._told = 0.0  # the load that replicas tell of
        self._live = 0
        self._per_call = 0.0  # the load that one call is
        self._heard_until = -math.inf
        self._window_at = 0.0
        self._loads = self._samples = self._lives = 0.0

    def watch(self, deployments: tuple[Deployment, ...], means: Means | None) -> None:
        """Stands for these from now on; a speed that was measured of another estimate is forgotten."""
        self.deployments = deployments
        self._names = tuple(deployment.name for deployment in deployments)
        self._heard_until = -math.inf
        replicas: dict[str, tuple[Endpoint, ...]] = {}
        for deployment in deployments:
            for endpoint in deployment.endpoints:
                key = replica_of(endpoint)
                replicas[key] = (*replicas.get(key, ()), endpoint)
        self.replicas = replicas
        self.readings = {key: self.readings.get(key) or Reading() for key in replicas}
        before, self.means = self.means, means
        if before is not None and (means is None or means.speed != before.speed or means.fixed):
            self.factor = Factor()

    @property
    def speed(self) -> Speed | None:
        """What one replica does, as the price has it."""
        if self.means is None:
            return None
        factor = self.factor.value
        return self.means.speed if factor is None or self.means.fixed else self.means.speed.times(factor)

    def load(self, in_flight: Mapping[str, int], now: float) -> float:
        """Returns how full the pool is, 0 to 1.

        The largest of: calls in flight over those that its replicas work on at once, how full their KV memory is, that
        calls wait at each of them, and the time that prompts wait to be read.
        """
        if now > self._heard_until:  # nobody has said anything for long: that is no verdict on replicas
            self._believe(len(self.replicas), 0, 0.0, math.inf)
        calls = 0
        for name in self._names:
            calls += in_flight.get(name, 0)
        load = max(self._told, (calls + self._others) * self._per_call)
        if calls and self.router is not None and (outlook := self.router.outlook(now)) is not None:
            load = max(load, outlook.wait_s / FULL_WAIT_S)
        return load if load < 1.0 else 1.0

    def _believe(self, live: int, others: int, told: float, until: float) -> None:
        at_once = self.means.speed.at_once if self.means is not None else 0.0
        self._live, self._others, self._told, self._heard_until = live, others, told, until
        self._per_call = 1.0 / (at_once * live) if at_once and live else 0.0

    def told(self, now: float) -> None:
        """Sums up what replicas say, after one has said something."""
        others, usage, waiting, live = 0, 0.0, True, 0
        for reading in self.readings.values():
            gauges = reading.gauges
            if gauges is not None and now - gauges.at <= STALE_S:
                live += 1
                others += max(0, gauges.running + gauges.waiting - reading.ours)
                usage += gauges.kv_usage
                waiting = waiting and gauges.waiting > 0
        self._believe(live, others, 1.0 if waiting else usage / live, now + STALE_S)

    def sample(self, load: float) -> None:
        """Takes the load of this moment into the window's mean."""
        self._loads, self._lives, self._samples = self._loads + load, self._lives + self._live, self._samples + 1

    def turn(self, now: float) -> bool:
        """Ends a window once it is long enough; returns whether the speed that the price rests on has changed."""
        seconds = now - self._window_at
        if seconds < WINDOW_S:
            return False
        first, self._window_at = not self._window_at, now
        grown = [reading.turn() for reading in self.readings.values()]
        samples, self._samples = self._samples, 0.0
        load, live = (self._loads / samples, self._lives / samples) if samples else (0.0, 0.0)
        self._loads = self._lives = 0.0
        if first:
            return False
        fresh, output = sum(each[0] for each in grown), sum(each[1] for each in grown)
        self.pace = Pace(fresh / seconds, output / seconds, load)
        if self.means is None or self.means.fixed:
            return False
        window = Window(seconds, fresh, output, live, load)
        return self.factor.observe(window, self.means.speed, self.means.hour.target, now)


class Fleet:
    """All members, and what policies may ask of them.

    `in_flight` counts our attempts by deployment, `at_endpoints` by the endpoint's id.
    """

    def __init__(self, pools: Pools, in_flight: Mapping[str, int], at_endpoints: Mapping[str, int]) -> None:
        self.pools = pools
        self._in_flight = in_flight
        self._at_endpoints = at_endpoints
        self.members: dict[str, Member] = {}
        self._standing_on: dict[str, list[Member]] = {}  # by replica: several providers may name one server
        self._at: dict[Origin, dict[str, str | None]] = {}  # by server: its replicas, each with its rank
        self._member_of: dict[str, Member] = {}
        self.load = Loads(self._member_of, self.load_of)
        self.outlooks = Outlooks(self._member_of, _outlook_of)

    def watch(self, deployments: Iterable[Deployment], means: Mapping[str, Means]) -> None:
        """Takes a new config over, after the routers have."""
        by_provider: dict[str, list[Deployment]] = {}
        for deployment in deployments:
            if deployment.pooled is not None:
                by_provider.setdefault(deployment.provider, []).append(deployment)
        self.members = {name: self.members.get(name) or Member(name) for name in by_provider}
        self._standing_on.clear()
        self._at.clear()
        self._member_of.clear()
        for name, member in self.members.items():
            member.watch(tuple(by_provider[name]), means.get(name))
            pool = self.pools.named(name)
            member.router = pool.router if pool is not None and isinstance(pool.router, PrefixRouter) else None
            for deployment in member.deployments:
                self._member_of[deployment.name] = member
            for key, endpoints in member.replicas.items():
                self._standing_on.setdefault(key, []).append(member)
                self._at.setdefault(endpoints[0].origin, {})[key] = _rank_of(endpoints[0])

    @property
    def factors(self) -> dict[str, float]:
        """What was measured: by provider, how many times its estimate a replica does."""
        return {name: each.factor.value for name, each in self.members.items() if each.factor.value is not None}

    def forget(self, provider: str) -> None:
        """Lets go of a measured speed that cannot serve: what follows is measured anew."""
        if provider in self.members:
            self.members[provider].factor = Factor()

    # -- what replicas tell ------------------------------------------------------------------------------------------

    def heard(self, endpoint: Endpoint, page: bytes) -> None:
        """Takes a page of /metrics as the server behind an endpoint shows it: of all data-parallel ranks there."""
        now = time.monotonic()
        for replica, rank in self._at.get(endpoint.origin, {}).items():
            self.take(replica, read(page, now, rank), counters_in(page, rank))

    def take(self, replica: str, gauges: Gauges, counters: Counters) -> None:
        """Takes what a replica said; gauges are in monotonic seconds."""
        for member in self._standing_on.get(replica, ()):
            reading = member.readings[replica]
            if counters.prompt < reading.counters.prompt or counters.output < reading.counters.output:
                reading.began = None  # it was started anew
            reading.counters, reading.gauges = counters, gauges
            reading.ours = self.ours(member, replica)
            member.told(gauges.at)
            member.sample(member.load(self._in_flight, gauges.at))

    def turn(self, now: float) -> list[str]:
        """Ends windows that are due; returns the providers whose measured speed has changed."""
        return [name for name, member in self.members.items() if member.turn(now)]

    # -- what is asked -----------------------------------------------------------------------------------------------

    def ours(self, member: Member, replica: str) -> int:
        """Returns our calls in flight at a replica."""
        return sum(self._at_endpoints.get(endpoint.id, 0) for endpoint in member.replicas[replica])

    def load_of(self, member: Member) -> float:
        """Returns how full a pool is at this moment, 0 to 1."""
        return member.load(self._in_flight, time.monotonic())


def _rank_of(endpoint: Endpoint) -> str | None:
    return next((value.decode("latin-1") for name, value in endpoint.auth if name == RANK_HEADER), None)


def _outlook_of(member: Member) -> Outlook | None:
    return member.router.outlook(time.monotonic()) if member.router is not None else None


class _Asked(Mapping[str, Any]):
    """By deployment: what is worked out of its pool when it is asked for, and costs nothing where nobody asks."""

    def __init__(self, members: Mapping[str, Member], answer: Callable[[Member], Any]) -> None:
        self._members = members
        self._answer = answer

    def __bool__(self) -> bool:
        return bool(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __getitem__(self, deployment: str) -> Any:
        return self._answer(self._members[deployment])

    def get(self, deployment: str, default: Any = None) -> Any:
        """Returns the answer, or `default` of what is no pool: without an exception, for most are none."""
        member = self._members.get(deployment)
        return default if member is None else self._answer(member)


class Loads(_Asked):
    """How full each deployment's pool is, 0 to 1."""


class Outlooks(_Asked):
    """What the router of each deployment's pool expects of its best replica."""
