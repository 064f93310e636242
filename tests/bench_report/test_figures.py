"""What a generator printed becomes figures; what it could not measure does not."""

from __future__ import annotations

import pytest

from tests.bench.figures import BadRound, against, is_void, medians, percentile, read_wrk, settle, void_note


def test_what_wrk_prints_is_read_in_calls_and_milliseconds() -> None:
    row = read_wrk("Running 4s test\n  Requests/sec: 5\nRESULT 20000 4000000 1900 3400 0 0\n")
    assert row == {"calls": 20000, "calls_per_s": 5000.0, "p50_ms": 1.9, "p99_ms": 3.4}


@pytest.mark.parametrize(
    "output",
    ["unable to connect", "RESULT 0 4000000 0 0 0 0", "RESULT 9 4000000 1 1 1 0", "RESULT 9 4000000 1 1 0 1"],
    ids=["no result", "no call", "an error", "a broken connection"],
)
def test_a_round_with_a_failed_call_is_no_round(output: str) -> None:
    with pytest.raises(BadRound):
        read_wrk(output)


def test_a_round_is_void_where_the_generator_took_over_four_fifths_of_its_core() -> None:
    assert not is_void({"generator_share": 0.8})
    assert is_void({"generator_share": 0.81})
    assert not is_void({"p50_ms": 1.0})


def test_a_round_is_void_where_others_took_over_a_tenth_of_the_contenders_core() -> None:
    assert not is_void({"generator_share": 0.3, "others_share": 0.1})
    assert is_void({"generator_share": 0.3, "others_share": 0.11})


def test_medians_are_of_the_figures_that_all_rounds_have() -> None:
    assert medians([{"a": 3.0, "b": 1.0}, {"a": 1.0}, {"a": 2.0, "b": 5.0}]) == {"a": 2.0}
    assert medians([]) == {}


def test_a_void_round_counts_for_the_figures_that_last_alone() -> None:
    rounds = [
        {"calls_per_s": 100.0, "cpu": 5.0, "generator_share": 0.5},
        {"calls_per_s": 900.0, "cpu": 1.0, "generator_share": 0.9},
        {"calls_per_s": 200.0, "cpu": 3.0, "generator_share": 0.6},
    ]
    settled = settle(rounds, ["cpu"])
    assert settled == {"calls_per_s": 150.0, "cpu": 3.0, "generator_share": 0.6}


def test_where_all_rounds_are_void_there_is_no_rate() -> None:
    settled = settle([{"calls_per_s": 900.0, "cpu": 1.0, "generator_share": 0.95}] * 3, ["cpu"])
    assert settled == {"cpu": 1.0, "generator_share": 0.95}


def test_void_rounds_are_told_in_words() -> None:
    busy, disturbed, good = (
        {"generator_share": load, "others_share": others} for load, others in ((0.97, 0.0), (0.5, 0.4), (0.5, 0.02))
    )
    assert void_note("nginx", [good, good]) is None
    assert void_note("nginx", [busy, good, busy]) == (
        "nginx: 2 of 3 rounds void; in them the load's core was 97% busy, and others took 0% of the contender's."
    )
    assert void_note("nginx", [disturbed | {"calls_per_s": 71234.5}]) == (
        "nginx: 1 of 1 rounds void, at 71,234 calls/s; in them the load's core was 50% busy, "
        "and others took 40% of the contender's."
    )


def test_a_multiple_of_what_was_not_measured_is_none() -> None:
    rows = {"headgate": {"cpu": 6.0}, "nginx": {"cpu": 2.0}, "void": {}}
    assert against(rows, "headgate", "cpu", "nginx") == 3.0
    assert against(rows, "headgate", "cpu", "void") is None
    assert against(rows, "headgate", "cpu", "absent") is None
    assert against(rows, "void", "cpu", "nginx") is None


def test_a_percentile_is_the_value_that_so_many_are_below() -> None:
    values = [float(each) for each in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (51.0, 100.0, 100.0)
