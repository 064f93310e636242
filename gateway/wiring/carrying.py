"""The program of a `Porter`'s process: reads which store and journal, then what to carry, a line of JSON each.

It imports no config and no gateway: some 27 MB.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from gateway.accounting.carrier import Carrier
from gateway.accounting.porter import Carried, Load, Place
from gateway.core.errors import ConfigError
from gateway.state.protocols import ReceiptStore, StoreUnavailable
from gateway.state.sqlite import SqliteStore


def main() -> None:
    """Carries until its input ends: its parent says when to stop, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the parent, which has more to book before it ends
        signal.signal(number, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever is printed is no answer
        try:
            _serve(sys.stdin.buffer, answers)
        except BrokenPipeError:  # the parent has gone; the next one carries this again
            os._exit(0)


def _serve(questions: BinaryIO, answers: BinaryIO) -> None:
    place = msgspec.json.decode(questions.readline(), type=Place)
    carrier: Carrier | None = None
    for line in questions:
        load = msgspec.json.decode(line, type=Load)
        began_at, worked_s = time.monotonic(), time.process_time()
        try:
            carrier = carrier or Carrier(_opened(place), Path(place.directory))
            rejected = carrier.carry([Path(each) for each in load.segments], inherited=load.inherited)
            carried = Carried(rejected, share=(time.process_time() - worked_s) / (time.monotonic() - began_at))
        except (StoreUnavailable, ConfigError, OSError) as error:
            carried = Carried(trouble=str(error))
        answers.write(msgspec.json.encode(carried) + b"\n")
        answers.flush()


def _opened(place: Place) -> ReceiptStore:
    if place.path is not None:
        return SqliteStore(Path(place.path))
    from gateway.state.postgres import PostgresStore

    assert place.url is not None
    return PostgresStore(place.url)


if __name__ == "__main__":
    main()
