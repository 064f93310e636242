import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.receipts import Receipt, row_of
from gateway.core.errors import ConfigError
from gateway.core.money import FREE
from gateway.prices import price_from
from gateway.state import sqlite
from gateway.state.protocols import KeyRow, ReceiptRow, StoreUnavailable
from gateway.state.sqlite import SqliteStore, path_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def row(id: str, **fields: object) -> ReceiptRow:
    return row_of(msgspec.json.encode(Receipt(id=id, key="alice", **{"time": 1.0, "status": 200, **fields})))  # type: ignore[arg-type]


def test_a_receipt_is_found_by_its_id_as_it_was_written(store: SqliteStore) -> None:
    store.add_receipts([row("a", decision={"pick": "cheapest"}), row("b")])
    body = store.receipt("a")
    assert body is not None
    assert msgspec.json.decode(body)["decision"] == {"pick": "cheapest"}
    assert store.receipt("c") is None


def test_a_receipt_is_kept_once_and_the_first_holds(store: SqliteStore) -> None:
    store.add_receipts([row("a", cost_nano=5)])
    store.add_receipts([row("a", cost_nano=7), row("b", cost_nano=1)])
    (total,) = store.totals("key", 0, 10)
    assert (total.calls, total.nano_usd) == (2, 6)


def test_a_batch_is_added_whole_or_not_at_all(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.add_receipts([row("a"), row("b")._replace(status="no number")])  # type: ignore[arg-type]
    store.add_receipts([row("c")])
    assert store.receipt("a") is None


def test_sums_stay_exact_beyond_what_a_float_holds(store: SqliteStore) -> None:
    store.add_receipts([row(str(number), cost_nano=10**15 - 1) for number in range(100)])
    (total,) = store.totals("key", 0, 10)
    assert total.nano_usd == 100 * (10**15 - 1)


def test_a_span_of_time_is_half_open(store: SqliteStore) -> None:
    store.add_receipts([row("a", time=10.0), row("b", time=20.0)])
    assert [total.calls for total in store.totals("key", 10.0, 20.0)] == [1]


@pytest.mark.parametrize("name", ["project", 'quo"te', "it's", "$.a[0]", "naïve"])
def test_a_tag_of_any_name_can_be_summed_and_filtered_by(store: SqliteStore, name: str) -> None:
    store.add_receipts([row("a", tags=((name, "x"), ("other", "y"))), row("b", tags=(("other", "y"),)), row("c")])
    assert [(total.group, total.calls) for total in store.totals(f"tag:{name}", 0, 10)] == [(None, 2), ("x", 1)]
    assert [total.calls for total in store.totals("key", 0, 10, [(f"tag:{name}", "x")])] == [1]


def test_a_group_that_is_none_reaches_no_statement(store: SqliteStore) -> None:
    with pytest.raises(ValueError, match="no group"):
        store.totals("key; DROP TABLE receipts", 0, 10)


def test_prices_are_kept_by_version_with_those_of_their_service_tiers(store: SqliteStore) -> None:
    flex = price_from({"input": "0.5", "output": "1"})
    price = msgspec.structs.replace(price_from({"input": "1", "output": "2"}), service_tiers={"flex": flex})
    store.keep_prices([price, FREE])
    store.keep_prices([price])
    assert store.price(price.version) == price
    assert store.price(flex.version) == flex
    assert store.price("unheard of") is None


def test_a_key_comes_back_as_it_was_added(store: SqliteStore) -> None:
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
        created_at=1.0,
    )
    bare = KeyRow(hash="sha256:2", name="bob", created_at=2.0)
    store.add_key(bare)
    store.add_key(full)
    assert store.keys() == [full, bare]


@pytest.mark.parametrize("again", [KeyRow(hash="sha256:1", name="bob"), KeyRow(hash="sha256:2", name="alice")])
def test_a_key_s_name_and_hash_are_its_own(store: SqliteStore, again: KeyRow) -> None:
    store.add_key(KeyRow(hash="sha256:1", name="alice"))
    with pytest.raises(ValueError, match="already"):
        store.add_key(again)


def test_a_change_of_keys_by_another_process_is_noticed(store: SqliteStore, tmp_path: Path) -> None:
    before = store.keys_version()
    other = SqliteStore(tmp_path / "headgate.db")
    other.add_key(KeyRow(hash="sha256:1", name="alice"))
    assert store.keys_version() == before + 1
    assert other.enable_key("alice", False)
    assert not other.enable_key("bob", False)
    other.close()
    assert store.keys_version() == before + 2
    assert not store.keys()[0].enabled


def test_two_processes_that_start_together_make_one_schema(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from gateway.state import sqlite; sqlite.SqliteStore(Path(sys.argv[1]))"
    )
    path = str(tmp_path / "headgate.db")
    both = [subprocess.Popen([sys.executable, "-c", script, path]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations = tmp_path / "migrations"
    migrations.mkdir()
    (migrations / "0001_first.sql").write_text("CREATE TABLE first (a TEXT);\n")
    (migrations / "0002_second.sql").write_text("CREATE TABLE second (a TEXT);\nCREATE TABLE first (a TEXT);\n")
    monkeypatch.setattr(sqlite, "_MIGRATIONS", migrations)
    with pytest.raises(StoreUnavailable, match="already exists"):
        SqliteStore(tmp_path / "headgate.db")
    with sqlite3.connect(tmp_path / "headgate.db") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()


def test_a_file_from_a_newer_version_is_refused(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "headgate.db").close()
    connection = sqlite3.connect(tmp_path / "headgate.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer Headgate"):
        SqliteStore(tmp_path / "headgate.db")


def test_a_store_that_is_away_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="No such file"):
        SqliteStore(tmp_path / "nowhere" / "headgate.db")
    (tmp_path / "text.db").write_text("this is no database, it is a text long enough to be read as a header" * 10)
    with pytest.raises(StoreUnavailable, match="not a database"):
        SqliteStore(tmp_path / "text.db")


def test_a_locked_store_says_so_and_recovers(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_S", 0.01)
    impatient = SqliteStore(tmp_path / "headgate.db")
    other = sqlite3.connect(tmp_path / "headgate.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="locked"):
        impatient.add_receipts([row("a")])
    other.execute("ROLLBACK")
    impatient.add_receipts([row("a")])
    assert store.receipt("a") is not None
    other.close()
    impatient.close()


def test_only_the_owner_reads_the_file(store: SqliteStore, tmp_path: Path) -> None:
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}


@pytest.mark.parametrize(
    ("url", "path"),
    [("sqlite:///headgate.db", "headgate.db"), ("sqlite:////var/lib/headgate.db", "/var/lib/headgate.db")],
)
def test_a_url_names_a_file(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://headgate.db", "sqlite:///", "postgresql://x/y"])
def test_a_url_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///"):
        path_of(url)
