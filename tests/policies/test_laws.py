"""What holds for every policy, whatever it is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.money import Price, Rates
from gateway.core.policy import Measured, Policy, View
from gateway.core.types import Call, Deployment, Principal, Request, Sensitivity
from policies.balanced import Balanced
from policies.capable import Capable
from policies.cheapest import Cheapest
from policies.clearance import Clearance
from policies.context_window import ContextWindow
from policies.deployment import Named
from policies.fastest import Fastest
from policies.in_order import InOrder
from policies.latency import Latency
from policies.least_loaded import LeastLoaded
from policies.location import Location
from policies.price_cap import PriceCap
from policies.provider import Provider
from policies.retention import Retention
from policies.weighted import Weighted

NAMES = [f"d{index}" for index in range(6)]

prices = st.none() | st.builds(
    lambda rate, out, fee: Price("v", ((0, Rates(rate, output_text=out)),), fee),
    *[st.integers(0, 10**11)] * 3,
)
deployments = st.lists(
    st.builds(
        lambda name, location, retention, clearance, price, window, abilities: Deployment(
            name,
            "p" + name,
            "k",
            "m",
            "a",
            b"",
            (),
            location,
            retention,
            clearance,
            price,
            window,
            capabilities=abilities,
        ),
        st.sampled_from(NAMES),
        st.sampled_from(["eu", "us", "unknown"]),
        st.sampled_from(["none", "zdr", "30d", "unknown"]),
        st.integers(0, 3),
        prices,
        st.none() | st.integers(1, 10_000),
        st.none() | st.frozensets(st.sampled_from(["tools", "vision"])),
    ),
    unique_by=lambda deployment: deployment.name,
    max_size=6,
)
seconds = st.floats(0, 100) | st.just(float("nan"))
views = st.builds(
    lambda draw, measured, in_flight, share: View(0.0, draw, measured, in_flight, {}, share),
    st.floats(0, 1, exclude_max=True),
    st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 1)),
        st.builds(Measured, st.integers(0, 100), seconds, seconds, seconds, seconds),
    ),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9)),
    st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1)),
)
requests = st.builds(
    lambda level, tokens, needs: Request(
        Call("1", "chat", "chat", b"", needs=needs), Principal("k"), Sensitivity(level), tokens
    ),
    st.integers(0, 3),
    st.integers(0, 20_000),
    st.frozensets(st.sampled_from(["tools", "vision"])),
)


def policies(candidates: list[Deployment]) -> list[Policy]:
    filters: list[Policy] = [
        Clearance(["a", "b", "c", "d"]), Location(["eu"]), Retention(["none"]), Provider(["pd1"]), Named(NAMES[:3]),
        PriceCap(10**10, 10**10), Capable(), ContextWindow(), Latency(1.0, 0.1),
    ]  # fmt: skip
    return [*filters, *picks(candidates)]


def picks(candidates: list[Deployment]) -> list[Policy]:
    weighted = Weighted({name: index for index, name in enumerate(NAMES)})
    return [Cheapest(candidates), Fastest(), Balanced(candidates), LeastLoaded(), weighted, InOrder()]


@given(deployments, views, requests)
def test_a_policy_keeps_or_removes_each_candidate_once_and_never_keeps_what_it_was_not_given(candidates, view, request):
    given_names = sorted(one.name for one in candidates)
    for policy in policies(candidates):
        ranking = policy.rank(request, candidates, view)
        told = [one.name for one in ranking.kept] + [one.deployment for one in ranking.removed]
        assert sorted(told) == given_names, policy.name
        assert all(one in candidates for one in ranking.kept)
        assert all(removal.why for removal in ranking.removed)


@given(deployments, views, requests)
def test_a_pick_only_sorts_and_scores_each_or_none(candidates, view, request):
    for policy in picks(candidates):
        ranking = policy.rank(request, candidates, view)
        assert not ranking.removed
        assert len(ranking.scores) in (0, len(candidates))


@given(deployments, views, requests)
def test_the_same_arguments_give_the_same_answer(candidates, view, request):
    for policy in policies(candidates):
        assert policy.rank(request, candidates, view) == policy.rank(request, candidates, view)
