"""The page of pools, over two replicas of the simulator's vLLM that were found."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from gateway.simulator import Simulator
from tests.gateway.admin.pages.conftest import Shot, config, overflows
from tests.stories.house import ADMIN_KEY, House


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pooled(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A gateway with two replicas."""
    replicas = [Simulator(wire="vllm", models=("tiny",)) for _ in range(2)]
    for replica in replicas:
        await replica.listen()
    written = config()
    places = [f"http://{each.host}:{each.port}" for each in replicas]
    written["providers"]["gpus"] = {"kind": "vllm", "endpoints": places, "routing": "prefix"}
    written["deployments"]["tiny"] = {"provider": "gpus", "model": "tiny", "price": {"input": "0.10", "output": "0.40"}}
    house = House(tmp_path_factory.mktemp("pooled"))
    house.start(written)
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()
        for replica in replicas:
            await replica.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pool_page(browser: Browser, pooled: House) -> AsyncIterator[Page]:
    context = await browser.new_context(base_url=pooled.url, viewport={"width": 1360, "height": 860})
    assert (await context.request.post("/admin/session", data={"key": ADMIN_KEY})).status == 200
    page = await context.new_page()
    await page.goto("/admin/ui/pool")
    yield page
    await context.close()


async def test_replicas_are_shown_as_they_stand(pool_page: Page, pooled: House, shot: Shot) -> None:
    async with httpx.AsyncClient() as client:
        asked = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}]}
        answer = await client.post(f"{pooled.url}/v1/chat/completions", json=asked)
    assert answer.status_code == 200, answer.text
    card = pool_page.get_by_role("region", name="gpus")
    await expect(card).to_contain_text("2 of 2")
    await expect(card.locator("tbody tr")).to_have_count(2)
    await expect(card.locator("tbody .badge").first).to_have_text("ready")
    await expect(card.locator("tbody tr").first.locator("td").nth(5)).to_contain_text("%")
    await expect(card.get_by_role("button", name="Drain")).to_have_count(0)  # it is not ours to end
    await shot(pool_page, "pool")
    await pool_page.set_viewport_size({"width": 390, "height": 844})
    assert await overflows(pool_page) == []


async def test_without_a_pool_it_says_how_to_have_one(admin_page: Page) -> None:
    await admin_page.goto("/admin/ui/pool")
    await expect(admin_page.get_by_text("There is no pool")).to_be_visible()
