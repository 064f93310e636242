"""Single flight: of identical calls in flight one is sent upstream, and its answer fans out to the others.

    async with flights.board(key, plan.permitted, lead) as passenger:
        head, body = await passenger.begun(call)          # raises what the flight failed with
        if body is None:
            async for piece in passenger.pieces(): …      # live: the beginning at once, then as it comes
        else: …                                           # whole, but in another form than this caller's: replay it
        passenger.entry                                   # the usage, and what it cost the one who flew

`lead(flight)` does the upstream work and reports it to the flight: `begin`, `publish` for each piece, `land`. It runs
as a task of its own, owned by the flight and not by any caller's connection, and every caller, the first one too,
is a passenger: so a first caller that leaves takes nothing from the others, and when the last passenger leaves, the
task is cancelled, and the upstream with it. What the lead does after `land` (keeping the answer, its receipt) still
belongs to the flight: until the task ends, identical calls board it instead of going upstream.

A flight that fails before its first piece is flown once more, by one of those who wait; if that fails too, or the
fault is the callers' own (all asked the same), everyone is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Final, Self

import msgspec

from gateway.core.errors import CALLER_GONE, CallError, Overloaded
from gateway.core.types import Call
from gateway.state.cache import Entry

FINISHES: Final = frozenset({"stop", "length", "tool_calls"})  # of answers that others may be given
_PASSING: Final = frozenset({401, 403, 408, 429, 499})  # statuses below 500 that another caller need not share


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is known when the first piece is there: who answers, and in which form."""

    deployment: str
    streamed: bool
    include_usage: bool = False

    def fits(self, call: Call) -> bool:
        """Says whether the pieces can go to this caller as they are."""
        return self.streamed == call.stream and (not self.streamed or self.include_usage == call.include_usage)


class Flight:
    """One answer on its way to several callers. Holds up to `max_bytes` of it.

    Past that it takes no new passengers and waits for the slowest; what all have read is let go.
    """

    __slots__ = (
        "_changed",
        "_first",
        "_max_bytes",
        "_passengers",
        "_pieces",
        "_size",
        "deserted",
        "entry",
        "error",
        "generation",
        "head",
        "overflowed",
        "task",
    )

    def __init__(self, max_bytes: int, generation: int) -> None:
        self.generation = generation
        self.head: Head | None = None
        self.entry: Entry | None = None  # the answer, once landed; without its body where that overflowed
        self.error: BaseException | None = None
        self.overflowed = False
        self.deserted = False  # everybody has left, and its task is about to hear of it
        self.task: asyncio.Task[None] | None = None
        self._max_bytes = max_bytes
        self._pieces: deque[bytes] = deque()
        self._first = 0  # how many pieces have been let go
        self._size = 0
        self._passengers: set[Passenger] = set()
        self._changed: list[asyncio.Future[None]] = []

    # -- for the lead --------------------------------------------------------------------------------------------

    def begin(self, head: Head) -> None:
        """Reports that an answer has begun; from now on the flight is not flown again."""
        self.head = head
        self.wake()

    async def publish(self, piece: bytes) -> None:
        """Reports a piece of the answer; waits while the slowest passenger is more than the bound behind."""
        self._pieces.append(piece)
        self._size += len(piece)
        self.wake()
        if self._size > self._max_bytes:
            self.overflowed = True
            while self._let_go() > self._max_bytes:
                await self.change()

    def gathered(self) -> bytes | None:
        """Returns all pieces in one, for the entry; None where the answer was larger than the bound."""
        return None if self.overflowed else b"".join(self._pieces)

    def land(self, entry: Entry) -> None:
        """Reports the proper end of the answer."""
        self.entry = entry
        self.wake()

    # -- for passengers ------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Says whether nothing more will come."""
        return self.entry is not None or self.error is not None

    @property
    def boardable(self) -> bool:
        """Says whether an identical call may still join: not what failed, is being cancelled or is too large, nor an
        end that is no answer to share, once it has landed."""
        if self.error is not None or self.overflowed or self.deserted:
            return False
        return self.entry is None or self.entry.finish is None or self.entry.finish in FINISHES

    @property
    def published(self) -> int:
        """Counts the pieces so far."""
        return self._first + len(self._pieces)

    def take(self, position: int) -> tuple[bytes, int]:
        """Returns what came after `position`, and the position behind it."""
        skipped = position - self._first
        if skipped == len(self._pieces) - 1:
            return self._pieces[-1], position + 1
        pieces = list(self._pieces)[skipped:]
        return b"".join(pieces), position + len(pieces)

    async def change(self) -> None:
        """Waits until something about the flight has changed."""
        future = asyncio.get_running_loop().create_future()
        self._changed.append(future)
        await future

    def wake(self) -> None:
        """Lets everyone who waits look again."""
        changed, self._changed = self._changed, []
        for future in changed:
            if not future.done():
                future.set_result(None)

    def enter(self, passenger: Passenger) -> None:
        """Takes a passenger on board."""
        self._passengers.add(passenger)

    def leave(self, passenger: Passenger) -> None:
        """Lets a passenger off; without any, the upstream work is cancelled."""
        self._passengers.discard(passenger)
        if self.overflowed:
            self.wake()
        if not self._passengers and not self.ended and self.task is not None:
            self.deserted = True
            self.task.cancel(CALLER_GONE)

    def fail(self, error: BaseException) -> None:
        """Ends the flight with an error."""
        self.error = error
        self.wake()

    def _let_go(self) -> int:
        """Drops what every passenger has read and returns the size of what is left."""
        read = min((passenger.position for passenger in self._passengers), default=self._first)
        while self._first < read:
            self._size -= len(self._pieces.popleft())
            self._first += 1
        return self._size


Lead = Callable[[Flight], Coroutine[None, None, None]]


class Passenger:
    """One caller's seat: reads the flight at its own pace, changes to the next one if its flight fails early."""

    __slots__ = ("_flight", "_flights", "_key", "_lead", "leads", "position")

    def __init__(self, flights: Flights, key: tuple[bytes, frozenset[str]], lead: Lead) -> None:
        self._flights = flights
        self._key = key
        self._lead = lead
        self.leads = False  # whether this caller's lead is the one that flies
        self.position = 0

    async def __aenter__(self) -> Self:
        self._flight = self._enter(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._flight.leave(self)

    @property
    def entry(self) -> Entry | None:
        """The answer once it has landed."""
        return self._flight.entry

    async def begun(self, call: Call) -> tuple[Head, bytes | None]:
        """Waits until the answer begins, or, where its form is not this caller's, for all of it.

        Raises what the flight failed with, where it is not flown again.
        """
        while True:
            flight = self._flight
            while flight.head is None and not flight.ended:
                await flight.change()
            head = flight.head
            if head is not None:
                if head.fits(call):
                    return head, None
                while not flight.ended and not flight.overflowed:
                    await flight.change()
                if flight.entry is not None and not flight.overflowed:
                    return head, flight.entry.body
            self._change_over()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields the answer as it comes, what there is already in one; raises what cut it short."""
        flight = self._flight
        while True:
            while self.position < flight.published:
                piece, self.position = flight.take(self.position)
                if flight.overflowed:
                    flight.wake()
                yield piece
            if flight.error is not None:
                raise flight.error
            if flight.entry is not None:
                return
            await flight.change()

    def _enter(self, generation: int) -> Flight:
        flight, self.leads = self._flights.find(self._key, self._lead, generation)
        self.position = 0
        flight.enter(self)
        return flight

    def _change_over(self) -> None:
        """Goes over to the next flight, or raises what the last one failed with."""
        flight = self._flight
        if flight.error is not None and (self.leads or flight.generation > 0 or _is_shared(flight.error)):
            raise flight.error
        flight.leave(self)
        self._flight = self._enter(flight.generation + 1)


class Flights:
    """The flights of this process, by key and by where the calls may go: who may not go there does not fly along."""

    __slots__ = ("_flying", "_max_bytes", "_tasks")

    def __init__(self, max_bytes: int = 1 << 20) -> None:
        self._flying: dict[tuple[bytes, frozenset[str]], Flight] = {}
        self._max_bytes = max_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def board(self, key: bytes, permitted: frozenset[str], lead: Lead) -> Passenger:
        """Returns a seat on the flight for this key; `lead` flies it if there is none."""
        return Passenger(self, (key, permitted), lead)

    def find(self, key: tuple[bytes, frozenset[str]], lead: Lead, generation: int) -> tuple[Flight, bool]:
        """Returns the flight that may be boarded, and whether it was started just now."""
        flight = self._flying.get(key)
        if flight is not None and flight.boardable:
            return flight, False
        flight = self._flying[key] = Flight(self._max_bytes, generation)
        flight.task = asyncio.create_task(lead(flight))
        self._tasks.add(flight.task)
        flight.task.add_done_callback(partial(self._ended, key, flight))
        return flight, True

    async def close(self) -> None:
        """Cancels every flight and waits until their leads have cleaned up."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: tuple[bytes, frozenset[str]], flight: Flight, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._flying.get(key) is flight:
            del self._flying[key]
        error = None if task.cancelled() else task.exception()
        if not flight.ended:
            if task.cancelled():
                error = Overloaded("the gateway is stopping", retry_after_s=1.0)
            flight.fail(error or RuntimeError("a flight ended without landing"))
        elif error is not None:
            task.get_loop().call_exception_handler(
                {"message": "a flight failed after landing", "exception": error, "task": task}
            )


def _is_shared(error: BaseException) -> bool:
    """Says whether everyone who asked the same would be told the same: faults of the callers' own."""
    return isinstance(error, CallError) and 400 <= error.status < 500 and error.status not in _PASSING
