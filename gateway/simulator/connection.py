"""One connection of the simulator: HTTP/1.1 on a plain asyncio protocol, steps played on time, readers who leave."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools
import msgspec

from gateway.core.blocks import Json
from gateway.simulator.play import PACED_S, End, Reply, Step
from gateway.simulator.vllm import Metrics

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
_PIPELINED: Final = 16  # requests read ahead on one connection before reading pauses


class Seen(msgspec.Struct, frozen=True):
    """A request as it came in; header names in lower case."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """Returns the first value of a header."""
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Json:
        """Reads the body; raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


Begin = Callable[[list[Step], Reply], None]


class Host(Protocol):
    """What a connection asks of the simulator it belongs to."""

    keep_alive_s: float
    accepted: int
    answered: int
    aborted: int
    metrics: Metrics
    connections: set[Connection]

    def keep(self, seen: Seen) -> None: ...

    def early(self, headers: list[tuple[bytes, bytes]]) -> list[Step] | None: ...

    def answer(self, seen: Seen) -> tuple[list[Step], Reply | None]: ...

    def admit(self, reply: Reply, steps: list[Step], begin: Begin) -> None: ...

    def leave_queue(self, begin: Begin) -> None: ...

    def release(self, begin: Begin) -> None: ...

    @property
    def pace_s(self) -> float: ...


class Connection(asyncio.Protocol):
    """One connection: reads requests in order, plays their steps one after the other, notices who leaves."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._pending: deque[tuple[Seen, bool]] = deque()
        self._steps: list[Step] = []
        self._at = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._busy = False
        self._held: Begin | None = None  # a place among the running answers is taken
        self._queued: Begin | None = None
        self._keep_alive = True
        self._stopped = False  # reading on only to throw away
        self._full = False  # the reader is slow: nothing is written until it has caught up
        self._begun = 0.0
        self._first_at = 0.0
        self._wrote_at = 0.0
        self._reply: Reply | None = None

    # -- asyncio's side ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._host.accepted += 1
        self._host.connections.add(self)
        self._idle()

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.discard(self)
        self._wake()
        self._at = len(self._steps)
        if self._busy:
            self._host.aborted += 1
            self._settle(whole=False)

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._stopped and self._transport is not None:
                self._transport.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                self._transport.close()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._timer is None and self._at < len(self._steps):
            self._play()

    # -- httptools' side -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._path = b""
        self._headers = []
        self._body = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        steps = self._host.early(self._headers)
        if steps is not None:
            self._stopped = True
            self._keep_alive = False
            self._host.keep(self._seen(b""))
            self._start(steps)
        elif (b"expect", b"100-continue") in self._headers and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size <= MAX_BODY_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._stopped:
            return
        seen = self._seen(b"".join(self._body) if self._size <= MAX_BODY_BYTES else b"")
        self._host.keep(seen)
        self._pending.append((seen, self._parser.should_keep_alive()))
        if not self._busy:
            self._next()
        elif len(self._pending) >= _PIPELINED and self._transport is not None:
            self._transport.pause_reading()

    def _seen(self, body: bytes) -> Seen:
        method = self._parser.get_method().decode("latin-1")
        return Seen(method, self._path.decode("latin-1"), tuple(self._headers), body)

    # -- playing -------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Breaks the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def cut_short(self, ending: Callable[[Reply], bytes]) -> None:
        """Ends the stream under way with other words than were planned."""
        if self._held is None or self._reply is None or not self._reply.stream or not self._at:
            return
        if self._at < len(self._steps):
            self._wake()
            data = ending(self._reply)
            self._steps = [*self._steps[: self._at], Step(0.0, b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data), End.KEEP)]
            self._play()

    def _idle(self) -> None:
        """Waits for a request as long as the keep-alive lasts."""
        self._timer = self._loop.call_later(self._host.keep_alive_s, self._expire)

    def _expire(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _next(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        seen, self._keep_alive = self._pending.popleft()
        self._begun = self._loop.time()
        steps, self._reply = self._host.answer(seen)
        if self._reply is None:
            self._start(steps)
            return
        self._wake()
        self._busy = True

        def begin(steps: list[Step], reply: Reply) -> None:
            self._queued = None
            self._held = begin
            self._reply = reply
            self._start(steps)

        self._queued = begin
        self._host.admit(self._reply, steps, begin)

    def _start(self, steps: list[Step]) -> None:
        self._wake()
        self._busy = True
        self._steps = steps
        self._at = 0
        self._due = self._loop.time() + steps[0].wait_s
        if steps[0].wait_s > 0:
            self._timer = self._loop.call_at(self._due, self._play)
        else:
            self._play()

    def _wake(self) -> None:
        """Ends the wait for the next request."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _play(self) -> None:
        """Sends what is due. Deadlines are absolute, so that a late tick does not slow the rest."""
        self._timer = None
        transport = self._transport
        if transport is None:
            return
        while not self._full:
            step = self._steps[self._at]
            if self._at == 0 and self._reply is not None:
                self._first_at = self._loop.time()
                self._host.metrics.observe("time_to_first_token_seconds", self._first_at - self._begun)
            if step.data:
                transport.write(step.data)
                if self._reply is not None and self._reply.stream:
                    now = self._loop.time()
                    if self._at:
                        self._host.metrics.paced(now - self._wrote_at)
                    self._wrote_at = now
            self._at += 1
            if step.end is not None:
                self._end(step.end, transport)
                return
            wait_s = self._steps[self._at].wait_s
            if wait_s == PACED_S:
                wait_s = self._host.pace_s
            if wait_s > 0:
                self._due = max(self._due + wait_s, self._loop.time() - wait_s)
                self._timer = self._loop.call_at(self._due, self._play)
                return

    def _end(self, end: End, transport: asyncio.Transport) -> None:
        if end is End.HOLD:
            return
        self._settle(whole=end is End.KEEP)
        if end is End.RST:
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        elif end is End.FIN or not self._keep_alive:
            self._part(transport)
        elif self._pending:
            transport.resume_reading()
            self._busy = True  # still: a request that arrives meanwhile must queue up
            self._loop.call_soon(self._next)  # not at once: a thousand pipelined requests are no recursion
        else:
            self._idle()

    def _part(self, transport: asyncio.Transport) -> None:
        """Closes: at once, or (where the request's body is still on its way) once the caller has stopped sending."""
        if not self._stopped:
            transport.close()
            return
        if transport.can_write_eof():
            transport.write_eof()
        self._timer = self._loop.call_later(1.0, transport.close)

    def _settle(self, *, whole: bool) -> None:
        """Counts the answer and gives back what it held among the running or the waiting."""
        self._busy = False
        self._host.answered += whole
        if self._queued is not None:
            self._host.leave_queue(self._queued)
            self._queued = None
        if self._reply is not None:
            self._host.metrics.answered(self._reply, whole)
            after = self._reply.output_tokens - 1
            if whole and self._reply.stream and after > 0:
                each_s = (self._loop.time() - self._first_at) / after
                self._host.metrics.observe("request_time_per_output_token_seconds", each_s)
            self._reply = None
        if self._held is not None:
            held, self._held = self._held, None
            self._host.metrics.observe("e2e_request_latency_seconds", self._loop.time() - self._begun)
            self._host.release(held)
