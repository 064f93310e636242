"""Answers as servers frame them: well, oddly, and with malice."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\n"

# name -> (what the server sends, status, body, whether the connection may be kept); b"" at the end means: then close
GOOD = {
    "content-length": (HEAD + b"Content-Length: 5\r\n\r\nhello", 200, b"hello", True),
    "empty": (HEAD + b"content-length: 0\r\n\r\n", 200, b"", True),
    "chunked": (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, b"hello", True),
    "chunked with extensions and trailers": (
        HEAD + b"Transfer-Encoding: Chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;d\r\nx-trailer: y\r\n\r\n",
        200,
        b"hello",
        True,
    ),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
        + HEAD
        + b"content-length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b"", True),
    "until close": (HEAD + b"\r\nhello", 200, b"hello", False),
    "close asked for": (HEAD + b"connection: close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "redirect is not followed": (
        b"HTTP/1.1 302 Found\r\nlocation: http://example.com/\r\ncontent-length: 2\r\n\r\nno",
        302,
        b"no",
        True,
    ),
    "more than the length": (HEAD + b"content-length: 2\r\n\r\nok and more", 200, b"ok", False),
    "an answer too many": (
        HEAD + b"content-length: 2\r\n\r\nok" + HEAD + b"content-length: 0\r\n\r\n",
        200,
        b"ok",
        False,
    ),
}


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("name", GOOD)
async def test_an_answer_is_read_however_it_is_framed(upstream, client, name, drip):
    raw, status, body, kept = GOOD[name]

    async def script(peer):
        await peer.request()
        await (peer.drip(raw) if drip else peer.send(raw))
        if name == "until close":
            return
        await peer.closed()

    endpoint = await upstream.start(script)
    exchange = await client.send(endpoint)
    assert exchange.status == status
    assert await exchange.read() == body
    assert await exchange.next() is None
    await asyncio.sleep(0.01)
    assert client.transport.idle == (1 if kept else 0)
    assert client.transport.active == 0


@pytest.mark.parametrize("drip", [False, True], ids=["whole", "byte by byte"])
async def test_a_stream_comes_piece_by_piece_and_ends_with_none(upstream, client, drip):
    async def script(peer):
        await peer.request()
        raw = HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"5\r\nhello\r\n" * 20 + b"0\r\n\r\n"
        await (peer.drip(raw) if drip else peer.send(raw))
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    pieces = []
    while (piece := await exchange.next()) is not None:
        pieces.append(piece)
    assert b"".join(pieces) == b"hello" * 20
    assert all(pieces)


async def test_each_chunk_is_handed_on_as_it_comes(upstream, client):
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

    exchange = await client.send(await upstream.start(script))
    for number in range(3):
        assert await exchange.next() == b"%d" % number
        go_on.set()
    assert await exchange.next() is None


async def test_headers_come_in_order_with_names_in_lower_case(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"X-One: 1\r\nSet-Cookie: a\r\nset-cookie: b\r\nEmpty:\r\nContent-Length: 0\r\n\r\n")
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    assert exchange.headers == (
        (b"x-one", b"1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"empty", b""),
        (b"content-length", b"0"),
    )


async def test_an_answer_to_head_has_no_body_whatever_its_length_says(upstream, client):
    async def script(peer):
        request = await peer.request()
        assert request.startswith(b"HEAD ")
        assert b"content-length" not in request
        await peer.send(HEAD + b"content-length: 500\r\n\r\n")
        await peer.closed()

    exchange = await client.send(await upstream.start(script), b"", method=b"HEAD")
    assert exchange.status == 200
    assert await exchange.read() == b""


NOT_HTTP = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "garbage": bytes(range(256)) * 4,
    "HTTP/2 settings": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    "no carriage return": b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
    "two lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc",
    "a negative length": HEAD + b"content-length: -2\r\n\r\nok",
    "a length beside chunks": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "another transfer encoding": HEAD + b"transfer-encoding: gzip\r\n\r\nok",
    "chunks that are not last": HEAD + b"transfer-encoding: chunked, gzip\r\n\r\nok",
    "a folded header": HEAD + b"x-a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "a nul byte": HEAD + b"x-a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "an upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "an upgrade without a word": b"HTTP/1.1 101 Switching\r\n\r\n",
    "an unknown content encoding": HEAD + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok",
    "two content encodings": HEAD + b"content-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
    "endless headers": HEAD + b"x-header: value\r\n" * 5000,
    "an endless header": HEAD + b"x-header: " + b"a" * 70_000,
    "a long header": HEAD + b"x-header: " + b"a" * 17_000 + b"\r\ncontent-length: 0\r\n\r\n",
    "many headers": HEAD + b"a: b\r\n" * 300 + b"content-length: 0\r\n\r\n",
    "a large head in many lines": HEAD + (b"x: " + b"a" * 1000 + b"\r\n") * 80 + b"content-length: 0\r\n\r\n",
    "an endless status line": b"HTTP/1.1 200 " + b"a" * 70_000,
    "endless interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_http_is_a_server_error_and_the_connection_goes(upstream, client, name):
    async def script(peer):
        await peer.request()
        await peer.send(NOT_HTTP[name])
        if name != "half a head":
            await peer.closed()

    endpoint = await upstream.start(script)
    with pytest.raises(UpstreamError) as failure:
        await client.send(endpoint)
    assert failure.value.reason is Reason.SERVER_ERROR
    assert client.transport.active == client.transport.idle == 0


@pytest.mark.parametrize("name", ["another protocol", "garbage", "two lengths", "a folded header", "half a head"])
async def test_what_is_not_http_is_told_apart_byte_by_byte_too(upstream, client, name):
    async def script(peer):
        await peer.request()
        await peer.drip(NOT_HTTP[name])
        if name != "half a head":
            await peer.closed()

    endpoint = await upstream.start(script)
    with pytest.raises(UpstreamError) as failure:
        await client.send(endpoint)
    assert failure.value.reason is Reason.SERVER_ERROR


CUT = {
    "a length that promised more": HEAD + b"content-length: 10\r\n\r\nhello",
    "chunks without the last": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "half a chunk": HEAD + b"transfer-encoding: chunked\r\n\r\na\r\nhello",
    "a chunk size that is none": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    "a chunk that is longer than it said": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello-and-more\r\n",
    "endless trailers": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + b"x: y\r\n" * 20_000,
    "an endless trailer": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: " + b"y" * 90_000,
    "an endless chunk extension": HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5;" + b"y" * 90_000,
}


@pytest.mark.parametrize("way", ["next", "read"])
@pytest.mark.parametrize("name", CUT)
async def test_a_body_that_stops_before_its_end_is_cut(upstream, client, name, way):
    async def script(peer):
        await peer.request()
        await peer.send(CUT[name])

    exchange = await client.send(await upstream.start(script))
    if way == "read":
        with pytest.raises(StreamCut):
            await exchange.read()
    else:
        received = b""
        while len(received) < 5:
            received += await exchange.next() or b""
        assert received.startswith(b"hello")
        with pytest.raises(StreamCut):
            await exchange.next()
    assert client.transport.active == client.transport.idle == 0


@pytest.mark.parametrize("raw", [b"content-length: 9\r\n\r\nhello", b"\r\nhello"], ids=["length", "until close"])
async def test_a_reset_in_the_body_is_cut_even_where_a_close_would_end_it(upstream, client, raw):
    reset = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + raw)
        await reset.wait()
        peer.reset()

    exchange = await client.send(await upstream.start(script))
    assert await exchange.next() == b"hello"
    reset.set()
    with pytest.raises(StreamCut):
        await exchange.next()


async def test_read_refuses_more_than_its_bound_and_closes(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 4000000\r\n\r\n")
        for _ in range(40):
            await peer.send(b"a" * 100_000)

    client.use(max_body_bytes=1_000_000)
    exchange = await client.send(await upstream.start(script))
    with pytest.raises(UpstreamError) as failure:
        await exchange.read()
    assert failure.value.reason is Reason.SERVER_ERROR
    assert client.transport.active == 0


async def test_a_body_above_the_bound_that_came_at_once_is_refused_too(upstream, client):
    async def script(peer):
        await peer.answer(b"a" * 1001)
        await peer.closed()

    client.use(max_body_bytes=1000)
    with pytest.raises(UpstreamError):
        await client.ask(await upstream.start(script))


async def test_no_byte_of_an_upstream_stands_in_an_error(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(b"secret-canary\r\n\r\n")
        await peer.closed()

    with pytest.raises(UpstreamError) as failure:
        await client.send(await upstream.start(script))
    assert "canary" not in failure.value.message
    assert "sk-test" not in failure.value.message
