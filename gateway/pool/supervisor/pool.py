"""One launched pool: how many replicas there are, in which slots, and the way from one config to the next.

A pool of N replicas has the slots 0 to N, each with a port of its own: N that are in use, and one for whatever comes
before what it replaces goes. What has to happen next is worked out anew from what there is, each time that anything
changes (`rollout.next_step`); nothing is queued, so a change of mind costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from gateway.core.types import Origin
from gateway.pool.states import Phase, ReplicaView
from gateway.pool.supervisor.command import HOST, Program, environ_of, probe
from gateway.pool.supervisor.gpus import memory_share
from gateway.pool.supervisor.processes import Known, Mark, end_all, family, lives, marked
from gateway.pool.supervisor.replica import Replica
from gateway.pool.supervisor.rollout import Aim, Standing, next_step
from gateway.pool.supervisor.spec import Spec
from gateway.pool.supervisor.state import PoolState, SlotState, StateFile, free_port, is_free
from gateway.pool.supervisor.surroundings import Surroundings

_log = structlog.get_logger("headgate")


class LaunchedPool:
    """The replicas of one provider. `prepare` comes before a config is compiled, `apply` when it serves."""

    def __init__(self, spec: Spec, around: Surroundings) -> None:
        """Makes the pool this process's own; raises Taken, and OSError."""
        self.name = spec.pool
        self.folder = spec.folder
        self.around = around
        self.replicas: dict[str, Replica] = {}
        self.state = PoolState()
        self._file = StateFile(spec.folder)
        self._file.lock()
        self.state = self._file.load()
        self.mark = Mark.of(spec.folder)
        self._spec = spec
        self._fallback: Spec | None = None  # by which it goes on where the new one has shown to be of no use
        self._programs: dict[tuple[str, ...], asyncio.Task[Program]] = {}
        self._wake = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- configs -----------------------------------------------------------------------------------------------------

    def wanted(self, spec: Spec) -> int:
        """Returns how many replicas there shall be: as scaled by hand, while the config is the one of then."""
        scaled = self.state.scaled
        return scaled if scaled is not None and self.state.scaled_by == spec.written else spec.replicas

    def prepare(self, spec: Spec) -> None:
        """Chooses ports for the slots that this spec needs, and keeps calls from them; raises OSError."""
        ports = {slot.port for slot in self.state.slots.values()}
        for name in map(str, range(self.wanted(spec) + 1)):
            slot = self.state.slots.get(name)
            if slot is not None and (name in self.replicas or slot.pid or is_free(slot.port, HOST)):
                continue
            port = free_port(ports, HOST)
            ports.add(port)
            self.state.slots[name] = SlotState(port)
        for name in self.state.slots.keys() - self.replicas.keys():
            self.around.members.bar(self.name, str(self._origin(name)), Phase.PENDING.value)
        self._file.save(self.state)

    def origins(self, spec: Spec) -> list[Origin]:
        """Returns where its replicas listen, slot by slot."""
        return [self._origin(str(number)) for number in range(self.wanted(spec) + 1)]

    def apply(self, spec: Spec) -> None:
        """Comes to what a spec says, by the shortest way; replicas that are as they shall be are not touched."""
        if spec.written != self._spec.written and self._running is not None:
            self._renew()
        if self.state.scaled_by != spec.written:
            self.state.scaled, self.state.scaled_by = None, ""
        self._spec = spec
        if self._running is None:
            self._spawn_run()
        self.save()
        self.changed()

    def scale(self, replicas: int | None) -> None:
        """Wants so many replicas from the next `prepare` on; None: as many as the config says."""
        self.state.scaled = replicas
        self.state.scaled_by = self._spec.written if replicas is not None else ""

    # -- what is asked of it -----------------------------------------------------------------------------------------

    def views(self) -> list[ReplicaView]:
        """Returns its replicas, slot by slot."""
        return [self.replicas[name].view() for name in sorted(self.replicas, key=int)]

    async def drain(self, name: str) -> None:
        """Takes a replica out, until it is restarted or the config changes."""
        if name not in self.state.drained:
            self.state.drained.append(name)
            self.save()
        self._let_go(self.replicas[name])

    async def restart(self, name: str | None) -> None:
        """Replaces one replica, or each in turn."""
        self._fallback = None
        if name is None:
            self._renew()
            for replica in self.replicas.values():
                replica.stale = True
        else:
            replica = self.replicas[name]
            if name in self.state.drained:
                self.state.drained.remove(name)
            if replica.phase in (Phase.STOPPED, Phase.FAILED):
                await replica.detach()
                self._launch(name)
            else:
                replica.comes_back = True
                self._let_go(replica)
        self.save()
        self.changed()

    async def stop(self, *, keep: bool) -> None:
        """Ends everything here, or lets the replicas serve on for the next gateway."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        if keep:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(
                *self._tasks, *(each.detach() for each in self.replicas.values()), return_exceptions=True
            )
        else:
            for replica in self.replicas.values():
                replica.comes_back = False
                self._let_go(replica)
            if self._tasks:
                await asyncio.wait(self._tasks)
        for program in self._programs.values():
            program.cancel()
        self.save()
        self._file.unlock()

    # -- what replicas need of it ------------------------------------------------------------------------------------

    async def program(self, spec: Spec) -> Program:
        """Returns what `command` is; replicas that ask at once are told at once. Raises Unusable."""
        task = self._programs.get(spec.command)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(probe(spec, environ_of(self.around.environ, spec, None)))
            self._programs[spec.command] = task
        return await asyncio.shield(task)

    def save(self) -> None:
        """Writes the state; a full disk costs the next gateway an adoption, and this one nothing."""
        try:
            self._file.save(self.state)
        except OSError as error:
            _log.error("pool_state_not_written", pool=self.name, error=str(error))

    def changed(self) -> None:
        """Has the next step worked out."""
        self._wake.set()

    # ----------------------------------------------------------------------------------------------------------------

    def _origin(self, slot: str) -> Origin:
        return Origin("http", HOST, self.state.slots[slot].port)

    def _renew(self) -> None:
        """Forgets what was decided by hand or by failures: there is another config, or somebody wants a fresh start."""
        self._fallback = None
        self._programs.clear()
        self.state.drained.clear()
        for name in [name for name, each in self.replicas.items() if each.phase is Phase.STOPPED]:
            del self.replicas[name]

    def _spawn_run(self) -> None:
        self._running = asyncio.create_task(self._run(), name=f"pool {self.name}")
        self._running.add_done_callback(self._tell_defect)

    def _tell_defect(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("pool_unsupervised", pool=self.name, exc_info=error)

    async def _run(self) -> None:
        await self._take_over()
        while True:
            self._wake.clear()
            await self._step()
            await self._wake.wait()

    async def _take_over(self) -> None:
        """Adopts what an earlier gateway left and this one wants as it is; removes everything else of it."""
        left: dict[str, Known | None] = {}  # by slot: what has to go
        for name, slot in self.state.slots.items():
            process = Known(slot.pid, slot.started)
            wanted = int(name) <= self.wanted(self._spec) and slot.config_hash == self._spec.hash
            if slot.pid and wanted and lives(process):
                self.replicas[name] = replica = Replica(self, name, self._spec)
                replica.adopt(process)
                self._tell(name, "adopted", pid=slot.pid)
            elif slot.pid:
                left[name] = process
        for name in set((await asyncio.to_thread(marked, self.mark)).values()) - self.replicas.keys():
            left.setdefault(name, None)
        for name, root in sorted(left.items()):
            if await asyncio.to_thread(family, root, self.mark, name):
                self._tell(name, "removed", "not what this config launches")
                await end_all(root, self.mark, name)
            if name in self.state.slots:
                self.state.slots[name].pid = self.state.slots[name].started = 0
        self.save()

    async def _step(self) -> None:
        room = await self._room()
        spec = self._spec  # nothing is awaited from here on: what is decided is done
        aim = Aim(
            self.wanted(spec),
            spec.hash,
            frozenset(self.state.drained),
            surge=spec.surge and room,
            halted=self._fallback is not None,
        )
        step = next_step([_standing(each) for each in self.replicas.values() if each.phase is not Phase.STOPPED], aim)
        if step.halt:
            self._halt(spec)
        for name in step.leave:
            self._let_go(self.replicas[name])
        for name in step.launch:
            self._launch(name)

    async def _room(self) -> bool:
        gpus, spec = self.around.gpus, self._spec
        return await gpus.room(await gpus.count(spec.gpus), memory_share(spec.args))

    def _halt(self, spec: Spec) -> None:
        """Stops a rollout: what serves by the old spec stays, and what is missing is launched by that."""
        old = next(each for each in self.replicas.values() if each.spec.hash != spec.hash or each.stale)
        failed = next(each for each in self.replicas.values() if each.condemned)
        self._tell(failed.name, "rollout_stopped", str(failed.ending or failed.why))
        if old.spec.hash != spec.hash:
            self._fallback = old.spec
        for replica in self.replicas.values():
            replica.stale = False
        self.changed()

    def _launch(self, name: str) -> None:
        replica = self.replicas[name] = Replica(self, name, self._fallback or self._spec)
        replica.start()
        self.changed()

    def _let_go(self, replica: Replica) -> None:
        if not replica.leaving:
            replica.leaving = True
            self._spawn(self._leave(replica))
            self.changed()

    async def _leave(self, replica: Replica) -> None:
        await replica.leave()
        if replica.name not in self.state.drained:
            del self.replicas[replica.name]
            if replica.comes_back:
                self._launch(replica.name)
        self.changed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._tell_defect)

    def _tell(self, replica: str, what: str, why: str = "", **facts: object) -> None:
        self.around.events.tell(self.name, replica, what, why, **facts)


def _standing(replica: Replica) -> Standing:
    return Standing(
        replica.name,
        replica.spec.hash,
        replica.phase,
        stale=replica.stale,
        leaving=replica.leaving,
        comes_back=replica.comes_back,
        condemned=replica.condemned,
    )
