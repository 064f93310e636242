"""Who may do what on the admin surface: keys, roles, sessions, and what each path asks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from gateway.admin.access import admin_only, reader, visitor
from tests.gateway.admin.rooms import ADMIN, Place, place, row

LEVER = "/admin/breakers/only%230?state=open"
OPEN_PATHS = {"/admin/static/{name:path}", "/admin/login", "/admin"}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path) as made:
        made.rows = [
            row("root", "admin"), row("ada", "owner", "sales"), row("vi", "viewer"), row("tom", "viewer", "sales"),
            row("bob"), row("lost", "owner"),
        ]  # fmt: skip
        yield made


def told(got: httpx.Response) -> tuple[int, str]:
    return got.status_code, got.json()["error"]["code"]


@pytest.mark.parametrize(
    ("key", "costs", "breakers", "lever"),
    [
        (ADMIN, 200, 200, 200),
        ("hg-root", 200, 200, 200),
        ("hg-ada", 200, 403, 403),
        ("hg-vi", 200, 200, 403),
        ("hg-tom", 200, 403, 403),
        ("hg-bob", 401, 401, 401),
        ("hg-lost", 401, 401, 401),  # an owner of no team owns nothing
        ("hg-nobody", 401, 401, 401),
        (None, 401, 401, 401),
    ],
)
async def test_a_role_opens_what_it_is_for(here: Place, key: str | None, costs: int, breakers: int, lever: int) -> None:
    async with here.client(key) as client:
        assert (await client.get("/admin/costs")).status_code == costs
        assert (await client.get("/admin/breakers")).status_code == breakers
        assert (await client.post(LEVER)).status_code == lever
        assert here.levers.state == ("open" if lever == 200 else "closed")


async def test_whoever_has_a_team_sees_that_team_alone(here: Place) -> None:
    for key in ("hg-ada", "hg-tom"):
        async with here.client(key) as client:
            assert (await client.get("/admin/costs?group_by=key")).json() == {"group_by": "key", "only_team": "sales"}
            assert (await client.get("/admin/costs?team=sales")).json() == {"team": "sales", "only_team": "sales"}
            for path in ("costs/summary", "costs/movers", "receipts", "receipts/req_1"):
                assert (await client.get(f"/admin/{path}")).json()["only_team"] == "sales"
            assert told(await client.get("/admin/costs?team=hr")) == (403, "role_forbidden")
            assert (await client.get("/admin/costs?team=sales&team=hr")).status_code == 403
            assert (await client.get("/admin/decisions/sales")).status_code == 200
            assert told(await client.get("/admin/decisions/hr")) == (403, "role_forbidden")


def asks(dependant: Dependant) -> bool:
    return any(each.call in (reader, visitor, admin_only) or asks(each) for each in dependant.dependencies)


def paths_of(app: FastAPI) -> Iterator[APIRoute]:
    for route in app.routes:
        for each in getattr(route, "original_router", app).routes if not isinstance(route, APIRoute) else [route]:
            if isinstance(each, APIRoute):
                yield each


def test_every_path_asks_who_it_is_but_those_that_are_for_strangers(here: Place) -> None:
    paths = list(paths_of(here.app))
    assert len(paths) > 8
    for route in paths:
        if not asks(route.dependant):
            assert route.path in OPEN_PATHS or (route.path, route.methods) == ("/admin/session", {"POST"})


async def test_a_stranger_is_sent_to_log_in_where_he_asks_for_a_page(here: Place) -> None:
    async with here.client() as client:
        got = await client.get("/admin/ui/costs", headers={"accept": "text/html"})
        assert (got.status_code, got.headers["location"]) == (303, "/admin/login?next=/admin/ui/costs")
        assert (await client.get("/admin/openapi.json")).status_code == 401
        assert (await client.get("/admin/nothing")).status_code == 401


# -- sessions -----------------------------------------------------------------------------------------------------


async def log_in(client: httpx.AsyncClient, key: str) -> dict[str, str]:
    """Logs in, and returns the header that changes need."""
    got = await client.post("/admin/session", json={"key": key})
    assert got.status_code == 200, got.text
    return {"x-csrf-token": got.json()["csrf"]}


async def test_a_session_is_worth_what_its_key_is_worth(here: Place) -> None:
    async with here.client() as client:
        token = await log_in(client, "hg-root")
        who = (await client.get("/admin/session")).json()
        assert (who["name"], who["role"], who["by"]) == ("root", "admin", "session")
        assert (await client.post(LEVER, headers=token)).status_code == 200
        here.rows[0].role = "viewer"
        assert (await client.post(LEVER, headers=token)).status_code == 403
        here.rows[0].enabled = False
        assert (await client.get("/admin/session")).status_code == 401
        here.rows[0].enabled = True  # what has ended does not come back
        assert (await client.get("/admin/session")).status_code == 401


@pytest.mark.parametrize("change", ["expired", "rotated", "removed"])
async def test_a_session_ends_with_its_key(here: Place, change: str) -> None:
    async with here.client() as client:
        await log_in(client, "hg-root")
        if change == "expired":
            here.rows[0].expires_at = here.now
        elif change == "rotated":
            here.rows[0].hash = row("other").hash
        else:
            del here.rows[0]
        assert (await client.get("/admin/costs")).status_code == 401
        assert len(here.keeper.sessions) == 0


async def test_a_session_ends_idle_or_old(here: Place) -> None:
    async with here.client() as client:
        await log_in(client, ADMIN)
        for _ in range(11):
            here.now += 50
            assert (await client.get("/admin/session")).status_code == 200
        here.now += 59  # not idle, but old
        assert (await client.get("/admin/session")).status_code == 401
        await log_in(client, ADMIN)
        here.now += 60
        assert (await client.get("/admin/session")).status_code == 401


async def test_a_session_ends_when_it_is_logged_out_of_and_not_by_a_forged_request(here: Place) -> None:
    async with here.client() as client:
        token = await log_in(client, ADMIN)
        assert told(await client.delete("/admin/session")) == (403, "csrf_refused")
        cookie = client.cookies["headgate-session"]
        assert (await client.delete("/admin/session", headers=token)).status_code == 204
        assert "headgate-session" not in client.cookies
        client.cookies.set("headgate-session", cookie)
        assert (await client.get("/admin/session")).status_code == 401


async def test_one_sessions_token_is_no_other_sessions(here: Place) -> None:
    async with here.client() as one, here.client() as other:
        theirs = await log_in(one, "hg-root")
        await log_in(other, ADMIN)
        assert told(await other.post(LEVER, headers=theirs)) == (403, "csrf_refused")


@pytest.mark.parametrize("cookie", ["", "a", "é", "headgate", "a" * 4000, '"', "a;b", "\\012"])
async def test_a_forged_session_is_none(here: Place, cookie: str) -> None:
    async with here.client() as client:
        got = await client.get("/admin/costs", headers={"cookie": f"headgate-session={cookie}".encode()})
        assert told(got) == (401, "invalid_admin_key")


async def test_a_cookie_is_secure_where_the_request_came_by_tls(here: Place) -> None:
    async with here.client() as client:
        got = await client.post("/admin/session", json={"key": ADMIN}, headers={"x-forwarded-proto": "https"})
        assert "Secure" in got.headers["set-cookie"]
        got = await client.post("/admin/session", json={"key": ADMIN})
        assert "Secure" not in got.headers["set-cookie"]
        assert "HttpOnly" in got.headers["set-cookie"]
        assert "SameSite=strict" in got.headers["set-cookie"]


async def test_a_store_of_sessions_has_an_end(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.admin.sessions.MOST", 2)
    ids = [here.keeper.sessions.begin("sha256:x") for _ in range(3)]
    assert [here.keeper.sessions.use(id) for id in ids] == [None, "sha256:x", "sha256:x"]


# -- tries --------------------------------------------------------------------------------------------------------


async def test_logging_in_wrongly_too_often_has_to_wait(here: Place) -> None:
    async with here.client() as client, here.client(address="192.0.2.2") as elsewhere:
        for _ in range(3):
            assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 401
        got = await client.post("/admin/session", json={"key": ADMIN})  # the right one tells nothing, either
        assert told(got) == (429, "too_many_tries")
        assert got.headers["retry-after"] == "10"
        assert (await elsewhere.post("/admin/session", json={"key": ADMIN})).status_code == 200
        here.now += 10
        assert (await client.post("/admin/session", json={"key": ADMIN})).status_code == 200


async def test_all_addresses_together_have_to_wait_too(here: Place) -> None:
    for number in range(12):
        async with here.client(address=f"192.0.2.{number}") as client:
            assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 401
    async with here.client(address="198.51.100.1") as client:
        assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 429


async def test_a_network_of_ipv6_is_one_address(here: Place) -> None:
    for number in range(3):
        async with here.client(address=f"2001:db8::{number}") as client:
            assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 401
    async with here.client(address="2001:db8::ffff") as client:
        assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 429
    async with here.client(address="2001:db8:0:1::1") as client:
        assert (await client.post("/admin/session", json={"key": "wrong"})).status_code == 401


async def test_right_keys_are_not_counted(here: Place) -> None:
    async with here.client(ADMIN) as client:
        for _ in range(40):
            assert (await client.get("/admin/costs")).status_code == 200
    async with here.client("hg-wrong") as client:
        codes = [(await client.get("/admin/costs")).status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


# -- what is sent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["", "{", "[]", '{"key": "\\ud800"}', '{"key": 5}', '{"key": null}', "{}", '{"key": "' + "a" * 1500 + '"}']
)
async def test_a_login_that_is_none_is_the_callers_fault(here: Place, body: str) -> None:
    async with here.client() as client:
        got = await client.post("/admin/session", content=body, headers={"content-type": "application/json"})
        assert got.status_code in (400, 413)
        assert "error" in got.json()


async def test_a_body_has_an_end(here: Place) -> None:
    async def endless() -> object:
        for _ in range(3):
            yield b"a" * 500

    async with here.client(ADMIN) as client:
        assert told(await client.post(LEVER, content=b"a" * 1001)) == (413, "request_too_large")
        assert told(await client.post(LEVER, content=endless())) == (413, "request_too_large")
        assert (await client.post(LEVER, content=b"a" * 1000)).status_code == 200


@pytest.mark.parametrize(
    ("hosts", "loopback", "host", "lets_in"),
    [
        ([], True, "localhost:8080", True),
        ([], True, "[::1]:8080", True),
        ([], True, "evil.example", False),
        (["gate.example"], True, "gate.example", True),
        (["gate.example"], False, "GATE.example:443", True),
        (["gate.example"], False, "evil.example", False),
        (["gate.example:444"], False, "gate.example:443", False),
        ([], False, "anything.example", True),
    ],
)
async def test_browsers_call_by_names_that_are_its_own(
    tmp_path: Path, hosts: list[str], loopback: bool, host: str, lets_in: bool
) -> None:
    with place(tmp_path, loopback=loopback, hosts=hosts) as here:
        async with here.client() as client:
            got = await client.post("/admin/session", json={"key": ADMIN}, headers={"host": host})
            assert (got.status_code == 200) is lets_in
            if not lets_in:
                assert told(got) == (403, "host_refused")
        async with here.client(ADMIN) as client:  # no browser sends a key by itself
            assert (await client.get("/admin/costs", headers={"host": host})).status_code == 200
