"""Decodes bodies that come compressed although identity was asked for, without letting a small one grow large."""

from __future__ import annotations

import zlib
from typing import Final

from gateway.core.errors import Reason, StreamCut, UpstreamError

_PIECE_BYTES: Final = 256 * 1024
_FREE_BYTES: Final = 1024 * 1024  # no ratio is asked of bodies up to here
_MAX_RATIO: Final = 100  # deflate reaches 1032:1 at most; JSON that models write stays below 20:1
_GZIP: Final = 16 + zlib.MAX_WBITS


class Inflater:
    """Decodes gzip or deflate piece by piece (RFC 1950 to 1952), `deflate` also without a zlib header, as some send it.

    At most 256 KiB come out at a time; while more is `pending`, `feed` is called with nothing before it is given more.
    """

    __slots__ = ("_decoded", "_decompressor", "_encoded", "_gzip", "_input", "pending")

    def __init__(self, encoding: bytes) -> None:
        """Raises UpstreamError(SERVER_ERROR) for any other encoding, and for more than one."""
        if encoding not in (b"gzip", b"x-gzip", b"deflate"):
            raise UpstreamError(Reason.SERVER_ERROR, "the answer has a content encoding that was not asked for")
        self._gzip = encoding != b"deflate"
        self._decompressor = zlib.decompressobj(_GZIP) if self._gzip else None
        self._input = b""
        self.pending = False
        self._encoded = 0
        self._decoded = 0

    def feed(self, data: bytes) -> bytes:
        """Returns the next decoded bytes, perhaps none; raises SERVER_ERROR for what is corrupt or grows too much."""
        self._encoded += len(data)
        data = self._input + data if self._input else data
        if self._decompressor is None:
            if not data:
                return b""
            # A zlib header has compression method 8 in its low four bits; no raw block that encoders write begins so.
            self._decompressor = zlib.decompressobj(zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS)
        elif self._decompressor.eof and data:
            if not self._gzip:
                raise UpstreamError(Reason.SERVER_ERROR, "the compressed answer goes on after its end")
            self._decompressor = zlib.decompressobj(_GZIP)  # RFC 1952, 2.2: members may follow each other
        try:
            decoded = self._decompressor.decompress(data, _PIECE_BYTES)
        except zlib.error:
            raise UpstreamError(Reason.SERVER_ERROR, "the compressed answer is corrupt") from None
        self._input = self._decompressor.unused_data or self._decompressor.unconsumed_tail
        # All input can be taken in while output still waits within.
        self.pending = bool(self._input) or (len(decoded) == _PIECE_BYTES and not self._decompressor.eof)
        self._decoded += len(decoded)
        if self._decoded > _FREE_BYTES and self._decoded > _MAX_RATIO * self._encoded:
            raise UpstreamError(Reason.SERVER_ERROR, "the compressed answer grows beyond measure")
        return decoded

    def feed_all(self, data: bytes, limit: int) -> bytes:
        """Returns all that `data` decodes to; raises SERVER_ERROR where that passes `limit` bytes."""
        pieces = [self.feed(data)]
        size = len(pieces[0])
        while self.pending:
            pieces.append(self.feed(b""))
            size += len(pieces[-1])
            if size > limit:
                break
        if size > limit:
            raise UpstreamError(Reason.SERVER_ERROR, f"the answer is larger than {limit} bytes")
        return b"".join(pieces)

    def end(self) -> None:
        """Raises StreamCut where the message ended properly but what it carried did not."""
        if self._encoded and (self._decompressor is None or not self._decompressor.eof):
            raise StreamCut("the compressed answer stops before its end")
