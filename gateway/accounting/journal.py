"""The journal: where a receipt is safe before its call's last byte leaves. Files, no database.

A directory holds numbered segments of newline-terminated lines: "o" and JSON when a call's first attempt begins, "r"
and JSON when it ends. One process owns the directory. Lines go to the newest segment, one `write` each; `seal` begins a
new one and repeats there the openings of the calls in flight, so that a sealed segment never changes, needs no other to
be understood, and can be removed as soon as its receipts are committed elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.accounting.receipts import CLOSED, OPENED, Opening, Receipt, Settled, line_of
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
    calls are refused, receipts of those in flight are still taken. `sync` says when lines are forced to disk: every
    `sync_interval_s` by a thread, on each write, or when the system likes; a killed process loses nothing either way.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int = 256 * 1024 * 1024,
        sync: Sync = "interval",
        sync_interval_s: float = 0.2,
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
        self._descriptor = _begin(self._path, b"")
        self._size = 0
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
        return self._sealed_size + self._size

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
            if self._size + self._sealed_size >= self.max_bytes:
                raise JournalFull("the accounting journal is full", retry_after_s=1.0)
            written = line_of(OPENED, opening, shared)
            self._append(written)
            self._in_flight[opening.id] = written

    def close(self, receipt: Settled | Receipt, shared: bytes = b"{") -> None:
        """Writes a receipt; raises JournalFull where the disk takes nothing, and then keeps it for the next chance."""
        with self._write_lock:
            written = line_of(CLOSED, receipt, shared)
            try:
                self._append(written)
            except JournalFull:
                self._owed.append((receipt.id, written))
                raise
            self._in_flight.pop(receipt.id, None)

    def seal(self) -> None:
        """Begins a new segment if the newest holds anything new, so that `sealed` names all that was written so far."""
        with self._write_lock:
            if self._owed:
                with contextlib.suppress(JournalFull):
                    self._settle_owed()
            if not self._fresh:
                return
            repeated = b"".join(self._in_flight.values())
            sealed, old = self._path, self._descriptor
            self._number += 1
            try:
                self._descriptor = _begin(self._path, repeated)
            except OSError:
                self._number -= 1
                raise
            self._sealed[sealed] = self._size
            self._sealed_size += self._size
            self._size, self._fresh, self._unsynced = len(repeated), 0, False
        with self._sync_lock:
            if self._sync != "off":  # the repeated openings must be as safe as those that go with their segment
                os.fdatasync(old)
                os.fdatasync(self._descriptor)
            os.close(old)

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
            os.fdatasync(self._descriptor)
            os.close(self._descriptor)
            if not self._size:
                self._path.unlink(missing_ok=True)
            os.close(self._claim)

    @property
    def _path(self) -> Path:
        return self.directory / f"{self._number:012d}{_SUFFIX}"

    def _append(self, line: bytes) -> None:
        """Writes a whole line or none of it."""
        try:
            written = os.write(self._descriptor, line)
        except OSError as error:
            raise JournalFull(
                f"the accounting journal cannot be written: {error.strerror}", retry_after_s=5.0
            ) from None
        if written != len(line):
            os.ftruncate(self._descriptor, self._size)
            raise JournalFull("the accounting journal's disk is full", retry_after_s=5.0)
        self._size += written
        self._fresh += written
        if self._sync == "always":
            os.fdatasync(self._descriptor)
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
                        os.fdatasync(self._descriptor)
                except OSError as error:
                    _log.warning("journal_not_synced", error=error.strerror)


def lines_of(segment: Path) -> Iterator[bytes]:
    """Yields a segment's lines without their newline; a torn last one was never promised to anybody and is left out."""
    with segment.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def _begin(path: Path, lines: bytes) -> int:
    """Makes a segment that begins with these lines, all of them or no segment; returns its descriptor."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, lines) != len(lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


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
