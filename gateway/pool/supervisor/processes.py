"""Processes by /proc: which of them belong to a replica, whether they live, and how they are ended.

A replica is a tree: vLLM's server, its engine, its workers. Parts of it outlive others, are inherited by init when
their parent dies, and may leave its group and its session. What they keep is the environment that they were begun with,
which holds the replica's mark, unless they write their title over it (setproctitle does); and where their output goes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

MARK: Final = "HEADGATE_REPLICA"
_PROC: Final = Path("/proc")
_KILLED_WITHIN_S: Final = 15.0  # a process that hangs in a driver does not heed SIGKILL at once
_LOOK_S: Final = 0.05


class Known(msgspec.Struct, frozen=True):
    """A process that cannot be taken for a later one of the same number; `started` is in clock ticks since boot."""

    pid: int
    started: int


class Mark(msgspec.Struct, frozen=True):
    """What the processes of a pool are known by: a word in their environment, the folder that their output goes to."""

    word: str
    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Mark:
        """Returns the mark of the pool whose folder this is."""
        resolved = folder.resolve()
        return cls(hashlib.sha256(str(resolved).encode()).hexdigest()[:12], resolved)


class _Seen(NamedTuple):
    parent: int
    group: int
    session: int
    started: int


def _seen(pid: int) -> _Seen | None:
    """Returns what /proc/PID/stat says of a process; None where it is gone, or dead and not yet waited for."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the name, in parentheses, which it may contain itself (proc_pid_stat(5)).
    state, parent, group, session, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else _Seen(int(parent), int(group), int(session), int(rest[15]))


def known(pid: int) -> Known | None:
    """Returns a living process by its number."""
    seen = _seen(pid)
    return None if seen is None else Known(pid, seen.started)


def lives(process: Known) -> bool:
    """Says whether a process is there still."""
    return known(process.pid) == process


def boot() -> str:
    """Returns the id of the machine's boot: numbers of processes mean nothing beyond it."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def marked(mark: Mark) -> dict[Known, str]:
    """Returns the living processes of a pool, each with its slot."""
    return {
        process: slot
        for pid in _pids()
        if pid != os.getpid() and (slot := _slot_of(pid, mark)) and (process := known(pid)) is not None
    }


def _slot_of(pid: int, mark: Mark) -> str:
    folder = _PROC / str(pid)
    wanted = f"{MARK}={mark.word}/".encode()
    with suppress(OSError):  # gone, or somebody else's
        for each in (folder / "environ").read_bytes().split(b"\0"):
            if each.startswith(wanted):
                return each[len(wanted) :].decode(errors="replace")
        for stream in ("1", "2"):
            output = (folder / "fd" / stream).readlink()
            if output.parent == mark.folder and ".log" in output.suffixes:
                return output.name.partition(".")[0]
    return ""


def family(root: Known | None, mark: Mark, slot: str) -> list[Known]:
    """Returns what lives of a replica: what carries its mark, and its server's group, session and descendants."""
    found = {process for process, own in marked(mark).items() if own == slot}
    seen = {pid: each for pid in _pids() if (each := _seen(pid)) is not None} if root is not None else {}
    # While anything is in a server's group or session, its number is given to nobody else, also when it is dead.
    if root is not None and (root.pid not in seen or seen[root.pid].started == root.started):
        tree = {pid for pid, each in seen.items() if root.pid in (pid, each.group, each.session)}
        grown = True
        while grown:
            more = {pid for pid, each in seen.items() if each.parent in tree} - tree
            tree |= more
            grown = bool(more)
        found |= {Known(pid, seen[pid].started) for pid in tree}
    return sorted(found, key=lambda each: each.pid)


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())


def oom_kills() -> int:
    """Returns how many processes the kernel has ended for lack of memory since boot; 0 where it does not count."""
    try:
        for line in (_PROC / "vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


class Server:
    """A replica's server: launched here, or found alive and adopted."""

    def __init__(self, process: Known, mark: Mark, slot: str, child: subprocess.Popen[bytes] | None = None) -> None:
        self.process = process
        self._mark = mark
        self._slot = slot
        self._child = child

    @classmethod
    def launch(cls, command: Sequence[str], environ: Mapping[str, str], mark: Mark, slot: str) -> Server:
        """Starts a process in a session of its own, its output in `SLOT.log` of the pool's folder; raises OSError."""
        with (mark.folder / f"{slot}.log").open("ab") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environ, MARK: f"{mark.word}/{slot}"},
                start_new_session=True,
            )
        return cls(known(child.pid) or Known(child.pid, 0), mark, slot, child)

    @property
    def alive(self) -> bool:
        """Whether it is there; what has ended is waited for."""
        return self._child.poll() is None if self._child is not None else lives(self.process)

    @property
    def status(self) -> int | None:
        """How it ended (a negative number is a signal); None while it lives, and of one that was adopted."""
        return self._child.poll() if self._child is not None else None

    async def end(self, gently_s: float) -> list[Known]:
        """Ends all that belongs to it: SIGTERM for the server, SIGKILL for what is there after so many seconds.

        Returns what even that did not end.
        """
        if gently_s > 0 and self.alive:
            _send(self.process, signal.SIGTERM)
            deadline = time.monotonic() + gently_s
            while self.alive and time.monotonic() < deadline:
                await asyncio.sleep(_LOOK_S)
        left = await end_all(self.process, self._mark, self._slot)
        _ = self.alive  # waits for it
        return left


async def end_all(root: Known | None, mark: Mark, slot: str) -> list[Known]:
    """Kills everything of a replica, again until nothing is left; returns what does not end."""
    deadline = time.monotonic() + _KILLED_WITHIN_S
    while left := await asyncio.to_thread(family, root, mark, slot):
        if time.monotonic() > deadline:
            return left
        for process in left:
            _send(process, signal.SIGKILL)
        await asyncio.sleep(_LOOK_S)
    return []


def _send(process: Known, number: signal.Signals) -> None:
    if lives(process):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
