import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.costs import CostsQuery
from gateway.accounting.journal import Journal, JournalFull
from gateway.accounting.ledger import Ledger, journal_beside
from gateway.accounting.mover import Mover
from gateway.accounting.receipts import Opening, Receipt, row_of
from gateway.accounting.segment import lines_of
from gateway.core.errors import ConfigError, Overloaded
from gateway.core.money import Price, Rates
from gateway.state.protocols import StoreUnavailable
from gateway.state.sqlite import SqliteStore
from tests.gateway.state.asking import Total, totals
from tests.patience import WITHIN_S


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def journal(directory: Path, request: pytest.FixtureRequest) -> Iterator[Journal]:
    journal = Journal(directory, sync="off", mapped=request.param, step_bytes=1)
    yield journal
    journal.shut()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    store.keep_prices([PRICE])
    yield store
    store.close()


class AwayStore:
    """A store that can be switched off."""

    def __init__(self, store: SqliteStore) -> None:
        self.away = True
        self._store = store

    def add_receipts(self, rows: object) -> None:
        if self.away:
            raise StoreUnavailable("away")
        self._store.add_receipts(rows)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


# One nano-dollar a token.
PRICE = Price("one-nano", ((0, Rates(fresh_input=1_000_000)),))


def opening(id: str, input_tokens: int = 1) -> Opening:
    return Opening(id=id, time=1.0, key="alice", input_tokens=input_tokens, price_version=PRICE.version)


def receipt(id: str, cost_nano: int = 5, **fields: object) -> Receipt:
    return Receipt(id=id, time=1.0, key="alice", status=200, cost_nano=cost_nano, **fields)  # type: ignore[arg-type]


def written(directory: Path) -> list[str]:
    """What the journal holds: "o:id" and "r:id", in order."""
    return [
        f"{chr(line[0])}:{msgspec.json.decode(line[1:])['id']}"
        for segment in sorted(directory.glob("*.journal"))
        for line in lines_of(segment)
    ]


def booked(store: SqliteStore) -> list[tuple[str, int, bool]]:
    """All receipts in the store: id, status, estimated."""
    rows = store._reader.execute("SELECT id, status, estimated FROM receipts ORDER BY id").fetchall()
    return [(id, status, bool(estimated)) for id, status, estimated in rows]


def died(directory: Path, *calls: Opening | Receipt) -> None:
    """Leaves a journal as a process that was killed would."""
    journal = Journal(directory, sync="off")
    for call in calls:
        if isinstance(call, Opening):
            journal.open(call)
        else:
            journal.close(call)
    journal.shut()


@contextmanager
def disk_with_room_for(size_bytes: int) -> Iterator[None]:
    """Makes every file end at a size; a write across it comes back short, one beyond it fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# -- writing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mapped", "writes"), [(True, 0), (False, 3)])
def test_each_line_is_there_when_the_call_returns(
    directory: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool, writes: int
) -> None:
    counted: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: (counted.append(len(data)), real(descriptor, data))[1])
    journal = Journal(directory, sync="off", mapped=mapped)
    counted.clear()
    journal.open(opening("a"))
    assert written(directory) == ["o:a"]
    journal.close(receipt("a"))
    assert written(directory) == ["o:a", "r:a"]
    journal.close(receipt("b"))
    assert len(counted) == writes
    journal.shut()


def test_a_sealed_segment_needs_no_other_because_openings_are_repeated(journal: Journal, directory: Path) -> None:
    journal.open(opening("done"))
    journal.close(receipt("done"))
    journal.open(opening("flying"))
    journal.seal()
    (sealed,) = journal.sealed()
    journal.remove(sealed)
    assert written(directory) == ["o:flying"]
    journal.close(receipt("flying"))
    journal.seal()
    assert [line[:1] for segment in journal.sealed() for line in lines_of(segment)] == [b"o", b"r"]
    assert journal.in_flight == 0


def test_nothing_new_makes_no_new_segment(journal: Journal, directory: Path) -> None:
    journal.open(opening("flying"))
    journal.seal()
    before = sorted(directory.iterdir())
    journal.seal()
    assert sorted(directory.iterdir()) == before


def test_two_processes_cannot_share_a_journal(journal: Journal, directory: Path) -> None:
    script = "import sys, pathlib; from gateway.accounting.journal import Journal; Journal(pathlib.Path(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", script, str(directory)], capture_output=True, text=True, check=False)
    assert other.returncode == 1
    assert f"is in use by process {os.getpid()}" in other.stderr
    with pytest.raises(ConfigError, match="in use"):
        Journal(directory)


def test_a_journal_that_was_shut_can_be_opened_again(directory: Path) -> None:
    for _ in range(2):
        Journal(directory).shut()
    assert [file.name for file in directory.iterdir()] == ["lock"]


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_lines_are_forced_to_disk_as_configured(directory: Path, monkeypatch: pytest.MonkeyPatch, sync: str) -> None:
    synced = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.set())
    journal = Journal(directory, sync=sync, sync_interval_s=0.005)  # type: ignore[arg-type]
    assert not synced.wait(0.02)
    journal.close(receipt("a"))
    assert synced.is_set() if sync == "always" else synced.wait(WITHIN_S)
    journal.shut()


# -- a full disk --------------------------------------------------------------------------------------------------


def test_past_its_bound_new_calls_are_refused_and_those_in_flight_still_booked(directory: Path) -> None:
    journal = Journal(directory, max_bytes=100, sync="off")
    journal.open(opening("a"))
    journal.close(receipt("b", decision="x" * 100))
    with pytest.raises(JournalFull) as refusal:
        journal.open(opening("c"))
    assert isinstance(refusal.value, Overloaded)
    assert (refusal.value.status, refusal.value.code) == (503, "journal_full")
    journal.close(receipt("a"))
    assert written(directory) == ["o:a", "r:b", "r:a"]
    journal.seal()
    for segment in journal.sealed():
        journal.remove(segment)
    journal.open(opening("c"))
    journal.shut()


def test_calls_that_are_refused_do_not_fill_a_journal_that_is_full(directory: Path) -> None:
    journal = Journal(directory, max_bytes=100, sync="off")
    refused = Receipt(id="refused", time=1.0, key="alice", status=503, reason="journal_full")
    journal.close(refused)
    journal.open(opening("a"))
    with pytest.raises(JournalFull):
        journal.close(refused)
    journal.close(msgspec.structs.replace(refused, id="a"))  # failed, and was in flight
    journal.close(receipt("from the cache"))  # answered, without an opening
    assert written(directory) == ["r:refused", "o:a", "r:a", "r:from the cache"]
    journal.seal()
    for segment in journal.sealed():
        journal.remove(segment)
    journal.close(refused)
    assert written(directory) == ["r:refused"]
    journal.shut()


def test_a_full_disk_tears_no_line_and_the_receipt_is_written_once_there_is_room(
    journal: Journal, directory: Path
) -> None:
    journal.open(opening("a"))
    size = journal.size_bytes
    with disk_with_room_for(size + 20):
        for _ in range(2):  # the first comes back short, as ENOSPC does for what did fit
            with pytest.raises(JournalFull):
                journal.close(receipt("a"))
        assert written(directory) == ["o:a"]
        assert (directory / "000000000001.journal").stat().st_size == size == journal.size_bytes
        with pytest.raises(JournalFull):
            journal.open(opening("b"))
    journal.open(opening("c"))
    assert written(directory) == ["o:a", "r:a", "r:a", "o:c"]
    assert journal.in_flight == 1


def test_a_segment_that_cannot_begin_leaves_the_old_one_in_use(journal: Journal, directory: Path) -> None:
    journal.open(opening("a"))
    with disk_with_room_for(10), pytest.raises(OSError, match=r"space|large"):
        journal.seal()
    journal.close(receipt("a"))
    assert written(directory) == ["o:a", "r:a"]
    journal.seal()
    assert len(journal.sealed()) == 1


def test_a_receipt_that_found_no_room_is_an_estimate_if_the_process_dies_then(
    directory: Path, store: SqliteStore
) -> None:
    journal = Journal(directory, sync="off", step_bytes=1)
    journal.open(opening("a"))
    with disk_with_room_for(journal.size_bytes):
        with pytest.raises(JournalFull):
            journal.close(receipt("a"))
        journal.shut()
    Mover(successor := Journal(directory), store).move()
    assert booked(store) == [("a", 499, True)]
    successor.shut()


# -- moving -------------------------------------------------------------------------------------------------------


def test_moved_receipts_are_in_the_store_and_their_segments_gone(
    journal: Journal, directory: Path, store: SqliteStore
) -> None:
    mover = Mover(journal, store)
    for number in range(2500):  # more than two batches
        journal.close(receipt(f"{number:04}"))
    journal.open(opening("flying"))
    mover.move()
    assert len(booked(store)) == 2500
    assert written(directory) == ["o:flying"]
    journal.close(receipt("flying"))
    mover.move()
    assert booked(store)[-1] == ("flying", 200, False)
    assert journal.size_bytes == 0


def test_a_store_that_is_away_loses_nothing_and_twice_moved_is_once_booked(
    journal: Journal, directory: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = AwayStore(store)
    mover = Mover(journal, away)  # type: ignore[arg-type]
    for id in "ab":
        journal.close(receipt(id))
        with pytest.raises(StoreUnavailable):
            mover.move()
    assert written(directory) == ["r:a", "r:b"]
    away.away = False
    with monkeypatch.context() as patched:
        patched.setattr(journal, "remove", lambda segment: None)  # as if killed between commit and delete
        mover.move()
    mover.move()
    assert booked(store) == [("a", 200, False), ("b", 200, False)]
    assert written(directory) == []


def test_the_thread_goes_on_when_the_store_is_back(journal: Journal, store: SqliteStore) -> None:
    away = AwayStore(store)
    mover = Mover(journal, away, every_s=0.002)  # type: ignore[arg-type]
    journal.close(receipt("a"))
    mover.start()
    deadline = time.monotonic() + WITHIN_S
    while mover.trouble is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert mover.trouble == "away"
    away.away = False
    while not booked(store) and time.monotonic() < deadline:
        time.sleep(0.002)
    mover.stop()
    assert booked(store) == [("a", 200, False)]


def test_a_line_that_cannot_be_read_is_kept_apart_and_stops_nothing(
    journal: Journal, directory: Path, store: SqliteStore
) -> None:
    journal.close(receipt("a"))
    journal.close(receipt("absurd", tokens={"fresh_input": 10**30}))
    journal.close(receipt("b"))
    mover = Mover(journal, store)
    mover.move()
    assert [id for id, *_ in booked(store)] == ["a", "b"]
    assert mover.rejected == 1
    assert b'"absurd"' in (directory / "rejected").read_bytes()


def test_receipts_of_many_threads_are_each_booked_once(journal: Journal, store: SqliteStore) -> None:
    mover = Mover(journal, store, every_s=0.001)
    mover.start()

    def calls(name: int) -> None:
        for number in range(300):
            journal.open(opening(f"{name}-{number}"))
            journal.close(receipt(f"{name}-{number}"))

    threads = [threading.Thread(target=calls, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mover.stop()
    mover.move()
    assert len(booked(store)) == 1200
    assert {(status, estimated) for _, status, estimated in booked(store)} == {(200, False)}
    assert journal.size_bytes == 0


# -- after a death ------------------------------------------------------------------------------------------------


def test_a_call_that_died_with_its_process_gets_an_estimated_receipt(directory: Path, store: SqliteStore) -> None:
    died(directory, opening("done"), opening("flying", input_tokens=77), receipt("done"))
    journal = Journal(directory)
    Mover(journal, store).move()
    assert booked(store) == [("done", 200, False), ("flying", 499, True)]
    body = store.receipt("flying")
    assert body is not None
    assert msgspec.json.decode(body) | {"reason": "interrupted", "cost_nano": 77} == msgspec.json.decode(body)
    assert written(directory) == []
    journal.shut()


def test_a_torn_last_line_is_left_out(directory: Path, store: SqliteStore) -> None:
    died(directory, opening("a"), receipt("b"))
    with (directory / "000000000001.journal").open("ab") as file:
        file.write(b'r{"id":"a","time":1.0,"key":"al')
    journal = Journal(directory)
    mover = Mover(journal, store)
    mover.move()
    assert booked(store) == [("a", 499, True), ("b", 200, False)]
    assert mover.rejected == 0
    journal.shut()


def test_an_opening_repeated_over_segments_is_answered_by_one_receipt(directory: Path, store: SqliteStore) -> None:
    journal = Journal(directory)
    journal.open(opening("a"))
    for number in range(3):
        journal.close(receipt(str(number)))
        journal.seal()
    journal.close(receipt("a"))
    journal.shut()
    successor = Journal(directory)
    Mover(successor, store).move()
    assert booked(store) == [("0", 200, False), ("1", 200, False), ("2", 200, False), ("a", 200, False)]
    successor.shut()


def test_what_the_store_already_has_is_not_booked_again_as_an_estimate(directory: Path, store: SqliteStore) -> None:
    died(directory, opening("a"))
    store.add_receipts([row_of(msgspec.json.encode(receipt("a")))])
    journal = Journal(directory)
    Mover(journal, store).move()
    assert booked(store) == [("a", 200, False)]
    journal.shut()


def test_recovery_waits_for_the_store_while_new_calls_are_taken(directory: Path, store: SqliteStore) -> None:
    died(directory, opening("old"))
    away = AwayStore(store)
    journal = Journal(directory)
    mover = Mover(journal, away)  # type: ignore[arg-type]
    journal.open(opening("new"))
    with pytest.raises(StoreUnavailable):
        mover.move()
    away.away = False
    mover.move()
    assert booked(store) == [("old", 499, True)]
    assert written(directory) == ["o:new"]
    journal.shut()


# -- the ledger ---------------------------------------------------------------------------------------------------


async def test_a_receipt_is_read_as_soon_as_it_was_written(directory: Path, store: SqliteStore) -> None:
    ledger = Ledger(Journal(directory), store, move_every_s=3600)
    ledger.start()
    ledger.open(opening("a"))
    assert await ledger.receipt("a") is None
    ledger.close(receipt("a", decision={"pick": "cheapest"}))
    body = await ledger.receipt("a")
    assert body is not None
    assert msgspec.json.decode(body)["decision"] == {"pick": "cheapest"}
    ledger.close(receipt("b"))
    assert (await ledger.costs(CostsQuery("key", 0, 10))).total.nano_usd == 10
    ledger.close(receipt("c"))
    ledger.stop()
    assert totals(store, "key", 0, 10) == [Total(group="alice", calls=3, nano_usd=15)]
    assert written(directory) == []


def test_a_journal_lies_beside_its_database() -> None:
    assert journal_beside(Path("/var/lib/headgate.db")) == Path("/var/lib/headgate.db.journal.d")
