"""What is made of sums: savings, unit costs, movers, and what one's own GPUs are worth."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.costs import query_of
from gateway.accounting.elsewhere import elsewhere_of
from gateway.accounting.overview import gpus, movers, movers_query, summary
from gateway.accounting.own_gpus import Hardware, own_gpus
from gateway.accounting.receipts import Receipt, row_of
from gateway.accounting.savings import per
from gateway.core.money import Usage, charge
from gateway.core.types import Deployment, Plan, Pooled
from gateway.prices import price_from
from gateway.state.books import Sums
from gateway.state.sqlite import SqliteStore

NOW = 1_795_197_600.0  # 2026-11-20T18:00:00Z


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def add(store: SqliteStore, *receipts: Receipt) -> None:
    store.add_receipts([row_of(msgspec.json.encode(each)) for each in receipts])


# -- what an answer would have cost elsewhere ---------------------------------------------------------------------


def place(name: str, price: str | None, **fields: object) -> Deployment:
    written = None if price is None else price_from({"input": price, "output": price})
    return Deployment(name, name, "openai", name, "openai", b"", (), price=written, **fields)  # type: ignore[arg-type]


CHEAP, DEAR = place("cheap", "1"), place("dear", "5")
OWN = place("own", "0.10", pooled=Pooled("two_choices"))
LISTED = {"dear": price_from({"input": "8", "output": "8"})}
ELSEWHERE = elsewhere_of([("chat", (CHEAP, OWN, DEAR))], (CHEAP, OWN, DEAR), LISTED)
USAGE = Usage(fresh_input=1000)


def plan(*permitted: str, route: str = "chat") -> Plan:
    return Plan(route, "cheapest", frozenset(permitted), ())


def test_the_dearest_is_of_those_that_were_permitted() -> None:
    assert ELSEWHERE.dearest_nano(plan("cheap", "own", "dear"), USAGE) == 5_000_000
    assert ELSEWHERE.dearest_nano(plan("cheap", "own"), USAGE) == 1_000_000
    assert ELSEWHERE.dearest_nano(plan("cheap", route="direct"), USAGE) is None


def test_a_hosted_answer_is_compared_with_its_own_list_price() -> None:
    assert DEAR.price is not None
    cost = charge(USAGE, DEAR.price)
    assert ELSEWHERE.list_nano(plan("cheap", "dear"), DEAR, USAGE, cost) == 8_000_000
    assert CHEAP.price is not None
    assert ELSEWHERE.list_nano(plan("cheap", "dear"), CHEAP, USAGE, charge(USAGE, CHEAP.price)) == 1_000_000


def test_an_answer_of_ones_own_is_compared_with_the_cheapest_hosted_place_that_was_permitted() -> None:
    assert ELSEWHERE.list_nano(plan("cheap", "own", "dear"), OWN, USAGE, None) == 1_000_000
    assert ELSEWHERE.list_nano(plan("own", "dear"), OWN, USAGE, None) == 8_000_000
    assert ELSEWHERE.list_nano(plan("own"), OWN, USAGE, None) is None


def test_nothing_is_compared_that_is_counted_in_no_tokens_or_has_no_price_but_a_ceiling() -> None:
    uncounted = Usage(uncounted=True)
    assert ELSEWHERE.dearest_nano(plan("dear"), uncounted) is None
    assert ELSEWHERE.list_nano(plan("dear"), DEAR, uncounted, None) is None
    guessed = msgspec.structs.replace(CHEAP, price=price_from({"input": "9", "output": "9"}, "ceiling"))
    assert elsewhere_of([], (guessed,), {}).list_nano(plan("cheap"), guessed, USAGE, None) is None


def test_a_call_spills_over_where_a_hosted_place_answers_though_ones_own_was_permitted() -> None:
    assert ELSEWHERE.spilled(plan("cheap", "own"), CHEAP)
    assert not ELSEWHERE.spilled(plan("cheap", "own"), OWN)
    assert not ELSEWHERE.spilled(plan("cheap", "dear"), CHEAP)


# -- at a glance --------------------------------------------------------------------------------------------------


def test_a_time_is_summed_up_against_the_time_before(sqlite_store: SqliteStore) -> None:
    add(
        sqlite_store,
        Receipt(
            "a", NOW - 60, "k", 200, "sales", "ann", provider="lab", cost_nano=400, dearest_nano=2000, list_nano=900
        ),
        Receipt("b", NOW - 60, "k", 200, "sales", "bob", cost_nano=600, tokens={"output_text": 500}, dearest_nano=500),
        Receipt("c", NOW - 50, "k", 200, "hr", "bob", cost_nano=0, cache="hit", saved_nano=250),
        Receipt("d", NOW - 40, "k", 502, "hr", cost_nano=None, dearest_nano=10**9, list_nano=10**9),
        Receipt("old", NOW - 3700, "k", 200, "hr", cost_nano=5000),
        Receipt("older", NOW - 9000, "k", 200, "hr", cost_nano=7),
    )
    told = summary(sqlite_store, query_of({"since": "1h"}, NOW), ["lab"])
    assert (told.total.nano_usd, told.before.nano_usd, told.change_usd) == (1000, 5000, "-0.000004")
    assert (told.unpriced_share, told.error_share, told.cached_share) == (0.25, 0.25, 0.25)
    savings = told.savings
    assert (savings.cache.nano_usd, savings.cache.compared) == (250, 1)
    assert (savings.dearest.nano_usd, savings.dearest.compared, savings.dearest.share) == (1500, 2, 0.6)
    assert (savings.hosted_list.nano_usd, savings.pool.nano_usd) == (500, 500)
    assert (told.units.users, told.units.usd_per_user, told.units.usd_per_1000_calls) == (2, "0.0000005", "0.00025")
    assert told.units.usd_per_million_tokens == "0.002"


def test_what_changed_most_comes_first(sqlite_store: SqliteStore) -> None:
    add(
        sqlite_store,
        Receipt("a", NOW - 60, "k", 200, "up", cost_nano=300),
        Receipt("b", NOW - 60, "k", 200, "same", cost_nano=5),
        Receipt("c", NOW - 3700, "k", 200, "same", cost_nano=5),
        Receipt("d", NOW - 3700, "k", 200, "gone", cost_nano=1000),
        Receipt("e", NOW - 3700, "k", 200, "up", cost_nano=100),
    )
    told = movers(sqlite_store, movers_query({"since": "1h"}, NOW, None), 10)
    changes = [(row.group, row.change_nano, row.change_share) for row in told.rows]
    assert changes == [("gone", -1000, -1.0), ("up", 200, 2.0)]
    assert told.rows[0].receipts is None
    assert "team=up" in (told.rows[1].receipts or "")


def test_own_gpus_are_weighed_against_what_their_answers_cost_elsewhere(sqlite_store: SqliteStore) -> None:
    tokens = {"fresh_input": 800_000, "output_text": 200_000}
    add(
        sqlite_store,
        Receipt("a", NOW - 1800, "k", 200, provider="lab", tokens=tokens, cost_nano=10**9, list_nano=8 * 10**9),
        Receipt("b", NOW - 1800, "k", 200, provider="openai", cost_nano=5, spilled=True),
    )
    told = gpus(sqlite_store, query_of({"since": "10h"}, NOW), [Hardware("lab", 2, 10**9)], NOW)
    (pool,) = told.pools
    assert (pool.usd, pool.booked_usd, pool.idle_usd, pool.basis) == ("20.00", "1.00", "19.00", "full price")
    assert (pool.utilisation, pool.usd_per_million_tokens, pool.unused_hours) == (0.05, "20.00", 9)
    assert (pool.hosted_usd, pool.saved_usd, pool.break_even_tokens_per_hour) == ("8.00", "-12.00", 250_000)
    assert (pool.spilled, pool.spilled_share) == (1, 0.5)


def test_free_tokens_are_weighed_by_the_busiest_hour() -> None:
    hours = [Sums(calls=1, fresh_input=100), Sums(calls=1, fresh_input=300)]
    told = own_gpus(Hardware("lab", 1, 10**9), 4.0, hours, Sums(calls=2, fresh_input=400), 0)
    assert (told.basis, told.utilisation, told.idle_usd) == ("busiest hour", 0.3333, "2.6668")
    assert told.break_even_tokens_per_hour is None
    idle = own_gpus(Hardware("lab", 1, 10**9), 4.0, [], Sums(), 0)
    assert (idle.idle_usd, idle.usd_per_million_tokens, idle.utilisation) == ("4.00", None, 0.0)


def test_units_are_rounded_half_up_and_there_are_none_of_nothing() -> None:
    assert (per(5, 2), per(1, 3), per(7, 0)) == ("0.000000003", "0.00", None)
