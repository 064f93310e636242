"""Keys made, changed, rotated and taken away over HTTP, by an admin and by a team's owner, while calls go on."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest

from tests.stories.house import ADMIN_KEY, Answer, World, at

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
CENT = {"input": "0", "output": "0", "per_request": "0.01"}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


class Desk:
    """The admin surface as somebody with a key uses it."""

    def __init__(self, world: World, headers: Mapping[str, str] = ADMIN) -> None:
        self.world = world
        self.headers = dict(headers)

    async def ask(self, method: str, path: str, body: Any = None) -> Answer:
        got: httpx.Response = await self.world.http.request(
            method, f"/admin/keys{path}", json=body, headers=self.headers
        )
        return Answer(got.status_code, got.headers, got.text)

    async def make(self, name: str, **fields: Any) -> str:
        """Makes a key anew; returns its plain text."""
        await self.ask("DELETE", f"/{name}")
        got = await self.ask("POST", "", {"name": name, **fields})
        assert got.status == 201, got.text
        plain: str = got.json["key"]
        return plain


@pytest.fixture
async def desk(world: World) -> Desk:
    places = {"keyed": at(await world.simulator(), price=CENT), "other": at(await world.simulator(), price=CENT)}
    await world.serve(places, auth="keys", teams={"red": {}, "blue": {}})
    return Desk(world)


@pytest.fixture(autouse=True)
async def _leave_no_key(world: World) -> AsyncIterator[None]:
    yield
    desk = Desk(world)
    for each in (await desk.ask("GET", "")).json["keys"]:
        if each["source"] == "store":
            await desk.ask("DELETE", f"/{each['name']}")


async def status(desk: Desk, key: str, **body: Any) -> int:
    return (await desk.world.chat(headers=bearer(key), **body)).status


async def test_a_key_is_shown_once_and_works_at_once(desk: Desk) -> None:
    said = {
        "team": "red",
        "user": "ada",
        "tags": {"project": "crm"},
        "models": ["chat"],
        "budgets": [{"usd": "0.02", "per": "month", "notify_at": [80], "zone": "Europe/Berlin"}],
        "limits": {"calls_per_minute": 100},
        "role": "viewer",
    }
    plain = await desk.make("keys-ada", **said)
    assert plain.startswith("hg-")
    assert [await status(desk, plain) for _ in range(3)] == [200, 200, 429]
    got = await desk.ask("GET", "/keys-ada")
    told = got.json
    assert plain not in got.text
    assert "hash" not in told
    assert {field: told[field] for field in ("team", "user", "tags", "models", "role")} == {
        field: said[field] for field in ("team", "user", "tags", "models", "role")
    }
    assert told["budgets"] == [
        {"usd": "0.02", "per": "month", "zone": "Europe/Berlin", "notify_at": [80], "reject_at": 100}
    ]
    listed = (await desk.ask("GET", "")).json["keys"]
    assert ("keys-ada", "store") in [(each["name"], each["source"]) for each in listed]


async def test_an_edit_is_live_when_it_is_answered(desk: Desk) -> None:
    plain = await desk.make("keys-edit", team="red", budgets=[{"usd": "0.01", "per": "day"}])
    assert [await status(desk, plain) for _ in range(2)] == [200, 429]
    began = time.monotonic()
    got = await desk.ask("PATCH", "/keys-edit", {"budgets": [{"usd": "0.02", "per": "day"}]})
    assert got.status == 200
    assert [await status(desk, plain) for _ in range(2)] == [200, 429]
    assert (await desk.ask("PATCH", "/keys-edit", {"budgets": [], "models": ["other"]})).status == 200
    assert [await status(desk, plain), await status(desk, plain, model="other")] == [403, 200]
    await desk.ask("PATCH", "/keys-edit", {"enabled": False})
    assert await status(desk, plain, model="other") == 401
    await desk.ask("PATCH", "/keys-edit", {"enabled": True, "expires_at": time.time() - 1})
    assert await status(desk, plain, model="other") == 401
    assert time.monotonic() - began < 60
    await desk.ask("PATCH", "/keys-edit", {"expires_at": None})
    assert await status(desk, plain, model="other") == 200


async def test_a_rotated_key_works_beside_its_successor_for_as_long_as_said(desk: Desk) -> None:
    old = await desk.make("keys-turn", budgets=[{"usd": "0.03", "per": "day"}])
    assert await status(desk, old) == 200
    new = (await desk.ask("POST", "/keys-turn/rotate", {"overlap_s": 3600})).json["key"]
    assert [await status(desk, old), await status(desk, new), await status(desk, new)] == [200, 200, 429]
    newest = (await desk.ask("POST", "/keys-turn/rotate", {"overlap_s": 0})).json["key"]
    assert [await status(desk, each) for each in (old, new, newest)] == [401, 401, 429]


async def test_a_deleted_key_is_a_stranger(desk: Desk) -> None:
    plain = await desk.make("keys-gone")
    assert (await desk.ask("DELETE", "/keys-gone")).status == 204
    assert await status(desk, plain) == 401
    assert (await desk.ask("GET", "/keys-gone")).status == 404
    assert (await desk.ask("DELETE", "/keys-gone")).error["code"] == "key_not_found"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": "no spaces"}, 400, "name"),
        ({"name": "keys-x", "team": "green"}, 400, "team"),
        ({"name": "keys-x", "models": ["caht"]}, 400, "models"),
        ({"name": "keys-x", "routes": ["nope"]}, 400, "routes"),
        ({"name": "keys-x", "sensitivity": "secret"}, 400, "sensitivity"),
        ({"name": "keys-x", "role": "owner"}, 400, "team"),
        ({"name": "keys-x", "hash": "sha256:00"}, 400, "hash"),
        ({"name": "keys-x", "budgets": [{"usd": 5, "per": "day"}]}, 400, "budgets.0.usd"),
        ({"name": "keys-x", "budgets": [{"usd": "5", "per": "day"}, {"usd": "6", "per": "day"}]}, 400, "budgets"),
        ({"name": "keys-x", "budgets": [{"usd": "5", "per": "day", "zone": "../../etc"}]}, 400, "budgets.0.zone"),
        ({"name": "keys-x", "limits": {"in_flight": 0}}, 400, "limits.in_flight"),
        ({"name": "keys-x", "expires_at": 1e30}, 400, "expires_at"),
    ],
)
async def test_what_means_nothing_is_refused_by_its_field(
    desk: Desk, fields: dict[str, Any], code: int, param: str
) -> None:
    got = await desk.ask("POST", "", fields)
    assert (got.status, got.error["param"]) == (code, param), got.text


async def test_a_name_is_taken_once_and_keys_of_the_config_are_edited_there(world: World, desk: Desk) -> None:
    await desk.make("keys-twice")
    assert (await desk.ask("POST", "", {"name": "keys-twice"})).error["code"] == "key_conflict"
    written = {"name": "keys-written", "hash": "sha256:" + "ab" * 32}
    await world.serve({"keyed": at(await world.simulator())}, auth="keys", keys=[written])
    assert (await desk.ask("GET", "/keys-written")).json["source"] == "config"
    for method, path in (("PATCH", ""), ("POST", "/rotate"), ("DELETE", "")):
        got = await desk.ask(method, f"/keys-written{path}", {} if method != "DELETE" else None)
        assert (got.status, got.error["code"]) == (409, "key_conflict")
    assert (await desk.ask("POST", "", {"name": "keys-written"})).status == 409


# -- owners and viewers ---------------------------------------------------------------------------------------------


async def test_an_owner_sees_and_steers_what_is_his_teams(desk: Desk) -> None:
    red, blue = await desk.make("keys-red", team="red"), await desk.make("keys-blue", team="blue")
    olga = Desk(desk.world, bearer(await desk.make("keys-olga", team="red", role="owner")))
    names = {each["name"] for each in (await olga.ask("GET", "")).json["keys"]}
    assert {"keys-red", "keys-olga"} <= names
    assert "keys-blue" not in names
    for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/rotate")):
        got = await olga.ask(method, f"/keys-blue{path}", None if method == "GET" else {})
        assert (got.status, got.error["code"]) == (404, "key_not_found")  # not even that it is there
    assert (await olga.ask("DELETE", "/keys-red")).status == 403
    assert (await olga.ask("PATCH", "/keys-red", {"enabled": False})).status == 200
    assert [await status(desk, red), await status(desk, blue)] == [401, 200]
    for changes in ({"enabled": True}, {"team": "blue"}, {"role": "admin"}, {"tags": {"a": "b"}}):
        got = await olga.ask("PATCH", "/keys-red", changes)
        assert (got.status, got.error["code"], [got.error["param"]]) == (403, "field_forbidden", list(changes))
    await desk.ask("DELETE", "/keys-made")
    assert (await olga.ask("POST", "", {"name": "keys-made", "role": "admin"})).status == 403
    got = await olga.ask("POST", "", {"name": "keys-made", "user": "ann"})
    assert (got.status, got.json["team"]) == (201, "red")
    assert await status(desk, got.json["key"]) == 200


async def test_an_owner_does_not_raise_his_own_budget(desk: Desk) -> None:
    olga = Desk(desk.world, bearer(await desk.make(
        "keys-poor", team="red", role="owner", budgets=[{"usd": "0.01", "per": "month"}]
    )))  # fmt: skip
    for budgets in ([], [{"usd": "9", "per": "month"}], [{"usd": "0.01", "per": "day"}]):
        got = await olga.ask("PATCH", "/keys-poor", {"budgets": budgets})
        assert (got.status, got.error["param"]) == (403, "budgets")
    assert (await olga.ask("POST", "", {"name": "keys-around"})).error["param"] == "budgets"
    assert (await olga.ask("PATCH", "/keys-poor", {"budgets": [{"usd": "0.005", "per": "month"}]})).status == 200


async def test_a_viewer_looks_and_a_plain_key_does_not_even_that(desk: Desk) -> None:
    viewer = Desk(desk.world, bearer(await desk.make("keys-vera", team="red", role="viewer")))
    plain = Desk(desk.world, bearer(await desk.make("keys-plain", team="red")))
    assert (await viewer.ask("GET", "/keys-vera")).status == 200
    assert (await viewer.ask("PATCH", "/keys-vera", {"enabled": False})).status == 403
    assert (await viewer.ask("POST", "", {"name": "keys-more"})).status == 403
    assert (await plain.ask("GET", "")).status in (401, 403)


async def test_budgets_limits_and_teams_are_shown_to_whom_they_concern(world: World, desk: Desk) -> None:
    who = {"auth": "keys", "teams": {"ruby": {"limits": {"in_flight": 7}}, "navy": {}}}
    budgets = [
        {"team": "*", "usd": "0.10", "per": "month", "notify_at": 80},
        {"overall": True, "usd": "5", "per": "week"},
    ]
    await world.serve({"keyed": at(await world.simulator(), price=CENT)}, **who, budgets=budgets)
    red, blue = await desk.make("shown-red", team="ruby"), await desk.make("shown-blue", team="navy")
    for n in range(3):
        assert await status(desk, red, text=f"red {n}") == 200
    assert await status(desk, blue) == 200
    shown = (await world.get("/admin/budgets", ADMIN)).json["budgets"]
    mine = next(each for each in shown if (each["scope"], each["name"]) == ("team", "ruby"))
    assert (mine["limit_usd"], mine["reserved_usd"], mine["notify_at"]) == ("0.10", "0.00", [80])
    assert mine["spent_nano_usd"] >= 3 * 10**7
    assert mine["period_start_at"] <= time.time() < mine["resets_at"]
    assert {"overall", "team"} <= {each["scope"] for each in shown}
    history = (await world.get("/admin/budgets/history?scope=team&name=ruby&per=month&periods=3", ADMIN)).json
    assert [each["spent_nano_usd"] for each in history["periods"]] == [0, 0, mine["spent_nano_usd"]]
    olga = bearer(await desk.make("shown-olga", team="ruby", role="owner"))
    hers = {(each["scope"], each["name"]) for each in (await world.get("/admin/budgets", olga)).json["budgets"]}
    assert {name for scope, name in hers if scope != "key"} == {"ruby"}
    assert (await world.get("/admin/budgets/history?scope=overall&name=overall&per=week", olga)).status == 404
    limits = (await world.get("/admin/limits", olga)).json["limits"]
    assert [(each["scope"], each["name"], each["in_flight_limit"]) for each in limits] == [("team", "ruby", 7)]
    teams = (await world.get("/admin/teams", olga)).json["teams"]
    assert [(each["name"], len(each["budgets"])) for each in teams] == [("ruby", 1)]
    assert {each["name"] for each in (await world.get("/admin/teams", ADMIN)).json["teams"]} == {"ruby", "navy"}


async def test_a_mistake_in_the_config_keeps_no_key_from_being_switched_off(world: World, desk: Desk) -> None:
    plain = await desk.make("keys-leaked")
    assert await status(desk, plain) == 200
    good = world.house.path.read_text()
    world.house.path.write_text(good + "{")
    try:
        assert (await desk.ask("PATCH", "/keys-leaked", {"enabled": False})).status == 200
        assert await status(desk, plain) == 401
    finally:
        world.house.path.write_text(good)
        await world.house.reload()
