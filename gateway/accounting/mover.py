"""Moves receipts from the journal to the store, behind the calls: by one thread, nothing lost, nothing twice.

A segment is deleted only once its receipts are committed (`Carrier`). So a process may die between any two steps, and
the next one does the rest. What the store refuses for now stays in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from gateway.accounting.carrier import Carrier
from gateway.accounting.journal import Journal
from gateway.accounting.porter import Porter, PorterGone
from gateway.state.protocols import ReceiptStore, StoreUnavailable

_LITTLE_BYTES: Final = 256 * 1024  # some 150 calls
_LONGEST_WAIT_S: Final = 30.0
_FOLD_EVERY_S: Final = 30.0
_LATE_S: Final = 900.0  # a call is in the hour that it began in: few end later than this, and then it is folded again
_FOLDS: Final = 24  # hours and days at a time, of many that wait
_ASK_AGAIN_S: Final = 0.005
_NICE: Final = 5  # behind calls, and never so far behind that receipts come in faster than they leave
_log: Final = structlog.get_logger(__name__)


class Mover:
    """Empties the journal into the store every `every_s` seconds; with a doubling wait while the store is away.

    `trouble` says why nothing moves at present, or is None. `rejected` counts lines that could not be read or that the
    store does not take as they are. Where there is a `porter`, it carries what is much.
    """

    def __init__(
        self, journal: Journal, store: ReceiptStore, *, every_s: float = 1.0, porter: Porter | None = None
    ) -> None:
        self.trouble: str | None = None
        self.rejected = 0
        self._journal = journal
        self._store = store
        self._carrier = Carrier(store, journal.directory)
        self._porter = porter
        self._every_s = every_s
        self._recovered = False
        self._one_at_a_time = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="headgate-journal-mover", daemon=True)

    def start(self) -> None:
        """Begins to move; first what a previous run left."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is at; what is left in the journal is for the next run."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._one_at_a_time:
            porter, self._porter = self._porter, None
            if porter is not None:
                porter.end()

    def move(self) -> None:
        """Moves all that was written before this call; raises StoreUnavailable or OSError, and can then be repeated."""
        with self._one_at_a_time:
            self._journal.seal()
            self._move_sealed()

    @asynccontextmanager
    async def cut(self) -> AsyncIterator[Callable[[], None]]:
        """Draws a line under what is written so far: within, none of what is written after it is moved.

        Hands out what moves all that was written before; it blocks, and raises as `move` does.
        """
        while not self._one_at_a_time.acquire(blocking=False):
            await asyncio.sleep(_ASK_AGAIN_S)
        try:
            self._journal.seal()
            yield self._move_sealed
        finally:
            self._one_at_a_time.release()

    def _move_sealed(self) -> None:
        if not self._recovered:
            self._recover()
            self._recovered = True
        for segment in self._journal.sealed():
            self._carry([segment])
            self._journal.remove(segment)
        if self._porter is not None:
            self._porter.rest()

    def _recover(self) -> None:
        """Moves a previous run's segments, and books the calls that it left open as their openings foresaw."""
        segments = [segment for segment in self._journal.inherited if segment.exists()]
        if not segments:
            return
        self._carry(segments, inherited=True)
        for segment in segments:
            self._journal.remove(segment)
        _log.info("journal_recovered", segments=len(segments))

    def _carry(self, segments: Sequence[Path], *, inherited: bool = False) -> None:
        """Carries what is little at once, and what is much by the porter, so that calls keep the interpreter."""
        rejected: list[str] | None = None
        if self._porter is not None and sum(segment.stat().st_size for segment in segments) > _LITTLE_BYTES:
            try:
                rejected = self._porter.carry(segments, inherited=inherited)
            except PorterGone as error:
                _log.warning("porter_gone", why=str(error), then="the process that serves moves receipts itself")
        if rejected is None:
            rejected = self._carrier.carry(segments, inherited=inherited)
        self.rejected += len(rejected)
        for why in rejected:
            _log.error("receipt_rejected", why=why)

    def fold(self) -> None:
        """Folds sums of hours and days that are over, where some wait; raises StoreUnavailable."""
        before = time.time() - _LATE_S
        for _ in range(_FOLDS):
            if self._stopped.is_set() or not self._store.fold_rollups(before):
                return

    def _run(self) -> None:
        # Where the process has one core, this thread must not hold up calls for a slice of the scheduler's (3 ms).
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        wait_s = 0.0
        folded_at = -math.inf
        while not self._stopped.wait(wait_s):
            try:
                self.move()
                if time.monotonic() - folded_at >= _FOLD_EVERY_S:
                    self.fold()
                    folded_at = time.monotonic()
            except (StoreUnavailable, OSError) as error:
                if self.trouble is None:
                    _log.warning("receipts_wait", error=str(error))
                self.trouble = str(error)
                wait_s = min(max(2 * wait_s, self._every_s), _LONGEST_WAIT_S)
            else:
                if self.trouble is not None:
                    _log.info("receipts_move_again")
                self.trouble = None
                wait_s = self._every_s
