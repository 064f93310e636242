"""The embedded store: one SQLite file in WAL mode, one writing connection, one reading.

Its tables are made by the numbered files of `migrations/`; `PRAGMA user_version` holds the last that was applied.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from gateway.core.errors import ConfigError
from gateway.core.money import BUCKETS, Price
from gateway.core.types import Tags
from gateway.state.protocols import GROUPS, TAG, KeyRow, ReceiptRow, StoreUnavailable, Totals

_T = TypeVar("_T")

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_S: Final = 5.0

_INSERT: Final = f"INSERT OR IGNORE INTO receipts VALUES ({', '.join('?' * len(ReceiptRow._fields))})"
_KEY_COLUMNS: Final = "hash, name, team, user, tags, models, routes, sensitivity, expires_at, enabled, created_at"

# group -> the expression it groups by; times in UTC
_BY: Final = {
    "hour": "strftime('%Y-%m-%dT%H:00Z', time, 'unixepoch')",
    "day": "strftime('%Y-%m-%d', time, 'unixepoch')",
    "month": "strftime('%Y-%m', time, 'unixepoch')",
} | {column: column for column in GROUPS if column not in ("hour", "day", "month")}
_BY_TAG: Final = "(SELECT value FROM json_each(tags) WHERE json_each.key = ?)"

_SUMS: Final = ", ".join(
    [
        "count(*)",
        "sum(status >= 400)",
        "sum(cached)",
        "sum(unpriced)",
        *[f"sum({bucket})" for bucket in BUCKETS],
        "sum(nano_usd)",
        "sum(saved_nano)",
        "sum(CASE WHEN estimated THEN nano_usd ELSE 0 END)",
    ]
)


class SqliteStore:
    """Receipts, prices and keys in one file (a ReceiptStore and a KeyStore); usable from any thread.

    Opening it applies the migrations it lacks. Raises StoreUnavailable where the file cannot be used, and ConfigError
    where a newer Headgate wrote it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        with _mapped():
            _make_private(path)
            self._writer = _connect(path)
            self._writer.execute("PRAGMA journal_mode = WAL")
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
        """Adds all or none, durably; a receipt that is there already stays as it is."""
        self._write(lambda connection: connection.executemany(_INSERT, rows))

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        for (body,) in self._read("SELECT body FROM receipts WHERE id = ?", (id,)):
            return str(body).encode()
        return None

    def totals(self, group_by: str, since: float, until: float, where: Sequence[tuple[str, str]] = ()) -> list[Totals]:
        """Sums receipts of [since, until) by one of GROUPS or a tag, in the order of the groups; raises ValueError."""
        group, group_values = _expression(group_by)
        conditions = ["time >= ?", "time < ?"]
        values: list[object] = [since, until]
        for name, value in where:
            expression, expression_values = _expression(name)
            conditions.append(f"{expression} = ?")
            values += [*expression_values, value]
        statement = f"SELECT {group}, {_SUMS} FROM receipts WHERE {' AND '.join(conditions)} GROUP BY 1 ORDER BY 1"
        return [Totals(*row) for row in self._read(statement, [*group_values, *values])]

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keeps prices by version, their service tiers' too."""
        every = {kept.version: kept for price in prices for kept in (price, *price.service_tiers.values())}
        rows = [(version, msgspec.json.encode(price).decode()) for version, price in every.items()]
        self._write(lambda connection: connection.executemany("INSERT OR IGNORE INTO prices VALUES (?, ?)", rows))

    def price(self, version: str) -> Price | None:
        """Returns a price that was kept."""
        for (body,) in self._read("SELECT body FROM prices WHERE version = ?", (version,)):
            return msgspec.json.decode(body, type=Price)
        return None

    # -- keys -----------------------------------------------------------------------------------------------------

    def keys(self) -> list[KeyRow]:
        """Returns all keys, oldest first."""
        rows = self._read(f"SELECT {_KEY_COLUMNS} FROM keys ORDER BY created_at, name", ())
        return [_key(row) for row in rows]

    def add_key(self, key: KeyRow) -> None:
        """Adds a key; raises ValueError where its name or hash is taken."""
        row = (
            key.hash,
            key.name,
            key.team,
            key.user,
            _json(key.tags),
            None if key.models is None else _json(key.models),
            None if key.routes is None else _json(key.routes),
            key.sensitivity,
            key.expires_at,
            key.enabled,
            key.created_at,
        )
        statement = f"INSERT INTO keys ({_KEY_COLUMNS}) VALUES ({', '.join('?' * len(row))})"
        try:
            self._write(lambda connection: connection.execute(statement, row))
        except sqlite3.IntegrityError:
            raise ValueError(f"there is a key named {key.name!r} already") from None

    def enable_key(self, name: str, enabled: bool) -> bool:
        """Switches a key on or off; returns whether there is one of that name."""
        statement = "UPDATE keys SET enabled = ? WHERE name = ?"
        return self._write(lambda connection: connection.execute(statement, (enabled, name)).rowcount) == 1

    def keys_version(self) -> int:
        """Returns a number that grows with every change of a key, by whichever process."""
        version: int = self._read("SELECT version FROM keys_version", ())[0][0]
        return version

    # -- connections ----------------------------------------------------------------------------------------------

    def _write(self, change: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._write_lock, _mapped(), _transaction(self._writer):
            return change(self._writer)

    def _read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._read_lock, _mapped():
            return self._reader.execute(statement, values).fetchall()


def path_of(url: str) -> Path:
    """Returns the file of a store's URL: `sqlite:///headgate.db` is relative, `sqlite:////var/…` absolute."""
    if not url.startswith("sqlite:///") or url == "sqlite:///":
        raise ValueError(f"{url!r} is no store: write sqlite:///headgate.db")
    return Path(url.removeprefix("sqlite:///"))


@contextmanager
def _mapped() -> Iterator[None]:
    """Tells a store that is away from a row that it refuses."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
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


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Applies the migrations that a file lacks, in one transaction: it has all of them or is as it was."""
    scripts = sorted(_MIGRATIONS.glob("*.sql"))
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(scripts):
            raise ConfigError(
                [f"{path}: written by a newer Headgate (schema {version}, this one knows {len(scripts)})"]
            )
        for script in scripts[version:]:
            for statement in _statements(script.read_text()):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")


def _statements(script: str) -> Iterator[str]:
    """Splits a script; `executescript` would commit the transaction that this runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _expression(group: str) -> tuple[str, list[object]]:
    if group in _BY:
        return _BY[group], []
    if group.startswith(TAG):
        return _BY_TAG, [group.removeprefix(TAG)]
    raise ValueError(f"{group!r} is no group: {', '.join(GROUPS)} or {TAG}NAME")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _key(row: Sequence[Any]) -> KeyRow:
    hash, name, team, user, tags, models, routes, sensitivity, expires_at, enabled, created_at = row
    return KeyRow(
        hash=hash,
        name=name,
        team=team,
        user=user,
        tags=msgspec.json.decode(tags, type=Tags),
        models=None if models is None else msgspec.json.decode(models, type=tuple[str, ...]),
        routes=None if routes is None else msgspec.json.decode(routes, type=tuple[str, ...]),
        sensitivity=sensitivity,
        expires_at=expires_at,
        enabled=bool(enabled),
        created_at=created_at,
    )
