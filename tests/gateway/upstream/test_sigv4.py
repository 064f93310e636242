"""Signatures are those that botocore makes of the same request; keys are asked for beside the calls."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin
from gateway.upstream.head import host_header
from gateway.upstream.sigv4 import KEPT_S, RENEWED_S, Keys, Scope, SigV4Signer, signature

KEYS = Keys("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = Scope("us-east-1", "bedrock")
NOW = 1_764_000_000.0


def an_endpoint(host: str = "bedrock-runtime.us-east-1.amazonaws.com", port: int = 443, auth: Headers = ()) -> Endpoint:
    return Endpoint("d#0", "d", "p", Origin("https", host, port), auth)


def by_botocore(endpoint: Endpoint, request: UpstreamRequest, keys: Keys, scope: Scope, now: float) -> dict[str, str]:
    """Returns the headers that botocore adds; what Headgate leaves unsigned is not shown to it."""
    shown = {
        name.decode(): value.decode("latin-1")
        for name, value in (*request.headers, *endpoint.auth)
        if name == b"content-type" or name.startswith(b"x-amz-")
    }
    host = host_header(endpoint.origin).decode()
    asked = AWSRequest(
        request.method.decode(), f"https://{host}{request.path.decode()}", {**shown, "host": host}, request.body
    )
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, keys.session_token)
    moment = datetime.fromtimestamp(now, UTC)
    with mock.patch.object(auth, "get_current_datetime", return_value=moment):
        auth.SigV4Auth(credentials, scope.service, scope.region).add_auth(asked)
    added = {name.lower(): value for name, value in asked.headers.items()}
    return {name: added[name] for name in ("authorization", "x-amz-date", "x-amz-security-token") if name in added}


def a_request(dice: random.Random) -> tuple[Endpoint, UpstreamRequest, Keys, Scope, float]:
    """Draws a request as adapters make them, and some that they do not."""
    alphabet = "abcXYZ019-._~:/ %+äé*'()@$&=,;!"
    model = "".join(dice.choice(alphabet) for _ in range(dice.randint(1, 30)))
    path = f"{dice.choice(['', '/base', '/a/../b', '/./x', '//d'])}/model/{quote(model, safe='')}/converse"
    query = "&".join(
        f"{quote(dice.choice('abc'))}{dice.choice(['', '=', '=1', '=%20x'])}" for _ in range(dice.randint(0, 4))
    )
    headers: list[tuple[bytes, bytes]] = [(b"content-type", dice.choice([b"application/json", b"a/b;  c=d ", b"x"]))]
    if dice.random() < 0.5:
        headers.append((b"traceparent", b"00-1-2-03"))
        headers.append((b"x-amz-bedrock-trace", dice.choice([b"ENABLED", b" spaced   out "])))
    extra: Headers = ((b"x-tenant", b"blue"), (b"x-amz-tag", b"1")) if dice.random() < 0.5 else ()
    request = UpstreamRequest(
        path=(f"{path}?{query}" if query else path).encode(),
        body=dice.randbytes(dice.choice([0, 1, 300])),
        headers=tuple(headers),
        method=dice.choice([b"POST", b"GET"]),
    )
    host = dice.choice(["bedrock-runtime.us-east-1.amazonaws.com", "vpce-1.example.org", "127.0.0.1", "::1"])
    endpoint = an_endpoint(host, dice.choice([443, 443, 8443, 80]), extra)
    token = dice.choice([None, "FwoGZXIvYXdzE+/=="])
    keys = Keys(f"AKID{dice.randrange(10**6)}", f"secret/{dice.random()}+", token)
    scope = Scope(dice.choice(["us-east-1", "us-gov-west-1"]), dice.choice(["bedrock", "sts"]))
    return endpoint, request, keys, scope, NOW + dice.randrange(10**8) + dice.random()


def test_hundreds_of_requests_are_signed_as_botocore_signs_them() -> None:
    dice = random.Random(4)
    for _ in range(500):
        drawn = a_request(dice)
        ours = {name.decode(): value.decode() for name, value in signature(*drawn)}
        assert ours == by_botocore(*drawn), drawn


def test_the_path_is_encoded_a_second_time() -> None:
    paths = [b"/model/us.amazon.nova-micro-v1%3A0/converse", b"/model/us.amazon.nova-micro-v1:0/converse"]
    signed = [signature(an_endpoint(), UpstreamRequest(path, b"{}"), KEYS, SCOPE, NOW)[0] for path in paths]
    assert signed[0] != signed[1]


@pytest.mark.parametrize(
    "changed",
    [
        UpstreamRequest(b"/other", b"{}"),
        UpstreamRequest(b"/path", b"{} "),
        UpstreamRequest(b"/path", b"{}", ((b"content-type", b"text/plain"),)),
        UpstreamRequest(b"/path", b"{}", method=b"PUT"),
    ],
)
def test_whatever_is_sent_changes_the_signature(changed: UpstreamRequest) -> None:
    endpoint = an_endpoint()
    signed = signature(endpoint, UpstreamRequest(b"/path", b"{}"), KEYS, SCOPE, NOW)
    assert signature(endpoint, changed, KEYS, SCOPE, NOW)[0] != signed[0]
    assert signature(an_endpoint(port=8443), UpstreamRequest(b"/path", b"{}"), KEYS, SCOPE, NOW)[0] != signed[0]


def test_no_secret_shows() -> None:
    assert KEYS.secret_access_key not in repr(KEYS)
    headers = signature(an_endpoint(), UpstreamRequest(b"/", b""), KEYS, SCOPE, NOW)
    assert KEYS.secret_access_key.encode() not in b"".join(value for _, value in headers)


# -- keys that are asked for --------------------------------------------------------------------------------------


class Asked:
    """A source of keys that answers what it is told to, and clocks that stand where they are put."""

    def __init__(self) -> None:
        self.count = 0
        self.answers: list[Any] = []
        self.hold: asyncio.Event | None = None
        self.time = 1000.0

    async def __call__(self) -> Keys:
        self.count += 1
        if self.hold is not None:
            await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else Keys(f"AKID{self.count}", "s")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def signer(self, **settings: Any) -> SigV4Signer:
        return SigV4Signer(SCOPE, source=self, now=lambda: NOW, clock=lambda: self.time, **settings)


async def key_of(signer: SigV4Signer) -> str:
    """Returns the key id that a request is signed with."""
    headers = await signer.sign(an_endpoint(), UpstreamRequest(b"/", b""))
    return headers[0][1].decode().split("Credential=")[1].split("/")[0]


async def test_fixed_keys_sign_without_asking_anybody() -> None:
    signer = SigV4Signer(SCOPE, KEYS, now=lambda: NOW)
    request = UpstreamRequest(b"/", b"")
    assert await signer.sign(an_endpoint(), request) == signature(an_endpoint(), request, KEYS, SCOPE, NOW)


async def test_many_calls_ask_once() -> None:
    asked = Asked()
    signer = asked.signer()
    assert set(await asyncio.gather(*(key_of(signer) for _ in range(20)))) == {"AKID1"}
    assert asked.count == 1


async def test_keys_are_renewed_beside_the_calls() -> None:
    asked = Asked()
    signer = asked.signer()
    await key_of(signer)
    asked.time += RENEWED_S - 1
    assert await key_of(signer) == "AKID1"
    await asyncio.sleep(0)
    assert asked.count == 1
    asked.time += 1
    asked.hold = asyncio.Event()
    assert [await key_of(signer) for _ in range(3)] == ["AKID1"] * 3  # nobody waits for the new ones
    asked.hold.set()
    await asyncio.sleep(0.01)
    assert await key_of(signer) == "AKID2"
    assert asked.count == 2


async def test_old_keys_serve_while_their_source_is_away_and_no_longer_than_they_hold() -> None:
    asked = Asked()
    signer = asked.signer()
    await key_of(signer)
    away = [UpstreamError(Reason.CONNECT, "away") for _ in range(2)]
    asked.answers = list(away)
    asked.time += RENEWED_S
    await key_of(signer)
    await asyncio.sleep(0.01)
    assert await key_of(signer) == "AKID1"
    assert asked.count == 2  # not asked again at once
    asked.time += KEPT_S
    with pytest.raises(UpstreamError) as caught:
        await key_of(signer)
    assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)
    asked.time += 10
    assert await key_of(signer) == "AKID4"


async def test_a_refusal_is_told_to_every_call_and_asked_again_only_later() -> None:
    asked = Asked()
    signer = asked.signer()
    asked.answers = [UpstreamError(Reason.UNAUTHENTICATED, "no credentials", notify=True)]
    for _ in range(3):
        with pytest.raises(UpstreamError) as caught:
            await key_of(signer)
        assert (caught.value.reason, caught.value.notify) == (Reason.UNAUTHENTICATED, True)
    assert asked.count == 1
    asked.time += 10
    assert await key_of(signer) == "AKID2"


async def test_a_source_that_says_nothing_is_given_up() -> None:
    asked = Asked()
    asked.hold = asyncio.Event()
    signer = asked.signer(patience_s=0.02)
    began = time.monotonic()
    with pytest.raises(UpstreamError) as caught:
        await key_of(signer)
    assert caught.value.reason is Reason.TIMEOUT
    assert time.monotonic() - began < 5


async def test_a_caller_that_leaves_takes_the_question_from_nobody() -> None:
    asked = Asked()
    asked.hold = asyncio.Event()
    signer = asked.signer()
    leaving, staying = asyncio.create_task(key_of(signer)), asyncio.create_task(key_of(signer))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    asked.hold.set()
    assert await staying == "AKID1"
    assert asked.count == 1
