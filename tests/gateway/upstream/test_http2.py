"""HTTP/2 against a real server: one connection for many, each stream for itself, and no good-bye that costs a call."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import h2.errors
import h2.settings
import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.types import Endpoint, Timeouts
from gateway.upstream import http2
from gateway.upstream.tls import TlsFiles
from tests.gateway.upstream.http2_peer import Asked, Connection, Http2Server, Play

Serve = Callable[..., Awaitable[tuple[Http2Server, Endpoint]]]


@pytest.fixture
async def serve(server_context, second, certificates) -> AsyncIterator[Serve]:
    """Starts servers that play a script on each request; `second` trusts them."""
    second.use(files=TlsFiles(certificates / "ca.pem"))
    servers = []

    async def start(play: Play = Asked.answer, **settings: int) -> tuple[Http2Server, Endpoint]:
        server = Http2Server(play, **settings)
        servers.append(server)
        return server, await server.start(server_context("good", "h2"))

    yield start
    await second.transport.aclose()
    for server in servers:
        await server.close()


async def drunk(exchange) -> bytes:
    """Reads an answer piece by piece."""
    received = b""
    while (piece := await exchange.next()) is not None:
        received += piece
    return received


# -- asking ----------------------------------------------------------------------------------------------------------


async def test_a_request_is_what_http2_wants_and_no_more(serve, second):
    server, endpoint = await serve()
    exchange = await second.send(endpoint, b'{"a":1}')
    assert (exchange.status, exchange.headers) == (200, ())
    assert await exchange.read() == b"ok"
    assert await exchange.next() is None
    (asked,) = server.asked
    assert asked.body == b'{"a":1}'
    assert asked.headers == {
        ":method": "POST",
        ":authority": f"localhost:{endpoint.origin.port}",
        ":scheme": "https",
        ":path": "/v1/chat/completions",
        "accept-encoding": "identity",
        "authorization": "Bearer sk-test",
        "content-type": "application/json",
        "content-length": "7",
    }


async def test_calls_at_the_same_time_share_one_connection(serve, second, until):
    together = asyncio.Event()

    async def play(asked):
        await together.wait()
        await asked.answer(asked.headers["content-length"].encode())

    server, endpoint = await serve(play)
    calls = [asyncio.create_task(second.ask(endpoint, b"a" * size)) for size in range(1, 51)]
    await until(lambda: len(server.asked) == 50)
    together.set()
    assert await asyncio.gather(*calls) == [b"%d" % size for size in range(1, 51)]
    assert len(server.connections) == 1
    assert (second.transport.active, second.transport.idle) == (0, 1)


async def test_a_call_that_finds_every_stream_taken_opens_a_second_connection(serve, second, until):
    together = asyncio.Event()

    async def play(asked):
        await together.wait()
        await asked.answer()

    server, endpoint = await serve(play, most=3)
    calls = [asyncio.create_task(second.ask(endpoint)) for _ in range(7)]
    await until(lambda: len(server.asked) == 7)
    together.set()
    assert await asyncio.gather(*calls) == [b"ok"] * 7
    assert len(server.connections) == 3


async def test_an_upstream_without_http2_is_spoken_to_as_it_can(upstream, second, server_context, certificates):
    second.use(files=TlsFiles(certificates / "ca.pem"))
    endpoint = await upstream.start_answering(server_context("good", "http/1.1"), "localhost")
    assert await asyncio.gather(*(second.ask(endpoint) for _ in range(5))) == [b"ok"] * 5
    assert await second.ask(endpoint) == b"ok"
    assert len(upstream.peers) <= 6


async def test_an_upstream_that_has_learnt_http2_is_found_out(serve, second, until):
    server, endpoint = await serve()
    assert await second.ask(endpoint) == b"ok"
    (place,) = second.transport._places.values()
    place.speaks_http1 = True  # as it was known to, before
    place.connections[0].close(UpstreamError(Reason.CANCELLED, ""))
    assert await second.ask(endpoint) == b"ok"
    assert not place.speaks_http1
    assert len(server.connections) == 2


# -- answers ---------------------------------------------------------------------------------------------------------


async def test_a_stream_comes_piece_by_piece(serve, second):
    go_on = asyncio.Event()

    async def play(asked):
        await asked.head("200", ("content-type", "text/event-stream"))
        for number in range(3):
            await asked.send(b"%d" % number)
            await go_on.wait()
            go_on.clear()
        await asked.send(b"", end=True)

    _, endpoint = await serve(play)
    exchange = await second.send(endpoint)
    assert exchange.headers == ((b"content-type", b"text/event-stream"),)
    for number in range(3):
        assert await exchange.next() == b"%d" % number
        go_on.set()
    assert await exchange.next() is None


async def test_an_interim_answer_is_passed_over(serve, second):
    async def play(asked):
        await asked.head("103", ("link", "</a>"))
        await asked.answer()

    _, endpoint = await serve(play)
    assert await second.ask(endpoint) == b"ok"


@pytest.mark.parametrize("way", ["next", "read"])
async def test_a_compressed_answer_arrives_decoded(serve, second, way):
    async def play(asked):
        await asked.answer(gzip.compress(b"hello" * 100_000), ("content-encoding", "gzip"), ("x-a", "b"))

    _, endpoint = await serve(play)
    exchange = await second.send(endpoint)
    assert exchange.headers == ((b"x-a", b"b"),)
    assert await (exchange.read() if way == "read" else drunk(exchange)) == b"hello" * 100_000


async def test_an_answer_past_the_bound_is_refused(serve, second, certificates):
    _, endpoint = await serve(lambda asked: asked.answer(b"a" * 100_001))
    second.use(files=TlsFiles(certificates / "ca.pem"), max_body_bytes=100_000)
    with pytest.raises(UpstreamError, match="larger than") as failure:
        await second.ask(endpoint)
    assert failure.value.reason is Reason.SERVER_ERROR


async def test_an_answer_that_comes_before_the_request_is_out_is_delivered(serve, second, until):
    async def play(asked):
        await asked.head("413")
        await asked.send(b"big", end=True)

    server, endpoint = await serve(play)
    body = b"a" * 20_000_000
    exchange = await second.send(endpoint, body)
    assert exchange.status == 413
    assert await exchange.read() == b"big"
    (asked,) = server.asked
    await until(lambda: asked.reset is not None)
    assert len(asked.body) < len(body)
    assert (second.transport.active, second.transport.idle) == (0, 1)


async def test_a_large_request_goes_through_the_windows(serve, second):
    async def play(asked):
        await asked.whole.wait()
        await asked.answer(b"%d" % len(asked.body))

    _, endpoint = await serve(play)
    assert await second.ask(endpoint, b"a" * 3_000_000) == b"3000000"


# -- leaving ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["abort", "cancel in next", "cancel before the head", "deadline"])
async def test_leaving_resets_the_stream_and_keeps_the_connection(serve, second, until, way):
    async def play(asked):
        if asked.headers["content-length"] == "2":
            await asked.answer()
        elif way != "cancel before the head":
            await asked.head()
            await asked.send(b"hel")

    server, endpoint = await serve(play)

    async def call():
        exchange = await second.send(endpoint, b"leave", within_s=0.2 if way == "deadline" else 5.0)
        assert await exchange.next() == b"hel"
        if way == "abort":
            exchange.abort()
            exchange.abort()
        else:
            await exchange.next()

    task = asyncio.create_task(call())
    await until(lambda: server.asked)
    if way.startswith("cancel"):
        await asyncio.sleep(0.02)
        task.cancel()
    await asyncio.wait([task])
    await until(lambda: server.asked[0].reset == h2.errors.ErrorCodes.CANCEL)
    assert second.transport.active == 0
    assert await second.ask(endpoint) == b"ok"
    assert len(server.connections) == 1
    if way == "deadline":
        failure = task.exception()
        assert isinstance(failure, UpstreamError)
        assert failure.reason is Reason.TIMEOUT


async def test_answers_that_nobody_reads_do_not_eat_the_connections_window(serve, second):
    sent = http2.WINDOW_BYTES // 2

    async def play(asked):
        await asked.head()
        await asked.send(b"a" * sent)
        if asked.headers["content-length"] == "2":
            await asked.send(b"", end=True)

    server, endpoint = await serve(play)
    for _ in range(2 * http2._CONNECTION_WINDOW_BYTES // sent):
        exchange = await second.send(endpoint, b"leave")
        assert await exchange.next()
        exchange.abort()
    assert len(await second.ask(endpoint)) == sent
    assert len(server.connections) == 1


# -- pressure --------------------------------------------------------------------------------------------------------


async def test_a_slow_reader_holds_its_own_stream_back_and_no_other(serve, second, until):
    sent = {}

    async def play(asked):
        await asked.head()
        for _ in range(50):
            await asked.send(b"a" * 100_000)
            sent[asked.id] = sent.get(asked.id, 0) + 100_000
        await asked.send(b"", end=True)

    server, endpoint = await serve(play)
    slow = await second.send(endpoint)
    await until(lambda: sum(map(len, slow.pieces)) == http2.WINDOW_BYTES)
    quick = await second.send(endpoint)
    assert len(await quick.read()) == 5_000_000
    assert sent[slow.id] < http2.WINDOW_BYTES
    assert len(await drunk(slow)) == 5_000_000
    assert len(server.connections) == 1


# -- good-byes -------------------------------------------------------------------------------------------------------


async def test_a_goaway_lets_open_streams_end_and_sends_the_next_call_elsewhere(serve, second, until):
    go_on = asyncio.Event()

    async def play(asked):
        if len(server.connections) > 1:
            await asked.answer()
            return
        await asked.head()
        await asked.send(b"one ")
        await asked.connection.go_away(asked.id)
        await go_on.wait()
        await asked.send(b"two", end=True)

    server, endpoint = await serve(play)
    exchange = await second.send(endpoint)
    assert await exchange.next() == b"one "
    assert await second.ask(endpoint) == b"ok"
    assert len(server.connections) == 2
    go_on.set()
    assert await drunk(exchange) == b"two"
    await until(lambda: server.open == 1)  # the old connection goes with its last stream


async def test_a_goaway_that_passes_requests_over_has_them_sent_once_more(serve, second, until):
    async def play(asked):
        connection = asked.connection
        if connection is server.connections[0]:
            if asked.id == 5:
                await connection.go_away(1)
            elif asked.id == 1:
                await asked.answer()
        else:
            await asked.answer(b"again")

    server, endpoint = await serve(play)
    answers = await asyncio.gather(*(second.ask(endpoint) for _ in range(3)))
    assert sorted(answers) == [b"again", b"again", b"ok"]
    assert len(server.connections) == 2
    await until(lambda: server.open == 1)


async def test_a_goaway_in_pieces_among_other_frames_is_understood(serve, second):
    async def play(asked):
        wire, connection = asked.connection.wire, asked.connection
        wire.send_headers(asked.id, [(":status", "200")])
        wire.send_data(asked.id, b"he")
        before = wire.data_to_send()
        body = asked.id.to_bytes(4) + bytes(4) + b"some debug data"
        away = len(body).to_bytes(3) + b"\x07\x00" + bytes(4) + body
        wire.send_data(asked.id, b"llo", end_stream=True)
        for byte in before + away + wire.data_to_send():
            connection.raw(bytes([byte]))
            await connection.writer.drain()
            await asyncio.sleep(0)

    server, endpoint = await serve(play)
    assert await second.ask(endpoint) == b"hello"
    assert await second.ask(endpoint) == b"hello"
    assert len(server.connections) == 2


async def test_a_refused_stream_is_sent_once_more_and_no_third_time(serve, second):
    async def play(asked):
        if len(server.asked) != 2:
            asked.connection.wire.reset_stream(asked.id, h2.errors.ErrorCodes.REFUSED_STREAM)
            await asked.connection.flush()
        else:
            await asked.answer()

    server, endpoint = await serve(play)
    assert await second.ask(endpoint) == b"ok"
    assert len(server.asked) == 2
    with pytest.raises(UpstreamError) as failure:
        await second.ask(endpoint)
    assert len(server.asked) == 4
    assert failure.value.reason is Reason.CONNECT
    assert failure.value.sent is False


@pytest.mark.parametrize("after_head", [False, True], ids=["before the head", "after it"])
@pytest.mark.parametrize("way", ["reset", "close", "protocol"])
async def test_an_end_that_is_none_is_told_as_what_it_is(serve, second, until, way, after_head):
    async def play(asked):
        if after_head:
            await asked.head()
            await asked.send(b"hel")
        connection = asked.connection
        if way == "reset":
            connection.wire.reset_stream(asked.id, h2.errors.ErrorCodes.INTERNAL_ERROR)
            await connection.flush()
        elif way == "close":
            connection.writer.close()
        else:
            connection.raw(b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")  # a window update by nothing
            await connection.writer.drain()

    server, endpoint = await serve(play)

    async def call():
        exchange = await second.send(endpoint)
        assert await exchange.next() == b"hel"
        await exchange.next()

    with pytest.raises(UpstreamError) as failure:
        await call()
    if after_head:
        assert isinstance(failure.value, StreamCut)
    else:
        assert failure.value.reason is (Reason.SERVER_ERROR if way == "protocol" else Reason.CONNECT)
    await until(lambda: server.open == (1 if way == "reset" else 0))


async def test_garbage_in_the_place_of_frames_is_a_server_error(serve, upstream, second, server_context):
    async def script(peer):
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n" * 10)
        await peer.closed()

    endpoint = await upstream.start(script, server_context("good", "h2"), "localhost")
    with pytest.raises(UpstreamError) as failure:
        await second.ask(endpoint)
    assert failure.value.reason is Reason.SERVER_ERROR
    assert failure.value.sent is False
    assert second.transport.active == 0


async def test_a_silent_connection_is_not_given_to_the_next_call(serve, second, monkeypatch):
    monkeypatch.setattr(http2, "_SILENT_S", 0.05)

    async def play(asked):
        if asked.id == 1:
            await asked.answer()

    server, endpoint = await serve(play)
    assert await second.ask(endpoint, b"") == b"ok"
    for within_s in (0.01, 0.1):  # too short to tell, and long enough
        assert len(server.connections) == 1
        with pytest.raises(UpstreamError) as failure:
            await second.ask(endpoint, b"", within_s=within_s)
        assert failure.value.reason is Reason.TIMEOUT
    assert await second.ask(endpoint, b"") == b"ok"
    assert len(server.connections) == 2


# -- the connection's life -------------------------------------------------------------------------------------------


async def test_an_idle_connection_answers_pings_and_then_expires(serve, second, certificates, until):
    server, endpoint = await serve()
    second.use(files=TlsFiles(certificates / "ca.pem"), idle_s=0.5)
    assert await second.ask(endpoint) == b"ok"
    connection: Connection = server.connections[0]
    connection.wire.ping(b"12345678")
    await connection.flush()
    await until(lambda: connection.pings == 1)
    await until(lambda: server.open == 0)
    assert second.transport.idle == 0
    await until(lambda: not second.transport._places)


async def test_connections_are_counted_by_origin(serve, second):
    _, endpoint = await serve(lambda asked: asked.head())
    exchange = await second.send(endpoint)
    counted = [counts for origin, *counts in second.transport.connections() if origin == endpoint.origin]
    assert [sum(column) for column in zip(*counted, strict=True)] == [1, 0]
    exchange.abort()


async def test_closing_the_transport_ends_what_is_under_way(serve, second):
    _, endpoint = await serve(lambda asked: asked.head())
    reading = asyncio.create_task((await second.send(endpoint)).read())
    await asyncio.sleep(0)
    await second.transport.aclose()
    with pytest.raises(UpstreamError) as failure:
        await reading
    assert failure.value.reason is Reason.CANCELLED
    with pytest.raises(UpstreamError) as failure:
        await second.send(endpoint)
    assert failure.value.reason is Reason.CANCELLED


async def test_who_waits_for_a_connection_shares_its_failure(upstream, second, certificates):
    second.use(files=TlsFiles(certificates / "ca.pem"))
    plain = await upstream.start(lambda peer: peer.closed(), None, "localhost")
    endpoint = Endpoint("a#0", "a", "provider", type(plain.origin)("https", "localhost", plain.origin.port))
    timeouts = Timeouts(tls_s=0.1)
    failures = await asyncio.gather(
        *(second.send(endpoint, timeouts=timeouts) for _ in range(20)), return_exceptions=True
    )
    assert {failure.message for failure in failures} == {"the upstream did not finish the TLS handshake in time"}
    assert len(upstream.peers) == 1


async def test_who_waits_for_a_greeting_shares_that_it_did_not_come(upstream, second, server_context, certificates):
    second.use(files=TlsFiles(certificates / "ca.pem"))
    endpoint = await upstream.start(lambda peer: peer.closed(), server_context("good", "h2"), "localhost")
    timeouts = Timeouts(tls_s=0.2)
    failures = await asyncio.gather(
        *(second.send(endpoint, timeouts=timeouts) for _ in range(20)), return_exceptions=True
    )
    assert {failure.message for failure in failures} == {"the upstream did not finish the greeting of HTTP/2 in time"}
    assert len(upstream.peers) == 1


async def test_who_waits_goes_on_where_the_one_that_opens_is_cancelled(upstream, second, server_context, certificates):
    second.use(files=TlsFiles(certificates / "ca.pem"))
    endpoint = await upstream.start_answering(server_context("good", "http/1.1"), "localhost")
    first, other = (asyncio.create_task(second.ask(endpoint)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await other == b"ok"
