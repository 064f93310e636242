"""Feeds what replicas show to what judges them, and does what follows: bars, replaces, tells.

One task for each server reads its `/metrics` each second; probes and canaries go out beside that, so that a server
that is slow to answer one thing delays nothing else. A launched replica is judged while its supervisor calls it ready,
and its supervisor is told; one that was found is barred from the router and tried with a canary until it sings.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog

from gateway.core.types import Deployment, Endpoint, Origin, Outcome
from gateway.pool.gauges import read
from gateway.pool.health import devices
from gateway.pool.health.devices import Devices
from gateway.pool.health.drift import Drift
from gateway.pool.health.machine import Canary, Health, Probe, Settings, Standing, Verdict, What
from gateway.pool.router.pools import Pools, rank_of, replica_of
from gateway.pool.router.replicas import Gauges
from gateway.pool.states import Control, Events, Phase, ReplicaView, UnknownReplica

EVERY_S: Final = 1.0
DRIFT_REST_S: Final = 600.0  # how long one that was found and is drained for its drift stays so before its next chance
_FEWEST_TOKENS: Final = 8  # for their time to be a figure
_JUDGED: Final = (Phase.READY, Phase.SUSPECT)

# What a supervisor tells itself when it is told, by what follows a hang; twice told would be twice counted.
_SUPERVISORS: Final = {"replace": ("suspect", "cleared", "lost"), "bar": ("suspect", "cleared")}


_log = structlog.get_logger("headgate")


class Reach(Protocol):
    """How replicas are reached; none of it raises for what a replica does, nor takes for ever."""

    async def page(self, deployment: Deployment, endpoint: Endpoint) -> bytes | None:
        """Returns what stands at `/metrics`, or None."""
        ...

    async def probe(self, deployment: Deployment, endpoint: Endpoint, within_s: float) -> Probe:
        """Looks at `/health`."""
        ...

    async def canary(self, deployment: Deployment, endpoint: Endpoint, within_s: float) -> Canary:
        """Asks for one token."""
        ...

    def break_off(self, endpoint: Endpoint, why: str) -> None:
        """Ends the calls that wait for this server: those of which nothing has left yet go elsewhere."""
        ...


class Untold:
    """Events that nobody hears of."""

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        """Does nothing."""


class _Replica:
    """A server, or a data-parallel rank of one, as it is watched."""

    def __init__(self, key: str, deployment: Deployment, endpoint: Endpoint, health: Health) -> None:
        self.key = key
        self.deployment = deployment
        self.endpoint = endpoint
        self.rank = rank_of(endpoint)
        self.health = health
        self.endpoints: list[str] = []  # ids, over all deployments
        self.weighed: Gauges | None = None  # since when tokens make up the next figure
        self.drained_at = 0.0


class _Server:
    """One address of a pool: what `/metrics` and `/health` speak of."""

    def __init__(self, pool: str, origin: Origin, settings: Settings) -> None:
        self.pool = pool
        self.origin = origin
        self.settings = settings
        self.replicas: dict[str, _Replica] = {}
        self.probe_at = 0.0
        # What keeps calls from it: (replica, cause) -> why. Ranks of one server share its engine's steps, so that one
        # that hangs holds the others.
        self.held: dict[tuple[str, str], str] = {}
        self.view: ReplicaView | None = None  # where it is launched

    def name(self, replica: _Replica) -> str:
        """Returns what people call it: a slot, or an address."""
        return self.view.name if self.view is not None else replica.key


class Watcher:
    """Watches the replicas of every pool of a process; `watch` takes a config over, and needs a running loop.

    `in_flight` counts our own calls by endpoint id; `control` is there where pools are launched, on these `boards`.
    """

    def __init__(
        self,
        pools: Pools,
        reach: Reach,
        in_flight: Mapping[str, int],
        events: Events,
        control: Control | None = None,
        boards: Devices | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self._pools = pools
        self._reach = reach
        self._in_flight = in_flight
        self._events = events
        self._control = control
        self._boards = boards
        self._device_watch: asyncio.Task[None] | None = None
        self._settings: Mapping[str, Settings] = {}
        self._every_s = every_s
        self._servers: dict[tuple[str, Origin], _Server] = {}
        self._replicas: dict[tuple[str, str], _Replica] = {}
        self._drifts: dict[str, Drift] = {}
        self._tasks: dict[tuple[str, Origin], asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    # -- who is watched ----------------------------------------------------------------------------------------------

    def watch(self, deployments: Iterable[Deployment], settings: Mapping[str, Settings]) -> None:
        """Watches the replicas of these from now on, by their provider's settings; what is known of others goes."""
        now = time.monotonic()
        self._settings = settings
        wanted: dict[tuple[str, Origin], _Server] = {}
        for deployment in deployments:
            if deployment.pooled is None or deployment.disabled is not None:
                continue
            own = settings.get(deployment.provider, Settings())
            for endpoint in deployment.endpoints:
                at = deployment.provider, endpoint.origin
                server = wanted.get(at)
                if server is None:
                    server = wanted[at] = self._begun(at, own)
                self._join(server, deployment, endpoint, now)
        for server in wanted.values():
            self._prune(server)
        for at in self._tasks.keys() - wanted.keys():
            self._leave(at)
        self._servers = wanted
        self._replicas = {(s.pool, key): each for s in wanted.values() for key, each in s.replicas.items()}
        self._keep_drifts(settings)
        for at, server in wanted.items():
            if at not in self._tasks:
                self._tasks[at] = asyncio.create_task(self._follow(server), name=f"watch of {server.pool} {at[1]}")
                self._tasks[at].add_done_callback(_tell_defect)
        if self._device_watch is None and self._control is not None and self._boards is not None:
            following = devices.follow(self._boards, self._control, self._events, self._drains_on_errors)
            self._device_watch = asyncio.create_task(following, name="watch of devices")
            self._device_watch.add_done_callback(_tell_defect)

    def _drains_on_errors(self, pool: str) -> bool:
        return self._settings.get(pool, Settings()).on_device_error == "drain"

    def _begun(self, at: tuple[str, Origin], settings: Settings) -> _Server:
        """Returns the server that is watched at an address; its replicas say again which endpoints they have."""
        server = self._servers.get(at) or _Server(*at, settings)
        server.settings = settings
        for replica in server.replicas.values():
            replica.endpoints = []
            replica.health.settings = settings
        return server

    def _join(self, server: _Server, deployment: Deployment, endpoint: Endpoint, now: float) -> None:
        key = replica_of(endpoint)
        replica = server.replicas.get(key)
        if replica is None:
            replica = _Replica(key, deployment, endpoint, Health(server.settings, now))
            server.replicas[key] = replica
        if not replica.endpoints:  # the config that serves may reach it another way
            replica.deployment, replica.endpoint = deployment, endpoint
        replica.endpoints.append(endpoint.id)

    def _prune(self, server: _Server) -> None:
        """Forgets ranks that a server has no more."""
        for replica in [each for each in server.replicas.values() if not each.endpoints]:
            del server.replicas[replica.key]
            for _, cause in [held for held in server.held if held[0] == replica.key]:
                self._release(server, replica, cause)

    def _leave(self, at: tuple[str, Origin]) -> None:
        task = self._tasks.pop(at)
        task.cancel()
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        server = self._servers[at]
        if server.view is None and server.held:
            self._pools.admit(server.pool, str(server.origin))

    def _keep_drifts(self, settings: Mapping[str, Settings]) -> None:
        drifts: dict[str, Drift] = {}
        for server in self._servers.values():
            own, drift = server.settings, self._drifts.get(server.pool)
            if drift is None or (drift.factor, drift.samples) != (own.drift_factor, own.drift_samples):
                drift = Drift(own.drift_factor, own.drift_samples)
            drifts[server.pool] = drift
        self._drifts = drifts
        for pool, drift in drifts.items():
            drift.keep(key for name, key in self._replicas if name == pool)

    async def aclose(self) -> None:
        """Ends every watch."""
        ending = [*self._tasks.values(), *self._ending]
        if self._device_watch is not None:
            ending.append(self._device_watch)
        self._tasks = {}
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def standings(self) -> Iterator[tuple[str, str, Standing, list[str]]]:
        """Yields each replica with its pool, what it is taken for, and what keeps calls from it."""
        for server in self._servers.values():
            for replica in server.replicas.values():
                yield server.pool, server.name(replica), replica.health.standing, list(server.held.values())

    # -- what traffic tells ------------------------------------------------------------------------------------------

    def hear(self, endpoint: Endpoint, outcome: Outcome) -> None:
        """Takes how a call ended; called on its path, so it looks up and counts, no more."""
        replica = self._replicas.get((endpoint.provider, replica_of(endpoint)))
        if replica is not None:
            for verdict in replica.health.heard(outcome.reason, time.monotonic()):
                self._follow_up(self._servers[endpoint.provider, endpoint.origin], replica, verdict)

    # -- what they tell themselves -----------------------------------------------------------------------------------

    async def _follow(self, server: _Server) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                if self._is_judged(server):
                    await self._look(server, group)
                await asyncio.sleep(self._every_s)

    def _is_judged(self, server: _Server) -> bool:
        """Says whether a server's silence means anything: one that is starting, draining or stopped is left alone."""
        if self._control is None or server.pool not in self._control.pools():
            return True
        address = f"{server.origin.host}:{server.origin.port}"
        views = (view for view in self._control.status() if view.pool == server.pool)
        server.view = next((view for view in views if view.address.endswith(address)), None)
        if server.view is None or server.view.phase not in _JUDGED:
            server.held.clear()  # what was held against another process holds no more
            for replica in server.replicas.values():
                replica.health.renew(time.monotonic())
                self._drifts[server.pool].forget(replica.key)
            return False
        return True

    async def _look(self, server: _Server, group: asyncio.TaskGroup) -> None:
        """Reads the page and what it means; sends the probes and canaries that are due."""
        first = next(iter(server.replicas.values()))
        page = await self._reach.page(first.deployment, first.endpoint)
        now = time.monotonic()
        for replica in server.replicas.values():
            if page is not None:
                self._read(server, replica, read(page, now, replica.rank), now)
            if replica.health.send(now):
                group.create_task(self._try(server, replica))
        if now >= server.probe_at:
            server.probe_at = now + server.settings.interval_s + server.settings.timeout_s  # never two at a time
            group.create_task(self._probe(server, first))

    def _read(self, server: _Server, replica: _Replica, gauges: Gauges, now: float) -> None:
        self._pools.tell(replica.key, gauges)
        in_flight = sum(self._in_flight.get(id, 0) for id in replica.endpoints)
        for verdict in replica.health.seen(gauges, in_flight, now):
            self._follow_up(server, replica, verdict)
        self._weigh(server, replica, gauges)
        if (replica.key, "drift") in server.held and now - replica.drained_at >= DRIFT_REST_S:
            self._drifts[server.pool].forget(replica.key)
            self._release(server, replica, "drift")

    async def _probe(self, server: _Server, replica: _Replica) -> None:
        probe = await self._reach.probe(replica.deployment, replica.endpoint, server.settings.timeout_s)
        now = time.monotonic()
        server.probe_at = now + server.settings.interval_s
        for each in server.replicas.values():
            for verdict in each.health.probed(probe, now):
                self._follow_up(server, each, verdict)

    async def _try(self, server: _Server, replica: _Replica) -> None:
        canary = await self._reach.canary(replica.deployment, replica.endpoint, server.settings.canary_s)
        for verdict in replica.health.tried(canary, time.monotonic()):
            self._follow_up(server, replica, verdict)
            if verdict.what is What.LOST and server.view is not None and server.settings.on_hang == "replace":
                assert self._control is not None
                with suppress(UnknownReplica):  # a new config was quicker
                    await self._control.replace(server.pool, server.view.name, verdict.why)

    # -- what follows ------------------------------------------------------------------------------------------------

    def _follow_up(self, server: _Server, replica: _Replica, verdict: Verdict) -> None:
        what = verdict.what
        if server.view is None or what.value not in _SUPERVISORS.get(server.settings.on_hang, ()):
            self._events.tell(server.pool, server.name(replica), what.value, verdict.why)
        if what in (What.RESTARTED, What.ASLEEP):
            self._pools.restarted(replica.key)
            self._drifts[server.pool].forget(replica.key)
            self._release(server, replica, "drift")
        if what is What.ASLEEP:
            self._hold(server, replica, "asleep", verdict.why)
        elif what is What.AWAKE:
            self._release(server, replica, "asleep")
        elif what is What.CLEARED:
            self._release(server, replica, "hang")
        elif what in (What.SUSPECT, What.LOST) and server.settings.on_hang != "flag":
            self._hold(server, replica, "hang", verdict.why)
            if what is What.LOST and not replica.rank:  # its ranks share connections, and only one of them is lost
                self._reach.break_off(replica.endpoint, "the replica does not work any more")

    def _weigh(self, server: _Server, replica: _Replica, gauges: Gauges) -> None:
        """Compares the time per token since the last figure with what is usual."""
        before = replica.weighed
        tokens = gauges.itl_count - before.itl_count if before is not None else -1
        if before is None or tokens < 0:
            replica.weighed = gauges
            return
        if tokens < _FEWEST_TOKENS or not gauges.running:
            return
        replica.weighed = gauges
        drift, took_s = self._drifts[server.pool], gauges.itl_s - before.itl_s
        if not drift.observe(replica.key, gauges.running, took_s / tokens):
            return
        times = drift.drifting.get(replica.key)
        if times is None:
            self._events.tell(server.pool, server.name(replica), "steady", "as quick as it was")
            return
        why = f"{times:.2f} times as long per token as before"
        self._events.tell(server.pool, server.name(replica), "drifts", why, times=round(times, 2))
        if server.settings.on_drift == "drain":
            self._drain(server, replica, "drift", why)

    def _drain(self, server: _Server, replica: _Replica, cause: str, why: str) -> None:
        """Takes a replica out that works, unless it is the last of its pool that does."""
        others = [each for each in self._servers.values() if each.pool == server.pool and each is not server]
        if all(each.held for each in others):
            self._events.tell(server.pool, server.name(replica), "kept", f"{why}; no other replica is ready")
            return
        replica.drained_at = time.monotonic()
        self._hold(server, replica, cause, why)

    def _hold(self, server: _Server, replica: _Replica, cause: str, why: str) -> None:
        """Keeps new calls from a replica."""
        held = bool(server.held)
        server.held[replica.key, cause] = why
        if server.view is not None and self._control is not None:
            if not held:
                with suppress(UnknownReplica):
                    self._control.suspect(server.pool, server.view.name, why)
        else:
            self._pools.bar(server.pool, str(server.origin), why)

    def _release(self, server: _Server, replica: _Replica, cause: str) -> None:
        """Takes back one cause; with the last, calls may go there again."""
        if server.held.pop((replica.key, cause), None) is None or server.held:
            return
        if server.view is not None and self._control is not None:
            with suppress(UnknownReplica):
                self._control.cleared(server.pool, server.view.name)
        else:
            self._pools.admit(server.pool, str(server.origin))


def _tell_defect(task: asyncio.Task[None]) -> None:
    """Says that a watch has ended by a defect: calls are served on, and what it watched is judged no more."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("watch_ended", watch=task.get_name(), exc_info=error)
