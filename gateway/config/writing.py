"""Plain data -> YAML, in the few forms that edits use: plain or quoted scalars, flow collections, blocks of lines."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.config.document import resolve

Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]

_WIDTH: Final = 110
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/.@+*%=-]*(?: [A-Za-z0-9_/.@+*%=-]+)*")
# What YAML 1.1 takes for a boolean is quoted, so that no reader of the file is misled.
_MISREAD: Final = frozenset({"y", "n", "yes", "no", "on", "off"})
_ESCAPES: Final[Mapping[str, str]] = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def as_scalar(value: Value, style: str, *, flow: bool) -> str:
    """Writes a scalar, in the quotes of what it takes the place of where it is text; raises ValueError for a NaN."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, int | float):
        return repr(value)
    assert isinstance(value, str)
    if style == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    if style == '"' or not _is_plain(value):
        return '"' + "".join(map(_escaped, value)) + '"'
    return value


def as_key(key: str) -> str:
    """Writes a mapping's key: always text, whatever it looks like."""
    return key if _PLAIN.fullmatch(key) else as_scalar(key, '"', flow=True)


def as_flow(value: Value) -> str:
    """Writes a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_key(key)}: {as_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_flow, value)) + "]"
    return as_scalar(value, "", flow=True)


def as_block(value: Mapping[str, Value] | Sequence[Value] | Value, column: int, newline: str) -> str:
    """Writes a collection as lines that begin at a column; members that fit on a line are on one."""
    lines: list[str] = []
    indent = " " * column
    members = value.items() if isinstance(value, dict) else [(None, each) for each in value]  # type: ignore[union-attr]
    for key, each in members:
        head = "- " if key is None else f"{as_key(key)}: "
        inline = as_flow(each)
        if not isinstance(each, (dict, list)) or not each or fits(column, head + inline):
            lines.append(indent + head + inline)
        elif key is None:
            lines.append(indent + head + as_block(each, column + 2, newline).lstrip(" "))
        else:
            lines.append(indent + head[:-1])
            lines.append(as_block(each, column + 2, newline))
    return newline.join(lines)


def fits(column: int, line: str) -> bool:
    """Tells whether a line that begins at a column is short enough."""
    return column + len(line) <= _WIDTH


def _is_plain(text: str) -> bool:
    return bool(_PLAIN.fullmatch(text)) and resolve(text) == text and text.lower() not in _MISREAD


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
