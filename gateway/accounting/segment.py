"""One file of the journal, growing at its end: bytes that `append` took outlive this process, however it ends.

Where the file system keeps its promise of room (`reserves`), a segment is a mapped file: appending copies into pages
that the kernel owns, without a system call (docs/decisions/0011 says what that gave). Elsewhere it is a `write` a
line: on a file system that copies on write a reserved page may still find the disk full, and the process would be
killed (SIGBUS) where it should refuse.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

STEP_BYTES: Final = 1 << 20  # by which a mapped file grows
_RESERVING: Final = frozenset({"ext2", "ext3", "ext4", "f2fs", "tmpfs", "xfs"})
_MOUNTS: Final = Path("/proc/self/mountinfo")  # proc_pid_mountinfo(5)


def reserves(directory: Path) -> bool:
    """Says whether room that is reserved in a directory's files is there when it is written to; in doubt, no."""
    try:
        device = os.stat(directory).st_dev
        mounts = _MOUNTS.read_text()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    kinds = set()
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        if mount.split(" ")[2] == wanted:
            kinds.add(source.split(" ")[0])
    return bool(kinds) and kinds <= _RESERVING


class Segment:
    """A new file; not safe for several threads at once.

    Raises OSError where it cannot be made, and then leaves none. `size` is what was appended: a mapped file is longer,
    its rest holds NUL bytes, until it is sealed.
    """

    __slots__ = ("_map", "_room", "_step", "descriptor", "path", "size")

    def __init__(self, path: Path, *, mapped: bool, step_bytes: int = STEP_BYTES) -> None:
        self.path = path
        self.size = 0
        self._step = step_bytes
        self._room = 0
        self._map: mmap.mmap | None = None
        access = os.O_RDWR if mapped else os.O_APPEND | os.O_WRONLY
        self.descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | access, 0o600)
        try:
            if mapped:
                self._room = self._reserve(1)
                self._map = mmap.mmap(self.descriptor, self._room)
        except OSError:
            self.close()
            path.unlink()
            raise

    def append(self, data: bytes) -> None:
        """Takes all of `data` or none of it; raises OSError where there is no room."""
        end = self.size + len(data)
        if self._map is not None:
            if end > self._room:
                self._grow(end)
            self._map[self.size : end] = data
        elif (written := os.write(self.descriptor, data)) != len(data):
            if written:
                os.ftruncate(self.descriptor, self.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size = end

    def seal(self) -> None:
        """Ends the file where its bytes end; nothing is appended after."""
        if self._map is not None:
            self._map.close()
            os.ftruncate(self.descriptor, self.size)

    def sync(self) -> None:
        """Forces to disk what was appended before this call."""
        os.fdatasync(self.descriptor)

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._map is not None:
            self._map.close()
        os.close(self.descriptor)

    def _grow(self, end: int) -> None:
        assert self._map is not None
        room = self._reserve(end)
        self._map.resize(room)
        self._room = room

    def _reserve(self, least: int) -> int:
        """Reserves room in whole steps, or where the disk has none for that, just so many bytes; returns how many."""
        room = -(-least // self._step) * self._step
        with contextlib.suppress(OSError):
            os.posix_fallocate(self.descriptor, 0, room)
            return room
        os.posix_fallocate(self.descriptor, 0, least)
        return least


def lines_of(path: Path) -> Iterator[bytes]:
    """Yields a segment's lines without their newline.

    A torn one was never promised to anybody and is left out: the last one without an end, and one with a NUL byte in
    it, where the process died while its bytes were copied. JSON has no such byte.
    """
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n") and b"\0" not in line:
                yield line[:-1]
