"""Writes a report for a terminal of 100 columns; with `explain`, every formula with its numbers, error and source."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from gateway.pool.planner.figures import MARKS, Figure, Section, dollars, number, write
from gateway.pool.planner.question import Report, Table, Value

WIDTH: Final = 100
_NAME: Final = 27
_VALUE: Final = 24
_MARK: Final = 10
_LONGEST: Final = 22  # of a name in a table


def as_text(report: Report, explain: bool = False) -> str:
    """The whole report."""
    lines = [report.title, "═" * min(WIDTH, len(report.title)), ""]
    for sentence in report.brief:
        lines += textwrap.wrap(sentence, WIDTH)
    for part in report.parts:
        lines += ["", *(_section(part, explain) if isinstance(part, Section) else _table(part))]
    if report.refused:
        lines += ["", "not taken, and why"]
        for reason in report.refused:
            lines += textwrap.wrap(reason, WIDTH, initial_indent="  ", subsequent_indent="    ")
    if report.parts:
        lines.append("")
        lines += [f"{f'[{mark}]':<{_MARK}} {promise}" for mark, promise in MARKS.items()]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _section(section: Section, explain: bool) -> Iterator[str]:
    yield section.title
    for figure in section.figures:
        yield from _figure(figure, explain)
    for note in section.notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="  · ", subsequent_indent="    ")


def _figure(figure: Figure, explain: bool) -> Iterator[str]:
    off = f" ±{figure.error * 100:.0f} %" if figure.error >= 0.005 else ""
    head = f"  {figure.name:<{_NAME}} {figure.shown + off:>{_VALUE}}  {f'[{figure.mark}]':<{_MARK}} "
    left = max(20, WIDTH - len(head))
    wrapped = textwrap.wrap(figure.formula, left, break_long_words=False) or [""]
    yield head + wrapped[0]
    for more in wrapped[1:]:
        yield " " * len(head) + more
    if explain:
        for word, said in (("=", figure.worked), ("from", figure.source)):
            if said:
                yield from textwrap.wrap(f"{word} {said}", WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)


def _table(table: Table) -> Iterator[str]:
    yield from textwrap.wrap(f"{table.title}  [{table.mark}]", WIDTH)
    cells = [list(table.columns)]
    if any(table.units):
        cells[0] = [_headed(name, unit) for name, unit in zip(table.columns, table.units, strict=True)]
    cells += [[_cell(value, unit) for value, unit in zip(row, table.units, strict=True)] for row in table.rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(table.columns))]
    words = [not unit and any(isinstance(row[at], str) and not _short(row[at]) for row in table.rows)
             for at, unit in enumerate(table.units)]  # fmt: skip
    for at, row in enumerate(cells):
        yield "  " + _row(row, widths, words)
        if at == 0:
            yield "  " + "  ".join("─" * width for width in widths)
    if table.formula:
        sign = "  · " if " = " in table.formula else "  = "
        yield from textwrap.wrap(table.formula, WIDTH, initial_indent=sign, subsequent_indent="    ")
    for note in table.notes:
        yield from textwrap.wrap(note, WIDTH, initial_indent="  · ", subsequent_indent="    ")


def _short(value: Value) -> bool:
    """Figures written as words stand to the right, as numbers do."""
    return isinstance(value, str) and (value == "–" or value[:1].isdigit())


def _row(row: Sequence[str], widths: Sequence[int], words: Sequence[bool]) -> str:
    return "  ".join(
        cell.ljust(width) if word or at == 0 else cell.rjust(width)
        for at, (cell, width, word) in enumerate(zip(row, widths, words, strict=True))
    )


_IN_HEAD: Final = {"GiB/GPU", "ms", "tokens/s", "GB", "$/h", "$/month", "$/year", "$/GPU-h", "$/day", "$/M"}


def _headed(name: str, unit: str) -> str:
    if unit not in _IN_HEAD:
        return name
    return f"{name} {unit}" if unit.startswith("$") else f"{name}, {unit}"


def _cell(value: Value, unit: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    if unit == "number" or unit == "tokens/s":
        return number(value)
    if unit == "whole":
        return f"{int(value):,}"
    if unit.startswith("$"):
        return dollars(value)
    if unit in _IN_HEAD:
        return f"{value:,.1f}"
    return write(value, unit)
