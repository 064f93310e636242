"""What goes on with the pools of a process, looked at each second: phases, metrics, what they are worth."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from gateway.breakers import Breakers
from gateway.config import Config
from gateway.core.types import Deployment, Endpoint
from gateway.measure import Measurements
from gateway.pool.events import EventRing
from gateway.pool.fleet import Fleet
from gateway.pool.found import FoundPools
from gateway.pool.router import Pools
from gateway.pool.states import Control, Phase, ReplicaView
from gateway.telemetry import Metrics, names
from gateway.wiring.own_gpus import means_of
from gateway.wiring.pool_desk import PoolDesk
from gateway.wiring.pool_metrics import PoolMetrics, standings

_log = structlog.get_logger("headgate")

EVERY_S: Final = 1.0
_BREAKER: Final = "its breaker is"


class PoolWatch:
    """Owns the fleet and its desk; lets policies see the fleet's load through `measurements`.

    `launched` is who launches replicas here, where anybody does.
    """

    def __init__(
        self,
        pools: Pools,
        measurements: Measurements,
        breakers: Breakers,
        events: EventRing,
        launched: Control | None = None,
    ) -> None:
        self.fleet = Fleet(pools, measurements.in_flight, measurements.at_endpoints)
        measurements.load, measurements.outlooks = self.fleet.load, self.fleet.outlooks
        self.events = events
        self.desk = PoolDesk(self.fleet, FoundPools(self.fleet, self._resting), events, launched)
        self._pools = pools
        self._breakers = breakers
        self._metrics = PoolMetrics(self.fleet)
        self._phases: dict[tuple[str, str], Phase] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, metrics: Metrics, reprice: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        """Looks each second from now on; `reprice` is told of the providers whose measured speed has changed."""
        self._metrics.observe(metrics)
        self.events.counted = lambda pool, what: metrics.count(names.POOL_EVENTS, (pool, what))
        self._task = asyncio.create_task(self._go_on(reprice), name="pool watch")
        self._task.add_done_callback(_tell_defect)

    async def close(self) -> None:
        """Ends what was begun."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.desk.close()

    def watch(self, deployments: Sequence[Deployment], config: Config) -> None:
        """Takes a config over, after the routers have."""
        self.fleet.watch(deployments, means_of(config))

    def look(self) -> None:
        """Takes metrics, and tells of found replicas whose breakers have opened or closed since the last look.

        What health makes of a replica, and what becomes of a launched one, is told where it is found out.
        """
        views = self.desk.control.status()
        self._metrics.take(views)
        found = [view for view in views if not self.desk.control.is_launched(view.pool)]
        phases = {_key(view): Phase.SUSPECT if view.why.startswith(_BREAKER) else Phase.READY for view in found}
        for view in found:
            phase = phases[_key(view)]
            if phase is not self._phases.get(_key(view), Phase.READY):
                why = view.why if phase is Phase.SUSPECT else ""
                self.events.tell(view.pool, view.name, phase.value, why, address=view.address)
        self._phases = phases

    def repriced(self, pools: Sequence[str]) -> None:
        """Tells that prices rest on another speed now."""
        for pool in pools:
            member = self.fleet.members.get(pool)
            speed = member.speed if member is not None else None
            if member is not None and speed is not None:
                self.events.tell(
                    pool,
                    "",
                    "repriced",
                    "its speed was measured",
                    prefill=round(speed.prefill, 1),
                    decode=round(speed.decode, 1),
                    full_nano_usd={
                        each.deployment: [each.full_input, each.full_output] for each in standings(member, 0)
                    },
                )

    async def _go_on(self, reprice: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self.look()
            if changed := self.fleet.turn(time.monotonic()):
                await reprice(changed)

    def _resting(self, endpoint: Endpoint) -> str | None:
        if (why := self._pools.barred(endpoint)) is not None:
            return why
        try:
            condition = self._breakers.condition(endpoint.id, time.monotonic())
        except KeyError:
            return None
        return None if condition.state == "closed" else f"{_BREAKER} {condition.state}: {condition.why}"


def _key(view: ReplicaView) -> tuple[str, str]:
    return view.pool, view.address


def _tell_defect(task: asyncio.Task[None]) -> None:
    """Says that the watch has ended by a defect: prices stay as they are, and metrics of pools stand still."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("watch_ended", watch=task.get_name(), exc_info=error)
