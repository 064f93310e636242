"""What is PostgreSQL's own about the shared store: a server that is paused, killed, full of others, or not ours."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest

from gateway.accounting.journal import Journal
from gateway.accounting.ledger import Ledger
from gateway.accounting.mover import Mover
from gateway.accounting.receipts import Opening, Receipt, row_of
from gateway.core.errors import ConfigError
from gateway.core.money import BUCKETS
from gateway.state import postgres, postgres_session, sql
from gateway.state.books import DIMENSIONS
from gateway.state.postgres import PostgresStore
from gateway.state.protocols import KeyRow, ReceiptRow, RowRefused, StoreUnavailable
from gateway.state.sqlite import SqliteStore
from tests.gateway.state.asking import totals
from tests.gateway.state.servers import PostgresServer, postgres_server
from tests.patience import WITHIN_S

LATE_S = 9.0  # a writer's own deadline is 10 s, a reader's 30


@pytest.fixture(scope="module")
def frail() -> Iterator[PostgresServer]:
    """A server that this module's tests may pause and kill."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


@contextmanager
def impatient() -> Iterator[None]:
    """Deadlines that a test can wait for, while nothing has to come within them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(postgres, "WRITE_S", 0.3)
        patched.setattr(postgres, "READ_S", 0.3)
        patched.setattr(postgres_session, "GRACE_S", 0.2)
        yield


@contextmanager
def paused(server: PostgresServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def receipt(id: str, **fields: object) -> Receipt:
    return Receipt(**{"id": id, "key": "alice", "time": 1.0, "status": 200, "cost_nano": 5, **fields})  # type: ignore[arg-type]


def row(id: str, **fields: object) -> ReceiptRow:
    return row_of(msgspec.json.encode(receipt(id, **fields)))


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


# -- sums ---------------------------------------------------------------------------------------------------------


def test_every_sum_is_the_one_that_sqlite_gives(store: PostgresStore, tmp_path: Path) -> None:
    dice = random.Random(11)

    def maybe(*words: str) -> str | None:
        return dice.choice([None, *words])

    rows = [
        row(
            f"call-{number}",
            time=dice.choice([dice.uniform(0, 2e9), dice.randrange(500_000) * 3600 - dice.choice([0, 1e-4, 1e-6])]),
            key=dice.choice(["alice", "Bob"]),
            status=dice.choice([200, 400, 499, 502]),
            team=maybe("sales", "Ärzte", "sales ", ""),
            user=maybe("u1", "u2"),
            tags=dice.choice([(), (("project", "x"),), (("a b", "Y"), ("project", "")), (("project", "Y"),)]),
            route=maybe("chat"),
            deployment=maybe("gpt", "haiku"),
            provider=maybe("openai"),
            model=maybe("auto", "né"),
            sensitivity=maybe("public", "internal"),
            tokens={bucket: dice.randrange(10**12) for bucket in dice.choices(BUCKETS, k=3)},
            cost_nano=dice.choice([None, 0, 1, dice.randrange(10**15)]),
            saved_nano=dice.choice([None, dice.randrange(10**15)]),
            estimated=dice.random() < 0.2,
            cache=dice.choice(["-", "hit", "miss"]),
        )
        for number in range(2000)
    ]
    embedded = SqliteStore(tmp_path / "headgate.db")
    for each in (store, embedded):
        each.add_receipts(rows)
    for group in (*DIMENSIONS, "tag:project", "tag:a b", "tag:nobody has this"):
        ours, theirs = (totals(each, group, 1e6, 1.9e9, [("key", "Bob")]) for each in (store, embedded))
        assert ours == theirs
        assert sum(total.nano_usd for total in ours) > 0
    embedded.close()


def test_a_tag_s_nul_is_stored_as_what_stands_for_it(store: PostgresStore) -> None:
    store.add_receipts([row("a", tags=(("pro\0ject", "x\0"),))])
    (total,) = totals(store, "tag:pro\0ject", 0, 10, [("tag:pro\0ject", "x\0")])
    assert (total.group, total.calls) == ("x\ufffd", 1)


def test_a_receipt_can_be_asked_in_sql(store: PostgresStore, url: str) -> None:
    store.add_receipts([row("a", decision={"pick": "cheapest"}, tags=(("project", "crm"),))])
    found = query(url, "SELECT body #>> '{decision,pick}' FROM receipts WHERE tags @> '{\"project\": \"crm\"}'")
    assert found == [("cheapest",)]


# -- opening ------------------------------------------------------------------------------------------------------


def test_many_gateways_that_start_together_make_one_schema(url: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(PostgresStore, [url] * 8))
    newest = max(int(script.name[:4]) for script in (sql.MIGRATIONS / "postgres").iterdir())
    assert query(url, "SELECT version FROM schema_version") == [(newest,)]
    for each in stores:
        each.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for script in postgres._MIGRATIONS.iterdir():
        (tmp_path / script.name).write_text(script.read_text())
    (tmp_path / "0002_second.sql").write_text("CREATE TABLE second (a text); CREATE TABLE receipts (a text);")
    monkeypatch.setattr(postgres, "_MIGRATIONS", tmp_path)
    with pytest.raises(StoreUnavailable, match="already exists"):
        PostgresStore(url)
    assert query(url, "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'") == [(0,)]


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    PostgresStore(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(ConfigError, match="newer Headgate"):
        PostgresStore(url)


def test_a_database_that_cannot_hold_every_text_is_refused(server: PostgresServer) -> None:
    url = server.new_database("ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(ConfigError, match="SQL_ASCII"):
        PostgresStore(url)


def test_who_may_not_make_tables_hears_of_it_at_the_start(server: PostgresServer, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN; REVOKE CREATE ON SCHEMA public FROM public")
    with pytest.raises(StoreUnavailable, match="permission denied"):
        PostgresStore(url.replace("headgate@", "guest@"))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP ROLE guest")


def test_a_server_that_is_not_there_says_so_without_the_password() -> None:
    with pytest.raises(StoreUnavailable, match="refused") as refused:
        PostgresStore("postgresql://me:hidden@127.0.0.1:9/headgate")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://me:hidd%zzen@db/headgate", "postgresql://me@db/x?hidden=1"])
def test_a_url_that_is_none_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="postgresql://user:password@host") as refused:
        PostgresStore(url)
    assert "hid" not in str(refused.value)


def test_what_a_server_quotes_of_a_row_is_not_passed_on(store: PostgresStore) -> None:
    with pytest.raises(RowRefused) as refused:
        store.add_receipts([row("a")._replace(body='{"secret')])
    assert "secret" not in str(refused.value)


# -- a server in trouble ------------------------------------------------------------------------------------------


def test_a_paused_server_holds_nobody_up_and_is_used_again_when_it_goes_on(frail: PostgresServer) -> None:
    store = PostgresStore(frail.new_database() + "&connect_timeout=2")
    store.add_receipts([row("a")])
    store.keys()
    with paused(frail), impatient():
        for use in (lambda: store.add_receipts([row("b")]), store.keys):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable, match="no answer within"):
                use()
            assert time.monotonic() - started < LATE_S
        started = time.monotonic()
        with pytest.raises(StoreUnavailable, match="timeout"):
            store.keys()  # connects anew, and is not answered either
        assert time.monotonic() - started < LATE_S
    store.add_receipts([row("b")])
    assert store.receipt("b") is not None
    assert sum(total.calls for total in totals(store, "key", 0, 10)) == 2
    store.close()


def test_those_who_wait_for_a_paused_server_do_not_queue_up_for_ever(frail: PostgresServer) -> None:
    store = PostgresStore(frail.new_database())
    store.keys()
    with paused(frail), impatient():
        started = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            errors = [asked.exception() for asked in [threads.submit(store.keys) for _ in range(8)]]
        assert time.monotonic() - started < LATE_S
        assert {type(error) for error in errors} == {StoreUnavailable}
    store.close()


def test_a_server_that_was_restarted_is_not_missed(frail: PostgresServer) -> None:
    store = PostgresStore(frail.new_database())
    store.add_key(KeyRow(hash="sha256:1", name="alice"))
    assert len(store.keys()) == 1
    frail.stop()
    frail.start()
    assert len(store.keys()) == 1
    assert store.enable_key("alice", False)
    frail.stop()
    with pytest.raises(StoreUnavailable):
        store.keys()
    frail.start()
    assert len(store.keys()) == 1
    store.close()


def test_a_connection_that_an_operator_ends_is_made_again(store: PostgresStore, url: str) -> None:
    store.add_receipts([row("a")])
    store.keys()
    query(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headgate'")
    store.add_receipts([row("b")])
    assert store.receipt("b") is not None


def test_a_locked_table_says_so_in_time_and_recovers(store: PostgresStore, url: str) -> None:
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE receipts")
        with impatient(), pytest.raises(StoreUnavailable, match="statement timeout"):
            store.add_receipts([row("a")])
    store.add_receipts([row("a")])
    assert store.receipt("a") is not None


def test_a_commit_outlives_a_power_cut_wherever_the_server_says_otherwise(url: str) -> None:
    store = PostgresStore(f"{url}&options=-c%20synchronous_commit%3Doff")
    with store._writer.transaction(1) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    store.close()


# -- under the mover ----------------------------------------------------------------------------------------------


def test_a_row_that_the_database_does_not_take_is_kept_apart_alone(store: PostgresStore, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", sync="off")
    for number in range(5):
        journal.close(receipt(f"a{number}"))
    journal.close(receipt("far", status=2**40))
    mover = Mover(journal, store)
    mover.move()
    assert sum(total.calls for total in totals(store, "key", 0, 10)) == 5
    assert mover.rejected == 1
    assert b'"far"' in (tmp_path / "journal" / "rejected").read_bytes()
    assert journal.size_bytes == 0
    journal.shut()


def test_nothing_is_lost_and_nothing_booked_twice_while_the_server_is_paused_and_killed(
    frail: PostgresServer, tmp_path: Path
) -> None:
    url = frail.new_database() + "&connect_timeout=2"
    store = PostgresStore(url)
    ledger = Ledger(Journal(tmp_path / "journal", sync="off"), store, move_every_s=0.001)
    ledger.mover.start()
    answered: list[str] = []
    done = threading.Event()

    def answer() -> None:
        while not done.is_set():
            id = f"call-{len(answered)}"
            ledger.open(Opening(id=id, time=1.0, key="alice"))
            ledger.close(receipt(id, cost_nano=len(answered)))
            answered.append(id)
            time.sleep(0.0002)

    calls = threading.Thread(target=answer)
    calls.start()
    dice = random.Random(3)
    try:
        with impatient():
            for _ in range(4):
                time.sleep(dice.uniform(0.05, 0.2))
                frail.kill()
                time.sleep(dice.uniform(0, 0.1))
                frail.start()
                time.sleep(dice.uniform(0.05, 0.2))
                with paused(frail):
                    time.sleep(dice.uniform(0.1, 0.7))
            deadline = time.monotonic() + WITHIN_S
            while len(answered) <= 500:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    finally:
        done.set()
        calls.join()
    ledger.mover.stop()
    ledger.mover.move()
    booked = query(url, "SELECT id, nano_usd FROM receipts")
    assert len(booked) == len(answered)
    assert dict(booked) == {id: number for number, id in enumerate(answered)}
    assert ledger.journal.size_bytes == 0
    ledger.stop()
    store.close()
