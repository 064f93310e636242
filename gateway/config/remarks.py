"""Problems and warnings, which are lines as `file:line:column: what is wrong`, taken apart again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

_PLACE: Final = re.compile(r"^.*?:(\d+):(\d+): (.*)$", re.DOTALL)


class Remark(msgspec.Struct, frozen=True, order=True):
    """A problem or a warning, and where; lines and columns count from 1, 0 where it is of no place."""

    line: int
    column: int
    message: str


def remarks_of(problems: Iterable[str]) -> list[Remark]:
    """Returns each problem once, in the order of their places."""
    return sorted({remark_of(problem) for problem in problems})


def remark_of(problem: str) -> Remark:
    """Takes one problem apart."""
    match = _PLACE.match(problem)
    return Remark(int(match[1]), int(match[2]), match[3]) if match else Remark(0, 0, problem)
