"""TLS against a private authority made for the test: who is trusted, who is not, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Origin, Timeouts
from gateway.upstream.tls import TlsFiles, UnusableFile, client_context


def over_tls(endpoint: Endpoint) -> Endpoint:
    """Returns the endpoint with https as its scheme, whatever its server speaks."""
    return msgspec.structs.replace(endpoint, origin=msgspec.structs.replace(endpoint.origin, scheme="https"))


@pytest.fixture
def trusting(client, certificates):
    """The client, trusting the private authority alone."""
    client.use(files=TlsFiles(certificates / "ca.pem"))
    return client


async def test_a_call_goes_over_tls_and_keeps_its_connection(upstream, trusting, server_context):
    endpoint = await upstream.start_answering(server_context(), "localhost")
    for _ in range(3):
        assert await trusting.ask(endpoint) == b"ok"
    assert len(upstream.peers) == 1
    assert trusting.transport.counters.opened == 1


async def test_the_host_is_named_in_the_handshake(upstream, trusting, server_context):
    named = []
    context = server_context()
    context.sni_callback = lambda connection, name, context: named.append(name)
    endpoint = await upstream.start_answering(context, "localhost")
    await trusting.ask(endpoint)
    assert named == ["localhost"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("ending", ["", "connection: close\r\n"], ids=["kept", "closed each time"])
async def test_connections_after_the_first_resume_its_session(upstream, trusting, server_context, version, ending):
    context = server_context()
    context.minimum_version = context.maximum_version = version

    async def script(peer):
        while True:
            await peer.request()
            resumed = peer.writer.get_extra_info("ssl_object").session_reused
            await peer.send(f"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n{ending}\r\n{resumed:d}".encode())
            if ending:
                return

    endpoint = await upstream.start(script, context, "localhost")
    for resumed in (b"0", b"1", b"1"):
        assert await trusting.ask(endpoint) == resumed
        for pool in trusting.transport._pools.values():
            for connection in tuple(pool.idle):
                connection.close()
    assert len(upstream.peers) == 3


async def test_another_host_is_offered_no_session_of_this_one(upstream, trusting, server_context, certificates):
    async def script(peer):
        await peer.request()
        resumed = peer.writer.get_extra_info("ssl_object").session_reused
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n%d" % resumed)

    endpoint = await upstream.start(script, server_context(), "localhost")
    assert await trusting.ask(endpoint) == b"0"
    elsewhere = msgspec.structs.replace(endpoint, origin=msgspec.structs.replace(endpoint.origin, host="127.0.0.1"))
    assert "is not valid for '127.0.0.1'" in (await refused(trusting, elsewhere)).message
    assert await trusting.ask(endpoint) == b"1"


@pytest.mark.parametrize(
    ("certificate", "trusted", "why"),
    [
        ("named", "ca", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("expired", "ca", "certificate has expired"),
        ("good", "other-ca", "unable to get local issuer certificate"),
        ("good", None, "unable to get local issuer certificate"),
        ("self", "ca", "self-signed certificate"),
    ],
    ids=["wrong name", "expired", "another authority", "the system's authorities", "self-signed"],
)
async def test_a_certificate_that_does_not_hold_is_refused(
    upstream, client, certificates, server_context, certificate, trusted, why
):
    client.use(files=TlsFiles(certificates / f"{trusted}.pem") if trusted else None)
    asked = []

    async def script(peer):
        asked.append(await peer.request())

    endpoint = await upstream.start(script, server_context(certificate), "localhost")
    failure = await refused(client, endpoint)
    assert failure.message == f"the certificate of the upstream is refused: {why}"
    assert failure.notify
    assert not asked


async def test_a_certificate_signed_by_itself_can_be_its_own_authority(upstream, client, certificates, server_context):
    client.use(files=TlsFiles(certificates / "self.pem"))
    endpoint = await upstream.start_answering(server_context("self"), "localhost")
    assert await client.ask(endpoint) == b"ok"


@pytest.fixture
async def refusing(upstream) -> AsyncIterator[Callable[[ssl.SSLContext], Awaitable[Endpoint]]]:
    """Starts servers whose handshakes fail with an alert, as those of most servers do: asyncio's own send none."""
    listeners, threads = [], []

    def shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listener.accept()
                with accepted, accepted.dup() as under, contextlib.suppress(OSError):
                    under.settimeout(5)
                    with pytest.raises(ssl.SSLError):
                        context.wrap_socket(accepted, server_side=True)
                    under.shutdown(socket.SHUT_WR)
                    while under.recv(65536):  # unread, it would go as a reset, and perhaps take the alert with it
                        pass

    async def start(context: ssl.SSLContext) -> Endpoint:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=shake_hands, args=(listener, context)))
        threads[-1].start()
        return Endpoint("a#0", "a", "provider", Origin("https", "localhost", listener.getsockname()[1]))

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        await asyncio.to_thread(thread.join)


async def test_a_server_of_tls_1_1_is_refused(refusing, trusting, server_context):
    context = server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    failure = await refused(trusting, await refusing(context))
    assert failure.message == "TLS with the upstream failed: it offers no version of TLS from 1.2 on"
    assert failure.notify


async def test_a_server_that_speaks_no_tls_is_refused(upstream, trusting):
    async def script(peer):
        await peer.reader.read(10)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.closed()

    failure = await refused(trusting, over_tls(await upstream.start(script, None, "localhost")))
    assert failure.message == "TLS with the upstream failed: it does not speak TLS on this port"
    assert failure.notify


async def test_a_server_that_closes_in_the_handshake_is_refused(upstream, trusting):
    async def script(peer):
        await peer.reader.read(10)

    failure = await refused(trusting, over_tls(await upstream.start(script, None, "localhost")))
    assert failure.message == "the upstream closed the connection during the TLS handshake"
    assert not failure.notify


async def test_the_handshake_has_a_deadline_of_its_own(upstream, trusting):
    endpoint = over_tls(await upstream.start(lambda peer: peer.closed(), None, "localhost"))
    failure = await refused(trusting, endpoint, timeouts=Timeouts(tls_s=0.05))
    assert failure.message == "the upstream did not finish the TLS handshake in time"
    with pytest.raises(UpstreamError) as late:
        await trusting.send(endpoint, within_s=0.05)
    assert late.value.reason is Reason.TIMEOUT


async def refused(client, endpoint, **more):
    """Asks, and returns why the connection could not be made."""
    with pytest.raises(UpstreamError) as failure:
        await client.send(endpoint, **more)
    assert failure.value.reason is Reason.CONNECT
    assert client.transport.active == client.transport.idle == 0
    return failure.value


# -- our own certificate ---------------------------------------------------------------------------------------------


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def asking_context(request, server_context, certificates):
    """The TLS side of a server that asks for a client's certificate, of the private authority."""
    context = server_context()
    context.minimum_version = context.maximum_version = request.param
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates / "ca.pem")
    return context


@pytest.mark.parametrize("together", [False, True], ids=["two files", "one file"])
async def test_a_server_that_asks_for_our_certificate_gets_it(upstream, client, certificates, asking_context, together):
    own = certificates / ("client-both.pem" if together else "client.pem")
    key = None if together else certificates / "client.key"
    client.use(files=TlsFiles(certificates / "ca.pem", own, key))
    names = []

    async def script(peer):
        await peer.request()
        names.append(dict(field[0] for field in peer.writer.get_extra_info("peercert")["subject"])["commonName"])
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

    endpoint = await upstream.start(script, asking_context, "localhost")
    for _ in range(2):  # the second resumes: the server knows whom by the session
        assert await client.ask(endpoint) == b"ok"
    assert names == ["client", "client"]


@pytest.mark.parametrize("shown", [None, "self"], ids=["none", "another"])
async def test_a_server_that_wants_another_certificate_is_told_of(
    refusing, client, certificates, asking_context, shown
):
    own = (certificates / f"{shown}.pem", certificates / f"{shown}.key") if shown else (None, None)
    client.use(files=TlsFiles(certificates / "ca.pem", *own))
    failure = await refused(client, await refusing(asking_context))
    assert "certificate" in failure.message
    assert failure.notify


# -- files that cannot serve -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "key", "why"),
    [
        (("missing.pem", None, None), "ca_file", "missing.pem cannot be read: No such file or directory"),
        (("ca.key", None, None), "ca_file", "ca.key holds no certificate in PEM form"),
        (("empty", None, None), "ca_file", "empty holds no certificate in PEM form"),
        ((None, "client.pem", None), "cert_file", "client.pem holds no certificate with its key, in PEM form"),
        ((None, "client.pem", "good.key"), "key_file", "the key is not the certificate's"),
        ((None, "client.pem", "locked.key"), "key_file", "the key is encrypted: give it in clear"),
        ((None, "client.pem", "missing.key"), "cert_file", "the certificate or its key cannot be read"),
    ],
)
def test_a_file_that_cannot_serve_is_named_with_its_setting(certificates, files, key, why):
    with pytest.raises(UnusableFile) as unusable:
        client_context(TlsFiles(*(certificates / name if name else None for name in files)))
    assert unusable.value.key == key
    assert why in str(unusable.value)


def test_what_changes_in_a_file_or_its_name_changes_the_digest(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    other.write_text("a")
    digests = {TlsFiles(one).digest(), TlsFiles(other).digest(), TlsFiles(cert_file=one).digest(), TlsFiles().digest()}
    one.write_text("b")
    assert len(digests | {TlsFiles(one).digest()}) == 5
    with pytest.raises(UnusableFile):
        TlsFiles(tmp_path / "none").digest()


# -- pressure, leaving -----------------------------------------------------------------------------------------------


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
