"""A pool among hosted places: filled first, spilled over from, come back to; and judged by what is foretold."""

from __future__ import annotations

import heapq

import pytest

from gateway.core.money import Price, Rates
from gateway.core.own import OwnPrice
from gateway.core.policy import Measured, Outlook, View
from gateway.core.types import Deployment
from policies.balanced import Balanced
from policies.cheapest import Cheapest
from policies.fastest import Fastest
from policies.latency import Latency

SPARE = Rates(fresh_input=5_000_000, cached_input=5_000_000, output_text=12_500_000)
DEAR = Price("dear", ((0, Rates(fresh_input=400_000_000, cached_input=5_000_000, output_text=1_600_000_000)),))


@pytest.fixture
def own(make) -> Deployment:
    return make("own", price=DEAR, own=OwnPrice(SPARE, 0.6))


def first(policy, request, candidates, **view) -> str:
    return policy.rank(request, candidates, View(now=0.0, draw=0.5, **view)).kept[0].name


def test_scores_are_the_expected_nano_dollars_at_the_load(own, ask):
    request = ask(input_tokens=1000, output_tokens=100)
    policy = Cheapest([own])
    scores = [policy.rank(request, (own,), View(0.0, 0.5, load={"own": load})).scores for load in (0.0, 0.45, 0.6, 1.0)]
    assert scores == [[6_250], [283_125], [560_000], [560_000]]
    assert list(policy.rank(request, (own,), View(0.0, 0.5)).scores) == [6_250]  # nobody said that it is busy


def test_the_learned_cached_share_and_output_are_charged_at_the_load_too(own, ask):
    request = ask(model="chat", input_tokens=1000, output_tokens=100)
    view = View(0.0, 0.5, load={"own": 1.0}, cached_share={"own": 0.5}, output_tokens={"chat": {"own": 200.0}})
    assert Cheapest([own]).rank(request, (own,), view).scores == [500 * 400 + 500 * 5 + 200 * 1600]


def test_cheapest_and_balanced_leave_a_full_pool_where_hosted_costs_less(own, make, ask):
    hosted = make("hosted", ("0.20", "0.80"))
    candidates = (hosted, own)
    for policy in (Cheapest(candidates), Balanced(candidates, 1.0, 0.0)):
        assert first(policy, ask(), candidates, load={"own": 0.2}) == "own"
        assert first(policy, ask(), candidates, load={"own": 0.6}) == "hosted"


def test_a_pool_that_is_cheaper_in_full_is_kept_however_busy(own, make, ask):
    candidates = (make("hosted", ("2", "8")), own)
    assert first(Cheapest(candidates), ask(), candidates, load={"own": 1.0}) == "own"


def test_a_pool_fills_spills_over_and_is_come_back_to(own, make, ask):
    """Calls of 4 s; 40 at once are a full pool. Two a second, then thirty, then two again."""
    candidates = (make("hosted", ("0.20", "0.80")), own)
    policy, request = Cheapest(candidates), ask(input_tokens=1000, output_tokens=100)
    ends: list[float] = []
    sent: dict[str, list[int]] = {"quiet": [0, 0], "rush": [0, 0], "after": [0, 0]}
    now, fullest = 0.0, 0.0
    while now < 180.0:
        phase = "quiet" if now < 60 else "rush" if now < 120 else "after"
        now += 1 / 30 if phase == "rush" else 0.5
        while ends and ends[0] <= now:
            heapq.heappop(ends)
        load = min(1.0, len(ends) / 40)
        fullest = max(fullest, load)
        to_own = first(policy, request, candidates, load={"own": load}) == "own"
        if to_own:
            heapq.heappush(ends, now + 4.0)
        if phase != "after" or now > 125:  # the rush's own calls are answered by then
            sent[phase][to_own] += 1
    assert sent["quiet"][0] == sent["after"][0] == 0  # nothing left while there was room, before and after
    hosted, kept = sent["rush"]
    # hosted costs 280,000 nano-dollars a call: that is reached just under a load of 0.45, or 18 calls of 4 s at once
    assert kept / 60 == pytest.approx(4.5, rel=0.1)
    assert hosted / 60 == pytest.approx(25.5, rel=0.1)
    assert 0.4 < fullest <= 0.475


# -- what a pool's router foretells -------------------------------------------------------------------------------

STALE = {("own", 0): Measured(100, 3.0, 5.0, 0.01, 0.02), ("hosted", 0): Measured(100, 0.5, 0.7, 0.01, 0.02)}
IDLE = Outlook(samples=100, wait_s=0.02, per_token_s=0.0001, middle=1.0, late=2.0)
QUEUE = Outlook(samples=100, wait_s=3.0, per_token_s=0.0001, middle=1.0, late=2.0)


def test_fastest_goes_by_the_queue_of_now_not_by_that_of_the_last_minutes(own, make, ask):
    candidates = (make("hosted", ("1", "1")), own)
    policy, request = Fastest(), ask(input_tokens=1000, output_tokens=100)
    assert first(policy, request, candidates, measured=STALE) == "hosted"
    assert first(policy, request, candidates, measured=STALE, outlooks={"own": IDLE}) == "own"
    view = View(0.0, 0.5, STALE, outlooks={"own": IDLE})
    assert policy.rank(request, candidates, view).scores == pytest.approx([0.12 + 1.0, 0.5 + 1.0])
    assert first(policy, request, candidates, measured=STALE, outlooks={"own": QUEUE}) == "hosted"


def test_what_is_cached_need_not_be_read(own, ask):
    view = View(0.0, 0.5, STALE, outlooks={"own": IDLE}, cached_share={"own": 0.9})
    assert Fastest().rank(ask(input_tokens=1000), (own,), view).scores == pytest.approx([0.03 + 1.0])


def test_a_limit_on_ttft_is_held_against_the_unlucky_of_what_is_foretold(own, make, ask):
    policy, request, candidates = Latency(max_ttft_p95_s=0.8), ask(input_tokens=1000), (make("hosted", ("1", "1")), own)
    kept = [each.name for each in policy.rank(request, candidates, View(0.0, 0.5, STALE)).kept]
    assert kept == ["hosted"]
    ranking = policy.rank(request, candidates, View(0.0, 0.5, STALE, outlooks={"own": IDLE}))
    assert [each.name for each in ranking.kept] == ["hosted", "own"]
    ranking = policy.rank(request, candidates, View(0.0, 0.5, STALE, outlooks={"own": QUEUE}))
    assert [(each.deployment, each.why) for each in ranking.removed] == [("own", "expected ttft p95 6.2s > 800ms")]


def test_a_router_that_has_seen_too_little_is_not_believed(own, ask):
    young = Outlook(samples=5, wait_s=0.0, per_token_s=0.0, middle=1.0, late=1.0)
    assert Fastest().rank(ask(), (own,), View(0.0, 0.5, STALE, outlooks={"own": young})).scores == pytest.approx([4.0])
