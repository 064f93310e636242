"""A config as it was given: each of its values with its path, its place, and what became of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

from gateway.config.document import Document, Node, Path, Scalar
from gateway.core.errors import ConfigError
from gateway.importing.report import Line, Verdict

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST: Final = 100_000  # values; aliases of aliases have no bound
_YES: Final = frozenset({"true", "yes", "on"})
_NO: Final = frozenset({"false", "no", "off"})


class Given:
    """One value of the config. Whoever takes it over says what became of it (`tell`); values that nobody told of are
    unsupported, so that nothing gets lost."""

    __slots__ = ("_book", "_node", "path")

    def __init__(self, node: Node, path: Path, book: Book) -> None:
        self._node = node
        self.path = path
        self._book = book

    @property
    def value(self) -> Scalar:
        """The scalar, None where it is a mapping or a list."""
        return None if isinstance(self._node.value, dict | list) else self._node.value

    @property
    def text(self) -> str | None:
        """The value if it is text that is not empty."""
        return self.value or None if isinstance(self.value, str) else None

    @property
    def number(self) -> float | None:
        """The value if it is a number, or text that LiteLLM would read as one."""
        value = self.value
        if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            value = float(value)
        return None if isinstance(value, bool | str) or value is None else float(value)

    @property
    def whole(self) -> int | None:
        """The value if it is a whole number."""
        return int(self.number) if self.number is not None and self.number.is_integer() else None

    @property
    def flag(self) -> bool | None:
        """The value if it is true or false, in YAML 1.1's words too, which LiteLLM reads."""
        word = str(self.value).lower()
        return True if word in _YES else False if word in _NO else None

    @property
    def at(self) -> str:
        """`file:line`, as instructions name it."""
        return f"{self._book.name}:{self._node.line}"

    @property
    def line(self) -> str:
        """The line, as remarks name it."""
        return f"line {self._node.line}"

    def get(self, key: str) -> Given | None:
        """Returns the value of a key of a mapping."""
        node = _fields(self._node).get(key)
        return None if node is None else Given(node, (*self.path, key), self._book)

    def fields(self) -> Iterator[tuple[str, Given]]:
        """Yields a mapping's keys and values."""
        for key, node in _fields(self._node).items():
            yield key, Given(node, (*self.path, key), self._book)

    def items(self) -> Iterator[Given]:
        """Yields a list's values."""
        if isinstance(self._node.value, list):
            for index, node in enumerate(self._node.value):
                yield Given(node, (*self.path, index), self._book)

    def leaves(self) -> Iterator[Given]:
        """Yields every scalar, empty mapping and empty list in it."""
        empty = True
        for _, child in self.fields():
            empty = False
            yield from child.leaves()
        for child in self.items():
            empty = False
            yield from child.leaves()
        if empty:
            yield self

    def tell(self, verdict: Verdict, became: str | None, why: str) -> None:
        """Says what became of this value and of all in it that was not told of before."""
        for leaf in self.leaves():
            self._book.lines.setdefault(leaf.path, leaf._line(verdict, became, why))

    def exact(self, became: str, why: str = "") -> None:
        """Says that this means the same here."""
        self.tell("exact", became, why)

    def near(self, became: str, why: str) -> None:
        """Says that this became something like it, and what the difference is."""
        self.tell("approximate", became, why)

    def lost(self, why: str) -> None:
        """Says that this was not taken over, and why."""
        self.tell("unsupported", None, why)

    def _line(self, verdict: Verdict, became: str | None, why: str) -> Line:
        node = self._node
        return Line(f"{self._book.name}:{node.line}:{node.column}", written(self.path), verdict, became, why)


class Book:
    """What became of each value, by its path."""

    def __init__(self, document: Document) -> None:
        self.name = document.name
        self.lines: dict[Path, Line] = {}
        self.root = Given(document.root, (), self)
        for count, _ in enumerate(self.root.leaves()):
            if count == _MOST:
                raise ConfigError([f"{document.name}:1:1: this has more than {_MOST} values"])

    def close(self) -> list[Line]:
        """Returns a line for every value, in the config's order."""
        self.root.lost("Headgate has nothing that this could become")
        return [self.lines[leaf.path] for leaf in self.root.leaves()]


def written(path: Path) -> str:
    """Writes a path for people: model_list[0].litellm_params.api_key."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text or "."


def _fields(node: Node) -> dict[str, Node]:
    """Returns a mapping's values; what it merges in (`<<`, of YAML 1.1) counts as written there."""
    if not isinstance(node.value, dict):
        return {}
    if "<<" not in node.value:
        return node.value
    merged = node.value["<<"]
    sources = merged.value if isinstance(merged.value, list) else [merged]
    if not all(isinstance(source.value, dict) for source in sources):
        return node.value
    fields: dict[str, Node] = {}
    for source in reversed(sources):
        fields |= _fields(source)
    return fields | {key: value for key, value in node.value.items() if key != "<<"}
