"""Answers that come compressed although identity was asked for."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.upstream.inflate import Inflater

TEXT = b'{"text":"' + bytes(range(32, 127)) * 50 + b'"}'


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


CODED = {
    "gzip": (b"gzip", gzip.compress(TEXT)),
    "x-gzip": (b"x-gzip", gzip.compress(TEXT)),
    "gzip in members": (b"gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
    "deflate": (b"deflate", zlib.compress(TEXT)),
    "deflate without its header": (b"deflate", raw_deflate(TEXT)),
}


def decode(encoding: bytes, pieces: list[bytes]) -> bytes:
    inflater = Inflater(encoding)
    decoded = b""
    for piece in pieces:
        decoded += inflater.feed(piece)
        while inflater.pending:
            decoded += inflater.feed(b"")
    inflater.end()
    return decoded


@pytest.mark.parametrize("name", CODED)
def test_a_coded_body_is_decoded_whole_and_byte_by_byte(name):
    encoding, body = CODED[name]
    assert decode(encoding, [body]) == TEXT
    assert decode(encoding, [body[i : i + 1] for i in range(len(body))]) == TEXT
    assert Inflater(encoding).feed_all(body, len(TEXT)) == TEXT


@pytest.mark.parametrize("name", CODED)
def test_every_prefix_of_a_coded_body_is_a_cut(name):
    encoding, body = CODED[name]
    whole = {len(gzip.compress(TEXT[:100]))} if name == "gzip in members" else set()
    for size in range(1, len(body)):
        if size not in whole:
            with pytest.raises(StreamCut):
                decode(encoding, [body[:size]])


def test_an_empty_body_has_no_end_to_miss():
    Inflater(b"gzip").end()
    assert Inflater(b"deflate").feed_all(b"", 10) == b""


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, gzip", b"compress"])
def test_other_encodings_are_refused(encoding):
    with pytest.raises(UpstreamError) as failure:
        Inflater(encoding)
    assert failure.value.reason is Reason.SERVER_ERROR


def test_a_corrupt_body_is_refused():
    body = bytearray(gzip.compress(TEXT))
    body[40] ^= 0xFF
    with pytest.raises(UpstreamError) as failure:
        decode(b"gzip", [bytes(body)])
    assert failure.value.reason is Reason.SERVER_ERROR


def test_bytes_after_a_deflated_body_are_refused():
    with pytest.raises(UpstreamError):
        decode(b"deflate", [zlib.compress(TEXT) + b"more"])


def test_a_bomb_is_defused_before_it_fills_memory():
    bomb = gzip.compress(bytes(100_000_000))
    inflater = Inflater(b"gzip")
    sizes = [len(inflater.feed(bomb))]

    def go_on():
        while inflater.pending:
            sizes.append(len(inflater.feed(b"")))

    with pytest.raises(UpstreamError, match="beyond measure"):
        go_on()
    assert max(sizes) <= 256 * 1024
    assert sum(sizes) < 20_000_000
    with pytest.raises(UpstreamError, match="larger"):
        Inflater(b"gzip").feed_all(bomb, 1_000_000)


@pytest.mark.parametrize("way", ["next", "read"])
async def test_a_compressed_answer_arrives_decoded(upstream, client, way):
    body = CODED["gzip"][1]

    async def script(peer):
        await peer.request()
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\ncontent-length: %d\r\nx-a: b\r\n\r\n" % len(body)
        )
        await peer.drip(body)
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    assert exchange.headers == ((b"x-a", b"b"),)
    if way == "read":
        assert await exchange.read() == TEXT
    else:
        decoded = b""
        while (piece := await exchange.next()) is not None:
            decoded += piece
        assert decoded == TEXT
    assert client.transport.idle == 1


@pytest.mark.parametrize("way", ["next", "read"])
async def test_a_compressed_answer_that_stops_early_is_cut(upstream, client, way):
    body = CODED["gzip"][1][:-4]

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await peer.closed()

    exchange = await client.send(await upstream.start(script))

    async def drink():
        while await exchange.next() is not None:
            pass

    with pytest.raises(StreamCut):
        await (exchange.read() if way == "read" else drink())


@pytest.mark.parametrize("way", ["next", "read"])
async def test_a_bomb_from_an_upstream_is_a_server_error(upstream, client, way):
    bomb = gzip.compress(bytes(100_000_000))

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb))
        await peer.send(bomb)
        await peer.closed()

    client.use(max_body_bytes=10_000_000)
    exchange = await client.send(await upstream.start(script))
    largest = 0

    async def drink():
        nonlocal largest
        while (piece := await exchange.next()) is not None:
            largest = max(largest, len(piece))

    with pytest.raises(UpstreamError) as failure:
        await (exchange.read() if way == "read" else drink())
    assert failure.value.reason is Reason.SERVER_ERROR
    assert largest <= 256 * 1024
    await asyncio.sleep(0)
    assert client.transport.active == 0
