"""Who may speak at all: the rules of an open door, of keys, of the admin surface; and what is told to nobody."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from gateway.simulator import Fault
from tests.stories.house import ADMIN_KEY, House, World, at, body_of

FOREIGN = [
    ({"host": "evil.example"}, "Host"),
    ({"host": "10.0.0.1:8080"}, "Host"),
    ({"origin": "https://evil.example"}, "origin"),
    ({"origin": "null"}, "origin"),
    ({"x-forwarded-for": "10.0.0.1"}, "x-forwarded-for"),
    ({"forwarded": "for=10.0.0.1"}, "forwarded"),
]
PATHS = ["/v1/chat/completions", "/v1/models", "/admin/costs"]


@pytest.mark.parametrize(("headers", "word"), FOREIGN, ids=[str(headers) for headers, _ in FOREIGN])
async def test_an_open_door_is_open_to_this_machine_alone(world: World, headers: dict[str, str], word: str) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    for got in [await world.chat(headers=headers), *[await world.get(path, headers) for path in PATHS[1:]]]:
        assert (got.status, got.error["code"]) == (403, "open_door_refused")
        assert word in got.error["message"]
    assert not provider.requests


async def test_an_open_door_takes_json_alone(world: World) -> None:
    """A page elsewhere can post a form or text to this machine without asking first; it cannot post JSON."""
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    for content_type in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {"content-type": content_type} if content_type else {}
        got = await world.http.post("/v1/chat/completions", content=b'{"model":"chat"}', headers=headers)
        assert (got.status_code, got.json()["error"]["code"]) == (403, "open_door_refused")
    assert not provider.requests


async def test_loopback_names_and_own_pages_are_let_in(world: World) -> None:
    await world.serve({"only": at(await world.simulator())})
    port = world.house.url.rpartition(":")[2]
    for headers in ({"host": f"localhost:{port}"}, {"host": "[::1]"}, {"origin": f"http://localhost:{port}"}):
        assert (await world.chat(headers=headers)).status == 200


async def test_with_keys_the_door_is_open_to_any_host_that_has_one(world: World) -> None:
    hashed = hashlib.sha256(b"hg-ada").hexdigest()
    key = {"name": "ada", "hash": f"sha256:{hashed}", "models": ["chat"]}
    await world.serve({"only": at(await world.simulator())}, auth="keys", keys=[key])
    bearer = {"authorization": "Bearer hg-ada", "host": "gate.example", "x-forwarded-for": "10.0.0.1"}
    assert (await world.chat(headers=bearer)).status == 200
    assert (await world.chat(headers={"x-api-key": "hg-ada"})).status == 200
    missing = await world.chat()
    assert (missing.status, missing.error["code"]) == (401, "invalid_api_key")
    assert missing.headers["www-authenticate"] == "Bearer"
    assert [model["id"] for model in (await world.get("/v1/models", bearer)).json["data"]] == ["chat"]
    other = await world.chat(model="only", headers=bearer)
    assert (other.status, other.error["code"]) == (403, "model_not_allowed")


@pytest.mark.parametrize("key", [{"enabled": False}, {"expires": "2020-01-01T00:00:00Z"}], ids=["disabled", "expired"])
async def test_a_key_that_is_disabled_or_expired_is_no_key(world: World, key: dict[str, Any]) -> None:
    hashed = hashlib.sha256(b"hg-old").hexdigest()
    written = {"name": "old", "hash": f"sha256:{hashed}", **key}
    await world.serve({"only": at(await world.simulator())}, auth="keys", keys=[written])
    assert (await world.chat(headers={"authorization": "Bearer hg-old"})).status == 401


# -- the admin surface --------------------------------------------------------------------------------------------


async def test_reading_on_this_machine_takes_no_admin_key_and_writing_does(world: World) -> None:
    await world.serve({"only": at(await world.simulator())})
    lever = "/admin/breakers/only%230?state=closed"
    right, wrong = {"authorization": f"Bearer {ADMIN_KEY}"}, {"authorization": "Bearer hg-admin-guess"}
    assert (await world.get("/admin/costs")).status == 200
    assert (await world.get("/admin/costs", right)).status == 200
    assert (await world.get("/admin/costs", wrong)).error["code"] == "invalid_admin_key"
    refused = await world.post(lever, {})
    assert (refused.status, refused.error["code"]) == (401, "invalid_admin_key")
    assert (await world.post(lever, {}, wrong)).status == 401
    assert (await world.post(lever, {}, right)).status == 200
    # with its key, the admin surface answers any host
    assert (await world.get("/admin/costs", {**right, "host": "gate.example"})).status == 200


async def test_a_callers_key_opens_no_admin_door(world: World) -> None:
    hashed = hashlib.sha256(b"hg-ada").hexdigest()
    keys = [{"name": "ada", "hash": f"sha256:{hashed}"}]
    await world.serve({"only": at(await world.simulator())}, auth="keys", keys=keys)
    assert (await world.get("/admin/costs", {"authorization": "Bearer hg-ada"})).status == 401


async def test_health_and_readiness_are_told_to_anyone(world: World) -> None:
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        got = await world.get(path, {"host": "probe.example"})
        assert (got.status, got.json["status"]) == (200, status)


# -- what is told to nobody ---------------------------------------------------------------------------------------

SECRET = "sk-upstream-QvT7-do-not-tell"
PROMPT = "the heron stands where the sluice was"
ANSWER_HEADERS = {
    "content-type",
    "content-length",
    "transfer-encoding",
    "cache-control",
    "connection",
    "retry-after",
    "server-timing",
    "x-request-id",
    "x-headgate-decision",
    "x-headgate-deployment",
    "x-headgate-cache",
    "x-headgate-warnings",
}


def _kept(house: House) -> bytes:
    """Returns every byte that a house has written, its own config apart."""
    files = [each for each in house.folder.rglob("*") if each.is_file() and each != house.path]
    return b"".join(each.read_bytes() for each in files) + house.told.encode()


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_providers_credential_is_told_to_nobody_but_the_provider(world: World, kind: str) -> None:
    provider = await world.simulator(tpot_s=0.001)
    await world.serve({"only": at(provider, kind=kind, keys=[SECRET])}, cache={"at": "temperature_0"})
    echoing = f"the key {SECRET} is not welcome"
    faults: list[Fault | None] = [None, *[Fault(status, message=echoing) for status in ("400", "422", "500", "401")]]
    for stream in (False, True):
        for number, fault in enumerate(faults):
            provider.faults["demo"] = [fault] * 4
            got = await world.chat(PROMPT, stream=stream, max_tokens=20 + number, temperature=0)
            assert (got.status == 200) is (fault is None)
            assert SECRET not in got.text
            assert SECRET not in str(got.headers)
            assert set(got.headers) <= ANSWER_HEADERS
            if "x-request-id" in got.headers:
                assert SECRET not in str(await world.receipt(got.id))
            await world.house.reload()  # a dead credential gets another chance
    for path in ("/admin/costs", "/admin/breakers", "/metrics", "/v1/models"):
        assert SECRET not in (await world.get(path)).text
    assert any(SECRET.encode() in value for seen in provider.requests for _, value in seen.headers)
    kept = _kept(world.house)
    assert SECRET.encode() not in kept
    assert PROMPT.encode() not in kept
    assert b"I am a simulator" not in kept


async def test_nothing_of_the_callers_headers_reaches_the_provider(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider, keys=[SECRET])})
    told = {
        "authorization": "Bearer hg-callers-own",
        "cookie": "session=1",
        "x-api-key": "hg-callers-own",
        "openai-organization": "org-callers-own",
        "x-custom": "callers-own",
        "user-agent": "callers-own",
        "x-data-sensitivity": "internal",
        "referer": "http://localhost/callers-own",
    }
    for stream in (False, True):
        assert (await world.chat(headers=told, stream=stream)).status == 200
    for seen in provider.requests:
        headers = dict(seen.headers)
        assert len(headers) == len(seen.headers)
        assert headers[b"authorization"] == f"Bearer {SECRET}".encode()
        assert headers[b"host"].decode() == provider.url.removeprefix("http://")
        assert b"callers-own" not in b"".join(headers.values()) + seen.body
        assert set(headers) <= {
            b"host",
            b"authorization",
            b"content-type",
            b"content-length",
            b"accept",
            b"accept-encoding",
            b"user-agent",
            b"traceparent",
            b"tracestate",
        }


async def test_a_key_and_a_prompt_are_in_no_error(world: World) -> None:
    await world.serve({"only": at(await world.simulator())}, auth="keys")
    got = await world.post("/v1/chat/completions", body_of(PROMPT), {"authorization": "Bearer hg-secret-of-a-caller"})
    assert got.status == 401
    assert "hg-secret-of-a-caller" not in got.text
    assert b"hg-secret-of-a-caller" not in _kept(world.house)
