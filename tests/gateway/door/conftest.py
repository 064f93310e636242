"""A door with scripted handlers on a real socket, a caller that speaks in raw bytes, and a whole gateway beside."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import httptools
import msgspec
import pytest
import uvloop

from gateway.door import protocol, server
from gateway.door.app import Door, Receive, Send, answer, read_body
from gateway.door.exchange import Message
from gateway.door.protocol import DoorLimits
from gateway.simulator import Simulator
from tests.patience import WITHIN_S, until

LINGER_S = 0.3
MAX_BODY_BYTES = 256 * 1024


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs the door on the loop that serves it."""
    return {"uvloop": uvloop.new_event_loop}


class Answer(msgspec.Struct):
    """One answer as it came over the wire."""

    status: int
    version: str
    headers: dict[str, str]
    body: bytes
    names: list[str]

    @property
    def error(self) -> dict[str, Any]:
        """The error in OpenAI's shape; fails where the body is not exactly that."""
        body = msgspec.json.decode(self.body)
        assert list(body) == ["error"]
        error: dict[str, Any] = body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert error["type"]
        assert self.headers["content-type"] == "application/json"
        return error


class _Answered:
    """Collects the answers that a parser finds."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.parser = httptools.HttpResponseParser(self)
        self.ended = True
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def on_message_begin(self) -> None:
        self._headers, self._body, self.ended = [], [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self.ended = True
        self.answers.append(
            Answer(
                self.parser.get_status_code(),
                self.parser.get_http_version(),
                dict(self._headers),
                b"".join(self._body),
                [name for name, _ in self._headers],
            )
        )


class Caller:
    """One raw connection to a door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Writes, and waits until the kernel has nearly all of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, every_s: float = 0.0) -> None:
        """Writes byte by byte, each in a segment of its own."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(every_s)

    async def head(self) -> bytes:
        """Reads up to the end of an answer's head, and returns it."""
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), WITHIN_S)

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Reads one answer and not a byte more; `bodiless` where it answers a HEAD."""
        head = await self.head()
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].removeprefix("HTTP/").split(" ")[:2]
        pairs = [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])]
        headers = dict(pairs)
        body = b""
        if bodiless or status == "204":
            pass
        elif "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), WITHIN_S)
        elif "transfer-encoding" in headers:
            body = b"".join([piece async for piece in self.chunks()])
        else:
            body = await self.rest()
        return Answer(int(status), version, headers, body, [name for name, _ in pairs])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Reads a chunked body piece by piece."""
        while True:
            size = int(await asyncio.wait_for(self.reader.readline(), WITHIN_S), 16)
            piece = await asyncio.wait_for(self.reader.readexactly(size + 2), WITHIN_S)
            if not size:
                return
            yield piece[:-2]

    async def answers(self) -> list[Answer]:
        """Reads until the door closes, and returns the whole answers that came."""
        found = _Answered()
        found.parser.feed_data(await self.rest())
        return found.answers

    async def rest(self, within_s: float = WITHIN_S) -> bytes:
        """Reads until the door closes or resets, and returns what came."""
        pieces = []
        with suppress(ConnectionError):
            while data := await asyncio.wait_for(self.reader.read(65536), within_s):
                pieces.append(data)
        return b"".join(pieces)

    @property
    def socket(self) -> socket.socket:
        """The raw socket, for what asyncio does not offer."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        return raw

    def half_close(self) -> None:
        """Ends this side alone."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Closes with an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """Closes without a word."""
        self.writer.transport.abort()


class Doorway:
    """A running door whose handlers do what their path says; it keeps what it saw."""

    def __init__(self) -> None:
        self.scopes: list[Message] = []
        self.bodies: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.wake = asyncio.Event()
        self.port = 0
        self.callers: list[Caller] = []
        self.server: server.Server
        self.serving: asyncio.Task[None]
        self.serial = 0

    def next_id(self) -> str:
        self.serial += 1
        return f"req_{self.serial}"

    # -- handlers ----------------------------------------------------------------------------------------------------

    async def echo(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers with the size and hash of the body."""
        self.scopes.append(scope)
        body = await read_body(scope, receive, MAX_BODY_BYTES)
        self.bodies.append(body)
        text = b'{"size":%d,"sha256":"%b"}' % (len(body), hashlib.sha256(body).hexdigest().encode())
        await answer(send, 200, text, [(b"content-type", b"application/json")])

    async def early(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers without a look at the body."""
        await answer(send, 200, b"early", [])

    async def hang(self, scope: Message, receive: Receive, send: Send) -> None:
        """Never answers."""
        self.counts["hanging"] += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            self.counts[f"cancelled: {cancelled.args[0] if cancelled.args else ''}"] += 1
            raise

    async def stream(self, scope: Message, receive: Receive, send: Send) -> None:
        """Sends as many pieces of as many bytes as the query says: `?10x1000`."""
        pieces, _, size = scope["query_string"].decode().partition("x")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(int(pieces)):
                await send({"type": "http.response.body", "body": b"x" * int(size), "more_body": True})
                self.counts["pieces"] += 1
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            self.counts["stream cancelled"] += 1
            raise

    async def begin(self, scope: Message, receive: Receive, send: Send) -> None:
        """Sends one piece, and the other when it is woken, or says in-band that it was cancelled."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        try:
            await self.wake.wait()
            await send({"type": "http.response.body", "body": b"two"})
        except asyncio.CancelledError:
            await send({"type": "http.response.body", "body": b"cancelled"})

    async def fail(self, scope: Message, receive: Receive, send: Send) -> None:
        """Breaks before, within or after its answer, as the query says."""
        how = scope["query_string"]
        if how == b"late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"one", "more_body": True})
        elif how == b"headed":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        elif how == b"silent":
            return
        elif how == b"short":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b"nine byte"})
        elif how == b"twice":
            await answer(send, 200, b"whole", [])
        raise ZeroDivisionError("a secret in a traceback")

    async def listen(self, scope: Message, receive: Receive, send: Send) -> None:
        """Receives until the caller has gone, as Starlette's streaming answers do."""
        while (await receive())["type"] != "http.disconnect":
            self.counts["messages"] += 1
            assert self.counts["messages"] < 10, "receive did not wait"
        self.counts["disconnected"] += 1

    async def headers(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers with headers that hold line ends."""
        await answer(send, 200, b"ok", [(b"x-note", b"a\r\nset-cookie: b\0\nc")])

    async def empty(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers 204."""
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    # -- running -----------------------------------------------------------------------------------------------------

    async def start(self, limits: DoorLimits, grace_s: float) -> None:
        """Serves on a free port."""
        ready = asyncio.get_running_loop().create_future()
        door = Door(
            {
                "/echo": {"POST": self.echo, "GET": self.echo},
                "/early": {"POST": self.early},
                "/hang": {"POST": self.hang, "GET": self.hang},
                "/stream": {"GET": self.stream},
                "/begin": {"GET": self.begin},
                "/fail": {"GET": self.fail},
                "/listen": {"POST": self.listen},
                "/headers": {"GET": self.headers},
                "/empty": {"GET": self.empty},
            },
            {},
            self.next_id,
        )
        self.server = server.Server(door, "127.0.0.1", 0, limits, grace_s, ready.set_result)
        self.serving = asyncio.create_task(self.server.serve())
        self.port = await ready

    async def stop(self) -> None:
        """Drains, whatever is open."""
        for caller in self.callers:
            caller.close()
        if not self.serving.done():
            self.server.drain()
        await asyncio.wait_for(self.serving, WITHIN_S)
        for caller in self.callers:
            with suppress(ConnectionError):
                await caller.writer.wait_closed()

    async def call(self, data: bytes = b"", *, receive_bytes: int | None = None) -> Caller:
        """Connects and sends; `receive_bytes` bounds what this side's kernel takes."""
        raw = socket.socket()
        raw.setblocking(False)
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        caller = Caller(*await asyncio.open_connection(sock=raw, limit=2**20 if receive_bytes is None else 2**10))
        self.callers.append(caller)
        if data:
            await caller.send(data)
        return caller

    async def emptied(self) -> None:
        """Waits until nobody is connected and nothing runs; fails where that does not come."""
        await until(lambda: not self.server.server_state.connections and not self.server.server_state.tasks)


Open = Callable[..., Any]


@pytest.fixture
async def open_door(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Open]:
    """Opens doors with limits of the test's choosing: seconds become tenths."""
    monkeypatch.setattr(server, "SWEEP_EVERY_S", 0.02)
    monkeypatch.setattr(protocol, "LINGER_S", LINGER_S)
    opened: list[Doorway] = []

    async def open(grace_s: float = 1.0, **limits: float) -> Doorway:
        doorway = Doorway()
        await doorway.start(DoorLimits(**limits), grace_s)  # type: ignore[arg-type]
        opened.append(doorway)
        return doorway

    yield open
    for doorway in opened:
        await doorway.stop()


@pytest.fixture
async def door(open_door: Open) -> Doorway:
    """A door with the limits that it has by itself."""
    opened: Doorway = await open_door()
    return opened


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """Writes a request with its length."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def get(path: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Writes a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode("latin-1")


# -- a whole gateway -------------------------------------------------------------------------------------------------

KEY = "hg-test-of-the-door-0123456789abcdef"
MAX_GATEWAY_BODY = 8 * 2**20
CONFIG = """
server: {{max_body: 8MiB, header_timeout: 4s, body_timeout: 2s, keep_alive: 2s, write_timeout: 3s}}
auth: keys
keys:
  - {{name: test, hash: "sha256:{hash}"}}
providers:
  up: {{kind: openai, base_url: "{upstream}/v1", api_key: "sk-test-upstream-key", location: us}}
deployments:
  demo: {{provider: up, model: demo, price: {{input: "1.00", output: "2.00"}}}}
  endless: {{provider: up, model: "demo!ok;tokens=100000;tpot=5ms", price: free}}
  flood: {{provider: up, model: "demo!ok;tokens=60000", price: free}}
  hang: {{provider: up, model: "demo!hang", price: free}}
  slow: {{provider: up, model: "demo!slow;wait=60s", price: free}}
sensitivity:
  levels: [public, internal]
  default: public
  clearance: {{us: internal}}
policies:
  routes:
    - {{name: default, among: [demo], pick: in_order}}
cache: {{at: never}}
store: {{url: "sqlite:///{folder}/door.db"}}
"""


class Upstream:
    """A simulator on a thread of its own, so that tests may block."""

    def __init__(self) -> None:
        self.simulator = Simulator(models=("demo",))
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.simulator.listen(), self._loop).result(WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.simulator.close(), self._loop).result(WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()


class Gateway:
    """`headgate serve` as its own process."""

    def __init__(self, port: int, process: subprocess.Popen[str], upstream: Simulator, log: Path) -> None:
        self.port = port
        self.process = process
        self.upstream = upstream
        self.log = log

    def connect(self, *, receive_bytes: int | None = None) -> socket.socket:
        """Opens a raw connection."""
        raw = socket.socket()
        raw.settimeout(WITHIN_S)
        if receive_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        raw.connect(("127.0.0.1", self.port))
        return raw

    def ask(self, data: bytes, *, bodiless: bool = False) -> Answer:
        """Sends a request on a connection of its own, and reads one answer."""
        with self.connect() as raw:
            raw.sendall(data)
            return read_answer(raw, bodiless=bodiless)

    @property
    def rss_bytes(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def open_files(self) -> int:
        """How many file descriptors it holds."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


def read_answer(raw: socket.socket, *, bodiless: bool = False) -> Answer:
    """Reads one answer from a blocking socket."""
    found = _Answered()
    while not found.answers:
        data = raw.recv(65536)
        assert data, "the connection ended before an answer did"
        found.parser.feed_data(data)
        if bodiless and data.endswith(b"\r\n\r\n"):
            found.on_message_complete()
    return found.answers[0]


def chat(body: bytes, *headers: str, path: str = "/v1/chat/completions") -> bytes:
    """Writes a call with its key."""
    return post(path, body, f"Authorization: Bearer {KEY}", "Content-Type: application/json", *headers)


ASK = b'{"model":"demo","messages":[{"role":"user","content":"Say something."}]}'
STREAM = b'{"model":"endless","stream":true,"messages":[{"role":"user","content":"Go on."}]}'


def config_for(upstream: Upstream, folder: Path) -> str:
    """Returns a config with a key and a few deployments of the simulator, which fail as they are named."""
    key = hashlib.sha256(KEY.encode()).hexdigest()
    return CONFIG.format(hash=key, upstream=upstream.simulator.url, folder=folder)


@contextmanager
def serving(folder: Path, config: str, upstream: Simulator, max_files: int | None = None) -> Iterator[Gateway]:
    """Runs a gateway with this config; its log must hold no traceback in the end."""
    limit = None if max_files is None else partial(resource.setrlimit, resource.RLIMIT_NOFILE, (64, max_files))
    (folder / "config.yaml").write_text(config)
    log = folder / "log"
    program = Path(sys.executable).parent / "headgate"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [program, "serve", "--config", "config.yaml", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            text=True,
            preexec_fn=limit,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            assert "serves on" in first, first + log.read_text()
            yield Gateway(int(first.split("http://127.0.0.1:")[1].split()[0]), process, upstream, log)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with keys, before a simulator: started once."""
    folder = tmp_path_factory.mktemp("door")
    with Upstream() as upstream, serving(folder, config_for(upstream, folder), upstream.simulator) as started:
        yield started
