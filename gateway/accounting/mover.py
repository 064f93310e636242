"""Moves receipts from the journal to the store, behind the calls: by one thread, nothing lost, nothing twice.

A segment is deleted only once its receipts are committed; the store ignores a receipt that it has. So a process may die
between any two steps and the next one does the rest. What the store refuses for now stays in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.accounting.journal import Journal
from gateway.accounting.receipts import CLOSED, OPENED, interrupted, row_of
from gateway.accounting.segment import lines_of
from gateway.state.protocols import ReceiptRow, ReceiptStore, RowRefused, StoreUnavailable

_BATCH: Final = 1000  # rows a transaction: long enough to be cheap, short enough for other writers of the database
_NICE: Final = 15
_LONGEST_WAIT_S: Final = 30.0
_FOLD_EVERY_S: Final = 30.0
_LATE_S: Final = 900.0  # a call is in the hour that it began in: few end later than this, and then it is folded again
_FOLDS: Final = 24  # hours and days at a time, of many that wait
_ASK_AGAIN_S: Final = 0.005
_log: Final = structlog.get_logger(__name__)


class Mover:
    """Empties the journal into the store every `every_s` seconds; with a doubling wait while the store is away.

    `trouble` says why nothing moves at present, or is None. `rejected` counts lines that could not be read or that the
    store does not take as they are; they are kept in the journal's directory, in the file `rejected`.
    """

    def __init__(self, journal: Journal, store: ReceiptStore, *, every_s: float = 1.0) -> None:
        self.trouble: str | None = None
        self.rejected = 0
        self._journal = journal
        self._store = store
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
            self._add(row for _, row in self._rows(segment, openings=False))
            self._journal.remove(segment)

    def _recover(self) -> None:
        """Moves a previous run's segments, and books the calls that it left open as their openings foresaw."""
        unanswered: dict[str, ReceiptRow] = {}
        segments = [segment for segment in self._journal.inherited if segment.exists()]
        for segment in segments:
            self._add(self._answered(segment, unanswered))
        self._add(unanswered.values())
        for segment in segments:
            self._journal.remove(segment)
        if segments:
            _log.info("journal_recovered", segments=len(segments), interrupted=len(unanswered))

    def _answered(self, segment: Path, unanswered: dict[str, ReceiptRow]) -> Iterator[ReceiptRow]:
        for tag, row in self._rows(segment, openings=True):
            if tag == OPENED:
                unanswered[row.id] = row
            else:
                unanswered.pop(row.id, None)
                yield row

    def _rows(self, segment: Path, *, openings: bool) -> Iterator[tuple[int, ReceiptRow]]:
        for line in lines_of(segment):
            tag = line[0] if line else 0
            if tag == OPENED and not openings:
                continue
            if tag not in (OPENED, CLOSED):
                self._reject(line, "neither an opening nor a receipt")
                continue
            try:
                row = row_of(line[1:] if tag == CLOSED else interrupted(line[1:], self._store.price))
            except msgspec.DecodeError as error:
                self._reject(line, str(error))
            else:
                yield tag, row

    def _add(self, rows: Iterable[ReceiptRow]) -> None:
        batch: list[ReceiptRow] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                self._add_batch(batch)
                batch = []
        if batch:
            self._add_batch(batch)

    def _add_batch(self, batch: Sequence[ReceiptRow]) -> None:
        """Adds a batch; where the store refuses it, row by row, so that the bad one alone is kept apart."""
        try:
            self._store.add_receipts(batch)
        except RowRefused as error:
            if len(batch) == 1:
                self._reject(bytes([CLOSED]) + batch[0].body.encode(), str(error))
                return
            for row in batch:
                self._add_batch([row])

    def _reject(self, line: bytes, why: str) -> None:
        self.rejected += 1
        with (self._journal.directory / "rejected").open("ab") as file:
            file.write(line + b"\n")
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
