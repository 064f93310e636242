"""What docs/replica-routing.md claims, measured in simulated time; each law on a seed that the page does not use."""

from __future__ import annotations

import pytest

from tests.bench.replicas import LONG, NONE, SHORT, Load, Result, measure

SEED = (7,)


@pytest.fixture(scope="module")
def long() -> dict[str, Result]:
    """The load of long prefixes for half its time: a minute from empty caches on, then counted for one and a half."""
    ways = ("least loaded", "ours", "ours, four gateways", "an oracle")
    return measure(LONG._replace(lasts_s=150.0), SEED, ways)


@pytest.mark.parametrize("gateways", ["ours", "ours, four gateways"])
def test_long_prefixes_are_answered_by_those_who_have_them(long: dict[str, Result], gateways: str) -> None:
    ours, least = long[gateways], long["least loaded"]
    assert ours.tokens_per_s >= 1.4 * least.tokens_per_s
    assert ours.ttft_p90 <= least.ttft_p90 / 3
    assert ours.cached > 0.85


def test_to_know_every_cache_would_gain_less_than_a_tenth(long: dict[str, Result]) -> None:
    assert long["ours"].tokens_per_s >= 0.9 * long["an oracle"].tokens_per_s
    assert long["ours"].ttft_p90 <= 1.1 * long["an oracle"].ttft_p90


@pytest.mark.parametrize("load", [SHORT, NONE], ids=lambda load: load.name)
def test_where_prefixes_gain_little_nothing_is_lost(load: Load) -> None:
    results = measure(load._replace(lasts_s=150.0), SEED, ("least loaded", "ours"))
    ours, least = results["ours"], results["least loaded"]
    assert ours.tokens_per_s >= 0.98 * least.tokens_per_s
    assert ours.ttft_p50 <= 1.02 * least.ttft_p50
    assert ours.ttft_p90 <= 1.02 * least.ttft_p90
    assert ours.tpot_p50 <= 1.02 * least.tpot_p50


def test_the_same_seed_gives_the_same_figures() -> None:
    load = LONG._replace(lasts_s=70.0)
    assert measure(load, SEED, ("ours",)) == measure(load, SEED, ("ours",))
