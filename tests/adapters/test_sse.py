"""Framing: whole events out of any reads, and what one event says."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import _sse
from gateway.core.errors import UpstreamError

_LINES = st.sampled_from([b"data: {}", b"data:x", b": comment", b"event: error", b"data", b"id: 7", b"data: \xc3\xa9"])
_EVENT = st.lists(_LINES, min_size=1, max_size=4)


@given(
    events=st.lists(_EVENT, min_size=1, max_size=6),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_split_of_the_bytes_gives_the_same_events(events: list[list[bytes]], end: bytes, cuts: list[int]) -> None:
    stream = b"".join(end.join(lines) + end + end for lines in events) + b"data: tail\n\n"
    framer = _sse.Framer()
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    whole = [framer.push(stream[a:b]) for a, b in pairwise(edges)]
    assert b"".join(whole) + framer.rest() == stream
    assert framer.rest() == b""
    seen = [_sse.read(block) for part in whole for block in _sse.blocks(part)]
    assert seen == [_sse.read(b"\n".join(lines)) for lines in [*events, [b"data: tail"]]]


def test_a_half_event_is_held_until_its_blank_line() -> None:
    framer = _sse.Framer()
    assert framer.push(b"data: 1\n\ndata: 2") == b"data: 1\n\n"
    assert framer.push(b"\n") == b""
    assert framer.push(b"\n") == b"data: 2\n\n"
    assert framer.rest() == b""


def test_a_carriage_return_at_the_end_may_be_half_a_line_end() -> None:
    framer = _sse.Framer()
    assert framer.push(b"data: 1\r\n\r") == b""
    assert framer.push(b"\ndata: 2\r\n\r\n") == b"data: 1\r\n\r\ndata: 2\r\n\r\n"


def test_an_event_without_end_is_refused_once_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sse, "EVENT_BYTES_MAX", 1000)
    framer = _sse.Framer()
    for _ in range(10):
        framer.push(b"x" * 100)
    with pytest.raises(UpstreamError, match="1000 bytes"):
        framer.push(b"x")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"data: a\ndata: b\n\n", (b"", b"a\nb", b"")),
        (b"data:a\n\n", (b"", b"a", b"")),
        (b"data:  a\n\n", (b"", b" a", b"")),
        (b"event: error\ndata: x\r\n\r\n", (b"error", b"x", b"")),
        (b": keep-alive\n\n", (b"", None, b"")),
        (b"\xef\xbb\xbfdata: x\n\n", (b"", b"x", b"")),
        (b"<html>\noops\n\n", (b"", None, b"<html>\noops")),
    ],
)
def test_an_event_is_read_by_the_standard(block: bytes, expected: tuple[bytes, bytes | None, bytes]) -> None:
    assert _sse.read(block) == expected
