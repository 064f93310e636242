"""Media by URL: what is fetched, what is refused, and that nobody is led inside. On real sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._blocks import SNIFFABLE, sniffed
from gateway.core.adapter import Fetch
from gateway.core.errors import BadRequest
from gateway.core.types import Endpoint
from gateway.upstream.addresses import forbidden, literal
from gateway.upstream.fetch import Fetcher, MediaLimits, Sniff
from gateway.upstream.tls import TlsFiles, client_context
from tests.patience import TICK_S

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100
HERE = (ip_network("127.0.0.1/32"),)
SOON_S = 0.3

Resolver = Callable[[str, int], object]


class Names:
    """A resolver of the test's own: what each name has as its next answers, the last one again and again."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise OSError("no such name")
        return answers.pop(0) if len(answers) > 1 else answers[0]


def fetcher(names: Names | None = None, **limits) -> Fetcher:
    settings = {"allow_http": True, "allow_private": HERE, "timeout_s": 5.0, **limits}
    names = names or Names(media_example=[["127.0.0.1"]])
    return Fetcher(MediaLimits(**settings), Sniff(sniffed, SNIFFABLE), resolve=names.resolve)


async def fetch(fetching: Fetcher, *urls: str, accepts: tuple[str, ...] = ()):
    wanted = [Fetch(url, f"messages[0].content[{index}]", accepts) for index, url in enumerate(urls)]
    deadline = asyncio.get_running_loop().time() + 20
    return await fetching.fetch(wanted, {}, deadline)


async def refused(fetching: Fetcher, *urls: str, accepts: tuple[str, ...] = ()) -> str:
    """Returns why nothing was fetched; every refusal names its field and shows no more than its reason."""
    with pytest.raises(BadRequest) as error:
        await fetch(fetching, *urls, accepts=accepts)
    assert error.value.code == "invalid_media_url"
    assert error.value.param is not None
    assert error.value.param.startswith("messages[0].content[")
    assert error.value.message.startswith(error.value.param)
    return error.value.message


def url_of(endpoint: Endpoint, path: str = "/a.png", host: str = "media.example") -> str:
    return f"{endpoint.origin.scheme}://{host}:{endpoint.origin.port}{path}"


def answering(body: bytes, *headers: bytes, status: bytes = b"200 OK", length: bool = True):
    async def script(peer):
        while True:
            await peer.request()
            lines = [b"HTTP/1.1 " + status, *headers]
            if length:
                lines.append(b"content-length: %d" % len(body))
            await peer.send(b"\r\n".join([*lines, b"", body]))

    return script


# -- what is fetched --------------------------------------------------------------------------------------------------


async def test_a_medium_comes_with_the_type_that_its_bytes_show(upstream):
    endpoint = await upstream.start(answering(PNG, b"content-type: application/octet-stream"))
    url = url_of(endpoint, "/a b.png?size=1&name=ü")
    with pytest.raises(BadRequest):
        await fetch(fetcher(), url)  # a blank
    url = url.replace(" ", "%20")
    assert await fetch(fetcher(), url) == {url: ("image/png", PNG)}


async def test_nothing_of_ours_goes_along(upstream):
    seen = []

    async def script(peer):
        seen.append(await peer.request())
        await peer.send(
            b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi"
        )

    endpoint = await upstream.start(script)
    fetching = fetcher()
    for _ in range(2):
        await fetch(fetching, url_of(endpoint))
    for head in seen:
        names = {line.split(b":")[0] for line in head.split(b"\r\n")[1:] if line}
        assert names == {b"host", b"accept-encoding", b"accept", b"user-agent"}
        assert b"accept-encoding: identity" in head


async def test_the_certificate_is_verified_for_the_urls_own_host(upstream, server_context, certificates):
    endpoint = await upstream.start(answering(PNG), server_context("named"))
    names = Names(api_internal=[["127.0.0.1"]], media_example=[["127.0.0.1"]])
    trusting = client_context(TlsFiles(certificates / "ca.pem"))
    fetching = Fetcher(
        MediaLimits(allow_private=HERE), Sniff(sniffed, SNIFFABLE), resolve=names.resolve, context=trusting
    )
    url = url_of(endpoint, host="api.internal")
    assert (await fetch(fetching, url))[url][0] == "image/png"
    assert "certificate" in await refused(fetching, url_of(endpoint))


async def test_several_are_fetched_at_once_and_each_url_once(upstream):
    together = asyncio.Event()
    count = 0

    async def script(peer):
        nonlocal count
        await peer.request()
        count += 1
        if count == 3:
            together.set()
        await together.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(PNG), PNG))

    endpoint = await upstream.start(script)
    urls = [url_of(endpoint, f"/{name}") for name in "abcab"]
    assert set(await fetch(fetcher(), *urls)) == set(urls)
    assert count == 3


async def test_what_is_known_already_is_not_fetched_again(upstream):
    endpoint = await upstream.start(answering(PNG))
    url, known = url_of(endpoint), {"https://known.example/a": ("image/png", PNG)}
    deadline = asyncio.get_running_loop().time() + 5
    got = await fetcher().fetch([Fetch(url), Fetch("https://known.example/a")], known, deadline)
    assert got == {**known, url: ("image/png", PNG)}
    assert len(upstream.peers) == 1
    assert set(known) == {"https://known.example/a"}


async def test_a_redirect_is_followed_and_judged_like_a_first_url(upstream):
    target = await upstream.start(answering(PNG))
    moved = b"location: " + url_of(target, host="other.example").encode()
    endpoint = await upstream.start(answering(b"", moved, status=b"302 Found"))
    names = Names(media_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    url = url_of(endpoint)
    assert (await fetch(fetcher(names), url))[url] == ("image/png", PNG)
    assert names.asked == ["media.example", "other.example"]


# -- who is not led inside --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:1::1",
        "2001:db8::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
    ],
)
async def test_a_name_that_leads_to_no_public_address_is_refused(address):
    hostile = Names(media_example=[[address]], mixed_example=[["93.184.216.34", address]])
    fetching = fetcher(hostile, allow_private=())
    assert "its host leads to" in await refused(fetching, "https://media.example/a.png")
    assert "its host leads to" in await refused(fetching, "https://mixed.example/a.png")
    assert address not in await refused(fetching, "https://media.example/a.png")


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"])
def test_public_addresses_are_taken(address):
    assert forbidden(ip_address(address), ()) is None


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.01",
        "017700000001",
        "0",
        "1.2.3.4.5",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1%25eth0]",
        "[64:ff9b::7f00:1]",
        "127.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "１２７.１",
        "２１３０７０６４３３",
    ],
)
async def test_an_address_in_any_disguise_is_refused(host, upstream):
    endpoint = await upstream.start(answering(PNG))
    fetching = fetcher(allow_private=())
    await refused(fetching, f"http://{host}:{endpoint.origin.port}/")
    assert not upstream.peers


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_wrapped_in_ipv6_is_never_taken(number):
    for wrapped in (number, 0xFFFF << 32 | number, (0x64FF9B << 96) | number, (0x2002 << 112) | (number << 80)):
        assert forbidden(ip_address(wrapped.to_bytes(16)), (ip_network("0.0.0.0/0"),)) is not None


@given(st.integers(0, 2**32 - 1))
def test_numbers_that_c_reads_as_addresses_are_no_hosts(number):
    for host in (str(number), hex(number), f"0{number:o}", f"{number >> 24}.{number & 0xFFFFFF}"):
        with pytest.raises(ValueError):
            literal(host)


async def test_a_redirect_inside_is_refused(upstream):
    inner = await upstream.start(answering(PNG))
    for location in (
        f"http://127.0.0.2:{inner.origin.port}/",
        f"http://inner.example:{inner.origin.port}/",
        f"//localhost:{inner.origin.port}/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://user:secret@media.example/",
    ):
        endpoint = await upstream.start(answering(b"", b"location: " + location.encode(), status=b"302 Found"))
        names = Names(media_example=[["127.0.0.1"]], inner_example=[["127.0.0.2"]], localhost=[["127.0.0.2"]])
        peers = len(upstream.peers)
        await refused(fetcher(names), url_of(endpoint))
        assert len(upstream.peers) == peers + 1
        assert upstream.peers[-1].writer.get_extra_info("sockname")[1] == endpoint.origin.port


async def test_a_second_answer_of_the_dns_is_never_asked_for(upstream):
    endpoint = await upstream.start(answering(PNG))
    rebinding = Names(media_example=[["127.0.0.1"], ["127.0.0.2"]])
    url = url_of(endpoint)
    assert await fetch(fetcher(rebinding), url)
    assert rebinding.asked == ["media.example"]  # the address that was judged is the one that was connected to
    assert "this machine" in await refused(fetcher(rebinding), url)


async def test_a_redirect_to_the_same_name_is_resolved_and_judged_anew(upstream):
    endpoint = await upstream.start(answering(b"", b"location: /b.png", status=b"302 Found"))
    rebinding = Names(media_example=[["127.0.0.1"], ["10.0.0.1"]])
    assert "private" in await refused(fetcher(rebinding), url_of(endpoint))


async def test_a_network_of_ones_own_can_be_allowed_but_never_a_metadata_service():
    networks = (ip_network("10.20.0.0/16"), ip_network("169.254.0.0/16"), ip_network("fd00::/8"))
    assert forbidden(ip_address("10.20.1.1"), networks) is None
    assert forbidden(ip_address("fd12::1"), networks) is None
    assert forbidden(ip_address("10.21.1.1"), networks) is not None
    assert forbidden(ip_address("169.254.169.254"), networks) == "a metadata service"
    assert forbidden(ip_address("fd00:ec2::254"), networks) == "a metadata service"


@pytest.mark.parametrize(
    "url",
    [
        "http://media.example/a.png",
        "ftp://media.example/a",
        "file:///etc/passwd",
        "https:///a",
        "https://",
        "a.png",
        "",
        "https://user@media.example/",
        "https://user:secret@media.example/",
        "https://media.example:22/",
        "https://media.example:99999/",
        "https://media.example/\r\nhost: other",
        "https://media.example\\@other.example/",
        "https://[::1/",
        "https://xn--" + "a" * 70 + ".example/",
        "https://media.example/" + "a" * 9000,
        "javascript:alert(1)",
    ],
)
async def test_what_is_no_url_of_a_medium_is_refused_before_anything_is_asked(url):
    names = Names(media_example=[["127.0.0.1"]])
    why = await refused(fetcher(names, allow_http=False), url)
    assert "secret" not in why
    assert not names.asked


# -- bounds -----------------------------------------------------------------------------------------------------------


async def test_a_body_larger_than_allowed_is_refused_at_its_length_or_as_soon_as_it_passes_it(upstream):
    sent = 0

    async def endless(peer):
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"10000\r\n%b\r\n" % (b"x" * 0x10000))
            sent += 0x10000

    endpoint = await upstream.start(endless)
    assert "max_bytes" in await refused(fetcher(max_bytes=2**20), url_of(endpoint))
    assert sent < 16 * 2**20
    told = await upstream.start(answering(b"", b"content-length: 99999999", length=False))
    assert "max_bytes" in await refused(fetcher(max_bytes=2**20), url_of(told))


async def test_media_of_a_call_are_bounded_together(upstream):
    endpoint = await upstream.start(answering(PNG))
    urls = [url_of(endpoint, f"/{index}") for index in range(4)]
    assert "max_bytes_per_call" in await refused(fetcher(max_bytes_per_call=3 * len(PNG)), *urls)
    assert "media.max_per_call" in await refused(fetcher(max_per_call=3), *urls)
    assert await fetch(fetcher(max_per_call=4, max_bytes_per_call=4 * len(PNG)), *urls)


async def test_a_slow_drip_ends_at_the_limit(upstream):
    async def drip(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.01)

    endpoint = await upstream.start(drip)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    assert "in time" in await refused(fetcher(timeout_s=SOON_S), url_of(endpoint))
    assert SOON_S - TICK_S <= loop.time() - began_at < SOON_S + 2


@pytest.mark.parametrize("until_then", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\nlocation: /\r\n"])
async def test_a_server_that_says_nothing_more_ends_at_the_limit(upstream, until_then):
    async def hang(peer):
        await peer.request()
        await peer.send(until_then)
        await peer.closed()

    endpoint = await upstream.start(hang)
    assert "in time" in await refused(fetcher(timeout_s=SOON_S), url_of(endpoint))


async def test_a_resolver_that_hangs_ends_at_the_limit():
    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    fetching = Fetcher(MediaLimits(timeout_s=SOON_S), Sniff(sniffed, SNIFFABLE), resolve=hang)
    assert "in time" in await refused(fetching, "https://media.example/")


async def test_redirects_are_few(upstream):
    endpoint = await upstream.start(answering(b"", b"location: /again", status=b"307 Temporary Redirect"))
    assert "redirects more than" in await refused(fetcher(), url_of(endpoint))
    assert len(upstream.peers) == 4


async def test_a_compressed_body_is_not_unpacked(upstream):
    bomb = gzip.compress(bytes(10_000_000))
    endpoint = await upstream.start(answering(bomb, b"content-encoding: gzip", b"content-type: image/png"))
    assert "compressed" in await refused(fetcher(), url_of(endpoint))


async def test_a_caller_that_leaves_ends_its_fetches(upstream, until):
    async def hang(peer):
        await peer.request()
        await peer.closed()

    endpoint = await upstream.start(hang)
    task = asyncio.create_task(fetch(fetcher(), url_of(endpoint, "/a"), url_of(endpoint, "/b")))
    await until(lambda: upstream.open == 2)
    task.cancel("gone")
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert cancelled.value.args == ("gone",)
    await until(lambda: upstream.open == 0)


async def test_one_that_fails_ends_the_others(upstream, until):
    async def hang(peer):
        await peer.request()
        await peer.closed()

    slow = await upstream.start(hang)
    missing = await upstream.start(answering(b"nothing here", status=b"404 Not Found"))
    why = await refused(fetcher(), url_of(slow), url_of(missing))
    assert "answers 404" in why
    assert "nothing here" not in why
    await until(lambda: upstream.open <= 1)


# -- what it is -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "named", "accepts", "comes_as"),
    [
        (PNG, b"image/jpeg", (), "image/png"),
        (PNG, b"", (), "image/png"),
        (PNG, b"IMAGE/PNG; q=1", ("image/",), "image/png"),
        (b"%PDF-1.7 ...", b"application/pdf", ("application/pdf",), "application/pdf"),
        (b"ID3 audio", b"audio/mpeg", ("audio/",), "audio/mpeg"),
        (b"plain", b"text/plain; charset=utf-8", (), "text/plain"),
        (b"<!doctype html>", b"image/png", (), None),
        (b"<!doctype html>", b"text/html", ("image/",), None),
        (PNG, b"image/png", ("application/pdf", "text/"), None),
        (b"what is this", b"", (), None),
        (b"", b"image/png", (), None),
    ],
)
async def test_content_is_what_it_says_or_refused(upstream, body, named, accepts, comes_as):
    headers = [b"content-type: " + named] if named else []
    endpoint = await upstream.start(answering(body, *headers))
    url = url_of(endpoint)
    if comes_as is None:
        await refused(fetcher(), url, accepts=accepts)
    else:
        assert (await fetch(fetcher(), url, accepts=accepts))[url] == (comes_as, body)


async def test_a_server_that_is_away_breaks_off_or_speaks_no_http_is_told_in_words(upstream):
    async def cut(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf")

    async def garbage(peer):
        await peer.request()
        await peer.send(b"220 mail ready\r\n")

    assert "before the end" in await refused(fetcher(), url_of(await upstream.start(cut)))
    assert "not HTTP" in await refused(fetcher(), url_of(await upstream.start(garbage)))
    assert "could not be reached" in await refused(fetcher(), "http://media.example:1024/")
    assert "does not resolve" in await refused(fetcher(), "http://nobody.example/")
    assert "does not resolve" in await refused(fetcher(Names(media_example=[[]])), "http://media.example/")
