"""Who of a pool gets calls: nobody who is barred, nobody who does not serve the model."""

from __future__ import annotations

import pytest

from gateway.core.types import Deployment, Endpoint, Origin, Outcome, Pooled
from gateway.pool.router import Pools, Routed
from tests.gateway.pool.test_pools import call, deployment

FIRST, SECOND = "http://10.0.0.0:8000", "http://10.0.0.1:8000"


def pools_of(*deployments: Deployment) -> Pools:
    pools = Pools()
    pools.watch(deployments)
    return pools


def order(pools: Pools, where: Deployment) -> list[str] | None:
    found = Routed(pools, call(), spread=lambda endpoints: endpoints[::-1]).order(where, 0.0)
    return None if found is None else [endpoint.origin.host[-1] for endpoint in found]


@pytest.mark.parametrize("routing", ["prefix", "least_loaded", "round_robin", "two_choices"])
def test_who_is_barred_gets_no_call_until_admitted(routing: str) -> None:
    where = deployment(routing=routing, replicas=2)
    pools = pools_of(where)
    pools.bar("lab", FIRST, "loading")
    assert order(pools, where) == ["1"]
    assert pools.standing.away == {}
    pools.bar("lab", SECOND, "suspect")
    assert order(pools, where) == []
    assert pools.standing.away == {where.name: "no replica is ready: loading, suspect"}
    pools.admit("lab", FIRST)
    assert order(pools, where) == ["0"]
    assert pools.standing.away == {}


def test_what_is_left_is_spread_by_two_choices_and_by_itself_where_all_stand() -> None:
    where = deployment(routing="two_choices")
    pools = pools_of(where)
    assert order(pools, where) is None
    pools.bar("lab", FIRST, "loading")
    assert order(pools, where) == ["2", "1"]


def test_with_a_server_all_its_ranks_are_barred() -> None:
    where = deployment(replicas=2, ranks=2)
    pools = pools_of(where)
    pools.bar("lab", FIRST, "loading")
    assert order(pools, where) == ["1", "1"]
    assert {str(endpoint.origin) for endpoint in [each for each in where.endpoints if not pools.barred(each)]} == {
        SECOND
    }


def test_a_replica_gets_calls_for_the_models_that_it_serves() -> None:
    old, new = deployment("old", replicas=2), deployment("new", replicas=2)
    pools = pools_of(old, new)
    pools.admit("lab", FIRST, frozenset({"old"}))
    pools.bar("lab", SECOND, "loading")
    assert order(pools, old) == ["0"]
    assert pools.standing.away == {"new": "no replica is ready: serves another model, loading"}
    pools.admit("lab", SECOND, frozenset({"old", "new"}))
    assert (order(pools, new), sorted(order(pools, old) or [])) == (["1"], ["0", "1"])


def test_bars_outlive_a_reload_and_go_with_their_provider() -> None:
    where = deployment(replicas=2)
    pools = pools_of(where)
    pools.bar("lab", FIRST, "loading")
    later = deployment(replicas=2)
    pools.watch([later])
    assert order(pools, later) == ["1"]
    assert order(pools, where) == ["1"]  # of a call that was planned before
    pools.watch([])
    pools.watch([later])
    assert len(order(pools, later) or []) == 2


def test_a_caller_is_told_when_to_come_again() -> None:
    where = deployment(replicas=2)
    pools = pools_of(where)
    pools.bar("lab", FIRST, "loading", 130.0)
    pools.bar("lab", SECOND, "pending")
    assert pools.standing.retry_after_s(100.0) == 30.0
    assert pools.standing.retry_after_s(200.0) == 1.0
    pools.bar("lab", FIRST, "failed")
    assert pools.standing.retry_after_s(100.0) == 10.0


def test_calls_under_way_are_counted_where_they_are() -> None:
    origin = Origin("http", "10.0.0.0", 8000)
    pooled = Deployment("d", "lab", "vllm", "d", "vllm", b"", (Endpoint("d#0", "d", "lab", origin),))
    where = Deployment("p", "lab", "vllm", "p", "vllm", b"", pooled.endpoints, pooled=Pooled("two_choices"))
    pools = pools_of(where)
    first, second, hosted = (Routed(pools, call()) for _ in range(3))
    first.begin(where, where.endpoints[0])
    second.begin(where, where.endpoints[0])
    hosted.begin(pooled, where.endpoints[0])
    assert pools.in_flight == {origin: 2}
    for routed in (first, second, hosted):
        routed.end(Outcome(0.0, 0.0), None)
    assert pools.in_flight == {}
