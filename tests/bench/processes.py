"""Processes under measure: pinned to a core, CPU and memory read from /proc, frozen while others have their turn."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.figures import Row

LOAD_CORE, PROXY_CORE = "0", "1"

_START_S = 90.0  # LiteLLM takes 17 s where nothing else runs


@dataclass(frozen=True)
class Contender:
    """Something that answers on a port; `process` is None for the upstream asked directly.

    `headers` are what it wants with a call, `streams` how many of 50 chunks a second it carries on one core without
    falling behind.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes] | None = None
    headers: tuple[tuple[str, str], ...] = ()
    streams: int = 400

    def cpu_s(self) -> float:
        """CPU-seconds so far, user and system, of all threads of the process and its children, ended ones too."""
        ticks = 0
        for pid in self._pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Resident memory of the process and its children, in MB."""
        pages = 0
        for pid in self._pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def freeze(self) -> None:
        """Stops it where it stands: what waits takes nothing from the core."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it run on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> list[int]:
        return [] if self.process is None else [self.process.pid, *_children(self.process.pid)]


@dataclass(frozen=True)
class Moment:
    """What had been spent when: seconds of CPU on the load's core, by processes on the contender's, by itself."""

    at_s: float
    load_s: float
    proxy_s: float
    contender_s: float


def moment(contender: Contender) -> Moment:
    """Reads the clock and the CPU."""
    load, _ = _core_s(LOAD_CORE)
    _, proxy = _core_s(PROXY_CORE)
    return Moment(time.monotonic(), load, proxy, contender.cpu_s())


def spent(early: Moment, late: Moment) -> Row:
    """Returns the contender's CPU-seconds between two moments, and whose share of which core was how large."""
    wall, own = late.at_s - early.at_s, late.contender_s - early.contender_s
    return {
        "cpu_s": own,
        "core_share": own / wall,
        "generator_share": (late.load_s - early.load_s) / wall,
        "others_share": max(0.0, late.proxy_s - early.proxy_s - own) / wall,
    }


def _core_s(core: str) -> tuple[float, float]:
    """Returns how long a core has been busy, and how long with processes (interrupts may be counted apart)."""
    lines = Path("/proc/stat").read_text().splitlines()
    counts = next(line.split()[1:9] for line in lines if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, interrupts, soft, stolen = (int(count) / os.sysconf("SC_CLK_TCK") for count in counts)
    processes = user + nice + system + stolen
    return processes + interrupts + soft, processes


def _children(pid: int) -> list[int]:
    """Returns the processes that any thread of a process has begun."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, children.read_text().split())
    return found


def free_port() -> int:
    """Returns a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    contender: Contender, core: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Contender]:
    """Starts a server pinned to a core, waits until it accepts, and ends it after."""
    log = folder / f"{contender.name}.out"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", core, *command], stdout=output, stderr=output, cwd=folder, env=environ
        )
    started = replace(contender, process=process)
    try:
        end = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", contender.port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{contender.name} did not start:\n{log.read_text()}") from None
                time.sleep(0.01)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        started.thaw()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
