"""A caller with manners of its own: reads fast, slowly or not at all, leaves in mid-request or after so many bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final, Literal, NamedTuple

import httptools

Pace = Literal["fast", "slow", "stuck"]

_RESET: Final = struct.pack("ii", 1, 0)
_SMALL_BYTES: Final = 4096  # of the kernel's, for a caller that reads slowly
_REST_S: Final = 0.0005
_STUCK_S: Final = 0.12  # longer than the gateway waits for a reader


class Leave(NamedTuple):
    """When a caller goes: after so many bytes of the answer, or (-1) in the middle of its request."""

    after_bytes: int
    rudely: bool = False  # by a reset


class Caller(asyncio.Protocol):
    """One connection, one request, and all that came back of it."""

    def __init__(self, pace: Pace, leave: Leave | None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.messages = 0  # answers that began
        self.complete = False  # one answer has come to its proper end
        self.left = False  # of its own will
        self.broken: str | None = None  # what came that is no HTTP
        self.received_bytes = 0
        self._pace = pace
        self._leave = leave
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def __repr__(self) -> str:
        """Says what it has heard."""
        return f"{self.status} {self.headers} {b''.join(self._pieces)!r}, of {self.received_bytes} bytes, {self.broken}"

    async def call(self, host: str, port: int, request: bytes) -> None:
        """Sends a request, and returns once it is answered, left or lost."""
        raw = self._socket = socket.socket()
        if self._pace != "fast":
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BYTES)
        raw.connect((host, port))  # at once: the kernel shakes hands for whoever listens
        raw.setblocking(False)
        self._transport, _ = await self._loop.create_connection(lambda: self, sock=raw)
        if self._pace == "stuck":
            self._transport.pause_reading()
            self._loop.call_later(_STUCK_S, self._read_on)
        leave = self._leave
        self._transport.write(request if leave is None or leave.after_bytes >= 0 else request[: -len(request) // 3])
        if leave is not None and leave.after_bytes <= 0:
            self._go(leave)
        try:
            await self._over
        finally:
            self._transport.abort()
        self.body = b"".join(self._pieces)
        del self._parser

    def _go(self, leave: Leave) -> None:
        self.left = True
        if leave.rudely:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def _end(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    # -- the loop's callbacks ----------------------------------------------------------------------------------------

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone, by whoever's will."""
        self._end()

    def data_received(self, data: bytes) -> None:
        """Reads on, rests, or leaves."""
        self.received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.broken = f"{error!r}: {data[:80]!r}"
            self._end()
            return
        leave = self._leave
        if self.complete:
            self._end()
        elif leave is not None and self.received_bytes >= leave.after_bytes:
            self._go(leave)
        elif self._pace == "slow":
            self._transport.pause_reading()
            self._loop.call_later(_REST_S, self._read_on)

    def _read_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # -- the parser's callbacks --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
