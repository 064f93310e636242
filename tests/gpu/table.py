"""What is written of a run: its table, put into the place that docs/gpu-test.md keeps for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.gpu.sizing import Compared

_PLACE: Final = re.compile(r"(<!-- table: gpu-test -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Held:
    """One line: what was asked for and found; `met` of None where it is not judged."""

    what: str
    target: str
    found: str
    met: bool | None


@dataclass
class Report:
    """A run: on what, what was held, how sizing compares."""

    on: str
    held: list[Held] = field(default_factory=list)
    sized: Sequence[Compared] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing that is judged was missed."""
        return all(each.met is not False for each in self.held)

    def markdown(self) -> str:
        """Returns the tables."""
        word = {True: "met", False: "**missed**", None: "not judged"}
        lines = [self.on, "", "| held | target | found | |", "|---|---|---|---|"]
        lines += [f"| {each.what} | {each.target} | {each.found} | {word[each.met]} |" for each in self.held]
        if self.sized:
            lines += ["", "| sizing | by formula | off | calibrated | off | measured |", "|---|---|---|---|---|---|"]
            lines += [
                f"| {each.name}, {each.unit} | {each.predicted:,.0f} | {each.off(each.predicted)} "
                f"| {each.calibrated:,.0f} | {each.off(each.calibrated)} "
                f"| {'–' if each.measured is None else f'{each.measured:,.0f}'} |"
                for each in self.sized
            ]
        return "\n".join(lines) + "\n"

    def write(self, page: Path) -> None:
        """Puts the tables into a page; raises ValueError where it has no place for them."""
        text, places = _PLACE.subn(lambda found: f"{found[1]}{self.markdown()}{found[2]}", page.read_text())
        if places != 1:
            raise ValueError(f"{page} has no place for the table of gpu-test")
        page.write_text(text)
