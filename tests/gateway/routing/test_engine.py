"""The engine: what is permitted, what is removed and why, what is picked, and what is refused."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from gateway.core.errors import BadRequest, Forbidden, Overloaded
from gateway.core.policy import Measured, Ranking, View
from gateway.core.types import Plan, Principal
from gateway.routing import Guarantee, Route, When
from policies.capable import Capable
from policies.deployment import Named
from policies.in_order import InOrder
from policies.latency import Latency
from policies.location import Location
from policies.weighted import Weighted

VIEW = View(now=0.0, draw=0.5)
SALES_EU = Principal("alice", team="sales-eu")


def names(plan: Plan) -> list[str]:
    return [deployment.name for deployment in plan.candidates]


def rules(plan: Plan) -> dict[str, str]:
    return {removal.deployment: removal.rule for removal in plan.removed}


def test_a_plan_says_where_in_which_order_and_who_was_removed_by_which_rule(routing, ask):
    plan = routing.plan(ask("smart", level=2), VIEW)
    assert (plan.route, plan.pick, names(plan)) == ("smart", "in_order", ["local-qwen"])
    assert plan.permitted == {"local-qwen"}
    assert [(one.deployment, one.rule, one.why) for one in plan.removed] == [
        ("haiku", "clearance", "confidential > internal"),
        ("gpt-mini", "clearance", "confidential > internal"),
    ]


def test_guarantees_accumulate_and_name_themselves(routing, ask):
    plan = routing.plan(ask(None, who=SALES_EU), VIEW)
    assert plan.permitted == {"local-qwen", "azure-mini"}
    assert rules(plan) == {"gpt-mini": "eu-customers", "haiku": "eu-customers", "opus": "eu-customers"}
    assert rules(routing.plan(ask(None), VIEW)) == {"opus": "price-cap"}


def test_guarantees_bind_a_deployment_called_by_name(routing, ask):
    assert names(routing.plan(ask("gpt-mini"), VIEW)) == ["gpt-mini"]
    with pytest.raises(Forbidden, match=r"clearance \(restricted > internal\)") as refused:
        routing.plan(ask("gpt-mini", level=3), VIEW)
    assert refused.value.code == "no_permitted_deployment"


def test_a_guarantee_on_a_deployments_name_holds_for_its_other_name_too(world, ask):
    only_pool = Guarantee("no-mini", (Location(["self_hosted"]),), When(model=("gpt-mini",)))
    routing = world.routing(only_pool)
    for name in ("gpt-mini", "openai/gpt-5-mini"):
        with pytest.raises(Forbidden, match="no-mini"):
            routing.plan(ask(name), VIEW)


def test_where_guarantees_leave_nothing_the_error_names_the_rules(world, ask):
    routing = world.routing(Guarantee("nobody", (Named(["elsewhere"]),)))
    with pytest.raises(Forbidden) as refused:
        routing.plan(ask("smart", level=3), VIEW)
    assert "clearance (restricted > internal)" in refused.value.message
    assert "nobody (deployment local-qwen is not elsewhere)" in refused.value.message


def test_where_capability_leaves_nothing_the_error_names_what_is_missing(world, ask):
    for name, one in world.deployments.items():
        world.deployments[name] = msgspec.structs.replace(one, capabilities=frozenset({"logprobs"}))
    routing = world.routing(routes=[Route("all", world.among("gpt-mini", "haiku"), InOrder())])
    with pytest.raises(BadRequest, match="no permitted deployment of route 'all' can do: tools") as refused:
        routing.plan(ask(None, needs=frozenset({"tools"})), VIEW)
    assert refused.value.code == "unsupported_capability"


def test_a_capability_never_turns_a_forbidden_call_into_a_bad_request(world, ask):
    one = msgspec.structs.replace(world.deployments["gpt-mini"], capabilities=frozenset())
    routing = world.routing(routes=[Route("one", (one,), InOrder())])
    with pytest.raises(Forbidden):
        routing.plan(ask(None, level=3, needs=frozenset({"tools"})), VIEW)


def test_a_disabled_deployment_is_shown_and_never_chosen(world, ask):
    world.deployments["gpt-mini"] = msgspec.structs.replace(world.deployments["gpt-mini"], disabled="no key")
    routing = world.routing(routes=[Route("two", world.among("gpt-mini", "haiku"), InOrder(), When(model=("two",)))])
    plan = routing.plan(ask("two"), VIEW)
    assert names(plan) == ["haiku"]
    assert [(one.deployment, one.rule, one.why) for one in plan.removed] == [("gpt-mini", "disabled", "no key")]
    with pytest.raises(Overloaded, match=r"disabled: gpt-mini \(no key\)"):
        routing.plan(ask("gpt-mini"), VIEW)
    assert names(routing.assuming_enabled().plan(ask("two"), VIEW)) == ["gpt-mini", "haiku"]


def test_what_is_unavailable_is_left_out_with_the_reason_and_stays_permitted(routing, ask):
    plan = routing.plan(ask("smart"), VIEW, {"local-qwen": "breaker open", "azure-mini": "down"})
    assert names(plan) == ["haiku", "gpt-mini"]
    assert rules(plan) == {"local-qwen": "breaker open"}
    assert "local-qwen" in plan.permitted


def test_where_all_that_is_permitted_is_unavailable_the_call_is_shed(routing, ask):
    with pytest.raises(Overloaded, match=r"local-qwen \(resting\)") as shed:
        routing.plan(ask("smart", level=3), VIEW, {"local-qwen": "resting"})
    assert shed.value.code == "no_permitted_deployment"


def test_a_prompt_too_long_for_some_goes_to_the_others(world, ask):
    world.deployments["haiku"] = msgspec.structs.replace(world.deployments["haiku"], context_window=200_000)
    routing = world.routing(routes=[Route("two", world.among("gpt-mini", "haiku"), InOrder())])
    assert names(routing.plan(ask(None, tokens=99_000), VIEW)) == ["gpt-mini", "haiku"]
    plan = routing.plan(ask(None, tokens=99_000, max_tokens=2_000), VIEW)
    assert (names(plan), rules(plan)) == (["haiku"], {"gpt-mini": "context_window"})
    with pytest.raises(BadRequest) as refused:
        routing.plan(ask(None, tokens=500_000), VIEW)
    assert refused.value.code == "context_length_exceeded"


def measured(p95: float) -> Measured:
    return Measured(100, p95, p95, 0.01, 0.01)


def test_the_pick_sorts_within_what_is_proven_and_the_unproven_come_after(routing, ask):
    view = View(now=0.0, draw=0.5, measured={("haiku", 0): measured(0.5), ("local-qwen", 0): measured(2.0)})
    plan = routing.plan(ask(stream=True), view)
    assert (plan.route, plan.pick) == ("interactive", "cheapest")
    assert names(plan) == ["haiku", "azure-mini", "gpt-mini"]  # dearer, yet proven
    assert rules(plan) == {"local-qwen": "latency"}
    assert len(plan.scores) == 3
    assert plan.note == "that meet ttft p95 800ms (2 unproven)"


def test_an_unproven_deployment_is_put_first_for_a_share_of_calls(routing, ask):
    seen = {("haiku", 0): measured(0.5)}
    firsts = {
        names(routing.plan(ask(stream=True), View(now=0.0, draw=step / 500, measured=seen)))[0] for step in range(500)
    }
    assert firsts == {"local-qwen", "azure-mini", "gpt-mini", "haiku"}


def test_where_nobody_meets_the_requirement_if_none_picks_and_says_so(routing, ask):
    slow = {
        (name, 0): measured(3.0 + index) for index, name in enumerate(["haiku", "gpt-mini", "azure-mini", "local-qwen"])
    }
    plan = routing.plan(ask(stream=True), View(now=0.0, draw=0.5, measured=slow))
    assert plan.pick == "fastest"
    assert names(plan) == ["haiku", "gpt-mini", "azure-mini", "local-qwen"]
    assert plan.note.startswith("nobody meets what the route requires (local-qwen: ttft p95 6s > 800ms")
    assert not plan.removed


def test_if_none_reject_refuses(world, ask):
    route = Route("strict", world.among("haiku"), InOrder(), require=(Latency(0.8),))
    with pytest.raises(Overloaded, match="haiku: ttft p95 3s > 800ms") as refused:
        world.routing(routes=[route]).plan(ask(None), View(0.0, 0.5, {("haiku", 0): measured(3.0)}))
    assert refused.value.code == "requirement_unmet"


class Rogue:
    """A policy that keeps a deployment which it was not given."""

    name = "rogue"

    def __init__(self, smuggled):
        self.smuggled = smuggled

    def rank(self, request, candidates, view):
        return Ranking([self.smuggled, *candidates])


def test_a_policy_that_keeps_what_it_was_not_given_gets_nothing_past_the_engine(world, ask):
    rogue = Rogue(world.deployments["gpt-mini"])
    routes = [Route("two", world.among("local-qwen", "gpt-mini"), InOrder())]
    smuggling = world.routing(Guarantee("rogue", (rogue,)), routes=routes)
    assert names(smuggling.plan(ask(None, level=3), VIEW)) == ["local-qwen"]
    routes = [Route("three", world.among("local-qwen", "azure-mini", "gpt-mini"), rogue)]
    with pytest.raises(ValueError, match="kept a deployment that it was not given"):
        world.routing(routes=routes).plan(ask(None, level=2), VIEW)


class Counted(Capable):
    """Counts how often the static rules were worked out."""

    calls = 0

    def rank(self, request, candidates, view):
        self.calls += 1
        return super().rank(request, candidates, view)


def test_calls_that_no_rule_can_tell_apart_share_one_answer(world, ask):
    routing = world.routing(Guarantee("long", (Location(["self_hosted"]),), When(prompt_tokens_over=5000)))
    routing.capable = counted = Counted()
    for index in range(100):
        routing.plan(ask("smart", tokens=index, who=Principal(f"key-{index}", team=f"team-{index}")), VIEW)
    assert counted.calls == 1
    assert names(routing.plan(ask("smart", tokens=5000), VIEW)) == ["local-qwen", "haiku", "gpt-mini"]
    assert names(routing.plan(ask("smart", tokens=5001), VIEW)) == ["local-qwen"]
    routing.plan(ask("smart", who=SALES_EU), VIEW)
    assert counted.calls == 4  # at the threshold, above it, and the team that a guarantee names


def test_names_that_callers_invent_do_not_grow_what_is_remembered_without_bound(routing, ask):
    for index in range(20_000):
        routing.plan(ask(f"gpt-{index}"), VIEW)
    assert len(routing._reaches) * 10 <= 1 << 17  # two candidates each, and the answer itself


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        (When(model=("chat",)), {"model": "chat"}),
        (When(endpoint=frozenset({"completions"})), {"endpoint": "completions"}),
        (When(dialect=frozenset({"messages"})), {"dialect": "messages"}),
        (When(stream=True), {"stream": True}),
        (When(team=frozenset({"t"})), {"who": Principal("key", team="t")}),
        (When(key=frozenset({"k"})), {"who": Principal("k")}),
        (When(user=frozenset({"u"})), {"who": Principal("key", user="u")}),
        (When(user=frozenset({"u"})), {"user": "u"}),
        (When(tag=(("env", frozenset({"prod", "test"})),)), {"who": Principal("key", tags=(("env", "prod"),))}),
        (When(sensitivity=1), {"level": 1}),
        (When(prompt_tokens_over=1000), {"tokens": 1001}),
        (When(prompt_tokens_under=1000), {"tokens": 999}),
    ],
)
def test_a_remembered_answer_is_never_given_to_a_call_that_a_guarantee_tells_apart(world, ask, when, fields):
    routes = [Route("default", world.among("local-qwen", "haiku"), InOrder())]
    routes.append(Route("named", world.among("local-qwen", "haiku"), InOrder(), When(model=("chat", "plain"))))
    routing = world.routing(Guarantee("home", (Location(["self_hosted"]),), when), routes=routes[::-1])
    plain, bound = ask("plain"), ask(**{"model": "plain", **fields})
    for _ in range(2):
        assert names(routing.plan(plain, VIEW)) == ["local-qwen", "haiku"]
        assert names(routing.plan(bound, VIEW)) == ["local-qwen"]


def test_exploring_leaves_the_weights_of_the_proven_as_they_are(world, ask):
    pick = Weighted({"local-qwen": 50, "haiku": 50})
    route = Route("r", world.among("local-qwen", "haiku", "gpt-mini"), pick, require=(Latency(0.8),))
    routing = world.routing(routes=[route])
    seen = {(name, 0): measured(0.1) for name in ("local-qwen", "haiku")}
    firsts = Counter(
        names(routing.plan(ask(None), View(now=0.0, draw=step / 10_000, measured=seen)))[0] for step in range(10_000)
    )
    assert firsts["gpt-mini"] == pytest.approx(1000, abs=50)
    assert firsts["haiku"] == pytest.approx(4500, abs=100)
