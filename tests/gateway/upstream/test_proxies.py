"""An outbound proxy in between: who is asked for what, who is verified, and what is said where it fails."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Timeouts
from gateway.upstream.dial import Proxy
from gateway.upstream.tls import TlsFiles, client_context
from tests.gateway.upstream.http2_peer import Asked, Http2Server
from tests.gateway.upstream.proxy import OutboundProxy

USER, PASSWORD = "alice", "p@ss:w/rd%"


@pytest.fixture
async def proxy() -> AsyncIterator[OutboundProxy]:
    """A proxy that wants credentials."""
    async with OutboundProxy(user=USER, password=PASSWORD) as proxy:
        yield proxy


@pytest.fixture
def through(second, certificates):
    """Sends the client through a proxy; it trusts the private authority, for proxies too."""

    def take(url: str) -> None:
        files = TlsFiles(certificates / "ca.pem")
        second.use(files=files, proxy=Proxy(url, client_context(files)))

    return take


def at(endpoint: Endpoint, host: str) -> Endpoint:
    """Returns the endpoint under a name that only the proxy can resolve."""
    return msgspec.structs.replace(endpoint, origin=msgspec.structs.replace(endpoint.origin, host=host))


async def failed(client, endpoint: Endpoint, **more: object) -> UpstreamError:
    """Asks, and returns why there is no answer; no credential of ours is in it."""
    with pytest.raises(UpstreamError) as failure:
        await client.send(endpoint, **more)
    for secret in (PASSWORD, USER, "wrong", "sk-test", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()):
        assert secret not in str(failure.value)
    assert client.transport.active == 0
    return failure.value


# -- the way through -------------------------------------------------------------------------------------------------


async def test_plain_http_is_sent_to_the_proxy_with_the_whole_address(upstream, second, proxy, through):
    seen = []

    async def script(peer):
        while True:
            seen.append(await peer.request())
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    endpoint = await upstream.start(script)
    proxy.routes["api.internal"] = endpoint.origin.port
    through(proxy.url)
    for _ in range(2):
        assert await second.ask(at(endpoint, "api.internal"), b"{}") == b"ok"
    port = endpoint.origin.port
    assert proxy.heads[0].startswith(b"POST http://api.internal:%d/v1/chat/completions HTTP/1.1\r\n" % port)
    assert b"\r\nhost: api.internal:%d\r\n" % port in proxy.heads[0]
    assert seen[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"proxy-authorization" not in seen[0]
    assert len(upstream.peers) == 1


async def test_https_goes_through_a_tunnel_that_learns_nothing(upstream, second, proxy, through, server_context):
    endpoint = await upstream.start_answering(server_context("named"), "api.internal")
    proxy.routes["api.internal"] = endpoint.origin.port
    through(proxy.url)
    for _ in range(3):
        assert await second.ask(endpoint) == b"ok"
    (head,) = proxy.heads
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    port = endpoint.origin.port
    assert head == (
        b"CONNECT api.internal:%d HTTP/1.1\r\nhost: api.internal:%d\r\nproxy-authorization: Basic %b\r\n\r\n"
        % (port, port, credentials)
    )
    assert len(upstream.peers) == 1


async def test_http2_goes_through_a_tunnel(second, proxy, through, server_context):
    server = Http2Server(Asked.answer)
    endpoint = at(await server.start(server_context("named", "h2")), "api.internal")
    proxy.routes["api.internal"] = endpoint.origin.port
    through(proxy.url)
    assert await asyncio.gather(*(second.ask(endpoint) for _ in range(10))) == [b"ok"] * 10
    assert len(server.connections) == len(proxy.heads) == 1
    await second.transport.aclose()
    await server.close()


async def test_a_proxy_that_speaks_tls_itself_is_verified_as_itself(
    upstream, second, through, server_context, certificates
):
    endpoint = await upstream.start_answering(server_context("named"), "api.internal")
    plain = await upstream.start_answering()
    async with OutboundProxy(user=USER, password=PASSWORD, tls=server_context("good")) as proxy:
        proxy.routes["api.internal"] = endpoint.origin.port
        through(proxy.url)
        assert await second.ask(endpoint) == b"ok"
        assert await second.ask(plain) == b"ok"
        second.use(
            files=TlsFiles(certificates / "ca.pem"),
            proxy=Proxy(proxy.url, client_context(TlsFiles(certificates / "other-ca.pem"))),
        )
        failure = await failed(second, endpoint)
        assert failure.message.startswith("the certificate of the proxy is refused: ")


async def test_the_upstream_is_verified_not_the_proxy(upstream, second, proxy, through, server_context):
    endpoint = await upstream.start_answering(server_context("good"), "api.internal")  # a certificate of `localhost`
    proxy.routes["api.internal"] = endpoint.origin.port
    through(proxy.url)
    failure = await failed(second, endpoint)
    assert failure.reason is Reason.CONNECT
    assert "the certificate of the upstream is refused: Hostname mismatch" in failure.message
    assert "'api.internal'" in failure.message


async def test_sessions_resume_through_a_tunnel(upstream, second, proxy, through, server_context):
    async def script(peer):
        await peer.request()
        resumed = peer.writer.get_extra_info("ssl_object").session_reused
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n%d" % resumed)

    endpoint = await upstream.start(script, server_context("named"), "api.internal")
    proxy.routes["api.internal"] = endpoint.origin.port
    through(proxy.url)
    assert [await second.ask(endpoint) for _ in range(3)] == [b"0", b"1", b"1"]


async def test_the_environments_proxies_are_not_looked_at(upstream, client, server_context, certificates, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.lower(), "http://127.0.0.1:9")
    client.use(files=TlsFiles(certificates / "ca.pem"))
    assert await client.ask(await upstream.start_answering()) == b"ok"
    assert await client.ask(await upstream.start_answering(server_context(), "localhost")) == b"ok"


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("user", "why"), [("", "asks for credentials"), ("wrong", "refuses our credentials")], ids=["none", "wrong"]
)
async def test_credentials_that_the_proxy_does_not_take_are_told(
    upstream, second, proxy, through, server_context, scheme, user, why
):
    endpoint = await upstream.start_answering(server_context() if scheme == "https" else None, "localhost")
    through(proxy.url_for(user, "wrong"))
    failure = await failed(second, endpoint)
    assert failure.message == f"the proxy {why} (status 407)"
    assert (failure.reason, failure.sent, failure.notify) == (Reason.CONNECT, False, True)
    assert not upstream.peers


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("403 Forbidden", "the proxy does not let calls through to this upstream (status 403)"),
        ("502 Bad Gateway", "the proxy could not reach the upstream (status 502)"),
        ("504 Gateway Timeout", "the proxy could not reach the upstream (status 504)"),
        ("405 Method Not Allowed", "the proxy does not open a way to the upstream (status 405)"),
    ],
)
async def test_a_tunnel_that_is_not_opened_says_why(upstream, second, proxy, through, server_context, status, why):
    endpoint = await upstream.start_answering(server_context(), "localhost")
    proxy.status = status
    through(proxy.url)
    failure = await failed(second, endpoint)
    assert (failure.message, failure.reason, failure.sent) == (why, Reason.CONNECT, False)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_down_is_a_connect_failure(upstream, second, through, server_context, scheme):
    endpoint = await upstream.start_answering(server_context() if scheme == "https" else None, "localhost")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        through(f"http://{USER}:{PASSWORD[:4]}@127.0.0.1:{taken.getsockname()[1]}")
        failure = await failed(second, endpoint)
    assert failure.message == "the proxy could not be reached: Connection refused"
    assert failure.reason is Reason.CONNECT


async def test_a_proxy_that_hangs_is_left_after_the_time_for_connecting(
    upstream, second, proxy, through, server_context, until
):
    endpoint = await upstream.start_answering(server_context(), "localhost")
    proxy.silent = True
    through(proxy.url)
    failure = await failed(second, endpoint, timeouts=Timeouts(connect_s=0.1))
    assert failure.message == "the proxy did not finish CONNECT in time"
    assert failure.reason is Reason.CONNECT
    failure = await failed(second, endpoint, within_s=0.1)
    assert failure.reason is Reason.TIMEOUT
    await until(lambda: proxy.open == 0)


async def test_a_call_cancelled_in_the_tunnels_making_leaves_nothing(
    upstream, second, proxy, through, server_context, until
):
    endpoint = await upstream.start_answering(server_context(), "localhost")
    proxy.silent = True
    through(proxy.url)
    task = asyncio.create_task(second.send(endpoint))
    await until(lambda: proxy.heads)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: proxy.open == 0)
    assert second.transport.active == 0


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the proxy closed the connection during CONNECT"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "what stands at the proxy's address is no proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "what stands at the proxy's address is no proxy"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000, "what stands at the proxy's address is no proxy"),
    ],
    ids=["nothing", "not HTTP", "a body", "an endless head"],
)
async def test_what_is_no_proxy_is_found_out(upstream, second, through, server_context, answer, why):
    async def script(peer):
        await peer.request()
        await peer.send(answer)
        if answer and len(answer) < 100_000:
            await peer.closed()

    no_proxy = await upstream.start(script)
    endpoint = await upstream.start_answering(server_context(), "localhost")
    through(f"http://127.0.0.1:{no_proxy.origin.port}")
    failure = await failed(second, endpoint)
    assert (failure.message, failure.reason) == (why, Reason.CONNECT)


async def test_an_upstream_that_goes_in_the_tunnels_handshake_is_a_connect_failure(upstream, second, proxy, through):
    endpoint = await upstream.start(lambda peer: peer.reader.read(10), None, "localhost")
    through(proxy.url)
    secured = msgspec.structs.replace(endpoint, origin=msgspec.structs.replace(endpoint.origin, scheme="https"))
    failure = await failed(second, secured)
    assert failure.message == "the upstream closed the connection during the TLS handshake"


# -- the setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["socks5://u:secret@proxy:1080", "proxy:3128", "http://", "http://u:secret@proxy:port", "http://proxy/secret"],
)
def test_what_cannot_be_a_proxy_is_refused_without_a_word_of_it(url):
    with pytest.raises(ValueError) as refused:
        Proxy(url)
    assert "secret" not in str(refused.value)


def test_a_proxy_shows_no_credentials():
    assert repr(Proxy("http://u:secret@proxy")) == "Proxy(http://proxy:80)"
