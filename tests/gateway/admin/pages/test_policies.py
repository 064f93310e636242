"""The page of policies: the proof as it is served, and a call that was not made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.gateway.admin.pages.conftest import Shot, config, overflows
from tests.stories.house import ADMIN_KEY, House


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway whose personal data stay at home."""
    house = House(tmp_path_factory.mktemp("policies"))
    written = config()
    written["providers"]["abroad"] = {"kind": "simulator", "location": "us", "retention": "30d"}
    price = {"input": "0.10", "output": "0.40"}
    written["deployments"]["far"] = {"provider": "abroad", "model": "far", "price": price}
    written["sensitivity"] = {
        "levels": ["public", "internal", "restricted"],
        "clearance": {"self_hosted": "restricted", "us": "internal"},
        "from": [{"detector": "pii", "level": "restricted"}],
    }
    policies = written["policies"]
    policies["routes"][0] |= {"among": ["far", "small", "large"], "pick": "cheapest"}
    policies["guarantees"] = [
        {"name": "short-memory", "when": {"sensitivity": "internal"}, "require": {"retention": ["none", "zdr"]}}
    ]
    policies["tests"] = [{"given": {"model": "chat", "text": "536-90-4399"}, "expect": {"never": ["far"]}}]
    house.start(written)
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()


@pytest_asyncio.fixture(loop_scope="session")
async def policies(browser: Browser, guarded: House) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=guarded.url, viewport={"width": 1360, "height": 860})
    assert (await context.request.post("/admin/session", data={"key": ADMIN_KEY})).status == 200
    page = await context.new_page()
    await page.goto("/admin/ui/policies")
    yield page
    await context.close()


async def test_the_proof_is_a_matrix_of_places_and_levels(policies: Page, shot: Shot) -> None:
    rows = policies.locator(".matrix").first.locator("tbody tr")
    await expect(rows.filter(has_text="far").locator(".cell")).to_have_text(["yes", "yes", "never"])
    await expect(rows.filter(has_text="small").locator(".cell")).to_have_text(["yes", "yes", "yes"])
    held = policies.locator(".card", has_text="Where short-memory holds").locator("tbody tr", has_text="far")
    await expect(held.locator(".cell").nth(1)).to_have_text("never")
    await expect(policies.locator(".card", has_text="Policy tests").locator("tbody .badge")).to_have_text("passed")
    await shot(policies, "policies")
    await policies.set_viewport_size({"width": 390, "height": 844})
    assert await overflows(policies) == []


async def test_a_call_that_was_not_made_is_explained(policies: Page, shot: Shot) -> None:
    await policies.get_by_label("Model").fill("chat")
    await policies.get_by_role("button", name="Explain").click()
    await expect(policies.locator("#kept li").first).to_contain_text("far")
    await policies.get_by_label("Prompt").fill("my SSN is 536-90-4399")
    await policies.get_by_role("button", name="Explain").click()
    await expect(policies.locator("#kept li").first).to_contain_text("small")
    await expect(policies.locator("#removed")).to_contain_text("clearance: restricted > internal")
    await expect(policies.locator("#sentence")).to_contain_text("restricted because of detector pii")
    await shot(policies, "explain")
    await policies.get_by_label("Deployments that are down").select_option(["small", "large"])
    await policies.get_by_role("button", name="Explain").click()
    await expect(policies.locator("#sentence")).to_contain_text("refused")
    await expect(policies.locator("#picture")).to_be_hidden()


async def test_a_name_that_there_is_not_is_told(policies: Page) -> None:
    await policies.get_by_label("Model").fill("chat")
    await policies.get_by_label("Team").fill("nobodies")
    await policies.get_by_role("button", name="Explain").click()
    await expect(policies.locator(".toast.bad")).to_contain_text("the config has no team 'nobodies'")
