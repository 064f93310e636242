"""The journal: where a receipt is safe before its call's last byte leaves. Files, no database.

A directory holds numbered segments of newline-terminated lines: "o" and JSON when a call's first attempt begins, "r"
and JSON when it ends. One process owns the directory. Lines go to the newest segment; `seal` begins a new one and
repeats there the openings of the calls in flight, so that a sealed segment never changes, needs no other to be
understood, and can be removed as soon as its receipts are committed elsewhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.accounting.receipts import CLOSED, OPENED, Opening, Receipt, Settled, line_of
from gateway.accounting.segment import STEP_BYTES, Segment, reserves
from gateway.core.errors import ConfigError, Overloaded

Sync = Literal["off", "interval", "always"]

_SUFFIX: Final = ".journal"
_log: Final = structlog.get_logger(__name__)


class JournalFull(Overloaded):
    """No room to account for a call: it is refused rather than served unaccounted."""

    code = "journal_full"


class Journal:
    """Appends openings and receipts; made once per process, usable from any thread.

    Raises ConfigError where another process holds the directory. `max_bytes` bounds what waits to be moved: past it new
    calls are refused, without a receipt; those of calls in flight are still taken. `sync` says when lines are forced to
    disk: every `sync_interval_s` by a thread, on each line, or when the system likes; a killed process loses nothing
    either way.
    `mapped` and `step_bytes` are the segments' own (`Segment`); None looks at the file system.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        sync: Sync = "interval",
        sync_interval_s: float = 0.2,
        mapped: bool | None = None,
        step_bytes: int = STEP_BYTES,
    ) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        self.max_bytes = max_bytes
        self._claim = _claim(directory)
        self._in_flight: dict[str, bytes] = {}  # id -> opening line
        self._owed: list[tuple[str, bytes]] = []  # receipts that the disk did not take
        self._write_lock = threading.Lock()
        self._sync_lock = threading.Lock()  # while a descriptor is synced or closed; no line waits for it
        self.inherited = tuple(sorted(directory.glob(f"*{_SUFFIX}")))  # a previous run's segments
        self._sealed = {segment: segment.stat().st_size for segment in self.inherited}
        self._sealed_size = sum(self._sealed.values())
        self._number = 1 + max((int(segment.stem) for segment in self.inherited), default=0)
        self._mapped = reserves(directory) if mapped is None else mapped
        self._step_bytes = step_bytes
        self._newest = self._begin()
        self._fresh = 0  # bytes of the newest segment that are not repeated openings
        self._sync = sync
        self._unsynced = False
        self._stopped = threading.Event()
        self._syncer: threading.Thread | None = None
        if sync == "interval":
            self._syncer = threading.Thread(
                target=self._sync_forever, args=(sync_interval_s,), name="headgate-journal-sync", daemon=True
            )
            self._syncer.start()

    @property
    def size_bytes(self) -> int:
        """What lies in the journal: sealed segments not yet removed, and the newest."""
        return self._sealed_size + self._newest.size

    @property
    def in_flight(self) -> int:
        """How many calls have been opened and not closed."""
        return len(self._in_flight)

    def open(self, opening: Opening, shared: bytes = b"{") -> None:
        """Notes that a call begins to cost; raises JournalFull where its receipt might find no room.

        `shared` is what the call has in common with others (`Pairing.json`), as for `close`.
        """
        with self._write_lock:
            if self._owed:
                self._settle_owed()
            if self._full:
                raise JournalFull("the accounting journal is full", retry_after_s=1.0)
            written = line_of(OPENED, opening, shared)
            self._append(written)
            self._in_flight[opening.id] = written

    def close(self, receipt: Settled | Receipt, shared: bytes = b"{") -> None:
        """Writes a receipt; raises JournalFull where the disk takes nothing, and then keeps it for the next chance.

        That of a call that was refused before it began finds no room in a full journal: it is not kept either.
        """
        with self._write_lock:
            if receipt.status >= 400 and self._full and receipt.id not in self._in_flight:
                raise JournalFull("the accounting journal is full", retry_after_s=1.0)
            written = line_of(CLOSED, receipt, shared)
            try:
                self._append(written)
            except JournalFull:
                self._owed.append((receipt.id, written))
                raise
            self._in_flight.pop(receipt.id, None)

    def seal(self) -> None:
        """Begins a new segment if the newest holds anything new, so that `sealed` names all that was written so far.

        For one thread at a time.
        """
        with self._write_lock:
            if self._owed:
                with contextlib.suppress(JournalFull):
                    self._settle_owed()
            if not self._fresh:
                return
        new = self._begin()  # no line waits for the file system
        with self._write_lock:
            try:
                new.append(b"".join(self._in_flight.values()))
            except OSError:
                new.close()
                new.path.unlink()
                raise
            old, self._newest = self._newest, new
            self._sealed[old.path] = old.size
            self._sealed_size += old.size
            self._fresh, self._unsynced = 0, False
        old.seal()
        with self._sync_lock:
            if self._sync != "off":  # the repeated openings must be as safe as those that go with their segment
                old.sync()
                new.sync()
            old.close()

    def sealed(self) -> list[Path]:
        """Returns the segments of this run that no longer change, oldest first."""
        return sorted(self._sealed.keys() - set(self.inherited))

    def remove(self, segment: Path) -> None:
        """Deletes a segment whose receipts are committed elsewhere."""
        segment.unlink(missing_ok=True)
        with self._write_lock:
            self._sealed_size -= self._sealed.pop(segment, 0)

    def shut(self) -> None:
        """Syncs what was written and gives the directory back; nothing is written after."""
        self._stopped.set()
        if self._syncer is not None:
            self._syncer.join()
        with self._write_lock, self._sync_lock:
            if self._owed:
                with contextlib.suppress(JournalFull):
                    self._settle_owed()
            newest = self._newest
            newest.seal()
            newest.sync()
            newest.close()
            if not newest.size:
                newest.path.unlink(missing_ok=True)
            os.close(self._claim)

    @property
    def _full(self) -> bool:
        return self._newest.size + self._sealed_size >= self.max_bytes

    def _begin(self) -> Segment:
        """Makes the next segment; raises OSError, and can then be repeated."""
        path = self.directory / f"{self._number:012d}{_SUFFIX}"
        segment = Segment(path, mapped=self._mapped, step_bytes=self._step_bytes)
        self._number += 1
        return segment

    def _append(self, line: bytes) -> None:
        """Writes a whole line or none of it."""
        newest = self._newest
        try:
            newest.append(line)
        except OSError as error:
            raise JournalFull(
                f"the accounting journal cannot be written: {error.strerror}", retry_after_s=5.0
            ) from None
        self._fresh += len(line)
        if self._sync == "always":
            newest.sync()
        else:
            self._unsynced = True

    def _settle_owed(self) -> None:
        while self._owed:
            id, line = self._owed[0]
            self._append(line)
            del self._owed[0]
            self._in_flight.pop(id, None)

    def _sync_forever(self, interval_s: float) -> None:
        while not self._stopped.wait(interval_s):
            if self._unsynced:
                self._unsynced = False
                try:
                    with self._sync_lock:
                        self._newest.sync()
                except OSError as error:
                    _log.warning("journal_not_synced", error=error.strerror)


def _claim(directory: Path) -> int:
    descriptor = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "another process"
        os.close(descriptor)
        raise ConfigError(
            [f"the journal {directory} is in use by process {owner}: each needs its own `store`"]
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor
