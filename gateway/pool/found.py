"""Pools that Headgate finds rather than launches: what can be said of their replicas, and that no more can be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from gateway.core.errors import CallError
from gateway.core.types import Endpoint
from gateway.pool.fleet import Fleet, Member
from gateway.pool.states import Phase, ReplicaView, UnknownReplica


class NotLaunched(CallError):
    """Headgate has found this pool: its replicas are run by somebody else."""

    status = 409
    type = "invalid_request_error"
    code = "pool_not_launched"


class _Seen:
    """What was seen of a replica before."""

    __slots__ = ("born_at", "phase", "restarts", "since_at")

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.since_at = 0.0
        self.born_at = 0.0
        self.restarts = 0


class FoundPools:
    """Implements `states.Control` for pools that are found; verbs raise NotLaunched, unknown names UnknownReplica.

    `resting` says why an endpoint gets no calls now, or nothing. A replica none of whose endpoints gets any is
    suspect. Its name is its place in the config's list.
    """

    def __init__(self, fleet: Fleet, resting: Callable[[Endpoint], str | None]) -> None:
        self._fleet = fleet
        self._resting = resting
        self._seen: dict[str, _Seen] = {}

    def pools(self) -> list[str]:
        """Returns every vLLM provider of the config."""
        return list(self._fleet.members)

    def status(self) -> list[ReplicaView]:
        """Returns every replica, by pool and place."""
        members = self._fleet.members.values()
        known = {key for member in members for key in member.replicas}
        self._seen = {key: seen for key, seen in self._seen.items() if key in known}
        return [self._view(member, str(place), key) for member in members for place, key in enumerate(member.replicas)]

    def _view(self, member: Member, name: str, key: str) -> ReplicaView:
        endpoints = member.replicas[key]
        why = self._why(endpoints)
        phase = Phase.READY if why is None else Phase.SUSPECT
        seen = self._seen.setdefault(key, _Seen())
        if seen.phase is not phase:
            seen.phase, seen.since_at = phase, time.time()
        gauges = member.readings[key].gauges
        if gauges is not None and gauges.born_at:
            seen.restarts += bool(seen.born_at) and gauges.born_at != seen.born_at
            seen.born_at = gauges.born_at
        return ReplicaView(
            pool=member.name,
            name=name,
            phase=phase,
            why=why or "",
            since_at=seen.since_at,
            pid=None,
            address=key,
            gpus=(),
            progress=None,
            eta_s=None,
            restarts=seen.restarts,
            in_flight=self._fleet.ours(member, key),
            config_hash="",
            adopted=False,
        )

    def _why(self, endpoints: tuple[Endpoint, ...]) -> str | None:
        why: str | None = None
        for endpoint in endpoints:
            why = self._resting(endpoint)
            if why is None:
                return None
        return why

    # -- what only its owner can do ------------------------------------------------------------------------------

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        """Raises NotLaunched: its log is where it runs."""
        self._refuse(pool, replica, "read its log where it runs")

    async def drain(self, pool: str, replica: str) -> None:
        """Raises NotLaunched."""
        self._refuse(pool, replica, "take it out of `endpoints`, or open its breaker (POST /admin/breakers)")

    async def restart(self, pool: str, replica: str | None) -> None:
        """Raises NotLaunched."""
        self._refuse(pool, replica, "restart it where it runs")

    async def scale(self, pool: str, replicas: int) -> None:
        """Raises NotLaunched."""
        self._refuse(pool, None, "start replicas where they run, and name them in `endpoints`")

    def suspect(self, pool: str, replica: str, why: str) -> None:
        """Raises NotLaunched: who finds pools bars replicas at their routers."""
        self._refuse(pool, replica, "bar it at its router")

    def cleared(self, pool: str, replica: str) -> None:
        """Raises NotLaunched."""
        self._refuse(pool, replica, "admit it at its router")

    async def replace(self, pool: str, replica: str, why: str) -> None:
        """Raises NotLaunched."""
        self._refuse(pool, replica, "replace it where it runs")

    def _refuse(self, pool: str, replica: str | None, instead: str) -> NoReturn:
        member = self._fleet.members.get(pool)
        if member is None:
            raise UnknownReplica(f"there is no pool {pool!r}: {', '.join(self._fleet.members) or 'none at all'}")
        if replica is not None and replica not in map(str, range(len(member.replicas))):
            raise UnknownReplica(f"pool {pool!r} has no replica {replica!r}: 0 to {len(member.replicas) - 1}")
        raise NotLaunched(f"pool {pool!r} was found, not launched by Headgate: {instead}")
