"""What a model name means, and who may use it."""

from __future__ import annotations

import pytest

from gateway.core.errors import BadRequest, Forbidden, UnknownModel
from gateway.core.policy import View
from gateway.core.types import Principal
from gateway.routing import Route, When
from policies.in_order import InOrder

VIEW = View(now=0.0, draw=0.5)


@pytest.mark.parametrize(
    ("model", "stream", "route"),
    [
        ("chat", True, "interactive"),
        ("chat", False, "canary"),
        ("smart", False, "smart"),
        ("gpt-mini", False, "direct"),  # a deployment's name comes before the pattern gpt-*
        ("openai/gpt-5-mini", False, "direct"),
        ("gpt-6", False, "hosted"),
        ("auto", False, "default"),
        (None, False, "default"),
    ],
)
def test_a_name_is_a_listed_one_then_a_deployment_then_a_pattern(routing, ask, model, stream, route):
    assert routing.plan(ask(model, stream=stream), VIEW).route == route


def test_a_listed_name_comes_before_a_deployments(world, ask):
    route = Route("mini", world.among("haiku"), InOrder(), When(model=("gpt-mini",)))
    assert world.routing(routes=[*world.routes, route]).plan(ask("gpt-mini"), VIEW).route == "default"
    assert world.routing(routes=[route, *world.routes]).plan(ask("gpt-mini"), VIEW).route == "mini"


def test_a_listed_name_comes_before_an_earlier_pattern(world, ask):
    pattern = Route("pattern", world.among("haiku"), InOrder(), When(model=("gpt-*",)))
    letters = Route("letters", world.among("haiku"), InOrder(), When(model=("gpt-7",)))
    assert world.routing(routes=[pattern, letters]).plan(ask("gpt-7"), VIEW).route == "letters"


def test_a_route_without_model_takes_every_name_that_routes_serve_when_its_conditions_hold(world, ask):
    secret = Route("secret", world.among("local-qwen"), InOrder(), When(sensitivity=2))
    routing = world.routing(routes=[secret, *world.routes])
    assert routing.plan(ask("chat", level=2), VIEW).route == "secret"
    assert routing.plan(ask("gpt-6", level=2), VIEW).route == "secret"
    assert routing.plan(ask("auto", level=3), VIEW).route == "secret"
    assert routing.plan(ask("chat", level=1), VIEW).route == "canary"
    with pytest.raises(UnknownModel):
        routing.plan(ask("nothing", level=2), VIEW)


def test_an_unknown_name_is_answered_with_the_nearest_that_the_key_may_use(routing, ask):
    with pytest.raises(UnknownModel, match="model 'smrat' does not exist; did you mean 'smart'") as unknown:
        routing.plan(ask("smrat"), VIEW)
    assert (unknown.value.status, unknown.value.code, unknown.value.param) == (404, "model_not_found", "model")
    with pytest.raises(UnknownModel) as unknown:
        routing.plan(ask("smrat", who=Principal("k", models=frozenset({"chat"}))), VIEW)
    assert "smart" not in unknown.value.message


def test_a_huge_name_is_cut_in_the_error(routing, ask):
    with pytest.raises(UnknownModel) as unknown:
        routing.plan(ask("x" * 100_000), VIEW)
    assert len(unknown.value.message) < 200


def test_a_key_reaches_only_the_names_it_lists(routing, ask):
    alice = Principal("alice", models=frozenset({"chat", "gpt-*"}))
    assert routing.plan(ask("chat", who=alice), VIEW).route == "canary"
    assert routing.plan(ask("gpt-mini", who=alice), VIEW).route == "direct"
    for name in ("smart", "haiku", "anthropic/claude-haiku-4-5", "auto", None):
        with pytest.raises(Forbidden, match="this key may not use model") as refused:
            routing.plan(ask(name, who=alice), VIEW)
        assert refused.value.code == "model_not_allowed"


def test_a_key_reaches_only_its_routes(routing, ask):
    alice = Principal("alice", routes=frozenset({"smart"}))
    assert routing.plan(ask("smart", who=alice), VIEW).route == "smart"
    for name in ("chat", "gpt-mini"):
        with pytest.raises(Forbidden, match="may not use route"):
            routing.plan(ask(name, who=alice), VIEW)


def test_without_a_default_route_a_model_is_required(world, ask):
    routing = world.routing(routes=world.routes[:-1])
    with pytest.raises(BadRequest, match="a model is required") as refused:
        routing.plan(ask(None), VIEW)
    assert refused.value.param == "model"
    with pytest.raises(UnknownModel):
        routing.plan(ask("auto"), VIEW)


def test_a_name_whose_conditions_are_not_met_says_whose(world, ask):
    routing = world.routing(routes=world.routes[:1])
    with pytest.raises(UnknownModel, match="meets none of the conditions of route 'interactive'"):
        routing.plan(ask("chat", stream=False), VIEW)


def test_a_caller_sees_the_names_it_may_use(routing):
    everything = routing.usable(Principal("k"))
    assert everything == ["chat", "smart", "auto", "local-qwen", "gpt-mini", "haiku", "azure-mini", "opus"]
    assert routing.usable(Principal("k", models=frozenset({"chat", "gpt-*"}))) == ["chat", "gpt-mini"]
    assert routing.usable(Principal("k", routes=frozenset({"smart"}))) == ["smart"]
