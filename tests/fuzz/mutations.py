"""Mutates recorded traffic: bytes, events and JSON values, by one seeded source of dice, so that a seed tells all."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

# Values that readers of JSON trip over: other types, bounds, depths, texts that are no texts.
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    -0.0,
    2**31,
    2**63,
    -(2**64),
    10**30,
    1e308,
    "",
    " ",
    "\x00",
    "\ud800",
    "\U0001f600",
    "[DONE]",
    "data: x\n\n",
    "A" * 300,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"error": {"message": "m", "type": "t"}},
    {"type": "error"},
)
NESTED = b'{"a":' * 400 + b"1" + b"}" * 400
RAW = (b"NaN", b"Infinity", b"1e999", b"-", b"{", b"}", b"]", b'"', b"\\", b"\xff", b"\xc3", b"\xed\xa0\x80", NESTED)
LINES = (
    b": comment\n\n",
    b"data:\n\n",
    b"data: \n\n",
    b"data: [DONE]\n\n",
    b"data: null\n\n",
    b"data: []\n\n",
    b"data: {}\n\n",
    b'data: {"error": "x"}\n\n',
    b"event: error\ndata: {}\n\n",
    b"event: ping\n\n",
    b"id: 1\nretry: 5\n\n",
    b"\n\n\n",
    b"\r\n\r\n",
    b"\xef\xbb\xbf",
    b"<html>502</html>\n\n",
)


class Mutator:
    """Makes one input of another, and of those it has seen before."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def mutate(self, data: bytes, other: bytes, form: str) -> bytes:
        """Returns mutated data; `other` is an answer of the same wire to splice from, `form` as in `lines.Answer`."""
        for _ in range(self._dice.choice((1, 1, 1, 2, 3, 6))):
            data = self._once(data, other, form)
        return data

    def _once(self, data: bytes, other: bytes, form: str) -> bytes:
        if form == "eventstream":
            ways: tuple[Callable[[bytes, bytes, str], bytes], ...] = (self._frames, self._frames, self._frames, *_BYTES)
        else:
            ways = (self._values, self._values, self._events, *_BYTES)
        chosen = self._dice.choice(ways)
        return chosen(data, other, form) if chosen not in _BYTES else chosen(self, data, other)  # type: ignore[call-arg,arg-type,return-value]

    # -- bytes --

    def flip(self, data: bytes, other: bytes) -> bytes:
        if not data:
            return data
        at = self._dice.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._dice.randrange(8)]) + data[at + 1 :]

    def cut(self, data: bytes, other: bytes) -> bytes:
        return data[: self._dice.randrange(len(data) + 1)]

    def drop(self, data: bytes, other: bytes) -> bytes:
        begin = self._dice.randrange(len(data) + 1)
        return data[:begin] + data[begin + self._dice.choice((1, 2, 7, 64, 500)) :]

    def repeat(self, data: bytes, other: bytes) -> bytes:
        begin = self._dice.randrange(len(data) + 1)
        end = begin + self._dice.choice((1, 20, 200, 900))
        return data[:end] + data[begin:end] * self._dice.choice((1, 2, 9)) + data[end:]

    def insert(self, data: bytes, other: bytes) -> bytes:
        at = self._dice.randrange(len(data) + 1)
        return data[:at] + self._dice.choice(RAW) + data[at:]

    def splice(self, data: bytes, other: bytes) -> bytes:
        return data[: self._dice.randrange(len(data) + 1)] + other[self._dice.randrange(len(other) + 1) :]

    # -- events --

    def _events(self, data: bytes, other: bytes, form: str) -> bytes:
        separator = {"sse": b"\n\n", "ndjson": b"\n"}.get(form)
        if separator is None:
            return self._values(data, other, form)
        events = data.split(separator)
        at = self._dice.randrange(len(events))
        way = self._dice.randrange(5)
        if way == 0:
            del events[at]
        elif way == 1:
            events.insert(at, self._dice.choice(LINES).removesuffix(separator))
        elif way == 2:
            events.insert(at, self._dice.choice(events))
        elif way == 3:
            events.insert(at, self._dice.choice(other.split(separator)))
        else:
            with_other = self._dice.randrange(len(events))
            events[at], events[with_other] = events[with_other], events[at]
        return separator.join(events)

    # -- values --

    def _values(self, data: bytes, other: bytes, form: str) -> bytes:
        """Replaces a value somewhere in one of the JSON documents of an answer."""
        begin, end = self._document(data, form)
        changed = self.document(data[begin:end])
        return data if changed is None else data[:begin] + changed + data[end:]

    def _document(self, data: bytes, form: str) -> tuple[int, int]:
        if form in ("json", "array"):
            return 0, len(data)
        found = data.find(b"{", self._dice.randrange(len(data) + 1))
        end = data.find(b"\n", found)
        return (found, len(data) if end < 0 else end) if found >= 0 else (0, 0)

    def document(self, document: bytes) -> bytes | None:
        """Returns a JSON document with one thing changed; None where it is none."""
        try:
            value = json.loads(document)
        except (ValueError, RecursionError):
            return None
        places: list[tuple[Any, Any]] = []
        _collect(value, places)
        if not places:
            return None
        holder, key = self._dice.choice(places)
        way = self._dice.randrange(8)
        if way == 0:
            del holder[key]
        elif way == 1 and isinstance(holder, dict):
            holder[self._dice.choice(("index", "type", "error", "usage", "id", "", key.upper()))] = holder.pop(key)
        elif way == 2:
            other, at = self._dice.choice(places)
            holder[key] = json.loads(json.dumps(other[at])) if (other, at) != (holder, key) else None
        elif way == 3 and isinstance(holder[key], str):
            text = holder[key]
            at = self._dice.randrange(len(text) + 1)
            holder[key] = (
                text[:at] + self._dice.choice(("\ud83d", '"', "\\", "\n\ndata: [DONE]\n\n", "é", "")) + text[at:]
            )
        elif way == 4 and isinstance(holder, list):
            holder.insert(key, self._dice.choice(ODD))
        else:
            holder[key] = self._dice.choice(ODD)
        return json.dumps(value, ensure_ascii=self._dice.random() < 0.5).encode("utf-8", "surrogatepass")

    # -- frames of AWS's event stream --

    def _frames(self, data: bytes, other: bytes, form: str) -> bytes:
        frames = list(_split(data))
        if not frames:
            return data
        at = self._dice.randrange(len(frames))
        way = self._dice.randrange(6)
        if way == 0:
            del frames[at]
        elif way == 1:
            frames.insert(at, self._dice.choice(frames))
        elif way == 2:
            others = list(_split(other))
            frames.insert(at, self._dice.choice(others or frames))
        elif way == 3:
            headers, payload = _opened(frames[at])
            frames[at] = framed(headers.replace(b"\x05event", b"\x05error").replace(b"Delta", b"Dalte"), payload)
        else:
            headers, payload = _opened(frames[at])
            frames[at] = framed(headers, self.document(payload) or b"")
        return b"".join(frames)


_BYTES = (Mutator.flip, Mutator.cut, Mutator.drop, Mutator.repeat, Mutator.insert, Mutator.splice)


def _collect(value: Any, places: list[tuple[Any, Any]]) -> None:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        places.append((value, key))
        _collect(member, places)


def _split(data: bytes) -> list[bytes]:
    frames = []
    place = 0
    while place + 16 <= len(data):
        size = struct.unpack_from(">I", data, place)[0]
        if size < 16 or place + size > len(data):
            break
        frames.append(data[place : place + size])
        place += size
    return frames


def _opened(frame: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack_from(">I", frame, 4)[0]
    return frame[12 : 12 + size], frame[12 + size : -4]


def framed(headers: bytes, payload: bytes) -> bytes:
    """Returns a frame with the checksums of what it holds."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))
