"""One request and its answer over HTTP/2: what has come of it, and whoever waits for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers
from gateway.upstream.inflate import Inflater

if TYPE_CHECKING:
    from gateway.upstream.http2 import Http2Connection

_FRAMING: Final = (b"content-length", b"content-encoding")


class Unseen(UpstreamError):
    """The upstream says that it did not look at the request, so that it may be sent once more (RFC 9113, 8.7)."""

    def __init__(self) -> None:
        super().__init__(Reason.CONNECT, "the upstream takes connections, but no request", sent=False)


class Http2Exchange:
    """One request and its answer as far as it came; implements `Exchange`."""

    def __init__(self, connection: Http2Connection, id: int, expires_at: float, max_body_bytes: int) -> None:
        self.id = id
        self.status = 0
        self.headers: Headers = ()
        self.expires_at = expires_at
        self.error: UpstreamError | None = None
        self.sent = False  # the request is out
        self.ended = False  # the answer is whole
        self.pieces: list[bytes] = []
        self.window_bytes = 0  # what the pieces took of the window: padding counts there
        self.asked_at = connection.loop.time()
        self.heard_bytes = connection.heard_bytes
        self._connection = connection
        self._max_body_bytes = max_body_bytes
        self._inflater: Inflater | None = None
        self._changed = asyncio.Event()

    async def next(self, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Returns what has come, None at the end; hands nothing to `take`; see `Exchange`."""
        try:
            while True:
                inflater = self._inflater
                if inflater is not None and (inflater.pending or self.pieces):
                    data = inflater.feed(b"" if inflater.pending else self._take())
                elif self.pieces:
                    data = self._take()
                elif self.ended:
                    if inflater is not None:
                        inflater.end()
                    self._connection.leave(self)
                    return None
                elif self.error is not None:
                    raise self.error
                else:
                    await self.change()
                    continue
                if data:
                    return data
        except BaseException:
            self.abort()
            raise

    async def read(self) -> bytes:
        """Returns the rest of the body; see `Exchange`."""
        pieces = []
        room = self._max_body_bytes
        while (data := await self.next()) is not None:
            pieces.append(data)
            room -= len(data)
            if room < 0:
                self.abort()
                raise UpstreamError(Reason.SERVER_ERROR, f"the answer is larger than {self._max_body_bytes} bytes")
        return b"".join(pieces)

    def abort(self) -> None:
        """Resets the stream unless the answer is whole, so that the upstream works for nobody."""
        if not self.ended:
            self.fail(UpstreamError(Reason.CANCELLED, "the exchange was aborted"))
        self._connection.leave(self)

    async def change(self) -> None:
        """Waits until something came of it; raises UpstreamError(TIMEOUT)."""
        self._changed.clear()
        try:
            async with asyncio.timeout_at(self.expires_at):
                await self._changed.wait()
        except TimeoutError:
            raise UpstreamError(Reason.TIMEOUT, "the upstream was silent for too long") from None

    # -- for the connection ------------------------------------------------------------------------------------------

    def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Takes the final head."""
        fields = dict(headers)
        status = fields[b":status"]  # h2 has seen to it that there is one
        encoding = b", ".join(value for name, value in headers if name == b"content-encoding").lower()
        try:
            if len(status) != 3 or not status.isdigit():
                raise UpstreamError(Reason.SERVER_ERROR, "the answer is not HTTP: its status is no number")
            if encoding not in (b"", b"identity"):
                self._inflater = Inflater(encoding)
        except UpstreamError as error:
            self.fail(error)
            return
        left_out = _FRAMING if self._inflater is not None else ()
        self.headers = tuple(
            (bytes(name), bytes(value)) for name, value in headers if not name.startswith(b":") and name not in left_out
        )
        self.status = int(status)
        self.wake()

    def fail(self, error: UpstreamError) -> None:
        """Ends it, but for what has come."""
        if self.error is None:
            self.error = error
        self.wake()

    def wake(self) -> None:
        """Lets the waiting task look again."""
        self._changed.set()

    def _take(self) -> bytes:
        data = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self._connection.acknowledge(self)
        return data
