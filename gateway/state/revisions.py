"""Revisions of the config, and samples of receipts to try a draft on: what both databases keep and find alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

Origin = Literal["file", "admin", "rollback"]

_COLUMNS: Final = 'number, "time", author, origin, note, hash, text'
_WITHOUT_TEXT: Final = "number, \"time\", author, origin, note, hash, ''"


class RevisionRow(NamedTuple):
    """A config that served: which one, since when (seconds since the epoch), by whom, whence, and its text.

    `text` has no secret in it (`<kept>` stands in the place of each); `hash` is the SHA-256 of the text with them.
    """

    number: int
    time: float
    author: str
    origin: Origin
    note: str
    hash: str
    text: str


class RevisionStore(Protocol):
    """The one source of truth of what serves: the newest revision. Numbers begin with 1 and have no gaps."""

    def newest_number(self) -> int:
        """Returns the number of the newest revision, 0 before there is any."""
        ...

    def revision(self, number: int | None = None) -> RevisionRow | None:
        """Returns a revision, by default the newest."""
        ...

    def revisions(self, before: int | None = None, at_most: int = 50) -> list[RevisionRow]:
        """Returns revisions below a number, newest first, without their texts."""
        ...

    def add_revision(self, row: RevisionRow) -> bool:
        """Adds the revision that follows the newest; returns False where another has been added meanwhile."""
        ...

    def knows_config(self, hash: str) -> bool:
        """Tells whether any revision has this hash."""
        ...

    def file_hash(self, place: str) -> str | None:
        """Returns what a gateway's config file held when it was last read or written."""
        ...

    def keep_file_hash(self, place: str, hash: str) -> None:
        """Notes what a gateway's config file holds now."""
        ...


class SampleStore(Protocol):
    """Receipts, some of many."""

    def sample(self, since: float, until: float, at_most: int) -> tuple[int, list[bytes]]:
        """Returns how many receipts [since, until) has, and at most so many of them as JSON, in the order of time.

        Where there are more, every n-th is taken, whoever made the call and whatever it cost.
        """
        ...


class SqlRevisions:
    """Both of them in SQL; a store says how a value's place is written, and how one in `{every}` receipts is found."""

    _place: str
    _one_in: str

    def _read(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        raise NotImplementedError

    def _change(self, statement: str, values: Sequence[object]) -> int:
        raise NotImplementedError

    def newest_number(self) -> int:
        number: int = self._read("SELECT coalesce(max(number), 0) FROM config_revisions", ())[0][0]
        return number

    def revision(self, number: int | None = None) -> RevisionRow | None:
        where, values = (f"WHERE number = {self._place}", (number,)) if number is not None else ("", ())
        for row in self._read(f"SELECT {_COLUMNS} FROM config_revisions {where} ORDER BY number DESC LIMIT 1", values):
            return RevisionRow._make(row)
        return None

    def revisions(self, before: int | None = None, at_most: int = 50) -> list[RevisionRow]:
        where, values = (f"WHERE number < {self._place}", [before]) if before is not None else ("", [])
        statement = f"SELECT {_WITHOUT_TEXT} FROM config_revisions {where} ORDER BY number DESC LIMIT {self._place}"
        return [RevisionRow._make(row) for row in self._read(statement, [*values, at_most])]

    def add_revision(self, row: RevisionRow) -> bool:
        # Of two that come at once, both may see the same newest one: the number is there once.
        places = ", ".join([self._place] * len(row))
        statement = f"INSERT INTO config_revisions ({_COLUMNS}) VALUES ({places}) ON CONFLICT DO NOTHING"
        if row.number != self.newest_number() + 1:
            return False
        return self._change(statement, row) == 1

    def knows_config(self, hash: str) -> bool:
        return bool(self._read(f"SELECT 1 FROM config_revisions WHERE hash = {self._place} LIMIT 1", (hash,)))

    def file_hash(self, place: str) -> str | None:
        for (hash,) in self._read(f"SELECT hash FROM config_files WHERE place = {self._place}", (place,)):
            found: str = hash
            return found
        return None

    def keep_file_hash(self, place: str, hash: str) -> None:
        statement = (
            f"INSERT INTO config_files (place, hash) VALUES ({self._place}, {self._place}) "
            "ON CONFLICT (place) DO UPDATE SET hash = excluded.hash"
        )
        self._change(statement, (place, hash))

    def sample(self, since: float, until: float, at_most: int) -> tuple[int, list[bytes]]:
        span = f'"time" >= {self._place} AND "time" < {self._place}'
        ((count,),) = self._read(f"SELECT count(*) FROM receipts WHERE {span}", (since, until))
        every = -(-count // at_most) if at_most else 0
        if not count or not every:
            return count, []
        nth = f"AND {self._one_in.format(every=every)}" if every > 1 else ""
        statement = f'SELECT body FROM receipts WHERE {span} {nth} ORDER BY "time" LIMIT {self._place}'
        rows = self._read(statement, (since, until, at_most))
        return count, [body if isinstance(body, bytes) else str(body).encode() for (body,) in rows]
