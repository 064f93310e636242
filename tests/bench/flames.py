"""`make profile`: where the microseconds of a call go, as a picture, and the functions that take most of them.

py-spy samples the serving process from outside while wrk keeps it busy, C frames included: once for the picture, once
for the list. What is sampled is the thread that holds the interpreter's lock: another one may count as running while it
merely waits for the core. So the picture leaves out what runs without the lock (waiting for sockets, writing the
journal, SQLite at work); how much CPU that is stands beside it, read from the process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import peers, servers
from tests.bench.configs import everything_on
from tests.bench.figures import Row
from tests.bench.processes import LOAD_CORE, free_port
from tests.bench.wrk import Load, unary

_LOCK = Path(__file__).parent / "py-spy.lock"
_PICTURE = peers.ROOT / "build" / "profile.svg"
_RATE = 500  # samples a second: each stops the process for some 100 us
_SHOWN = 20
_OURS = ("(gateway/", "(adapters/", "(policies/")

Shares = list[tuple[str, float]]


def shares(stacks: Iterable[str]) -> tuple[Shares, Shares]:
    """Reads folded stacks (`outer;inner 12` a line); returns frames by their own share, and with all below."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        own[frames[-1]] += int(count)
        for frame in {*frames}:
            whole[frame] += int(count)
    total = own.total() or 1

    def ordered(counts: Counter[str]) -> Shares:
        return [(frame, count / total) for frame, count in counts.most_common()]

    return ordered(own), ordered(whole)


def threads_cpu_s(pid: int) -> tuple[float, float]:
    """Returns the CPU-seconds of the process's first thread, which serves, and of all others."""
    ticks = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        ticks[int(task.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    first = ticks.pop(pid)
    return first, sum(ticks.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each of the two samplings")
    options = parser.parse_args()
    try:
        program = peers.environment("py-spy", _LOCK) / "bin" / "py-spy"
    except peers.NotInstalled as error:
        raise SystemExit(f"skipped: py-spy: {error}") from None
    with tempfile.TemporaryDirectory(prefix="headgate-profile-") as name:
        os.chmod(name, 0o777)  # nginx's worker is another user
        folder = Path(name)
        upstream, port = free_port(), free_port()
        with (
            servers.upstream(upstream, LOAD_CORE, folder),
            servers.headgate(port, everything_on(upstream), folder) as gateway,
        ):
            assert gateway.process is not None
            unary(Load(), 2, folder, gateway)
            pid, stacks = gateway.process.pid, folder / "stacks"
            before = threads_cpu_s(pid)
            rows: list[Row] = []
            seconds = 2 * options.seconds + 4
            load = threading.Thread(target=lambda: rows.append(unary(Load(), seconds, folder, gateway)), name="load")
            load.start()
            for form, file in (("flamegraph", _PICTURE), ("raw", stacks)):
                amounts = ["--duration", str(options.seconds), "--rate", str(_RATE)]
                spied = ["--pid", str(pid), "--native", "--gil", "--function", "--format", form]
                command = [str(program), "record", *spied, *amounts, "--output", str(file)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"py-spy could not look into the process (root may be needed):\n{done.stderr}")
            load.join()
            after = threads_cpu_s(pid)
            own, whole = shares(stacks.read_text().splitlines())
    serving, behind = ((late - early) / rows[0]["calls"] * 1e6 for early, late in zip(before, after, strict=True))
    print(
        f"a call while sampled: {serving:.0f} us of CPU in the thread that serves, {behind:.0f} us in those behind it"
    )
    ours = [(frame, share) for frame, share in whole if any(each in frame for each in _OURS)]
    for title, frames in (("any functions, by themselves", own), ("functions of ours, with all that they call", ours)):
        print(f"\nwhat takes most: {title}")
        for frame, share in frames[:_SHOWN]:
            print(f"  {share:6.1%}  {frame}")
    print(f"\nthe picture: {_PICTURE.relative_to(peers.ROOT)}; open it in a browser, and click to look closer")


if __name__ == "__main__":
    main()
