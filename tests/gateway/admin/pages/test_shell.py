"""The shell of the pages in a real browser: logging in and out, what a browser may send, how it looks."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, expect

from gateway.admin.pages.assets import Assets
from tests.gateway.admin.pages.conftest import Shot, config, overflows
from tests.patience import until
from tests.stories.house import ADMIN_KEY, House

SCRIPTS = [
    ("link", "href", "/admin/static/uplot/uPlot.min.css"),
    ("script", "src", "/admin/static/uplot/uPlot.iife.min.js"),
    ("script", "src", "/admin/static/charts.js"),
]
DRAW = """async ([kind, scripts]) => {
    for (const [tag, name, value] of scripts) {
        const made = Object.assign(document.createElement(tag), {[name]: value, rel: "stylesheet"});
        await new Promise((done) => { made.onload = done; document.head.append(made); });
    }
    document.querySelector("main").innerHTML =
        '<h1>Spend</h1><section class="card"><div class="card-head"><h2>Spend by team</h2></div>' +
        '<div class="chart" data-height="280"></div></section>';
    const x = Array.from({length: 30}, (_, day) => 1764201600 + day * 86400);
    const wave = (size, shift) => x.map((_, day) => size * (1.4 + Math.sin(day / 4 + shift)));
    const series = ["research", "support", "sales", "untagged"].map(
        (label, at) => ({label, values: wave(120 / (at + 1), at)}));
    headgate.chart(document.querySelector(".chart"), {title: "Spend by team", kind, unit: "usd", x, series});
}"""
REFUSED = "the server responded with a status of 4"


async def log_in(page: Page, key: str) -> None:
    await page.get_by_label("Key").fill(key)
    await page.get_by_role("button", name="Log in").click()


async def test_whoever_has_the_key_gets_in_and_out(page: Page, shot: Shot, tolerate: Callable[[str], None]) -> None:
    tolerate(REFUSED)
    await page.goto("/admin/login?next=/admin/ui")
    await expect(page.get_by_label("Key")).to_be_focused()
    await shot(page, "login")
    await log_in(page, "hg-wrong")
    await expect(page.get_by_role("alert").first).to_have_text("this key opens nothing here")
    await expect(page.get_by_label("Key")).to_have_attribute("aria-invalid", "true")
    await shot(page, "login-refused")
    await log_in(page, ADMIN_KEY)
    await page.wait_for_url("**/admin/ui")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await shot(page, "home")
    await page.get_by_role("button", name="Log out").click()
    await page.wait_for_url("**/admin/login")
    await page.goto("/admin/ui")
    await expect(page.get_by_text("Reading only")).to_be_visible()  # on a loopback listener


async def test_a_sessions_cookie_is_for_the_server_alone(admin_page: Page, context: BrowserContext) -> None:
    await admin_page.goto("/admin/ui")
    (cookie,) = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/admin")
    assert len(cookie["value"]) >= 43  # 256 bits
    assert await admin_page.evaluate("document.cookie") == ""


async def test_a_change_by_a_session_takes_its_token(
    admin_page: Page, house: House, tolerate: Callable[[str], None]
) -> None:
    tolerate(REFUSED)
    await admin_page.goto("/admin/ui")
    lever = "/admin/breakers/small%230?state=closed"
    assert await admin_page.evaluate("path => headgate.api('POST', path).then(told => told.state)", lever) == "closed"
    forged = "path => fetch(path, {method: 'POST'}).then(got => got.status)"
    assert await admin_page.evaluate(forged, lever) == 403
    wrong = "path => fetch(path, {method: 'POST', headers: {'x-csrf-token': 'a'.repeat(64)}}).then(got => got.status)"
    assert await admin_page.evaluate(wrong, lever) == 403


async def test_a_session_ends_when_nobody_uses_it(
    admin_page: Page, house: House, tolerate: Callable[[str], None]
) -> None:
    tolerate(REFUSED)
    await admin_page.goto("/admin/ui")
    await expect(admin_page.get_by_role("button", name="Log out")).to_be_visible()
    await house.reload(config(admin={"session_idle": "1ms"}))
    try:
        await admin_page.reload()
        await expect(admin_page.get_by_text("Reading only")).to_be_visible()
        lost = "headgate.api('POST', '/admin/breakers/small%230?state=closed').catch(error => error.code)"
        assert await admin_page.evaluate(lost) == "invalid_admin_key"
    finally:
        await house.reload(config())


async def test_another_site_neither_reads_nor_changes(context: BrowserContext, admin_page: Page, house: House) -> None:
    """By a name of its own that leads here (DNS rebinding), and from a page of its own (a forged form)."""
    port = house.url.rpartition(":")[2]
    (cookie,) = await context.cookies()
    own = {"cookie": f"{cookie['name']}={cookie['value']}"}
    async with httpx.AsyncClient(base_url=house.url) as client:
        csrf = (await client.get("/admin/session", headers=own)).json()["csrf"]
        for headers in ({}, own):
            got = await client.get("/admin/session", headers={**headers, "host": f"evil.example:{port}"})
            assert (got.status_code, got.json()["error"]["code"]) in [(403, "host_refused"), (403, "open_door_refused")]
        changing = {**own, "x-csrf-token": csrf}
        for foreign in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
            got = await client.post("/admin/breakers/small%230?state=closed", headers={**changing, **foreign})
            assert (got.status_code, got.json()["error"]["code"]) == (403, "csrf_refused")
            got = await client.post("/admin/session", json={"key": ADMIN_KEY}, headers=foreign)
            assert got.status_code == 403
        own_origin = {"origin": house.url, "sec-fetch-site": "same-origin"}
        got = await client.post("/admin/breakers/small%230?state=closed", headers={**changing, **own_origin})
        assert got.status_code == 200
        form = await client.post("/admin/session", data={"key": ADMIN_KEY})
        assert form.status_code == 400


@pytest.mark.parametrize(
    "asked",
    [
        "https://evil.example",
        "//evil.example",
        "/admin/ui//evil.example",
        "/\\evil.example",
        "/admin/ui\r\nset-cookie: a=b",
        "javascript:alert(1)",
        '/admin/ui"><script>alert(1)</script>',
    ],
)
async def test_the_log_in_leads_nowhere_else(asked: str, house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        got = await client.get("/admin/login", params={"next": asked})
        assert 'data-next="/admin/ui"' in got.text or "<script>alert" not in got.text
        assert "evil.example" not in got.text
        assert "set-cookie" not in got.headers


async def test_a_name_in_a_path_is_no_header(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        got = await client.get(
            "/admin/ui/%0d%0aset-cookie:%20a=b", headers={"accept": "text/html", "host": "gate.example"}
        )
        assert "set-cookie" not in got.headers
        assert got.status_code in (303, 403)


@pytest.mark.parametrize(
    "name",
    ["../app.py", "..%2fapp.py", "%2e%2e/%2e%2e/config.yaml", "uplot/../../app.py", "/etc/passwd", "", "app.css/"],
)
async def test_only_static_files_are_served_as_such(name: str, house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        got = await client.get(f"/admin/static/{name}")
        assert got.status_code == 404
        assert "import" not in got.text


async def test_static_files_are_kept_by_what_is_in_them(house: House) -> None:
    url = Assets().url("app.css")
    async with httpx.AsyncClient(base_url=house.url) as client:
        first = await client.get(url)
        assert "immutable" in first.headers["cache-control"]
        assert first.headers["content-encoding"] == "gzip"
        again = await client.get(url, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/admin/static/app.css?v=old")).headers["cache-control"] == "no-cache"
        plain = await client.get(url, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.text == first.text


async def test_every_answer_is_sealed(house: House) -> None:
    async with httpx.AsyncClient(base_url=house.url) as client:
        for path in ("/admin/ui", "/admin/login", "/admin/costs", "/admin/nothing", "/admin/static/app.js"):
            headers = (await client.get(path)).headers
            assert "script-src 'self'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin"
            assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")


async def test_the_first_page_is_small(context: BrowserContext, admin_page: Page) -> None:
    client = await context.new_cdp_session(admin_page)
    await client.send("Network.enable")
    sizes: list[int] = []
    client.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    await admin_page.goto("/admin/ui", wait_until="networkidle")
    await until(lambda: len(sizes) >= 4)
    assert sum(sizes) < 100_000


async def test_light_and_dark_are_the_systems_until_one_is_chosen(admin_page: Page, shot: Shot) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    await admin_page.emulate_media(color_scheme="dark")
    await admin_page.goto("/admin/ui")
    dark = await admin_page.evaluate(ground)
    await shot(admin_page, "home-dark")
    await admin_page.get_by_role("button", name="Light or dark").click()
    light = await admin_page.evaluate(ground)
    assert dark != light
    await admin_page.reload()
    assert await admin_page.evaluate(ground) == light


async def test_a_narrow_screen_has_the_navigation_behind_a_button(admin_page: Page, shot: Shot) -> None:
    await admin_page.set_viewport_size({"width": 390, "height": 780})
    await admin_page.goto("/admin/ui")
    assert await overflows(admin_page) == []
    await shot(admin_page, "home-narrow")
    navigation = admin_page.get_by_role("navigation", name="Pages")
    await expect(navigation).to_be_hidden()
    await admin_page.get_by_role("button", name="Navigation").click()
    await expect(navigation).to_be_visible()
    await expect(navigation.get_by_role("link", name="Overview")).to_be_focused()
    await shot(admin_page, "navigation-narrow", full=False)
    await admin_page.keyboard.press("Escape")
    await expect(navigation).to_be_hidden()
    await expect(admin_page.get_by_role("button", name="Navigation")).to_be_focused()


async def test_a_keyboard_skips_to_the_content(admin_page: Page) -> None:
    await admin_page.goto("/admin/ui")
    await admin_page.keyboard.press("Tab")
    skip = admin_page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await admin_page.keyboard.press("Enter")
    await expect(admin_page.locator("main")).to_be_focused()


async def test_an_unknown_page_says_so_as_a_page(admin_page: Page, shot: Shot, tolerate: Callable[[str], None]) -> None:
    tolerate(REFUSED)
    await admin_page.goto("/admin/ui/nothing")
    await expect(admin_page.get_by_role("heading", level=1)).to_have_text("Not found")
    await shot(admin_page, "not-found")


@pytest.mark.parametrize("kind", ["area", "bars", "lines"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_chart_is_drawn_named_and_saved(kind: str, scheme: str, admin_page: Page, shot: Shot) -> None:
    await admin_page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    await admin_page.goto("/admin/ui", wait_until="networkidle")
    await admin_page.evaluate(DRAW, [kind, SCRIPTS])
    chart = admin_page.get_by_role("figure", name="Spend by team")
    await expect(chart.locator("table caption")).to_have_text("Spend by team")
    over = chart.locator(".u-over")
    await over.hover(position={"x": 300, "y": 100})
    await expect(chart.locator(".chart-tip")).to_be_visible()
    await shot(admin_page, f"chart-{kind}-{scheme}", full=False)
    async with admin_page.expect_download() as download:
        await chart.get_by_role("button", name="PNG").click()
    saved = await (await download.value).path()
    assert saved.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    await chart.get_by_role("button", name="research").click()
    await expect(chart.get_by_role("button", name="research")).to_have_attribute("aria-pressed", "false")
    await admin_page.set_viewport_size({"width": 420, "height": 800})
    assert await overflows(admin_page) == []
    await expect(chart.locator(".uplot")).to_have_css("width", f"{await chart.evaluate('each => each.clientWidth')}px")


TABLE = """
<section class="card"><div class="table-wrap"><table class="table" id="spend" data-csv="spend.csv"><thead><tr>
<th>Team</th><th class="num">Spend</th><th>Last call</th></tr></thead><tbody>
<tr><td>=cmd|' /C calc'!A0</td><td class="num"><data data-nano="88500"></data></td>
<td><time data-at="1764201600"></time></td></tr>
<tr><td>a "b", c</td><td class="num"><data data-nano="1234567890123456789"></data></td>
<td><time data-at="1764201601"></time></td></tr>
<tr><td><b>sales</b></td><td class="num"><data data-nano="0"></data></td><td></td></tr>
</tbody></table></div></section>
<form data-api="POST /admin/nothing/{name}"><div class="field"><label for="name">Name</label>
<input id="name" name="name" value="a/b"></div><button class="button">Save</button></form>
"""


async def test_tables_sort_and_save_and_forms_tell_what_the_api_said(
    admin_page: Page, tolerate: Callable[[str], None]
) -> None:
    tolerate(REFUSED)
    await admin_page.goto("/admin/ui", wait_until="networkidle")
    draw = """html => {
        document.querySelector("main").innerHTML = html;
        headgate.write();
        headgate.sortable(document.querySelector("table"));
    }"""
    await admin_page.evaluate(draw, TABLE)
    first = admin_page.locator("tbody tr").first
    await admin_page.get_by_role("button", name="Spend").click()  # numbers: the largest first
    await expect(first).to_contain_text('a "b", c')
    await expect(first.locator("data")).to_have_attribute("title", "$1234567890.123456789")
    await expect(admin_page.get_by_role("columnheader", name="Spend")).to_have_attribute("aria-sort", "descending")
    await admin_page.get_by_role("button", name="Spend").click()
    await expect(first).to_contain_text("sales")
    saved = await admin_page.evaluate("headgate.csv(document.querySelector('table'))")
    assert saved.split("\r\n") == [
        "Team,Spend,Last call",
        "sales,0,",
        "'=cmd|' /C calc'!A0,0.0000885,2025-11-27T00:00:00.000Z",
        '"a ""b"", c",1234567890.123456789,2025-11-27T00:00:01.000Z',
        "",
    ]
    await admin_page.get_by_role("button", name="Save").click()
    await expect(admin_page.get_by_role("status")).to_contain_text("/admin/nothing/a/b: Not Found")
