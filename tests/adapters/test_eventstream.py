"""AWS's event stream, fed in every way a network may deliver it, against botocore's own parser."""

from __future__ import annotations

import base64
import random
import struct
from binascii import crc32
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from adapters._eventstream import Frame, Framer
from gateway.core.errors import Reason, UpstreamError
from tests.adapters.anthropic_wire import corpus
from tests.fakes.bedrock_wire import event, frame, header

STREAMS = corpus("bedrock.converse.stream", "bedrock.invoke.stream")


def framed(pieces: Iterable[bytes]) -> list[tuple[dict[str, Any], bytes]]:
    framer = Framer()
    found = []
    for piece in pieces:
        framer.push(piece)
        while (read := framer.next()) is not None:
            found.append((dict(read.headers), read.payload))
    assert framer.pending == 0
    return found


def by_botocore(raw: bytes) -> list[tuple[dict[str, Any], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    return [(each.headers, each.payload) for each in buffer]


def pieces(raw: bytes, edges: Iterable[int]) -> list[bytes]:
    return [raw[begin:end] for begin, end in pairwise(sorted({0, len(raw), *edges}))]


@pytest.mark.parametrize("record", STREAMS)
def test_recorded_frames_are_those_that_botocore_reads_however_they_are_cut(record: Any) -> None:
    raw = base64.b64decode(record["response"]["body_b64"])
    expected = by_botocore(raw)
    assert len(expected) == record["response"]["eventstream"]["messages"]
    assert framed([raw]) == expected
    assert framed(raw[place : place + 1] for place in range(len(raw))) == expected
    dice = random.Random(record["id"])
    for _ in range(5):
        assert framed(pieces(raw, (dice.randrange(len(raw)) for _ in range(20)))) == expected


INTEGERS = {2: ("!b", 8), 3: ("!h", 16), 4: ("!i", 32), 5: ("!q", 64), 8: ("!q", 64)}
short = st.binary(max_size=40)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Draws a block of headers, each of any type there is."""
    names = draw(st.lists(st.text("abc:-", min_size=1, max_size=8), unique=True, max_size=6))
    block = b""
    for name in names:
        kind = draw(st.integers(0, 9))
        if kind in INTEGERS:
            form, bits = INTEGERS[kind]
            value = struct.pack(form, draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)))
        elif kind == 6:
            raw = draw(short)
            value = struct.pack("!H", len(raw)) + raw
        elif kind == 7:
            raw = draw(st.text(max_size=20)).encode()
            value = struct.pack("!H", len(raw)) + raw
        else:
            value = draw(st.binary(min_size=16, max_size=16)) if kind == 9 else b""
        block += bytes([len(name)]) + name.encode() + bytes([kind]) + value
    return block


@given(st.lists(st.tuples(headers(), st.binary(max_size=200)), max_size=5), st.lists(st.integers(0, 500)))
def test_frames_with_headers_of_every_type_are_those_that_botocore_reads(
    written: list[tuple[bytes, bytes]], edges: list[int]
) -> None:
    raw = b"".join(frame(head, payload) for head, payload in written)
    assert framed(pieces(raw, (edge for edge in edges if edge < len(raw)))) == by_botocore(raw)


def damaged(raw: bytes) -> UpstreamError:
    framer = Framer()
    framer.push(raw)
    with pytest.raises(UpstreamError) as caught:
        framer.next()
    assert caught.value.reason is Reason.SERVER_ERROR
    return caught.value


def test_every_flipped_bit_is_told() -> None:
    raw = event("contentBlockDelta", delta={"text": "hi"})
    for place in range(len(raw)):
        damaged(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])


def test_frames_before_a_damaged_one_are_read() -> None:
    good = event("messageStart", role="assistant")
    framer = Framer()
    framer.push(good + good[:-1] + b"\0")
    assert isinstance(framer.next(), Frame)
    with pytest.raises(UpstreamError, match="checksum of a message"):
        framer.next()


@pytest.mark.parametrize(
    ("total", "head"), [(16 + 24 * 2**20 + 1, 0), (200_000, 128 * 1024 + 1), (15, 0), (20, 8), (0, 0)]
)
def test_a_length_past_the_bounds_is_refused_before_its_bytes_are_awaited(total: int, head: int) -> None:
    prelude = struct.pack("!II", total, head)
    assert "bytes" in str(damaged(prelude + struct.pack("!I", crc32(prelude))))


def test_a_body_that_is_no_event_stream_is_told_at_once() -> None:
    damaged(b'{"message": "Internal Server Error"}')


@pytest.mark.parametrize(
    "block",
    [
        b"\x03abc",  # no type
        b"\x03abc\x0a",  # a type there is not
        b"\x03abc\x07\x00\x05four",  # a text that ends early
        b"\x03abc\x04\x00\x00",  # an integer that ends early
        b"\x03abc\x09short",  # a UUID that ends early
        b"\x03abc\x07\x00\x01\xff",  # no UTF-8
        b"\x02\xff\xff\x00",  # nor the name
        header("twice", "a") + header("twice", "b"),
    ],
)
def test_headers_that_cannot_be_read_are_a_damaged_frame(block: bytes) -> None:
    damaged(frame(block))


def test_nothing_of_a_frame_is_given_before_it_is_whole() -> None:
    raw = event("messageStop", stopReason="end_turn")
    for cut in range(len(raw)):
        framer = Framer()
        framer.push(raw[:cut])
        assert framer.next() is None
        assert framer.pending == cut
