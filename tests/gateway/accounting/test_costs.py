import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.costs import CostsQuery, costs, query_of
from gateway.accounting.receipts import Receipt, row_of
from gateway.accounting.tables import as_csv, as_text
from gateway.core.errors import BadRequest
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
            cost={"fresh_input": 200_000, "per_request": 50_000},
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
        "split_by": None,
        "tz": "UTC",
        "since": "2026-11-13T18:30:00Z",
        "until": "2026-11-20T18:30:00Z",
        "spans": [],
        "fresh_at": None,
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
                "cost": {"other": 750_000},
                "receipts": "since=2026-11-13T18%3A30%3A00Z&until=2026-11-20T18%3A30%3A00Z&none=team",
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
                "cost": {"fresh_input": 200_000, "other": 50_000},
                "receipts": "since=2026-11-13T18%3A30%3A00Z&until=2026-11-20T18%3A30%3A00Z&team=sales",
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
            "cost": {"fresh_input": 200_000, "other": 800_000},
            "receipts": "since=2026-11-13T18%3A30%3A00Z&until=2026-11-20T18%3A30%3A00Z",
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
    with pytest.raises(BadRequest, match="choose") as refusal:
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


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_name_is_no_formula_in_a_spreadsheet(store: SqliteStore, name: str) -> None:
    add(store, Receipt("a", NOW - 60, "k", 200, user=name, cost_nano=5))
    (row,) = csv.DictReader(io.StringIO(as_csv(costs(store, query_of({"group_by": "user"}, NOW)))))
    assert row["user"] == f"'{name}"


def test_two_groups_are_told_together_and_empty_spans_are_named(store: SqliteStore) -> None:
    some_receipts(store)
    parameters = {"group_by": "day", "split_by": "team", "since": "2026-11-18", "tz": "Europe/Berlin"}
    answer = costs(store, query_of(parameters, NOW), NOW)
    assert [(row.group, row.split, row.calls) for row in answer.rows] == [
        ("2026-11-19", "-", 1),
        ("2026-11-20", "-", 1),
        ("2026-11-20", "sales", 2),
    ]
    assert [span.name for span in answer.spans] == ["2026-11-18", "2026-11-19", "2026-11-20"]
    assert (answer.spans[0].since, answer.fresh_at) == ("2026-11-17T23:00:00Z", "2026-11-20T18:30:00Z")
    header = as_csv(answer).splitlines()[0]
    assert header.startswith("day,team,calls")


def test_several_values_are_any_and_none_is_what_has_no_value(store: SqliteStore) -> None:
    some_receipts(store)
    week = ("since", "7d")
    assert costs(store, query_of([week, ("key", "alice"), ("key", "bob")], NOW)).total.calls == 4
    assert costs(store, query_of([week, ("none", "team")], NOW)).total.calls == 2
    assert costs(store, query_of([week, ("none", "tag:project"), ("team", "sales")], NOW)).total.calls == 1


def test_a_team_sees_itself_alone(store: SqliteStore) -> None:
    some_receipts(store)
    mine = costs(store, query_of({"since": "7d", "group_by": "team"}, NOW, "sales"))
    assert [row.group for row in mine.rows] == ["sales"]
    assert costs(store, query_of({"since": "7d", "team": "hr"}, NOW, "sales")).total.calls == 0
    assert costs(store, query_of({"since": "7d", "none": "team"}, NOW, "sales")).total.calls == 0


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"group_by": "day", "split_by": "hour"}, "split_by"),
        ({"group_by": "team", "split_by": "team"}, "split_by"),
        ({"split_by": "teem"}, "split_by"),
        ({"tz": "Nowhere"}, "tz"),
        ({"limit": "0"}, "limit"),
        ({"none": "day"}, "none"),
        ({"day": "2026-11-20"}, "day"),
    ],
)
def test_words_that_make_no_sense_are_refused_by_name(parameters: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        query_of(parameters, NOW)
    assert refusal.value.param == param


def test_more_spans_than_anybody_reads_are_refused(store: SqliteStore) -> None:
    with pytest.raises(BadRequest, match="more than"):
        costs(store, query_of({"group_by": "15m", "since": "365d"}, NOW))
