"""One request and its answer over HTTP/1.1: what has come of it, and whoever waits for more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers

if TYPE_CHECKING:
    from gateway.upstream.connection import Connection
    from gateway.upstream.inflate import Inflater


class Http1Exchange:
    """An answer as far as it came. The connection fills it, one task empties it.

    While `connection` is set the answer goes on; without it the answer is whole, or `error` says why it is not. What
    came before an error is still handed out by `next`.
    """

    __slots__ = (
        "_enough",
        "_loop",
        "_max_body_bytes",
        "_take_in",
        "_waiter",
        "buffered_bytes",
        "connection",
        "error",
        "expires_at",
        "headers",
        "inflater",
        "pieces",
        "status",
        "whole",
    )

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, expires_at: float, max_body_bytes: int
    ) -> None:
        self.connection: Connection | None = connection
        self.expires_at = expires_at
        self.status = 0
        self.headers: Headers = ()
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.whole = False  # `read` gathers everything: there is nobody to hold the upstream back for
        self.error: UpstreamError | None = None
        self.inflater: Inflater | None = None
        self._loop = loop
        self._max_body_bytes = max_body_bytes
        self._waiter: asyncio.Future[None] | None = None
        self._take_in: Callable[[bytes], bool] | None = None  # while somebody waits who takes what comes at once
        self._enough = False

    @property
    def awaited(self) -> bool:
        """Somebody waits for this answer to go on."""
        return self._waiter is not None

    @property
    def too_large(self) -> bool:
        """More has come than `read` may gather."""
        return self.buffered_bytes > self._max_body_bytes

    async def next(self, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Returns what has come, None at the end; see `Exchange`."""
        while True:
            if self._enough:
                self._enough = False
                return b""
            inflater = self.inflater
            if inflater is None:
                if self.pieces:
                    return self._take()
            elif self.pieces or inflater.pending:
                try:
                    data = inflater.feed(b"" if inflater.pending else self._take())
                except UpstreamError:
                    self.abort()
                    raise
                if data:
                    return data
                continue
            if self.error is not None:
                raise self.error
            if self.connection is None:
                if inflater is not None:
                    inflater.end()
                return None
            try:
                if inflater is None:
                    self._take_in = take
                await self.change()
            except BaseException:
                self._take_in = None
                self.abort()
                raise

    async def read(self) -> bytes:
        """Returns the rest of the body; suspends once at most, and not at all where it came with the head."""
        if self.connection is not None:
            self.whole = True
            self.connection.resume()
            try:
                while self.connection is not None:
                    await self.change()
            except BaseException:
                self.abort()
                raise
        if self.error is not None:
            raise self.error
        if self.too_large:
            raise self.oversize()
        data = self._take()
        if self.inflater is not None:
            data = self.inflater.feed_all(data, self._max_body_bytes)
            self.inflater.end()
        return data

    def abort(self) -> None:
        """Closes the connection unless the answer is whole."""
        if self.connection is not None:
            self.connection.fail(UpstreamError(Reason.CANCELLED, "the exchange was aborted"))

    def oversize(self) -> UpstreamError:
        """Returns the error of an answer that `read` will not gather."""
        return UpstreamError(Reason.SERVER_ERROR, f"the answer is larger than {self._max_body_bytes} bytes")

    def change(self) -> asyncio.Future[None]:
        """Returns a future that `wake` ends; a task that is cancelled in it has to abort."""
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def arrived(self) -> None:
        """Hands what has come to whoever takes it at once, within the read that brought it; else wakes the task."""
        take = self._take_in
        if take is not None:
            pieces = self.pieces
            if not pieces:
                return
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            self.buffered_bytes = 0
            try:
                if take(data):
                    return
                self._enough = True
            except UpstreamError as error:
                if self.connection is not None:
                    self.connection.fail(error)
                return
        self.wake()

    def wake(self) -> None:
        """Lets the waiting task look again."""
        self._take_in = None
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def _take(self) -> bytes:
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered_bytes = 0
        if self.connection is not None:
            self.connection.resume()
        return data
