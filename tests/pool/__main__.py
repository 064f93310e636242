"""`make pool-test`: the gateway in front of two replicas of real vLLM, on a CPU."""

from __future__ import annotations

import signal
import sys
import time

import pytest

from tests.pool import environment


def main() -> int:
    """Makes the environment, runs the tests, and returns their exit status; 0 where vLLM cannot be had here."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # pytest ends its fixtures, and so the replicas
    began = time.monotonic()
    try:
        environment.make()
    except environment.Unavailable as why:
        print(f"pool-test skipped: {why}")
        return 0
    told = ", ".join(f"{name} {version}" for name, version in environment.versions().items())
    print(f"{told}; ready after {time.monotonic() - began:.0f} s", flush=True)
    status = pytest.main([str(environment.HERE), "-p", "no:cacheprovider", *sys.argv[1:]])
    print(f"pool-test took {time.monotonic() - began:.0f} s: {told}")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
