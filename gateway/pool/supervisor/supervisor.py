"""All launched pools of a process, and what may be asked of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from gateway.core.errors import BadRequest
from gateway.core.types import Origin
from gateway.pool.states import Phase, ReplicaView, UnknownReplica
from gateway.pool.supervisor.pool import LaunchedPool
from gateway.pool.supervisor.replica import Replica
from gateway.pool.supervisor.spec import Spec
from gateway.pool.supervisor.state import Taken
from gateway.pool.supervisor.surroundings import Surroundings


class Refused(Exception):
    """A pool cannot be as a config says; `pool` names it."""

    def __init__(self, pool: str, why: str) -> None:
        super().__init__(why)
        self.pool = pool


class Supervisor:
    """Implements `Control`. `resized` has the config compiled anew, for the addresses of a pool that was scaled."""

    def __init__(self, around: Surroundings, resized: Callable[[], Awaitable[None]]) -> None:
        self._around = around
        self._resized = resized
        self._pools: dict[str, LaunchedPool] = {}
        self._specs: Mapping[str, Spec] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    # -- configs -----------------------------------------------------------------------------------------------------

    def prepare(self, specs: Mapping[str, Spec]) -> None:
        """Makes ready what a config needs before it is compiled; raises Refused."""
        for name, spec in specs.items():
            pool = self._pools.get(name)
            try:
                if pool is None:
                    pool = self._pools[name] = LaunchedPool(spec, self._around)
                elif pool.folder != spec.folder:
                    raise Refused(name, "`state_dir` is read when a pool begins: restart to change it")
                pool.prepare(spec)
            except Taken as error:
                raise Refused(name, f"{error}: give it a `state_dir` of its own, or end that one") from None
            except OSError as error:
                raise Refused(name, f"its state cannot be kept in {spec.folder}: {error.strerror or error}") from None

    def origins(self, spec: Spec) -> list[Origin]:
        """Returns the addresses of a pool that is prepared, those of replicas to come included."""
        return self._pools[spec.pool].origins(spec)

    def apply(self, specs: Mapping[str, Spec]) -> None:
        """Comes to what a config says; pools that it does not speak of any more are drained and ended."""
        self._specs = specs
        for name in self._pools.keys() - specs.keys():
            task = asyncio.create_task(self._pools.pop(name).stop(keep=False))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        for name, spec in specs.items():
            self._pools[name].apply(spec)

    async def stop(self) -> None:
        """Ends every pool, or lets it serve on, as its config says."""
        ends = [pool.stop(keep=name in self._specs and self._specs[name].keep) for name, pool in self._pools.items()]
        await asyncio.gather(*ends, *self._retiring)
        self._pools.clear()

    # -- Control -----------------------------------------------------------------------------------------------------

    def pools(self) -> list[str]:
        return list(self._specs)

    def status(self) -> list[ReplicaView]:
        return [view for pool in self._pools.values() for view in pool.views()]

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        kept = self._replica(pool, replica).log.lines
        return list(kept)[-lines:] if lines > 0 else []

    async def drain(self, pool: str, replica: str) -> None:
        self._replica(pool, replica)
        await self._pool(pool).drain(replica)

    async def restart(self, pool: str, replica: str | None) -> None:
        if replica is not None:
            self._replica(pool, replica)
        await self._pool(pool).restart(replica)

    async def scale(self, pool: str, replicas: int) -> None:
        launched = self._pool(pool)
        before = launched.state.scaled
        launched.scale(replicas)
        await self._resized()
        if launched.wanted(self._specs[pool]) != replicas or len(launched.state.slots) <= replicas:
            launched.scale(before)
            raise BadRequest("the config cannot be taken over as it is now: mend it, then scale")

    def suspect(self, pool: str, replica: str, why: str) -> None:
        self._replica(pool, replica).suspect(why)

    def cleared(self, pool: str, replica: str) -> None:
        self._replica(pool, replica).clear()

    async def replace(self, pool: str, replica: str, why: str) -> None:
        found = self._replica(pool, replica)
        if found.phase is Phase.FAILED:
            await self._pool(pool).restart(replica)
        else:
            found.replace(why)

    # ----------------------------------------------------------------------------------------------------------------

    def _pool(self, name: str) -> LaunchedPool:
        if name not in self._pools:
            known = ", ".join(self._pools) or "none at all"
            raise UnknownReplica(f"no pool {name!r} is launched here: {known}")
        return self._pools[name]

    def _replica(self, pool: str, name: str) -> Replica:
        replicas = self._pool(pool).replicas
        if name not in replicas:
            known = ", ".join(sorted(replicas, key=int)) or "none at all"
            raise UnknownReplica(f"pool {pool!r} has no replica {name!r}: {known}")
        return replicas[name]
