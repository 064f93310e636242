"""Tools, their choice and the form of an answer become Anthropic's, or are refused by their path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adapters.anthropic_wire import CLOSED, FORM, SEARCH, a_tool, answers, asks, calls, encode, refused, sent

# -- 6, 7: tools ----------------------------------------------------------------------------------------------------


def test_a_tools_schema_has_an_object_at_its_root() -> None:
    referred = {"$ref": "#/$defs/Q", "$defs": {"Q": {"type": "object", "properties": {"q": {"$ref": "#/$defs/S"}}}}}
    body = sent(tools=[a_tool("a"), a_tool("b", parameters={"properties": {}}), a_tool("c", parameters=referred)])
    schemas = [tool["input_schema"] for tool in body["tools"]]
    assert schemas[0] == {"type": "object", "properties": {}}
    assert schemas[1] == {"properties": {}, "type": "object"}
    assert schemas[2]["type"] == "object"
    assert schemas[2]["properties"] == {"q": {"$ref": "#/$defs/S"}}
    assert "$ref" not in schemas[2]


def test_a_schema_with_alternatives_at_its_root_is_refused() -> None:
    assert refused(tools=[a_tool("a", parameters={"anyOf": [{"type": "object"}]})]) == "tools.0.function.parameters"


def test_tool_names_are_made_safe_without_collisions_everywhere_they_stand() -> None:
    body = sent(
        tools=[a_tool("a.b"), a_tool("a_b"), a_tool("a:b"), a_tool("x" * 200)],
        tool_choice={"type": "function", "function": {"name": "a:b"}},
        messages=[asks(), calls("t", name="a.b"), answers("t")],
    )
    names = [tool["name"] for tool in body["tools"]]
    assert names[:3] == ["a_b_2", "a_b", "a_b_3"]
    assert len(set(names)) == 4
    assert len(names[3]) <= 128
    assert body["tool_choice"] == {"type": "tool", "name": "a_b_3"}
    assert body["messages"][1]["content"][0]["name"] == "a_b_2"


def test_a_strict_tool_is_strict_where_model_and_schema_allow_it() -> None:
    tool = a_tool("a", parameters={**CLOSED, "properties": {"n": {"type": "integer", "minimum": 3}}}, strict=True)
    request = encode(tools=[tool])
    written = json.loads(request.body)["tools"][0]
    assert written["strict"] is True
    assert written["input_schema"]["additionalProperties"] is False
    assert written["input_schema"]["properties"]["n"] == {"type": "integer", "description": '{"minimum":3}'}
    assert request.warnings == ("tools.0.function.parameters: minimum not enforced, only described",)
    old = encode("claude-3-5-haiku-20241022", tools=[tool])
    assert "strict" not in json.loads(old.body)["tools"][0]
    assert old.warnings[0].startswith("tools.0.function.strict")


def test_a_history_with_tool_calls_gets_definitions_that_are_not_to_be_called() -> None:
    body = sent(messages=[asks(), calls("a"), answers("a")])
    assert body["tools"] == [{"name": "search", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


def test_anthropics_own_tools_pass_with_the_beta_they_need() -> None:
    computer = {"type": "computer_20250124", "name": "computer", "display_width_px": 8, "display_height_px": 8}
    web = {"type": "web_search_20250305", "name": "web_search"}
    request = encode(tools=[computer, web, SEARCH], mcp_servers=[{"type": "url", "name": "x", "url": "https://x"}])
    body = json.loads(request.body)
    assert body["tools"][:2] == [computer, web]
    assert body["mcp_servers"][0]["name"] == "x"
    assert dict(request.headers)[b"anthropic-beta"] == b"computer-use-2025-01-24,mcp-client-2025-04-04"


def test_a_tool_of_another_kind_is_refused() -> None:
    assert refused(tools=[{"type": "shell"}]) == "tools.0.type"


@pytest.mark.parametrize(
    ("choice", "parallel", "written"),
    [
        (None, None, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        ({"type": "function", "function": {"name": "search"}}, None, {"type": "tool", "name": "search"}),
    ],
)
def test_the_tool_choice_is_anthropics(choice: Any, parallel: bool | None, written: Any) -> None:
    body = sent(tools=[SEARCH], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == written


def test_a_choice_of_allowed_tools_leaves_only_these() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "b"}}]}
    body = sent(tools=[a_tool("a"), a_tool("b")], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert [tool["name"] for tool in body["tools"]] == ["b"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    assert refused(tool_choice="required") == "tool_choice"
    named = {"type": "function", "function": {"name": "nope"}}
    assert refused(tools=[SEARCH], tool_choice=named) == "tool_choice.function.name"


# -- 12: the answer's form ------------------------------------------------------------------------------------------


def test_a_schema_is_native_where_the_model_holds_to_it() -> None:
    body = sent(response_format=FORM)
    assert body["output_config"] == {
        "format": {"type": "json_schema", "schema": {**CLOSED, "additionalProperties": False}}
    }
    assert "tools" not in body


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("claude-3-5-haiku-20241022", FORM),
        ("claude-sonnet-4-5", {"type": "json_object"}),
        ("claude-sonnet-4-5", {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}),
    ],
)
def test_a_form_without_native_support_is_a_forced_tool(model: str, form: Any) -> None:
    body = sent(model, response_format=form)
    assert body["tool_choice"] == {"type": "tool", "name": "json_tool_call", "disable_parallel_tool_use": True}
    assert [tool["name"] for tool in body["tools"]] == ["json_tool_call"]
    assert body["tools"][0]["input_schema"]["type"] == "object"


def test_with_tools_of_the_caller_beside_it_any_of_them_may_answer() -> None:
    body = sent("claude-3-5-haiku-20241022", response_format=FORM, tools=[SEARCH, a_tool("json_tool_call")])
    assert [tool["name"] for tool in body["tools"]] == ["search", "json_tool_call", "json_tool_call_2"]
    assert body["tool_choice"] == {"type": "any"}


def test_a_forced_form_takes_the_place_of_an_effort_and_not_of_thinking() -> None:
    request = encode("claude-3-7-sonnet-20250219", response_format=FORM, reasoning_effort="high")
    assert "thinking" not in json.loads(request.body)
    assert request.warnings[0].startswith("reasoning_effort")
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert refused("claude-3-7-sonnet-20250219", response_format=FORM, thinking=thinking) == "tool_choice"


def test_tools_of_plain_text_and_their_calls_are_refused() -> None:
    assert refused(tools=[{"type": "custom", "custom": {"name": "patch"}}]) == "tools.0.type"
    call = {"id": "t", "type": "custom", "custom": {"name": "patch", "input": "x"}}
    history = [asks(), {"role": "assistant", "content": None, "tool_calls": [call]}, answers("t")]
    assert refused(messages=history) == "messages.1.tool_calls.0"
