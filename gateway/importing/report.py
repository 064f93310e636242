"""What became of each value of an imported config, as data and for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

Verdict = Literal["exact", "approximate", "unsupported"]
VERDICTS: Final[tuple[Verdict, ...]] = ("exact", "approximate", "unsupported")


class Line(msgspec.Struct, frozen=True):
    """One value: where it stands (`file:line:column`), its path, what it became here (None: nothing), and why so."""

    at: str
    key: str
    verdict: Verdict
    became: str | None
    why: str


class Variable(msgspec.Struct, frozen=True):
    """An environment variable that the made config reads. `needed`: without it the config is refused; else the
    provider that it belongs to is disabled. `instruction` says what to put into it where no variable was named."""

    name: str
    needed: bool
    instruction: str | None = None


class Report(msgspec.Struct, frozen=True):
    """Every value of a config, in three kinds, each in the config's order; what the made config reads of the
    environment; and what is left to do by hand."""

    source: str
    exact: tuple[Line, ...]
    approximate: tuple[Line, ...]
    unsupported: tuple[Line, ...]
    variables: tuple[Variable, ...]
    to_do: tuple[str, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, kind by kind."""
        return (*self.exact, *self.approximate, *self.unsupported)


def report_of(source: str, lines: Sequence[Line], variables: Sequence[Variable], to_do: Sequence[str]) -> Report:
    """Sorts lines into their kinds."""
    exact, near, lost = (tuple(line for line in lines if line.verdict == verdict) for verdict in VERDICTS)
    return Report(source, exact, near, lost, tuple(variables), tuple(to_do))


def as_json(report: Report) -> str:
    """Writes a report as JSON, indented, with a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def as_text(report: Report) -> str:
    """Writes what people must know: all that is not exact, the variables to set, what is left to do."""
    counts = ", ".join(f"{len(getattr(report, verdict))} {verdict}" for verdict in VERDICTS)
    text = [f"{report.source}: {counts}"]
    for verdict in ("approximate", "unsupported"):
        lines: tuple[Line, ...] = getattr(report, verdict)
        text += ["", verdict] if lines else []
        for line in lines:
            became = f" -> {line.became}" if line.became else ""
            text.append(f"  {line.at}: {line.key}{became}: {line.why}")
    if report.variables:
        text += ["", "environment variables that the config reads"]
        for variable in report.variables:
            need = "required" if variable.needed else "its provider is disabled without"
            text.append(f"  {variable.name:<28} {need}" + (f"; {variable.instruction}" if variable.instruction else ""))
    if report.to_do:
        text += ["", "left to do", *(f"  {each}" for each in report.to_do)]
    return "\n".join(text) + "\n"
