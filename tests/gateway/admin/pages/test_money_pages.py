"""The pages of keys and of budgets in a real browser: a key from its making to its end, bars with their numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
from playwright.async_api import BrowserContext, Page, expect

from tests.gateway.admin.pages.conftest import Shot, config, overflows
from tests.stories.house import ADMIN_KEY, House

ADMIN = {"authorization": f"Bearer {ADMIN_KEY}"}
TEAMS = {"red": {}, "blue": {"limits": {"calls_per_minute": 600, "in_flight": 20}}}
BUDGETS: list[dict[str, Any]] = [
    {"team": "*", "usd": "0.10", "per": "month", "notify_at": [50, 80]},
    {"key": "*", "usd": "0.04", "per": "day"},
    {"overall": True, "usd": "25.00", "per": "week", "reject_at": None},
]
RATES = [{"key": "*", "calls_per_minute": 60, "tokens_per_minute": 20_000}]


def sections(**more: Any) -> Any:
    made = config(teams=TEAMS, budgets=BUDGETS, rate_limits=RATES, cache={"at": "never"}, **more)
    for deployment in made["deployments"].values():
        deployment["price"] = {"input": "0", "output": "0", "per_request": "0.01"}
    return made


async def call(house: House, key: str, text: str = "Hello") -> int:
    async with httpx.AsyncClient(base_url=house.url) as client:
        body = {"model": "chat", "messages": [{"role": "user", "content": text}]}
        return (
            await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
        ).status_code


async def make(house: House, name: str, **fields: Any) -> str:
    async with httpx.AsyncClient(base_url=house.url, headers=ADMIN) as client:
        await client.delete(f"/admin/keys/{name}")
        got = await client.post("/admin/keys", json={"name": name, **fields})
        assert got.status_code == 201, got.text
        key: str = got.json()["key"]
        return key


async def test_a_key_is_made_used_edited_rotated_and_switched_off(
    admin_page: Page, house: House, shot: Shot, tolerate: Callable[[str], None]
) -> None:
    tolerate("the server responded with a status of 4")
    await house.reload(sections(auth="keys"))
    await make(house, "page-neighbour", team="blue", user="bob@example.com", role="viewer", models=["chat"])
    page = admin_page
    await page.goto("/admin/ui/keys")
    await page.get_by_role("button", name="New key").click()
    dialog = page.locator("#edit")
    await expect(dialog.get_by_role("heading", name="New key")).to_be_visible()
    await dialog.get_by_label("Name").fill("no spaces")
    await dialog.get_by_role("button", name="Make the key").click()
    await expect(dialog.get_by_role("alert").first).to_contain_text("use letters, digits")
    await expect(dialog.get_by_label("Name")).to_have_attribute("aria-invalid", "true")
    await dialog.get_by_label("Name").fill("page-ada")
    await dialog.get_by_label("Team").select_option("red")
    await dialog.get_by_label("Tags").fill("project=crm\ncost=<b>4711</b>")
    await dialog.get_by_label("Budgets").fill("0.02 month\n1 hour")
    await dialog.get_by_label("Calls a minute").fill("30")
    await shot(page, "keys-new", full=False)
    await dialog.get_by_role("button", name="Make the key").click()
    shown = page.locator("#made-key")
    await expect(shown).to_have_text(re.compile(r"^hg-[\w-]{32}$"))
    key = await shown.inner_text()
    await shot(page, "keys-made", full=False)
    await page.get_by_role("button", name="I have it").click()
    row = page.locator("tr", has=page.get_by_text("page-ada", exact=True))
    await expect(row).to_contain_text("$0.02 a month")
    await expect(row).to_contain_text("cost=<b>4711</b>")
    assert key not in await page.content()
    assert [await call(house, key) for _ in range(3)] == [200, 200, 429]

    await row.get_by_role("button", name="Edit page-ada").click()
    await expect(dialog.get_by_label("Budgets")).to_have_value("0.02 month\n1.00 hour")
    await dialog.get_by_label("Budgets").fill("0.03 month")
    await dialog.get_by_role("button", name="Save").click()
    await expect(row).to_contain_text("$0.03 a month")
    assert [await call(house, key) for _ in range(2)] == [200, 429]

    await row.get_by_role("button", name="Rotate page-ada").click()
    await page.get_by_label("The old text stays good for").select_option("no time")
    await page.locator("#rotate").get_by_role("button", name="Rotate").click()
    await expect(shown).to_have_text(re.compile(r"^hg-"))
    newer = await shown.inner_text()
    await page.get_by_role("button", name="I have it").click()
    assert [await call(house, key), await call(house, newer)] == [401, 429]

    await row.get_by_role("button", name="Disable page-ada").click()
    await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    await expect(row).to_contain_text("disabled")
    assert await call(house, newer) == 401
    await shot(page, "keys")
    await row.get_by_role("button", name="Enable page-ada").click()
    await expect(row).to_contain_text("enabled")


async def test_an_owner_finds_his_teams_keys_and_no_way_to_more(
    context: BrowserContext, house: House, shot: Shot, tolerate: Callable[[str], None]
) -> None:
    tolerate("the server responded with a status of 4")
    await house.reload(sections(auth="keys"))
    await make(house, "page-blue", team="blue")
    await make(house, "page-red", team="red", models=["chat"])
    owner = await make(house, "page-olga", team="red", role="owner", models=["chat"])
    got = await context.request.post("/admin/session", data={"key": owner})
    assert got.status == 200
    page = await context.new_page()
    await page.goto("/admin/ui/keys")
    await expect(page.get_by_text("page-red", exact=True)).to_be_visible()
    await expect(page.get_by_text("page-blue", exact=True)).to_have_count(0)
    await page.get_by_role("button", name="Edit page-red").click()
    dialog = page.locator("#edit")
    for label in ("Team", "Role here", "Tags"):
        await expect(dialog.get_by_label(label)).to_be_disabled()
    await dialog.get_by_label("Models").fill("chat\nsmall")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert").first).to_contain_text("you may take away, not add")
    await shot(page, "keys-owner", full=False)


async def test_budgets_are_bars_with_numbers_and_have_a_history(admin_page: Page, house: House, shot: Shot) -> None:
    await house.reload(sections(auth="keys"))
    ada = await make(house, "bars-ada", team="red")
    bob = await make(house, "bars-bob", team="blue")
    for n in range(3):
        assert await call(house, ada, f"n {n}") == 200
    assert await call(house, bob) == 200
    page = admin_page
    await page.goto("/admin/ui/budgets")
    row = page.locator("#budgets tr", has=page.get_by_text("bars-ada", exact=True))
    await expect(row).to_contain_text("75%")
    await expect(row).to_contain_text("$0.04")
    assert await row.get_by_role("progressbar").get_attribute("value") == "30000000"
    await shot(page, "budgets")
    await page.get_by_role("button", name="History of team red per month").click()
    await expect(page.get_by_role("heading", name="team red per month")).to_be_visible()
    await expect(page.locator("#history-chart canvas")).to_be_visible()
    await shot(page, "budgets-history", full=False)


async def test_the_pages_fit_a_narrow_screen_and_the_dark(admin_page: Page, house: House, shot: Shot) -> None:
    await house.reload(sections(auth="keys"))
    page = admin_page
    await page.emulate_media(color_scheme="dark")
    await page.set_viewport_size({"width": 390, "height": 844})
    for name in ("keys", "budgets"):
        await page.goto(f"/admin/ui/{name}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await overflows(page) == []
        await shot(page, f"{name}-narrow")


async def test_without_keys_and_budgets_the_pages_say_what_to_do(admin_page: Page, house: House, shot: Shot) -> None:
    async with httpx.AsyncClient(base_url=house.url, headers=ADMIN) as client:
        for each in (await client.get("/admin/keys")).json()["keys"]:
            await client.delete(f"/admin/keys/{each['name']}")
    await house.reload(config())
    page = admin_page
    await page.goto("/admin/ui/keys")
    await expect(page.get_by_text("No keys")).to_be_visible()
    await page.goto("/admin/ui/budgets")
    await expect(page.get_by_text("No budgets")).to_be_visible()
    await expect(page.get_by_text("No rate limits")).to_be_visible()
    await shot(page, "budgets-empty")
