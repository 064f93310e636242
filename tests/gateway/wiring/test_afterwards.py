"""After a config was applied: what counts as worse, and that the one before comes back by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.accounting.receipts import Receipt, row_of
from gateway.state.sqlite import SqliteStore
from gateway.wiring.afterwards import Afterwards, Fared, fared, worse
from tests.patience import until


def bodies(count: int, **fields: Any) -> list[bytes]:
    return [
        msgspec.json.encode(
            Receipt(id=f"{fields}{number}", key="a", **{"time": time.time(), "status": 200, "e2e_us": 100_000} | fields)
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (Fared(100, 1, 0.1), Fared(19, 19, None), ""),  # too few
        (Fared(100, 1, 0.1), Fared(100, 4, 0.1), ""),
        (Fared(100, 1, 0.1), Fared(100, 12, 0.1), "12% of 100 calls failed, 1% of 100 before"),
        (Fared(100, 40, 0.1), Fared(100, 50, 0.1), ""),
        (Fared(0, 0, None), Fared(20, 9, 0.1), ""),
        (Fared(0, 0, None), Fared(20, 10, 0.1), "50% of 20 calls failed, too few calls before to compare"),
        (Fared(100, 0, 0.1), Fared(100, 0, 0.29), ""),
        (Fared(100, 0, 0.1), Fared(100, 0, 0.31), "calls take 0.31 s (median), 0.10 s before"),
        (Fared(100, 0, 2.0), Fared(100, 0, 3.9), ""),
        (Fared(100, 0, None), Fared(100, 0, 9.0), ""),
    ],
)
def test_worse_is_many_more_failures_or_twice_the_wait(before: Fared, after: Fared, said: str) -> None:
    assert worse(before, after) == said


def test_callers_own_faults_count_for_nothing_and_first_content_is_what_is_waited_for() -> None:
    lines = bodies(20, ttft_us=50_000, config_revision=2)
    lines += bodies(5, status=400, config_revision=2) + bodies(3, status=499, config_revision=2)
    lines += bodies(4, status=502, config_revision=2) + bodies(2, status=404, config_revision=2)
    lines += bodies(50, status=502, config_revision=1) + bodies(50, cache="hit", e2e_us=1, config_revision=2)
    assert fared(lines, 2) == Fared(84, 6, 0.05)
    assert fared(lines[:20], None) == Fared(20, 0, 0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


async def _watched(
    store: SqliteStore, serving: Sequence[int], **after: Any
) -> tuple[Afterwards, list[tuple[int, str]]]:
    told: list[tuple[int, str]] = []

    async def roll_back(revision: int, why: str) -> None:
        told.append((revision, why))

    now = time.time()
    store.add_receipts([row_of(body) for body in bodies(30, time=now - 1)])
    afterwards = Afterwards(store, lambda: None, lambda: serving[0], roll_back)
    afterwards.watch(2, 2.0)
    store.add_receipts([row_of(body) for body in bodies(30, time=now + 0.1, config_revision=2, **after)])
    watching = afterwards.watching
    assert watching is not None
    await until(lambda: watching.state != "watching")
    return afterwards, told


async def test_a_revision_that_fares_worse_is_rolled_back_and_says_why(store: SqliteStore) -> None:
    afterwards, told = await _watched(store, [2], status=502)
    assert told == [(2, "100% of 30 calls failed, 0% of 30 before")]
    assert afterwards.watching is not None
    assert afterwards.watching.state == "rolled back"


async def test_one_that_fares_as_well_is_kept(store: SqliteStore) -> None:
    afterwards, told = await _watched(store, [2], ttft_us=90_000)
    assert told == []
    assert afterwards.watching is not None
    assert (afterwards.watching.state, afterwards.watching.after) == ("kept", Fared(30, 0, 0.09))


async def test_a_watch_ends_where_another_revision_serves(store: SqliteStore) -> None:
    afterwards, told = await _watched(store, [3], status=502)
    assert told == []
    assert afterwards.watching is not None
    assert afterwards.watching.state == "superseded"
