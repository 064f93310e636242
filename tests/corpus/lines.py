"""The recorded exchanges, and their answers as the bytes that a provider sent."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

SHARED = Path(__file__).resolve().parents[3] / "shared"
CORPUS = SHARED / "corpus" / "dev"

Record = dict[str, Any]


class Answer(NamedTuple):
    """An answer's bytes: `form` is json, sse, ndjson, eventstream or array; `ends` are the places where events end."""

    form: str
    raw: bytes
    ends: tuple[int, ...]

    @property
    def streamed(self) -> bool:
        return self.form != "json"


@cache
def records() -> tuple[Record, ...]:
    """Returns every line of the corpus, in the order of its files; none where it is not beside the repository."""
    return tuple(_records())


def _records() -> Iterator[Record]:
    for path in sorted(CORPUS.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def answer_of(record: Record) -> Answer:
    """Returns a recorded answer as bytes; raises KeyError for a format that the corpus had none of."""
    response = record["response"]
    form = response["format"]
    if form == "json":
        body = response["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()
        return Answer("json", raw, ())
    if form == "sse":
        raw = response["sse"].encode()
        return Answer("sse", raw, tuple(found.end() for found in re.finditer(rb"\r?\n\r?\n", raw)))
    if form == "ndjson":
        raw = response["text"].encode()
        return Answer("ndjson", raw, tuple(found.end() for found in re.finditer(rb"\n", raw)))
    if form == "json-array-stream":
        return _array(response["body"])
    if form == "eventstream":
        raw = base64.b64decode(response["body_b64"])
        return Answer("eventstream", raw, tuple(_frames(raw)))
    if form in ("text", "empty"):
        return Answer("json", response.get("text", "").encode(), ())
    raise KeyError(form)


def _array(chunks: list[Any]) -> Answer:
    """Writes Gemini's stream without `alt=sse` as it comes: an array whose elements come one by one."""
    raw = b"["
    ends = []
    for index, chunk in enumerate(chunks):
        raw += (b",\r\n" if index else b"") + json.dumps(chunk, ensure_ascii=False, indent=2).encode()
        ends.append(len(raw))
    return Answer("array", raw + b"\n]", tuple(ends))


def _frames(raw: bytes) -> Iterator[int]:
    place = 0
    while place < len(raw):
        place += struct.unpack_from(">I", raw, place)[0]
        yield place


def headers_of(record: Record) -> tuple[tuple[bytes, bytes], ...]:
    """Returns an answer's headers as a transport gives them."""
    headers = record["response"].get("headers") or {}
    return tuple(
        (str(name).lower().encode(), str(value).encode("latin-1", "replace")) for name, value in headers.items()
    )
