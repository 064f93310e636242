"""What is SQLite's own about the embedded store: the file, its lock, its schema."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.receipts import Receipt, row_of
from gateway.core.errors import ConfigError
from gateway.state import sqlite
from gateway.state.protocols import ReceiptRow, StoreUnavailable
from gateway.state.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def row(id: str, **fields: object) -> ReceiptRow:
    return row_of(msgspec.json.encode(Receipt(id=id, key="alice", **{"time": 1.0, "status": 200, **fields})))  # type: ignore[arg-type]


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
