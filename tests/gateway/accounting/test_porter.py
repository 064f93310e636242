"""Receipts in plenty are carried by a process of their own; whatever befalls it, each is booked once."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.accounting import porter as porter_module
from gateway.accounting.journal import Journal
from gateway.accounting.mover import Mover
from gateway.accounting.porter import Place, Porter, PorterGone
from gateway.accounting.receipts import CLOSED, Receipt, line_of
from gateway.state.protocols import StoreUnavailable
from gateway.state.sqlite import SqliteStore

PROGRAM = "gateway.wiring.carrying"
MANY = 1500  # lines, some 300 KB: what is carried apart


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", sync="off")
    yield journal
    journal.shut()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


@pytest.fixture
def porter(tmp_path: Path) -> Iterator[Porter]:
    porter = Porter(PROGRAM, Place(str(tmp_path / "journal"), path=str(tmp_path / "headgate.db")))
    yield porter
    porter.end()


def receipt(id: str, input_tokens: int = 1) -> Receipt:
    tokens = {"fresh_input": input_tokens}
    return Receipt(id=id, time=1.0, key="alice", status=200, tokens=tokens, cost_nano=5, decision="x" * 150)


def close_many(journal: Journal, first: int = 0) -> None:
    for number in range(first, first + MANY):
        journal.close(receipt(f"{number:05}"))


def booked(tmp_path: Path) -> int:
    with sqlite3.connect(tmp_path / "headgate.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM receipts").fetchone()
    connection.close()
    return int(count)


def pid_of(porter: Porter) -> int | None:
    return porter._process.pid if porter._process is not None else None


def test_what_is_much_goes_by_the_process_and_what_is_little_does_not(
    tmp_path: Path, journal: Journal, store: SqliteStore, porter: Porter
) -> None:
    mover = Mover(journal, store, porter=porter)
    journal.close(receipt("one"))
    mover.move()
    assert pid_of(porter) is None
    close_many(journal)
    mover.move()
    pid = pid_of(porter)
    assert pid is not None
    assert booked(tmp_path) == MANY + 1
    assert journal.size_bytes == 0
    assert store.receipt("00007") is not None
    close_many(journal, MANY)
    mover.move()
    assert pid_of(porter) == pid
    mover.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert booked(tmp_path) == 2 * MANY + 1


def test_a_process_that_was_killed_is_begun_again_and_none_is_booked_twice(
    tmp_path: Path, journal: Journal, store: SqliteStore, porter: Porter
) -> None:
    mover = Mover(journal, store, porter=porter)
    close_many(journal)
    mover.move()
    first = pid_of(porter)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    close_many(journal, MANY)
    mover.move()  # carried here, once it is seen that nobody answers
    close_many(journal, 2 * MANY)
    mover.move()
    assert pid_of(porter) not in (None, first)
    assert booked(tmp_path) == 3 * MANY


def test_a_process_that_cannot_begin_keeps_nothing_waiting(
    tmp_path: Path, journal: Journal, store: SqliteStore
) -> None:
    broken = Porter("gateway.there_is_no_such_program", Place("", path=""))
    with pytest.raises(PorterGone):
        broken.carry([])
    close_many(journal)
    Mover(journal, store, porter=broken).move()
    assert booked(tmp_path) == MANY


def test_a_store_that_is_away_says_so_and_loses_nothing(tmp_path: Path, journal: Journal, store: SqliteStore) -> None:
    nowhere = Porter(PROGRAM, Place(str(journal.directory), path=str(tmp_path / "missing" / "headgate.db")))
    close_many(journal)
    with pytest.raises(StoreUnavailable, match="SQLite"):
        Mover(journal, store, porter=nowhere).move()
    assert journal.size_bytes > 0
    nowhere.end()
    Mover(journal, store).move()
    assert booked(tmp_path) == MANY


def test_lines_that_cannot_be_read_are_counted_and_kept_apart(
    tmp_path: Path, journal: Journal, store: SqliteStore, porter: Porter
) -> None:
    journal.close(receipt("absurd", input_tokens=10**30))
    close_many(journal)
    mover = Mover(journal, store, porter=porter)
    mover.move()
    assert (mover.rejected, booked(tmp_path)) == (1, MANY)
    assert b'"absurd"' in (journal.directory / "rejected").read_bytes()


def test_what_a_killed_gateway_left_is_recovered_by_the_process(
    tmp_path: Path, store: SqliteStore, porter: Porter
) -> None:
    left = tmp_path / "journal" / "000000000001.journal"
    left.parent.mkdir()
    left.write_bytes(
        b'o{"id":"flying","time":1.0,"key":"alice","input_tokens":7}\n'
        + b"".join(line_of(CLOSED, receipt(f"{number:05}")) for number in range(MANY))
    )
    journal = Journal(left.parent, sync="off")
    Mover(journal, store, porter=porter).move()
    journal.shut()
    assert pid_of(porter) is not None
    assert booked(tmp_path) == MANY + 1
    interrupted = store.receipt("flying")
    assert interrupted is not None
    assert b'"interrupted"' in interrupted


def test_a_process_without_work_ends(
    journal: Journal, store: SqliteStore, porter: Porter, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = Mover(journal, store, porter=porter)
    close_many(journal)
    mover.move()
    assert pid_of(porter) is not None
    monkeypatch.setattr(porter_module, "_IDLE_S", 0.0)
    mover.move()
    assert pid_of(porter) is None


def test_it_runs_last_and_one_that_is_not_done_in_a_while_makes_room_for_one_that_does_not(
    tmp_path: Path, journal: Journal, store: SqliteStore, porter: Porter, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = Mover(journal, store, porter=porter)
    close_many(journal)
    mover.move()
    last = pid_of(porter)
    assert last is not None
    assert os.sched_getscheduler(last) == os.SCHED_IDLE
    os.kill(last, signal.SIGSTOP)  # as if calls left it nothing of its core
    monkeypatch.setattr(porter_module, "_EASE", 1.1)  # and would leave the next one little
    close_many(journal, MANY)
    mover.move()
    hurried = pid_of(porter)
    assert hurried not in (None, last)
    assert os.sched_getscheduler(hurried) == os.SCHED_OTHER
    assert booked(tmp_path) == 2 * MANY
    close_many(journal, 2 * MANY)
    mover.move()
    assert pid_of(porter) == hurried
    monkeypatch.setattr(porter_module, "_EASE", 0.0)
    close_many(journal, 3 * MANY)
    mover.move()
    close_many(journal, 4 * MANY)
    mover.move()
    again = pid_of(porter)
    assert again not in (None, hurried)
    assert os.sched_getscheduler(again) == os.SCHED_IDLE
    assert booked(tmp_path) == 5 * MANY


def test_it_outlives_the_signals_of_its_parent_and_not_its_parent(tmp_path: Path) -> None:
    """Ctrl-C and `systemctl stop` are for the gateway, which has more to book; its end is the end of its pipe."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    place = b'{"directory":"%b","path":"%b"}\n' % (bytes(tmp_path), bytes(tmp_path / "headgate.db"))
    process.stdin.write(place + b'{"segments":[]}\n')
    assert process.stdout.readline().startswith(b'{"share":')
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    time.sleep(0.05)
    process.stdin.write(b'{"segments":[]}\n')
    assert process.stdout.readline().startswith(b'{"share":')
    process.stdin.close()
    assert process.wait(30) == 0
    process.stdout.close()
