"""Bodies that are still coming from their caller: sent as they come and as they are taken, and once only."""

from __future__ import annotations

import asyncio
import math

import h2.errors
import pytest

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.types import Endpoint, Timeouts
from gateway.upstream import Exchange
from gateway.upstream.connection import StaleConnection
from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.tls import TlsFiles
from tests.gateway.upstream.http2_peer import Asked, Http2Server

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Coming:
    """An upload whose pieces a test hands out; implements `Upload`."""

    def __init__(self, *pieces: bytes, length: int | None = None, ends: bool = True) -> None:
        self.length = length
        self.spent = False
        self.expires_at = math.inf
        self.taken = 0
        self.pieces: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        for piece in pieces:
            self.pieces.put_nowait(piece)
        if ends:
            self.pieces.put_nowait(None)

    async def next(self) -> bytes | None:
        self.spent = True
        piece = await self.pieces.get()
        if isinstance(piece, Exception):
            raise piece
        self.taken += len(piece or b"")
        return piece


async def send(transport, endpoint: Endpoint, upload: Coming, body: bytes = b"head", within_s: float = 5.0) -> Exchange:
    request = UpstreamRequest(b"/v1/audio/transcriptions", body, ((b"content-type", b"x/y"),), upload=upload)
    return await transport.send(endpoint, request, Timeouts(), asyncio.get_running_loop().time() + within_s)


async def read_chunked(peer) -> bytes:
    pieces = []
    while size := int((await peer.reader.readline()).strip(), 16):
        pieces.append((await peer.reader.readexactly(size + 2))[:-2])
    assert await peer.reader.readline() == b"\r\n"
    return b"".join(pieces)


async def test_a_body_of_known_length_goes_out_as_it_comes(upstream, client):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.send(OK)

    endpoint = await upstream.start(script)
    exchange = await send(client.transport, endpoint, Coming(b"12", b"", b"345", length=5))
    assert await exchange.read() == b"ok"
    assert b"\r\ncontent-length: 9\r\n" in seen[0]
    assert b"transfer-encoding" not in seen[0]
    assert seen[0].endswith(b"\r\n\r\nhead12345")


async def test_a_body_of_unknown_length_goes_out_in_chunks(upstream, client):
    seen = []

    async def script(peer):
        seen.append(await peer.reader.readuntil(b"\r\n\r\n"))
        seen.append(await read_chunked(peer))
        await peer.send(OK)
        await peer.answer()

    endpoint = await upstream.start(script)
    exchange = await send(client.transport, endpoint, Coming(b"12", b"345"))
    assert await exchange.read() == b"ok"
    assert b"transfer-encoding: chunked\r\n" in seen[0]
    assert b"content-length" not in seen[0]
    assert seen[1] == b"head12345"
    assert await client.ask(endpoint) == b"ok"  # over the same connection, which the upload left in order
    assert len(upstream.peers) == 1


async def test_a_piece_leaves_before_the_next_has_come(upstream, client, until):
    seen = bytearray()

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        while len(seen) < 6:
            seen.extend(await peer.reader.read(100))
        await peer.send(OK)

    upload = Coming(b"1", length=2, ends=False)
    task = asyncio.create_task(send(client.transport, await upstream.start(script), upload))
    await until(lambda: seen == b"head1")
    upload.pieces.put_nowait(b"2")
    upload.pieces.put_nowait(None)
    await (await task).read()
    assert seen == b"head12"


async def test_an_upstream_that_takes_nothing_holds_the_caller_back(upstream, client, until):
    go = asyncio.Event()

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await read_chunked(peer)
        await peer.send(OK)

    piece = b"x" * 65536
    upload = Coming(*[piece] * 240)
    task = asyncio.create_task(send(client.transport, await upstream.start(script), upload))
    taken = -1
    while taken != upload.taken:
        taken = upload.taken
        await asyncio.sleep(0.05)
    assert taken < 220 * 65536
    go.set()
    assert await (await task).read() == b"ok"
    assert upload.taken == 240 * 65536


@pytest.mark.parametrize("known", [True, False])
async def test_an_answer_that_comes_first_ends_the_upload(upstream, client, known):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await peer.closed()

    upload = Coming(b"1", length=10 if known else None, ends=False)
    exchange = await send(client.transport, await upstream.start(script), upload)
    assert exchange.status == 413
    assert await exchange.read() == b"no"
    assert client.transport.idle == 0  # nobody could tell what the next bytes on it mean


async def test_an_upstream_that_dies_in_mid_upload_is_told_and_nothing_is_sent_again(upstream, client):
    async def script(peer):
        await peer.reader.readuntil(b"head1")
        peer.reset()

    endpoint = await upstream.start(script)
    with pytest.raises(UpstreamError) as error:
        await send(client.transport, endpoint, Coming(b"1", length=10, ends=False))
    assert error.value.reason is Reason.CONNECT
    assert error.value.sent
    assert len(upstream.peers) == 1


async def test_what_breaks_the_body_breaks_the_request_off(upstream, client, until):
    seen = bytearray()

    async def script(peer):
        while data := await peer.reader.read(100):
            seen.extend(data)

    endpoint = await upstream.start(script)
    upload = Coming(b"1", ends=False)
    upload.pieces.put_nowait(BadRequest("a second model"))
    with pytest.raises(BadRequest, match="a second model"):
        await send(client.transport, endpoint, upload)
    await until(lambda: upstream.open == 0)
    assert b"0\r\n\r\n" not in bytes(seen)
    assert client.transport.active == client.transport.idle == 0


async def test_a_cancelled_upload_leaves_no_task_and_no_connection(upstream, client, until):
    async def script(peer):
        await peer.closed()

    endpoint = await upstream.start(script)
    before = asyncio.all_tasks()
    task = asyncio.create_task(send(client.transport, endpoint, Coming(b"1", length=10, ends=False)))
    await until(lambda: upstream.open == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: upstream.open == 0)
    await until(lambda: asyncio.all_tasks() <= before)
    assert client.transport.active == client.transport.idle == 0


async def test_a_silent_upstream_is_late_but_not_while_it_takes_bytes(upstream, client):
    async def script(peer):
        await peer.closed()

    endpoint = await upstream.start(script)
    upload = Coming(b"1", length=10, ends=False)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    task = asyncio.create_task(send(client.transport, endpoint, upload, within_s=0.3))
    for _ in range(3):
        await asyncio.sleep(0.2)
        assert not task.done()
        upload.pieces.put_nowait(b"2")
    with pytest.raises(UpstreamError) as error:
        await task
    assert error.value.reason is Reason.TIMEOUT
    assert loop.time() - began_at >= 0.6 + 0.3 - 0.05


async def test_the_time_for_an_upload_ends_with_its_calls(upstream, client):
    async def script(peer):
        await peer.closed()

    upload = Coming(*[b"x"] * 5, ends=False)
    upload.expires_at = asyncio.get_running_loop().time() + 0.2
    with pytest.raises(UpstreamError) as error:
        await send(client.transport, await upstream.start(script), upload, within_s=0.2)
    assert error.value.reason is Reason.TIMEOUT


async def test_an_upload_takes_no_kept_connection(upstream, client):
    endpoint = await upstream.start_answering()
    await client.ask(endpoint)
    exchange = await send(client.transport, endpoint, Coming(b"1", length=1))
    assert await exchange.read() == b"ok"
    assert len(upstream.peers) == 2
    assert not isinstance(exchange, StaleConnection)


async def test_a_body_in_one_piece_takes_no_task_of_its_own(upstream, client, monkeypatch):
    endpoint = await upstream.start_answering()
    await client.ask(endpoint)
    made = []
    loop = asyncio.get_running_loop()
    create_task = loop.create_task
    loop.set_task_factory(lambda loop, coroutine, **more: made.append(1) or asyncio.Task(coroutine, loop=loop, **more))
    try:
        exchange = await client.send(endpoint)
        await exchange.read()
    finally:
        loop.set_task_factory(None)
    assert made == []
    assert create_task is not None


# -- HTTP/2 and httpx -------------------------------------------------------------------------------------------------


@pytest.fixture
async def serve(server_context, second, certificates):
    second.use(files=TlsFiles(certificates / "ca.pem"))
    servers = []

    async def start(play, **settings):
        server = Http2Server(play, **settings)
        servers.append(server)
        return await server.start(server_context("good", "h2"))

    yield start
    for server in servers:
        await server.close()


@pytest.mark.parametrize("length", [200_004, None])
async def test_over_http2_too(serve, second, length):
    bodies = []

    async def play(asked: Asked) -> None:
        await asked.answer()
        bodies.append((asked.body, asked.headers))

    endpoint = await serve(play)
    exchange = await send(second.transport, endpoint, Coming(b"x" * 100_000, b"y" * 100_004, length=length))
    assert exchange.status == 200
    await exchange.read()
    body, headers = bodies[0]
    assert body == b"head" + b"x" * 100_000 + b"y" * 100_004
    assert headers.get("content-length") == ("200008" if length is not None else None)


async def test_over_http2_an_upload_that_breaks_resets_its_stream_alone(serve, second, until):
    streams = []

    async def play(asked: Asked) -> None:
        streams.append(asked)
        await asked.answer()

    endpoint = await serve(play)
    upload = Coming(b"1", ends=False)
    upload.pieces.put_nowait(BadRequest("no"))
    with pytest.raises(BadRequest):
        await send(second.transport, endpoint, upload)
    exchange = await second.send(endpoint)
    assert await exchange.read() == b"ok"
    assert streams[0].reset == h2.errors.ErrorCodes.CANCEL
    assert not streams[0].whole.is_set()
    assert streams[0].connection is streams[1].connection


@pytest.mark.parametrize("known", [True, False])
async def test_over_httpx_too(upstream, known):
    transport = HttpxTransport()
    seen = []

    async def script(peer):
        seen.append(await peer.reader.readuntil(b"\r\n\r\n"))
        seen.append(await peer.reader.readexactly(9) if known else await read_chunked(peer))
        await peer.send(OK)

    endpoint = await upstream.start(script)
    exchange = await send(transport, endpoint, Coming(b"12", b"345", length=5 if known else None))
    assert await exchange.read() == b"ok"
    assert seen[1] == b"head12345"
    broken = Coming(b"1", ends=False)
    broken.pieces.put_nowait(BadRequest("no"))
    with pytest.raises(BadRequest):
        await send(transport, endpoint, broken)
    await transport.aclose()
