"""The proof: the matrix, what it refuses, what it warns of, and that it would notice a leak."""

from __future__ import annotations

import msgspec

from gateway.core.policy import Ranking
from gateway.routing import Guarantee, Route, When, prove
from gateway.routing.engine import Routing
from policies.deployment import Named
from policies.in_order import InOrder
from policies.location import Location


def test_the_matrix_says_who_may_go_where(routing):
    matrix = prove(routing)
    assert not matrix.errors
    assert matrix.permitted("restricted") == {"local-qwen"}
    assert matrix.permitted("confidential") == {"local-qwen", "azure-mini"}
    assert matrix.permitted("public") == {"local-qwen", "azure-mini", "gpt-mini", "haiku"}  # opus is over the price cap
    assert matrix.permitted("public", under="eu-customers") == {"local-qwen", "azure-mini"}
    assert matrix.permitted("public", route="smart") == {"local-qwen", "haiku", "gpt-mini"}
    assert matrix.permitted("public", route="smart", under="eu-customers") == {"local-qwen"}


def test_the_matrix_reads_as_a_table(routing):
    text = prove(routing).render()
    lines = text.splitlines()
    assert lines[0].split() == ["every", "call", "public", "internal", "confidential", "restricted"]
    assert "azure-mini  yes     yes       yes           -" in text
    assert "calls under eu-customers" in text
    assert "warning: route 'hosted' has no permitted deployment for confidential, restricted calls" in text


def test_a_route_that_is_empty_at_some_level_is_a_warning(routing):
    warnings = prove(routing).warnings
    assert "route 'hosted' has no permitted deployment for confidential, restricted calls" in warnings
    assert "guarantee 'eu-customers' can leave route 'hosted' empty for public, internal calls" in warnings


def test_a_route_that_is_empty_at_every_level_is_an_error(world):
    matrix = prove(world.routing(Guarantee("moon-only", (Location(["moon"]),), When(model=("smart",)))))
    assert matrix.errors == (
        "route 'smart' can send nothing anywhere: at every level it is emptied by clearance, price-cap, moon-only",
    )


def test_a_guarantee_that_only_some_calls_of_the_route_meet_is_a_warning(world):
    matrix = prove(world.routing(Guarantee("moon-only", (Location(["moon"]),), When(stream=False))))
    assert not matrix.errors
    assert any("moon-only' can leave route 'smart' empty" in warning for warning in matrix.warnings)
    assert not any("moon-only' can leave route 'interactive'" in warning for warning in matrix.warnings)


def test_guarantees_that_empty_a_route_only_together_are_noticed(world):
    team, tag = When(team=frozenset({"a"})), When(tag=(("env", frozenset({"prod"})),))
    matrix = prove(
        world.routing(
            Guarantee("one", (Named(["local-qwen"]),), team),
            Guarantee("two", (Named(["haiku", "gpt-mini"]),), tag),
        )
    )
    assert any(line.startswith("all guarantees together can leave route 'smart' empty") for line in matrix.warnings)


def test_a_shadowed_route_is_an_error(world):
    late = Route("late", world.among("haiku"), InOrder(), When(model=("smart",)))
    (error,) = prove(world.routing(routes=[*world.routes[:-1], late])).errors
    assert error == "route 'late' can never match: 'smart' comes first and takes the same calls"


def test_disabled_deployments_count_as_enabled(world):
    for name, one in world.deployments.items():
        world.deployments[name] = msgspec.structs.replace(one, disabled="no key")
    assert prove(world.routing()).permitted("restricted", route="default") == {"local-qwen"}


class Forgetful(Named):
    """A policy that lets everything through once it is asked about few deployments at a time."""

    def rank(self, request, candidates, view):
        return Ranking(candidates) if len(candidates) < 4 else super().rank(request, candidates, view)


def test_an_engine_that_reaches_more_than_is_permitted_is_caught(world):
    errors = prove(world.routing(Guarantee("leaky", (Forgetful(["local-qwen"]),)))).errors
    assert "a public call for 'smart' would reach 'haiku', which is not permitted" in errors
    assert "a public call for 'gpt-mini' would reach 'gpt-mini', which is not permitted" in errors


def test_an_empty_config_proves_itself(world):
    routing: Routing = world.routing(routes=[])
    assert not prove(routing).errors
