"""The great storm: many more sequences, kills and gusts than `make test` has, from a seed of their own.

    python -m tests.storms [--seed SEED] [--sequences N] [--kills N] [--gusts N] [--jobs N]

Runs two pieces a core at a time, because half of a sequence is waiting. One that fails is shown, and says with which
seed it can be had again; those that run meanwhile are played to their end, and no more are begun.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
A_PIECE: Final = 5_000  # sequences of one process


class Piece(NamedTuple):
    """One process: which tests it runs, how much of them, from which seed."""

    file: str
    variable: str
    count: int
    seed: int

    @property
    def settings(self) -> Mapping[str, str]:
        """What the tests read from their environment."""
        return {self.variable: str(self.count), "HEADGATE_STORM_SEED": str(self.seed)}

    def run(self) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", f"tests/storms/{self.file}"]
        return subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def main() -> int:
    """Runs every piece; returns 0 where all laws held, also where a server that a piece needs is not installed."""
    parser = argparse.ArgumentParser(prog="make storm")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="repeats a storm")
    parser.add_argument("--sequences", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--gusts", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="pieces at a time")
    asked = parser.parse_args()
    pieces = [
        Piece("test_kills.py", "HEADGATE_KILLS", asked.kills, asked.seed),
        Piece("test_stores.py", "HEADGATE_GUSTS", asked.gusts, asked.seed),
        *(
            Piece("test_sequences.py", "HEADGATE_STORM", min(A_PIECE, asked.sequences - begin), asked.seed + number)
            for number, begin in enumerate(range(0, asked.sequences, A_PIECE))
        ),
    ]
    print(f"seed {asked.seed}: {asked.sequences} sequences, {asked.kills} kills, {asked.gusts} gusts", flush=True)
    with ThreadPoolExecutor(asked.jobs) as pool:
        skipped = failed = 0
        running = {pool.submit(piece.run): piece for piece in pieces if piece.count}
        for done in as_completed(running):
            if done.cancelled():
                continue
            piece, ended = running[done], done.result()
            how = " ".join(f"{name}={value}" for name, value in piece.settings.items())
            told = ended.stdout.splitlines()[-1]
            print(f"{how} pytest tests/storms/{piece.file}: {told}", flush=True)
            skipped += "passed" not in told
            if ended.returncode:
                print(ended.stdout, flush=True)
                failed += 1
                pool.shutdown(wait=False, cancel_futures=True)
    if failed:
        print(f"a law was broken in {failed} of the pieces")
        return 1
    print("every law held" + (f" in what ran; {skipped} of the pieces did not" if skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
