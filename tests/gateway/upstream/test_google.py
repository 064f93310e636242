"""Google's identities: one token at a time, kept until shortly before it expires, and nobody waits without need."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin
from gateway.upstream.google import GoogleSigner, Identity, Token, TokenSigner, _loaded

ENDPOINT = Endpoint(id="e", deployment="d", provider="p", origin=Origin("https", "x.example", 443))
REQUEST = UpstreamRequest(b"/", b"{}")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Issuer:
    """Hands out numbered tokens, or what is wrong."""

    def __init__(self, lasts_s: float = 3600.0) -> None:
        self.asked = 0
        self.lasts_s = lasts_s
        self.failure: UpstreamError | None = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> Token:
        self.asked += 1
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return Token(f"t{self.asked}", self.lasts_s, "quota")


def bearer(number: int) -> Headers:
    return ((b"authorization", f"Bearer t{number}".encode()), (b"x-goog-user-project", b"quota"))


async def settled(signer: GoogleSigner) -> None:
    assert signer._fetching is not None
    await signer._fetching


async def test_many_callers_wait_for_one_token_which_is_kept() -> None:
    issuer, clock = Issuer(), Clock()
    signer = GoogleSigner(issuer, clock)
    issuer.gate.clear()
    waiting = [asyncio.ensure_future(signer.sign(ENDPOINT, REQUEST)) for _ in range(20)]
    await asyncio.sleep(0)
    waiting.pop().cancel()  # who leaves takes nobody's token along
    issuer.gate.set()
    assert set(await asyncio.gather(*waiting)) == {bearer(1)}
    clock.now += 3299
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(1)
    assert issuer.asked == 1


async def test_a_token_is_renewed_before_it_expires_while_the_old_one_serves() -> None:
    issuer, clock = Issuer(), Clock()
    signer = GoogleSigner(issuer, clock)
    await signer.sign(ENDPOINT, REQUEST)
    clock.now += 3301
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(1)
    await settled(signer)
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(2)


async def test_an_issuer_that_is_away_is_noticed_by_nobody_until_the_token_expires() -> None:
    issuer, clock = Issuer(), Clock()
    signer = GoogleSigner(issuer, clock)
    await signer.sign(ENDPOINT, REQUEST)
    issuer.failure = UpstreamError(Reason.CONNECT, "away")
    clock.now += 3400
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(1)
    await settled(signer)
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(1)
    assert issuer.asked == 2  # the failure is not repeated at once
    clock.now += 300
    with pytest.raises(UpstreamError) as caught:
        await signer.sign(ENDPOINT, REQUEST)
    assert caught.value.reason is Reason.CONNECT
    with pytest.raises(UpstreamError):
        await signer.sign(ENDPOINT, REQUEST)
    assert issuer.asked == 3
    issuer.failure = None
    clock.now += 3
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(4)


async def test_nobody_waits_for_ever() -> None:
    issuer = Issuer()
    issuer.gate.clear()
    signer = GoogleSigner(issuer, wait_s=0.01)
    with pytest.raises(UpstreamError) as caught:
        await signer.sign(ENDPOINT, REQUEST)
    assert caught.value.reason is Reason.TIMEOUT
    issuer.gate.set()
    await settled(signer)
    assert await signer.sign(ENDPOINT, REQUEST) == bearer(1)  # what came late is used


async def test_a_token_from_elsewhere_is_sent_as_it_is() -> None:
    assert await TokenSigner("abc").sign(ENDPOINT, REQUEST) == ((b"authorization", b"Bearer abc"),)
    assert "abc" not in repr(Token("abc", 1.0))


# -- google-auth itself -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> str:
    made = rsa.generate_private_key(65537, 2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def authority() -> Iterator[Callable[[int, Any], tuple[str, list[bytes]]]]:
    """Returns a maker of token endpoints: each answers with a status and a body, and keeps what it was asked."""
    servers: list[HTTPServer] = []

    def make(status: int, body: Any) -> tuple[str, list[bytes]]:
        seen: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(self.rfile.read(int(self.headers["content-length"])))
                told = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: Any) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/token", seen

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def service_account(key: str, url: str) -> dict[str, Any]:
    return {
        "type": "service_account",
        "private_key_id": "1",
        "private_key": key,
        "client_email": "a@p.iam.gserviceaccount.com",
        "token_uri": url,
    }


def test_a_service_account_gets_a_token(key: str, authority: Any) -> None:
    url, seen = authority(200, {"access_token": "abc", "expires_in": 3599, "token_type": "Bearer"})
    identity = Identity(lambda: service_account(key, url))
    token = identity()
    assert token.text == "abc"
    assert 3500 < token.lasts_s < 3600
    assert b"jwt-bearer" in seen[0]
    identity()
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        ({"type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r"}, "google.oauth2"),
        (
            {
                "type": "external_account",
                "audience": "a",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": "https://sts.googleapis.com/v1/token",
                "credential_source": {"file": "token"},
            },
            "google.auth.identity_pool",
        ),
        (
            {
                "type": "impersonated_service_account",
                "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/"
                "serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken",
                "source_credentials": {
                    "type": "authorized_user",
                    "client_id": "c",
                    "client_secret": "s",
                    "refresh_token": "r",
                },
            },
            "google.auth.impersonated_credentials",
        ),
    ],
)
def test_an_identity_of_each_type_is_read(identity: dict[str, Any], kind: str) -> None:
    assert type(_loaded(identity)).__module__.startswith(kind)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [(400, {"error": "invalid_grant", "error_description": "secret words"}, Reason.UNAUTHENTICATED)],
)
def test_an_identity_that_is_refused_is_ours_to_mend(
    key: str, authority: Any, status: int, body: Any, reason: Reason
) -> None:
    url, _ = authority(status, body)
    with pytest.raises(UpstreamError) as caught:
        Identity(lambda: service_account(key, url))()
    assert caught.value.reason is reason
    assert caught.value.notify
    assert "secret" not in caught.value.message


def test_an_issuer_that_cannot_be_reached_is_away(key: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        Identity(lambda: service_account(key, "http://127.0.0.1:9/token"))()
    assert caught.value.reason is Reason.CONNECT


def test_an_identity_that_is_none_is_ours_to_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        Identity(lambda: {"type": "service_account"})()
    assert (caught.value.reason, caught.value.notify) == (Reason.UNAUTHENTICATED, True)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(UpstreamError) as caught:
        Identity(None)()
    assert (caught.value.reason, caught.value.notify) == (Reason.UNAUTHENTICATED, True)


def test_the_surroundings_identity_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, key: str, authority: Any
) -> None:
    url, _ = authority(200, {"access_token": "adc", "expires_in": 60})
    path = tmp_path / "adc.json"
    path.write_text(json.dumps(service_account(key, url)))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    begun = time.monotonic()
    assert Identity(None)().text == "adc"
    assert time.monotonic() - begun < 10
