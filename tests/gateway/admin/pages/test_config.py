"""The config in a browser: mistakes at their lines, diffs before they are applied, two admins, roll-back, dry runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.gateway.admin.pages.conftest import Shot, overflows
from tests.stories.house import ADMIN_KEY, House

UI = "/admin/ui/config"
TEXT = """\
# What the tests of pages look at.
auth: open

providers:
  demo:
    kind: simulator                # answers without a key
  openai:
    kind: openai
    api_key: sk-shown-to-nobody    # better: "${OPENAI_API_KEY}"
    location: us

deployments:
  small:
    provider: demo
    model: small
    price: {input: "0.25", output: "2.00"}    # $ per million tokens
  large: {provider: demo, model: large, price: {input: "2.50", output: "10.00"}}

sensitivity:
  levels: [public, internal, confidential]
  default: internal
  clearance: {self_hosted: confidential, us: internal}

policies:
  routes:
    - name: chat
      when: {model: [chat]}
      among: [small, large]
      pick: in_order               # cheapest, fastest …
    - name: default
      among: [large]
  tests:
    - given: {model: chat}
      expect: {first: small}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway whose config is written by people."""
    house = House(tmp_path_factory.mktemp("config"))
    house.path.write_text(
        TEXT + f'\nstore: {{url: "sqlite:///{house.database}", journal: "{house.folder}/journal"}}\n'
        "telemetry: {logs: json}\n"
    )
    house.start()
    ask = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}
    for _ in range(12):
        httpx.post(f"{house.url}/v1/chat/completions", json=ask, timeout=30).raise_for_status()
    yield house
    try:
        assert house.stop() == 0, house.told
    finally:
        house.kill()


async def draft(page: Page, old: str, new: str) -> None:
    """Puts other words into the editor, as typing does."""
    area = page.locator("#text")
    text = await area.input_value()
    assert old in text
    await area.fill(text.replace(old, new))


async def apply(page: Page, note: str) -> None:
    await page.get_by_role("button", name="Review and apply").click()
    await page.locator("#note").fill(note)
    await page.locator("#save").click()


def number(house: House) -> int:
    got: int = httpx.get(f"{house.url}/admin/config").json()["number"]
    return got


async def test_a_mistake_stands_at_its_line_and_cannot_be_applied(admin_page: Page, house: House, shot: Shot) -> None:
    await admin_page.goto(UI)
    await expect(admin_page.locator(".editor-code .y-comment").first).to_have_text("# What the tests of pages look at.")
    await expect(admin_page.locator(".editor-code .y-kept")).to_have_text("<kept>")
    assert "sk-shown-to-nobody" not in await admin_page.content()
    await expect(admin_page.locator("#state")).to_have_text("as it serves")
    await shot(admin_page, "config")
    await draft(admin_page, "pick: in_order", "pick: in_ordr")
    await expect(admin_page.locator("#state")).to_have_text("1 mistake")
    line = await admin_page.locator(".editor-lines .has-bad").inner_text()
    assert TEXT.splitlines()[int(line) - 1].lstrip().startswith("pick: in_order")
    await expect(admin_page.locator(".editor-note.bad")).to_contain_text("did you mean 'in_order'?")
    await expect(admin_page.get_by_role("button", name="Review and apply")).to_be_disabled()
    await shot(admin_page, "config-mistake")
    await admin_page.locator(".remark").first.click()
    assert await admin_page.evaluate("document.activeElement.id") == "text"
    assert await overflows(admin_page) == []
    await draft(admin_page, "first: small", "first: large")
    await draft(admin_page, "pick: in_ordr", "pick: in_order")
    await expect(admin_page.locator(".editor-note.bad")).to_contain_text("test failed")
    await expect(admin_page.locator("#state")).to_have_text("1 mistake")
    assert number(house) == 1
    admin_page.on("dialog", lambda dialog: dialog.accept())


async def test_a_dry_run_shows_what_calls_would_have_cost(admin_page: Page, house: House, shot: Shot) -> None:
    await admin_page.goto(UI)
    await draft(admin_page, "among: [small, large]", "among: [large, small]")
    await draft(admin_page, "first: small", "first: large")
    await admin_page.get_by_role("button", name="Dry run").click()
    await expect(admin_page.locator("#trial-lead")).to_contain_text("12 calls: 12 would have gone elsewhere")
    cost = admin_page.locator("#trial-figures .figure").first
    await expect(cost).to_contain_text("more than now")
    await expect(admin_page.locator("#trial-tables table").nth(1)).to_contain_text("small")
    await admin_page.evaluate("scrollTo(0, 0)")
    await shot(admin_page, "config-dry-run")
    await admin_page.set_viewport_size({"width": 420, "height": 860})
    assert await overflows(admin_page) == []
    await admin_page.emulate_media(color_scheme="dark")
    await admin_page.evaluate("scrollTo(0, 0)")
    await shot(admin_page, "config-narrow-dark")
    admin_page.on("dialog", lambda dialog: dialog.accept())


async def test_a_draft_is_seen_as_a_diff_applied_and_rolled_back(admin_page: Page, house: House, shot: Shot) -> None:
    before = number(house)
    await admin_page.goto(UI)
    await draft(admin_page, "pick: in_order", "pick: cheapest")
    await expect(admin_page.locator("#state")).to_have_text("can serve")
    await expect(admin_page.locator("#tests")).to_have_text("1 policy test passes")
    await admin_page.get_by_role("button", name="Review and apply").click()
    await expect(admin_page.locator("#diff .add")).to_have_text(re.compile(r"\+ +pick: cheapest"))
    await expect(admin_page.locator("#diff .gone")).to_have_text(re.compile(r"- +pick: in_order"))
    await shot(admin_page, "config-diff", full=False)
    await admin_page.locator("#note").fill("cheaper")
    await admin_page.locator("#save").click()
    await expect(admin_page.locator(".toast")).to_contain_text(f"Revision {before + 1} serves.")
    await expect(admin_page.locator(".heading .lead")).to_contain_text("by admin")
    assert "pick: cheapest               # cheapest, fastest" in house.path.read_text()
    assert "sk-shown-to-nobody" in house.path.read_text()
    await admin_page.get_by_role("link", name="Revisions").click()
    await expect(admin_page.locator("#revisions tbody tr").first).to_contain_text("cheaper")
    await shot(admin_page, "config-revisions")
    await admin_page.locator("#revisions tbody tr").nth(1).get_by_role("link").click()
    await shot(admin_page, "config-revision")
    await admin_page.get_by_role("button", name="Roll back to this").click()
    await admin_page.locator("#back #note").fill("was not")
    await admin_page.locator("#back").get_by_role("button", name="Roll back").click()
    await admin_page.wait_for_url(f"**{UI}")
    await expect(admin_page.locator(".heading .lead")).to_contain_text(f"back to revision {before}: was not")
    assert "pick: in_order " in house.path.read_text()


async def test_of_two_admins_the_slower_is_told_and_sees_both(
    admin_page: Page, house: House, shot: Shot, tolerate: Callable[[str], None]
) -> None:
    tolerate("status of 412")
    other = await admin_page.context.new_page()
    for page in (admin_page, other):
        await page.goto(UI)
    await draft(admin_page, "pick: in_order", "pick: fastest")
    await admin_page.get_by_role("button", name="Review and apply").click()
    await draft(other, "default: internal", "default: public")
    await apply(other, "others first")
    await expect(other.locator(".toast")).to_contain_text("serves")
    await admin_page.locator("#save").click()
    await expect(admin_page.locator("#conflict")).to_contain_text("Somebody was quicker: revision")
    await shot(admin_page, "config-conflict", full=False)
    await admin_page.locator("#apply").get_by_role("button", name="Cancel").click()
    await admin_page.get_by_role("button", name="Review and apply").click()
    await expect(admin_page.locator("#conflict")).to_contain_text("this would undo it")
    await expect(admin_page.locator("#save")).to_be_disabled()
    await admin_page.locator("#rebase").click()
    await expect(admin_page.locator("#conflict")).to_be_hidden()
    await expect(admin_page.locator("#diff .gone").first).to_contain_text("default: public")
    await admin_page.locator("#apply").get_by_role("button", name="Cancel").click()
    await draft(admin_page, "default: internal", "default: public")
    await apply(admin_page, "both")
    await expect(admin_page.locator(".toast")).to_contain_text("serves")
    text = house.path.read_text()
    assert "default: public" in text
    assert "pick: fastest" in text


async def test_forms_put_common_edits_into_the_draft_at_their_place(
    admin_page: Page, house: House, shot: Shot, tolerate: Callable[[str], None]
) -> None:
    tolerate("status of 400")
    await admin_page.goto(UI)
    await admin_page.get_by_role("button", name="Deployment", exact=True).click()
    form = admin_page.locator("#form-deployment")
    await form.locator("#fd-name").fill("middle")
    await form.locator("#fd-provider").fill("demo")
    await form.locator("#fd-model").fill("middle")
    await form.locator("#fd-route").fill("chat")
    await form.locator("#fd-in").fill("1")
    await form.locator("#fd-out").fill("4.5")
    await shot(admin_page, "config-form", full=False)
    await form.get_by_role("button", name="Put into the draft").click()
    await expect(form).to_be_hidden()
    await admin_page.get_by_role("button", name="Price", exact=True).click()
    form = admin_page.locator("#form-price")
    await form.locator("#fp-name").fill("small")
    await form.locator("#fp-in").fill("0.30")
    await form.locator("#fp-out").fill("2.10")
    await form.get_by_role("button", name="Put into the draft").click()
    await expect(form).to_be_hidden()
    await admin_page.get_by_role("button", name="Route step").click()
    form = admin_page.locator("#form-route")
    await form.locator("#fr-route").fill("chat")
    await form.locator("#fr-name").fill("middle")
    await form.locator("#fr-where").select_option("first")
    await form.get_by_role("button", name="Put into the draft").click()
    await expect(form).to_be_hidden()
    await admin_page.get_by_role("button", name="Key", exact=True).click()
    form = admin_page.locator("#form-key")
    await form.locator("#fk-name").fill("alice")
    await form.get_by_role("button", name="Make a key").click()
    await expect(form.locator("code")).to_have_text(re.compile(r"hg-[\w-]{32}"))
    await form.get_by_role("button", name="Put into the draft").click()
    await expect(form).to_be_hidden()
    text = await admin_page.locator("#text").input_value()
    assert '    price: {input: "0.30", output: "2.10"}    # $ per million tokens\n' in text
    assert "among: [middle, small, large]" in text
    assert re.search(r'\n  middle: \{provider: demo, model: middle, price: \{input: "1", output: "4.5"\}\}\n', text)
    assert (
        re.search(r'\nkeys:\n  - \{name: alice, hash: "sha256:[0-9a-f]{64}"\}', text) or "keys: [{name: alice" in text
    )
    await expect(admin_page.locator("#state")).to_have_text("1 mistake")  # the policy test wants `small` first
    await admin_page.get_by_role("button", name="Price", exact=True).click()
    form = admin_page.locator("#form-price")
    await form.locator("#fp-name").fill("nowhere")
    await form.locator("#fp-in").fill("1")
    await form.locator("#fp-out").fill("1")
    await form.get_by_role("button", name="Put into the draft").click()
    await expect(form.locator(".form-said")).to_have_text("there is no deployments.nowhere")
    await form.get_by_role("button", name="Cancel").click()
    admin_page.on("dialog", lambda dialog: dialog.accept())


async def test_who_may_only_look_finds_nothing_to_press(page: Page, house: House) -> None:
    await page.goto(UI)
    await expect(page.locator("#text")).to_have_attribute("readonly", "")
    assert await page.get_by_role("button", name="Review and apply").count() == 0
    got = await page.request.put("/admin/config", data=json.dumps({"text": TEXT}), headers={"if-match": '"1"'})
    assert got.status == 401 or got.status == 403
    assert ADMIN_KEY not in await page.content()
