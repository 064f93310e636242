"""One slot of a pool: the process that stands there, from its launch to its end, and what is done about that."""

from __future__ import annotations

import asyncio
import errno
import random
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, Protocol

import structlog

from gateway.core.types import Origin
from gateway.pool.states import Phase, ReplicaView
from gateway.pool.supervisor.command import HOST, Program, Unusable, command_line, environ_of
from gateway.pool.supervisor.endings import Ending, Kind, ending_of
from gateway.pool.supervisor.gpus import memory_share
from gateway.pool.supervisor.greeting import Greeter, Unwell
from gateway.pool.supervisor.log import Log
from gateway.pool.supervisor.phases import ORDER, Start, phase_of, tells_of_death
from gateway.pool.supervisor.processes import Known, Mark, Server, oom_kills
from gateway.pool.supervisor.restarts import Restarts
from gateway.pool.supervisor.spec import Spec
from gateway.pool.supervisor.state import PoolState, SlotState, is_free
from gateway.pool.supervisor.surroundings import Surroundings

_log = structlog.get_logger("headgate")

SERVING: Final = (Phase.READY, Phase.SUSPECT)
_TICK_S: Final = 0.1
_GPU_TICK_S: Final = 1.0
_ADOPTED_S: Final = 60.0  # within which one that was ready before must be so again


class Home(Protocol):
    """What a replica needs of its pool."""

    around: Surroundings
    state: PoolState
    folder: Path
    mark: Mark

    def program(self, spec: Spec) -> Awaitable[Program]: ...

    def save(self) -> None: ...

    def changed(self) -> None: ...


class Replica:
    """A process and its restarts, all by one spec. `stale`: it is to be replaced by another of the same spec."""

    def __init__(self, home: Home, name: str, spec: Spec) -> None:
        self.name = name
        self.spec = spec
        self.phase = Phase.PENDING
        self.why = ""
        self.since_at = time.time()
        self.stale = False
        self.leaving = False
        self.comes_back = False
        self.served = False  # one of its processes has been ready
        self.ending: Ending | None = None  # the last one
        self.gpus: tuple[str, ...] = ()
        self.adopted = False
        self.log = Log(home.folder / f"{name}.log")
        self._home = home
        self._around = home.around
        self._slot: SlotState = home.state.slots[name]
        self._restarts = Restarts(home.around.pace.back_off_s)
        self._server: Server | None = None
        self._start: Start | None = None
        self._ready_since: float | None = None  # the process that is there
        self._oom_kills = 0
        self._wait_s = 0.0
        self._asked: Ending | None = None  # why it shall end now
        self._died_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def origin(self) -> Origin:
        """Where it listens."""
        return Origin("http", HOST, self._slot.port)

    @property
    def condemned(self) -> bool:
        """Whether its spec is of no use: it has failed, and never served."""
        ending = self.ending
        return self.phase is Phase.FAILED or (
            not self.served and ending is not None and ending.kind in (Kind.CONFIG, Kind.CRASH)
        )

    def view(self) -> ReplicaView:
        """Returns what an operator sees."""
        now = time.monotonic()
        start = self._start if self.phase in ORDER else None
        last = self._home.state.lasted
        return ReplicaView(
            pool=self.spec.pool,
            name=self.name,
            phase=self.phase,
            why=self.why,
            since_at=self.since_at,
            pid=self._server.process.pid if self._server is not None else None,
            address=str(self.origin),
            gpus=self.gpus,
            progress=start.progress(last, now) if start is not None else None,
            eta_s=self._left_s(now),
            restarts=self._restarts.count,
            in_flight=self._around.in_flight(self.origin),
            config_hash=self.spec.hash,
            adopted=self.adopted,
        )

    # -- what is done to it ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Launches it, and watches over it from now on."""
        self._bar()
        self._begin()

    def adopt(self, process: Known) -> None:
        """Takes a process over that an earlier gateway launched by this spec."""
        slot = self._slot
        self._server = Server(process, self._home.mark, self.name)
        self._start = Start(time.monotonic() - max(0.0, time.time() - slot.launched_at))
        self._oom_kills = oom_kills()
        self.adopted = True
        self.gpus = slot.gpus
        self._around.gpus.hold(self._owner, slot.gpus)
        self._become(Phase.STARTING, "adopted")
        self._begin()

    def suspect(self, why: str) -> None:
        """Sends it no new calls."""
        if self.phase is Phase.READY:
            self._become(Phase.SUSPECT, why)

    def clear(self) -> None:
        """Takes a suspicion back."""
        if self.phase is Phase.SUSPECT and self._asked is None and self._died_at is None:
            self._become(Phase.READY)

    def replace(self, why: str) -> None:
        """Ends the process, and starts another."""
        if self._server is not None and not self.leaving:
            self.suspect(why)
            self._asked = Ending(Kind.ASKED, why)

    async def leave(self) -> None:
        """Sends it no new calls, lets those under way finish, and ends it."""
        self.leaving = True
        gently_s = self._around.pace.gently_s
        if self.phase in SERVING:
            self._become(Phase.DRAINING)
            until = time.monotonic() + self.spec.drain_s
            while self._around.in_flight(self.origin) and self._alive and time.monotonic() < until:
                await asyncio.sleep(_TICK_S / 2)
            gently_s += max(0.0, until - time.monotonic())
        await self._cancel()
        self._become(Phase.STOPPING)
        await self._clear_up(gently_s)
        self._become(Phase.STOPPED)

    async def detach(self) -> None:
        """Stops watching over it, and lets it be."""
        await self._cancel()

    # -- its life ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._live(), name=f"replica {self._owner}")
        self._task.add_done_callback(self._tell_defect)

    async def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _tell_defect(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("replica_unwatched", pool=self.spec.pool, replica=self.name, exc_info=error)
            self._become(Phase.FAILED, "a defect of the gateway ended the watch over it")

    async def _live(self) -> None:
        while True:
            ending = await self._launch() if self._server is None else None
            if ending is None:
                ending = await self._watch()
            if self.leaving:
                return
            self.ending = ending
            if self.phase in SERVING:
                self._become(Phase.SUSPECT, str(ending))  # no calls, while what is left of it is ended
            self._around.events.tell(self.spec.pool, self.name, "lost", str(ending), kind=ending.kind.value)
            await self._clear_up(0.0 if ending.kind is Kind.CRASH and not self._alive else self._around.pace.gently_s)
            wait_s = self._restarts.after(ending.kind, time.monotonic(), random.random())
            if wait_s is None:
                self._become(Phase.FAILED, str(ending))
                return
            self._wait_s = wait_s
            self._become(Phase.BACKOFF, str(ending))
            await asyncio.sleep(wait_s)

    async def _launch(self) -> Ending | None:
        """Starts a process; returns why that cannot be."""
        spec, around, slot = self.spec, self._around, self._slot
        self._become(Phase.PENDING)
        try:
            program = await self._home.program(spec)
        except Unusable as error:
            return Ending(Kind.PASSING if error.passing else Kind.CONFIG, str(error))
        count = await around.gpus.count(spec.gpus)
        share = memory_share(spec.args)
        while (gpus := await around.gpus.take(self._owner, count, share)) is None:
            there = f"with {share:.0%} of the memory free, of {around.gpus.shown} that NVML shows"
            self._become(Phase.PENDING, f"waits for {count} GPU{'s'[: count > 1]} {there}")
            await asyncio.sleep(_GPU_TICK_S)
        self.gpus = gpus
        if not is_free(slot.port, HOST):
            return Ending(Kind.PASSING, f"port {slot.port} is taken by another process")
        self._oom_kills = oom_kills()
        self._died_at = self._asked = None
        self.adopted, self._ready_since = False, None
        command = command_line(spec, program, slot.port, len(gpus))
        environ = environ_of(around.environ, spec, gpus if count else None)
        try:
            self.log.renew()
            self._server = Server.launch(command, environ, self._home.mark, self.name)
        except OSError as error:
            lasting = error.errno in (errno.ENOENT, errno.EACCES, errno.ENOEXEC)
            return Ending(Kind.CONFIG if lasting else Kind.PASSING, f"it cannot be launched: {error.strerror}")
        slot.pid, slot.started = self._server.process.pid, self._server.process.started
        slot.config_hash, slot.launched_at, slot.gpus, slot.ready = spec.hash, time.time(), gpus, False
        self._home.save()
        self._start = Start(time.monotonic())
        self._become(Phase.STARTING)
        return None

    async def _watch(self) -> Ending:
        """Follows a process to its end; returns why it ended, or has to."""
        spec, server, start = self.spec, self._server, self._start
        assert server is not None
        assert start is not None
        greeter = Greeter(self._around.ask, self.origin, spec.api_key, spec.names, spec.deadlines.warm_up_s)
        greeting = asyncio.create_task(greeter.greet(self._answers, is_known=self._slot.ready))
        watched_since = time.monotonic()
        try:
            while True:
                alive = server.alive  # before its last words are read
                now = time.monotonic()
                for line in self.log.read():
                    self._hear(line, now)
                if self._asked is not None:
                    return self._asked
                if not alive or (self._died_at is not None and now - self._died_at > self._around.pace.death_s):
                    oom_killed = oom_kills() > self._oom_kills
                    return ending_of(
                        self.log.lines, server.status, was_ready=self._ready_since is not None, oom_killed=oom_killed
                    )
                if self._ready_since is not None:
                    self._restarts.served(now - self._ready_since)
                elif greeting.done():
                    try:
                        greeting.result()
                    except Unwell as error:
                        return Ending(Kind.CRASH, str(error))
                    self._is_ready(now)
                elif self.adopted and self._slot.ready:
                    if now - watched_since > _ADOPTED_S:
                        return Ending(Kind.CRASH, "it was adopted, and does not answer")
                elif start.in_phase_s(now) > (limit_s := spec.deadlines.of(start.phase)):
                    return Ending(Kind.CRASH, f"its start was {start.phase} for longer than {limit_s:.0f} s")
                await asyncio.sleep(_TICK_S)
        finally:
            greeting.cancel()
            await asyncio.wait([greeting])

    def _hear(self, line: str, now: float) -> None:
        phase = phase_of(line)
        if phase is not None and self._ready_since is None:
            self._reach(phase, now)
        elif self._died_at is None and tells_of_death(line) and not self.leaving:
            self._died_at = now
            self.suspect("its engine died")

    def _answers(self) -> None:
        self._reach(Phase.WARMING, time.monotonic())

    def _reach(self, phase: Phase, now: float) -> None:
        assert self._start is not None
        if self._start.reach(phase, now) and not self.leaving:
            self._become(phase)

    def _is_ready(self, now: float) -> None:
        assert self._start is not None
        self.served = True
        self._ready_since = now
        if not self.adopted:
            self._home.state.lasted = self._start.lasted(now)
        self._slot.ready = True
        self._home.save()
        if not self.leaving:
            self._become(Phase.READY)

    async def _clear_up(self, gently_s: float) -> None:
        """Ends whatever is left of the process, and gives back what it held."""
        if self._server is not None:
            left = await self._server.end(gently_s)
            if left:
                pids = [process.pid for process in left]
                self._around.events.tell(self.spec.pool, self.name, "not_ended", "SIGKILL has not ended it", pids=pids)
            self.log.read()
            self._server = None
            self._slot.pid, self._slot.started, self._slot.ready = 0, 0, False
            self._home.save()
        self._around.gpus.release(self._owner)
        self.gpus = ()

    # ----------------------------------------------------------------------------------------------------------------

    @property
    def _owner(self) -> str:
        return f"{self.spec.pool}/{self.name}"

    @property
    def _alive(self) -> bool:
        return self._server is not None and self._server.alive

    def _left_s(self, now: float) -> float | None:
        """Returns how long it may be until it is ready; None where nobody knows."""
        last = self._home.state.lasted
        if self.phase in ORDER and self._start is not None:
            return self._start.left_s(last, now)
        if self.phase in (Phase.PENDING, Phase.BACKOFF) and last:
            return sum(last.values()) + (self._wait_s if self.phase is Phase.BACKOFF else 0.0)
        return None

    def _become(self, phase: Phase, why: str = "") -> None:
        if (phase, why) == (self.phase, self.why):
            return
        news = phase is not self.phase
        self.phase, self.why = phase, why
        if news:
            self.since_at = time.time()
        if phase is Phase.READY:
            self._around.members.admit(self.spec.pool, str(self.origin), frozenset(self.spec.names))
        else:
            self._bar()
        if news:
            self._around.events.tell(self.spec.pool, self.name, phase.value, why)
        self._home.changed()

    def _bar(self) -> None:
        now = time.monotonic()
        left_s = self._left_s(now)
        ready_at = None if left_s is None else now + left_s
        self._around.members.bar(self.spec.pool, str(self.origin), self.phase.value, ready_at)
