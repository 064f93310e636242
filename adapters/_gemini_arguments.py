"""Arguments of a function that come piece by piece, each with its place (JSON Path, RFC 9535), as one object.

Source: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from gateway.core.blocks import Json

_STEP: Final = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]""")
_VALUES: Final = ("stringValue", "numberValue", "boolValue")
_LONGEST: Final = 100_000  # of a list that a place may name


class Arguments:
    """The arguments of one call so far."""

    __slots__ = ("_open", "value")

    def __init__(self) -> None:
        self.value: dict[str, Json] = {}
        self._open: str | None = None  # the place whose text goes on

    def add(self, pieces: Json) -> None:
        """Puts pieces in their place; text of a place that was said to go on is appended."""
        for piece in pieces if isinstance(pieces, list) else ():
            path = piece.get("jsonPath") if isinstance(piece, dict) else None
            if not isinstance(path, str):
                continue
            steps = _steps(path)
            value = _value(piece)
            if steps and isinstance(steps[0], str):
                _put(self.value, steps, value, goes_on=self._open == path)
            self._open = path if piece.get("willContinue") is True else None


def _value(piece: Mapping[str, Json]) -> Json:
    value = next((piece[name] for name in _VALUES if name in piece), None)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # protobuf knows doubles only
    return value


def _steps(path: str) -> list[str | int]:
    found = []
    for step in _STEP.finditer(path):
        name, place, single, double = step.groups()
        found.append(int(place) if place is not None else name or single or double or "")
    return found


def _put(holder: Json, steps: list[str | int], value: Json, goes_on: bool) -> None:
    for step, then in pairwise(steps):
        empty: Json = [] if isinstance(then, int) else {}
        inner = _at(holder, step)
        if not isinstance(inner, dict | list):
            _set(holder, step, empty)
            inner = empty
        holder = inner
    before = _at(holder, steps[-1])
    if goes_on and isinstance(before, str) and isinstance(value, str):
        value = before + value
    _set(holder, steps[-1], value)


def _at(holder: Json, step: str | int) -> Json:
    if isinstance(holder, dict):
        return holder.get(step)
    return holder[step] if isinstance(step, int) and step < len(holder) else None


def _set(holder: Json, step: str | int, value: Json) -> None:
    if isinstance(holder, dict):
        holder[step if isinstance(step, str) else str(step)] = value
    elif isinstance(step, int) and step < _LONGEST:
        holder.extend([None] * (step + 1 - len(holder)))
        holder[step] = value
