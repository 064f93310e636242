"""The scaled-out store: a PostgreSQL database that several gateways share.

Its tables are made by the numbered files of `migrations/postgres/`; the table `schema_version` holds the last that was
applied. Nothing here takes a session for its own: every setting and lock lasts as long as its transaction, so that a
pooler may stand between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from gateway.core.errors import ConfigError
from gateway.core.money import Price
from gateway.state import audit, cubes, rollups, sql
from gateway.state.audit import AuditRow
from gateway.state.books import LogQuestion, LogRow, Question, Summed
from gateway.state.postgres_session import Connection, Session, parameters_of
from gateway.state.protocols import KeptRow, KeyRow, NoticeRow, ReceiptRow, RowRefused
from gateway.state.revisions import SqlRevisions

WRITE_S: Final = 10.0
READ_S: Final = 30.0  # a sum takes 1.2 us a receipt (by hour, over 50,000, one machine)
START_S: Final = 60.0  # while another gateway migrates
LONG_S: Final = 3600.0  # to count anew what is there

_MIGRATIONS: Final = sql.MIGRATIONS / "postgres"
_MIGRATING: Final = int.from_bytes(b"headgate")  # the advisory lock of whoever migrates
_COUNTING: Final = int.from_bytes(b"receipts")  # of whoever adds receipts, or folds their sums

_SPELLING: Final = sql.Spelling(
    place="%s",
    tag='((facets.tags ->> %s::text) COLLATE "C")',
    quarter='(floor("time" / 900) * 900)::bigint',
    join="JOIN",
    same="IS NOT DISTINCT FROM",
)

_ADD_KEPT: Final = sql.add_kept_statement(_SPELLING).encode()
_ADD_AUDIT: Final = audit.add_statement(_SPELLING).encode()

# Receipts go through a temporary table, since COPY itself cannot pass over those that are there: 60,000 rows/s and
# 3 us of this process's CPU a row, where an INSERT for each row makes 18,000 rows/s at 12 us (a server on one machine).
_MAKE_INCOMING: Final = b"CREATE TEMPORARY TABLE IF NOT EXISTS incoming (LIKE receipts) ON COMMIT DELETE ROWS"
_COLUMNS: Final = f"{sql.RECEIPT_COLUMNS}, facet"
_FILL_INCOMING: Final = f"COPY incoming ({_COLUMNS}) FROM STDIN".encode()
_COUNT_INCOMING: Final = (
    *(cubes.stale_statement(_SPELLING.quarter, grain, "incoming").encode() for grain in cubes.GRAINS),
    f"WITH added AS (INSERT INTO receipts ({_COLUMNS}) SELECT {_COLUMNS} FROM incoming ON CONFLICT DO NOTHING "
    f"RETURNING *) {cubes.count_statement(_SPELLING.quarter, 'added')}".encode(),
)


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
        self._reader = Session(parameters, "ISOLATION LEVEL REPEATABLE READ READ ONLY")
        self._facets = cubes.Facets(_SPELLING.places)
        with self._writer.transaction(START_S) as connection:
            _migrate(connection)
        self._adopt()

    def close(self) -> None:
        """Closes both connections."""
        self._reader.close()
        self._writer.close()

    # -- receipts and prices --------------------------------------------------------------------------------------

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably, and counts them; a receipt that is there already stays. Raises RowRefused."""
        held = [_without_nul(row) if r"\u0000" in row.body else row for row in rows]
        if not held:
            return
        with self._counting(WRITE_S) as connection, connection.cursor() as cursor:
            found = self._facets.find([row[2:11] for row in held], _executing(connection))
            cursor.execute(_MAKE_INCOMING)
            with cursor.copy(_FILL_INCOMING) as copy:
                for row in held:
                    copy.write_row((*row, found.whole[row[2:11]]))
            for statement in _COUNT_INCOMING:
                cursor.execute(statement)
        self._facets.keep(found)

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        for (body,) in self._read("SELECT body FROM receipts WHERE id = %s", (id,)):
            found: bytes = body
            return found
        return None

    def sums(self, question: Question) -> list[Summed]:
        """Sums receipts by spans of time and by dimensions, in no order; raises ValueError for one that is none."""
        with self._reader.transaction(READ_S) as connection:
            execute = _executing(connection)
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
        with self._counting(LONG_S) as connection:
            return cubes.fold(before, _executing(connection))

    def rebuild_rollups(self) -> None:
        """Makes all sums anew from the receipts that are there; other writers wait."""
        with self._counting(LONG_S) as connection:
            cubes.recount(_SPELLING.quarter, _executing(connection))

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
        return self._change("DELETE FROM keys WHERE name = %s", (name,)) == 1

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

    def _adopt(self) -> None:
        """Counts the receipts of a database from before there were sums."""
        first = "SELECT 1 FROM receipts WHERE facet IS NULL LIMIT 1"
        if not self._read(first, ()):
            return
        with self._counting(LONG_S) as connection, connection.cursor() as cursor:
            execute = _executing(connection)
            cubes.adopt(
                self._facets,
                _SPELLING.place,
                execute,
                lambda statement, values: cursor.executemany(statement.encode(), values),
            )
            cubes.recount(_SPELLING.quarter, execute)

    @contextmanager
    def _counting(self, deadline_s: float) -> Iterator[Connection]:
        """Makes a transaction that counts: of several gateways one at a time, since they count in the same rows."""
        with self._writer.transaction(deadline_s) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_COUNTING,))
            yield connection

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
        self._change("UPDATE notices SET closed_at = %s WHERE id = %s", (time, id))

    def expire_notices(self, before: float) -> None:
        """Forgets closed notices that are older."""
        self._change('DELETE FROM notices WHERE closed_at IS NOT NULL AND "time" < %s', (before,))

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


def _executing(connection: Connection) -> cubes.Execute:
    def execute(statement: str, values: Sequence[object]) -> Sequence[tuple[Any, ...]]:
        asked = [_storable(value) if isinstance(value, str) else value for value in values]
        cursor = connection.execute(statement.encode(), asked or None)
        return cursor.fetchall() if cursor.description is not None else []

    return execute


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
    for number, script in scripts:
        connection.execute(script.read_bytes())
        connection.execute("UPDATE schema_version SET version = %s", (number,))
    connection.execute(_MAKE_INCOMING)  # whoever may not should hear of it now
