"""A gateway of its own and a real browser, for whatever tests pages.

Tests here are async and share one event loop, in which the browser lives. A page that says something on its console
that is no mere word, or breaks the CSP, fails its test: `tolerate` names what is expected to be said.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.stories.house import ADMIN_KEY, ROOT, Config, House

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = ROOT / "build" / "screenshots"
HERE = Path(__file__).parent

Shot = Callable[..., Awaitable[None]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has all tests of this folder run in the loop that the browser lives in."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def config(**sections: Any) -> Config:
    """Returns a config of a simulator at two deployments, one route, and whatever else is given."""
    written: Config = {
        "auth": "open",
        "providers": {"demo": {"kind": "simulator"}},
        "deployments": {
            name: {"provider": "demo", "model": name, "price": {"input": "1.00", "output": "4.00"}}
            for name in ("small", "large")
        },
        "policies": {
            "routes": [{"name": "chat", "when": {"model": ["chat"]}, "among": ["small", "large"], "pick": "in_order"}]
        },
    }
    return written | sections


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The gateway whose pages are looked at."""
    house = House(tmp_path_factory.mktemp("pages"))
    house.start(config())
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
def tolerated() -> list[str]:
    """Patterns of what consoles may say in this test."""
    return []


@pytest.fixture
def tolerate(tolerated: list[str]) -> Callable[[str], None]:
    """Lets consoles say what matches a pattern: a test that has a call refused expects "status of 401"."""
    return tolerated.append


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser, house: House, tolerated: list[str]) -> AsyncIterator[BrowserContext]:
    """A browser's context of this test's own, at the gateway's address."""
    context = await browser.new_context(base_url=house.url, viewport={"width": 1360, "height": 860}, locale="en-GB")
    context.set_default_timeout(20_000)
    said: list[str] = []
    context.on("console", lambda each: said.append(each.text) if each.type in ("error", "warning") else None)
    context.on("weberror", lambda each: said.append(str(each.error)))
    yield context
    await context.close()
    assert [each for each in said if not any(re.search(pattern, each) for pattern in tolerated)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext) -> Page:
    """A page of somebody who has not logged in."""
    return await context.new_page()


@pytest_asyncio.fixture(loop_scope="session")
async def admin_page(context: BrowserContext, house: House) -> Page:
    """A page of somebody who has logged in with the admin key."""
    got = await context.request.post("/admin/session", data={"key": ADMIN_KEY})
    assert got.status == 200, await got.text()
    return await context.new_page()


@pytest.fixture
def shot() -> Shot:
    """Saves a picture of a page as `build/screenshots/NAME.png`: the whole of it, once its fonts are there."""

    async def take(page: Page, name: str, *, full: bool = True) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await page.evaluate("document.fonts.ready")
        await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full, animations="disabled")

    return take


@pytest.fixture
def picture() -> Shot:
    """Saves a picture of what a screen shows of a page for the documents, where HEADGATE_SCREENSHOTS names a folder."""
    folder = os.environ.get("HEADGATE_SCREENSHOTS")

    async def take(page: Page, name: str, width: int = 1280, height: int = 860) -> None:
        if folder is None:
            return
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
        before = page.viewport_size
        await page.set_viewport_size({"width": width, "height": height})
        await page.evaluate("document.fonts.ready")
        await page.screenshot(path=ROOT / folder / f"{name}.png", animations="disabled")
        if before is not None:
            await page.set_viewport_size(before)

    return take


async def overflows(page: Page) -> list[str]:
    """Returns what sticks out of the page's width: nothing should, on any screen."""
    found: list[str] = await page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll("body *")]
                .filter((each) => each.getBoundingClientRect().right > width + 1)
                .map((each) => `${each.tagName}.${each.className}`);
        }"""
    )
    return found
