"""Feeds every decoder, and every reader of requests, mutated traffic: `make fuzz`, ten million bytes each."""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from pathlib import Path

from tests.fuzz.laws import Broken, Requests, Subject, requests, subjects

# What the whole run may add to this process: recordings are read once, decoders are dropped after each answer.
MEMORY_MAX = 64 << 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--bytes", type=int, default=10_000_000, help="to feed each")
    parser.add_argument("--seed", type=int, default=1, help="the same seed feeds the same bytes")
    parser.add_argument("--only", default="", help="those whose names hold this")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where what broke a law is kept")
    chosen = parser.parse_args()
    every = [each for each in (*subjects(), *requests()) if chosen.only in str(each)]
    if not every:
        print("nothing to feed: no ../shared/corpus here, or no such decoder")
        return 1
    broken = total = executions = 0
    for each in every:
        fed, times, failures = _feed(each, chosen.bytes, chosen.seed, chosen.failures)
        total, executions, broken = total + fed, executions + times, broken + failures
    print(f"{total:,} bytes in {executions:,} executions, {len(every)} readers, {broken} laws broken")
    return 1 if broken else 0


def _feed(each: Subject | Requests, size: int, seed: int, folder: Path) -> tuple[int, int, int]:
    dice = random.Random(f"{seed} {each}")
    fed = times = failures = 0
    begun = time.monotonic()
    warm = 0
    while fed < size and failures < 5:
        try:
            fed += each.attempt(dice)
        except Broken as error:
            failures += 1
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{str(each).replace(' ', '_').replace('>', '')}-{seed}-{failures}"
            path.write_bytes(error.data)
            print(f"  {error}\n  kept as {path}", file=sys.stderr)
            fed += len(error.data)
        times += 1
        if not warm and fed > size // 10:
            warm = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - warm) << 10 if warm else 0
    if grown > MEMORY_MAX:
        failures += 1
        print(f"  {each}: memory grew by {grown >> 20} MiB", file=sys.stderr)
    print(
        f"{each!s:<44} {fed:>12,} bytes {times:>7,} executions {time.monotonic() - begun:6.1f} s "
        f"{grown >> 20:>3} MiB more{'' if not failures else f'  {failures} BROKEN'}",
        flush=True,
    )
    return fed, times, failures


if __name__ == "__main__":
    sys.exit(main())
