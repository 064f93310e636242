"""Tokens of Entra on real sockets: how each identity asks, how long a token is kept, and what a failure is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Origin
from gateway.upstream.entra import EntraSigner, Identity
from gateway.upstream.http1 import Http1Transport

RESOURCE = "https://cognitiveservices.azure.com"
APPLICATION = Identity(RESOURCE, "tenant-1", "client-1", "s3cret&=")
MANAGED = Identity(RESOURCE)
ENDPOINT = Endpoint("d#0", "d", "p", Origin("https", "a.example", 443))
REQUEST = UpstreamRequest(b"/openai/v1/chat/completions", b"{}")


class Issuer:
    """A server that gives tokens: what it was asked, and what it says to each."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []  # target, headers, body
        self.say: Callable[[int], tuple[int, Any]] = lambda n: (200, {"access_token": f"t{n}", "expires_in": 3600})
        self.wait_s = 0.0
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *rest = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
            body = (await reader.readexactly(int(headers.get("content-length", "0")))).decode()
            self.asked.append((first.rsplit(" ", 1)[0], headers, body))
            await asyncio.sleep(self.wait_s)
            status, said = self.say(len(self.asked))
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(data), data))
            await writer.drain()
        finally:
            writer.close()

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.asked[-1][2]).items()}


@asynccontextmanager
async def issuing() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    server = await asyncio.start_server(issuer, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield issuer
    finally:
        server.close()
        await server.wait_closed()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def signer(identity: Identity, environ: dict[str, str], clock: Clock | None = None, wait_s: float = 2.0) -> EntraSigner:
    return EntraSigner(identity, Http1Transport, environ, clock or Clock(), wait_s)


async def token(one: EntraSigner) -> str:
    ((name, value),) = await one.sign(ENDPOINT, REQUEST)
    assert name == b"authorization"
    return value.decode().removeprefix("Bearer ")


async def test_an_application_asks_with_its_secret_once_for_an_hour() -> None:
    async with issuing() as issuer:
        clock = Clock()
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url}, clock)
        assert await token(one) == "t1"
        clock.now += 3200
        assert await token(one) == "t1"
        assert len(issuer.asked) == 1
        assert issuer.asked[0][0] == "POST /tenant-1/oauth2/v2.0/token"
        assert issuer.form == {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": "s3cret&=",
            "scope": f"{RESOURCE}/.default",
        }
        clock.now += 200  # within five minutes of its end
        assert await token(one) == "t2"


async def test_many_calls_ask_once() -> None:
    async with issuing() as issuer:
        issuer.wait_s = 0.05
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url})
        assert await asyncio.gather(*(token(one) for _ in range(50))) == ["t1"] * 50
        assert len(issuer.asked) == 1


async def test_nobody_waits_for_a_renewal_while_the_old_token_is_good() -> None:
    async with issuing() as issuer:
        clock = Clock()
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url}, clock)
        await token(one)
        clock.now += 3400
        issuer.wait_s = 0.2
        renewing = asyncio.create_task(token(one))
        await asyncio.sleep(0.05)
        assert await asyncio.wait_for(token(one), 0.05) == "t1"
        assert await renewing == "t2"


async def test_an_issuer_that_is_away_is_not_noticed_before_the_token_ends() -> None:
    async with issuing() as issuer:
        clock = Clock()
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url}, clock)
        await token(one)
        clock.now += 3400
        issuer.say = lambda n: (503, b"")
        assert await token(one) == "t1"
        assert await token(one) == "t1"
        assert len(issuer.asked) == 2  # not again at once
        clock.now += 300
        with pytest.raises(UpstreamError) as caught:
            await token(one)
        assert caught.value.reason is Reason.CONNECT
        issuer.say = lambda n: (200, {"access_token": f"t{n}", "expires_in": "3600"})
        clock.now += 3
        assert await token(one) == "t4"


REFUSED = {
    "error": "invalid_client",
    "error_description": "AADSTS7000215: Invalid client secret s3cret for app client-1.",
}


@pytest.mark.parametrize(
    ("status", "said", "reason", "notify"),
    [
        (401, REFUSED, Reason.UNAUTHENTICATED, True),
        (400, b"<html>", Reason.UNAUTHENTICATED, True),
        (429, {}, Reason.CONNECT, False),
        (500, {}, Reason.CONNECT, False),
        (200, b"<html>", Reason.CONNECT, False),
        (200, {"token": "?"}, Reason.CONNECT, False),
    ],
)
async def test_a_refusal_has_its_reason_and_tells_no_secret(
    status: int, said: Any, reason: Reason, notify: bool
) -> None:
    async with issuing() as issuer:
        issuer.say = lambda n: (status, said)
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url})
        for _ in range(3):
            with pytest.raises(UpstreamError) as caught:
                await token(one)
            error = caught.value
            assert (error.reason, error.notify, error.sent) == (reason, notify, False)
            assert "s3cret" not in str(error)
            assert "client-1" not in str(error)
        if said is REFUSED:
            assert str(error).endswith("invalid_client AADSTS7000215")
        assert len(issuer.asked) == 1  # those who came right after are told the same


async def test_an_issuer_that_says_nothing_is_waited_for_only_so_long() -> None:
    async with issuing() as issuer:
        issuer.wait_s = 5
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url}, wait_s=0.1)
        with pytest.raises(UpstreamError) as caught:
            await asyncio.wait_for(token(one), 1)
        assert caught.value.reason is Reason.TIMEOUT
        issuer.wait_s = 0


async def test_a_caller_that_leaves_leaves_the_others_their_token() -> None:
    async with issuing() as issuer:
        issuer.wait_s = 0.05
        one = signer(APPLICATION, {"AZURE_AUTHORITY_HOST": issuer.url})
        leaving, staying = asyncio.create_task(token(one)), asyncio.create_task(token(one))
        await asyncio.sleep(0.01)
        leaving.cancel()
        assert (await staying).startswith("t")
        with pytest.raises(asyncio.CancelledError):
            await leaving


async def test_a_federated_token_is_read_anew_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("jwt-1\n")
    async with issuing() as issuer:
        clock = Clock()
        environ = {
            "AZURE_AUTHORITY_HOST": issuer.url,
            "AZURE_FEDERATED_TOKEN_FILE": str(file),
            "AZURE_TENANT_ID": "tenant-2",
            "AZURE_CLIENT_ID": "client-2",
        }
        one = signer(MANAGED, environ, clock)
        assert await token(one) == "t1"
        assert issuer.asked[0][0] == "POST /tenant-2/oauth2/v2.0/token"
        assert issuer.form["client_assertion"] == "jwt-1"
        assert issuer.form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        file.write_text("jwt-2")
        clock.now += 3600
        assert await token(one) == "t2"
        assert issuer.form["client_assertion"] == "jwt-2"
        file.unlink()
        clock.now += 3600
        with pytest.raises(UpstreamError) as caught:
            await token(one)
        assert caught.value.reason is Reason.UNAUTHENTICATED


async def test_a_managed_identity_asks_the_machine_or_the_app_service() -> None:
    async with issuing() as issuer:
        import time

        issuer.say = lambda n: (200, {"access_token": f"t{n}", "expires_on": str(int(time.time()) + 7200)})
        assert await token(signer(MANAGED, {"AZURE_POD_IDENTITY_AUTHORITY_HOST": issuer.url})) == "t1"
        target, headers, _ = issuer.asked[-1]
        url = urlsplit(target.removeprefix("GET "))
        assert url.path == "/metadata/identity/oauth2/token"
        assert parse_qs(url.query) == {"api-version": ["2018-02-01"], "resource": [RESOURCE]}
        assert headers["metadata"] == "true"

        environ = {"IDENTITY_ENDPOINT": f"{issuer.url}/msi/token", "IDENTITY_HEADER": "x-secret"}
        assert await token(signer(Identity(RESOURCE, client_id="c"), environ)) == "t2"
        target, headers, _ = issuer.asked[-1]
        url = urlsplit(target.removeprefix("GET "))
        assert url.path == "/msi/token"
        assert parse_qs(url.query) == {"api-version": ["2019-08-01"], "resource": [RESOURCE], "client_id": ["c"]}
        assert headers["x-identity-header"] == "x-secret"


async def test_without_any_identity_that_is_said() -> None:
    async with issuing() as issuer:
        nowhere = issuer.url
    for identity in (MANAGED, Identity(RESOURCE, "tenant-1", "client-1")):
        with pytest.raises(UpstreamError) as caught:
            await token(signer(identity, {"AZURE_POD_IDENTITY_AUTHORITY_HOST": nowhere}))
        assert caught.value.reason is Reason.UNAUTHENTICATED
        assert "tenant_id" in str(caught.value)


def test_an_identity_shows_no_secret() -> None:
    assert "s3cret" not in repr(APPLICATION)
