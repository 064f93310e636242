"""Conditions: which calls they match, and what can be said of two of them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.types import Call, Principal, Request, Sensitivity
from gateway.routing import Route, When
from gateway.routing.conditions import implies, may_hold_together, shadowed_by
from policies.in_order import InOrder

CALL = Call("1", "chat", "chat", b"", model="gpt-5", stream=True, user="bob")
REQUEST = Request(
    CALL,
    Principal("alice", team="sales", user="al"),
    Sensitivity(2),
    input_tokens=100,
    tags=(("env", "dev"), ("env", "prod"), ("project", "crm")),
)


def one(*words: str) -> frozenset[str]:
    return frozenset(words)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (When(), True),
        (When(model=("gpt-5",)), True),
        (When(model=("gpt-*",)), True),
        (When(model=("GPT-5", "gpt-?")), False),
        (When(endpoint=one("chat", "embeddings")), True),
        (When(endpoint=one("embeddings")), False),
        (When(dialect=one("messages")), False),
        (When(stream=True), True),
        (When(stream=False), False),
        (When(team=one("sales")), True),
        (When(team=one("legal")), False),
        (When(key=one("alice")), True),
        (When(key=one("bob")), False),
        (When(user=one("al")), True),
        (When(user=one("bob")), True),
        (When(user=one("carol")), False),
        (When(tag=(("env", one("prod")),)), True),
        (When(tag=(("env", one("prod")), ("project", one("erp")))), False),
        (When(tag=(("cost", one("1")),)), False),
        (When(sensitivity=2), True),
        (When(sensitivity=3), False),
        (When(prompt_tokens_over=99, prompt_tokens_under=101), True),
        (When(prompt_tokens_over=100), False),
        (When(prompt_tokens_under=100), False),
    ],
)
def test_every_condition_that_is_set_must_hold(when, expected):
    assert when.matches(REQUEST) is expected


def test_a_call_without_a_model_asks_for_auto():
    nameless = msgspec.structs.replace(REQUEST, call=msgspec.structs.replace(CALL, model=None))
    assert When(model=("auto",)).matches(nameless)
    assert not When(model=("gpt-5",)).matches(nameless)


few = st.none() | st.frozensets(st.sampled_from("ab"), min_size=1)
whens = st.builds(
    When,
    model=st.none() | st.lists(st.sampled_from(["a", "ab", "a*", "*b", "*"]), min_size=1).map(tuple),
    endpoint=few,
    stream=st.none() | st.booleans(),
    team=few,
    user=few,
    tag=st.dictionaries(st.sampled_from("xy"), st.frozensets(st.sampled_from("ab"), min_size=1)).map(
        lambda tags: tuple(tags.items())
    ),
    sensitivity=st.integers(0, 2),
    prompt_tokens_over=st.none() | st.integers(0, 3),
    prompt_tokens_under=st.none() | st.integers(0, 3),
)
letters = st.sampled_from("abc")
requests = st.builds(
    lambda model, endpoint, stream, team, user, other, tags, level, tokens: Request(
        Call("1", endpoint, "chat", b"", model=model, stream=stream, user=other),
        Principal("k", team, user),
        Sensitivity(level),
        tokens,
        tags=tuple(tags),
    ),
    st.sampled_from(["a", "ab", "b", "auto"]),
    letters,
    st.booleans(),
    st.none() | letters,
    st.none() | letters,
    st.none() | letters,
    st.lists(st.tuples(st.sampled_from("xy"), letters), max_size=3),
    st.integers(0, 2),
    st.integers(0, 4),
)


@given(whens, whens, requests)
def test_what_implies_another_never_matches_without_it(first, second, request):
    if implies(first, second) and first.matches(request):
        assert second.matches(request)


@given(whens, whens, requests)
def test_conditions_that_match_one_call_may_hold_together(first, second, request):
    if first.matches(request) and second.matches(request):
        assert may_hold_together(first, second)


@given(whens)
def test_a_condition_implies_itself_and_the_empty_one(when):
    assert implies(when, when)
    assert implies(when, When())


def shadows(*whens: When) -> list[str]:
    routes = [Route(f"r{index}", (), InOrder(), when) for index, when in enumerate(whens)]
    return [route.name for route in shadowed_by(routes, len(routes) - 1)]


def test_a_route_is_shadowed_by_earlier_ones_that_take_all_its_names():
    assert shadows(When(model=("a",)), When(model=("a",), stream=True)) == ["r0"]
    assert sorted(shadows(When(model=("a",)), When(model=("b",)), When(model=("a", "b")))) == ["r0", "r1"]
    assert shadows(When(), When(model=("a",))) == ["r0"]
    assert shadows(When(model=("gpt-*",)), When(model=("gpt-4*",))) == ["r0"]


def test_a_route_that_can_still_match_is_not_shadowed():
    assert not shadows(When(model=("a",), stream=True), When(model=("a",)))
    assert not shadows(When(model=("a",)), When(model=("a", "b")))
    assert not shadows(When(model=("gpt-*",)), When(model=("gpt-4",)))  # letter by letter comes first
    assert not shadows(When(model=("a",)), When(model=("gpt-*",)), When())
