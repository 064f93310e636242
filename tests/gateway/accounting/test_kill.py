"""A process is killed at random moments: each call that it answered has exactly one receipt, its true one."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from gateway.accounting.costs import added
from gateway.accounting.journal import Journal
from gateway.accounting.mover import Mover
from gateway.state.books import Question
from gateway.state.sqlite import SqliteStore

ROOT = Path(__file__).parents[3]
KILLS = int(os.environ.get("HEADGATE_KILLS", "20"))

# Four calls in flight, a mover that never rests; a call is "answered" when its id has left through the pipe.
GATEWAY = """
import itertools, os, sys
from pathlib import Path
from gateway.accounting.journal import Journal
from gateway.accounting.ledger import Ledger
from gateway.accounting.receipts import Opening, Receipt
from gateway.state.sqlite import SqliteStore

directory, run = Path(sys.argv[1]), sys.argv[2]
answers = os.dup(1)
os.dup2(2, 1)  # what is logged is no answer
ledger = Ledger(Journal(directory / "journal", sync="off"), SqliteStore(directory / "headgate.db"), move_every_s=0.001)
ledger.start()
for number in itertools.count():
    ledger.open(Opening(id=f"{run}-{number}", time=1.0, key="alice"))
    if number >= 4:
        id = f"{run}-{number - 4}"
        ledger.close(Receipt(id=id, time=1.0, key="alice", status=200, cost_nano=5, decision="x" * 500))
        os.write(answers, id.encode() + b"\\n")
"""


def kill_at_random_moments(directory: Path, kills: int, dice: random.Random) -> list[str]:
    """Runs and kills a gateway on one directory again and again, also while it recovers; returns the answered ids."""
    answered: list[str] = []
    for run in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", GATEWAY, str(directory), str(run)],
            stdout=subprocess.PIPE,
            bufsize=0,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        assert child.stdout is not None
        first = child.stdout.readline()
        reader = _Reader(child.stdout.fileno())
        reader.read_for(dice.uniform(0, 0.05 if run % 4 else 0.8))  # some live long enough to recover what others left
        child.send_signal(signal.SIGKILL)
        reader.read_to_end()
        child.wait()
        child.stdout.close()
        lines = (first + reader.seen).split(b"\n")
        answered += [line.decode() for line in lines[:-1]]
    return answered


class _Reader:
    """Empties a pipe, so that the child is never held up by a full one."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.seen = b""

    def read_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.seen += os.read(self._descriptor, 65536)

    def read_to_end(self) -> None:
        while data := os.read(self._descriptor, 65536):
            self.seen += data


def test_each_answered_call_has_exactly_one_receipt_wherever_the_process_was_killed(tmp_path: Path) -> None:
    answered = kill_at_random_moments(tmp_path, KILLS, random.Random(2))
    journal, store = Journal(tmp_path / "journal"), SqliteStore(tmp_path / "headgate.db")
    Mover(journal, store).move()
    with sqlite3.connect(tmp_path / "headgate.db") as connection:
        receipts = dict(connection.execute("SELECT id, nano_usd FROM receipts").fetchall())
        (rows,) = connection.execute("SELECT count(*) FROM receipts").fetchone()
        estimated = connection.execute("SELECT count(*) FROM receipts WHERE estimated").fetchone()[0]
    connection.close()
    assert rows == len(receipts)
    counted = added(each.sums for each in store.sums(Question((0, 900))))
    assert (counted.calls, counted.nano_usd) == (rows, sum(receipts.values()))
    assert len(set(answered)) == len(answered) > 100 * KILLS
    assert [id for id in answered if receipts.get(id) != 5] == []
    assert 0 < estimated <= 5 * KILLS  # no more than were in flight
    assert journal.size_bytes == 0
    journal.shut()
    store.close()
