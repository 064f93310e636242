"""The audit log and the support matrix, in a browser."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.gateway.admin.pages.conftest import Shot, overflows


async def test_a_change_is_on_record_with_before_and_after(admin_page: Page, shot: Shot) -> None:
    for state in ("open", "closed"):
        await admin_page.goto("/admin/ui/live")
        done = await admin_page.evaluate(
            "(state) => headgate.api('POST', `/admin/breakers/large%230?state=${state}`)", state
        )
        assert done["state"] == state
    await admin_page.goto("/admin/ui/audit?object=breakers/large%230")
    rows = admin_page.locator("#changes tbody tr")
    await expect(rows.first).to_contain_text("breaker.closed")
    await expect(rows.first).to_contain_text("state: open → closed")
    await expect(rows.first).to_contain_text("admin")
    await shot(admin_page, "audit")
    await admin_page.get_by_label("Who").fill("nobody")
    await admin_page.get_by_role("button", name="Filter").click()
    await expect(rows).to_have_text("No change is on record.")
    assert "who=nobody" in admin_page.url
    await admin_page.set_viewport_size({"width": 390, "height": 844})
    assert await overflows(admin_page) == []


async def test_the_kinds_of_this_config_come_first(admin_page: Page, shot: Shot) -> None:
    await admin_page.goto("/admin/ui/providers")
    first = admin_page.locator("#dialects tbody tr").first
    await expect(first).to_contain_text("simulator")
    await expect(first.locator(".badge").first).to_have_text("relayed")
    await expect(admin_page.get_by_role("heading", name="simulator")).to_be_visible()
    await shot(admin_page, "providers")
    await admin_page.set_viewport_size({"width": 390, "height": 844})
    assert await overflows(admin_page) == []
