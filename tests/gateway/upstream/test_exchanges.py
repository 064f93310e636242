"""What an exchange withstands: deadlines, pressure both ways, a crowd, being left."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError

HEAD = b"HTTP/1.1 200 OK\r\n"


# -- deadlines -------------------------------------------------------------------------------------------------------


async def test_silence_before_the_head_times_out(upstream, client, until):
    endpoint = await upstream.start(lambda peer: peer.closed())
    started = time.monotonic()
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint, within_s=0.1)
    assert failure.value.reason is Reason.TIMEOUT
    assert 0.09 < time.monotonic() - started < 5
    await until(lambda: upstream.open == 0)


async def test_a_drip_is_no_progress_unless_the_owner_says_so(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"2\r\n: \r\n")
            await asyncio.sleep(0.01)

    exchange = await client.send(await upstream.start(script), within_s=0.15)
    started = time.monotonic()

    async def drink():
        while True:
            assert await exchange.next()

    with pytest.raises(UpstreamError) as failure:
        await drink()
    assert failure.value.reason is Reason.TIMEOUT
    assert time.monotonic() - started < 5


async def test_a_stream_goes_on_while_its_owner_moves_the_deadline(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n")
        for _ in range(10):
            await peer.send(b"1\r\na\r\n")
            await asyncio.sleep(0.03)
        await peer.send(b"0\r\n\r\n")
        await peer.closed()

    exchange = await client.send(await upstream.start(script), within_s=0.15)
    received = b""
    while (piece := await exchange.next()) is not None:
        received += piece
        exchange.expires_at = asyncio.get_running_loop().time() + 0.15
    assert received == b"a" * 10


async def test_a_slow_owner_is_no_fault_of_the_upstreams(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 2\r\n\r\na")
        await asyncio.sleep(0.2)
        await peer.send(b"b")
        await peer.closed()

    exchange = await client.send(await upstream.start(script), within_s=0.05)
    await asyncio.sleep(0.15)  # nobody waits for the upstream here
    assert await exchange.next() == b"a"
    exchange.expires_at += 5
    assert await exchange.next() == b"b"


async def test_a_body_that_stalls_times_out_in_read(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 2\r\n\r\na")
        await peer.closed()

    exchange = await client.send(await upstream.start(script), within_s=0.1)
    with pytest.raises(UpstreamError) as failure:
        await exchange.read()
    assert failure.value.reason is Reason.TIMEOUT


async def test_a_call_arms_no_timer(upstream, client):
    endpoint = await upstream.start_answering()
    await client.ask(endpoint)
    loop = asyncio.get_running_loop()
    armed = []
    real = loop.call_later, loop.call_at
    if not isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("uvloop's methods cannot be replaced")
    loop.call_later = lambda *arguments, **options: armed.append(arguments) or real[0](*arguments, **options)
    loop.call_at = lambda *arguments, **options: armed.append(arguments) or real[1](*arguments, **options)
    assert await client.ask(endpoint) == b"ok"
    assert not armed


# -- pressure --------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_holds_the_upstream_back_and_memory_stays_bounded(upstream, client):
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.send(HEAD + b"content-length: 50000000\r\n\r\n")
        for _ in range(500):
            await peer.send(b"a" * 100_000)
            sent += 100_000
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    await asyncio.sleep(0.2)
    assert exchange.buffered_bytes < 1_000_000
    held = sent
    await asyncio.sleep(0.1)
    assert sent == held < 50_000_000
    received = 0
    while (piece := await exchange.next()) is not None:
        received += len(piece)
        assert len(piece) < 1_000_000
    assert received == 50_000_000


async def test_a_large_request_waits_for_a_slow_upstream(upstream, client):
    body = b"a" * 20_000_000
    read_on = asyncio.Event()

    async def script(peer):
        await read_on.wait()
        request = await peer.request()
        await peer.send(HEAD + b"content-length: 8\r\n\r\n%08d" % (len(request) - request.index(b"\r\n\r\n") - 4))
        await peer.closed()

    task = asyncio.create_task(client.ask(await upstream.start(script), body))
    await asyncio.sleep(0.1)
    (pool,) = client.transport._pools.values()
    (connection,) = pool._connections
    assert connection._transport.get_write_buffer_size() < 1_000_000
    read_on.set()
    assert await task == b"20000000"
    assert client.transport.idle == 1


async def test_an_answer_that_comes_before_the_request_is_out_is_delivered(upstream, client):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await asyncio.sleep(0.2)

    exchange = await client.send(await upstream.start(script), b"a" * 20_000_000)
    assert exchange.status == 413
    assert await exchange.read() == b"big"
    assert client.transport.active == client.transport.idle == 0


async def test_an_early_answer_is_delivered_where_the_upstream_closes_after_it(upstream, client):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig")

    exchange = await client.send(await upstream.start(script), b"a" * 20_000_000)
    assert exchange.status == 413
    assert await exchange.read() == b"big"
    assert client.transport.active == client.transport.idle == 0


async def test_an_upstream_that_stops_taking_the_request_times_out(upstream, client):
    async def script(peer):
        await asyncio.sleep(5)

    with pytest.raises(UpstreamError) as failure:
        await client.send(await upstream.start(script), b"a" * 20_000_000, within_s=0.1)
    assert failure.value.reason is Reason.TIMEOUT


async def test_an_upstream_that_dies_over_the_request_is_a_connect_failure(upstream, client):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    with pytest.raises(UpstreamError) as failure:
        await client.send(await upstream.start(script), b"a" * 20_000_000)
    assert failure.value.reason is Reason.CONNECT


async def test_a_hundred_calls_share_ten_connections_in_the_order_they_came(upstream, client):
    client.use(max_connections_per_origin=10)
    most = 0
    finished = []

    async def script(peer):
        nonlocal most
        while True:
            await peer.request()
            most = max(most, upstream.open)
            await asyncio.sleep(0.002)
            await peer.send(HEAD + b"content-length: 2\r\n\r\nok")

    endpoint = await upstream.start(script)

    async def call(number):
        assert await client.ask(endpoint) == b"ok"
        finished.append(number)

    await asyncio.gather(*(call(number) for number in range(100)))
    assert most == 10
    assert len(upstream.peers) == 10
    assert all(abs(place - number) < 20 for place, number in enumerate(finished))


async def test_waiting_for_a_connection_ends_at_the_deadline(upstream, client):
    client.use(max_connections_per_origin=1)

    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 2\r\n\r\n")
        await peer.closed()

    endpoint = await upstream.start(script)
    exchange = await client.send(endpoint)
    with pytest.raises(UpstreamError) as failure:
        await client.send(endpoint, within_s=0.1)
    assert failure.value.reason is Reason.TIMEOUT
    exchange.abort()


async def test_a_failed_connection_leaves_its_place_to_who_waits(upstream, client):
    client.use(max_connections_per_origin=1)

    async def script(peer):
        if peer.number == 0:
            await peer.request()
            await asyncio.sleep(0.02)
            peer.reset()
        else:
            await peer.answer_all()

    endpoint = await upstream.start(script)
    results = await asyncio.gather(*(client.ask(endpoint) for _ in range(4)), return_exceptions=True)
    assert isinstance(results[0], UpstreamError)
    assert results[1:] == [b"ok"] * 3


async def test_a_cancelled_waiter_does_not_keep_the_connection_it_was_given(upstream, client):
    client.use(max_connections_per_origin=1)
    endpoint = await upstream.start_answering()
    exchange = await client.send(endpoint)
    assert await exchange.read() == b"ok"
    (pool,) = client.transport._pools.values()
    held = pool.take()
    waiting = [asyncio.create_task(client.ask(endpoint)) for _ in range(2)]
    await asyncio.sleep(0.01)
    pool.release(held)  # given to the first, which is cancelled before it can take it
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert await waiting[1] == b"ok"
    assert len(upstream.peers) == 1


# -- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["head", "next", "read", "request"])
async def test_a_cancelled_call_leaves_no_connection_and_no_task(upstream, client, until, where):
    gone = asyncio.Event()

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        if where in ("next", "read"):
            await peer.send(HEAD + b"content-length: 2\r\n\r\n")
        if where == "request":
            await asyncio.sleep(0.05)
        await peer.closed()
        gone.set()

    endpoint = await upstream.start(script)

    async def call():
        exchange = await client.send(endpoint, b"a" * 20_000_000 if where == "request" else b"")
        await (exchange.next() if where == "next" else exchange.read())

    before = asyncio.all_tasks()
    task = asyncio.create_task(call())
    await until(lambda: client.transport.active)
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.transport.active == client.transport.idle == 0
    await asyncio.wait_for(gone.wait(), 30)
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_call_cancelled_while_connecting_leaves_nothing(client, unaccepting):
    task = asyncio.create_task(client.send(unaccepting))
    await asyncio.sleep(0.02)
    assert client.transport.active == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert client.transport.active == 0


async def test_abort_closes_at_once_and_may_be_called_again(upstream, client, until):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        await peer.closed()

    exchange = await client.send(await upstream.start(script))
    exchange.abort()
    exchange.abort()
    started = time.monotonic()
    await until(lambda: upstream.open == 0)
    assert time.monotonic() - started < 2


async def test_abort_after_the_end_keeps_the_connection(upstream, client):
    endpoint = await upstream.start_answering()
    exchange = await client.send(endpoint)
    assert await exchange.read() == b"ok"
    exchange.abort()
    assert client.transport.idle == 1


async def test_closing_the_transport_ends_what_is_under_way(upstream, client):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 2\r\n\r\n")
        await peer.closed()

    client.use(max_connections_per_origin=1)
    endpoint = await upstream.start(script)
    exchange = await client.send(endpoint)
    reading = asyncio.create_task(exchange.read())
    waiting = asyncio.create_task(client.send(endpoint))
    await asyncio.sleep(0.01)
    await client.transport.aclose()
    for task in (reading, waiting):
        with pytest.raises(UpstreamError) as failure:
            await task
        assert failure.value.reason is Reason.CANCELLED
    with pytest.raises(UpstreamError):
        await client.send(endpoint)


async def test_closing_the_transport_does_not_wait_for_who_connects(client, unaccepting):
    task = asyncio.create_task(client.send(unaccepting, within_s=30))
    await asyncio.sleep(0.02)
    await asyncio.wait_for(client.transport.aclose(), 10)
    with pytest.raises(UpstreamError):
        await task


async def test_what_came_before_a_cut_is_handed_out_first(upstream, client, until):
    async def script(peer):
        await peer.request()
        await peer.send(HEAD + b"content-length: 10\r\n\r\nhello")

    exchange = await client.send(await upstream.start(script))
    await until(lambda: client.transport.active == 0)
    assert await exchange.next() == b"hello"
    with pytest.raises(StreamCut):
        await exchange.next()
