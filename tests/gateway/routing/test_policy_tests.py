"""The tests of a config: the examples that an operator would write, passing and failing."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.types import Principal, Sensitivity
from gateway.routing import Expect, Given, PolicyTest, run_tests


def classify(text: str, principal: Principal) -> Sensitivity:
    return Sensitivity(3, ("pii: us_ssn",)) if "536-90-4399" in text else Sensitivity(1)


def run(routing, given: Given, expect: Expect, **more) -> list[str]:
    return run_tests([PolicyTest("policies.tests[0]", given, expect)], routing, classify, **more)


SSN = Given(model="chat", text="my SSN is 536-90-4399")


@pytest.mark.parametrize(
    ("given", "expect"),
    [
        (SSN, Expect(only=frozenset({"local-qwen"}), sensitivity=3)),
        (msgspec.structs.replace(SSN, down=frozenset({"local-qwen"})), Expect(error="no_permitted_deployment")),
        (Given(model="chat", stream=True, ttft_p95={"local-qwen": 2.0}), Expect(first="azure-mini")),
        (Given(model="chat"), Expect(first="local-qwen", never=frozenset({"haiku"}))),
        (Given(model="smart", team="sales-eu"), Expect(only=frozenset({"local-qwen"}))),
        (Given(model="smart", sensitivity=2), Expect(only=frozenset({"local-qwen"}), sensitivity=2)),
        (Given(model="nothing"), Expect(error="model_not_found")),
        (Given(model="gpt-6", sensitivity=3), Expect(error="no_permitted_deployment")),
    ],
)
def test_tests_that_hold(routing, given, expect):
    assert run(routing, given, expect) == []


@pytest.mark.parametrize(
    ("given", "expect", "failure"),
    [
        (Given(model="smart"), Expect(first="haiku"), "expected haiku first, got local-qwen, haiku, gpt-mini"),
        (Given(model="smart"), Expect(only=frozenset({"haiku"})), "expected only haiku, got also local-qwen, gpt-mini"),
        (Given(model="smart"), Expect(never=frozenset({"haiku"})), "expected never haiku, got local-qwen"),
        (Given(model="smart"), Expect(error="model_not_found"), "expected error model_not_found, got local-qwen"),
        (SSN, Expect(sensitivity=1), "expected sensitivity internal, got restricted"),
        (Given(model="nothing"), Expect(first="haiku"), "expected haiku first, got error model_not_found"),
        (Given(model="nothing"), Expect(error="overloaded"), "expected error overloaded, got model_not_found"),
    ],
)
def test_tests_that_fail_say_what_came_instead(routing, given, expect, failure):
    (line,) = run(routing, given, expect)
    assert line.startswith(f"policies.tests[0]: {failure}")


def test_they_run_in_a_world_where_every_provider_has_its_key(world):
    for name, one in world.deployments.items():
        world.deployments[name] = msgspec.structs.replace(one, disabled="no key")
    assert run(world.routing(), Given(model="smart"), Expect(first="local-qwen")) == []


def test_a_given_team_brings_its_floor_and_tags(routing):
    def sales(given: Given) -> Principal:
        return Principal("k", given.team, sensitivity=3, tags=(("cost_center", "4711"),))

    assert run(routing, Given(model="smart", team="x"), Expect(sensitivity=3), principal=sales) == []


def test_prompt_sizes_can_be_stated_without_a_text(world):
    from gateway.routing import Guarantee, When
    from policies.location import Location

    routing = world.routing(Guarantee("long", (Location(["self_hosted"]),), When(prompt_tokens_over=9000)))
    only = Expect(only=frozenset({"local-qwen"}))
    assert run(routing, Given(model="smart", prompt_tokens_over=9000), only) == []
    assert len(run(routing, Given(model="smart", prompt_tokens_under=9000), only)) == 1
