"""What holds for any rules and any call: the permitted set is never left, and never grows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import CallError
from gateway.core.money import Price, Rates
from gateway.core.policy import Measured, View
from gateway.core.types import Call, Deployment, Plan, Principal, Request, Sensitivity
from gateway.routing import Guarantee, Route, Routing, When
from gateway.routing.proof import prove
from policies.balanced import Balanced
from policies.capable import Capable
from policies.cheapest import Cheapest
from policies.clearance import Clearance
from policies.context_window import ContextWindow
from policies.fastest import Fastest
from policies.in_order import InOrder
from policies.latency import Latency
from policies.least_loaded import LeastLoaded
from policies.location import Location
from policies.price_cap import PriceCap
from policies.retention import Retention
from policies.weighted import Weighted

LEVELS = ("low", "middle", "high")
NAMES = ["d0", "d1", "d2", "d3", "d4"]
PRICES = [None, *(Price("v", ((0, Rates(rate, output_text=rate)),)) for rate in (0, 10**9, 10**10))]

fleets = st.tuples(
    *[
        st.builds(
            lambda location, retention, clearance, price, window, able, name=name: Deployment(
                name, f"p-{name}", "k", "m", "a", b"", (), location, retention, clearance, price, window,
                capabilities=able,
            ),
            st.sampled_from(["eu", "us"]),
            st.sampled_from(["none", "30d"]),
            st.integers(0, 2),
            st.sampled_from(PRICES),
            st.sampled_from([None, 100, 10_000]),
            st.sampled_from([None, frozenset({"tools"}), frozenset()]),
        )
        for name in NAMES
    ]
)  # fmt: skip
some = st.none() | st.frozensets(st.sampled_from("ab"), min_size=1)
whens = st.builds(
    When,
    model=st.none() | st.sampled_from([("m",), ("m", "n"), ("x-*",), ("*",), ("d1",), ("p-d2/m",)]),
    stream=st.none() | st.booleans(),
    team=some,
    key=some,
    user=some,
    tag=some.map(lambda values: (("t", values),) if values else ()),
    sensitivity=st.integers(0, 2),
    prompt_tokens_over=st.none() | st.integers(0, 200),
    prompt_tokens_under=st.none() | st.integers(1, 200),
)
guarantee_policies = st.sampled_from(
    [(Location(["eu"]),), (Retention(["none"]),), (PriceCap(10**9),), (Location(["eu"]), Retention(["none"]))]
)
requests = st.builds(
    lambda model, stream, needs, key, team, user, other, tag, level, tokens: Request(
        Call("1", "chat", "chat", b"", model=model, stream=stream, needs=needs, user=other),
        Principal(key, team, user),
        Sensitivity(level),
        tokens,
        tags=(("t", tag),) if tag else (),
    ),
    st.sampled_from([None, "auto", "m", "n", "x-1", "x-2", "d0", "d1", "d2", "p-d1/m", "p-d2/m", "nothing"]),
    st.booleans(),
    st.sampled_from([frozenset(), frozenset({"tools"})]),
    st.sampled_from("abc"),
    *[st.none() | st.sampled_from("abc")] * 4,
    st.integers(0, 2),
    st.integers(0, 300),
)
views = st.builds(
    lambda draw, seen, busy: View(0.0, draw, seen, busy),
    st.floats(0, 1, exclude_max=True),
    st.dictionaries(
        st.tuples(st.sampled_from(NAMES), st.just(0)),
        st.builds(Measured, st.integers(0, 60), *[st.floats(0, 5)] * 4),
    ),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 5)),
)
downs = st.dictionaries(st.sampled_from(NAMES), st.just("down"), max_size=3)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[Deployment, ...], list[Guarantee], list[Route]]:
    fleet = draw(fleets)
    guarantees = [
        Guarantee(f"g{index}", draw(guarantee_policies), draw(whens)) for index in range(draw(st.integers(0, 3)))
    ]
    picks = [
        InOrder(), Cheapest(fleet), Fastest(), LeastLoaded(), Balanced(fleet), Weighted(dict.fromkeys(NAMES, 1.0)),
    ]  # fmt: skip
    routes = [
        Route(
            f"r{index}",
            tuple(draw(st.lists(st.sampled_from(fleet), min_size=1, unique_by=lambda one: one.name))),
            draw(st.sampled_from(picks)),
            draw(whens),
            draw(st.sampled_from([(), (Latency(1.0),), (PriceCap(10**9), Latency(0.5, 0.5))])),
            draw(st.sampled_from([None, Fastest(), InOrder()])),
        )
        for index in range(draw(st.integers(0, 3)))
    ]
    return fleet, guarantees, [*routes, Route("default", fleet, draw(st.sampled_from(picks)))]


def compile_routing(fleet, guarantees, routes) -> Routing:
    return Routing(
        fleet,
        guarantees,
        routes,
        levels=LEVELS,
        clearance=Clearance(LEVELS),
        capable=Capable(),
        window=ContextWindow(),
    )


def outcome(routing: Routing, request: Request, view: View, down: dict[str, str]) -> Plan | tuple[str, str]:
    try:
        return routing.plan(request, view, down)
    except CallError as error:
        return (type(error).__name__, error.message)


def applies(guarantee: Guarantee, request: Request, plan: Plan) -> bool:
    names = ()
    if plan.route == "direct":
        names = (plan.candidates[0].name, f"{plan.candidates[0].provider}/{plan.candidates[0].model}")
    return guarantee.when.matches(request, names)


@settings(max_examples=300)
@given(worlds(), requests, views, downs)
def test_candidates_are_permitted_cleared_up_and_within_every_guarantee(world, request, view, down):
    fleet, guarantees, routes = world
    plan = outcome(compile_routing(*world), request, view, down)
    if not isinstance(plan, Plan):
        return
    assert plan.candidates
    assert len({one.name for one in plan.candidates}) == len(plan.candidates)
    for one in plan.candidates:
        assert one.name in plan.permitted
        assert one.name not in down
        assert one.clearance >= request.sensitivity.level
        for guarantee in guarantees:
            if applies(guarantee, request, plan):
                for policy in guarantee.policies:
                    assert policy.rank(request, [one], view).kept
    told = [one.name for one in plan.candidates] + [removal.deployment for removal in plan.removed]
    among = fleet if plan.route == "default" else next((r.among for r in routes if r.name == plan.route), None)
    if among is not None:
        assert sorted(told) == sorted(one.name for one in among)


@settings(max_examples=200)
@given(worlds(), requests, views, whens, guarantee_policies)
def test_another_guarantee_never_enlarges_what_is_permitted(world, request, view, when, policies):
    fleet, guarantees, routes = world
    before = outcome(compile_routing(*world), request, view, {})
    after = outcome(compile_routing(fleet, [*guarantees, Guarantee("more", policies, when)], routes), request, view, {})
    if isinstance(after, Plan) and isinstance(before, Plan):
        assert after.permitted <= before.permitted
    if not isinstance(before, Plan) and before[0] in ("Forbidden", "UnknownModel"):
        assert not isinstance(after, Plan)


@settings(max_examples=200)
@given(worlds(), st.lists(requests, min_size=2, max_size=12), views, downs)
def test_what_is_remembered_is_what_would_be_worked_out_afresh(world, calls, view, down):
    remembering = compile_routing(*world)
    for request in calls + calls:
        assert outcome(remembering, request, view, down) == outcome(compile_routing(*world), request, view, down)


@settings(max_examples=100)
@given(worlds())
def test_no_config_makes_the_engine_reach_what_the_proof_does_not_permit(world):
    assert not [line for line in prove(compile_routing(*world)).errors if "would reach" in line]
