"""JSON lines as bytes: whole lines out of reads that cut them anywhere.

Framing: https://github.com/ndjson/ndjson-spec (2026-11). A line ends in LF, CRLF counts too, empty ones are none.
"""

from __future__ import annotations

from typing import Final

from gateway.core.errors import Reason, UpstreamError

LINE_BYTES_MAX: Final = 16 * 1024 * 1024  # a line that grows past this is no answer but an attack on memory


class Framer:
    """Holds back the half line at the end of each read; one per stream."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def push(self, data: bytes) -> list[bytes]:
        """Returns the whole lines there are now, empty ones left out; raises UpstreamError past `LINE_BYTES_MAX`."""
        held = self._held
        cut = data.rfind(b"\n") + 1
        if not cut:
            held += data
            if len(held) > LINE_BYTES_MAX:
                raise UpstreamError(
                    Reason.SERVER_ERROR, f"the provider sent a line of more than {LINE_BYTES_MAX} bytes"
                )
            return []
        whole = bytes(held) + data[:cut] if held else data[:cut]
        held[:] = data[cut:]
        return [line for line in (line.strip() for line in whole.split(b"\n")) if line]

    def rest(self) -> bytes:
        """Returns the line without an end that is left when the stream has ended."""
        return bytes(self._held).strip()
