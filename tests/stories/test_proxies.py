"""An outbound proxy between the gateway and its providers, and what a house tells of it."""

from __future__ import annotations

import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator import Simulator
from tests.gateway.upstream.authority import issue
from tests.gateway.upstream.proxy import OutboundProxy
from tests.ports import free_port
from tests.stories.house import House, Place, World, at, config_of

USER, PASSWORD = "headgate", "p@ss:w/rd%"
SECRETS = (PASSWORD, "p%40ss", base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    folder = tmp_path_factory.mktemp("issued")
    issue(folder)
    return folder


@pytest.fixture
async def proxy() -> AsyncIterator[OutboundProxy]:
    """A proxy that wants credentials."""
    async with OutboundProxy(user=USER, password=PASSWORD) as proxy:
        yield proxy


@pytest.fixture
async def provider(world: World, issued: Path) -> Simulator:
    """A provider that speaks TLS as `api.internal`, a name that nobody but the proxy can resolve."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued / "named.pem", issued / "named.key")
    return await world.simulator(tls=context)


@pytest.fixture
def behind(provider: Simulator, issued: Path, proxy: OutboundProxy) -> Callable[..., Place]:
    """Returns the provider's place, behind a proxy."""
    proxy.routes["api.internal"] = provider.port

    def place(url: str, **more: Any) -> Place:
        base = f"https://api.internal:{provider.port}/v1"
        return at(provider, provider={"base_url": base, "ca_file": str(issued / "ca.pem"), "proxy": url, **more})

    return place


def keeps_quiet(house: House, *texts: str) -> None:
    """Fails where a proxy's credentials stand in what a house has said, written or answered."""
    journals = ""
    for path in (house.folder / "journal").glob("*"):
        with contextlib.suppress(FileNotFoundError):  # moved to the store meanwhile
            journals += path.read_text()
    for secret in SECRETS:
        assert all(secret not in text for text in (house.told, journals, *texts))


@pytest.mark.parametrize("transport", ["http1", "http2"])
async def test_calls_reach_a_provider_through_the_proxy(
    world: World, behind: Callable[..., Place], proxy: OutboundProxy, provider: Simulator, transport: str
) -> None:
    await world.serve({"only": behind(proxy.url, transport=transport)})
    for stream in (False, True):
        got = await world.chat(stream=stream)
        assert got.status == 200, got.text
        assert got.whole if stream else got.content
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT api.internal:%d HTTP/1.1\r\n" % provider.port)
    assert b"sk-upstream-secret" not in head
    assert len(provider.requests) == 2
    keeps_quiet(world.house, str(got.headers))


async def test_a_provider_without_tls_is_reached_through_the_proxy_too(world: World, proxy: OutboundProxy) -> None:
    plain = await world.simulator()
    proxy.routes["plain.internal"] = plain.port
    base = f"http://plain.internal:{plain.port}/v1"
    await world.serve({"only": at(plain, provider={"base_url": base, "proxy": proxy.url})})
    assert (await world.chat()).status == 200
    assert proxy.heads[0].startswith(b"POST http://plain.internal:%d/v1/chat/completions HTTP/1.1\r\n" % plain.port)
    assert plain.requests[0].header(b"proxy-authorization") is None


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("credentials", "the proxy refuses our credentials (status 407)"),
        ("forbidden", "the proxy does not let calls through to this upstream (status 403)"),
        ("down", "the proxy could not be reached: Connection refused"),
        ("silent", "the proxy did not finish CONNECT in time"),
    ],
)
async def test_a_proxy_in_trouble_is_a_connect_failure_that_the_next_provider_answers(
    world: World, behind: Callable[..., Place], proxy: OutboundProxy, provider: Simulator, trouble: str, why: str
) -> None:
    url = proxy.url
    if trouble == "credentials":
        url = proxy.url_for(USER, "p@ss:wrong")
    elif trouble == "forbidden":
        proxy.status = "403 Forbidden"
    elif trouble == "down":
        url = proxy.url.replace(f":{proxy.port}", f":{free_port()}")
    proxy.silent = trouble == "silent"
    direct = await world.simulator()
    await world.serve({"proxied": behind(url, timeouts={"connect": "200ms"}), "direct": at(direct)})
    since = len(world.house.log)
    got = await world.chat()
    assert (got.status, got.deployment) == (200, "direct")
    receipt = await world.receipt(got.id)
    assert [attempt.get("reason") for attempt in receipt["attempts"]] == ["connect", None]
    alone = await world.chat(model="proxied")
    assert (alone.status, alone.error["code"]) == (502, "upstream_unreachable")
    assert alone.error["message"] == f"deployment 'proxied' failed: connect: {why}"
    told = [event["why"] for event in world.house.events("upstream_needs_attention", since)]
    assert told == ([why] if trouble in ("credentials", "forbidden") else [])
    assert not provider.requests
    keeps_quiet(world.house, alone.text, str(receipt), got.text)


async def test_the_environment_gives_a_proxy_where_the_config_names_it_and_nowhere_else(
    world: World, build: Callable[[], House], behind: Callable[..., Place], proxy: OutboundProxy
) -> None:
    direct = await world.simulator()
    config = config_of({"proxied": behind("${COMPANY_PROXY}"), "direct": at(direct)})
    house = build()
    nowhere = f"http://127.0.0.1:{free_port()}"
    house.start(
        config, {"COMPANY_PROXY": proxy.url, "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "ALL_PROXY": nowhere}
    )
    inside = World(house)
    for model in ("proxied", "direct"):
        assert (await inside.chat(model=model)).status == 200
    assert len(proxy.heads) == len(direct.requests) == 1
    await inside.close()
    assert house.stop() == 0
    keeps_quiet(house)
