"""Pieces that are taken within the read that brought them, while the task that waits sleeps on."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_pieces_are_taken_in_order_and_the_task_is_woken_once_at_the_end(upstream, client):
    taken: list[bytes] = []
    going = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + framed(b"a"))
        await going.wait()
        for number in range(20):
            seen = len(taken)
            await peer.send(framed(b"%d;" % number))
            while len(taken) == seen:  # each piece is a read of its own
                await asyncio.sleep(0)
        await peer.send(b"0\r\n\r\n")
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    assert await exchange.next() == b"a"
    asyncio.get_running_loop().call_soon(going.set)
    assert await exchange.next(lambda data: taken.append(data) is None) is None
    assert b"".join(taken) == b"".join(b"%d;" % number for number in range(20))


async def test_who_has_enough_gets_the_rest_from_next(upstream, client):
    taken: list[bytes] = []
    go_on, last = asyncio.Event(), asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + framed(b"a"))
        await go_on.wait()
        await peer.send(framed(b"b"))
        await last.wait()
        await peer.send(framed(b"c") + b"0\r\n\r\n")
        await peer.closed()

    def take(data: bytes) -> bool:
        taken.append(data)
        return False

    exchange = await client.send(await upstream.start(script))
    assert await exchange.next() == b"a"
    asyncio.get_running_loop().call_soon(go_on.set)
    assert await exchange.next(take) == b""
    assert taken == [b"b"]
    last.set()
    assert await exchange.next() == b"c"
    assert await exchange.next() is None


async def test_an_error_of_who_takes_ends_the_exchange_and_is_raised_where_it_waits(upstream, client, until):
    going = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + framed(b"a"))
        await going.wait()
        await peer.send(framed(b"b"))
        await peer.closed()

    def take(data: bytes) -> bool:
        raise StreamCut("this is no answer")

    exchange = await client.send(await upstream.start(script))
    assert await exchange.next() == b"a"
    asyncio.get_running_loop().call_soon(going.set)
    with pytest.raises(StreamCut, match="this is no answer"):
        await exchange.next(take)
    await until(lambda: upstream.open == 0)


async def test_silence_is_noticed_while_pieces_are_taken(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + framed(b"a"))
        await peer.closed()

    exchange = await client.send(await upstream.start(script), within_s=0.2)
    assert await exchange.next() == b"a"
    with pytest.raises(UpstreamError) as failure:
        await exchange.next(lambda data: True)
    assert failure.value.reason is Reason.TIMEOUT


async def test_a_cut_is_raised_after_what_came_before_it_was_taken(upstream, client):
    taken: list[bytes] = []
    going = asyncio.Event()

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + framed(b"a"))
        await going.wait()
        await peer.send(framed(b"b"))
        while not taken:
            await asyncio.sleep(0)
        peer.reset()

    exchange = await client.send(await upstream.start(script))
    assert await exchange.next() == b"a"
    asyncio.get_running_loop().call_soon(going.set)
    with pytest.raises(StreamCut):
        await exchange.next(lambda data: taken.append(data) is None)
    assert taken == [b"b"]
