import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.accounting.costs import CostsQuery, as_csv, as_text, costs, query_of
from gateway.accounting.receipts import Receipt, row_of
from gateway.core.errors import BadRequest
from gateway.core.money import BUCKETS, usd
from gateway.state.protocols import GROUPS
from gateway.state.sqlite import SqliteStore

NOW = datetime(2026, 11, 20, 18, 30, tzinfo=UTC).timestamp()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def add(store: SqliteStore, *receipts: Receipt) -> None:
    store.add_receipts([row_of(msgspec.json.encode(receipt)) for receipt in receipts])


def some_receipts(store: SqliteStore) -> None:
    add(
        store,
        Receipt(
            "a",
            NOW - 60,
            "alice",
            200,
            "sales",
            tags=(("project", "crm"),),
            tokens={"fresh_input": 1000},
            cost_nano=250_000,
        ),
        Receipt("b", NOW - 50, "alice", 200, "sales", cache="hit", cost_nano=0, saved_nano=250_000),
        Receipt("c", NOW - 40, "bob", 499, tokens={"output_text": 30}, cost_nano=750_000, estimated=True),
        Receipt("d", NOW - 86_500, "bob", 502, cost_nano=None),
    )


def test_costs_are_summed_by_what_was_asked(store: SqliteStore) -> None:
    some_receipts(store)
    answer = costs(store, query_of({"group_by": "team", "since": "7d"}, NOW))
    assert msgspec.json.decode(msgspec.json.encode(answer)) == {
        "group_by": "team",
        "since": "2026-11-13T18:30:00Z",
        "until": "2026-11-20T18:30:00Z",
        "rows": [
            {
                "group": "-",
                "calls": 2,
                "errors": 2,
                "cached": 0,
                "tokens": {"output_text": 30},
                "nano_usd": 750_000,
                "usd": "0.00075",
                "saved_usd": "0.00",
                "estimated_share": 1.0,
                "unpriced": 1,
            },
            {
                "group": "sales",
                "calls": 2,
                "errors": 0,
                "cached": 1,
                "tokens": {"fresh_input": 1000},
                "nano_usd": 250_000,
                "usd": "0.00025",
                "saved_usd": "0.00025",
                "estimated_share": 0.0,
                "unpriced": 0,
            },
        ],
        "total": {
            "group": "total",
            "calls": 4,
            "errors": 2,
            "cached": 1,
            "tokens": {"fresh_input": 1000, "output_text": 30},
            "nano_usd": 1_000_000,
            "usd": "0.001",
            "saved_usd": "0.00025",
            "estimated_share": 0.75,
            "unpriced": 1,
        },
    }


def test_what_has_no_tag_stands_beside_what_has_as_untagged(store: SqliteStore) -> None:
    some_receipts(store)
    answer = costs(store, query_of({"group_by": "tag:project", "since": "7d"}, NOW))
    assert [(row.group, row.calls) for row in answer.rows] == [("untagged", 3), ("crm", 1)]


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("hour", ["2026-11-19T18:00Z", "2026-11-20T18:00Z"]),
        ("day", ["2026-11-19", "2026-11-20"]),
        ("month", ["2026-11"]),
    ],
)
def test_times_are_grouped_in_order(store: SqliteStore, group_by: str, groups: list[str]) -> None:
    some_receipts(store)
    assert [row.group for row in costs(store, query_of({"group_by": group_by, "since": "7d"}, NOW)).rows] == groups


def test_filters_must_all_match(store: SqliteStore) -> None:
    some_receipts(store)
    query = query_of({"since": "7d", "team": "sales", "tag:project": "crm"}, NOW)
    assert costs(store, query).total.calls == 1


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", NOW - 5400),
        ("24h", NOW - 86_400),
        ("7d", NOW - 7 * 86_400),
        ("2w", NOW - 14 * 86_400),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC).timestamp()),
        ("2026-11-20T08:00:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC).timestamp()),
        ("2026-11-20T08:00:00+02:00", datetime(2026, 11, 20, 6, tzinfo=UTC).timestamp()),
    ],
)
def test_since_is_an_age_or_a_date(text: str, since: float) -> None:
    assert query_of({"since": text}, NOW) == CostsQuery("day", since, NOW)


@pytest.mark.parametrize("text", ["", "d", "yesterday", "-1d", "1y", "2026-13-01", "²d", "99999999999999d"])
def test_a_time_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadRequest, match="no time") as refusal:
        query_of({"since": text}, NOW)
    assert refusal.value.param == "since"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [({"group_by": "teem"}, "group_by"), ({"group_by": "tag:"}, "group_by"), ({"teem": "sales"}, "teem")],
)
def test_an_unknown_group_is_refused_with_the_choices(parameters: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest, match="hour, day, month, team, key") as refusal:
        query_of(parameters, NOW)
    assert refusal.value.param == param
    if "tag:" not in parameters.values():
        assert "did you mean team?" in refusal.value.message


def test_text_and_csv_hold_the_same_figures(store: SqliteStore) -> None:
    some_receipts(store)
    answer = costs(store, query_of({"group_by": "key", "since": "7d"}, NOW))
    assert as_text(answer) == (
        "key    calls  errors  cached  fresh input  output text      usd    saved  estimated  unpriced\n"
        "-----  -----  ------  ------  -----------  -----------  -------  -------  ---------  --------\n"
        "alice      2       0       1        1,000            0  0.00025  0.00025       0.0%         0\n"
        "bob        2       2       0            0           30  0.00075     0.00     100.0%         1\n"
        "-----  -----  ------  ------  -----------  -----------  -------  -------  ---------  --------\n"
        "total      4       2       1        1,000           30    0.001  0.00025      75.0%         1\n"
    )
    rows = list(csv.DictReader(io.StringIO(as_csv(answer))))
    assert [(row["key"], row["usd"], row["output_text"]) for row in rows] == [
        ("alice", "0.00025", "0"),
        ("bob", "0.00075", "30"),
    ]


def test_nothing_is_a_table_too(store: SqliteStore) -> None:
    answer = costs(store, query_of({}, NOW))
    assert answer.rows == ()
    assert answer.total.usd == "0.00"
    assert as_text(answer).splitlines()[-1].startswith("total")


names = st.none() | st.sampled_from(["a", "b", "-", "untagged", "ü'\""])
receipts = st.builds(
    Receipt,
    id=st.uuids().map(str),
    time=st.floats(0, NOW - 1),
    key=st.sampled_from(["alice", "bob"]),
    status=st.sampled_from([200, 429, 502]),
    team=names,
    user=names,
    tags=st.dictionaries(st.sampled_from(["project", "other"]), st.sampled_from(["x", "y", ""])).map(
        lambda tags: tuple(sorted(tags.items()))
    ),
    route=names,
    deployment=names,
    provider=names,
    model=names,
    sensitivity=names,
    tokens=st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 10**12)),
    cost_nano=st.none() | st.integers(0, 10**15),
    saved_nano=st.none() | st.integers(0, 10**15),
    estimated=st.booleans(),
    cache=st.sampled_from(["-", "hit", "miss"]),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(receipts, max_size=20))
def test_every_group_by_sums_to_the_same_total(written: list[Receipt]) -> None:
    with TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory) / "headgate.db")
        add(store, *written)
        for group_by in (*GROUPS, "tag:project", "tag:nobody has this"):
            answer = costs(store, CostsQuery(group_by, 0, NOW))
            assert answer.total.calls == sum(row.calls for row in answer.rows) == len(written)
            assert answer.total.nano_usd == sum(receipt.cost_nano or 0 for receipt in written)
            assert answer.total.usd == usd(sum(row.nano_usd for row in answer.rows))
            assert answer.total.unpriced == sum(receipt.cost_nano is None for receipt in written)
            for bucket in BUCKETS:
                tokens = sum(receipt.tokens.get(bucket, 0) for receipt in written)
                assert answer.total.tokens.get(bucket, 0) == tokens
        store.close()
