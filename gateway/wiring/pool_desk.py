"""The pools as the admin surface, the command line and metrics see and steer them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from gateway.core.errors import CallError
from gateway.core.own import Standing, standing_of
from gateway.pool.control import Both
from gateway.pool.events import Event, EventRing
from gateway.pool.fleet import Fleet, Member, Reading
from gateway.pool.found import FoundPools
from gateway.pool.router import Gauges, PrefixRouter
from gateway.pool.states import Control, Phase, ReplicaView, UnknownReplica
from gateway.telemetry import Metrics, names

_log = structlog.get_logger("headgate")

AT_ONCE_S: Final = 1.0  # what is done by then is answered as done, else as begun


class UnknownPool(CallError):
    """There is no such pool or replica."""

    status = 404
    type = "invalid_request_error"
    code = "replica_not_found"


class PoolDesk:
    """Shows pools as data, and has their replicas drained, restarted and scaled; tells what was asked and what came.

    `launched` is who launches replicas here, where anybody does.
    """

    def __init__(self, fleet: Fleet, found: FoundPools, events: EventRing, launched: Control | None = None) -> None:
        self._fleet = fleet
        self.control = Both(found, launched)
        self.events = events
        self._phases: dict[tuple[str, str], Phase] = {}
        self._begun: set[asyncio.Task[None]] = set()

    # -- shown -------------------------------------------------------------------------------------------------------

    def pools(self) -> list[Mapping[str, Any]]:
        """Every pool: its load, pace, speed and prices, and its replicas with what each last told."""
        views: dict[str, list[ReplicaView]] = {pool: [] for pool in self.control.pools()}
        for view in self.control.status():
            views[view.pool].append(view)
        now = time.monotonic()
        return [self._pool(pool, views[pool], now) for pool in views]

    def _pool(self, name: str, views: list[ReplicaView], now: float) -> dict[str, Any]:
        shown: dict[str, Any] = {"pool": name, "launched": self.control.is_launched(name)}
        member = self._fleet.members.get(name)
        if member is not None:
            pooled = member.deployments[0].pooled
            pool, speed = self._fleet.pools.named(name), member.speed
            shown |= {
                "routing": pooled.routing if pooled is not None else None,
                "deployments": [deployment.name for deployment in member.deployments],
                "load": round(self._fleet.load_of(member), 3),
                "tokens_per_s": {"input": round(member.pace.fresh, 1), "output": round(member.pace.output, 1)},
                "speed": None if speed is None else msgspec.to_builtins(speed),
                "prices": [msgspec.to_builtins(standing) for standing in self._standings(member)],
            }
            if pool is not None and isinstance(pool.router, PrefixRouter):
                shown["index_blocks"] = len(pool.router.index)
                shown["cached_tokens"] = {
                    "predicted": pool.router.predicted_tokens,
                    "actual": pool.router.cached_tokens,
                }
        return {**shown, "replicas": [self._replica(view, member, now) for view in views]}

    def _replica(self, view: ReplicaView, member: Member | None, now: float) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(view)
        del shown["pool"]
        reading = reading_of(member, view.address) if member is not None else None
        if reading is None or reading.gauges is None:
            return {**shown, "told_s_ago": None}
        gauges, counters = reading.gauges, reading.counters
        return {
            **shown,
            "told_s_ago": round(now - gauges.at, 1),
            "running": gauges.running,
            "waiting": gauges.waiting,
            "kv_usage": round(gauges.kv_usage, 4),
            "kv_tokens": gauges.kv_tokens or None,
            "cached_share": round(counters.cached / counters.prompt, 4) if counters.prompt else None,
        }

    def _standings(self, member: Member) -> Iterator[Standing]:
        for each in member.deployments:
            if each.own is not None and each.price is not None:
                yield standing_of(each.name, each.price, each.own, self._fleet.load_of(member))

    def told(self, after: int, pool: str | None) -> list[Event]:
        """Returns the events that came after one."""
        return list(self.events.after(after, pool))

    # -- asked -------------------------------------------------------------------------------------------------------

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        """Returns the last lines of a replica; raises UnknownPool, NotLaunched."""
        try:
            return self.control.logs(pool, replica, lines)
        except UnknownReplica as error:
            raise UnknownPool(str(error)) from None

    async def drain(self, pool: str, replica: str) -> bool:
        """Takes a replica out; returns whether that is done already. Raises UnknownPool, NotLaunched."""
        return await self._have(pool, replica, "drain", self.control.drain(pool, replica))

    async def restart(self, pool: str, replica: str | None) -> bool:
        """Starts a replica anew, or all of them one by one; returns and raises as `drain` does."""
        return await self._have(pool, replica or "", "restart", self.control.restart(pool, replica))

    async def scale(self, pool: str, replicas: int) -> bool:
        """Has so many replicas; returns and raises as `drain` does."""
        return await self._have(pool, "", "scale", self.control.scale(pool, replicas), replicas=replicas)

    async def _have(self, pool: str, replica: str, what: str, done: Awaitable[None], **facts: object) -> bool:
        task = asyncio.ensure_future(_awaited(done))
        await asyncio.wait((task,), timeout=AT_ONCE_S)
        if not task.done():  # what takes its time goes on by itself, and is told of in events
            self._begun.add(task)
            task.add_done_callback(lambda ended: self._ended(ended, pool, replica, what))
            self.events.tell(pool, replica, what, "asked for", **facts)
            return False
        try:
            task.result()
        except UnknownReplica as error:
            raise UnknownPool(str(error)) from None
        self.events.tell(pool, replica, what, "asked for", **facts)
        return True

    def _ended(self, task: asyncio.Task[None], pool: str, replica: str, what: str) -> None:
        self._begun.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, CallError | UnknownReplica):
            self.events.tell(pool, replica, f"{what}_failed", str(error))
        elif error is not None:
            _log.error("pool_control_failed", pool=pool, replica=replica, what=what, exc_info=error)

    async def close(self) -> None:
        """Gives up what was begun."""
        for task in self._begun:
            task.cancel()
        if self._begun:
            await asyncio.wait(self._begun)

    # -- what goes on ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Tells of found replicas that have become suspect, or ready again, since the last look; at first all are."""
        phases = {}
        for view in self.control.status():
            if self.control.is_launched(view.pool):  # its supervisor tells of it
                continue
            key = (view.pool, view.address)
            phases[key] = view.phase
            if view.phase is not self._phases.get(key, Phase.READY):
                self.events.tell(view.pool, view.name, view.phase.value, view.why, address=view.address)
        self._phases = phases

    def repriced(self, pools: Sequence[str]) -> None:
        """Tells that prices rest on another speed now."""
        for pool in pools:
            member = self._fleet.members.get(pool)
            speed = member.speed if member is not None else None
            if member is not None and speed is not None:
                prices = {each.deployment: [each.full_input, each.full_output] for each in self._standings(member)}
                self.events.tell(
                    pool, "", "repriced", "its speed was measured", prefill=round(speed.prefill, 1),
                    decode=round(speed.decode, 1), full_nano_usd=prices,
                )  # fmt: skip

    def observe(self, metrics: Metrics) -> None:
        """Has the pools' metrics read whenever somebody asks for them."""
        metrics.observe(names.POOL_REPLICAS, lambda: list(self._by_phase()))
        metrics.observe(names.POOL_RESTARTS, lambda: [((v.pool, v.name), v.restarts) for v in self.control.status()])
        metrics.observe(names.POOL_IN_FLIGHT, lambda: [((v.pool, v.name), v.in_flight) for v in self.control.status()])
        metrics.observe(names.POOL_REQUESTS, lambda: list(self._requests()))
        metrics.observe(names.POOL_KV, lambda: list(self._kv()))
        metrics.observe(names.POOL_LOAD, lambda: [((name,), self._fleet.load_of(m)) for name, m in self._members()])
        metrics.observe(names.POOL_PACE, lambda: list(self._pace()))
        metrics.observe(names.POOL_PRICE, lambda: list(self._prices()))
        metrics.observe(names.POOL_INDEX, lambda: [((name,), len(r.index)) for name, r in self._prefix_routers()])
        metrics.observe(names.POOL_CACHED, lambda: list(self._cached()))
        metrics.observe(names.POOL_CHOICES, lambda: list(self._choices()))

    def _members(self) -> list[tuple[str, Member]]:
        return list(self._fleet.members.items())

    def _prefix_routers(self) -> Iterator[tuple[str, PrefixRouter]]:
        for name, _ in self._members():
            pool = self._fleet.pools.named(name)
            if pool is not None and isinstance(pool.router, PrefixRouter):
                yield name, pool.router

    def _by_phase(self) -> Iterator[tuple[tuple[str, str], float]]:
        counts = {(pool, phase): 0 for pool in self.control.pools() for phase in Phase}
        for view in self.control.status():
            counts[view.pool, view.phase] += 1
        for (pool, phase), count in counts.items():
            yield (pool, phase.value), count

    def _requests(self) -> Iterator[tuple[tuple[str, str, str], float]]:
        for view, gauges in self._told():
            yield (view.pool, view.name, "running"), gauges.running
            yield (view.pool, view.name, "waiting"), gauges.waiting

    def _kv(self) -> Iterator[tuple[tuple[str, str], float]]:
        for view, gauges in self._told():
            yield (view.pool, view.name), gauges.kv_usage

    def _told(self) -> Iterator[tuple[ReplicaView, Gauges]]:
        for view in self.control.status():
            member = self._fleet.members.get(view.pool)
            reading = reading_of(member, view.address) if member is not None else None
            if reading is not None and reading.gauges is not None:
                yield view, reading.gauges

    def _pace(self) -> Iterator[tuple[tuple[str, str], float]]:
        for name, member in self._members():
            yield (name, "input"), member.pace.fresh
            yield (name, "output"), member.pace.output

    def _prices(self) -> Iterator[tuple[tuple[str, str, str], float]]:
        for _, member in self._members():
            for each in self._standings(member):
                yield (each.deployment, "full", "input"), each.full_input
                yield (each.deployment, "full", "output"), each.full_output
                yield (each.deployment, "ranked", "input"), each.input
                yield (each.deployment, "ranked", "output"), each.output

    def _cached(self) -> Iterator[tuple[tuple[str, str], float]]:
        for name, router in self._prefix_routers():
            yield (name, "predicted"), router.predicted_tokens
            yield (name, "actual"), router.cached_tokens

    def _choices(self) -> Iterator[tuple[tuple[str, str], float]]:
        for name, member in self._members():
            pool = self._fleet.pools.named(name)
            for place, key in enumerate(member.replicas):
                if pool is not None and key in pool.choices:
                    yield (name, str(place)), pool.choices[key]


def reading_of(member: Member, address: str) -> Reading | None:
    """Returns what the replica at an address told; an address may be written without its scheme."""
    return member.readings.get(address) or member.readings.get(f"http://{address}")


async def _awaited(done: Awaitable[None]) -> None:
    await done
