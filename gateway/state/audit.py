"""What people changed, as the stores keep it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from gateway.state.sql import Spelling


class AuditRow(NamedTuple):
    """One change: who made it, what was done to which object, and the object before and after, as JSON text.

    `time` is seconds since the epoch; `what` a word such as `key.disabled`; `object` a path such as `keys/alice`.
    """

    id: str
    time: float
    who: str
    role: str
    team: str | None
    what: str
    object: str
    before: str | None
    after: str | None


COLUMNS: Final = ", ".join(f'"{column}"' for column in AuditRow._fields)
FILTERS: Final = ("who", "what", "object", "team")


class AuditStore(Protocol):
    """Changes that people made; nothing takes one back out."""

    def add_audit(self, rows: Iterable[AuditRow]) -> None:
        """Adds rows, all or none; one that is there already stays as it is."""
        ...

    def audit(self, where: Sequence[tuple[str, str]], before: tuple[float, str] | None, limit: int) -> list[AuditRow]:
        """Returns the newest first: those that match all (filter, value) pairs, older than the (time, id) `before`."""
        ...


def add_statement(spelling: Spelling) -> str:
    """Returns the statement that adds an AuditRow."""
    places = spelling.places(len(AuditRow._fields))
    return f"INSERT INTO audit ({COLUMNS}) VALUES ({places}) ON CONFLICT (id) DO NOTHING"


def query(
    spelling: Spelling, where: Sequence[tuple[str, str]], before: tuple[float, str] | None, limit: int
) -> tuple[str, list[object]]:
    """Returns the statement that lists, and its values; raises ValueError for a filter that is none."""
    conditions, values = [], list[object]()
    for name, value in where:
        if name not in FILTERS:
            raise ValueError(f"{name!r} is no filter: {', '.join(FILTERS)}")
        conditions.append(f'"{name}" = {spelling.place}')
        values.append(value)
    if before is not None:
        conditions.append(f'("time", id) < ({spelling.places(2)})')
        values += before
    condition = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return f'SELECT {COLUMNS} FROM audit {condition}ORDER BY "time" DESC, id DESC LIMIT {limit:d}', values
