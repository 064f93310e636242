"""A scripted peer on a real socket: a test says what it does with each connection, byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from gateway.core.adapter import UpstreamRequest
from gateway.core.types import Endpoint, Origin, Timeouts
from gateway.upstream import Exchange
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.negotiating import NegotiatingTransport
from gateway.upstream.tls import HTTP1, HTTP2, TlsFiles, client_context
from tests.gateway.upstream.authority import issue


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Runs every test of the transport on both loops."""
    return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number

    async def request(self) -> bytes:
        """Returns one whole request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                size = int(value)
        return head + await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        """Writes and waits until the kernel has nearly all of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes) -> None:
        """Writes one byte after the other, each in a segment of its own."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(0)

    async def answer(self, body: bytes = b"ok") -> None:
        """Reads a request and answers it."""
        await self.request()
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async def answer_all(self) -> None:
        """Answers requests for as long as they come."""
        while True:
            await self.answer()

    async def closed(self) -> None:
        """Returns when the gateway's end is gone."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A server that plays a script on each connection."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.open = 0
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start_answering(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Endpoint:
        """Starts a server that answers everything with `ok`."""
        return await self.start(Peer.answer_all, context, host)

    async def start(self, script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Endpoint:
        """Listens on a free port and returns the endpoint that leads there."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer = Peer(reader, writer, len(self.peers))
            self.peers.append(peer)
            task = asyncio.get_running_loop().create_task(self._play(script, peer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        self._servers.append(server)
        port = server.sockets[0].getsockname()[1]
        origin = Origin("https" if context else "http", host, port)
        return Endpoint("a#0", "a", "provider", origin, ((b"authorization", b"Bearer sk-test"),))

    async def _play(self, script: Script, peer: Peer) -> None:
        self.open += 1
        try:
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway closed, as many tests want it to
        finally:
            self.open -= 1
            peer.writer.transport.abort()

    async def aclose(self) -> None:
        """Ends the scripts and gives every socket back."""
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for peer in self.peers:
            peer.writer.transport.abort()
        await asyncio.sleep(0.01)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted server; stopped after the test."""
    server = Upstream()
    yield server
    await server.aclose()


class Client:
    """Sends through one transport, with the defaults of tests."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.transport = kind()
        self._taken = [self.transport]

    def use(self, *, files: TlsFiles | None = None, **settings: Any) -> None:
        """Takes another transport of the same kind."""
        if files is not None:
            settings["context"] = client_context(files, HTTP2 if self.kind is NegotiatingTransport else HTTP1)
        self.transport = self.kind(**settings)
        self._taken.append(self.transport)

    async def send(
        self,
        endpoint: Endpoint,
        body: bytes = b"{}",
        *,
        within_s: float = 5.0,
        method: bytes = b"POST",
        timeouts: Timeouts | None = None,
    ) -> Exchange:
        """Posts and returns the exchange."""
        request = UpstreamRequest(b"/v1/chat/completions", body, method=method)
        expires_at = asyncio.get_running_loop().time() + within_s
        return await self.transport.send(endpoint, request, timeouts or Timeouts(), expires_at)

    async def ask(self, endpoint: Endpoint, body: bytes = b"{}", *, within_s: float = 5.0) -> bytes:
        """Posts and returns the whole body of the answer."""
        exchange = await self.send(endpoint, body, within_s=within_s)
        return await exchange.read()

    async def close(self) -> None:
        """Closes what was taken; fails where something is left of it."""
        for transport in self._taken:
            await transport.aclose()
            assert transport.active == transport.idle == 0


@pytest.fixture(params=[Http1Transport, NegotiatingTransport], ids=["fast", "second"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """Either transport; after the test it is closed, and nothing of it is left."""
    client = Client(request.param)
    yield client
    await client.close()


@pytest.fixture
async def fast() -> AsyncIterator[Client]:
    """The fast transport, for what it alone promises."""
    client = Client(Http1Transport)
    yield client
    await client.close()


@pytest.fixture
async def second() -> AsyncIterator[Client]:
    """The second transport, for what it alone can."""
    client = Client(NegotiatingTransport)
    yield client
    await client.close()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates that `authority.py` names."""
    folder = tmp_path_factory.mktemp("certificates")
    issue(folder)
    return folder


@pytest.fixture(scope="session")
def server_context(certificates: Path) -> Callable[..., ssl.SSLContext]:
    """Makes the TLS side of a server from a certificate's name and the protocols it offers."""

    def make(name: str = "good", *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
        context.set_alpn_protocols(protocols or ("http/1.1",))
        return context

    return make


@pytest.fixture
async def unaccepting(upstream: Upstream) -> AsyncIterator[Endpoint]:
    """An endpoint whose accept queue is full, so that the kernel lets connecting hang."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
            fillers.append(filler)
        endpoint = await upstream.start_answering()
        yield msgspec.structs.replace(
            endpoint, origin=msgspec.structs.replace(endpoint.origin, port=server.getsockname()[1])
        )
        for filler in fillers:
            filler.close()


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Waits for something that has to come about."""

    async def wait(condition: Callable[[], bool], within_s: float = 30.0) -> None:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)

    return wait
