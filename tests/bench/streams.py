"""Paced SSE streams: an upstream and its clients in one process, so that both ends read one clock.

Each piece of content carries the nanosecond at which it was written upstream, so that it can be timed after any
translation. Run as a program it prints one JSON object a line: when it begins and ends counting, and then the figures:
chunks, those that came together with another of the same stream, those that never came, streams that failed, and the
latency of a chunk and of the first.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import time
from dataclasses import dataclass, field
from typing import cast

import httptools
import uvloop

from tests.bench.figures import percentile

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MARK = b'"@'
_END = b"0\r\n\r\n"


class Wire:
    """What an upstream says of a stream: its head, a chunk (with a place for the time), its end."""

    def __init__(self, first: bytes, chunk: bytes, last: bytes) -> None:
        self.first, self.chunk, self.last = first, chunk, last


OPENAI = Wire(
    b"",
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    b'"system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":"@%d"},"logprobs":null,'
    b'"finish_reason":null}]}\n\n',
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":50,"total_tokens":250}}\n\ndata: [DONE]\n\n',
)
ANTHROPIC = Wire(
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_bench","type":"message",'
    b'"role":"assistant","model":"bench-model","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":200,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"text","text":""}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"@%d"}}\n\n',
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"input_tokens":200,"output_tokens":50}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)


def _framed(data: bytes) -> bytes:
    """One piece in HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Pace:
    """A heap of due times, served once a millisecond: one timer for all streams."""

    def __init__(self, chunks: int, every_s: float) -> None:
        self._chunks, self._every_s = chunks, every_s
        self._due: list[tuple[float, int, Upstream]] = []
        self._serial = 0

    def begin(self, stream: Upstream) -> None:
        stream.left = self._chunks
        self._serial += 1
        heapq.heappush(self._due, (time.monotonic(), self._serial, stream))

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                due, serial, stream = heapq.heappop(self._due)
                if stream.transport.is_closing():
                    continue
                if stream.left:
                    stream.left -= 1
                    stream.transport.write(_framed(stream.wire.chunk % time.monotonic_ns()))
                    heapq.heappush(self._due, (due + self._every_s, serial, stream))
                else:
                    stream.transport.write(_framed(stream.wire.last) + _END)
            await asyncio.sleep(0.001)


class Upstream(asyncio.Protocol):
    """Answers each call with a stream, in the wire that the path asks for."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._parser = httptools.HttpRequestParser(self)
        self.left, self.wire = 0, OPENAI

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.wire = ANTHROPIC if url.endswith(b"/messages") else OPENAI

    def on_message_complete(self) -> None:
        self.transport.write(_HEAD + (_framed(self.wire.first) if self.wire.first else b""))
        self._pace.begin(self)


@dataclass
class Tally:
    """What all clients have seen; chunks and their times only while `counting` is set."""

    counting: bool = False
    latencies_ms: list[float] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    chunks: int = 0
    merged: int = 0
    streams: int = 0
    failed: int = 0
    lost: int = 0
    open: int = 0


class Client(asyncio.Protocol):
    """Asks for a stream of so many chunks, and times each."""

    def __init__(self, tally: Tally, expected: int) -> None:
        self._tally, self._expected = tally, expected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, leave_after: int | None = None) -> asyncio.Future[None]:
        """Returns a future that ends with the stream; after `leave_after` chunks the client hangs up instead."""
        self._seen, self._rest, self._end, self._leave_after = 0, b"", b"", leave_after
        self._done = asyncio.get_running_loop().create_future()
        self._asked_at = time.monotonic_ns()
        self.transport.write(request)
        return self._done

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self._end and not data.startswith(b"HTTP/1.1 200"):
            self.transport.close()
            return
        tally = self._tally
        self._end = (self._end + data)[-64:]
        data = self._rest + data
        found, after = 0, 0
        at = data.find(_MARK)
        while at >= 0:
            after = data.find(b'"', at + 2)
            if after < 0:
                break
            found += 1
            if tally.counting:
                tally.latencies_ms.append((now - int(data[at + 2 : after])) / 1e6)
                if self._seen == 0 and found == 1:
                    tally.first_ms.append((now - self._asked_at) / 1e6)
            at = data.find(_MARK, after)
        # A mark that was cut: its beginning waits for its end.
        self._rest = data[at:] if at >= 0 else data[-1:] if data.endswith(_MARK[:1]) else b""
        if not self._seen and found:
            tally.open += 1
        self._seen += found
        if tally.counting:
            tally.chunks += found
            tally.merged += max(0, found - 1)
        if self._end.endswith(_END):
            self._finish()
        elif self._leave_after is not None and self._seen >= self._leave_after:
            self._ended(False)
            self.transport.close()

    def _finish(self) -> None:
        self._tally.streams += 1
        self._tally.lost += self._expected - self._seen
        self._ended(b"[DONE]" not in self._end)

    def _ended(self, failed: bool) -> None:
        if not self._done.done():
            self._tally.failed += failed
            self._tally.open -= self._seen > 0
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(True)


class Prompts:
    """Requests for streams, of one size or of any size up to it."""

    def __init__(self, model: str, size: int, any_size: bool, headers: list[str]) -> None:
        self._model, self._size, self._any_size = model, size, any_size
        self._headers = "".join(f"{header}\r\n" for header in headers).encode()

    def __call__(self) -> bytes:
        size = random.randint(1, self._size) if self._any_size else self._size
        asked = {"model": self._model, "stream": True, "messages": [{"role": "user", "content": "x " * (size // 2)}]}
        body = json.dumps(asked).encode()
        return (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            b"%bcontent-length: %d\r\n\r\n%b" % (self._headers, len(body), body)
        )


async def _ask_on(options: argparse.Namespace, prompts: Prompts, tally: Tally, stop_at: float) -> None:
    """One client: a stream after another until `stop_at`; under `--churn` each on a connection of its own."""
    loop = asyncio.get_running_loop()
    request = prompts()
    client: Client | None = None
    while client is None or time.monotonic() < stop_at:
        if client is None or client.transport.is_closing():
            _, client = await loop.create_connection(
                lambda: Client(tally, options.chunks), "127.0.0.1", options.target_port
            )
        leave_after = None
        if options.churn:
            request = prompts()
            leave_after = random.randint(1, options.chunks) if random.random() < options.churn else None
        await client.ask(request, leave_after)
        if options.churn:
            client.transport.close()
    client.transport.close()


async def measure(options: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    pace = Pace(options.chunks, options.every_ms / 1000)
    server = await loop.create_server(lambda: Upstream(pace), "127.0.0.1", options.upstream_port, backlog=4096)
    tally = Tally()
    ticker = asyncio.create_task(pace.run())
    prompts = Prompts(options.model, options.prompt_bytes, bool(options.churn), options.header)
    began, opening_s = time.monotonic(), options.streams * 0.001
    stop_at = began + opening_s + options.warm_s + options.seconds
    clients = []
    for moment in sorted(random.uniform(0, opening_s) for _ in range(options.streams)):
        await asyncio.sleep(max(0.0, began + moment - time.monotonic()))
        clients.append(asyncio.create_task(_ask_on(options, prompts, tally, stop_at)))
    await asyncio.sleep(max(0.0, stop_at - options.seconds - time.monotonic()))
    tally.counting = True
    began = time.monotonic()
    print(json.dumps({"counting": True}), flush=True)
    await asyncio.sleep(options.seconds)
    tally.counting = False
    wall = time.monotonic() - began
    held = tally.open
    print(json.dumps({"counted": True}), flush=True)
    ended, late = await asyncio.wait(clients, timeout=options.chunks * options.every_ms / 1000 + 10)
    broken = [client for client in ended if client.exception() is not None]
    ticker.cancel()
    server.close()
    return {
        "chunks": tally.chunks,
        "chunks_per_s": tally.chunks / wall,
        "streams": tally.streams,
        "open": held,
        "lost": tally.lost,
        "merged": tally.merged,
        "failed": tally.failed + len(late) + len(broken),
        **_percentiles("chunk", tally.latencies_ms),
        **_percentiles("first", tally.first_ms),
    }


def _percentiles(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name}_p{share}_ms": percentile(values, share / 100) for share in (50, 99)} if values else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream-port", type=int, required=True)
    parser.add_argument("--target-port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--chunks", type=int, default=50, help="of one stream")
    parser.add_argument("--every-ms", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=5, help="how long it counts")
    parser.add_argument("--warm-s", type=float, default=1.5, help="before it counts")
    parser.add_argument("--model", default="bench")
    parser.add_argument("--prompt-bytes", type=int, default=900)
    parser.add_argument("--churn", type=float, default=0.0, help="new connections, and this share leaves midway")
    parser.add_argument("--header", action="append", default=[], help="NAME: VALUE")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(measure(options))), flush=True)


if __name__ == "__main__":
    main()
