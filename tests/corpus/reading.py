"""What an answer says, whoever's wire it came by: the values that recordings and our own bytes are compared in.

Nothing here or in `readers` calls what is tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Called(NamedTuple):
    """A tool call; `arguments` is a JSON value, or text where it is no JSON (or a custom tool's)."""

    name: str
    arguments: Any


class Counts(NamedTuple):
    """Tokens: all that went in, of these read from and written to a cache; all that came out, of these reasoning."""

    into: int
    cached: int = 0
    written: int = 0
    out: int = 0
    reasoning: int = 0

    @property
    def contradicts(self) -> bool:
        """Whether a part is more than its whole, so that no reading is right."""
        return self.cached + self.written > self.into or self.reasoning > self.out or min(self) < 0


@dataclass
class Said:
    """One choice of an answer. `finish` is in our words, or what `unknown` makes of the provider's own."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[Called] = field(default_factory=list)
    finish: str | None = None
    signatures: list[str] = field(default_factory=list)
    opaque: list[str] = field(default_factory=list)  # the types of blocks that only their provider knows
    images: list[str] = field(default_factory=list)  # base64
    audio: str = ""  # base64
    transcript: str = ""  # of the audio

    @property
    def speaks(self) -> bool:
        told = (self.text, self.reasoning, self.refusal, self.audio, self.transcript)
        return any(told) or bool(self.calls or self.opaque or self.images)


@dataclass
class Reading:
    """A whole answer, or what there was of one: `ended` is True where its wire says that nothing is missing."""

    choices: dict[int, Said] = field(default_factory=dict)
    counts: Counts | None = None
    error: Any = None
    ended: bool = False
    vectors: list[list[float]] = field(default_factory=list)

    def choice(self, index: int = 0) -> Said:
        return self.choices.setdefault(index, Said())

    @property
    def finished(self) -> bool:
        """Whether every choice has its finish."""
        return bool(self.choices) and all(said.finish is not None for said in self.choices.values())


def unknown(native: str) -> str:
    """Returns how a finish is written that is none of ours: whatever we make of it, it must not be a clean one."""
    return f"?{native}"


class Event(NamedTuple):
    """An event of an event stream; `data` of None where it has none."""

    name: str | None
    data: str | None


def events(raw: bytes, cut: bool = False) -> Iterator[Event]:
    """Splits an event stream (WHATWG HTML, 9.2.6); with `cut`, what stands after the last blank line counts too."""
    text = raw.decode("utf-8", "replace").removeprefix("\ufeff")
    blocks = re.split(r"(?:\r\n|\n|\r)(?:\r\n|\n|\r)+", text)
    if not cut and blocks and not re.search(r"(?:\r\n|\n|\r){2}$", text):
        blocks.pop()
    for block in blocks:
        name = None
        data = []
        for line in re.split(r"\r\n|\n|\r", block):
            head, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if head == "data":
                data.append(value)
            elif head == "event":
                name = value
        if data or name:
            yield Event(name, "\n".join(data) if data else None)


def objects(raw: bytes, cut: bool = True) -> Iterator[dict[str, Any]]:
    """Yields the JSON objects of an event stream; the sentinel and what is no JSON are passed over."""
    for event in events(raw, cut):
        if event.data is not None and event.data.strip() != "[DONE]":
            try:
                value = json.loads(event.data)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def arguments(text: Any) -> Any:
    """Returns a call's arguments as a JSON value: no text means an empty object."""
    if not isinstance(text, str):
        return {} if text is None else text
    if not text.strip():
        return {}
    try:
        return json.loads(text)
    except ValueError:
        return text
