"""Paced SSE streams: an upstream and its clients in one process, so that both ends read one clock.

Run as a program it prints one JSON object: chunks, lost and merged chunks, latency of a chunk (written upstream to read
by the client) and time to first chunk in milliseconds, and the share of its core that this process itself took.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import resource
import time
from typing import ClassVar

import uvloop

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    b'"system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":" token"},"logprobs":null,'
    b'"finish_reason":null}],"t":%d}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"bench","choices":[],'
    b'"usage":{"prompt_tokens":200,"completion_tokens":50,"total_tokens":250}}\n\ndata: [DONE]\n\n'
)


def framed(data: bytes) -> bytes:
    """One piece in HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Pace:
    """A heap of due times, served once a millisecond: one timer for all streams."""

    def __init__(self, chunks: int, every_s: float) -> None:
        self.chunks, self.every_s = chunks, every_s
        self.due: list[tuple[float, int, Upstream]] = []
        self.serial = 0

    def begin(self, stream: Upstream) -> None:
        stream.left = self.chunks
        self.serial += 1
        heapq.heappush(self.due, (time.monotonic(), self.serial, stream))

    async def run(self) -> None:
        while True:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                due, serial, stream = heapq.heappop(self.due)
                if stream.transport.is_closing():
                    continue
                if stream.left:
                    stream.left -= 1
                    stream.transport.write(framed(CHUNK % time.monotonic_ns()))
                    heapq.heappush(self.due, (due + self.every_s, serial, stream))
                else:
                    stream.transport.write(framed(LAST) + b"0\r\n\r\n")
            await asyncio.sleep(0.001)


class Upstream(asyncio.Protocol):
    def __init__(self, pace: Pace) -> None:
        self.pace, self.left, self.buffer = pace, 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        if len(body) >= int(lower[at + 15 :].split(b"\r\n", 1)[0]):
            self.buffer = b""
            self.transport.write(HEAD)
            self.pace.begin(self)


class Client(asyncio.Protocol):
    """Asks for streams, one after another, and times each chunk; counts only while `counting` is set."""

    counting = False
    latencies: ClassVar[list[float]] = []
    first: ClassVar[list[float]] = []
    chunks = merged = streams = failed = lost = 0

    def __init__(self, request: bytes, expected: int, stop_at: float) -> None:
        self.request, self.expected, self.stop_at = request, expected, stop_at
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.ask()

    def ask(self) -> None:
        self.seen, self.tail = 0, b""
        self.asked_at = time.monotonic_ns()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        cls = Client
        data = self.tail + data
        at = data.find(b'"t":')
        found = 0
        last = 0
        while at >= 0:
            end = data.find(b"}", at)
            if end < 0:
                break
            sent = int(data[at + 4 : end])
            found += 1
            if cls.counting:
                cls.latencies.append((now - sent) / 1e6)
                if self.seen == 0 and found == 1:
                    cls.first.append((now - self.asked_at) / 1e6)
            last = end
            at = data.find(b'"t":', end)
        self.seen += found
        if cls.counting:
            cls.chunks += found
            cls.merged += max(0, found - 1)
        if data.endswith(b"0\r\n\r\n") and b"[DONE]" in data:
            cls.streams += 1
            cls.lost += self.expected - self.seen
            if time.monotonic() < self.stop_at:
                self.ask()
            else:
                self.transport.close()
                if not self.done.done():
                    self.done.set_result(None)
        else:
            self.tail = (
                data[last:] if at >= 0 else data[-64:] if b"[DONE]" in data[-64:] else data[max(last, len(data) - 3) :]
            )

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            Client.failed += 1
            self.done.set_result(None)


def percentile(values: list[float], share: float) -> float:
    return round(sorted(values)[min(len(values) - 1, int(len(values) * share))], 3) if values else -1.0


async def measure(options: argparse.Namespace) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    pace = Pace(options.chunks, options.every_ms / 1000)
    server = await loop.create_server(lambda: Upstream(pace), "127.0.0.1", options.upstream_port, backlog=4096)
    ticker = asyncio.create_task(pace.run())
    print(json.dumps({"listening": options.upstream_port}), flush=True)
    await asyncio.sleep(options.wait_s)
    body = json.dumps({"model": "bench", "stream": True, "messages": [{"role": "user", "content": "x" * 900}]}).encode()
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (options.key.encode(), len(body), body)
    )
    stop_at = time.monotonic() + options.warm_s + options.seconds
    clients = []
    for _ in range(options.streams):
        _, client = await loop.create_connection(
            lambda: Client(request, options.chunks, stop_at), "127.0.0.1", options.target_port
        )
        clients.append(client)
        await asyncio.sleep(random.random() * 0.002 * options.every_ms / 20)
    await asyncio.sleep(options.warm_s)
    Client.counting = True
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    print(json.dumps({"counting": True}), flush=True)
    await asyncio.sleep(options.seconds)
    Client.counting = False
    after, wall = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() - began
    print(json.dumps({"counted": True}), flush=True)
    await asyncio.wait([client.done for client in clients], timeout=options.chunks * options.every_ms / 1000 + 10)
    ticker.cancel()
    server.close()
    return {
        "chunks": Client.chunks,
        "chunks_per_s": round(Client.chunks / wall),
        "lost": Client.lost,
        "merged": Client.merged,
        "failed": Client.failed,
        "chunk_p50_ms": percentile(Client.latencies, 0.5),
        "chunk_p99_ms": percentile(Client.latencies, 0.99),
        "first_p50_ms": percentile(Client.first, 0.5),
        "first_p99_ms": percentile(Client.first, 0.99),
        "generator_share": round((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / wall, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream-port", type=int, required=True)
    parser.add_argument("--target-port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--every-ms", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--warm-s", type=float, default=1.5)
    parser.add_argument("--wait-s", type=float, default=0)
    parser.add_argument("--key", default="none")
    options = parser.parse_args()
    uvloop.install()
    print(json.dumps(asyncio.run(measure(options))), flush=True)


if __name__ == "__main__":
    main()
