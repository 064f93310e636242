"""Whose receipts the pages of money show: an owner's team's, and nobody else's; over real books, by real keys."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gateway.accounting.receipts import row_of
from gateway.admin.app import Rooms, application
from gateway.state.sqlite import SqliteStore
from gateway.wiring.accounts import Accounts
from tests.gateway.admin.pages.month import receipts, write_month
from tests.gateway.admin.rooms import ADMIN, Levers, Place, place, row

OWNER, VIEWER = "hg-olga", "hg-vera"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    """A month's books."""
    database = tmp_path_factory.mktemp("books") / "month.db"
    write_month(database, time.time(), 600)
    store = SqliteStore(database)
    yield store
    store.close()


@pytest.fixture
def here(tmp_path: Path, books: SqliteStore) -> Iterator[Place]:
    """A surface over these books, with an owner and a viewer of `sales`."""
    with place(tmp_path) as here:
        here.rows = [row("olga", "owner", "sales"), row("vera", "viewer", "sales")]
        here.app = application(
            Rooms(keeper=here.keeper, audit=here.audit, accounts=Accounts(books), levers=Levers(), support=list)
        )
        yield here


@pytest.mark.parametrize("key", [OWNER, VIEWER])
async def test_a_receipt_of_another_team_is_not_there(here: Place, key: str) -> None:
    async with here.client(ADMIN) as client:
        listed = (await client.get("/admin/receipts?since=30d&limit=500")).json()["receipts"]
    own = next(each["id"] for each in listed if each["team"] == "sales")
    others = [next(each["id"] for each in listed if each["team"] == team) for team in ("research", "support", None)]
    async with here.client(key) as client:
        for id in others:
            page = await client.get(f"/admin/ui/receipts/{id}", headers={"accept": "text/html"})
            assert page.status_code == 404
            assert "research" not in page.text
        page = await client.get(f"/admin/ui/receipts/{own}", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert "adds up to the nano-dollar" in page.text or "Nothing was charged" in page.text
        log = (await client.get("/admin/receipts?since=30d&limit=500")).json()["receipts"]
        assert {each["team"] for each in log} == {"sales"}


@pytest.mark.parametrize("key", [OWNER, VIEWER])
async def test_pages_of_a_team_ask_for_nothing_that_is_everybodys(here: Place, key: str) -> None:
    async with here.client(key) as client:
        for path in ("/admin/ui", "/admin/ui/costs"):
            page = (await client.get(path, headers={"accept": "text/html"})).text
            assert "data-everywhere" not in page
            assert 'id="gpus"' not in page
        assert (await client.get("/admin/costs/gpus")).status_code == 403
        assert (await client.get("/admin/costs?group_by=team&since=30d")).json()["rows"][0]["group"] == "sales"
    async with here.client(ADMIN) as client:
        assert "data-everywhere" in (await client.get("/admin/ui", headers={"accept": "text/html"})).text


async def test_names_are_text_wherever_a_receipt_shows_them(here: Place, books: SqliteStore) -> None:
    strange = "<img src=x onerror=alert(1)>\"'"
    one = next(receipts(time.time(), count=1))
    one = msgspec.structs.replace(one, id="req_strange", team="sales", user=strange, tags=((strange, strange),))
    books.add_receipts([row_of(msgspec.json.encode(one))])
    async with here.client(OWNER) as client:
        page = (await client.get("/admin/ui/receipts/req_strange", headers={"accept": "text/html"})).text
    assert "<img" not in page
    assert "&lt;img src=x" in page
