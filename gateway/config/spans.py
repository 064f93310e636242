"""YAML text -> where each of its values stands: what an edit cuts out and puts in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

_ANCHOR: Final = re.compile(r"&[^\s,\[\]{}]+(?:\s|#[^\n]*\n)*")
_COMMENT: Final = re.compile(r"#[^\n]*")


class Member(msgspec.Struct):
    """One member of a collection. `start` is that of its key or, in a list of lines, of its dash."""

    start: int
    span: Span
    key: str | None = None
    key_end: int = 0


class Span(msgspec.Struct):
    """A value's place: characters [start, end) of the text, without its anchor and without comments around it.

    `style` is how a scalar is written ("" for plain, a quote, `|`, `>`), or that a collection is `flow` or `block`.
    """

    kind: Literal["scalar", "mapping", "list", "alias"]
    start: int
    end: int
    style: str = ""
    members: list[Member] = []

    @property
    def is_block(self) -> bool:
        """Whether it is a collection of lines."""
        return self.style == "block"

    def member(self, step: str | int) -> Member | None:
        """Returns the member of this key or, counted from 0, at this place."""
        if isinstance(step, int):
            inside = self.kind == "list" and 0 <= step < len(self.members)
            return self.members[step] if inside else None
        return next((member for member in self.members if member.key == step), None) if self.kind == "mapping" else None


@lru_cache(4)
def spans_of(text: str) -> Span | None:
    """Returns the root's span with all within it, or None of a text without any value; `parse` must take the text.

    What it returns is shared, and changed by nobody.
    """
    builder = _Builder(text)
    for event in YAML(typ="safe", pure=True).parse(text):
        builder.take(event)
    return builder.root


def first_outside_comments(text: str, mark: str, start: int, end: int) -> int:
    """Returns where a character first stands in [start, end) but in no comment, or -1."""
    bare = _COMMENT.sub(lambda match: " " * len(match[0]), text[start:end])
    found = bare.find(mark)
    return start + found if found >= 0 else -1


class _Builder:
    def __init__(self, text: str) -> None:
        self.root: Span | None = None
        self._text = text
        self._open: list[Span] = []
        self._keys: list[tuple[str, int, int] | None] = []  # per open mapping: the key that waits for its value

    def take(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            start, end = self._bare(event), event.end_mark.index
            if event.style in ("|", ">"):
                end = start + len(self._text[start:end].rstrip())
            self._add(event, Span("scalar", start, max(start, end), event.style or ""), event.value)
        elif isinstance(event, AliasEvent):
            self._add(event, Span("alias", event.start_mark.index, event.end_mark.index), None)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            kind: Literal["mapping", "list"] = "mapping" if isinstance(event, MappingStartEvent) else "list"
            style = "flow" if event.flow_style else "block"
            span = Span(kind, self._bare(event), event.end_mark.index, style, [])
            self._add(event, span, None)
            self._open.append(span)
            self._keys.append(None)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._keys.pop()
            self._close(self._open.pop(), event)

    def _close(self, span: Span, event: Event) -> None:
        if not span.is_block:
            span.end = event.end_mark.index
        elif span.members:  # the parser's own end is where the next value begins, comments included
            span.start, span.end = span.members[0].start, max(span.start, span.members[-1].span.end)

    def _add(self, event: Event, span: Span, word: str | None) -> None:
        if not self._open:
            self.root = span
            return
        parent = self._open[-1]
        start = event.start_mark.index
        if parent.kind == "list":
            if parent.is_block:
                after = parent.members[-1].span.end if parent.members else parent.start
                start = first_outside_comments(self._text, "-", after, start)
            parent.members.append(Member(start, span))
            return
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = (word or "", start, span.end)
            return
        self._keys[-1] = None
        if span.start == span.end and span.kind == "scalar":
            # An empty value's mark stands before the next token; its place is behind the colon.
            colon = first_outside_comments(self._text, ":", key[2], span.start)
            span.start = span.end = colon + 1 if colon >= 0 else span.start
        parent.members.append(Member(key[1], span, key[0], key[2]))

    def _bare(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> int:
        """Returns where a value begins behind its anchor."""
        start: int = event.start_mark.index
        if event.anchor is not None and (match := _ANCHOR.match(self._text, start)):
            start = match.end()
        return start
