"""Revisions are numbered without gaps, whoever makes them; samples are taken evenly."""

from __future__ import annotations

import threading

import msgspec

from gateway.accounting.receipts import Receipt, row_of
from gateway.state.protocols import Store
from gateway.state.revisions import RevisionRow
from tests.gateway.state.conftest import Database


def revision(number: int, author: str = "ada", text: str = "auth: open\n") -> RevisionRow:
    return RevisionRow(number, 1000.0 + number, author, "admin", "because", f"hash-{number}", text)


def test_revisions_follow_one_another_and_are_found_again(store: Store) -> None:
    assert (store.newest_number(), store.revision(), store.revisions()) == (0, None, [])
    assert not store.add_revision(revision(2))
    assert store.add_revision(revision(1, text="né: '🪙'\r\n"))
    assert store.add_revision(revision(2))
    assert not store.add_revision(revision(2, "bob"))
    assert not store.add_revision(revision(1, "bob"))
    assert store.newest_number() == 2
    assert store.revision() == revision(2)
    assert store.revision(1) == revision(1, text="né: '🪙'\r\n")
    assert store.revision(3) is None
    assert [row.number for row in store.revisions()] == [2, 1]
    assert store.revisions(before=2, at_most=1) == [revision(1, text="")]
    assert store.knows_config("hash-1")
    assert not store.knows_config("hash-3")


def test_of_two_that_come_at_once_one_is_told(database: Database, store: Store) -> None:
    stores = [store, *(database.open() for _ in range(3))]
    took: list[tuple[int, bool]] = []

    def add(number: int, each: Store) -> None:
        for _ in range(5):
            next_one = each.newest_number() + 1
            took.append((next_one, each.add_revision(revision(next_one, f"author-{number}"))))

    threads = [threading.Thread(target=add, args=pair) for pair in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = sorted(number for number, taken in took if taken)
    assert made == list(range(1, len(made) + 1))
    assert store.newest_number() == len(made)
    for each in stores[1:]:
        each.close()


def test_what_a_file_held_is_remembered_by_its_place(store: Store) -> None:
    assert store.file_hash("here:/a") is None
    store.keep_file_hash("here:/a", "one")
    store.keep_file_hash("there:/a", "two")
    store.keep_file_hash("here:/a", "three")
    assert (store.file_hash("here:/a"), store.file_hash("there:/a")) == ("three", "two")


def test_a_sample_is_whole_or_spread_over_all(store: Store) -> None:
    def row(number: int) -> object:
        return row_of(msgspec.json.encode(Receipt(id=f"req_{number:08x}", key="a", time=float(number), status=200)))

    store.add_receipts([row(number) for number in range(600)])  # type: ignore[misc]
    count, bodies = store.sample(100, 200, 1000)
    assert count == 100
    assert [msgspec.json.decode(body)["time"] for body in bodies] == [float(number) for number in range(100, 200)]
    count, bodies = store.sample(0, 600, 60)
    assert count == 600
    assert 20 <= len(bodies) <= 60
    times = [msgspec.json.decode(body)["time"] for body in bodies]
    assert times == sorted(times)
    assert min(times) < 150 < 450 < max(times)
    assert store.sample(700, 800, 10) == (0, [])
