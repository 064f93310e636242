"""The pages of money over a made-up month in a real browser: what a manager opens, and what he follows from there."""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.gateway.admin.pages.conftest import Shot, config, overflows
from tests.gateway.admin.pages.month import DEAREST_TEAM, write_month, zone_of
from tests.patience import until
from tests.stories.house import ADMIN_KEY, House, body_of

COSTS, RECEIPTS = "/admin/ui/costs", "/admin/ui/receipts"
MONTH = "since=30d&tz=Europe/Berlin"
BEARER = {"authorization": f"Bearer {ADMIN_KEY}"}
CALLS = 20_000 if "HEADGATE_SCREENSHOTS" in os.environ else 2400  # pictures are to look like a company
REFUSED = "the server responded with a status of 4"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway that has had a month."""
    yield from kept(tmp_path_factory.mktemp("month"), CALLS)


def kept(folder: Any, receipts: int) -> Iterator[House]:
    """Keeps a gateway with so many receipts, and a pool that they say they were answered by, until nobody needs it."""
    house = House(folder)
    write_month(house.database, time.time(), receipts)
    written = config()
    speed = {"input": 16000, "output": 7000, "at_once": 400}
    pool = {"kind": "vllm", "endpoints": ["http://127.0.0.1:9"], "gpu_hour_usd": "0.02", "throughput": speed}
    written["providers"]["lab"] = pool
    written["deployments"]["qwen"] = {"provider": "lab", "model": "qwen3-32b"}
    house.start(written)
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()


async def asked(house: House, path: str) -> Any:
    """Returns what the API tells."""
    async with httpx.AsyncClient(base_url=house.url, headers=BEARER) as client:
        got = await client.get(path)
        assert got.status_code == 200, got.text
        return got.json()


async def shown(page: Page, path: str) -> Page:
    """Opens a page, and waits until it is drawn."""
    await page.goto(path)
    await drawn(page)
    return page


async def drawn(page: Page) -> None:
    """Waits until nothing is asked of the API any more."""
    await expect(page.locator(".skeleton")).to_have_count(0)
    await expect(page.locator("body[aria-busy]")).to_have_count(0)
    await expect(page.locator("#said:visible")).to_have_count(0)


def first_row(page: Page) -> Locator:
    return page.locator("#table tbody tr").first


# -- from the sum to the call -------------------------------------------------------------------------------------


async def test_the_dearest_team_is_followed_to_a_receipt_and_its_decision(admin_page: Page, house: House) -> None:
    page = await shown(admin_page, "/admin/ui")
    await page.get_by_role("link", name="Costs", exact=True).first.click()
    await page.wait_for_url("**/admin/ui/costs**")
    await drawn(page)
    await expect(first_row(page).locator("td").first).to_have_text(DEAREST_TEAM)
    await first_row(page).get_by_role("button", name=DEAREST_TEAM).click()  # closer: only it, by what comes next
    await drawn(page)
    await expect(page.get_by_label("Stacked by")).to_have_value("key")
    await expect(page.locator(".chip")).to_have_text(re.compile(f"team\\s*{DEAREST_TEAM}"))
    number = first_row(page).locator("td").nth(1).get_by_role("link")
    assert (await number.get_attribute("title") or "").startswith("$")
    await number.click()
    await page.wait_for_url("**/admin/ui/receipts?**")
    await drawn(page)
    teams = await page.locator("#log tbody tr td:nth-child(5)").all_inner_texts()
    assert len(teams) == 50
    assert all(each.startswith(DEAREST_TEAM) for each in teams)
    link = page.locator("#log .moment").first
    id = urlsplit(await link.get_attribute("href") or "").path.rpartition("/")[2]
    await link.click()
    await page.wait_for_url(f"**/{id}")
    told = await asked(house, f"/admin/receipts/{id}")
    await expect(page.locator(".verdict")).to_have_text(f"{told['sentence']}.")
    for deployment in told["decision"]["candidates"]:
        await expect(page.locator(".node", has_text=deployment).first).to_be_visible()
    await expect(page.get_by_text("adds up to the nano-dollar")).to_be_visible()
    await expect(page.locator("#cost-lines tfoot td").last).to_have_text(told["cost"]["usd"])
    await page.get_by_role("link", name=DEAREST_TEAM).click()  # and back to all calls of that team
    await page.wait_for_url(f"**/admin/ui/receipts?since=30d&team={DEAREST_TEAM}**")


async def test_every_number_of_the_table_leads_to_just_its_receipts(admin_page: Page, house: House) -> None:
    page = await shown(admin_page, f"{COSTS}?{MONTH}&by=deployment")
    rows = page.locator("#table tbody tr")
    for index in range(await rows.count()):
        errors = rows.nth(index).locator("td").nth(4)
        if await errors.get_by_role("link").count() == 0:
            continue
        query = urlsplit(await errors.get_by_role("link").get_attribute("href") or "").query
        found = await asked(house, f"/admin/receipts?{query}&limit=500")
        assert len(found["receipts"]) == int(await errors.inner_text())
        assert all(each["status"] >= 400 for each in found["receipts"])
        break
    else:
        pytest.fail("nothing failed in this month")


async def test_the_sums_of_the_page_are_the_apis(admin_page: Page, house: House) -> None:
    since = "since=60d&tz=UTC"
    told = await asked(house, f"/admin/costs/summary?{since}")
    page = await shown(admin_page, f"{COSTS}?{since}")
    spend = page.locator(".figure", has_text="Spend").locator(".value a")
    await expect(spend).to_have_attribute("title", f"${told['total']['usd']}")
    await expect(page.locator("#table tfoot td").nth(1).get_by_role("link")).to_have_attribute(
        "title", f"${told['total']['usd']}"
    )
    unpriced = page.locator(".figure", has_text="Unpriced").locator(".value")
    assert told["total"]["unpriced"] > 0
    await expect(unpriced).to_have_text(str(told["total"]["unpriced"]))


async def test_own_gpus_tell_what_they_are_worth(admin_page: Page, house: House, shot: Shot) -> None:
    (pool,) = (await asked(house, f"/admin/costs/gpus?{MONTH}"))["pools"]
    assert pool["break_even_tokens_per_hour"] > 0
    page = await shown(admin_page, f"{COSTS}?{MONTH}")
    card = page.get_by_role("region", name="Own GPUs")
    await expect(card.get_by_role("heading", name="lab")).to_be_visible()
    await expect(card.locator(".figure", has_text="Idle money")).to_contain_text("1 GPU at $0.02/h")
    await expect(card.locator(".figure", has_text="Spilled over").locator(".value")).to_have_text(str(pool["spilled"]))
    await expect(card.locator(".even rect.mark")).to_have_count(1)
    await shot(page, "costs-with-gpus")
    await page.goto(f"{COSTS}?{MONTH}&team=support")  # what a pool costs is nobody's alone
    await drawn(page)
    await expect(card).to_be_hidden()


# -- the state is in the address ----------------------------------------------------------------------------------


async def test_the_state_is_in_the_address_and_back_leads_back(admin_page: Page) -> None:
    page = await shown(admin_page, f"{COSTS}?{MONTH}")
    await page.get_by_role("button", name="7 d", exact=True).click()
    await page.get_by_label("Stacked by").select_option("model")
    await page.get_by_role("group", name="Measure").get_by_role("button", name="Tokens").click()
    await page.get_by_label("Time zone").select_option("UTC")
    await drawn(page)
    state = parse_qs(urlsplit(page.url).query)
    assert state == {"since": ["7d"], "tz": ["UTC"], "by": ["model"], "measure": ["tokens"]}
    await page.reload()
    await drawn(page)
    await expect(page.get_by_role("button", name="7 d", exact=True)).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("heading", name="Tokens over time")).to_be_visible()
    await expect(page.locator("[data-words]")).to_have_text("The last 7 days, UTC")
    for _ in range(3):
        await page.go_back()
    await drawn(page)
    await expect(page.get_by_label("Stacked by")).to_have_value("team")
    await expect(page.get_by_role("button", name="7 d", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_filters_are_chips_that_go_and_come(admin_page: Page) -> None:
    page = await shown(admin_page, f"{COSTS}?{MONTH}")
    await page.get_by_role("button", name="Filter", exact=True).click()
    dialog = page.get_by_role("dialog", name="Only calls of")
    await dialog.get_by_label("What").focus()
    await expect(dialog.locator("option[value='tag:project']")).to_have_count(1)
    await dialog.get_by_label("What").select_option("tag:project")
    await expect(dialog.locator("datalist option[value='evals']")).to_have_count(1)
    await dialog.get_by_label("Which").fill("evals")
    await dialog.get_by_label("Which").press("Enter")
    await drawn(page)
    assert parse_qs(urlsplit(page.url).query)["tag:project"] == ["evals"]
    await expect(page.locator("#table tbody tr")).to_have_count(1)
    await page.get_by_role("button", name="Remove the filter tag:project evals").click()
    await drawn(page)
    await expect(page.locator(".chip")).to_have_count(0)
    await expect(page.locator("#table tbody tr")).to_have_count(5)


async def test_days_of_ones_own_are_asked_for_whole(admin_page: Page, house: House) -> None:
    page = await shown(admin_page, f"{COSTS}?tz=UTC")
    await page.get_by_role("button", name="Custom").click()
    day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 5 * 86400))
    after = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 4 * 86400))
    await page.get_by_label("From").fill(day)
    await page.get_by_label("To, that day included").fill(day)
    await page.get_by_role("button", name="Show").click()
    await drawn(page)
    assert parse_qs(urlsplit(page.url).query) == {"tz": ["UTC"], "since": [day], "until": [after]}
    told = await asked(house, f"/admin/costs/summary?since={day}&until={after}")
    spend = page.locator(".figure", has_text="Spend").locator(".value a")
    await expect(spend).to_have_attribute("title", f"${told['total']['usd']}")


async def test_a_wrong_address_says_what_is_wrong_with_it(admin_page: Page, tolerate: Callable[[str], None]) -> None:
    tolerate(REFUSED)
    await admin_page.goto(f"{COSTS}?since=yesterday&tz=UTC")
    await expect(admin_page.get_by_role("alert").first).to_contain_text("'yesterday' is no time")
    await admin_page.get_by_role("link", name="Begin anew").click()
    await drawn(admin_page)


async def test_a_link_survives_the_log_in(page: Page, house: House, tolerate: Callable[[str], None]) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        headers = {"accept": "text/html", "authorization": "Bearer hg-wrong"}
        got = await client.get(f"{COSTS}?since=7d&team=sales", headers=headers)
        assert got.headers["location"] == "/admin/login?next=/admin/ui/costs%3Fsince%3D7d%26team%3Dsales"
    tolerate(REFUSED)
    await page.goto(got.headers["location"])
    await page.get_by_label("Key").fill(ADMIN_KEY)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("**/admin/ui/costs?since=7d&team=sales**")


# -- what is taken along ------------------------------------------------------------------------------------------


async def test_sums_are_saved_as_csv_and_charts_as_pictures(admin_page: Page, house: House) -> None:
    page = await shown(admin_page, f"{COSTS}?{MONTH}&by=model")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="CSV").click()
    text = (await (await download.value).path()).read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    told = await asked(house, f"/admin/costs?{MONTH}")
    assert {row["model"] for row in rows} == {"chat", "smart", "code"}
    nano = sum(round(float(row["usd"]) * 1e9) for row in rows)
    assert abs(nano - told["total"]["nano_usd"]) <= len(rows)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="PNG").click()
    assert (await (await download.value).path()).read_bytes().startswith(b"\x89PNG")


async def test_a_bar_leads_to_the_receipts_of_its_day(admin_page: Page) -> None:
    page = await shown(admin_page, f"{COSTS}?{MONTH}")
    over = page.locator("#chart .u-over")
    box = await over.bounding_box()
    assert box is not None
    await over.click(position={"x": box["width"] / 2, "y": box["height"] - 8})
    await page.wait_for_url("**/admin/ui/receipts?since=**")
    query = parse_qs(urlsplit(page.url).query)
    assert query["since"] < query["until"]
    await drawn(page)
    assert await page.locator("#log .moment").count() > 0


# -- the overview -------------------------------------------------------------------------------------------------


async def test_the_overview_tells_the_month_and_what_wants_looking_at(admin_page: Page, shot: Shot) -> None:
    page = await shown(admin_page, f"/admin/ui?tz={zone_of(time.time())}")
    await expect(page.get_by_role("figure", name="Spend by team, 30 days")).to_be_visible()
    await expect(page.get_by_role("figure", name="Calls, 24 hours").locator(".uplot")).to_be_visible()
    await shot(page, "overview")
    unpriced = page.get_by_role("link", name="calls of unknown price this month")
    await expect(unpriced).to_be_visible()
    await unpriced.click()
    await page.wait_for_url("**unpriced=true**")
    await drawn(page)
    flags = await page.locator("#log tbody td:nth-child(7)").all_inner_texts()
    assert flags
    assert all("unpriced" in each for each in flags)


async def test_the_overview_is_small(context: BrowserContext, admin_page: Page) -> None:
    client = await context.new_cdp_session(admin_page)
    await client.send("Network.enable")
    sizes: list[int] = []
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await admin_page.goto("/admin/ui", wait_until="networkidle")
    await drawn(admin_page)
    await until(lambda: len(sizes) >= 15)
    assert sum(sizes) < 100_000


# -- the log and one receipt --------------------------------------------------------------------------------------


async def test_the_log_is_paged_without_a_gap_and_walked_by_keys(admin_page: Page, house: House) -> None:
    page = await shown(admin_page, f"{RECEIPTS}?{MONTH}&user=ana")
    told = await asked(house, f"/admin/receipts?{MONTH}&user=ana&limit=500")
    seen: list[str] = []
    while True:
        hrefs = await page.locator("#log .moment").evaluate_all("links => links.map(each => each.pathname)")
        seen += [each.rpartition("/")[2] for each in hrefs]
        if not await page.get_by_role("button", name="Older").is_visible():
            break
        await page.get_by_role("button", name="Older").click()
        await expect(page.locator(f"#log .moment[href='{hrefs[0]}']")).to_have_count(0)
        await drawn(page)
    assert seen == [each["id"] for each in told["receipts"]]
    assert len(seen) > 50
    await page.get_by_role("button", name="Newest").click()
    await drawn(page)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("j")
    await expect(page.locator("#log .moment").nth(1)).to_be_focused()
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/{seen[1]}")


async def test_the_log_is_narrowed_by_outcome_mark_and_size(admin_page: Page, picture: Shot, shot: Shot) -> None:
    page = await shown(admin_page, f"{RECEIPTS}?{MONTH}")
    await shot(page, "receipts")
    await picture(page, "receipts", 1280, 740)
    await page.get_by_label("Mark").select_option("cached")
    await expect(page.locator("#log tbody tr").first).to_contain_text("cached")
    await page.get_by_label("Mark").select_option("")
    await page.get_by_label("Cost at least").fill("$0.05")
    await page.get_by_label("Cost at least").press("Enter")
    await drawn(page)
    assert parse_qs(urlsplit(page.url).query)["min_usd"] == ["0.05"]
    dollars = await page.locator("#log tbody td:nth-child(7)").evaluate_all(
        "all => all.map(each => each.dataset.value)"
    )
    assert dollars
    assert all(float(each) >= 0.05 for each in dollars)
    await page.get_by_label("Cost at least").fill("1000000")
    await page.get_by_label("Cost at least").press("Enter")
    await expect(page.get_by_text("No call matches")).to_be_visible()


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ("status=error&reason=timeout", ["504: timeout", "nobody"]),
        ("cached=true", ["answered from the cache", "When the answer was made"]),
        ("unpriced=true", ["no sum holds this call", "The price is unknown"]),
        ("estimated=true", ["tokens are our own count", "estimated"]),
        ("sensitivity=restricted&status=ok", ["clearance: restricted > internal", "detector pii: us_ssn"]),
    ],
)
async def test_a_receipt_says_what_was_the_matter(
    which: str, says: list[str], admin_page: Page, house: House, shot: Shot
) -> None:
    found = await asked(house, f"/admin/receipts?{MONTH}&{which}&limit=1")
    await admin_page.goto(f"{RECEIPTS}/{found['receipts'][0]['id']}")
    for text in says:
        await expect(admin_page.get_by_text(text).first).to_be_visible()
    await shot(admin_page, f"receipt-{which.partition('=')[0]}")


async def test_a_receipt_draws_what_failed_before_on_one_line_of_time(
    admin_page: Page, house: House, picture: Shot
) -> None:
    found = await asked(house, f"/admin/receipts?{MONTH}&model=chat&deployment=gpt-mini&team=support&limit=1")
    id = found["receipts"][0]["id"]
    told = await asked(house, f"/admin/receipts/{id}")
    failed, answered = told["receipt"]["attempts"]
    await admin_page.goto(f"{RECEIPTS}/{id}")
    tries = admin_page.locator(".try")
    await expect(tries).to_have_count(3)
    await expect(tries.nth(1)).to_contain_text(failed["endpoint"])
    await expect(tries.nth(1)).to_contain_text("overloaded (503)")
    lost = await tries.nth(1).locator("rect.failed").bounding_box()
    wait = await tries.nth(2).locator("rect.wait").bounding_box()
    answer = await tries.nth(2).locator("rect.answer").bounding_box()
    whole = await tries.nth(2).locator("svg").bounding_box()
    assert lost
    assert wait
    assert answer
    assert whole
    assert lost["x"] + lost["width"] == pytest.approx(wait["x"], abs=2)
    assert wait["x"] + wait["width"] == pytest.approx(answer["x"], abs=2)
    share = answered["ttft_us"] / told["receipt"]["e2e_us"]
    assert wait["width"] / whole["width"] == pytest.approx(share, abs=0.01)
    await picture(admin_page, "receipt", 1280, 1000)


async def test_a_receipt_that_is_not_there_says_so_as_a_page(admin_page: Page, tolerate: Callable[[str], None]) -> None:
    tolerate(REFUSED)
    await admin_page.goto(f"{RECEIPTS}/req_none")
    await expect(admin_page.get_by_role("heading", level=1)).to_have_text("Not found")


# -- every screen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/admin/ui", f"{COSTS}?{MONTH}", f"{RECEIPTS}?{MONTH}&status=error", "receipt"])
async def test_a_narrow_screen_shows_all_of_it(path: str, admin_page: Page, house: House, shot: Shot) -> None:
    if path == "receipt":
        found = await asked(house, f"/admin/receipts?{MONTH}&model=chat&team=support&limit=1")
        path = f"{RECEIPTS}/{found['receipts'][0]['id']}"
    await admin_page.set_viewport_size({"width": 390, "height": 844})
    await shown(admin_page, path)
    assert await overflows(admin_page) == []
    await shot(admin_page, f"narrow-{path.partition('?')[0].rpartition('/')[2]}")


async def test_the_costs_are_dark_where_the_system_is_and_print(admin_page: Page, picture: Shot, shot: Shot) -> None:
    await admin_page.emulate_media(color_scheme="dark")
    page = await shown(admin_page, f"{COSTS}?{MONTH}")
    await shot(page, "costs-dark")
    await picture(page, "costs-dark")
    await page.emulate_media(color_scheme="light")
    await shot(page, "costs")
    await picture(page, "costs")
    await page.emulate_media(media="print")
    await expect(page.locator(".asked")).to_be_hidden()
    await expect(page.locator("[data-words]")).to_contain_text("The last 30 days")


async def test_an_empty_house_says_how_to_begin_and_tells_of_its_first_call(
    context: BrowserContext, tmp_path_factory: pytest.TempPathFactory, shot: Shot
) -> None:
    for house in kept(tmp_path_factory.mktemp("house"), 0):
        got = await context.request.post(f"{house.url}/admin/session", data={"key": ADMIN_KEY})
        assert got.status == 200
        page = await shown(await context.new_page(), f"{house.url}/admin/ui")
        await expect(page.get_by_role("heading", name="No call yet")).to_be_visible()
        await expect(page.locator("#first-call")).to_contain_text(f"curl {house.url}/v1/chat/completions")
        await shot(page, "overview-of-none")
        await shown(page, f"{house.url}{COSTS}")
        await expect(page.get_by_text("No calls in this time")).to_be_visible()
        await shot(page, "costs-of-none")
        await shown(page, f"{house.url}{RECEIPTS}")
        await expect(page.get_by_text("No calls in this time")).to_be_visible()
        async with httpx.AsyncClient(base_url=house.url) as client:
            made = await client.post("/v1/chat/completions", json=body_of())
            assert made.status_code == 200
        await page.get_by_role("button", name="Refresh").click()
        await expect(page.locator("#log .moment")).to_have_count(1)
        await page.locator("#log tbody tr").click()
        await page.wait_for_url(f"**/{made.headers['x-request-id']}")
        await expect(page.get_by_text("adds up to the nano-dollar")).to_be_visible()
        await shot(page, "receipt-of-a-call")
        await shown(page, f"{house.url}{COSTS}?since=24h")
        await expect(page.locator("#table tbody tr")).to_have_count(1)
        await shot(page, "costs-of-one")
        await shown(page, f"{house.url}/admin/ui")
        await expect(page.get_by_role("heading", name="No call yet")).to_be_hidden()
        await shot(page, "overview-of-one")
