"""Admins edit the config of a running gateway: over HTTP, while calls go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx

from tests.patience import until
from tests.stories.house import ADMIN_KEY, NO_TLS, House, World, at, command, config_of

JSON = "application/json"
ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}


class Admin:
    """Somebody with the admin key."""

    def __init__(self, world: World) -> None:
        self.http = world.http
        self.number = 0

    async def ask(self, method: str, path: str, **asked: Any) -> httpx.Response:
        headers = ADMIN | asked.pop("headers", {})
        return await self.http.request(method, f"/admin/config{path}", headers=headers, **asked)

    async def text(self) -> str:
        got = await self.ask("GET", "")
        assert got.status_code == 200, got.text
        self.number = got.json()["number"]
        assert got.headers["etag"] == f'"{self.number}"'
        text: str = got.json()["text"]
        return text

    async def put(self, text: str, note: str = "", after: int | None = None, **query: str) -> httpx.Response:
        tag = f'"{self.number if after is None else after}"'
        return await self.ask("PUT", "", json={"text": text, "note": note}, headers={"if-match": tag}, params=query)


async def test_an_edit_is_live_without_dropping_a_stream_and_receipts_carry_its_number(world: World) -> None:
    provider = await world.simulator(ttft_s=0.01, tpot_s=0.02)
    await world.serve({"old": at(provider)})
    admin = Admin(world)
    text = await admin.text()
    assert "sk-upstream-secret" not in text
    async with world.streaming(max_tokens=60) as stream:
        lines = stream.aiter_lines()
        first = await anext(lines)
        got = await admin.put(text.replace('"old"', '"new"'), "a better name")
        assert got.status_code == 200, got.text
        assert got.json() == {"number": admin.number + 1, "not_written": None}
        answer = await world.chat("Hello")
        assert (answer.status, answer.deployment) == (200, "new")
        receipt = await world.receipt(answer.id)
        assert receipt["config_revision"] == admin.number + 1
        rest = [line async for line in lines]
        assert first.startswith("data: ")
        assert rest[-2] == "data: [DONE]"
        assert stream.headers["x-headgate-deployment"] == "old"
    assert '"new"' in world.house.path.read_text()
    told = (await admin.ask("GET", f"/revisions/{admin.number + 1}")).json()
    assert (told["author"], told["origin"], told["note"]) == ("admin", "admin", "a better name")
    audit = await world.http.get("/admin/audit", headers=ADMIN, params={"what": "config.saved", "limit": 1})
    assert audit.json()["changes"][0]["after"]["revision"] == admin.number + 1


async def test_a_bad_edit_changes_nothing_and_names_its_lines(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    admin = Admin(world)
    text = await admin.text()
    bad = text.replace('"in_order"', '"in_ordr"')
    got = await admin.put(bad)
    assert got.status_code == 422
    line = next(number for number, each in enumerate(bad.splitlines(), 1) if "in_ordr" in each)
    error = got.json()["error"]
    assert (error["code"], error["problems"][0]["line"]) == ("config_refused", line)
    verdict = (await admin.ask("POST", "/validate", json={"text": bad})).json()
    assert verdict["problems"] == error["problems"]
    assert await admin.text() == text
    assert (await world.chat()).status == 200


async def test_two_admins_at_once_one_wins_and_the_other_is_told_by_whom(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    admin = Admin(world)
    text = await admin.text()
    drafts = [text.replace('"auth": "open"', f'"auth": "open", "limits": {{"queue": {queue}}}') for queue in (7, 8)]
    answers = await asyncio.gather(*(admin.put(each) for each in drafts))
    assert sorted(each.status_code for each in answers) == [200, 412]
    error = next(each for each in answers if each.status_code == 412).json()["error"]
    assert error["code"] == "revision_outdated"
    assert f"revision {admin.number + 1} has come meanwhile, by admin at " in error["message"]


async def test_what_is_asked_wrongly_is_told_so(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"only": at(provider)})
    admin = Admin(world)
    text = await admin.text()
    cases: list[tuple[int, str | None, httpx.Response]] = [
        (428, "if_match_required", await admin.ask("PUT", "", json={"text": text})),
        (400, None, await admin.ask("PUT", "", json={"text": text}, headers={"if-match": "seven"})),
        (400, None, await admin.put(text, watch="1s")),
        (400, "invalid_parameter", await admin.ask("PUT", "", json={"txt": text}, headers={"if-match": '"1"'})),
        (404, "revision_not_found", await admin.ask("GET", "/revisions/999999")),
        (404, "revision_not_found", await admin.ask("POST", "/revisions/999999/rollback", json={})),
        (400, "cannot_edit", await admin.ask("POST", "/edit", json={"edits": [{"op": "remove", "path": ["nowhere"]}]})),
        (400, None, await admin.ask("POST", "/edit", json={"edits": [{"op": "rename", "path": ["auth"]}]})),
        *[
            (400, "cannot_edit", await admin.ask("POST", "/edit", content=content, headers={"content-type": JSON}))
            for content in (
                b'{"edits": [{"op": "set", "path": ["auth"], "value": NaN}]}',
                b'{"edits": [{"op": "set", "path": ["auth"], "value": "\\ud800"}]}',
                b'{"edits": [{"op": "set", "path": ["auth"], "value": %b1%b}]}' % (b"[" * 500, b"]" * 500),
            )
        ],
        (400, None, await admin.ask("POST", "/dryrun", json={"since": "yesterday"})),
        (422, "config_refused", await admin.ask("POST", "/dryrun", json={"text": "auth: ["})),
    ]
    for status, code, got in cases:
        assert (got.status_code, got.json()["error"]["code"]) == (status, code), got.text
    stranger = await world.http.put("/admin/config", json={"text": text}, headers={"if-match": '"1"'})
    assert stranger.status_code == 401
    refused = await admin.put(text.replace("127.0.0.1", "127.0.0.2"))
    assert refused.status_code == 422
    assert "base_url is changed in the file alone" in refused.json()["error"]["message"]


async def test_a_form_edits_one_value_saves_it_and_it_is_rolled_back(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"first": at(provider), "second": at(provider)})
    admin = Admin(world)
    before = await admin.text()
    route = ["policies", "routes", "chat", "among"]
    edits = {"edits": [{"op": "remove", "path": [*route, 0]}], "save": True, "note": "second alone"}
    assert (await admin.ask("POST", "/edit", json=edits)).status_code == 428
    got = await admin.ask("POST", "/edit", json=edits, headers={"if-match": f'"{admin.number}"'})
    assert got.status_code == 200, got.text
    assert (await world.chat()).deployment == "second"
    back = await admin.ask("POST", f"/revisions/{admin.number}/rollback", json={"note": "both again"})
    assert back.json()["number"] == admin.number + 2
    assert await admin.text() == before
    assert (await world.chat()).deployment == "first"
    listed = (await admin.ask("GET", "/revisions", params={"limit": 3})).json()["revisions"]
    assert [(each["origin"], each["serving"]) for each in listed] == [
        ("rollback", True), ("admin", False), ("file", False)
    ]  # fmt: skip


async def test_a_dry_run_tells_what_the_last_calls_would_have_cost(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"cheap": at(provider), "dear": at(provider, price={"input": "10.00", "output": "40.00"})})
    admin = Admin(world)
    text = await admin.text()
    for _ in range(5):
        await world.chat()
    draft = await admin.ask(
        "POST", "/edit", json={"edits": [{"op": "remove", "path": ["policies", "routes", "chat", "among", 0]}]}
    )
    since = {"since": "1h", "at_most": 1000, "text": draft.json()["text"]}
    told = (await admin.ask("POST", "/dryrun", json=since)).json()
    assert told["examined"] >= 5
    move = next(each for each in told["moves"] if (each["origin"], each["to"]) == ("cheap", "dear"))
    assert move["calls"] >= 5  # of other stories, too
    assert move["nano_usd_after"] == 10 * move["nano_usd_before"]
    assert await admin.text() == text
    file = world.house.folder / "draft.yaml"
    written = json.loads(world.house.path.read_text())
    written["policies"]["routes"][0]["among"] = ["dear"]
    file.write_text(json.dumps(written))
    replayed = await asyncio.to_thread(command, "replay", "--config", str(file), "--since", "1h")
    assert replayed.returncode == 0, replayed.stderr
    assert "from cheap to dear: $" in replayed.stdout
    assert "as it serves now" in replayed.stdout
    assert "assumed" in replayed.stdout
    few = ("--against", str(file), "--since", "1h", "--json", "--at-most", "3")
    sampled = json.loads((await asyncio.to_thread(command, "replay", "--config", str(file), *few)).stdout)
    assert (sampled["sampled"], sampled["changed"]) == (True, 0)


async def test_a_revision_that_fares_worse_is_rolled_back_by_itself(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"good": at(provider), "bad": at(provider, model="demo!500")})
    admin = Admin(world)
    text = await admin.text()
    for _ in range(25):
        assert (await world.chat()).status == 200
    since = len(world.house.log)
    edits = [{"op": "remove", "path": ["policies", "routes", "chat", "among", 0]}]
    tag = {"if-match": f'"{admin.number}"'}
    got = await admin.ask("POST", "/edit", json={"edits": edits, "save": True}, headers=tag, params={"watch": "60s"})
    assert got.status_code == 200, got.text

    async def rolled_back() -> bool:
        await world.chat()
        return bool(world.house.events("config_rolled_back", since))

    await until(rolled_back)
    assert await admin.text() == text
    newest = (await admin.ask("GET", "/revisions", params={"limit": 1})).json()["revisions"][0]
    assert (newest["author"], newest["origin"]) == ("headgate", "rollback")
    assert "calls failed" in newest["note"]
    assert (await world.chat()).status == 200
    assert (await admin.ask("GET", "")).json()["watch"]["state"] == "rolled back"


async def test_numbers_go_on_after_a_restart_and_gateways_of_one_store_converge(
    build: Callable[[], House], world: World
) -> None:
    provider = await world.simulator()
    one, two = build(), build()
    written = config_of({"only": at(provider)})
    written["store"] = {"url": f"sqlite:///{one.database}", "journal": "${JOURNAL}"}
    two.path = one.path.with_name("two.yaml")
    one.start(written, {"JOURNAL": str(one.folder / "one")})
    two.start(written, {"JOURNAL": str(one.folder / "two")})
    async with httpx.AsyncClient(verify=NO_TLS, headers=ADMIN) as http:
        shown = (await http.get(f"{one.url}/admin/config")).json()
        assert shown["number"] == 1
        put = {"text": shown["text"].replace('"only"', '"renamed"'), "note": ""}
        got = await http.put(f"{one.url}/admin/config", json=put, headers={"if-match": '"1"'})
        assert got.status_code == 200, got.text

        async def converged() -> bool:
            there = (await http.get(f"{two.url}/admin/config")).json()
            return bool(there["number"] == 2)

        await until(converged)
        await until(lambda: "renamed" in two.path.read_text())
        one.stop()
        one.start(environ={"JOURNAL": str(one.folder / "one")})
        assert (await http.get(f"{one.url}/admin/config")).json()["number"] == 2
    assert json.loads(one.path.read_text())["deployments"].keys() == {"renamed"}
    assert (one.stop(), two.stop()) == (0, 0)
