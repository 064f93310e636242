"""The page says what was found, against which target, and what was not measured."""

from __future__ import annotations

import pytest

from tests.bench.report import Section, at_least, at_most, none_of, page, section, summary, told

COLUMNS = (("calls_per_s", "calls/s"), ("p50_ms", "p50 ms"))


@pytest.mark.parametrize(
    ("value", "text"), [(0.012345, "0.0123"), (7.0, "7"), (181.26, "181"), (5018.4, "5,018"), (-1.131, "-1.13")]
)
def test_a_figure_has_three_digits_that_count(value: float, text: str) -> None:
    assert told(value) == text


def test_the_limit_itself_meets_a_target() -> None:
    assert [at_most("x", 7, found).met for found in (6.9, 7.0, 7.1, None)] == [True, True, False, None]
    assert [at_least("x", 16, found).met for found in (15.9, 16.0, None)] == [False, True, None]
    assert [none_of("x", found).met for found in (0, 1, None)] == [True, False, None]


def test_the_summary_names_each_target_and_whether_it_is_met() -> None:
    part = Section(
        "Unary",
        "wrk.",
        COLUMNS,
        {},
        targets=[
            at_most("CPU ÷ nginx's", 7, 6.25, "×"),
            at_least("rate ÷ its", 16, 12.0, "×"),
            at_most("p99", 3, None, "ms"),
            none_of("lost", 0),
        ],
    )
    assert summary([part]).splitlines() == [
        "| what | target | found | |",
        "|---|---|---|---|",
        "| CPU ÷ nginx's | ≤ 7 × | 6.25 × | met |",
        "| rate ÷ its | ≥ 16 × | 12 × | **missed** |",
        "| p99 | ≤ 3 ms | – | not measured |",
        "| lost | none | none | met |",
    ]


def test_a_section_has_its_method_before_its_table_and_a_dash_for_what_is_void() -> None:
    rows = {"nginx": {"p50_ms": 0.4}, "headgate": {"calls_per_s": 16100.0, "p50_ms": 1.9}}
    text = section(Section("Unary", "wrk, 32 connections.", COLUMNS, rows, ["nginx: void."]))
    assert text.splitlines() == [
        "## Unary",
        "",
        "wrk, 32 connections.",
        "",
        "| | calls/s | p50 ms |",
        "|---|---:|---:|",
        "| nginx | – | 0.4 |",
        "| headgate | 16,100 | 1.9 |",
        "",
        "nginx: void.",
    ]


def test_the_summary_stands_before_the_sections() -> None:
    text = page("# Benchmarks\n", [Section("One", "a.", COLUMNS, {}, targets=[none_of("lost", 1)])])
    assert text.index("# Benchmarks") < text.index("| lost | none | 1 | **missed** |") < text.index("## One")
