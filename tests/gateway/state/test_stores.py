"""What every store must do, whichever database it is."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.receipts import Receipt, row_of
from gateway.core.allowances import Budget, RateLimits
from gateway.core.money import FREE
from gateway.prices import price_from
from gateway.state import postgres, sqlite
from gateway.state.audit import AuditRow
from gateway.state.books import DIMENSIONS, Question
from gateway.state.protocols import KeptRow, KeyRow, NoticeRow, ReceiptRow, RowRefused, Store
from tests.gateway.state.asking import totals
from tests.gateway.state.conftest import Database


def row(id: str, **fields: object) -> ReceiptRow:
    return row_of(msgspec.json.encode(Receipt(id=id, key="alice", **{"time": 1.0, "status": 200, **fields})))  # type: ignore[arg-type]


# -- receipts -----------------------------------------------------------------------------------------------------


def test_a_receipt_is_found_by_its_id_as_it_was_written(store: Store) -> None:
    written = row("a", decision={"pick": "cheapest"}, raw_usage=msgspec.Raw(b'{"b": 1, "a":2.50, "b": 3}'))
    store.add_receipts([written, row("b")])
    assert store.receipt("a") == written.body.encode()
    assert store.receipt("c") is None


def test_a_receipt_is_kept_once_and_the_first_holds(store: Store) -> None:
    store.add_receipts([row("a", cost_nano=5)])
    store.add_receipts([row("a", cost_nano=7), row("b", cost_nano=1), row("b", cost_nano=2)])
    (total,) = totals(store, "key", 0, 10)
    assert (total.calls, total.nano_usd) == (2, 6)


@pytest.mark.parametrize("bad", [{"status": "no number"}, {"key": None}])
def test_a_batch_is_added_whole_or_not_at_all(store: Store, bad: dict[str, object]) -> None:
    with pytest.raises(RowRefused):
        store.add_receipts([row("a"), row("b")._replace(**bad)])  # type: ignore[arg-type]
    store.add_receipts([row("c")])
    assert store.receipt("a") is None
    assert store.receipt("c") is not None


def test_no_receipts_are_added_as_well(store: Store) -> None:
    store.add_receipts([])
    assert totals(store, "key", 0, 10) == []


@pytest.mark.parametrize("text", ["\0", "a\0b", "\\u0000", "\t\n\\.\\N", "né 🪙 ﷽", "", " ", "\x7f\x1f", "\u2028"])
def test_a_caller_may_name_things_as_it_likes(store: Store, text: str) -> None:
    written = row("a", model=text, user=text, team=text, decision={"asked": text})
    store.add_receipts([written])
    assert store.receipt("a") == written.body.encode()
    for group in ("model", "user", "team"):
        (total,) = totals(store, group, 0, 10, [(group, text)])
        assert total.calls == 1
        assert total.group in (text, text.replace("\0", "\ufffd"))
    assert store.receipt(text) is None


@pytest.mark.parametrize("text", ["\\u0000", "\t\n\\.\\N", "né 🪙 ﷽", "", "\x7f\x1f"])
def test_tags_may_hold_any_text(store: Store, text: str) -> None:
    store.add_receipts([row("a", tags=((text, text),))])
    (total,) = totals(store, f"tag:{text}", 0, 10, [(f"tag:{text}", text)])
    assert (total.group, total.calls) == (text, 1)


def test_receipts_that_several_add_at_once_are_each_kept_once(database: Database, store: Store) -> None:
    rows = [row(str(number), cost_nano=number) for number in range(500)]
    stores = [store, *(database.open() for _ in range(3))]
    threads = [threading.Thread(target=each.add_receipts, args=(rows,)) for each in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (total,) = totals(store, "key", 0, 10)
    assert (total.calls, total.nano_usd) == (500, sum(range(500)))
    for each in stores[1:]:
        each.close()


# -- sums ---------------------------------------------------------------------------------------------------------


def test_sums_stay_exact_beyond_what_a_float_holds(store: Store) -> None:
    store.add_receipts([row(str(number), cost_nano=10**15 - 1) for number in range(100)])
    (total,) = totals(store, "key", 0, 10)
    assert total.nano_usd == 100 * (10**15 - 1)


def test_a_span_of_time_is_half_open(store: Store) -> None:
    store.add_receipts([row("a", time=900.0), row("b", time=1800.0)])
    assert [total.calls for total in totals(store, "key", 900.0, 1800.0)] == [1]


def test_a_moment_belongs_to_the_quarter_it_lies_in_wherever_the_store_is(store: Store) -> None:
    midnight = 1_795_132_800
    moments = [0.0, midnight - 0.0000005, midnight - 0.0004, float(midnight)]
    store.add_receipts([row(str(moment), time=moment) for moment in moments])
    found = store.sums(Question((0, 900, midnight - 900, midnight, midnight + 900)))
    assert sorted((each.span, each.sums.calls) for each in found) == [(0, 1), (2, 2), (3, 1)]


def test_groups_come_in_the_order_of_their_bytes_and_those_without_a_name_first(store: Store) -> None:
    names = ["b", "B", "a", "ä", "_", "", "a b", "ab", "Z"]
    store.add_receipts([row(name, team=name, tags=(("project", name),)) for name in names])
    store.add_receipts([row("nobody")])
    expected = [None, *sorted(names, key=str.encode)]
    assert [total.group for total in totals(store, "team", 0, 10)] == expected
    assert [total.group for total in totals(store, "tag:project", 0, 10)] == expected


@pytest.mark.parametrize("name", ["project", 'quo"te', "it's", "$.a[0]", "naïve", "100%", "%s", "0"])
def test_a_tag_of_any_name_can_be_summed_and_filtered_by(store: Store, name: str) -> None:
    store.add_receipts([row("a", tags=((name, "x"), ("other", "y"))), row("b", tags=(("other", "y"),)), row("c")])
    assert [(total.group, total.calls) for total in totals(store, f"tag:{name}", 0, 10)] == [(None, 2), ("x", 1)]
    assert [total.calls for total in totals(store, "key", 0, 10, [(f"tag:{name}", "x"), ("tag:other", "y")])] == [1]


@pytest.mark.parametrize("group", [*DIMENSIONS, "tag:project"])
def test_every_group_can_be_filtered_by_its_own_name(store: Store, group: str) -> None:
    words = dict.fromkeys(("team", "user", "model", "deployment", "provider", "route", "sensitivity"), "x")
    store.add_receipts([row("a", tags=(("project", "x"),), **words), row("b", time=9e8)])
    for total in totals(store, group, 0, 1e9):
        if total.group is not None:
            assert totals(store, group, 0, 1e9, [(group, total.group)]) == [total]


def test_a_group_that_is_none_reaches_no_statement(store: Store) -> None:
    with pytest.raises(ValueError, match="no dimension"):
        totals(store, "key; DROP TABLE receipts", 0, 10)
    with pytest.raises(ValueError, match="no dimension"):
        totals(store, "key", 0, 10, [("body", "x")])


# -- prices and keys ----------------------------------------------------------------------------------------------


def test_prices_are_kept_by_version_with_those_of_their_service_tiers(store: Store) -> None:
    flex = price_from({"input": "0.5", "output": "1"})
    price = msgspec.structs.replace(price_from({"input": "1", "output": "2"}), service_tiers={"flex": flex})
    store.keep_prices([price, FREE])
    store.keep_prices([price])
    store.keep_prices([])
    assert store.price(price.version) == price
    assert store.price(flex.version) == flex
    assert store.price("unheard of") is None


def test_a_key_comes_back_as_it_was_added(store: Store) -> None:
    full = KeyRow(
        hash="sha256:1",
        name="alice",
        team="sales",
        user="al",
        tags=(("project", "crm"),),
        models=("chat",),
        routes=(),
        sensitivity="internal",
        expires_at=5.5,
        enabled=False,
        strict=True,
        created_at=1.0,
    )
    bare = KeyRow(hash="sha256:2", name="bob", created_at=2.0)
    store.add_key(bare)
    store.add_key(full)
    assert store.keys() == [full, bare]


@pytest.mark.parametrize("again", [KeyRow(hash="sha256:1", name="bob"), KeyRow(hash="sha256:2", name="alice")])
def test_a_key_s_name_and_hash_are_its_own(store: Store, again: KeyRow) -> None:
    store.add_key(KeyRow(hash="sha256:1", name="alice"))
    before = store.keys_version()
    with pytest.raises(ValueError, match="already"):
        store.add_key(again)
    assert store.keys_version() == before


def test_a_change_of_keys_by_another_process_is_noticed(store: Store, database: Database) -> None:
    before = store.keys_version()
    other = database.open()
    other.add_key(KeyRow(hash="sha256:1", name="alice"))
    assert store.keys_version() == before + 1
    assert other.enable_key("alice", False)
    assert not other.enable_key("bob", False)
    other.close()
    assert store.keys_version() == before + 2
    assert not store.keys()[0].enabled


# -- sums that are kept -------------------------------------------------------------------------------------------


def test_receipts_of_an_older_schema_are_counted_when_it_is_opened(
    database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = postgres if "postgres" in database.script else sqlite
    older = tmp_path / "older"
    older.mkdir()
    for script in module._MIGRATIONS.glob("*.sql"):
        if script.name < "0014":
            (older / script.name).write_text(script.read_text())
    tags = (("b", "x"), ("a", "y"))
    rows = [
        row(str(n), time=n * 1000.0, user=f"u{n % 3}", tags=tags, cost={"reasoning": n}, cost_nano=2 * n)
        for n in range(50)
    ]
    rows.append(row("nul", reason="\0", model="\0", cost_nano=5))
    columns = ", ".join(f'"{name}"' for name in ReceiptRow._fields[:28])
    statement = f"INSERT INTO receipts ({columns}) VALUES ({module._SPELLING.places(28)})"
    with monkeypatch.context() as patched:
        patched.setattr(module, "_MIGRATIONS", older)
        for kind in (sqlite.SqliteStore, postgres.PostgresStore):
            patched.setattr(kind, "_adopt", lambda store: None)
        before = database.open()
        for each in rows:
            if isinstance(before, postgres.PostgresStore):
                before._change(statement, postgres._without_nul(each)[:28])
            else:
                assert isinstance(before, sqlite.SqliteStore)
                before._write(lambda connection, each=each: connection.execute(statement, each[:28]))  # type: ignore[misc]
        before.close()
    store = database.open()
    assert sum(total.calls for total in totals(store, "user", 0, 60_000)) == 51
    (total,) = totals(store, "tag:a", 0, 60_000, [("tag:b", "x")])
    assert (total.nano_usd, total.reasoning_nano) == (2 * sum(range(50)), sum(range(50)))
    store.add_receipts([row("new", user="u1", time=5.0)])
    assert sum(total.calls for total in totals(store, "user", 0, 60_000)) == 52
    store.close()


def test_an_hour_is_folded_when_it_is_over_and_again_when_a_receipt_comes_late(store: Store) -> None:
    store.add_receipts([row("a", time=100.0), row("b", time=4000.0)])
    assert not store.fold_rollups(3599.0)
    assert store.fold_rollups(3600.0)
    assert not store.fold_rollups(3600.0)
    store.add_receipts([row("late", time=200.0)])
    assert [total.calls for total in totals(store, "key", 0, 3600)] == [2]
    assert store.fold_rollups(3600.0)
    assert [total.calls for total in totals(store, "key", 0, 3600)] == [2]


# -- opening ------------------------------------------------------------------------------------------------------


def test_two_processes_that_start_together_make_one_schema(database: Database) -> None:
    both = [subprocess.Popen([sys.executable, "-c", database.script]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]


def test_what_was_written_is_there_when_the_store_is_opened_again(database: Database) -> None:
    first = database.open()
    first.add_receipts([row("a")])
    first.close()
    second = database.open()
    assert second.receipt("a") is not None
    second.close()


def test_reading_does_not_wait_for_writing(store: Store) -> None:
    begun, done = threading.Event(), threading.Event()

    def slowly() -> object:
        yield row("a")
        begun.set()
        done.wait(60)
        yield row("b")

    writing = threading.Thread(target=store.add_receipts, args=(slowly(),))
    writing.start()
    assert begun.wait(30)
    started = time.monotonic()
    assert store.receipt("a") is None
    assert time.monotonic() - started < 30
    done.set()
    writing.join()
    assert store.receipt("a") is not None


# -- what providers keep -------------------------------------------------------------------------------------------


def test_a_kept_answer_comes_back_as_it_was_noted(store: Store) -> None:
    row = KeptRow("resp_1", "team:red", "gpt", "internal", 12.5)
    store.add_kept([row, row._replace(id="msg_1")])
    assert store.kept("resp_1") == row
    assert store.kept("msg_1") == row._replace(id="msg_1")
    assert store.kept("resp_2") is None
    assert store.kept("resp\0") is None
    store.add_kept([])


def test_a_kept_answer_stays_with_its_tenant_and_takes_that_tenants_newer_level(store: Store) -> None:
    row = KeptRow("conv_1", "team:red", "gpt", "internal", 1.0)
    store.add_kept([row])
    store.add_kept([row._replace(tenant="team:blue", sensitivity="public", time=2.0)])
    assert store.kept("conv_1") == row
    newer = row._replace(sensitivity="restricted", time=3.0)
    store.add_kept([newer])
    assert store.kept("conv_1") == newer


def test_kept_answers_are_forgotten_one_by_one_or_when_they_are_old(store: Store) -> None:
    store.add_kept([KeptRow(f"resp_{time}", "key:ann", "gpt", "internal", float(time)) for time in range(4)])
    store.forget_kept("resp_3")
    assert store.expire_kept(2.0) == 2
    assert [store.kept(f"resp_{time}") is not None for time in range(4)] == [False, False, True, False]


# -- what people changed ------------------------------------------------------------------------------------------


def change(id: str, time: float, **fields: object) -> AuditRow:
    made = AuditRow(id, time, "admin", "admin", None, "key.edited", "keys/a", None, '{"a": "\\u0000", "b": 1}')
    return made._replace(**fields)  # type: ignore[arg-type]


def test_changes_are_kept_once_and_listed_the_newest_first(store: Store) -> None:
    rows = [change("a", 1.0), change("b", 2.0, who="ada", team="sales"), change("c", 2.0, before="null")]
    store.add_audit(rows)
    store.add_audit([change("b", 2.0, who="eve")])
    assert store.audit((), None, 10) == rows[::-1]
    assert store.audit((), None, 2) == [rows[2], rows[1]]
    assert store.audit((), (2.0, "c"), 10) == [rows[1], rows[0]]
    assert store.audit([("who", "ada"), ("team", "sales")], None, 10) == [rows[1]]
    assert store.audit([("who", "no\0body")], None, 10) == []
    with pytest.raises(ValueError, match="no filter"):
        store.audit([("after", "x")], None, 10)


# -- keys in full, notices --------------------------------------------------------------------------

FULL = KeyRow(
    hash="sha256:" + "a" * 64,
    name="full",
    team="red",
    tags=(("a", "b"),),
    models=("chat",),
    created_at=5.0,
    role="owner",
    budgets=(Budget(10**9, "month", "Europe/Berlin", (50, 80), None), Budget(1, "hour")),
    limits=RateLimits(calls_per_minute=5, in_flight=2),
    previous_hash="sha256:" + "b" * 64,
    previous_until=1234.5,
)


def test_a_key_comes_back_as_it_was(store: Store) -> None:
    store.add_key(FULL)
    assert store.keys() == [FULL]


def test_a_key_is_changed_only_where_it_is_still_as_it_was(store: Store) -> None:
    store.add_key(FULL)
    version = store.keys_version()
    changed = msgspec.structs.replace(FULL, hash="sha256:" + "c" * 64, budgets=(), previous_until=None, team=None)
    assert store.replace_key(FULL, changed)
    assert not store.replace_key(FULL, msgspec.structs.replace(FULL, user="late"))
    assert store.keys() == [changed]
    assert store.keys_version() > version
    store.add_key(KeyRow(hash=FULL.hash, name="other"))
    with pytest.raises(ValueError, match="another key"):
        store.replace_key(changed, msgspec.structs.replace(changed, hash=FULL.hash))
    assert store.delete_key("full")
    assert not store.delete_key("full")
    (left,) = store.keys()
    assert left.name == "other"


def test_a_notice_is_made_once_and_waits_until_it_is_closed(store: Store) -> None:
    first, second = NoticeRow("a", '{"a": 1}', 2.0), NoticeRow("b", "{}", 1.0)
    assert [store.add_notice(each) for each in (first, second, first)] == [True, True, False]
    assert store.waiting_notices() == [second, first]
    store.close_notice("b", 9.0)
    assert store.waiting_notices() == [first]
    store.expire_notices(3.0)
    assert store.waiting_notices() == [first]  # what waits does not go
    assert [store.add_notice(each) for each in (first, second)] == [False, True]
