"""Decisions as sentences and as data."""

from __future__ import annotations

import msgspec

from gateway.core.errors import Reason
from gateway.core.policy import View
from gateway.core.types import Endpoint, Origin, Sensitivity
from gateway.routing import Decision, Tried, decide, sentence
from policies.cheapest import Cheapest

LEVELS = ("public", "internal", "confidential", "restricted")
VIEW = View(now=0.0, draw=0.5)


def test_a_decision_reads_as_one_sentence(world, ask):
    from gateway.core.policy import Measured
    from gateway.routing import Route, When
    from policies.latency import Latency

    route = Route(
        "interactive",
        world.among("azure-mini", "local-qwen", "gpt-mini", "haiku"),
        Cheapest(world.deployments.values()),
        When(model=("chat",)),
        (Latency(0.8),),
    )
    seen = {(name, 0): Measured(99, 0.1, 0.2, 0.01, 0.01) for name in world.deployments}
    plan = world.routing(routes=[route]).plan(ask(level=2), View(0.0, 0.5, seen))
    decision = decide(plan, Sensitivity(2, ("header x-data-sensitivity",)), LEVELS, chosen="local-qwen")
    assert sentence(decision) == (
        "sent to local-qwen: cheapest of 2 that meet ttft p95 800ms; "
        "gpt-mini, haiku removed by clearance (confidential > internal); "
        "confidential because of header x-data-sensitivity"
    )


def test_a_fallback_says_who_failed_before_and_why(routing, ask):
    plan = routing.plan(ask("smart"), VIEW, {"gpt-mini": "breaker open"})
    tried = (Tried("local-qwen", "local-qwen#0", Reason.TIMEOUT), Tried("haiku", "haiku#1"))
    decision = decide(plan, Sensitivity(0), LEVELS, chosen="haiku", attempts=tried)
    assert sentence(decision) == (
        "sent to haiku: next after local-qwen, in_order of 2; failed before: local-qwen (timeout); "
        "gpt-mini removed by breaker open"
    )


def test_a_call_that_was_not_made_or_not_answered_says_so(routing, ask):
    plan = routing.plan(ask("smart", level=3), VIEW)
    assert sentence(decide(plan, Sensitivity(3), LEVELS)).startswith("would go to local-qwen: the only one left; ")
    tried = (Tried("local-qwen", "local-qwen#0", Reason.CONNECT),)
    text = sentence(decide(plan, Sensitivity(3), LEVELS, attempts=tried))
    assert text.startswith("not answered: the only one left; failed: local-qwen (connect)")


def test_a_direct_call_says_so(routing, ask):
    plan = routing.plan(ask("haiku"), VIEW)
    assert sentence(decide(plan, Sensitivity(0), LEVELS, chosen="haiku")) == "sent to haiku: called by its name"


def test_a_decision_as_json_holds_no_credential_and_reads_back(world, ask):
    endpoint = Endpoint("haiku#0", "haiku", "anthropic", Origin("https", "h", 443), ((b"x-api-key", b"sk-secret"),))
    world.deployments["haiku"] = msgspec.structs.replace(world.deployments["haiku"], endpoints=(endpoint,))
    plan = world.routing().plan(ask("haiku"), VIEW)
    written = msgspec.json.encode(decide(plan, Sensitivity(0), LEVELS, chosen="haiku"))
    assert b"sk-secret" not in written
    assert msgspec.json.decode(written, type=Decision).chosen == "haiku"


def test_an_unknown_price_is_written_as_null(world, ask):
    world.deployments["haiku"] = msgspec.structs.replace(world.deployments["haiku"], price=None)
    from gateway.routing import Route

    candidates = world.among("haiku", "gpt-mini")
    plan = world.routing(routes=[Route("r", candidates, Cheapest(candidates))]).assuming_enabled()
    world.guarantees.clear()
    plan = world.routing(routes=[Route("r", candidates, Cheapest(candidates))]).plan(ask(None), VIEW)
    decision = decide(plan, Sensitivity(0), LEVELS)
    assert msgspec.json.decode(msgspec.json.encode(decision))["scores"][1] is None
    assert "unknown prices last" in sentence(decision)
