"""Server-sent events as bytes: whole events out of reads that cut them anywhere, and what one event says.

Framing follows the HTML standard (https://html.spec.whatwg.org/multipage/server-sent-events.html, 2026-11): lines end
in LF, CRLF or CR, a blank line ends an event, a leading byte order mark is no content. Bytes are handed on as they
came: a relay that changes nothing joins the blocks again and has the same stream.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.core.errors import Reason, UpstreamError

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024  # an event that grows past this is no answer but an attack on memory

# A blank line. A CR at the very end of what is held may be half a CRLF, so it closes nothing yet.
_BLANK_LINE: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r(?=[^\n]))")
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})


class Framer:
    """Holds back the half event at the end of each read; one per stream."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, data: bytes) -> bytes:
        """Returns the whole events there are now, as they came; raises UpstreamError past `EVENT_BYTES_MAX`."""
        held = self._held
        if not held:
            if data.endswith((b"\n\n", b"\r\n\r\n")):
                return data
            cut = _last_boundary(data, 0)
            held += data[cut:]
            return data[:cut]
        start = max(0, len(held) - 3)  # a boundary is at most four bytes long; what is before was searched already
        held += data
        cut = _last_boundary(held, start)
        if not cut and len(held) > EVENT_BYTES_MAX:
            raise UpstreamError(Reason.SERVER_ERROR, f"the provider sent an event of more than {EVENT_BYTES_MAX} bytes")
        whole = bytes(held[:cut])
        del held[:cut]
        return whole

    def rest(self) -> bytes:
        """Returns the half event that is left when the stream has ended."""
        return bytes(self._held)


def _last_boundary(data: bytes | bytearray, start: int) -> int:
    """Returns where the last whole event ends, or 0."""
    cut = data.rfind(b"\n\n", start) + 2
    if cut == 1:
        cut = 0
    if data.find(b"\r", start) >= 0:
        for blank in _BLANK_LINE.finditer(data, start):
            cut = max(cut, blank.end())
    return cut


def blocks(whole: bytes) -> list[bytes]:
    """Splits whole events into one block each, blank line included."""
    if b"\r" not in whole:
        parts = whole.split(b"\n\n")
        last = parts.pop()
        split = [part + b"\n\n" for part in parts]
        return [*split, last] if last else split
    split = []
    start = 0
    for blank in _BLANK_LINE.finditer(whole):
        split.append(whole[start : blank.end()])
        start = blank.end()
    if start < len(whole):
        split.append(whole[start:])
    return split


def read(block: bytes) -> tuple[bytes, bytes | None, bytes]:
    """Reads one block: the event's name, its data (None without a data line), and lines that are no event stream."""
    name = b""
    data: list[bytes] = []
    stray: list[bytes] = []
    for line in _LINE_END.split(block.removeprefix(_BYTE_ORDER_MARK)):
        field, colon, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif line and field not in _FIELDS and not (colon and not field):
            stray.append(line)
    return name, b"\n".join(data) if data else None, b"\n".join(stray)
