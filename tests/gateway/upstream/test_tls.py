"""TLS against a private authority made for the test: who is trusted, who is not, and what is left behind."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Timeouts
from gateway.upstream.http1 import Http1Transport


def over_tls(endpoint: Endpoint) -> Endpoint:
    """Returns the endpoint with https as its scheme, whatever its server speaks."""
    return msgspec.structs.replace(endpoint, origin=msgspec.structs.replace(endpoint.origin, scheme="https"))


@pytest.fixture
def trusting(client, certificates):
    """The client, trusting the private authority alone."""
    client.transport = Http1Transport(ca_file=str(certificates / "ca.pem"))
    return client


async def test_a_call_goes_over_tls_and_keeps_its_connection(upstream, trusting, server_context):
    endpoint = await upstream.start_answering(server_context(), "localhost")
    for _ in range(3):
        assert await trusting.ask(endpoint) == b"ok"
    assert len(upstream.peers) == 1
    assert trusting.transport.counters.reused == 2


async def test_the_host_is_named_in_the_handshake(upstream, trusting, server_context):
    named = []
    context = server_context()
    context.sni_callback = lambda connection, name, context: named.append(name)
    endpoint = await upstream.start_answering(context, "localhost")
    await trusting.ask(endpoint)
    assert named == ["localhost"]


async def test_a_second_connection_resumes_the_session(upstream, trusting, server_context):
    async def script(peer):
        await peer.request()
        resumed = peer.writer.get_extra_info("ssl_object").session_reused
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % resumed)
        if peer.number == 0:
            await peer.request()

    endpoint = await upstream.start(script, server_context(), "localhost")
    assert await trusting.ask(endpoint) == b"0"
    (pool,) = trusting.transport._pools.values()
    pool.idle[0].close()
    assert await trusting.ask(endpoint) == b"1"
    assert len(upstream.peers) == 2


@pytest.mark.parametrize(
    ("certificate", "host", "trusted", "why"),
    [
        ("good", "127.0.0.1", True, "not valid for '127.0.0.1'"),
        ("expired", "localhost", True, "expired"),
        ("good", "localhost", False, "unable to get local issuer"),
    ],
    ids=["wrong name", "expired", "unknown authority"],
)
async def test_a_certificate_that_does_not_hold_is_refused(
    upstream, client, certificates, server_context, certificate, host, trusted, why
):
    client.transport = Http1Transport(ca_file=str(certificates / "ca.pem") if trusted else None)
    asked = []

    async def script(peer):
        asked.append(await peer.request())

    endpoint = await upstream.start(script, server_context(certificate), host)
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert why in failure.value.message
    assert not asked
    assert client.transport.active == client.transport.idle == 0


async def test_a_server_that_speaks_no_tls_is_refused(upstream, trusting, server_context):
    async def script(peer):
        await peer.reader.read(10)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.closed()

    endpoint = await upstream.start(script, None, "localhost")
    await refuse(trusting, over_tls(endpoint))


async def test_a_server_that_closes_in_the_handshake_is_refused(upstream, trusting):
    async def script(peer):
        await peer.reader.read(10)

    await refuse(trusting, over_tls(await upstream.start(script, None, "localhost")))


async def refuse(client, endpoint):
    with pytest.raises(UpstreamError) as failure:
        await client.ask(endpoint)
    assert failure.value.reason is Reason.CONNECT
    assert client.transport.active == client.transport.idle == 0


async def test_the_handshake_has_a_deadline_of_its_own(upstream, trusting):
    endpoint = over_tls(await upstream.start(lambda peer: peer.closed(), None, "localhost"))
    with pytest.raises(UpstreamError) as failure:
        await trusting.send(endpoint, timeouts=Timeouts(tls_s=0.05))
    assert failure.value.reason is Reason.CONNECT
    assert trusting.transport.active == 0


async def test_a_call_cancelled_in_the_handshake_leaves_nothing(upstream, trusting):
    endpoint = over_tls(await upstream.start(lambda peer: peer.closed(), None, "localhost"))
    task = asyncio.create_task(trusting.send(endpoint))
    await asyncio.sleep(0.05)
    assert upstream.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert trusting.transport.active == 0
    await asyncio.sleep(0.05)
    assert upstream.open == 0


async def test_a_slow_reader_holds_the_upstream_back_over_tls_too(upstream, trusting, server_context):
    sent = 0

    async def script(peer):
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 20000000\r\n\r\n")
        for _ in range(200):
            await peer.send(b"a" * 100_000)
            sent += 100_000
        await peer.closed()

    exchange = await trusting.send(await upstream.start(script, server_context(), "localhost"))
    await asyncio.sleep(0.2)
    assert exchange.buffered_bytes < 1_000_000
    assert sent < 20_000_000
    assert len(await exchange.read()) == 20_000_000


async def test_a_large_request_goes_over_tls(upstream, trusting, server_context):
    async def script(peer):
        request = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n%08d" % request.count(b"\xff"))
        await peer.closed()

    endpoint = await upstream.start(script, server_context(), "localhost")
    assert await trusting.ask(endpoint, b"\xff" * 3_000_000) == b"03000000"
