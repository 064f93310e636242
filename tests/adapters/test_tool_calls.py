"""Tool calls of a history: arguments are an object, names are ones that providers take, every call is answered."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._tool_calls import OpenCalls, arguments_of
from adapters._tool_names import callers_names, safe_names
from gateway.core.blocks import Conversation, Message, Tool, ToolCall
from gateway.core.errors import BadRequest

ALLOWED, REST = re.compile("[a-zA-Z_][a-zA-Z0-9_]{0,63}"), re.compile("[^a-zA-Z0-9_]")


@given(st.lists(st.text(max_size=80), max_size=6), st.lists(st.text(max_size=80), max_size=3))
def test_names_are_allowed_no_two_alike_and_lead_back(tools: list[str], called: list[str]) -> None:
    calls = Message("assistant", tuple(ToolCall("i", name, "{}") for name in called))
    conversation = Conversation((calls,), tuple(Tool(name) for name in tools))
    names = safe_names(conversation, ALLOWED, REST, 60)
    assert names.keys() == {*tools, *called}
    assert len(set(names.values())) == len(names)
    assert all(ALLOWED.fullmatch(name) for name in names.values())
    assert all(names[name] == name for name in names if ALLOWED.fullmatch(name))
    back = callers_names(names)
    assert all(back.get(safe, safe) == name for name, safe in names.items())


def test_a_name_of_a_providers_own_tool_is_not_taken_twice() -> None:
    own = Tool("web_search", native={"type": "web_search"})
    names = safe_names(Conversation((), (own, Tool("web.search"))), ALLOWED, REST)
    assert names == {"web.search": "web_search_2"}


@pytest.mark.parametrize("arguments", ["{", "[]", "1", '"a"'])
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    with pytest.raises(BadRequest) as caught:
        arguments_of(ToolCall("i", "f", arguments), "messages.1.tool_calls.0")
    assert caught.value.param == "messages.1.tool_calls.0.function.arguments"
    assert arguments_of(ToolCall("i", "f", " "), "x") == {}


def test_calls_are_answered_in_their_order_and_none_is_left() -> None:
    calls: OpenCalls[int] = OpenCalls()
    assert not calls
    for number, call_id in enumerate(("a", "b", "a")):
        calls.add(call_id, number)
    assert [calls.answer(call_id, "messages.2") for call_id in ("a", "a")] == [0, 2]
    with pytest.raises(BadRequest) as caught:
        calls.answer("a", "messages.2")
    assert caught.value.param == "messages.2.tool_call_id"
    with pytest.raises(BadRequest) as caught:
        calls.close(1)
    assert caught.value.param == "messages.1.tool_calls"
    calls.answer("b", "messages.2")
    calls.close(1)
