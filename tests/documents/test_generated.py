"""Tables that are written from the code say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.generate import ADVICE, DOCS, OPTIONS, TABLES, raised, written
from gateway.simulator.faults import _OPTIONS
from tests.documents.pages import PAGES


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_no_table_is_stale(page: Path) -> None:
    text = page.read_text()
    assert text == written(text), "write it again: python docs/generate.py"


def test_every_table_stands_on_a_page() -> None:
    pages = "".join(page.read_text() for page in PAGES)
    assert [name for name in TABLES if f"<!-- table: {name} -->" not in pages] == []


def test_every_code_of_an_error_has_advice_and_no_advice_is_left_over() -> None:
    assert {way.code for way in raised()} == set(ADVICE)


def test_every_option_of_a_fault_is_explained() -> None:
    assert set(OPTIONS) == set(_OPTIONS)


def test_the_reading_of_errors_out_of_the_code_sees_them() -> None:
    """The codes are read from the source: a few that are raised in different ways stand for the others."""
    ways = {(way.code, way.status) for way in raised()}
    assert {
        ("no_permitted_deployment", 403),  # a class's own
        ("no_permitted_deployment", 503),  # said where it is raised
        ("journal_full", 503),  # of a class outside the core
        ("integer_below_min_value", 400),  # put together
        ("invalid_http", 501),  # by a variable
        ("unsupported_capability", 400),  # kept as data, raised later
        ("upstream_timeout", 504),  # from a table
        ("-", 400),  # none
    } <= ways
