"""YAML text -> a tree of nodes that know their line and column.

Read as the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema), so that `on`, `no` and `1:30` are
text. Built from the parser's events rather than from its composed nodes: a third faster, and no tag or merge key
gets in. Anchors and aliases work.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from gateway.core.errors import ConfigError

Path = tuple[str | int, ...]
Scalar = str | int | float | bool | None

_DEPTH: Final = 50  # the deepest config has eight levels

_WORDS: Final[dict[str, Scalar]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")  # a longer one is text, and wrong wherever a number is wanted
_OCTAL_OR_HEX: Final = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")


class Node(msgspec.Struct):
    """One value and where it begins; lines and columns count from 1. `keys` are a mapping's keys and their places."""

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = {}


NAME: Final = "config.yaml"  # of a text that stands in no file


class Document:
    """A parsed config file: its root, and the way from a path to a place in the text."""

    def __init__(self, name: str, root: Node) -> None:
        self.name = name
        self.root = root

    def at(self, *path: str | int) -> str:
        """Returns `file:line:column` of the value at this path; else of its nearest parent."""
        line, column = self.place(*path)
        return f"{self.name}:{line}:{column}"

    def place(self, *path: str | int, key: bool = False) -> tuple[int, int]:
        """Returns line and column of the value at this path, or of its key; else of its nearest parent."""
        node = self.root
        line, column = node.line, node.column
        for step in path:
            if isinstance(node.value, dict) and isinstance(step, str):
                child = node.value.get(step)
                place = node.keys.get(step, (line, column))
            elif isinstance(node.value, list) and isinstance(step, int) and 0 <= step < len(node.value):
                child = node.value[step]
                place = (child.line, child.column)
            else:
                break
            if child is None:
                break
            node = child
            line, column = place if key else (node.line, node.column)
        return line, column


@lru_cache(4)  # a draft is looked at again and again on its way: 7 us a character, none the second time
def parse(text: str, name: str) -> Document:
    """Reads one YAML document whose root is a mapping; raises ConfigError, with every duplicate key at once.

    What it returns is shared, and changed by nobody.
    """
    builder = _Builder(name)
    place = "1:1"
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            place = f"{event.end_mark.line + 1}:{event.end_mark.column + 1}"
            builder.take(event)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            [f"{name}:{line}:1: the character U+{ord(text[error.position]):04X} is not allowed"]
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            place = f"{mark.line + 1}:{mark.column + 1}"
        raise ConfigError([*builder.problems, f"{name}:{place}: {error.problem or error.context}"]) from None
    except (YAMLError, ArithmeticError, ValueError, AssertionError):
        # how the parser ends on "\\UFFFFFFFF" and on "%YAML 1.3"
        raise ConfigError([*builder.problems, f"{name}:{place}: what follows is not YAML 1.2"]) from None
    if builder.root is None:
        builder.root = Node({}, 1, 1)
    elif not isinstance(builder.root.value, dict):
        builder.problems.append(f"{name}:1:1: a config is a mapping of sections, such as `server:` and `providers:`")
    if builder.problems:
        raise ConfigError(builder.problems)
    return Document(name, builder.root)


class _Builder:
    """Folds events into nodes; an anchor exists once its node is whole, so no node can contain itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Node | None = None
        self.problems: list[str] = []
        self._documents = 0
        self._open: list[tuple[Node, str | None]] = []
        self._keys: list[str | None] = []  # per open node: the key that waits for its value
        self._anchors: dict[str, Node] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            line, column = self._place(event)
            self._tagless(event)
            value: Scalar = event.value
            if event.implicit[0] and not event.style:
                value = resolve(event.value)
            node = Node(value, line, column)
            self._anchor(event.anchor, node)
            self._add(node, event.value)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            line, column = self._place(event)
            self._tagless(event)
            node = Node({} if isinstance(event, MappingStartEvent) else [], line, column, {})
            if len(self._open) >= _DEPTH:
                self._fatal(event, f"more than {_DEPTH} levels are nested")
            self._open.append((node, event.anchor))
            self._keys.append(None)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            node, anchor = self._open.pop()
            self._keys.pop()
            self._anchor(anchor, node)
            self._add(node, None)
        elif isinstance(event, AliasEvent):
            known = self._anchors.get(event.anchor)
            if known is None:
                self._fatal(event, f"there is no anchor &{event.anchor} before this")
            else:
                self._add(known, known.value if isinstance(known.value, str) else None, self._place(event))
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._fatal(event, "a config is one document: a second one begins here")
            if event.version not in (None, (1, 2)):
                self._fatal(event, "a config is YAML 1.2")

    def _add(self, node: Node, text: str | None, place: tuple[int, int] | None = None) -> None:
        if not self._open:
            self.root = node
            return
        parent, _ = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(node)
            return
        assert isinstance(parent.value, dict)
        key = self._keys[-1]
        if key is not None:
            self._keys[-1] = None
            if key not in parent.value:
                parent.value[key] = node
            return
        line, column = place or (node.line, node.column)
        if text is None:
            self.problems.append(f"{self.name}:{line}:{column}: a key must be a word")
            text = ""
        if text in parent.keys:
            first = parent.keys[text]
            self.problems.append(
                f"{self.name}:{line}:{column}: the key {text!r} stands here twice, first at line {first[0]}"
            )
        else:
            parent.keys[text] = (line, column)
        self._keys[-1] = text

    def _anchor(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _tagless(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.tag is not None:
            self._fatal(event, "tags are not read: write the plain value")

    def _fatal(self, event: Event, message: str) -> None:
        line, column = self._place(event)
        raise ConfigError([*self.problems, f"{self.name}:{line}:{column}: {message}"])

    @staticmethod
    def _place(event: Event) -> tuple[int, int]:
        return event.start_mark.line + 1, event.start_mark.column + 1


def resolve(text: str) -> Scalar:
    """Gives a plain scalar its type."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in "+-.0123456789":
        if _INT.fullmatch(text):
            return int(text)
        if _OCTAL_OR_HEX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
            return number
    return text
