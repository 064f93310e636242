"""Brings configs to serve, one at a time: a changed file's, another gateway's, an admin's.

Each is read, proved and tested before it becomes a revision, and is a revision before it serves. What fails on the way
changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from gateway.config import Loaded
from gateway.core.errors import CallError, ConfigError
from gateway.state.protocols import StoreUnavailable
from gateway.state.revisions import Origin, RevisionRow
from gateway.wiring.compile import Compiled
from gateway.wiring.truth import REVISION, UNNUMBERED, Current, Truth

_log = structlog.get_logger("headgate")


class Outdated(CallError):
    """Another revision has come before this one: who made it, and when, is in `newest`."""

    status = 412
    type = "invalid_request_error"
    code = "revision_outdated"

    def __init__(self, newest: RevisionRow) -> None:
        when = datetime.fromtimestamp(newest.time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        super().__init__(f"revision {newest.number} has come meanwhile, by {newest.author} at {when}: look at it first")
        self.newest = newest


class Saved(msgspec.Struct, frozen=True):
    """A config that serves now; `not_written` says why its file does not hold it, or is None."""

    number: int
    not_written: str | None = None


# Makes a config of the one that serves, and reads it; raises ConfigError.
Make = Callable[[Current], tuple[Current, Loaded]]


class Stage(Protocol):
    """What the running gateway lets be done to it."""

    def read(self, config: Current) -> Loaded:
        """Reads and checks a config; raises ConfigError."""
        ...

    def admit(self, loaded: Loaded) -> None:
        """Raises ConfigError for what this process cannot take on: it listens elsewhere, or would have to restart."""
        ...

    async def compile(self, loaded: Loaded, number: int) -> Compiled:
        """Compiles it, with its proof and its tests; raises ConfigError."""
        ...

    async def apply(self, loaded: Loaded, compiled: Compiled) -> None:
        """Lets it serve the calls that begin from now on."""
        ...

    def refuse(self, problems: list[str]) -> None:
        """Tells of a config that does not serve."""
        ...


class Revising:
    """The one way from a config to the next. `serving` is what serves, with its bytes."""

    def __init__(self, truth: Truth, stage: Stage) -> None:
        self.serving: Current
        self.not_written: str | None = None
        self._truth = truth
        self._stage = stage
        self.one_at_a_time = asyncio.Lock()
        self._refused = UNNUMBERED  # the revision that could not be taken over; it is not tried every second

    async def begin(self) -> tuple[Loaded, Compiled]:
        """Returns the config to start with; raises ConfigError or StoreUnavailable."""
        while True:
            try:
                current = await asyncio.to_thread(self._truth.current, None)
                loaded = await asyncio.to_thread(self._stage.read, current)
                compiled = await self._stage.compile(loaded, current.number)
            except ConfigError as error:
                if error.problems[0].startswith(REVISION):
                    error.problems.append("the newest revision serves in the place of the file; a changed file would")
                raise
            if not current.is_new or await asyncio.to_thread(self._truth.imported, current):
                self._serves(current)
                return loaded, compiled

    async def take_file(self) -> None:
        """Serves the file as it is now, or keeps serving what did and says why."""
        async with self.one_at_a_time:
            await self._take_file()

    async def converge(self, newest: int) -> None:
        """Takes over the newest revision, where another gateway made it; `newest` is its number."""
        async with self.one_at_a_time:
            if newest <= self.serving.number or newest == self._refused:  # looked up before what serves was made
                return
            if self.serving.number == UNNUMBERED:  # the store is back
                await self._take_file()
            else:
                await self._take_newest()

    async def save(self, make: Make, after: int | None, author: str, origin: Origin, note: str) -> Saved:
        """Has a config serve that is made of the one that does, which must be revision `after` (None: whichever it is).

        Raises Outdated where it is not, ConfigError where the new one cannot serve, StoreUnavailable. One that says
        nothing new makes no revision.
        """
        async with self.one_at_a_time:
            current = await asyncio.to_thread(self._truth.current, self.serving)
            if current.hash != self.serving.hash or current.number != self.serving.number:
                await self._take(current)  # what is edited is what serves everywhere
            await self._hold_to(after)
            draft, loaded = await asyncio.to_thread(make, self.serving)
            if draft.hash == self.serving.hash:
                return Saved(self.serving.number, self.not_written)
            self._stage.admit(loaded)
            compiled = await self._stage.compile(loaded, draft.number)
            if not await asyncio.to_thread(self._truth.record, draft, author, origin, note):
                await self._hold_to(after)
                raise StoreUnavailable("the store took no revision")
            await self._apply(loaded, compiled, draft)
            self.not_written = await asyncio.to_thread(self._truth.write, draft)
            return Saved(draft.number, self.not_written)

    async def _hold_to(self, after: int | None) -> None:
        newest = await asyncio.to_thread(self._truth.newest_row)
        if newest is not None and newest.number != (self.serving.number if after is None else after):
            raise Outdated(newest)

    async def _take_file(self) -> None:
        try:
            current = await asyncio.to_thread(self._truth.current, self.serving)
        except ConfigError as error:
            self._stage.refuse(error.problems)
            return
        await self._take(current)

    async def _take_newest(self) -> None:
        try:
            current = await asyncio.to_thread(self._truth.newest, self.serving)
        except ConfigError as error:
            self._refused = await asyncio.to_thread(self._truth.newest_number)
            self._stage.refuse(error.problems)
            return
        if await self._take(current):
            self.not_written = await asyncio.to_thread(self._truth.write, current)
        else:
            self._refused = current.number

    async def _take(self, current: Current) -> bool:
        """Serves a config, which becomes a revision where it is none yet; tells of one that cannot serve."""
        while True:
            try:
                loaded = await asyncio.to_thread(self._stage.read, current)
                self._stage.admit(loaded)
                compiled = await self._stage.compile(loaded, current.number)
                if current.is_new and current.number != UNNUMBERED and not await self._imported(current):
                    current = await asyncio.to_thread(self._truth.current, self.serving)
                    continue
            except ConfigError as error:
                self._stage.refuse(error.problems)
                return False
            await self._apply(loaded, compiled, current)
            return True

    async def _imported(self, current: Current) -> bool:
        try:
            return await asyncio.to_thread(self._truth.imported, current)
        except StoreUnavailable:
            return False  # looked at again, the file serves without a number

    async def _apply(self, loaded: Loaded, compiled: Compiled, current: Current) -> None:
        self._serves(current)
        await self._stage.apply(loaded, compiled)

    def _serves(self, current: Current) -> None:
        self.serving = msgspec.structs.replace(current, is_new=False)
        self._refused = UNNUMBERED
