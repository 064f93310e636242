"""The pools as the admin surface and the command line see and steer them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec
import structlog

from gateway.core.errors import CallError
from gateway.pool.control import Both
from gateway.pool.events import Event, EventRing
from gateway.pool.fleet import Fleet, Member
from gateway.pool.found import FoundPools
from gateway.pool.router import PrefixRouter
from gateway.pool.states import Control, ReplicaView, UnknownReplica
from gateway.wiring.pool_metrics import reading_of, standings

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
            load, pooled = self._fleet.load_of(member), member.deployments[0].pooled
            pool, speed = self._fleet.pools.named(name), member.speed
            shown |= {
                "routing": pooled.routing if pooled is not None else None,
                "deployments": [deployment.name for deployment in member.deployments],
                "load": round(load, 3),
                "tokens_per_s": {"input": round(member.pace.fresh, 1), "output": round(member.pace.output, 1)},
                "speed": None if speed is None else msgspec.to_builtins(speed),
                "prices": [msgspec.to_builtins(standing) for standing in standings(member, load)],
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


async def _awaited(done: Awaitable[None]) -> None:
    await done
