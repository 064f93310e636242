"""What sums are kept of: cubes (some of the dimensions, together) at grains of time, and the statements that keep them.

A *facet* is one combination of values. Each receipt has one, of the whole cube, and that names its facets of the
smaller cubes. The whole cube by quarters of an hour is added to in the transaction that adds receipts, so that it holds
every receipt that is there, once. All other sums are folded from it when their hour or day is over, and again where a
receipt comes late; until then `rollups_stale` names them, and what is asked is put together from the quarters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from gateway.state.books import DIMENSIONS, MEASURES, TAG
from gateway.state.cover import DAY_S, HOUR_S


class Cube(NamedTuple):
    """Some dimensions together, and the grains (seconds) that their sums are kept by beside the whole's quarters."""

    name: str
    dimensions: frozenset[str]
    grains: tuple[int, ...]


COLUMNS: Final = ("key", "team", "user", "tags", "route", "deployment", "provider", "model", "sensitivity")

# The first that has what is asked serves. Small ones are nearly free to keep, and what is asked most often is small.
_SITE: Final = frozenset(("route", "deployment", "provider", "model", "sensitivity"))
SMALLER: Final = (
    Cube("callers", frozenset(("key", "team", "tags")), (HOUR_S, DAY_S)),
    Cube("sites", _SITE, (HOUR_S, DAY_S)),
    Cube("places", _SITE | {"team"}, (HOUR_S, DAY_S)),
    Cube("people", frozenset(("key", "team", "user", "tags")), (DAY_S,)),
    Cube("work", frozenset(COLUMNS) - {"user"}, (DAY_S,)),
)
WHOLE: Final = Cube("whole", frozenset(COLUMNS), (DAY_S,))
CUBES: Final = (*SMALLER, WHOLE)
GRAINS: Final = (HOUR_S, DAY_S)

QUARTERS: Final = 0  # the level of the whole cube's quarters
LEVELS: Final = {  # (cube, grain) -> its number in the table; a number is never given to anything else
    ("callers", HOUR_S): 1,
    ("callers", DAY_S): 2,
    ("places", HOUR_S): 3,
    ("places", DAY_S): 4,
    ("people", DAY_S): 5,
    ("work", DAY_S): 6,
    ("whole", DAY_S): 7,
    ("sites", HOUR_S): 8,
    ("sites", DAY_S): 9,
}


def cube_for(names: Iterable[str]) -> Cube:
    """Returns the smallest cube that has these dimensions and tags; raises ValueError for a dimension that is none."""
    wanted = set()
    for name in names:
        if name not in DIMENSIONS and not name.startswith(TAG):
            raise ValueError(f"{name!r} is no dimension: {', '.join(DIMENSIONS)} or {TAG}NAME")
        wanted.add("tags" if name.startswith(TAG) else name)
    return next(cube for cube in CUBES if wanted <= cube.dimensions)


# -- facets -------------------------------------------------------------------------------------------------------

Values = tuple[str | None, ...]  # in the order of COLUMNS; tags are JSON
Execute = Callable[[str, Sequence[object]], Sequence[tuple[Any, ...]]]  # runs a statement and returns its rows
ExecuteMany = Callable[[str, list[tuple[object, ...]]], object]  # runs it once for each


class Found(NamedTuple):
    """Facets that a transaction found or added: of the whole cube, and by the name of a smaller one."""

    whole: dict[Values, int]
    smaller: dict[tuple[str, Values], int]


class Facets:
    """The facets that a process knows of a database, whose facets are only ever added to."""

    def __init__(self, places: Callable[[int], str]) -> None:
        self._places = places
        self._known = Found({}, {})

    def find(self, wanted: Iterable[Values], execute: Execute) -> Found:
        """Finds the facets of combinations, and adds those that are new, in the transaction that this is called in."""
        found, known = Found({}, {}), self._known
        for values in wanted:
            if values in known.whole:
                found.whole[values] = known.whole[values]
            elif values not in found.whole:
                others = []
                for cube in SMALLER:
                    part = (cube.name, _PARTS[cube.name](values))
                    id = known.smaller.get(part) or found.smaller.get(part)
                    if id is None:
                        id = found.smaller[part] = self._facet(cube, values, (), execute)
                    others.append(id)
                found.whole[values] = self._facet(WHOLE, values, others, execute)
        return found

    def keep(self, found: Found) -> None:
        """Remembers what a transaction that is committed found."""
        if len(self._known.whole) + len(found.whole) > _KNOWN:
            self._known = Found({}, {})
        self._known.whole.update(found.whole)
        self._known.smaller.update(found.smaller)

    def _facet(self, cube: Cube, values: Values, others: Sequence[int], execute: Execute) -> int:
        own = [value if column in cube.dimensions else None for column, value in zip(COLUMNS, values, strict=True)]
        dims = msgspec.json.encode([cube.name, *own]).decode()
        rows = execute(
            _ADD_FACET[cube is WHOLE].format(self._places(1 + len(own) + len(others))), (dims, *own, *others)
        )
        if not rows:
            rows = execute(f"SELECT id FROM facets WHERE dims = {self._places(1)}", (dims,))
        id: int = rows[0][0]
        return id


_KNOWN: Final = 100_000  # combinations that are remembered, some 500 bytes each; forgotten all at once
_PARTS: Final = {
    cube.name: itemgetter(*(place for place, column in enumerate(COLUMNS) if column in cube.dimensions))
    for cube in SMALLER
}
_NAMED: Final = ", ".join(f'"{column}"' for column in COLUMNS)
_ADD_FACET: Final = {
    whole: f"INSERT INTO facets (dims, {_NAMED}{others}) VALUES ({{}}) ON CONFLICT (dims) DO NOTHING RETURNING id"
    for whole, others in ((False, ""), (True, "".join(f", {cube.name}" for cube in SMALLER)))
}


# -- sums ---------------------------------------------------------------------------------------------------------

_MEASURES: Final = ", ".join(MEASURES)
_SUMMED: Final = ", ".join(f"sum(rollups.{name})" for name in MEASURES)
_DEAREST: Final = "NOT unpriced AND dearest_nano IS NOT NULL"
_LISTED: Final = "NOT unpriced AND list_nano IS NOT NULL"


def _where(condition: str, column: str) -> str:
    return f"sum(CASE WHEN {condition} THEN {column} ELSE 0 END)"


# Measure -> how it is summed over receipts, where that is not the sum of the column of its name.
_OF_RECEIPTS: Final = {
    "calls": "count(*)",
    "errors": _where("status >= 400", "1"),
    **{flag: _where(flag, "1") for flag in ("cached", "unpriced", "spilled")},
    "estimated_nano": _where("estimated", "nano_usd"),
    "compared": _where(_DEAREST, "1"),
    "dearest_nano": _where(_DEAREST, "dearest_nano"),
    "dearest_paid_nano": _where(_DEAREST, "nano_usd"),
    "listed": _where(_LISTED, "1"),
    "list_nano": _where(_LISTED, "list_nano"),
    "list_paid_nano": _where(_LISTED, "nano_usd"),
}


def count_statement(quarter: str, source: str) -> str:
    """Returns the statement that adds receipts to the quarters; `quarter` is the start of the one that "time" is in.

    `source` is what follows FROM: nothing that was added before may be in it.
    """
    kept = ", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in MEASURES)
    summed = ", ".join(_OF_RECEIPTS.get(name, f"sum({name})") for name in MEASURES)
    return (
        f"INSERT INTO rollups (level, slot, facet, {_MEASURES}) SELECT {QUARTERS}, {quarter}, facet, {summed} "
        f"FROM {source} GROUP BY 2, 3 ON CONFLICT (level, slot, facet) DO UPDATE SET {kept}"
    )


def stale_statement(quarter: str, grain: int, source: str) -> str:
    """Returns the statement that notes which hours or days receipts fell into."""
    return (
        f"INSERT INTO rollups_stale (grain, slot) SELECT DISTINCT {grain}, slot - slot % {grain} "
        f"FROM (SELECT {quarter} AS slot FROM {source}) AS added WHERE true ON CONFLICT (grain, slot) DO NOTHING"
    )


def stale(execute: Execute) -> frozenset[tuple[int, int]]:
    """Returns the (grain, slot) whose sums are not up to date."""
    return frozenset((grain, slot) for grain, slot in execute("SELECT grain, slot FROM rollups_stale", ()))


def waiting(before: float) -> str:
    """Returns the statement that finds the oldest (grain, slot) that is stale and was over before a moment."""
    return f"SELECT grain, slot FROM rollups_stale WHERE slot + grain <= {int(before)} ORDER BY slot, grain LIMIT 1"


def fold(before: float, execute: Execute) -> bool:
    """Folds what `waiting` finds anew, in the transaction that this is called in; returns whether there was any."""
    for grain, slot in execute(waiting(before), ()):
        for cube in CUBES:
            if grain not in cube.grains:
                continue
            level = LEVELS[cube.name, grain]
            facet = "facets.id" if cube is WHOLE else f"facets.{cube.name}"
            execute(f"DELETE FROM rollups WHERE level = {level} AND slot = {slot}", ())
            execute(
                f"INSERT INTO rollups (level, slot, facet, {_MEASURES}) SELECT {level}, {slot}, {facet}, {_SUMMED} "
                f"FROM rollups JOIN facets ON facets.id = rollups.facet WHERE rollups.level = {QUARTERS} "
                f"AND rollups.slot >= {slot} AND rollups.slot < {slot + grain} GROUP BY {facet}",
                (),
            )
        execute(f"DELETE FROM rollups_stale WHERE grain = {grain} AND slot = {slot}", ())
        return True
    return False


def recount(quarter: str, execute: Execute) -> None:
    """Counts all receipts anew, in the transaction that this is called in; hours and days are folded after."""
    execute("DELETE FROM rollups", ())
    execute("DELETE FROM rollups_stale", ())
    execute(count_statement(quarter, "receipts WHERE true"), ())
    for grain in GRAINS:
        execute(stale_statement(quarter, grain, "receipts"), ())


def adopt(facets: Facets, place: str, execute: Execute, execute_many: ExecuteMany) -> None:
    """Gives receipts of an older schema their facets, in the transaction that this is called in."""
    while rows := execute(f"SELECT id, {_NAMED} FROM receipts WHERE facet IS NULL LIMIT 10000", ()):
        of_rows = [(*row[1:4], _plain(row[4]), *row[5:]) for row in rows]
        found = facets.find(of_rows, execute)
        statement = f"UPDATE receipts SET facet = {place} WHERE id = {place}"
        execute_many(statement, [(found.whole[values], row[0]) for row, values in zip(rows, of_rows, strict=True)])


def _plain(tags: str | bytes | None) -> str | None:
    """Returns tags as receipts write them: a database may have laid its JSON out anew."""
    if tags is None:
        return None
    return msgspec.json.encode(dict(sorted(msgspec.json.decode(tags, type=dict[str, str]).items()))).decode()
