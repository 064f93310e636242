"""The live page and the playground, in a browser, over a gateway that answers."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.gateway.admin.pages.conftest import Shot, overflows
from tests.stories.house import House

MOBILE = {"width": 390, "height": 844}


def ask(house: House, count: int = 1, **body: object) -> httpx.Response:
    """Makes calls, as callers do; returns the last answer."""
    for number in range(count):
        asked = {"model": "chat", "max_tokens": 12, "messages": [{"role": "user", "content": f"number {number}"}]}
        answer = httpx.post(f"{house.url}/v1/chat/completions", json=asked | body)
        assert answer.status_code == 200, answer.text
    return answer


async def test_live_moves_and_tells_latencies_apart(admin_page: Page, house: House, shot: Shot) -> None:
    ask(house, 4, stream=True)
    await admin_page.goto("/admin/ui/live")
    row = admin_page.locator("#deployments tbody tr", has_text="small")
    await expect(row.locator("td").nth(1)).not_to_have_text("0")
    await expect(row.locator("td").nth(4)).to_have_text(re.compile(r"m?s$"))  # first token
    await expect(row.locator("td").nth(7)).to_have_text(re.compile(r"[µm]?s$"))  # per token
    before = int(await row.locator("td").nth(1).inner_text())
    ask(house, 3, stream=True)
    counted = """(least) => {
        const rows = [...document.querySelectorAll('#deployments tbody tr')];
        return Number(rows.find((each) => each.textContent.includes('small')).cells[1].textContent) >= least;
    }"""
    await admin_page.wait_for_function(counted, arg=before + 3)
    await expect(admin_page.locator("#problems")).to_be_hidden()
    await shot(admin_page, "live")
    await admin_page.set_viewport_size(MOBILE)
    assert await overflows(admin_page) == []
    await shot(admin_page, "live-narrow")


async def test_a_breaker_is_forced_open_and_closed_with_a_question_before(
    admin_page: Page, house: House, shot: Shot
) -> None:
    await admin_page.goto("/admin/ui/live")
    row = admin_page.locator("#breakers tbody tr", has_text="small#0")
    await row.get_by_role("button", name="Open the breaker").click()
    dialog = admin_page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Cancel").click()
    await expect(row.locator(".badge")).to_have_text("closed")
    await row.get_by_role("button", name="Open the breaker").click()
    await dialog.get_by_role("button", name="Open it").click()
    await expect(row.locator(".badge")).to_have_text("open")
    assert ask(house).headers["x-headgate-deployment"] == "large"
    await row.get_by_role("button", name="History").click()
    await expect(admin_page.locator("#history tbody tr")).not_to_have_count(0)
    await shot(admin_page, "breaker-history", full=False)
    await admin_page.keyboard.press("Escape")
    await row.get_by_role("button", name="Close the breaker").click()
    await dialog.get_by_role("button", name="Close it").click()
    await expect(row.locator(".badge")).to_have_text("closed")


async def test_a_player_sees_the_answer_come_and_what_it_cost(admin_page: Page, shot: Shot) -> None:
    await admin_page.goto("/admin/ui/playground")
    await admin_page.get_by_label("Model").select_option("chat")
    await admin_page.get_by_label("Message").fill("What is a headgate?")
    await admin_page.keyboard.press("Enter")
    await expect(admin_page.locator(".turn.user")).to_have_text("What is a headgate?")
    await expect(admin_page.locator(".turn.assistant")).to_contain_text("simulator")
    facts = admin_page.locator("#facts")
    for name in ("First token", "Altogether", "Tokens in", "Tokens out", "Sensitivity"):
        await expect(facts.get_by_text(name, exact=True)).to_be_visible()
    await expect(facts).to_contain_text(re.compile(r"\$0\.0\d+"))
    await expect(admin_page.locator("#sentence")).to_contain_text("sent to small")
    await admin_page.get_by_label("Message").fill("And a second turn?")
    await admin_page.get_by_role("button", name="Send").click()
    await expect(admin_page.locator(".turn.assistant")).to_have_count(2)
    await expect(admin_page.get_by_role("button", name="Send")).to_be_visible()
    await shot(admin_page, "playground")
    await admin_page.set_viewport_size(MOBILE)
    assert await overflows(admin_page) == []
    await shot(admin_page, "playground-narrow")


async def test_a_refusal_is_told_and_the_turn_can_be_asked_again(
    admin_page: Page, tolerate: Callable[[str], None]
) -> None:
    tolerate("status of 400")
    await admin_page.goto("/admin/ui/playground")
    await admin_page.get_by_label("Most tokens").fill("-1")
    await admin_page.get_by_label("Message").fill("too little")
    await admin_page.keyboard.press("Enter")
    await expect(admin_page.locator(".turn.bad")).to_contain_text("max_tokens")
    await admin_page.get_by_label("Most tokens").fill("8")
    await admin_page.get_by_label("Message").fill("enough")
    await admin_page.keyboard.press("Enter")
    await expect(admin_page.locator(".turn.assistant").last).to_contain_text("simulator")


@pytest.mark.parametrize("path", ["live", "playground"])
async def test_pages_are_sound_in_the_dark(path: str, admin_page: Page, shot: Shot) -> None:
    await admin_page.emulate_media(color_scheme="dark")
    await admin_page.goto(f"/admin/ui/{path}")
    await expect(admin_page.get_by_role("heading", level=1)).to_be_visible()
    await expect(admin_page.locator("#breakers .badge, #model option").first).to_be_attached()
    await shot(admin_page, f"{path}-dark")
