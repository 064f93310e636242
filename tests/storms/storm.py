"""A whole gateway in this process, on real sockets, and what happens around it: one sequence of steps after another."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sqlite3
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from structlog.testing import capture_logs

from gateway.accounting.trace import Trace
from gateway.cache import Flight, Passenger
from gateway.door.exchange import Exchange
from gateway.door.protocol import DoorLimits, DoorProtocol
from gateway.door.server import Server
from gateway.relay import Run
from gateway.upstream.connection import Connection
from gateway.upstream.exchange import Http1Exchange
from gateway.wiring.runtime import Runtime
from gateway.wiring.serve import _door
from tests.patience import WITHIN_S
from tests.storms.calls import Asked, Past
from tests.storms.laws import check
from tests.storms.places import VARIANTS, Sky, StormyPlace, config_of, spoilt, stand
from tests.storms.steps import Ask, Calm, Lever, Outage, Reload, Rest, Step

PATIENCE_S: Final = 30.0  # for what must come, on a machine with other things to do
FIRST_TOKEN_S: Final = 0.025
BEAT_S: Final = 0.005
STILL_S: Final = 2 * FIRST_TOKEN_S  # of the three that a caller may read nothing
PASSING: Final = (Trace, Run, Flight, Passenger, Exchange, Http1Exchange, DoorProtocol)  # what lives with a call

_HOST: Final = "127.0.0.1"


def _passing() -> Iterator[object]:
    return (each for each in gc.get_objects() if isinstance(each, PASSING))


class Storm:
    """Plays sequences against one gateway; each begins with nothing learned, and must leave nothing behind."""

    def __init__(self, folder: Path) -> None:
        self.happened: Counter[str] = Counter()
        self._folder = folder
        self._path = folder / "config.yaml"
        self._sky = Sky()
        self._places = stand(self._sky)
        self._sequences = 0
        self._numbers = 0
        self._rows = 0
        self._beat_at = 0.0
        self._stillest_s = 0.0  # the longest that nothing of this process ran
        self._written = VARIANTS[0]
        self._defects: list[str] = []
        self._files: int | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        gc.collect()
        self._before = list(_passing())  # what other tests of this process have left

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._defects.append(str(context)))
        for place in self._each_place():
            await place.listen()
        self._configs = {variant: config_of(variant, self._places, self._folder, FIRST_TOKEN_S) for variant in VARIANTS}
        self._write(json.dumps(self._configs[self._written]))
        self.runtime = Runtime(self._path, {}, (_HOST, 0))
        await self.runtime.start()
        ready: asyncio.Future[int] = loop.create_future()
        limits = DoorLimits(write_timeout_s=self.runtime.loaded.config.server.write_timeout)
        door = _door(self.runtime, _HOST, "", lambda: False)
        self._server = Server(door, _HOST, 0, limits, 1.0, ready.set_result)
        self._serving = asyncio.create_task(self._server.serve())
        self._port = await ready
        self._books = sqlite3.connect(self._folder / "headgate.db")
        self._tasks = asyncio.all_tasks()
        self._beat_at = loop.time()
        self._beat()
        await self.play([Ask(), Ask(stream=True), Calm(), Reload(self._written)])  # makes what is made once
        self._files = self._open_files()
        return self

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        before, self._beat_at = self._beat_at, loop.time()
        self._stillest_s = max(self._stillest_s, self._beat_at - before)
        self._beating = loop.call_later(BEAT_S, self._beat)

    async def __aexit__(self, *_: object) -> None:
        self._beating.cancel()
        self._server.drain()
        await self._serving
        await self.runtime.stop()
        for place in self._each_place():
            await place.close()
        self._books.close()

    # -- a sequence --------------------------------------------------------------------------------------------------

    async def play(self, steps: Sequence[Step]) -> None:
        """Plays one sequence until nothing of it is under way, and holds it against the laws."""
        self._forget()
        self._stillest_s = 0.0
        past = Past(self._sky.heard, self._sky.answers)
        calls: list[asyncio.Task[None]] = []
        reloads: list[asyncio.Task[None]] = []
        spoiled = False
        with capture_logs() as logged:
            for step in steps:
                match step:
                    case Ask():
                        calls.append(self._ask(step, past))
                    case Rest(seconds):
                        await asyncio.sleep(seconds)
                    case Calm():
                        await _within(calls)
                    case Reload(variant, mistake):
                        config = self._configs[variant]
                        self._write(json.dumps(config) if mistake is None else spoilt(config, mistake))
                        self._written, spoiled = variant, mistake is not None
                        reloads.append(asyncio.create_task(self.runtime.reload()))
                        past.shut.clear()  # where a place is left out and comes back, its breaker is a new one
                    case Outage(place, over):
                        past.fallen.add(place)
                        await self._fail(place, over)
                    case Lever(place, shut):
                        self._pull(place, shut)
                        past.shut.pop(place, None)
                        if shut:
                            past.shut[place] = self._numbers + 1
            await _within(calls)
            await _within(reloads)
            for place in past.fallen:
                await self._fail(place, over=True)
            await self._quiet()
            for call in past.calls:
                if call.caller.left:  # it cannot know until when it was being served
                    call.last_revision = self.runtime.pipeline.snapshot.revision
            self._check_config(spoiled)
            if spoiled or self._written != VARIANTS[0]:
                self._written = VARIANTS[0]
                self._write(json.dumps(self._configs[self._written]))
                await self.runtime.reload()
                self._check_config(False)
        self._read_receipts(past)
        past.held_up = self._stillest_s > STILL_S
        self.happened += check(past)
        self._defects += [str(entry) for entry in logged if "exc_info" in entry or entry["event"] == "receipt_rejected"]
        assert not self._defects, self._defects

    def _forget(self) -> None:
        """Begins anew, so that what a sequence shows is shown by that sequence alone."""
        self._sequences += 1
        self._sky.begin()
        services = self.runtime.services
        services.breakers.watch(())
        services.breakers.watch(self.runtime.pipeline.snapshot.endpoints)
        services.retries._windows.clear()

    def _ask(self, ask: Ask, past: Past) -> asyncio.Task[None]:
        self._numbers += 1
        asked = Asked(self._numbers, ask, self.runtime.pipeline.snapshot.revision)
        self._sky.troubles[asked.number] = deque(ask.troubles)
        past.calls.append(asked)
        return asyncio.create_task(self._call(asked))

    async def _call(self, asked: Asked) -> None:
        await asked.caller.call(_HOST, self._port, asked.request(self._sequences))
        asked.last_revision = self.runtime.pipeline.snapshot.revision

    async def _fail(self, place: str, over: bool) -> None:
        for simulator in self._places[place]:
            await simulator.close()
            if over:
                await simulator.listen()

    def _pull(self, place: str, shut: bool) -> None:
        breakers = self.runtime.services.breakers
        force = breakers.force_open if shut else breakers.force_close
        for endpoint in self.runtime.pipeline.snapshot.endpoints:
            if endpoint.deployment == place:
                force(endpoint.id, time.monotonic())

    # -- afterwards --------------------------------------------------------------------------------------------------

    async def _quiet(self) -> None:
        """Waits until nothing is under way any more; what then is left of the sequence was left behind."""
        deadline = time.monotonic() + PATIENCE_S
        while left := self._left():
            assert time.monotonic() < deadline, f"left behind: {left}"
            await asyncio.sleep(0.001)

    def _left(self) -> list[str]:
        services, state = self.runtime.services, self._server.server_state
        admission, now = services.admission, time.monotonic()
        counts = {
            "slots": admission.total + sum(admission.in_flight.values()),
            "waiters": admission.waiting,
            "flights": len(services.flights),
            "openings": services.ledger.journal.in_flight,
            "exchanges": sum(transport.active for transport in services.transports.values()),
            "callers": len(state.connections),
            "answers": len(state.tasks),
            "asked": sum(place.in_flight for place in self._each_place()),
            "probes": sum("one call is trying it" in (c.why or "") for c in services.breakers.conditions(now)),
            "tasks": len(asyncio.all_tasks() - self._tasks - {asyncio.current_task()}),
            "files": self._open_files() - self._files if self._files is not None else 0,
        }
        return [f"{count} {name}" for name, count in counts.items() if count]

    def _open_files(self) -> int:
        """Counts open files, but for both ends of each connection that waits for the next request."""
        idle = sum(transport.idle for transport in self.runtime.services.transports.values())
        return len(os.listdir("/proc/self/fd")) - 2 * idle

    def _read_receipts(self, past: Past) -> None:
        self.runtime.services.ledger.settle()
        query = "SELECT rowid, body FROM receipts WHERE rowid > ? ORDER BY rowid"
        for row, body in self._books.execute(query, (self._rows,)).fetchall():
            past.receipts.append(json.loads(body))
            self._rows = row

    def _check_config(self, spoiled: bool) -> None:
        """Holds what serves against what was written last; a mistake changes nothing."""
        runtime = self.runtime
        assert runtime.pipeline.snapshot is runtime.compiled.snapshot
        assert bool(runtime.reload_problems) == spoiled, runtime.reload_problems
        serving = runtime.loaded.config.policies.routes[0].name
        assert spoiled or serving == f"chat-{self._written}", f"{serving} serves, and {self._written} was written last"

    async def check_memory(self) -> None:
        """Fails where anything that belongs to one call is still held once all calls are over."""
        before = set(map(id, self._before))

        def held() -> Counter[str]:
            gc.collect()
            return Counter(type(each).__name__ for each in _passing() if id(each) not in before)

        deadline = time.monotonic() + WITHIN_S
        while held():  # or asks a replica how it is: those are the watcher's, and over soon
            assert time.monotonic() < deadline, held()
            await asyncio.sleep(0.02)
        connections = sum(isinstance(each, Connection) for each in gc.get_objects())
        assert connections == sum(transport.idle for transport in self.runtime.services.transports.values())

    def _each_place(self) -> list[StormyPlace]:
        return [place for replicas in self._places.values() for place in replicas]

    def _write(self, text: str) -> None:
        new = self._path.with_suffix(".new")
        new.write_text(text)
        new.replace(self._path)


async def _within(tasks: Sequence[asyncio.Task[None]]) -> None:
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in pending:
            task.cancel()
        assert not pending, f"{len(pending)} were never over"
        for task in tasks:
            task.result()
