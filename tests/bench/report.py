"""What is written of a run: the summary of targets, and a section for each case. Text from figures, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.figures import Row

Columns = Sequence[tuple[str, str]]  # a figure's name and its heading

_MET = {True: "met", False: "**missed**", None: "not measured"}


@dataclass(frozen=True)
class Target:
    """One line of the summary; `met` is None where it was not measured."""

    what: str
    target: str
    found: str
    met: bool | None


@dataclass(frozen=True)
class Section:
    """One table with its one-line method before it. Where a contender's figure is missing, its round was void."""

    title: str
    method: str
    columns: Columns
    rows: Mapping[str, Row]
    notes: Sequence[str] = ()
    targets: Sequence[Target] = ()


def at_most(what: str, limit: float, found: float | None, unit: str = "") -> Target:
    """Judges a figure that should be small."""
    return Target(what, f"≤ {told(limit, unit)}", _told(found, unit), None if found is None else found <= limit)


def at_least(what: str, limit: float, found: float | None, unit: str = "") -> Target:
    """Judges a figure that should be large."""
    return Target(what, f"≥ {told(limit, unit)}", _told(found, unit), None if found is None else found >= limit)


def none_of(what: str, found: float | None) -> Target:
    """Judges a count that should be zero."""
    return Target(
        what,
        "none",
        _told(found, "") if found else "–" if found is None else "none",
        None if found is None else not found,
    )


def told(value: float, unit: str = "") -> str:
    """Writes a figure with three digits that count, and its unit."""
    text = f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{text} {unit}".rstrip()


def _told(value: float | None, unit: str) -> str:
    return "–" if value is None else told(value, unit)


def section(part: Section) -> str:
    """Renders one section: heading, method, table, notes."""
    lines = [f"## {part.title}", "", part.method, ""]
    if part.rows:
        lines.append("| | " + " | ".join(heading for _, heading in part.columns) + " |")
        lines.append("|---|" + "---:|" * len(part.columns))
        for name, row in part.rows.items():
            lines.append(f"| {name} | " + " | ".join(_told(row.get(key), "") for key, _ in part.columns) + " |")
        lines.append("")
    for note in part.notes:
        lines += [note, ""]
    return "\n".join(lines)


def summary(parts: Sequence[Section]) -> str:
    """Renders the table of all targets: what, target, found, met or missed."""
    lines = ["| what | target | found | |", "|---|---|---|---|"]
    for part in parts:
        lines += [f"| {each.what} | {each.target} | {each.found} | {_MET[each.met]} |" for each in part.targets]
    return "\n".join([*lines, ""])


def page(head: str, parts: Sequence[Section]) -> str:
    """Renders the whole page."""
    return "\n".join([head, summary(parts), *map(section, parts)])
