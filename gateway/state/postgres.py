"""The scaled-out store: a PostgreSQL database that several gateways share.

Its tables are made by the numbered files of `migrations/postgres/`; the table `schema_version` holds the last that was
applied. Nothing here takes a session for its own: every setting and lock lasts as long as its transaction, so that a
pooler may stand between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.core.errors import ConfigError
from gateway.core.money import Price
from gateway.state import audit, sql
from gateway.state.audit import AuditRow
from gateway.state.postgres_session import Connection, Session, parameters_of
from gateway.state.protocols import KeptRow, KeyRow, ReceiptRow, Totals
from gateway.state.revisions import SqlRevisions

WRITE_S: Final = 10.0
READ_S: Final = 30.0  # a sum takes 1.2 us a receipt (by hour, over 50,000, one machine)
START_S: Final = 60.0  # while another gateway migrates

_MIGRATIONS: Final = sql.MIGRATIONS / "postgres"
_MIGRATING: Final = int.from_bytes(b"headgate")  # the advisory lock of whoever migrates

_SPELLING: Final = sql.Spelling(
    place="%s",
    **{
        unit: f"""(to_char(to_timestamp(floor("time")) AT TIME ZONE 'UTC', '{shape}') COLLATE "C")"""
        for unit, shape in (("hour", 'YYYY-MM-DD"T"HH24:00"Z"'), ("day", "YYYY-MM-DD"), ("month", "YYYY-MM"))
    },
    tag='((tags ->> %s::text) COLLATE "C")',
)

_ADD_KEPT: Final = sql.add_kept_statement(_SPELLING).encode()
_ADD_AUDIT: Final = audit.add_statement(_SPELLING).encode()

# Receipts go through a temporary table, since COPY itself cannot pass over those that are there: 60,000 rows/s and
# 3 us of this process's CPU a row, where an INSERT for each row makes 18,000 rows/s at 12 us (a server on one machine).
_MAKE_INCOMING: Final = b"CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE receipts) ON COMMIT DELETE ROWS"
_FILL_INCOMING: Final = f"COPY incoming ({sql.RECEIPT_COLUMNS}) FROM STDIN".encode()
_TAKE_INCOMING: Final = (
    f"INSERT INTO receipts ({sql.RECEIPT_COLUMNS}) SELECT {sql.RECEIPT_COLUMNS} FROM incoming ON CONFLICT DO NOTHING"
).encode()


class PostgresStore(SqlRevisions):
    """Receipts, prices, keys and what providers keep in one database (a Store); any thread, one reading, one writing.

    Opening it applies the migrations it lacks; of several gateways that start together one does. Raises ValueError for
    a URL that is none, StoreUnavailable where the database cannot be used, ConfigError where it never could be.
    """

    _place = _SPELLING.place
    _one_in = "mod(hashtext(id)::bigint, {every}) = 0"

    def __init__(self, url: str) -> None:
        parameters = parameters_of(url)
        self._writer = Session(parameters, "READ WRITE")
        self._reader = Session(parameters, "READ ONLY")
        with self._writer.transaction(START_S) as connection:
            _migrate(connection)

    def close(self) -> None:
        """Closes both connections."""
        self._reader.close()
        self._writer.close()

    # -- receipts and prices --------------------------------------------------------------------------------------

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably; a receipt that is there already stays as it is. Raises RowRefused."""
        with self._writer.transaction(WRITE_S) as connection, connection.cursor() as cursor:
            cursor.execute(_MAKE_INCOMING)
            with cursor.copy(_FILL_INCOMING) as copy:
                for row in rows:
                    copy.write_row(_without_nul(row) if r"\u0000" in row.body else row)
            cursor.execute(_TAKE_INCOMING)

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        for (body,) in self._read("SELECT body FROM receipts WHERE id = %s", (id,)):
            found: bytes = body
            return found
        return None

    def totals(self, group_by: str, since: float, until: float, where: Sequence[tuple[str, str]] = ()) -> list[Totals]:
        """Sums receipts of [since, until) by one of GROUPS or a tag, in the order of the groups; raises ValueError."""
        return [sql.totals_of(row) for row in self._read(*sql.totals_query(_SPELLING, group_by, since, until, where))]

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keeps prices by version, their service tiers' too."""
        rows = sql.price_values(prices)
        with self._writer.transaction(WRITE_S) as connection, connection.cursor() as cursor:
            cursor.executemany("INSERT INTO prices VALUES (%s, %s) ON CONFLICT DO NOTHING", rows)

    def price(self, version: str) -> Price | None:
        """Returns a price that was kept."""
        for (body,) in self._read("SELECT body FROM prices WHERE version = %s", (version,)):
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
        if self._change(statement, values) == 0:
            raise ValueError(f"there is a key named {key.name!r} already")

    def enable_key(self, name: str, enabled: bool) -> bool:
        """Switches a key on or off; returns whether there is one of that name."""
        return self._change("UPDATE keys SET enabled = %s WHERE name = %s", (enabled, name)) == 1

    def keys_version(self) -> int:
        """Returns a number that grows with every change of a key, by whichever gateway."""
        version: int = self._read("SELECT version FROM keys_version", ())[0][0]
        return version

    # -- what providers keep --------------------------------------------------------------------------------------

    def add_kept(self, rows: Iterable[KeptRow]) -> None:
        """Adds ids; one that is there already keeps its tenant, and takes that tenant's newer level and time."""
        with self._writer.transaction(WRITE_S) as connection, connection.cursor() as cursor:
            cursor.executemany(_ADD_KEPT, list(rows))

    def kept(self, id: str) -> KeptRow | None:
        """Returns what is known of an id."""
        for row in self._read(f"SELECT {sql.KEPT_COLUMNS} FROM kept_answers WHERE id = %s", (id,)):
            return KeptRow._make(row)
        return None

    def forget_kept(self, id: str) -> None:
        """Forgets an id."""
        self._change("DELETE FROM kept_answers WHERE id = %s", (id,))

    def expire_kept(self, before: float) -> int:
        """Forgets what is older; returns how many ids."""
        return self._change('DELETE FROM kept_answers WHERE "time" < %s', (before,))

    # -- what people changed --------------------------------------------------------------------------------------

    def add_audit(self, rows: Iterable[AuditRow]) -> None:
        """Adds rows, all or none; one that is there already stays as it is."""
        held = [[_storable(value) if isinstance(value, str) else value for value in row] for row in rows]
        with self._writer.transaction(WRITE_S) as connection, connection.cursor() as cursor:
            cursor.executemany(_ADD_AUDIT, held)

    def audit(self, where: Sequence[tuple[str, str]], before: tuple[float, str] | None, limit: int) -> list[AuditRow]:
        """Returns the newest first: those that match all (filter, value) pairs, older than the (time, id) `before`."""
        rows = self._read(*audit.query(_SPELLING, where, before, limit))
        return [AuditRow(*row[:-2], *(_text(value) for value in row[-2:])) for row in rows]

    # -- statements -----------------------------------------------------------------------------------------------

    def _change(self, statement: str, values: Sequence[object]) -> int:
        """Returns how many rows were changed."""
        with self._writer.transaction(WRITE_S) as connection:
            return connection.execute(statement.encode(), values).rowcount

    def _read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        asked = [_storable(value) if isinstance(value, str) else value for value in values]
        with self._reader.transaction(READ_S) as connection:
            return connection.execute(statement.encode(), asked).fetchall()


def _text(json: str | bytes | None) -> str | None:
    return json.decode() if isinstance(json, bytes) else json


def _storable(text: str) -> str:
    """Returns the text as it can be stored: PostgreSQL has none with a NUL in it, which becomes U+FFFD."""
    return text.replace("\0", "\ufffd")


def _without_nul(row: ReceiptRow) -> ReceiptRow:
    """Returns a row whose columns can be stored. Its body can as it is: there a NUL is written as an escape."""
    tags = row.tags
    if tags is not None:
        read = msgspec.json.decode(tags, type=dict[str, str])
        tags = msgspec.json.encode({_storable(key): _storable(value) for key, value in read.items()}).decode()
    values = (_storable(value) if isinstance(value, str) else value for value in row)
    return ReceiptRow._make(values)._replace(tags=tags, body=row.body)


def _migrate(connection: Connection) -> None:
    """Applies the migrations that a database lacks, in the transaction that this is called in."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
    encoding, table = connection.execute(
        "SELECT current_setting('server_encoding'), to_regclass('schema_version')::text"
    ).fetchall()[0]
    if encoding != "UTF8":
        raise ConfigError([f"the PostgreSQL database keeps text as {encoding}, which cannot hold all of it: UTF8 can"])
    version = 0
    if table is not None:
        ((version,),) = connection.execute("SELECT version FROM schema_version").fetchall()
    scripts = sql.lacking(version, _MIGRATIONS, "the PostgreSQL database")
    for script in scripts:
        connection.execute(script.read_bytes())
    if scripts:
        connection.execute("UPDATE schema_version SET version = %s", (version + len(scripts),))
    connection.execute(_MAKE_INCOMING)  # whoever may not should hear of it now
