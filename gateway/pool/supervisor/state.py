"""What a pool's next gateway has to know: kept in one small file, written whole, by one gateway at a time."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from gateway.pool.supervisor.processes import boot

_PORTS: Final = range(20_000, 30_000)  # below those that the kernel gives to connections (ip_local_port_range)


class SlotState(msgspec.Struct):
    """One slot: its port, and the process that stands there. `started` is in clock ticks since boot, as /proc tells it.

    `launched_at` is in seconds since the epoch; `ready`: it has been.
    """

    port: int
    pid: int = 0
    started: int = 0
    config_hash: str = ""
    launched_at: float = 0.0
    gpus: tuple[str, ...] = ()
    ready: bool = False


class PoolState(msgspec.Struct):
    """A pool. `lasted` are the seconds of each phase of the last start; `scaled` holds while the config is `scaled_by`.

    `drained` are slots that were taken out by hand.
    """

    boot: str = ""
    slots: dict[str, SlotState] = {}
    lasted: dict[str, float] = {}
    scaled: int | None = None
    scaled_by: str = ""
    drained: list[str] = []


class Taken(Exception):
    """Another gateway supervises this pool."""


class StateFile:
    """One pool's state and the lock on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def lock(self) -> None:
        """Makes the pool this process's own; raises Taken, and OSError where the folder cannot be written."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise Taken(f"another gateway{f' (pid {holder})' if holder else ''} supervises it") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        self._lock = lock

    def unlock(self) -> None:
        """Lets the next one have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self) -> PoolState:
        """Reads what the last gateway left; of another boot, or from a file that cannot be read, no process counts."""
        state = PoolState()
        with suppress(OSError, msgspec.MsgspecError):
            state = msgspec.json.decode((self.folder / "state.json").read_bytes(), type=PoolState)
        if state.boot != boot():
            state.boot = boot()
            state.slots = {name: SlotState(slot.port) for name, slot in state.slots.items()}
        return state

    def save(self, state: PoolState) -> None:
        """Writes the state, whole or not at all; raises OSError."""
        write_whole(self.folder / "state.json", msgspec.json.format(msgspec.json.encode(state), indent=1))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file that is never seen by halves.

    It is not forced to disk, which took 1.5 s of the event loop on a busy one: what a power cut takes from it is worth
    nothing after the boot that follows.
    """
    written = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(written, path)


def free_port(taken: Iterable[int], host: str) -> int:
    """Returns a port that nobody listens at; raises OSError where there is none."""
    avoided = set(taken)
    for port in random.sample(_PORTS, len(_PORTS)):
        if port not in avoided and is_free(port, host):
            return port
    raise OSError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")


def is_free(port: int, host: str) -> bool:
    """Says whether somebody could listen at a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
