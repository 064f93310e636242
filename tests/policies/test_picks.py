"""The policies that sort: cheapest, fastest, least loaded, weighted, in order, balanced."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest

from gateway.core.money import FREE, Price, Rates
from gateway.core.policy import Measured, Ranking, View
from policies.balanced import Balanced
from policies.cheapest import Cheapest
from policies.fastest import Fastest
from policies.in_order import InOrder
from policies.least_loaded import LeastLoaded
from policies.weighted import Weighted

STILL = View(now=0.0, draw=0.5)


def names(ranking: Ranking) -> list[str]:
    return [deployment.name for deployment in ranking.kept]


def measured(ttft: float, tpot: float, samples: int = 100) -> Measured:
    return Measured(samples, ttft, ttft, tpot, tpot)


def test_cheapest_scores_are_the_expected_nano_dollars(make, ask):
    candidates = [make("dear", ("3.00", "15.00")), make("cheap", ("0.25", "2.00"))]
    ranking = Cheapest(candidates).rank(ask(input_tokens=1000, output_tokens=100), candidates, STILL)
    assert names(ranking) == ["cheap", "dear"]
    assert list(ranking.scores) == [450_000, 4_500_000]


def test_an_unknown_price_ranks_last_and_says_so_while_free_ranks_first(make, ask):
    candidates = [make("unknown"), make("dear", ("100", "100")), make("free", price=FREE)]
    ranking = Cheapest(candidates).rank(ask(), candidates, STILL)
    assert names(ranking) == ["free", "dear", "unknown"]
    assert ranking.scores[2] == inf
    assert ranking.note == "unknown prices last"


def test_equal_costs_keep_the_order_of_among(make, ask):
    candidates = [make(name, ("0.25", "2.00")) for name in "cab"]
    assert names(Cheapest(candidates).rank(ask(), candidates, STILL)) == ["c", "a", "b"]


def test_the_learned_cached_share_is_charged_at_the_cached_price(make, ask):
    candidates = [make("plain", ("1.00", "0")), make("caching", ("1.50", "0"), cached="0.15")]
    view = View(now=0.0, draw=0.5, cached_share={"caching": 0.8})
    ranking = Cheapest(candidates).rank(ask(input_tokens=1000), candidates, view)
    assert names(ranking) == ["caching", "plain"]
    assert ranking.scores[0] == pytest.approx(1000 * (0.2 * 1500 + 0.8 * 150))


def test_learned_output_makes_a_talkative_model_dearer_up_to_max_tokens(make, ask):
    candidates = [make("terse", ("1", "10")), make("talkative", ("0.5", "5"))]
    view = View(now=0.0, draw=0.5, output_tokens={"chat": {"talkative": 5000.0, "terse": 100.0}})
    cheapest = Cheapest(candidates)
    assert names(cheapest.rank(ask(model="chat"), candidates, view)) == ["terse", "talkative"]
    assert names(cheapest.rank(ask(model="chat", max_tokens=50), candidates, view)) == ["talkative", "terse"]


def test_a_tiered_price_is_taken_at_the_prompts_size_with_its_fee(make, ask):
    price = Price("v", ((0, Rates(1_000_000_000)), (2000, Rates(5_000_000_000))), per_request_nano=7)
    candidates = [make("tiered", price=price), make("flat", ("2", "0"))]
    cheapest = Cheapest(candidates)
    assert list(cheapest.rank(ask(input_tokens=2000, output_tokens=0), candidates, STILL).scores) == [
        2_000_007,
        4_000_000,
    ]
    assert names(cheapest.rank(ask(input_tokens=2001, output_tokens=0), candidates, STILL)) == ["flat", "tiered"]


def test_fastest_predicts_the_time_to_finish_this_call(make, ask):
    candidates = [make("quick-start"), make("quick-talk")]
    view = View(
        now=0.0, draw=0.5, measured={("quick-start", 0): measured(0.1, 0.05), ("quick-talk", 0): measured(1.0, 0.01)}
    )
    assert names(Fastest().rank(ask(output_tokens=10), candidates, view)) == ["quick-start", "quick-talk"]
    ranking = Fastest().rank(ask(output_tokens=1000), candidates, view)
    assert names(ranking) == ["quick-talk", "quick-start"]
    assert ranking.scores == pytest.approx([11.0, 50.1])


def test_a_prompt_of_another_size_is_another_measurement(make, ask):
    candidates = [make("a"), make("b")]
    view = View(now=0.0, draw=0.5, measured={("b", 1): measured(1.0, 0.1)})
    assert names(Fastest().rank(ask(input_tokens=100), candidates, view)) == ["a", "b"]
    assert names(Fastest().rank(ask(input_tokens=2000), candidates, view)) == ["b", "a"]


def test_unproven_deployments_come_last_but_get_a_share_of_calls(make, ask):
    candidates = [make("new"), make("known"), make("newer")]
    seen = {("known", 0): measured(9.0, 9.0), ("newer", 0): measured(0.1, 0.1, samples=3)}
    firsts: Counter[str] = Counter()
    for step in range(1000):
        ranking = Fastest().rank(ask(), candidates, View(now=0.0, draw=step / 1000, measured=seen))
        firsts[names(ranking)[0]] += 1
        assert len(ranking.kept) == 3
        assert ranking.note == (
            "unproven last" if names(ranking)[0] == "known" else f"{names(ranking)[0]} first to be measured"
        )
    assert 800 < firsts["known"] < 980
    assert firsts["new"] > 10
    assert firsts["newer"] > 10


def test_a_deployment_that_only_answered_in_one_piece_is_predicted_from_its_time_per_token(make, ask):
    nan = float("nan")
    view = View(now=0.0, draw=0.5, measured={("unary", 0): Measured(50, nan, nan, 0.02, 0.03)})
    ranking = Fastest().rank(ask(output_tokens=100), [make("unary")], view)
    assert ranking.scores == pytest.approx([2.0])


def test_of_two_drawn_the_less_busy_comes_first(make, ask):
    candidates = [make(name) for name in "abcd"]
    view = View(now=0.0, draw=0.0, in_flight={"a": 5, "b": 2, "d": 9})  # a draw of 0 compares a with b
    ranking = LeastLoaded().rank(ask(), candidates, view)
    assert names(ranking) == ["b", "c", "a", "d"]
    assert ranking.scores == [2, 0, 5, 9]


def test_two_choices_never_send_to_the_busiest_and_spread_over_the_rest(make, ask):
    candidates = [make(name) for name in "abcde"]
    busy = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    firsts = Counter(
        names(LeastLoaded().rank(ask(), candidates, View(now=0.0, draw=step / 1000, in_flight=busy)))[0]
        for step in range(1000)
    )
    assert firsts == {"a": 400, "b": 300, "c": 200, "d": 100}


def test_a_pools_load_decides_between_equal_calls_in_flight(make, ask):
    candidates = [make("full"), make("free")]
    assert names(LeastLoaded().rank(ask(), candidates, View(now=0.0, draw=0.1, load={"full": 0.9}))) == ["free", "full"]


def test_weights_are_drawn_in_proportion_and_the_rest_follows_by_weight(make, ask):
    candidates = [make("canary"), make("main"), make("spare")]
    weighted = Weighted({"main": 90, "canary": 10, "spare": 0})
    orders = Counter(
        tuple(names(weighted.rank(ask(), candidates, View(now=0.0, draw=step / 1000)))) for step in range(1000)
    )
    assert orders == {("main", "canary", "spare"): 900, ("canary", "main", "spare"): 100}


def test_weights_of_what_is_left_are_drawn_anew(make, ask):
    weighted = Weighted({"a": 50, "b": 25, "c": 25})
    firsts = Counter(
        names(weighted.rank(ask(), [make("b"), make("c")], View(now=0.0, draw=step / 100)))[0] for step in range(100)
    )
    assert firsts == {"b": 50, "c": 50}


def test_in_order_changes_nothing(make, ask):
    candidates = [make("z"), make("a")]
    assert names(InOrder().rank(ask(), candidates, STILL)) == ["z", "a"]


def test_balanced_weighs_cost_against_time(make, ask):
    candidates = [make("cheap-slow", ("0.1", "0.1")), make("dear-fast", ("1", "1"))]
    view = View(
        now=0.0, draw=0.5, measured={("cheap-slow", 0): measured(2.0, 0.02), ("dear-fast", 0): measured(0.2, 0.002)}
    )
    assert names(Balanced(candidates, 0.8, 0.2).rank(ask(), candidates, view)) == ["cheap-slow", "dear-fast"]
    ranking = Balanced(candidates, 0.2, 0.8).rank(ask(), candidates, view)
    assert names(ranking) == ["dear-fast", "cheap-slow"]
    assert ranking.scores == pytest.approx([0.2 + 0.08, 0.02 + 0.8])


def test_balanced_counts_the_unmeasured_as_slow_as_the_slowest_and_an_unknown_price_last(make, ask):
    candidates = [make("unpriced"), make("new", ("1", "1")), make("known", ("1", "1"))]
    view = View(now=0.0, draw=0.5, measured={("known", 0): measured(1.0, 0.0), ("unpriced", 0): measured(0.1, 0.0)})
    ranking = Balanced(candidates).rank(ask(), candidates, view)
    assert names(ranking) == ["new", "known", "unpriced"]
    assert ranking.note == "unknown prices last"


def test_balanced_without_any_measurement_goes_by_cost(make, ask):
    candidates = [make("dear", ("2", "2")), make("cheap", ("1", "1")), make("free", price=FREE)]
    assert names(Balanced(candidates).rank(ask(), candidates, STILL)) == ["free", "cheap", "dear"]
