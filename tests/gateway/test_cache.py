"""What may be cached, under which key, and who may be given it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cache import Cache, CacheSettings, Entry, Terms, epoch_of
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Plan, Principal, Request, Sensitivity
from gateway.state.cache import MemoryResponseCache

TTL_S = 3600.0
EPOCH = b"epoch"
PLAN = Plan("default", "in_order", frozenset({"here", "there"}), ())


def cache(**settings: object) -> Cache:
    made = CacheSettings(ttl_s=TTL_S, **settings)  # type: ignore[arg-type]
    return Cache(MemoryResponseCache(1 << 20, TTL_S), made)


def call(**fields: object) -> Call:
    facts = {"id": "c", "endpoint": "chat", "dialect": "chat", "body": b"{}", "model": "chat", **fields}
    return Call(**facts)  # type: ignore[arg-type]


def request(
    body: object = None, *, key: str = "alice", team: str | None = "sales", level: int = 0, **fields: object
) -> Request:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body or {"messages": []})
    return Request(call(body=raw, **fields), Principal(key, team), Sensitivity(level))


def deployment(name: str = "here", **facts: object) -> Deployment:
    return Deployment(name, "p", "openai", facts.pop("model", "m"), "openai", b"/v1", (), **facts)  # type: ignore[arg-type]


def entry(key: bytes = b"k", **facts: object) -> Entry:
    made = {
        "key": key,
        "body": b"body",
        "streamed": False,
        "deployment": "here",
        "usage": Usage(fresh_input=3),
        "cost_nano": 7,
        "finish": "stop",
        "created": 1000.0,
        **facts,
    }
    return Entry(**made)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "cached"),
    [
        ({"temperature": 0.0}, True),
        ({"temperature": 0}, True),
        ({"temperature": 0.1}, False),
        ({}, False),
        ({"endpoint": "embeddings"}, True),
        ({"endpoint": "completions", "temperature": 0}, True),
        ({"endpoint": "responses", "temperature": 0}, False),
        ({"temperature": 0, "cache_control": "no-store"}, False),
        ({"temperature": 0, "cache_control": "max-age=60, No-Store"}, False),
        ({"temperature": 1.0, "cache_control": "max-age=60"}, True),
        ({"temperature": 1.0, "cache_control": "no-cache"}, False),
        ({"temperature": 1.0, "cache_control": "max-age=soon"}, False),
    ],
)
def test_what_may_be_cached(fields: dict[str, object], cached: bool) -> None:
    assert (cache().terms(call(**fields), ()) is not None) is cached


def test_a_documented_default_of_zero_counts_where_every_candidate_has_it() -> None:
    zero, other = deployment(default_temperature=0.0), deployment("there", default_temperature=1.0)
    assert cache().terms(call(), (zero,)) is not None
    assert cache().terms(call(), (zero, other)) is None
    assert cache().terms(call(temperature=0.7), (zero,)) is None


def test_asked_and_never_as_configured() -> None:
    assert cache(at="asked").terms(call(temperature=0), ()) is None
    assert cache(at="asked").terms(call(cache_control="max-age=5"), ()) == Terms(5.0)
    assert cache(at="never").terms(call(temperature=0, cache_control="max-age=5"), ()) is None


def test_the_caller_bounds_the_age_and_cannot_lengthen_it() -> None:
    for directives, age in [
        ("max-age=60", 60.0),
        ('max-age="60"', 60.0),
        ("max-age=999999999", TTL_S),
        ("no-cache", 0.0),
        ("no-cache, max-age=60", 0.0),
        ("max-age=60, no-cache", 0.0),
        ("max-age=0", 0.0),
    ]:
        assert cache().terms(call(temperature=0, cache_control=directives), ()) == Terms(age), directives


def test_how_it_is_delivered_and_who_asks_for_whom_are_not_in_the_key() -> None:
    made = cache()
    plain = made.key(request({"messages": [1], "temperature": 0}), PLAN, EPOCH)
    for more in (
        {"stream": True},
        {"stream_options": {"include_usage": True}},
        {"user": "u"},
        {"metadata": {"a": "b"}},
    ):
        assert made.key(request({"messages": [1], "temperature": 0, **more}), PLAN, EPOCH) == plain
    assert made.key(request(b'{ "temperature": 0, "messages":[1] }'), PLAN, EPOCH) == plain
    assert plain is not None
    assert len(plain) == 32


def test_what_shapes_the_answer_and_who_may_see_it_are_in_the_key() -> None:
    made = cache()
    keys = [
        made.key(request(), PLAN, EPOCH),
        made.key(request({"messages": [1]}), PLAN, EPOCH),
        made.key(request({"messages": [], "temperature": 0}), PLAN, EPOCH),
        made.key(request(team="other"), PLAN, EPOCH),
        made.key(request(level=1), PLAN, EPOCH),
        made.key(request(model="smart"), PLAN, EPOCH),
        made.key(request(dialect="messages"), PLAN, EPOCH),
        made.key(request(endpoint="completions"), PLAN, EPOCH),
        made.key(request(strict=True), PLAN, EPOCH),
        made.key(request(), msgspec.structs.replace(PLAN, route="canary"), EPOCH),
        made.key(request(), PLAN, b"another epoch"),
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)


def test_sharing_is_by_key_team_or_all() -> None:
    alice, bob = request(key="alice"), request(key="bob")
    stranger, loner = request(key="carol", team="other"), request(key="sales", team=None)
    for share, same, apart in [("key", [], [bob, stranger, loner]), ("team", [bob], [stranger, loner])]:
        made = cache(share=share)
        assert all(made.key(alice, PLAN, EPOCH) == made.key(other, PLAN, EPOCH) for other in same)
        assert all(made.key(alice, PLAN, EPOCH) != made.key(other, PLAN, EPOCH) for other in apart)
    made = cache(share="all")
    assert len({made.key(one, PLAN, EPOCH) for one in (alice, bob, stranger, loner)}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"store": True},
        {"web_search_options": {"search_context_size": "low"}},
        {"tools": [{"type": "web_search_preview"}]},
        {"tools": [{"type": "function", "function": {}}, {"type": "code_execution_20250522"}]},
        {"tools": ["what"]},
        b"[1]",
        b"{",
        b'{"a": "\xff"}',
    ],
)
def test_a_body_with_side_effects_or_that_cannot_be_read_has_no_key(body: object) -> None:
    assert cache().key(request(body), PLAN, EPOCH) is None


def test_the_callers_own_tools_are_cached() -> None:
    assert cache().key(request({"tools": [{"type": "function"}], "store": False}), PLAN, EPOCH) is not None


def test_the_epoch_follows_the_models_and_not_their_order() -> None:
    one, two = deployment("one"), deployment("two")
    assert epoch_of((one, two)) == epoch_of((two, one))
    assert epoch_of((one, two)) != epoch_of((one, deployment("two", model="newer")))
    assert epoch_of((one, two)) != epoch_of((one,))


async def test_a_hit_must_be_young_permitted_and_under_its_own_key() -> None:
    made, terms = cache(), Terms(60.0)
    await made.keep(entry(), "chat")
    assert await made.lookup(b"k", PLAN, terms, 1059.0) == entry()
    assert await made.lookup(b"k", PLAN, terms, 1060.0) is None
    assert await made.lookup(b"k", PLAN, Terms(0.0), 1000.0) is None
    assert await made.lookup(b"k", Plan("r", "p", frozenset({"there"}), ()), terms, 1000.0) is None
    assert await made.lookup(b"other", PLAN, terms, 1000.0) is None


async def test_an_entry_that_a_store_hands_out_under_a_wrong_key_is_no_hit() -> None:
    class Confused(MemoryResponseCache):
        async def get(self, key: bytes, now: float) -> Entry | None:
            return entry(b"somebody else's")

    made = Cache(Confused(1000, TTL_S), CacheSettings())
    assert await made.lookup(b"k", PLAN, Terms(60.0), 1000.0) is None


@pytest.mark.parametrize(
    ("facts", "endpoint", "kept"),
    [
        ({}, "chat", True),
        ({"finish": "length"}, "chat", True),
        ({"finish": "tool_calls"}, "chat", True),
        ({"finish": "content_filter"}, "chat", False),
        ({"finish": None}, "chat", False),
        ({"finish": None}, "embeddings", True),
        ({"status": 500}, "chat", False),
        ({"body": b"x" * 101}, "chat", False),
    ],
)
async def test_only_whole_answers_are_kept(facts: dict[str, object], endpoint: str, kept: bool) -> None:
    made = cache(max_entry_bytes=100)
    assert await made.keep(entry(**facts), endpoint) is kept
    assert (await made.lookup(b"k", PLAN, Terms(60.0), 1000.0) is not None) is kept


async def test_memory_drops_the_least_asked_for_and_what_is_past_its_time() -> None:
    size = MemoryResponseCache.OVERHEAD_BYTES + 100
    store = MemoryResponseCache(3 * size, TTL_S)
    for name in (b"a", b"b", b"c"):
        await store.put(entry(name, body=b"x" * 100))
    assert await store.get(b"a", 1000.0) is not None
    await store.put(entry(b"d", body=b"x" * 100))
    assert await store.get(b"b", 1000.0) is None
    assert await store.get(b"a", 1000.0) is not None
    assert await store.get(b"a", 1000.0 + TTL_S) is None
    assert (len(store), store.size_bytes) == (2, 2 * size)
    await store.put(entry(b"e", body=b"x" * 10_000))
    assert await store.get(b"e", 1000.0) is None
    assert len(store) == 2
    await store.close()
    assert (len(store), store.size_bytes) == (0, 0)


@given(
    puts=st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c", b"d"]), st.integers(0, 3000)), max_size=40),
)
async def test_memory_never_passes_its_bound_and_counts_true(puts: list[tuple[bytes, int]]) -> None:
    store = MemoryResponseCache(5000, TTL_S)
    kept: dict[bytes, int] = {}
    for key, size in puts:
        await store.put(entry(key, body=b"x" * size))
        assert store.size_bytes <= 5000
    for key in (b"a", b"b", b"c", b"d"):
        found = await store.get(key, 1000.0)
        if found is not None:
            kept[key] = len(found.body) + MemoryResponseCache.OVERHEAD_BYTES
    assert store.size_bytes == sum(kept.values())
    assert len(store) == len(kept)
