"""The embedded store: one SQLite file in WAL mode, one writing connection, one reading.

Its tables are made by the numbered files of `migrations/sqlite/`; `PRAGMA user_version` holds the last that was
applied.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.core.money import Price
from gateway.state import audit, sql
from gateway.state.audit import AuditRow
from gateway.state.protocols import KeptRow, KeyRow, ReceiptRow, RowRefused, StoreUnavailable, Totals
from gateway.state.revisions import SqlRevisions

_T = TypeVar("_T")

_MIGRATIONS: Final = sql.MIGRATIONS / "sqlite"
_BUSY_S: Final = 5.0

# Times are cut to the second first: SQLite rounds to the millisecond, and so into the next hour.
_SPELLING: Final = sql.Spelling(
    place="?",
    hour="strftime('%Y-%m-%dT%H:00Z', CAST(time AS INTEGER), 'unixepoch')",
    day="strftime('%Y-%m-%d', CAST(time AS INTEGER), 'unixepoch')",
    month="strftime('%Y-%m', CAST(time AS INTEGER), 'unixepoch')",
    tag="(SELECT value FROM json_each(tags) WHERE json_each.key = ?)",
)
_ADD_KEPT: Final = sql.add_kept_statement(_SPELLING)
_ADD_AUDIT: Final = audit.add_statement(_SPELLING)
_ROWS_AT_ONCE: Final = 64
_ROW: Final = f"({_SPELLING.places(len(ReceiptRow._fields))})"
_ADD_RECEIPT: Final = f"INSERT INTO receipts VALUES {_ROW} ON CONFLICT DO NOTHING"
_ADD_RECEIPTS: Final = f"INSERT INTO receipts VALUES {', '.join([_ROW] * _ROWS_AT_ONCE)} ON CONFLICT DO NOTHING"


class SqliteStore(SqlRevisions):
    """Receipts, prices, keys, configs and what providers keep in one file (a Store); usable from any thread.

    Opening it applies the migrations it lacks. Raises StoreUnavailable where the file cannot be used, and ConfigError
    where a newer Headgate wrote it.
    """

    _place = _SPELLING.place
    _one_in = "rowid % {every} = 0"  # the index by time holds it: no receipt is read to be left out

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with _mapped():
            _make_private(path)
            self._writer = _connect(path)
            _switch_to_wal(self._writer)
            # A journal segment is deleted once its rows are committed: a commit must then outlive a power cut.
            self._writer.execute("PRAGMA synchronous = FULL")
            _migrate(self._writer, path)
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only = 1")

    def close(self) -> None:
        """Closes both connections."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    # -- receipts and prices --------------------------------------------------------------------------------------

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably; a receipt that is there already stays as it is. Raises RowRefused."""
        held = list(rows)

        def add(connection: sqlite3.Connection) -> None:
            # Each step of a statement hands the interpreter's lock over and takes it back; many rows a statement
            # make fewer steps (6.7 us of CPU a row instead of 7.7, alone on a core).
            whole = len(held) - len(held) % _ROWS_AT_ONCE
            for start in range(0, whole, _ROWS_AT_ONCE):
                connection.execute(_ADD_RECEIPTS, list(chain.from_iterable(held[start : start + _ROWS_AT_ONCE])))
            connection.executemany(_ADD_RECEIPT, held[whole:])

        self._write(add)

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        for (body,) in self._read("SELECT body FROM receipts WHERE id = ?", (id,)):
            return str(body).encode()
        return None

    def totals(self, group_by: str, since: float, until: float, where: Sequence[tuple[str, str]] = ()) -> list[Totals]:
        """Sums receipts of [since, until) by one of GROUPS or a tag, in the order of the groups; raises ValueError."""
        return [sql.totals_of(row) for row in self._read(*sql.totals_query(_SPELLING, group_by, since, until, where))]

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keeps prices by version, their service tiers' too."""
        rows = sql.price_values(prices)
        statement = "INSERT INTO prices VALUES (?, ?) ON CONFLICT DO NOTHING"
        self._write(lambda connection: connection.executemany(statement, rows))

    def price(self, version: str) -> Price | None:
        """Returns a price that was kept."""
        for (body,) in self._read("SELECT body FROM prices WHERE version = ?", (version,)):
            return sql.price_of(body)
        return None

    # -- keys -----------------------------------------------------------------------------------------------------

    def keys(self) -> list[KeyRow]:
        """Returns all keys, oldest first."""
        rows = self._read(f"SELECT {sql.KEY_COLUMNS} FROM keys ORDER BY created_at, name", ())
        return [sql.key_of(row) for row in rows]

    def add_key(self, key: KeyRow) -> None:
        """Adds a key; raises ValueError where its name or hash is taken."""
        values = sql.key_values(key)
        statement = (
            f"INSERT INTO keys ({sql.KEY_COLUMNS}) VALUES ({_SPELLING.places(len(values))}) ON CONFLICT DO NOTHING"
        )
        if self._write(lambda connection: connection.execute(statement, values).rowcount) == 0:
            raise ValueError(f"there is a key named {key.name!r} already")

    def enable_key(self, name: str, enabled: bool) -> bool:
        """Switches a key on or off; returns whether there is one of that name."""
        statement = "UPDATE keys SET enabled = ? WHERE name = ?"
        return self._write(lambda connection: connection.execute(statement, (enabled, name)).rowcount) == 1

    def keys_version(self) -> int:
        """Returns a number that grows with every change of a key, by whichever process."""
        version: int = self._read("SELECT version FROM keys_version", ())[0][0]
        return version

    # -- what providers keep --------------------------------------------------------------------------------------

    def add_kept(self, rows: Iterable[KeptRow]) -> None:
        """Adds ids; one that is there already keeps its tenant, and takes that tenant's newer level and time."""
        held = list(rows)
        self._write(lambda connection: connection.executemany(_ADD_KEPT, held))

    def kept(self, id: str) -> KeptRow | None:
        """Returns what is known of an id."""
        for row in self._read(f"SELECT {sql.KEPT_COLUMNS} FROM kept_answers WHERE id = ?", (id,)):
            return KeptRow._make(row)
        return None

    def forget_kept(self, id: str) -> None:
        """Forgets an id."""
        self._write(lambda connection: connection.execute("DELETE FROM kept_answers WHERE id = ?", (id,)))

    def expire_kept(self, before: float) -> int:
        """Forgets what is older; returns how many ids."""
        statement = "DELETE FROM kept_answers WHERE time < ?"
        return self._write(lambda connection: connection.execute(statement, (before,)).rowcount)

    # -- what people changed --------------------------------------------------------------------------------------

    def add_audit(self, rows: Iterable[AuditRow]) -> None:
        """Adds rows, all or none; one that is there already stays as it is."""
        held = list(rows)
        self._write(lambda connection: connection.executemany(_ADD_AUDIT, held))

    def audit(self, where: Sequence[tuple[str, str]], before: tuple[float, str] | None, limit: int) -> list[AuditRow]:
        """Returns the newest first: those that match all (filter, value) pairs, older than the (time, id) `before`."""
        return [AuditRow._make(row) for row in self._read(*audit.query(_SPELLING, where, before, limit))]

    # -- connections ----------------------------------------------------------------------------------------------

    def _write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._write_lock, _mapped(), _transaction(self._writer):
            return change(self._writer)

    def _change(self, statement: str, values: Sequence[object]) -> int:
        """Returns how many rows were changed."""
        return self._write(lambda connection: connection.execute(statement, values).rowcount)

    def _read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._read_lock, _mapped():
            return self._reader.execute(statement, values).fetchall()


@contextmanager
def _mapped() -> Iterator[None]:
    """Tells a store that is away from a row that it refuses."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError) as error:
        raise RowRefused(f"the SQLite store: {error}") from error
    except sqlite3.Error as error:
        raise StoreUnavailable(f"the SQLite store: {error}") from error


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _make_private(path: Path) -> None:
    """Makes a file that only its owner reads: it holds who asked what, when; SQLite's other files take its mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnavailable(f"the SQLite store {path}: {error.strerror}") from error


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Puts a file into WAL mode; SQLite does not wait for another process that does the same, so this does."""
    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Applies the migrations that a file lacks, in one transaction: it has all of them or is as it was."""
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        scripts = sql.lacking(version, _MIGRATIONS, str(path))
        for script in scripts:
            for statement in _statements(script.read_text()):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version + len(scripts)}")


def _statements(script: str) -> Iterator[str]:
    """Splits a script; `executescript` would commit the transaction that this runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
