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
from gateway.state import audit, cubes, rollups, sql
from gateway.state.audit import AuditRow
from gateway.state.books import LogQuestion, LogRow, Question, Summed
from gateway.state.protocols import KeptRow, KeyRow, NoticeRow, ReceiptRow, RowRefused, StoreUnavailable
from gateway.state.revisions import SqlRevisions

_T = TypeVar("_T")

_MIGRATIONS: Final = sql.MIGRATIONS / "sqlite"
_BUSY_S: Final = 5.0

_SPELLING: Final = sql.Spelling(
    place="?",
    tag="(SELECT value FROM json_each(facets.tags) WHERE json_each.key = ?)",
    quarter="CAST(time AS INTEGER) / 900 * 900",
    join="CROSS JOIN",
    same="IS",
)
_ADD_KEPT: Final = sql.add_kept_statement(_SPELLING)
_ADD_AUDIT: Final = audit.add_statement(_SPELLING)
_ROWS_AT_ONCE: Final = 64
_ROW: Final = f"({_SPELLING.places(len(ReceiptRow._fields) + 1)})"  # and its facet
_ADD_RECEIPT: Final = f"INSERT INTO receipts VALUES {_ROW} ON CONFLICT DO NOTHING"
_ADD_RECEIPTS: Final = f"INSERT INTO receipts VALUES {', '.join([_ROW] * _ROWS_AT_ONCE)} ON CONFLICT DO NOTHING"
_ADDED: Final = "receipts WHERE rowid > ?"  # this transaction's alone: a new row takes the number after the last
_COUNT: Final = (
    cubes.count_statement(_SPELLING.quarter, _ADDED),
    *(cubes.stale_statement(_SPELLING.quarter, grain, _ADDED) for grain in cubes.GRAINS),
)


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
        self._facets = cubes.Facets(_SPELLING.places)
        with _mapped():
            _make_private(path)
            self._writer = _connect(path)
            _switch_to_wal(self._writer)
            # A journal segment is deleted once its rows are committed: a commit must then outlive a power cut.
            self._writer.execute("PRAGMA synchronous = FULL")
            _migrate(self._writer, path)
            self._adopt()
            self._reader = _connect(path)
            self._reader.execute("PRAGMA query_only = 1")

    def close(self) -> None:
        """Closes both connections."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()

    # -- receipts and prices --------------------------------------------------------------------------------------

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably, and counts them; a receipt that is there already stays. Raises RowRefused."""
        held = list(rows)
        if not held:
            return

        def add(connection: sqlite3.Connection) -> cubes.Found:
            found = self._facets.find([row[2:11] for row in held], _executing(connection))
            faceted = [(*row, found.whole[row[2:11]]) for row in held]
            (last,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM receipts").fetchone()
            # Each step of a statement hands the interpreter's lock over and takes it back; many rows a statement
            # make fewer steps (6.7 us of CPU a row instead of 7.7, alone on a core).
            whole = len(held) - len(held) % _ROWS_AT_ONCE
            for start in range(0, whole, _ROWS_AT_ONCE):
                connection.execute(_ADD_RECEIPTS, list(chain.from_iterable(faceted[start : start + _ROWS_AT_ONCE])))
            connection.executemany(_ADD_RECEIPT, faceted[whole:])
            for statement in _COUNT:
                connection.execute(statement, (last,))
            return found

        self._facets.keep(self._write(add))

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        for (body,) in self._read("SELECT body FROM receipts WHERE id = ?", (id,)):
            return str(body).encode()
        return None

    def sums(self, question: Question) -> list[Summed]:
        """Sums receipts by spans of time and by dimensions, in no order; raises ValueError for one that is none."""
        with self._read_lock, _mapped(), _transaction(self._reader, "BEGIN"):
            execute = _executing(self._reader)
            read = rollups.reading(_SPELLING, question, cubes.stale(execute))
            rows = execute(read.statement, read.values)
        return rollups.summed(question, read, rows)

    def log(self, question: LogQuestion) -> list[LogRow]:
        """Lists receipts, the newest first."""
        statement, values = rollups.log_statement(_SPELLING, question, rollups.matching(question, self.sums))
        return [LogRow._make(row) for row in self._read(statement, values)]

    def fold_rollups(self, before: float) -> bool:
        """Folds one hour's or day's sums that was over before a moment; returns whether there was one to fold."""
        if not self._read(cubes.waiting(before), ()):
            return False
        return self._write(lambda connection: cubes.fold(before, _executing(connection)))

    def rebuild_rollups(self) -> None:
        """Makes all sums anew from the receipts that are there; other writers wait."""
        self._write(lambda connection: cubes.recount(_SPELLING.quarter, _executing(connection)))

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

    def replace_key(self, before: KeyRow, after: KeyRow) -> bool:
        """Puts a key in the place of itself; returns whether it was still as it was `before`.

        Raises ValueError where another key has its hash.
        """
        statement, values = sql.replace_key_statement(_SPELLING, before, after)
        try:
            return self._change(statement, values) == 1
        except RowRefused:
            raise ValueError("another key has this hash") from None

    def delete_key(self, name: str) -> bool:
        """Forgets a key; returns whether there was one of that name."""
        return self._change("DELETE FROM keys WHERE name = ?", (name,)) == 1

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

    def _adopt(self) -> None:
        """Counts the receipts of a file from before there were sums."""
        if not self._writer.execute("SELECT 1 FROM receipts WHERE facet IS NULL LIMIT 1").fetchone():
            return
        with _transaction(self._writer):
            execute = _executing(self._writer)
            cubes.adopt(self._facets, _SPELLING.place, execute, _executing_many(self._writer))
            cubes.recount(_SPELLING.quarter, execute)

    # -- notices --------------------------------------------------------------------------------------------------

    def add_notice(self, notice: NoticeRow) -> bool:
        """Keeps a notice; returns whether it is new."""
        return (
            self._change(f"INSERT INTO notices VALUES ({_SPELLING.places(3)}, NULL) ON CONFLICT DO NOTHING", notice)
            == 1
        )

    def waiting_notices(self) -> list[NoticeRow]:
        """Returns the notices that were not closed, oldest first."""
        rows = self._read('SELECT id, body, "time" FROM notices WHERE closed_at IS NULL ORDER BY "time", id', ())
        return [NoticeRow._make(row) for row in rows]

    def close_notice(self, id: str, time: float) -> None:
        """Notes that nothing more is to be done for a notice."""
        self._change("UPDATE notices SET closed_at = ? WHERE id = ?", (time, id))

    def expire_notices(self, before: float) -> None:
        """Forgets closed notices that are older."""
        self._change('DELETE FROM notices WHERE closed_at IS NOT NULL AND "time" < ?', (before,))

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


def _executing(connection: sqlite3.Connection) -> cubes.Execute:
    return lambda statement, values: connection.execute(statement, values).fetchall()


def _executing_many(connection: sqlite3.Connection) -> cubes.ExecuteMany:
    return lambda statement, rows: connection.executemany(statement, rows)


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    connection.execute(begin)
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
        for number, script in scripts:
            for statement in _statements(script.read_text()):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """Splits a script; `executescript` would commit the transaction that this runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
