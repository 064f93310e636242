"""The pools of a process, and one call's way through them."""

from __future__ import annotations

import json
from collections import Counter

import msgspec
import pytest

from gateway.core.errors import Reason
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Endpoint, Origin, Outcome, Pooled
from gateway.pool.router import Pools, PrefixRouter, Routed
from gateway.pool.router.pools import RANK_HEADER, replica_of

LONG = "The keeper lifts the gate before noon. " * 200


def deployment(
    name: str = "pool",
    *,
    replicas: int = 3,
    ranks: int = 1,
    credentials: int = 1,
    routing: str = "prefix",
    key: bytes | None = b"key",
) -> Deployment:
    endpoints = [
        Endpoint(
            f"{name}#{replica}.{rank}.{credential}",
            name,
            "lab",
            Origin("http", f"10.0.0.{replica}", 8000),
            auth=((RANK_HEADER, b"%d" % rank),) if ranks > 1 else (),
        )
        for replica in range(replicas)
        for rank in range(ranks)
        for credential in range(credentials)
    ]
    return Deployment(name, "lab", "vllm", name, "vllm", b"/v1", tuple(endpoints), pooled=Pooled(routing, key))


def call(text: str = LONG, *, tenant: str = "red", stream: bool = True) -> Call:
    body = json.dumps({"messages": [{"role": "user", "content": text}]}).encode()
    return Call("c", "chat", "chat", body, stream=stream, tenant=tenant)


def pools_of(*deployments: Deployment) -> Pools:
    pools = Pools()
    pools.watch(deployments)
    return pools


def answered(pools: Pools, where: Deployment, asked: Call, usage: Usage | None = None) -> Endpoint:
    routed = Routed(pools, asked)
    order = routed.order(where, 0.0)
    assert order is not None
    routed.begin(where, order[0])
    routed.first_token(1.0)
    routed.end(Outcome(2.0, 0.0), usage or Usage(2000, raw=b'{"prompt_tokens_details":{"cached_tokens":0}}'))
    return order[0]


def test_the_same_prompt_of_the_same_tenant_goes_to_the_same_replica() -> None:
    where = deployment()
    pools = pools_of(where)
    assert len({answered(pools, where, call()).id for _ in range(5)}) == 1


def test_tenants_share_prefixes_only_where_the_config_says_so() -> None:
    apart, shared = deployment("apart"), deployment("shared", key=None)
    pools = pools_of(apart, shared)
    homes = {
        name: [answered(pools, where, call(tenant=str(n))).id for n in range(12)]
        for name, where in (("apart", apart), ("shared", shared))
    }
    assert len(set(homes["apart"])) > 1
    assert len(set(homes["shared"])) == 1


def test_a_salt_is_the_same_in_every_gateway_and_tells_nothing_of_its_tenant() -> None:
    pooled = Pooled("prefix", b"key")
    assert pooled.salt("red") == Pooled("prefix", b"key").salt("red")
    assert len({pooled.salt("red"), pooled.salt("blue"), Pooled("prefix", b"other").salt("red"), ""}) == 4
    assert Pooled("prefix").salt("red") == ""


def test_each_rank_is_a_replica_and_each_credential_of_one_is_not() -> None:
    where = deployment(replicas=2, ranks=2, credentials=2)
    pools = pools_of(where)
    router = next(iter(pools)).router
    assert isinstance(router, PrefixRouter)
    assert list(router.replicas) == [f"http://10.0.0.{n}:8000#{rank}" for n in range(2) for rank in range(2)]
    order = Routed(pools, call()).order(where, 0.0)
    assert order is not None
    assert sorted(endpoint.id for endpoint in order) == sorted(endpoint.id for endpoint in where.endpoints)
    assert [replica_of(endpoint) for endpoint in order[::2]] == [replica_of(endpoint) for endpoint in order[1::2]]


def test_deployments_of_one_provider_share_what_is_known_of_its_replicas() -> None:
    one, other = deployment("one"), deployment("other")
    pools = pools_of(one, other)
    busy = Routed(pools, call(LONG * 20))
    order = busy.order(one, 0.0)
    assert order is not None
    busy.begin(one, order[0])
    elsewhere = Routed(pools, call("short")).order(other, 0.0)
    assert elsewhere is not None
    assert replica_of(elsewhere[0]) != replica_of(order[0])


@pytest.mark.parametrize(
    "where", [deployment(replicas=1), deployment(routing="two_choices")], ids=["one", "two choices"]
)
def test_no_router_has_a_say_where_there_is_nothing_to_choose_or_it_is_not_wanted(where: Deployment) -> None:
    routed = Routed(pools_of(where), call())
    assert routed.order(where, 0.0) is None
    routed.begin(where, where.endpoints[0])
    routed.first_token(1.0)
    routed.end(Outcome(2.0, 0.0), None)


@pytest.mark.parametrize("routing", ["least_loaded", "round_robin"])
def test_counts_alone_spread_calls_evenly(routing: str) -> None:
    where = deployment(routing=routing)
    pools = pools_of(where)
    routes = [Routed(pools, call()) for _ in range(30)]
    placed = []
    for routed in routes:
        order = routed.order(where, 0.0)
        assert order is not None
        routed.begin(where, order[0])
        placed.append(order[0].id)
    assert set(Counter(placed).values()) == {10}
    for routed in routes:
        routed.end(Outcome(2.0, 0.0, Reason.CONNECT), None)
        routed.end(Outcome(2.0, 0.0, Reason.CONNECT), None)
    assert set(next(iter(pools)).router.in_flight.values()) == {0}  # type: ignore[attr-defined]


def test_a_new_config_keeps_what_was_learned_and_another_routing_begins_anew() -> None:
    where = deployment()
    pools = pools_of(where)
    home = answered(pools, where, call())
    pools.watch([where])
    assert answered(pools, where, call()).id == home.id
    router = next(iter(pools)).router
    pools.watch([deployment(routing="round_robin")])
    assert next(iter(pools)).router is not router
    pools.watch([])
    assert not pools


def test_a_call_keeps_to_the_endpoints_that_it_was_planned_with() -> None:
    before, after = deployment(replicas=2), deployment(replicas=4)
    pools = pools_of(before)
    routed = Routed(pools, call())
    pools.watch([after])
    order = routed.order(before, 0.0)
    assert order is not None
    assert sorted(map(id, order)) == sorted(map(id, before.endpoints))


def test_a_call_under_way_ends_well_whose_pool_is_gone() -> None:
    where = deployment()
    pools = pools_of(where)
    routed = Routed(pools, call())
    order = routed.order(where, 0.0)
    assert order is not None
    routed.begin(where, order[0])
    pools.watch([])
    routed.first_token(1.0)
    routed.end(Outcome(2.0, 0.0), Usage(10, raw=b"{}"))
    assert routed.order(where, 3.0) is None


@pytest.mark.parametrize(
    ("usage", "trusted"),
    [
        (Usage(2000, raw=b'{"prompt_tokens_details":{"cached_tokens":0}}'), False),
        (Usage(2000, raw=b'{"prompt_tokens_details":null}'), True),
        (Usage(2000, estimated=True), True),
        (Usage(2000, raw=b'{"cached_tokens":0}', suspect=True), True),
    ],
    ids=["none were", "not told", "estimated", "suspect"],
)
def test_only_a_word_of_cached_tokens_teaches_that_there_were_none(usage: Usage, trusted: bool) -> None:
    where = deployment()
    pools = pools_of(where)
    for _ in range(3):
        answered(pools, where, call(), usage)
    router = next(iter(pools)).router
    assert isinstance(router, PrefixRouter)
    assert (min(replica.confidence for replica in router.replicas.values()) == 1.0) is trusted


def test_an_adapter_of_the_same_replicas_has_prefixes_of_its_own() -> None:
    base = deployment("base")
    lora = msgspec.structs.replace(base, name="lora", model="base-lora")
    pools = pools_of(base, lora)
    answered(pools, base, call())
    router = next(iter(pools)).router
    assert isinstance(router, PrefixRouter)
    of = {each.name: Routed(pools, call())._read(each) for each in (base, lora)}
    assert router.index.leading(of["base"].blocks)
    assert not router.index.leading(of["lora"].blocks)


def test_a_conversation_is_named_by_a_header_too() -> None:
    where = deployment()
    pools = pools_of(where)
    named, other, unnamed = (Routed(pools, call(), session)._read(where) for session in (b"s-1", b"s-2", b""))
    assert named.session == Routed(pools, call("else"), b"s-1")._read(where).session
    assert len({named.session, other.session, unnamed.session}) == 3
    assert unnamed.session == 0


def test_who_is_barred_gets_no_calls_until_it_is_admitted_and_a_pool_without_members_is_away() -> None:
    where = deployment(replicas=2, ranks=2)
    pools = pools_of(where)
    assert not pools.bars
    assert pools.barred(where.endpoints[0]) is None
    pools.bar("lab", "http://10.0.0.0:8000", "hangs")
    assert [pools.barred(each) for each in where.endpoints] == ["hangs", "hangs", None, None]
    assert pools.away([where]) == {}
    pools.bar("lab", "http://10.0.0.1:8000", "gone")
    assert pools.away([where]) == {"pool": "no replica is ready: hangs, gone"}
    pools.admit("lab", "http://10.0.0.0:8000")
    pools.admit("lab", "http://10.0.0.0:8000")
    assert pools.away([where]) == {}
    assert pools.bars


def test_who_watches_is_told_how_each_call_ended_and_where() -> None:
    where = deployment()
    pools = pools_of(where)
    told: list[tuple[str, Reason | None]] = []
    pools.heard = lambda endpoint, outcome: told.append((endpoint.id, outcome.reason))
    at = answered(pools, where, call())
    routed = Routed(pools, call())
    routed.begin(where, where.endpoints[1])
    routed.end(Outcome(2.0, 0.0, Reason.CONNECT), None)
    routed.end(Outcome(3.0, 0.0, Reason.CONNECT), None)
    assert told == [(at.id, None), (where.endpoints[1].id, Reason.CONNECT)]
