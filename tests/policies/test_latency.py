"""The latency requirement: proven first, unproven after, too slow not at all."""

from __future__ import annotations

from collections import Counter

from gateway.core.policy import Measured, View
from policies.latency import Latency


def measured(p95: float, samples: int = 100) -> Measured:
    return Measured(samples, p95 / 2, p95, p95 / 20, p95 / 10)


SEEN = {("fast", 0): measured(0.5), ("slow", 0): measured(2.0), ("new", 0): measured(9.0, samples=29)}


def test_the_slow_are_removed_with_the_figure_and_the_unproven_stand_in_a_later_tier(make, ask):
    candidates = [make("new"), make("slow"), make("fast")]
    ranking = Latency(max_ttft_p95_s=0.8).rank(ask(), candidates, View(now=0.0, draw=0.5, measured=SEEN))
    assert [deployment.name for deployment in ranking.kept] == ["fast", "new"]
    assert list(ranking.scores) == [0.0, 1.0]
    assert [(one.deployment, one.rule, one.why) for one in ranking.removed] == [
        ("slow", "latency", "ttft p95 2s > 800ms")
    ]
    assert ranking.note == "that meet ttft p95 800ms (1 unproven)"


def test_time_per_token_is_required_too(make, ask):
    latency = Latency(max_ttft_p95_s=5.0, max_tpot_p95_s=0.1)
    ranking = latency.rank(ask(), [make("fast"), make("slow")], View(now=0.0, draw=0.5, measured=SEEN))
    assert [deployment.name for deployment in ranking.kept] == ["fast"]
    assert ranking.removed[0].why == "tpot p95 200ms > 100ms"


def test_a_share_of_calls_puts_an_unproven_one_first_so_that_it_is_measured(make, ask):
    candidates = [make("fast"), make("new"), make("newer")]
    first: Counter[str] = Counter()
    for step in range(1000):
        ranking = Latency(0.8).rank(ask(), candidates, View(now=0.0, draw=step / 1000, measured=SEEN))
        tiers = dict(zip((one.name for one in ranking.kept), ranking.scores, strict=True))
        first[min(tiers, key=tiers.__getitem__)] += 1
    assert 850 < first["fast"] < 950
    assert first["new"] > 10
    assert first["newer"] > 10


def test_nobody_proven_is_said_and_nobody_is_preferred(make, ask):
    ranking = Latency(0.8).rank(ask(), [make("a"), make("b")], View(now=0.0, draw=0.0))
    assert [one.name for one in ranking.kept] == ["a", "b"]
    assert not ranking.scores
    assert ranking.note == "none proven for ttft p95 800ms"


def test_a_window_of_its_own_is_looked_at(make, ask):
    view = View(now=0.0, draw=0.5, measured=SEEN, windows={60.0: {("fast", 0): measured(3.0)}})
    assert not Latency(0.8).rank(ask(), [make("fast")], view).removed
    assert Latency(0.8, window_s=60.0).rank(ask(), [make("fast")], view).removed


def test_a_figure_that_nobody_could_measure_is_unproven_rather_than_met(make, ask):
    nan = float("nan")
    view = View(now=0.0, draw=0.5, measured={("unary", 0): Measured(100, nan, nan, 0.01, 0.02)})
    ranking = Latency(0.8).rank(ask(), [make("unary")], view)
    assert ranking.note == "none proven for ttft p95 800ms"
