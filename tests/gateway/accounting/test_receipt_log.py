from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.receipt_log import log_page, log_query_of
from gateway.accounting.receipts import Receipt, row_of
from gateway.core.errors import BadRequest
from gateway.state.sqlite import SqliteStore

NOW = 1_795_199_400.0


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    written = [
        Receipt("a", NOW - 60, "alice", 200, "sales", cost_nano=5, ttft_us=1500, e2e_us=2_000_000, tags=(("p", "x"),)),
        Receipt("b", NOW - 60, "bob", 502, None, cost_nano=None, reason="timeout"),
        Receipt("c", NOW - 50, "alice", 429, "sales", cost_nano=0, reason="rate_limited"),
        Receipt("d", NOW - 40, "alice", 200, "hr", cost_nano=2_000_000_000, cache="hit", saved_nano=7, estimated=True),
    ]
    store.add_receipts([row_of(msgspec.json.encode(each)) for each in written])
    yield store
    store.close()


def ids(store: SqliteStore, *parameters: tuple[str, str], only_team: str | None = None) -> list[str]:
    return [each.id for each in log_page(store, log_query_of(parameters, NOW, only_team)).receipts]


def test_a_page_tells_each_call_without_what_was_said(sqlite_store: SqliteStore) -> None:
    page = log_page(sqlite_store, log_query_of({}, NOW))
    assert [each.id for each in page.receipts] == ["d", "c", "b", "a"]
    assert page.next is None
    told = page.receipts[-1]
    assert (told.time, told.usd, told.ttft_ms, told.e2e_ms) == ("2026-11-20T18:29:00Z", "0.000000005", 1.5, 2000.0)
    assert told.tags == {"p": "x"}
    assert page.receipts[2].usd is None
    assert (page.receipts[0].cached, page.receipts[0].estimated, page.receipts[0].unpriced) == (True, True, False)


def test_pages_follow_one_another_also_where_receipts_have_one_time(sqlite_store: SqliteStore) -> None:
    seen: list[str] = []
    parameters = {"limit": "1"}
    while True:
        page = log_page(sqlite_store, log_query_of(parameters, NOW))
        seen += [each.id for each in page.receipts]
        if page.next is None:
            break
        parameters["before"] = page.next
    assert seen == ["d", "c", "b", "a"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ([("status", "error")], ["c", "b"]),
        ([("status", "4xx")], ["c"]),
        ([("status", "502"), ("status", "429")], ["c", "b"]),
        ([("status", "ok"), ("team", "sales"), ("team", "hr")], ["d", "a"]),
        ([("none", "team")], ["b"]),
        ([("reason", "timeout")], ["b"]),
        ([("cached", "true")], ["d"]),
        ([("cached", "false"), ("unpriced", "false")], ["c", "a"]),
        ([("estimated", "yes")], ["d"]),
        ([("min_usd", "1.5")], ["d"]),
        ([("min_usd", "0")], ["d", "c", "b", "a"]),
        ([("min_e2e", "2s")], ["a"]),
        ([("min_ttft", "2ms")], []),
        ([("since", "45s")], ["d"]),
        ([("until", "45s")], ["c", "b", "a"]),
        ([("tag:p", "x")], ["a"]),
        ([("key", "alice"), ("model", "none such")], []),
    ],
)
def test_filters_must_all_match(sqlite_store: SqliteStore, parameters: list[tuple[str, str]], found: list[str]) -> None:
    since = [] if any(name == "since" for name, _ in parameters) else [("since", "1h")]
    age = {"45s": "2026-11-20T18:29:15Z"}
    asked = [(name, age.get(value, value)) for name, value in [*since, *parameters]]
    assert ids(sqlite_store, *asked) == found


def test_whoever_has_a_team_sees_its_calls_whatever_is_asked(sqlite_store: SqliteStore) -> None:
    assert ids(sqlite_store, only_team="sales") == ["c", "a"]
    assert ids(sqlite_store, ("team", "hr"), only_team="sales") == []
    assert ids(sqlite_store, ("none", "team"), only_team="sales") == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "99"),
        ("status", "bad"),
        ("cached", "maybe"),
        ("min_usd", "-1"),
        ("min_usd", "1e40"),
        ("min_usd", "NaN"),
        ("min_e2e", "2"),
        ("min_e2e", "9" * 400 + "s"),
        ("before", "x_y"),
        ("before", "nan_y"),
        ("before", "1.5"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "²"),
        ("teem", "sales"),
        ("none", "cost"),
        ("tz", "Mars"),
        ("since", "9999-01-01"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadRequest) as refused:
        log_query_of([(name, value)], NOW)
    assert refused.value.param == name
