"""What pages of money say of budgets, and what an owner sees of them."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.gateway.admin.pages.conftest import Shot, config
from tests.gateway.admin.pages.month import receipts, write_month, zone_of
from tests.gateway.admin.pages.test_where_the_money_went import CALLS, COSTS, asked, drawn, shown
from tests.stories.house import House

pytest.importorskip("gateway.admin.budget_desk")  # this surface keeps budgets

OWNER = "hg-olga"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway that has had a month, with budgets and an owner; the budget of one team is passed."""
    now = time.time()
    house = House(tmp_path_factory.mktemp("budgets"))
    write_month(house.database, now, CALLS)
    zone = zone_of(now)
    spent = spent_this_month(now, zone)
    terms = {"per": "month", "zone": zone, "reject_at": None}
    budgets = [
        {"team": "research", "usd": f"{spent['research'] / 1.04:.2f}", **terms},
        {"team": "support", "usd": f"{spent['support'] / 0.63:.2f}", **terms},
        {"team": "sales", "usd": f"{spent['sales'] / 0.86:.2f}", **terms},
        {"overall": True, "usd": f"{sum(spent.values()) / 0.74:.2f}", **terms},
    ]
    key = {"name": "olga", "team": "sales", "role": "owner", "hash": hash_of(OWNER)}
    teams: dict[str, Any] = {"research": {}, "support": {}, "sales": {}}
    house.start(config(teams=teams, keys=[key], budgets=budgets))
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()


def spent_this_month(now: float, zone: str) -> dict[str, float]:
    """Returns the dollars of each team, as the made-up month has them."""
    today = datetime.fromtimestamp(now, ZoneInfo(zone))
    begins = today.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    spent: defaultdict[str, float] = defaultdict(float)
    for each in receipts(now, count=CALLS):
        if each.time >= begins:
            spent[each.team or "-"] += (each.cost_nano or 0) / 1e9
    return spent


def hash_of(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


async def test_a_budget_that_is_spent_wants_looking_at(
    admin_page: Page, house: House, shot: Shot, picture: Shot
) -> None:
    (research,) = (each for each in (await asked(house, "/admin/budgets"))["budgets"] if each["name"] == "research")
    assert research["spent_nano_usd"] > research["limit_nano_usd"]
    page = await shown(admin_page, f"/admin/ui?tz={research['zone']}")
    first = page.locator("#attention li").first
    await expect(first).to_contain_text("The budget of team research per month")
    await expect(first.locator(".badge.bad")).to_be_visible()
    await expect(page.locator("#budgets .budget").first).to_contain_text("research")
    await shot(page, "overview-with-budgets")
    await picture(page, "overview", 1280, 1000)
    await first.get_by_role("link").click()
    await page.wait_for_url("**/admin/ui/budgets")


async def test_a_budget_of_what_is_shown_draws_its_line(admin_page: Page, shot: Shot) -> None:
    page = await shown(admin_page, f"{COSTS}?since=30d&tz=UTC")
    await expect(page.locator("#pace")).to_contain_text("The whole budget is $")
    await expect(page.locator("#budgets .budget")).to_have_count(4)
    await page.goto(f"{COSTS}?since=30d&tz=UTC&team=research")
    await drawn(page)
    await expect(page.locator("#pace")).to_contain_text("The budget of research is $")
    await expect(page.locator("#budgets .budget")).to_have_count(1)
    await shot(page, "costs-against-a-budget")
    await page.get_by_role("group", name="Measure").get_by_role("button", name="Calls").click()
    await expect(page.locator("#pace")).to_be_hidden()  # it is of money


async def test_an_owner_sees_his_teams_money_and_nobody_elses(
    context: BrowserContext, house: House, shot: Shot
) -> None:
    got = await context.request.post("/admin/session", data={"key": OWNER})
    assert got.status == 200, await got.text()
    page = await shown(await context.new_page(), "/admin/ui")
    await expect(page.locator(".lead")).to_contain_text("in sales")
    await expect(page.locator("#budgets .budget")).to_have_count(1)
    await expect(page.get_by_role("figure", name="Spend by key, 30 days")).to_be_visible()
    await shot(page, "overview-of-an-owner")
    await page.goto(f"{COSTS}?since=30d&tz=UTC")
    await drawn(page)
    await expect(page.locator("#table tbody tr")).to_have_count(1)
    await expect(page.locator("#table tbody tr")).to_contain_text("sales")
    assert "research" not in await page.locator("main").inner_text()
    await page.goto("/admin/ui/receipts?since=30d&tz=UTC")
    await drawn(page)
    teams = await page.locator("#log tbody tr td:nth-child(5)").all_inner_texts()
    assert len(teams) == 50
    assert all(each.startswith("sales") for each in teams)
