"""AWS's binary event stream, as bytes come: frames with typed headers, each length and checksum checked. Sans-IO.

A frame is its length, its headers' length, a CRC-32 of these eight bytes, headers, payload, and a CRC-32 of all
before: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream and
https://smithy.io/2.0/aws/amazon-eventstream.html (2026-11).
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.core.errors import Reason, UpstreamError

HeaderValue = bool | int | bytes | str

_PRELUDE: Final = struct.Struct("!III")
_CHECKSUM: Final = struct.Struct("!I")
_LENGTH: Final = struct.Struct("!H")
_OVERHEAD: Final = _PRELUDE.size + _CHECKSUM.size
_HEADERS_MAX: Final = 128 * 1024  # bytes; both bounds are those of AWS's own parsers
_PAYLOAD_MAX: Final = 24 * 1024 * 1024

# A header's type -> how its value is packed. A timestamp (8) is milliseconds since the epoch.
_NUMBERS: Final[Mapping[int, struct.Struct]] = {
    2: struct.Struct("!b"),
    3: struct.Struct("!h"),
    4: struct.Struct("!i"),
    5: struct.Struct("!q"),
    8: struct.Struct("!q"),
}
_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_UUID_BYTES: Final = 16

# Streams repeat a handful of heads ("contentBlockDelta"): read once, they cost a look-up.
_KNOWN_HEADS_MAX: Final = 32


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message: its headers by name (":message-type", ":event-type", …) and its payload."""

    headers: Mapping[str, HeaderValue]
    payload: bytes


class Framer:
    """Cuts a stream into frames; holds what has come of the next one, which the bounds keep small."""

    __slots__ = ("_at", "_buffer", "_heads")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # where the next frame begins
        self._heads: dict[bytes, Mapping[str, HeaderValue]] = {}

    @property
    def pending(self) -> int:
        """The bytes of a frame that is not whole."""
        return len(self._buffer) - self._at

    def push(self, data: bytes) -> None:
        """Takes what has come."""
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data

    def next(self) -> Frame | None:
        """Returns the next whole frame, None where there is none yet; raises UpstreamError for a damaged one."""
        buffer, at = self._buffer, self._at
        if len(buffer) - at < _PRELUDE.size:
            return None
        total, headers_size, prelude_crc = _PRELUDE.unpack_from(buffer, at)
        payload_size = total - headers_size - _OVERHEAD
        # Of a body that is no event stream the lengths are letters: it is told by the checksum, before any waiting.
        with memoryview(buffer) as view:
            if crc32(view[at : at + 8]) != prelude_crc:
                raise _damaged("the checksum of its prelude is wrong")
            if headers_size > _HEADERS_MAX or not 0 <= payload_size <= _PAYLOAD_MAX:
                raise _damaged(f"a frame of {total} bytes with {headers_size} bytes of headers")
            if len(buffer) - at < total:
                return None
            end = at + total
            if crc32(view[at : end - 4]) != _CHECKSUM.unpack_from(buffer, end - 4)[0]:
                raise _damaged("the checksum of a message is wrong")
            payload_at = at + _PRELUDE.size + headers_size
            head = bytes(view[at + _PRELUDE.size : payload_at])
            payload = bytes(view[payload_at : end - 4])
        self._at = end
        headers = self._heads.get(head)
        if headers is None:
            headers = _headers(head)
            if len(self._heads) < _KNOWN_HEADS_MAX:
                self._heads[head] = headers
        return Frame(headers, payload)


def _headers(head: bytes) -> dict[str, HeaderValue]:
    """Reads a block of headers: a length and a name, a type, a value as its type says."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(head):
            name_end = at + 1 + head[at]
            name = head[at + 1 : name_end].decode()
            kind = head[name_end]
            at = name_end + 1
            value: HeaderValue
            if kind in (_BYTES, _STRING):
                (size,) = _LENGTH.unpack_from(head, at)
                at += _LENGTH.size
                raw = _slice(head, at, size)
                at += size
                value = raw.decode() if kind == _STRING else raw
            elif kind in _NUMBERS:
                (value,) = _NUMBERS[kind].unpack_from(head, at)
                at += _NUMBERS[kind].size
            elif kind in (_TRUE, _FALSE):
                value = kind == _TRUE
            elif kind == _UUID:
                value = _slice(head, at, _UUID_BYTES)
                at += _UUID_BYTES
            else:
                raise _damaged(f"a header of type {kind}")
            if name in headers:
                raise _damaged("a header stands twice")
            headers[name] = value
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _damaged("its headers cannot be read") from None
    return headers


def _slice(head: bytes, at: int, size: int) -> bytes:
    piece = head[at : at + size]
    if len(piece) < size:
        raise IndexError
    return piece


def _damaged(how: str) -> UpstreamError:
    return UpstreamError(Reason.SERVER_ERROR, f"the provider's event stream is damaged: {how}")
