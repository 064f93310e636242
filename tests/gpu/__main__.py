"""`make gpu-test`: real vLLM with an 8B of dummy weights on a GPU, alone and behind the gateway; `--dry`: simulated."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from tests.gpu.environment import Unavailable
from tests.gpu.run import DRY, Size, real, run, simulated


def main(arguments: list[str]) -> int:
    """Runs it, shows and writes its tables; returns 1 where a target is missed, 0 where this machine cannot run it."""
    parser = argparse.ArgumentParser(prog="tests.gpu", description=__doc__)
    parser.add_argument(
        "--dry", action="store_true", help="the simulator's vLLM in place of a GPU; speed is not judged"
    )
    parser.add_argument("--write", type=Path, help="the page whose table is to be renewed")
    parser.add_argument("--callers", type=int, default=Size().callers, help="callers at once")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers end with the run
    began = time.monotonic()
    try:
        report = run(simulated(), DRY) if given.dry else run(real(), Size(callers=given.callers))
    except Unavailable as why:
        print(f"gpu-test skipped: {why}")
        return 0
    print(report.markdown(), end="")
    print(f"gpu-test took {time.monotonic() - began:.0f} s: {'ok' if report.ok else 'targets were missed'}")
    if given.write is not None:
        report.write(given.write)
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
