"""TLS between the gateway and its providers: private authorities, certificates that do not hold, HTTP/2."""

from __future__ import annotations

import asyncio
import json
import shutil
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes

from gateway.simulator import Simulator
from tests.gateway.upstream.authority import issue
from tests.gateway.upstream.http2_peer import Asked, Http2Server
from tests.patience import until
from tests.stories.house import Place, World, at, command, config_of

Contexts = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="session")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of certificates."""
    folder = tmp_path_factory.mktemp("issued")
    issue(folder)
    return folder


@pytest.fixture
def context(issued: Path) -> Contexts:
    """Makes the TLS side of a provider from its certificate's name and the protocols it offers."""

    def make(name: str = "good", *protocols: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(issued / f"{name}.pem", issued / f"{name}.key")
        context.set_alpn_protocols(protocols or ("http/1.1",))
        return context

    return make


def secured(simulator: Simulator, authority: Path, **provider: Any) -> Place:
    """Returns a place at a simulator that speaks TLS as `localhost`, where this authority is trusted."""
    url = f"https://localhost:{simulator.port}/v1"
    return at(simulator, provider={"base_url": url, "ca_file": str(authority), **provider})


def told(world: World, since: int) -> list[dict[str, Any]]:
    """Returns what the log asks people to mend."""
    return world.house.events("upstream_needs_attention", since)


# -- whom to trust ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["http1", "http2"])
async def test_a_private_authority_is_trusted_where_the_config_names_it(
    world: World, issued: Path, context: Contexts, transport: str
) -> None:
    provider = await world.simulator(tls=context())
    await world.serve({"only": secured(provider, issued / "ca.pem", transport=transport)})
    for stream in (False, True):
        got = await world.chat(stream=stream)
        assert got.status == 200, got.text
        assert got.content.startswith("I am a simulator")
    assert provider.accepted == 1


@pytest.mark.parametrize("transport", ["http1", "http2"])
@pytest.mark.parametrize(
    ("certificate", "authority", "why"),
    [
        ("named", "ca", "the certificate of the upstream is refused: Hostname mismatch"),
        ("expired", "ca", "the certificate of the upstream is refused: certificate has expired"),
        ("good", "other-ca", "the certificate of the upstream is refused: unable to get local issuer certificate"),
        (None, "ca", "TLS with the upstream failed: it does not speak TLS on this port"),
    ],
    ids=["wrong name", "expired", "another authority", "no TLS"],
)
async def test_a_provider_that_cannot_be_trusted_is_passed_over_and_told_of_once(
    world: World, issued: Path, context: Contexts, certificate: str | None, authority: str, why: str, transport: str
) -> None:
    doubtful = await world.simulator(tls=context(certificate) if certificate else None)
    trusted = await world.simulator(tls=context())
    await world.serve(
        {
            "doubtful": secured(doubtful, issued / f"{authority}.pem", transport=transport),
            "trusted": secured(trusted, issued / "ca.pem", transport=transport),
        }
    )
    since = len(world.house.log)
    for _ in range(2):
        got = await world.chat()
        assert (got.status, got.deployment) == (200, "trusted")
    attempts = (await world.receipt(got.id))["attempts"]
    assert [attempt.get("reason") for attempt in attempts] == ["connect", None]
    alone = await world.chat(model="doubtful")
    assert (alone.status, alone.error["code"]) == (502, "upstream_unreachable")
    assert alone.error["message"].startswith(f"deployment 'doubtful' failed: connect: {why}")
    (event,) = told(world, since)
    assert (event["level"], event["endpoint"], event["reason"]) == ("error", "doubtful#0", "connect")
    assert event["why"].startswith(why)
    assert not doubtful.requests
    assert "sk-upstream-secret" not in "".join(world.house.log[since:]) + alone.text


async def test_a_handshake_that_hangs_is_left_for_the_next_provider(
    world: World, issued: Path, context: Contexts
) -> None:
    connected = []

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(await reader.read())  # until the gateway has gone
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    fine = await world.simulator(tls=context())
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}/v1"
    mute = secured(fine, issued / "ca.pem", base_url=url, timeouts={"tls": "50ms"})
    await world.serve({"mute": mute, "fine": secured(fine, issued / "ca.pem")})
    got = await world.chat()
    assert (got.status, got.deployment) == (200, "fine")
    alone = await world.chat(model="mute")
    assert alone.error["message"].endswith("the upstream did not finish the TLS handshake in time")
    await until(lambda: len(connected) == 2)
    server.close()


# -- who we are ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["http1", "http2"])
async def test_a_provider_that_asks_for_our_certificate_gets_it(
    world: World, issued: Path, context: Contexts, transport: str
) -> None:
    asking = context()
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(issued / "ca.pem")
    provider = await world.simulator(tls=asking)
    own = {"cert_file": str(issued / "client.pem"), "key_file": str(issued / "client.key"), "transport": transport}
    await world.serve({"known": secured(provider, issued / "ca.pem", **own)})
    assert (await world.chat()).status == 200
    await world.serve({"stranger": secured(provider, issued / "ca.pem", transport=transport)})
    assert (await world.chat()).error["code"] == "upstream_unreachable"
    assert len(provider.requests) == 1


# -- files that change -----------------------------------------------------------------------------------------------


async def test_a_changed_authority_is_taken_over_by_itself(
    world: World, issued: Path, context: Contexts, tmp_path: Path
) -> None:
    authority = tmp_path / "authority.pem"
    shutil.copy(issued / "other-ca.pem", authority)
    provider = await world.simulator(tls=context())
    await world.serve({"only": secured(provider, authority)}, breakers={"minimum_calls": 100})
    assert (await world.chat()).error["code"] == "upstream_unreachable"
    since = len(world.house.log)
    shutil.copy(issued / "ca.pem", authority)
    await until(lambda: world.house.events("config_applied", since))
    assert (await world.chat()).status == 200
    since = len(world.house.log)
    authority.write_text("half a file")
    await until(lambda: world.house.events("config_refused", since))
    (problem,) = world.house.events("config_refused", since)[0]["problems"]
    assert problem.endswith(f"{authority} holds no certificate in PEM form")
    assert (await world.chat()).status == 200
    shutil.copy(issued / "ca.pem", authority)


def test_the_check_says_which_file_cannot_serve(tmp_path: Path, issued: Path) -> None:
    config = tmp_path / "config.yaml"
    place = at([], kind="vllm", provider={"endpoints": ["https://a.example/v1"], "ca_file": str(issued / "good.key")})
    config.write_text(json.dumps(config_of({"only": place}), indent=1))
    checked = command("check", "--config", str(config))
    assert checked.returncode == 1
    line = next(number for number, text in enumerate(config.read_text().splitlines(), 1) if '"ca_file"' in text)
    said = checked.stdout + checked.stderr
    assert f"{config}:{line}:" in said
    assert "good.key holds no certificate in PEM form" in said
    assert "Traceback" not in said


# -- HTTP/2 ----------------------------------------------------------------------------------------------------------


def told_word(word: str | None) -> bytes:
    """Returns an event of a chat's stream: a word, or the end."""
    delta = {"role": "assistant", "content": word} if word else {}
    choice = {"index": 0, "delta": delta, "finish_reason": None if word else "stop"}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "demo", "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


class Teller:
    """A provider that streams over HTTP/2: to each call, in the order they came, a word each time it is let."""

    def __init__(self) -> None:
        self.server = Http2Server(self._tell)
        self._turns: defaultdict[int, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    def let(self, call: int) -> None:
        """Lets it say a word to a call, which may be still to come."""
        self._turns[call].release()

    async def _tell(self, asked: Asked) -> None:
        call = self.server.asked.index(asked)
        await asked.whole.wait()
        await asked.head("200", ("content-type", "text/event-stream"))
        for number in range(json.loads(asked.body)["max_tokens"]):
            await self._turns[call].acquire()
            await asked.send(told_word(f"word {number}"))
        await asked.send(told_word(None) + b"data: [DONE]\n\n", end=True)


@pytest.fixture
async def teller(world: World, issued: Path, context: Contexts) -> AsyncIterator[Teller]:
    """The only provider of the house."""
    teller = Teller()
    endpoint = await teller.server.start(context("good", "h2"))
    written = {"base_url": f"{endpoint.origin}/v1", "ca_file": str(issued / "ca.pem"), "transport": "http2"}
    await world.serve({"only": at([], provider={**written, "endpoints": []})})
    yield teller
    await teller.server.close()


async def test_a_stream_over_http2_comes_word_by_word(world: World, teller: Teller) -> None:
    teller.let(0)
    async with world.streaming(max_tokens=3) as response:
        pieces = response.aiter_text()
        said = ""
        for number in range(3):
            while f"word {number}" not in said:
                said += await anext(pieces)
            assert f"word {number + 1}" not in said
            teller.let(0)
        async for piece in pieces:
            said += piece
    assert said.endswith("data: [DONE]\n\n")


async def test_streams_at_the_same_time_share_one_http2_connection(world: World, teller: Teller) -> None:
    calls = [asyncio.create_task(world.chat(stream=True, max_tokens=2)) for _ in range(20)]
    await until(lambda: len(teller.server.asked) == 20)
    for call in range(20):
        teller.let(call)
        teller.let(call)
    answers = await asyncio.gather(*calls)
    assert all(answer.whole and answer.content == "word 0word 1" for answer in answers)
    assert len(teller.server.connections) == 1


async def test_a_caller_who_leaves_has_its_http2_stream_reset_and_no_other(world: World, teller: Teller) -> None:
    staying = asyncio.create_task(world.chat(stream=True, max_tokens=2))
    await until(lambda: teller.server.asked)
    teller.let(1)
    async with world.streaming(max_tokens=2) as response:
        assert response.status_code == 200
    await until(lambda: teller.server.asked[1].reset == ErrorCodes.CANCEL)
    teller.let(0)
    teller.let(0)
    assert (await staying).whole
    assert teller.server.asked[0].reset is None
    assert teller.server.open == 1
