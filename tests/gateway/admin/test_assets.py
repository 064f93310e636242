"""What the pages are made of is packaged, is ours or has its licence beside it, and calls nobody."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.requests import Request

from gateway.admin.pages import Entry, Shell
from gateway.admin.pages.assets import STATIC, Assets
from gateway.admin.pages.shell import TEMPLATES, _own

ROOT = Path(__file__).parents[3]


def test_a_wheel_has_them_all() -> None:
    builders = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed")
    packaged = {file.distribution_path for file in builders.WheelBuilder(str(ROOT)).recurse_included_files()}
    for folder in (STATIC, TEMPLATES):
        files = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert len(files) > 5
        assert files <= packaged


def test_what_is_not_ours_has_its_licence_beside_it() -> None:
    assert "MIT" in (STATIC / "uplot" / "LICENSE.txt").read_text()
    assert "uPlot (v1.6.32)" in (STATIC / "uplot" / "uPlot.iife.min.js").read_text()[:80]


@pytest.mark.parametrize("folder", [STATIC, TEMPLATES], ids=["static", "templates"])
def test_nothing_is_asked_of_the_internet(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".txt":
            named = set(re.findall(r"https?://[^\s\"'`)<]+", path.read_text()))
            assert named <= {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}, path


def test_templates_hold_no_script_no_style_and_no_handler() -> None:
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text), path


def test_the_first_page_is_small() -> None:
    assets = Assets()
    first = ("app.css", "app.js", "theme.js", "icon.svg", "uplot/uPlot.iife.min.js", "uplot/uPlot.min.css", "charts.js")
    assert sum(len(assets[name].gzipped) for name in first) < 60_000


def test_the_navigation_has_groups_of_its_own() -> None:
    with pytest.raises(ValueError, match="no group"):
        Shell("").add(Entry("Nowhere", "/admin/ui/nowhere", "Elsewhere"))


@pytest.mark.parametrize("name", ["../assets.py", "/app.css", "", "app.css/..", "uplot", "APP.CSS"])
def test_a_file_is_looked_up_by_its_whole_name(name: str) -> None:
    request = Request({"type": "http", "headers": [], "query_string": b""})
    assert Assets().answer(request, name).status_code == 404


@pytest.mark.parametrize(
    ("asked", "goes"),
    [
        ("/admin/ui/costs?a=b", "/admin/ui/costs?a=b"),
        ("/admin/uix", "/admin/uix"),
        ("https://evil.example", "/admin/ui"),
        ("//evil.example", "/admin/ui"),
        ("/admin/ui//evil.example", "/admin/ui"),
        ("/admin/ui\\evil", "/admin/ui"),
        ("/admin/ui\r\na", "/admin/ui"),
        ("", "/admin/ui"),
    ],
)
def test_the_log_in_goes_to_pages_of_ours(asked: str, goes: str) -> None:
    assert _own(asked) == goes
