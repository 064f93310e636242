"""Whose the config is: admins change it, who views every team may look, nobody else sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.admin.app import Rooms, application
from tests.gateway.admin.rooms import ADMIN, Books, Levers, place, row

READS = ["/admin/config", "/admin/config/revisions", "/admin/config/revisions/1"]
PAGES = ["/admin/ui/config", "/admin/ui/config/revisions", "/admin/ui/config/revisions/1"]
CHANGES = [
    ("PUT", "/admin/config", {"text": "auth: open"}),
    ("POST", "/admin/config/validate", {"text": "auth: open"}),
    ("POST", "/admin/config/edit", {"edits": [{"op": "remove", "path": ["auth"]}]}),
    ("POST", "/admin/config/dryrun", {}),
    ("POST", "/admin/config/revisions/1/rollback", {}),
]


class Desk:
    """Tells what it was asked to do, and says as little as its pages can show."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def current(self) -> Mapping[str, Any]:
        shown = {"number": 1, "text": "</textarea><script>bad()</script>", "revision": None, "refused": []}
        return {**shown, "warnings": [], "not_written": None, "watch": None, "editable": []}

    def revisions(self, before: int | None, at_most: int) -> Sequence[Mapping[str, Any]]:
        told = {"number": 1, "made_at": 0.0, "author": "<b>ada</b>", "origin": "admin", "note": "<img src=x>"}
        return [{**told, "hash": "", "serving": False}]

    def revision(self, number: int) -> Mapping[str, Any]:
        return {**self.revisions(None, 1)[0], "text": "<script>", "diff": "--- a\n+++ b\n@@ 1 @@\n+<script>"}

    def validate(self, text: str) -> Any:
        return self._did("validate", {})

    def edit(self, edits: Sequence[Any], text: str | None = None) -> str:
        edited: str = self._did("edit", "text")
        return edited

    def dry_run(self, text: str | None, since: str, until: str | None, at_most: int) -> Any:
        return self._did("dry_run", {})

    async def save(self, text: str, after: int, author: str, note: str, watch_s: float | None = None) -> Any:
        return self._did("save", None)

    async def roll_back(
        self, number: int, after: int | None, author: str, note: str = "", watch_s: float | None = None
    ) -> Any:
        return self._did("roll_back", None)

    def _did(self, what: str, answer: Any) -> Any:
        self.done.append(what)
        return answer


@pytest.fixture
async def surface(tmp_path: Path) -> AsyncIterator[tuple[Desk, Any]]:
    """A surface with a desk, and a way to be somebody at it."""
    with place(tmp_path) as here:
        here.rows += [row("root", "admin"), row("eye", "viewer"), row("sales-eye", "viewer", "sales")]
        here.rows += [row("owner", "owner", "sales"), row("caller")]
        desk = Desk()
        app = application(
            Rooms(keeper=here.keeper, audit=here.audit, accounts=Books(), levers=Levers(), support=list, configs=desk)
        )

        addresses = count(1)

        def client(key: str | None) -> httpx.AsyncClient:
            headers = {"authorization": f"Bearer {key}", "if-match": '"1"'} if key else {"if-match": '"1"'}
            transport = httpx.ASGITransport(app, client=(f"192.0.2.{next(addresses)}", 1))  # wrong keys are counted
            return httpx.AsyncClient(transport=transport, base_url="http://gate.example", headers=headers)

        yield desk, client


@pytest.mark.parametrize(
    ("key", "status"),
    [("hg-owner", 403), ("hg-sales-eye", 403), ("hg-caller", 401), ("hg-nobody", 401), (None, 401)],
)
async def test_others_neither_see_nor_change_it(surface: tuple[Desk, Any], key: str | None, status: int) -> None:
    desk, client = surface
    for method, path, body in [*(("GET", path, None) for path in READS), *CHANGES]:
        async with client(key) as http:
            assert (await http.request(method, path, json=body)).status_code == status, path
    for path in PAGES:
        async with client(key) as http:
            got = await http.get(path, headers={"accept": "application/json"})
            assert got.status_code in (status, 303, 307), path
            assert "textarea" not in got.text
    assert desk.done == []


async def test_who_views_everything_looks_and_changes_nothing(surface: tuple[Desk, Any]) -> None:
    desk, client = surface
    async with client("hg-eye") as http:
        for path in (*READS, *PAGES):
            assert (await http.get(path)).status_code == 200, path
        page = (await http.get(PAGES[0])).text
        assert 'id="review"' not in page
        for method, path, body in CHANGES:
            assert (await http.request(method, path, json=body)).status_code == 403, path
    assert desk.done == []


@pytest.mark.parametrize("key", ["hg-root", ADMIN])
async def test_admins_do_and_what_people_wrote_is_never_html(surface: tuple[Desk, Any], key: str) -> None:
    desk, client = surface
    async with client(key) as http:
        for path in PAGES:
            text = (await http.get(path)).text
            assert not [bad for bad in ("<script>bad", "<b>ada", "<img src=x", "<script></pre>") if bad in text]
        for _, path, body in CHANGES[1:4]:
            assert (await http.post(path, json=body)).status_code == 200, path
    assert desk.done == ["validate", "edit", "dry_run"]
