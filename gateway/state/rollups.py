"""What is read of receipts: sums, put together from those that are kept, and the log. Statements, and their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from gateway.state.books import MEASURES, PLAIN, QUARTER_S, LogQuestion, LogRow, Question, Summed, Sums, Where
from gateway.state.cover import Piece, cover
from gateway.state.cubes import LEVELS, QUARTERS, Cube, cube_for
from gateway.state.sql import Spelling

_LOGGED: Final = ", ".join(f'"{column}"' for column in LogRow._fields)
_FEW_PARTS: Final = 6  # spans that share facets' days
FEW: Final = 20_000  # receipts that are all looked at, by their facets, rather than searched for from the newest back


class Reading(NamedTuple):
    """A statement that sums, its values, and to which spans each of its parts goes, with which sign."""

    statement: str
    values: list[object]
    parts: list[tuple[tuple[int, int], ...]]


def reading(spelling: Spelling, question: Question, stale: frozenset[tuple[int, int]]) -> Reading:
    """Writes the statement for a question; raises ValueError for a dimension that is none."""
    cube = cube_for([*question.by, *(name for name, _ in question.where)])
    pieces = cover(question.edges, (*cube.grains, QUARTER_S), stale)
    parts = list(dict.fromkeys(piece.shares for piece in pieces))
    number = {shares: part for part, shares in enumerate(parts)}
    listed = [f"({number[each.shares]}, {_level(cube, each)}, {each.start}, {each.stop})" for each in pieces]
    names: list[str] = []
    values: list[object] = []
    for name in question.by:
        expression, named = _column(spelling, name)
        names.append(expression)
        values += named
    condition, wanted = _matching(spelling, question.where)
    where = f" WHERE rollups.facet IN (SELECT id FROM facets WHERE {condition})" if condition else ""
    measures = MEASURES if question.compares else PLAIN
    sums = ", ".join(f"sum(rollups.{name}) AS {name}" for name in measures)
    groups = ", ".join(str(place) for place in range(1, len(names) + 2))
    statement = f"WITH pieces (part, level, since, until) AS (VALUES {', '.join(listed)})"
    source = (
        f"pieces {spelling.join} rollups "
        "ON rollups.level = pieces.level AND rollups.slot >= pieces.since AND rollups.slot < pieces.until"
    )
    part = "pieces.part"
    if names and len(parts) <= _FEW_PARTS:
        # By facet first: numbers are sorted faster than names, and fewer rows are left to be named.
        statement += f", summed AS (SELECT {part}, facet, {sums} FROM {source}{where} GROUP BY 1, 2)"
        part, source, where, wanted, values = "rollups.part", "summed AS rollups", "", [], wanted + values
    if names:
        source += f" {spelling.join} facets ON facets.id = rollups.facet"
    statement += f" SELECT {', '.join([part, *names])}, {sums} FROM {source}{where} GROUP BY {groups}"
    return Reading(statement, values + wanted, parts)


def _level(cube: Cube, piece: Piece) -> int:
    return QUARTERS if piece.grain == QUARTER_S else LEVELS[cube.name, piece.grain]


def summed(question: Question, read: Reading, rows: Iterable[Sequence[Any]]) -> list[Summed]:
    """Puts the rows of a reading together: one for each span and group that has receipts, in no order.

    Sums come as int or, from PostgreSQL, as whole Decimals.
    """
    by = 1 + len(question.by)
    found: dict[tuple[int, tuple[str | None, ...]], list[int]] = {}
    for row in rows:
        names, amounts = tuple(row[1:by]), row[by:]
        for span, sign in read.parts[row[0]]:
            held = found.get((span, names))
            if held is None:
                found[span, names] = [sign * int(amount) for amount in amounts]
            else:
                for place, amount in enumerate(amounts):
                    held[place] += sign * int(amount)
    return [Summed(span, names, Sums(*amounts)) for (span, names), amounts in found.items() if amounts[0]]


def matching(question: LogQuestion, sums: Callable[[Question], list[Summed]]) -> int | None:
    """Returns how many receipts of the time that a page is of match its `where`, by what is kept; None for all."""
    if not question.where:
        return None
    edges = (_quarter(question.since), _quarter(question.until) + QUARTER_S)
    return sum(each.sums.calls for each in sums(Question(edges, (), question.where)))


def _quarter(moment: float) -> int:
    return int(moment // QUARTER_S) * QUARTER_S


def log_statement(spelling: Spelling, question: LogQuestion, matching: int | None) -> tuple[str, list[object]]:
    """Writes the statement for a page of the log; `matching` is how many receipts `where` holds of, None for all."""
    place = spelling.place
    conditions = [f'"time" >= {place}', f'"time" < {place}']
    values: list[object] = [question.since, question.until]
    if question.before is not None:
        conditions.append(f'("time", id) < ({place}, {place})')
        values += question.before
    if question.statuses:
        conditions.append(f"({' OR '.join(f'status BETWEEN {low:d} AND {high:d}' for low, high in question.statuses)})")
    if question.reasons:
        conditions.append(f"reason IN ({spelling.places(len(question.reasons))})")
        values += question.reasons
    for flag in ("cached", "estimated", "unpriced"):
        wanted: bool | None = getattr(question, flag)
        if wanted is not None:
            conditions.append(flag if wanted else f"NOT {flag}")
    for column, least in (
        ("nano_usd", question.min_nano),
        ("e2e_us", question.min_e2e_us),
        ("ttft_us", question.min_ttft_us),
    ):
        if least is not None:
            conditions.append(f"{column} >= {least:d}")
    order = f'ORDER BY "time" DESC, id DESC LIMIT {question.limit:d}'
    if not question.where:
        return f"SELECT {_LOGGED} FROM receipts WHERE {' AND '.join(conditions)} {order}", values
    condition, wanted_facets = _matching(spelling, question.where)
    facets = f"facet IN (SELECT id FROM facets WHERE callers IS NOT NULL AND {condition})"  # those of the whole cube
    if matching is not None and matching > FEW:
        conditions.append(f"+{facets}")  # the plus keeps the index of facets out of it
        return (
            f"SELECT {_LOGGED} FROM receipts WHERE {' AND '.join(conditions)} {order}",
            values + wanted_facets,
        )
    # Materialized, so that the order does not tempt the planner to search from the newest back.
    return (
        f"WITH matching AS MATERIALIZED (SELECT {_LOGGED} FROM receipts WHERE {facets} AND {' AND '.join(conditions)}) "
        f"SELECT {_LOGGED} FROM matching {order}",
        wanted_facets + values,
    )


def _matching(spelling: Spelling, where: Where) -> tuple[str, list[object]]:
    """Writes a condition on facets."""
    conditions: list[str] = []
    values: list[object] = []
    for name, wanted in where:
        expression, named = _column(spelling, name)
        texts = [value for value in wanted if value is not None]
        either = []
        if texts:
            either.append(f"{expression} IN ({spelling.places(len(texts))})")
            values += [*named, *texts]
        if len(texts) < len(wanted):
            either.append(f"{expression} IS NULL")
            values += named
        conditions.append(f"({' OR '.join(either)})" if either else "false")
    return " AND ".join(conditions), values


def _column(spelling: Spelling, name: str) -> tuple[str, list[object]]:
    column, colon, tag = name.partition(":")
    return (spelling.tag, [tag]) if colon else (f'facets."{column}"', [])
