"""How connections are made, kept, found stale and let go."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Timeouts

HEAD = b"HTTP/1.1 200 OK\r\n"


# -- keeping connections ---------------------------------------------------------------------------------------------


async def test_the_head_carries_the_endpoints_headers_and_what_frames_it(upstream, client):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.send(HEAD + b"content-length: 0\r\n\r\n")
        await peer.closed()

    endpoint = await upstream.start(script)
    await client.ask(endpoint, b'{"a":1}')
    assert seen == [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
        b"authorization: Bearer sk-test\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n"
        b'{"a":1}' % endpoint.origin.port
    ]


async def test_calls_in_turn_share_one_connection(upstream, client):
    endpoint = await upstream.start_answering()
    for _ in range(5):
        assert await client.ask(endpoint) == b"ok"
    assert len(upstream.peers) == 1
    assert (client.transport.counters.opened, client.transport.counters.reused) == (1, 4)


async def test_the_connection_used_last_is_used_next(upstream, client):
    endpoint = await upstream.start_answering()
    await asyncio.gather(*(client.ask(endpoint) for _ in range(3)))
    assert client.transport.idle == 3
    used = []
    for _ in range(3):
        exchange = await client.send(endpoint)
        used.append(exchange)
        await exchange.read()
    assert len(upstream.peers) == 3
    assert client.transport.counters.reused == 3


async def test_an_idle_connection_expires(upstream, client, until):
    client.use(idle_s=0.05)
    endpoint = await upstream.start_answering()
    await client.ask(endpoint)
    assert client.transport.idle == 1
    await until(lambda: client.transport.idle == 0)
    await until(lambda: upstream.open == 0)
    await client.ask(endpoint)
    assert client.transport.counters.opened == 2


async def test_only_so_many_connections_are_kept(upstream, client, until):
    client.use(max_idle_per_origin=2)
    endpoint = await upstream.start_answering()
    await asyncio.gather(*(client.ask(endpoint) for _ in range(6)))
    await until(lambda: upstream.open == 2)
    assert client.transport.idle == 2


async def test_endpoints_of_one_origin_share_connections_but_no_credential(upstream, client):
    seen = []

    async def script(peer):
        while True:
            seen.append(await peer.request())
            await peer.send(HEAD + b"content-length: 0\r\n\r\n")

    first = await upstream.start(script)
    second = msgspec.structs.replace(first, id="b#0", auth=((b"x-api-key", b"other"),))
    rotated = msgspec.structs.replace(first, auth=((b"authorization", b"Bearer sk-new"),))
    for endpoint in (first, second, rotated):
        await client.ask(endpoint)
    assert len(upstream.peers) == 1
    assert b"sk-test" in seen[0]
    assert b"sk-" not in seen[1]
    assert b"x-api-key: other" in seen[1]
    assert b"sk-new" in seen[2]


async def test_unasked_bytes_on_an_idle_connection_end_it(upstream, client, until):
    async def script(peer):
        await peer.answer()
        if peer.number == 0:
            await asyncio.sleep(0.01)
            await peer.send(HEAD + b"content-length: 6\r\n\r\npoison")
        await peer.closed()

    endpoint = await upstream.start(script)
    assert await client.ask(endpoint) == b"ok"
    await until(lambda: client.transport.idle == 0)
    assert client.transport.counters.closed_stale == 1
    assert await client.ask(endpoint) == b"ok"
    assert len(upstream.peers) == 2


async def test_a_server_that_speaks_first_is_not_spoken_to(upstream, client):
    async def script(peer):
        await peer.send(b"220 mail.example.com ESMTP\r\n")
        await peer.closed()

    endpoint = await upstream.start(script)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason in (Reason.CONNECT, Reason.SERVER_ERROR)
    assert client.transport.active == client.transport.idle == 0


async def test_nodelay_is_set(upstream, client):
    endpoint = await upstream.start_answering()
    exchange = await client.send(endpoint)
    await exchange.read()
    (connection,) = client.transport._pools[endpoint.origin].idle
    assert connection._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_quiet_transport_forgets_origins_and_credentials_and_stops_its_timer(upstream, client, until):
    client.use(idle_s=0.02)
    endpoint = await upstream.start_answering()
    await client.ask(endpoint)
    await until(lambda: client.transport._sweeper is None)
    assert not client.transport._pools
    assert not client.transport._routes
    assert await client.ask(endpoint) == b"ok"


# -- stale connections -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["fin", "rst"])
async def test_a_request_that_meets_a_closing_connection_is_sent_once_more(upstream, client, way):
    async def script(peer):
        await peer.answer()
        if peer.number:
            await peer.closed()
            return
        await peer.request()  # the race: the server closes as the next request arrives
        if way == "rst":
            peer.reset()

    endpoint = await upstream.start(script)
    assert await client.ask(endpoint) == b"ok"
    assert await client.ask(endpoint) == b"ok"
    assert client.transport.counters.resent == 1
    assert len(upstream.peers) == 2


async def test_a_connection_the_server_closed_while_idle_is_not_used(upstream, client, until):
    async def script(peer):
        await peer.answer()
        if peer.number:
            await peer.closed()

    endpoint = await upstream.start(script)
    await client.ask(endpoint)
    await until(lambda: client.transport.idle == 0)
    await client.ask(endpoint)
    assert client.transport.counters.closed_stale == 1
    assert client.transport.counters.resent == 0


async def test_a_fresh_connection_that_dies_is_not_tried_again(upstream, client):
    async def script(peer):
        await peer.request()

    endpoint = await upstream.start(script)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert len(upstream.peers) == 1


async def test_a_request_is_sent_no_third_time(upstream, client):
    async def script(peer):
        if peer.number == 0:
            await peer.answer()
        await peer.request()

    endpoint = await upstream.start(script)
    await client.ask(endpoint)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert len(upstream.peers) == 2


@pytest.mark.parametrize("bytes_before", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", HEAD])
async def test_a_request_that_was_answered_by_one_byte_is_not_sent_again(upstream, client, bytes_before):
    requests = 0

    async def script(peer):
        nonlocal requests
        await peer.answer()
        await peer.request()
        requests += 1
        await peer.send(bytes_before)

    endpoint = await upstream.start(script)
    await client.ask(endpoint)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.SERVER_ERROR
    assert requests == 1


async def test_a_server_that_dies_over_a_request_is_no_race(upstream, client, monkeypatch):
    monkeypatch.setattr("gateway.upstream.connection.RACE_S", 0.02)
    requests = 0

    async def script(peer):
        nonlocal requests
        await peer.answer()
        await peer.request()
        requests += 1
        await asyncio.sleep(0.05)

    endpoint = await upstream.start(script)
    await client.ask(endpoint)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert requests == 1
    assert client.transport.counters.resent == 0


# -- connecting ------------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_a_connect_failure_without_addresses(upstream, client):
    endpoint = await upstream.start_answering()
    await upstream.aclose()
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert "refused" in failure.value.message
    assert "127.0.0.1" not in failure.value.message


async def test_a_name_that_does_not_resolve_is_a_connect_failure(upstream, client):
    endpoint = await upstream.start_answering(host="nowhere.invalid")
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT


async def test_connecting_has_a_deadline_of_its_own(client, unaccepting):
    with pytest.raises(UpstreamError) as failure:
        await client.send(unaccepting, timeouts=Timeouts(connect_s=0.05))
    assert failure.value.reason is Reason.CONNECT
    assert client.transport.active == 0


async def test_the_calls_deadline_holds_while_connecting(client, unaccepting):
    with pytest.raises(UpstreamError) as failure:
        await client.send(unaccepting, within_s=0.05)
    assert failure.value.reason is Reason.TIMEOUT
