"""The second transport keeps the first one's promises, and speaks HTTP/2 and to proxies."""

from __future__ import annotations

import asyncio
import gzip
import time

import h2.config
import h2.connection
import h2.events
import msgspec
import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.upstream.httpx_transport import HttpxTransport
from gateway.upstream.tls import HTTP2, TlsFiles, client_context
from tests.gateway.upstream.conftest import Client

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def second():
    """A client over httpx."""
    client = Client(HttpxTransport)
    yield client
    await client.transport.aclose()
    assert client.transport.active == 0


async def test_an_answer_is_read_and_the_connection_kept(upstream, second):
    seen = []

    async def script(peer):
        while True:
            seen.append(await peer.request())
            await peer.send(HEAD + b"X-One: 1\r\ncontent-length: 2\r\n\r\nok")

    endpoint = await upstream.start(script)
    for _ in range(2):
        exchange = await second.send(endpoint, b"{}")
        assert exchange.status == 200
        assert exchange.headers == ((b"x-one", b"1"), (b"content-length", b"2"))
        assert await exchange.read() == b"ok"
        assert await exchange.next() is None
        exchange.abort()
    assert len(upstream.peers) == 1
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"authorization: Bearer sk-test\r\n" in seen[0]
    assert b"accept-encoding: identity\r\n" in seen[0]
    assert b"user-agent" not in seen[0].lower()


async def test_a_stream_comes_piece_by_piece(upstream, second):
    go_on = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for number in range(3):
            await peer.send(b"1\r\n%d\r\n" % number)
            await go_on.wait()
            go_on.clear()
        await peer.send(b"0\r\n\r\n")
        await peer.closed()

    exchange = await second.send(await upstream.start(script))
    for number in range(3):
        assert await exchange.next() == b"%d" % number
        go_on.set()
    assert await exchange.next() is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", Reason.SERVER_ERROR),
        (b"", Reason.CONNECT),
        (HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok", Reason.SERVER_ERROR),
    ],
    ids=["not HTTP", "closed before a byte", "unknown encoding"],
)
async def test_failures_before_the_head_have_the_first_ones_reasons(upstream, second, raw, reason):
    async def script(peer):
        await peer.request()
        await peer.send(raw)

    with pytest.raises(UpstreamError) as failure:
        await second.send(await upstream.start(script))
    assert failure.value.reason is reason


async def test_a_refused_connection_is_a_connect_failure(upstream, second):
    endpoint = await upstream.start_answering()
    await upstream.aclose()
    with pytest.raises(UpstreamError) as failure:
        await second.send(endpoint)
    assert failure.value.reason is Reason.CONNECT


@pytest.mark.parametrize("sent", [b"", HEAD + b"content-length: 5\r\n\r\nhel"], ids=["head", "body"])
async def test_silence_times_out(upstream, second, sent):
    async def script(peer):
        await peer.request()
        await peer.send(sent)
        await peer.closed()

    endpoint = await upstream.start(script)
    started = time.monotonic()

    async def call():
        exchange = await second.send(endpoint, within_s=0.1)
        await exchange.read()

    with pytest.raises(UpstreamError) as failure:
        await call()
    assert failure.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 5


async def test_a_body_that_stops_early_is_cut(upstream, second):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 5\r\n\r\nhel")

    exchange = await second.send(await upstream.start(script))
    assert await exchange.next() == b"hel"
    with pytest.raises(StreamCut):
        await exchange.next()


async def test_a_compressed_answer_arrives_decoded(upstream, second):
    body = gzip.compress(b"hello" * 1000)

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await peer.closed()

    exchange = await second.send(await upstream.start(script))
    assert exchange.headers == ()
    assert await exchange.read() == b"hello" * 1000


async def test_read_refuses_more_than_its_bound(upstream, second):
    second.transport = HttpxTransport(max_body_bytes=1000)

    async def script(peer):
        await peer.answer(b"a" * 1001)
        await peer.closed()

    with pytest.raises(UpstreamError) as failure:
        await second.ask(await upstream.start(script))
    assert failure.value.reason is Reason.SERVER_ERROR
    await second.transport.aclose()


async def test_redirects_are_handed_on_cookies_dropped_and_the_environment_ignored(upstream, second, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    seen = []

    async def script(peer):
        while True:
            seen.append(await peer.request())
            await peer.send(b"HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")

    endpoint = await upstream.start(script)
    for _ in range(2):
        exchange = await second.send(endpoint)
        assert exchange.status == 307
        await exchange.read()
    assert len(seen) == 2
    assert b"cookie" not in seen[1]


@pytest.mark.parametrize("way", ["abort", "cancel"])
async def test_leaving_closes_the_connection(upstream, second, way):
    gone = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 5\r\n\r\nhel")
        await peer.closed()
        gone.set()

    exchange = await second.send(await upstream.start(script))
    assert await exchange.next() == b"hel"
    if way == "abort":
        exchange.abort()
        exchange.abort()
    else:
        task = asyncio.create_task(exchange.next())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.wait_for(gone.wait(), 10)


async def test_a_proxy_is_asked_where_one_is_configured(upstream, second):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.send(HEAD + b"content-length: 2\r\n\r\nok")
        await peer.closed()

    proxy = await upstream.start(script)
    await second.transport.aclose()
    second.transport = HttpxTransport(proxy=str(proxy.origin))
    endpoint = msgspec.structs.replace(
        proxy, origin=msgspec.structs.replace(proxy.origin, host="api.example.com", port=80)
    )
    assert await second.ask(endpoint) == b"ok"
    assert seen[0].startswith(b"POST http://api.example.com/v1/chat/completions HTTP/1.1\r\n")


async def test_http2_is_spoken_where_the_upstream_offers_it(upstream, second, certificates, server_context):
    async def script(peer):
        wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        wire.initiate_connection()
        await peer.send(wire.data_to_send())
        while data := await peer.reader.read(65536):
            for event in wire.receive_data(data):
                if isinstance(event, h2.events.StreamEnded):
                    wire.send_headers(event.stream_id, [(":status", "200"), ("x-one", "1")])
                    wire.send_data(event.stream_id, b"ok", end_stream=True)
            await peer.send(wire.data_to_send())

    await second.transport.aclose()
    second.transport = HttpxTransport(context=client_context(TlsFiles(ca_file=certificates / "ca.pem"), HTTP2))
    endpoint = await upstream.start(script, server_context("good", "h2"), "localhost")
    exchanges = await asyncio.gather(*(second.send(endpoint) for _ in range(3)))
    assert [exchange.headers for exchange in exchanges] == [((b"x-one", b"1"),)] * 3
    assert [await exchange.read() for exchange in exchanges] == [b"ok"] * 3
    assert len(upstream.peers) == 1


async def test_a_closed_transport_sends_nothing(upstream, second):
    endpoint = await upstream.start_answering()
    await second.transport.aclose()
    with pytest.raises(UpstreamError) as failure:
        await second.send(endpoint)
    assert failure.value.reason is Reason.CANCELLED
