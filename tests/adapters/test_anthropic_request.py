"""A chat request becomes one that Anthropic takes, or is refused with the name of the field."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from anthropic.types import message_create_params
from pydantic import TypeAdapter

from gateway.core.errors import BadRequest
from tests.adapters.anthropic_wire import ADAPTER, CHAT, a_call, a_deployment, encode, sent

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 24).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + b"\0" * 24).decode()
ORACLE: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParams)

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": CLOSED}}


def asks(text: str = "hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(*ids: str, name: str = "search", arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}} for call_id in ids
        ],
        **fields,
    }


def answers(call_id: str, content: Any = "found", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def refused(model: str = "claude-sonnet-4-5", **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(model, **body)
    return caught.value.param


# -- 1: system ----------------------------------------------------------------------------------------------------


def test_the_leading_system_messages_become_system_blocks_with_their_cache_markers() -> None:
    marker = {"type": "ephemeral"}
    body = sent(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{**text("two"), "cache_control": marker}, text("")]},
            {"role": "system", "content": " "},
            asks(),
        ]
    )
    assert body["system"] == [text("one"), {**text("two"), "cache_control": marker}]
    assert body["messages"] == [{"role": "user", "content": [text("hi")]}]


LATER_SYSTEM = [asks("a"), {"role": "system", "content": "be brief"}, {"role": "assistant", "content": "b"}, asks("c")]


def test_a_later_system_message_stays_in_place_where_the_model_takes_it() -> None:
    body = sent("claude-opus-4-8", messages=LATER_SYSTEM)
    assert [turn["role"] for turn in body["messages"]] == ["user", "system", "assistant", "user"]
    assert "system" not in body


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-sonnet-5"])
def test_a_later_system_message_becomes_user_text_in_place_where_it_does_not(model: str) -> None:
    body = sent(model, messages=LATER_SYSTEM)
    assert body["messages"][0] == {"role": "user", "content": [text("a"), text("be brief")]}
    assert "system" not in body


def test_a_system_message_between_tool_calls_and_results_does_not_part_them() -> None:
    body = sent(
        "claude-opus-4-8",
        tools=[SEARCH],
        messages=[asks(), calls("t1"), {"role": "system", "content": "hurry"}, answers("t1")],
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][2]["content"]] == ["tool_result", "text"]


# -- 2, 3: turns --------------------------------------------------------------------------------------------------


def test_turns_of_one_side_are_merged_and_empty_text_is_dropped() -> None:
    body = sent(
        messages=[
            asks("a"),
            asks(""),
            {"role": "assistant", "content": ""},
            asks("b"),
            {"role": "assistant", "content": "c"},
            {"role": "assistant", "content": "d"},
            asks("e"),
        ]
    )
    assert body["messages"] == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("c"), text("d")]},
        {"role": "user", "content": [text("e")]},
    ]


def test_a_conversation_that_the_assistant_begins_gets_an_empty_turn_before_and_says_so() -> None:
    request = encode(messages=[{"role": "assistant", "content": "Welcome!"}, asks()])
    assert [turn["role"] for turn in json.loads(request.body)["messages"]] == ["user", "assistant", "user"]
    assert request.warnings[0].startswith("messages.0: ")


def test_a_conversation_of_system_messages_alone_is_refused() -> None:
    assert refused(messages=[{"role": "system", "content": "x"}]) == "messages"


def test_the_assistants_last_word_is_a_prefill_without_white_space_at_its_end() -> None:
    body = sent(messages=[asks(), {"role": "assistant", "content": "The answer is \n"}])
    assert body["messages"][1]["content"] == [text("The answer is")]


def test_a_prefill_is_refused_where_the_model_takes_none() -> None:
    assert refused("claude-opus-4-6", messages=[asks(), {"role": "assistant", "content": "So"}]) == "messages.1"


# -- 4, 5: tool calls and results -----------------------------------------------------------------------------------


def test_all_results_of_a_turn_stand_in_one_user_message_and_first() -> None:
    body = sent(
        tools=[SEARCH],
        messages=[asks(), calls("a", "b"), answers("b", "two"), answers("a", "one", is_error=True), asks("go on")],
    )
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "b", "content": [text("two")]},
        {"type": "tool_result", "tool_use_id": "a", "content": [text("one")], "is_error": True},
        text("go on"),
    ]


def test_a_results_content_may_be_text_image_and_document() -> None:
    parts = [
        text("see"),
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
    ]
    body = sent(tools=[SEARCH], messages=[asks(), calls("a"), answers("a", parts)])
    result = body["messages"][2]["content"][0]
    assert [part["type"] for part in result["content"]] == ["text", "image", "document"]


def test_an_empty_result_has_no_content() -> None:
    body = sent(tools=[SEARCH], messages=[asks(), calls("a"), answers("a", "")])
    assert body["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "a"}]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([asks(), calls("a", "b"), answers("a"), asks("x"), {"role": "assistant", "content": "y"}], "messages.1.tool_calls"),
        ([asks(), calls("a")], "messages.1.tool_calls"),
        ([asks(), calls("a"), asks("never mind")], "messages.1.tool_calls"),
        ([asks(), answers("a")], "messages.1.tool_call_id"),
        ([asks(), calls("a"), answers("a"), answers("a")], "messages.3.tool_call_id"),
        ([asks(), calls("a", arguments="{"), answers("a")], "messages.1.tool_calls.0.function.arguments"),
        ([asks(), calls("a", arguments="[]"), answers("a")], "messages.1.tool_calls.0.function.arguments"),
    ],
)
def test_a_history_with_a_broken_tool_call_is_refused(messages: list[Any], field: str) -> None:
    assert refused(tools=[SEARCH], messages=messages) == field


def test_ids_are_rewritten_to_what_anthropic_takes_and_none_is_used_twice() -> None:
    body = sent(
        tools=[SEARCH],
        messages=[asks(), calls("a.b", "a:b"), answers("a.b"), answers("a:b"), calls("a.b"), answers("a.b"), asks("x")],
    )
    used = [block["id"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_use"]
    answered = [
        block["tool_use_id"]
        for turn in body["messages"]
        for block in turn["content"]
        if block["type"] == "tool_result"
    ]
    assert used == answered == ["a_b", "a_b_2", "a_b_3"]


def test_empty_arguments_become_an_empty_object() -> None:
    body = sent(tools=[SEARCH], messages=[asks(), calls("a", arguments=""), answers("a")])
    assert body["messages"][1]["content"][0]["input"] == {}


def test_the_deprecated_function_call_and_its_answer_are_a_tool_call_and_its_result() -> None:
    body = sent(
        functions=[{"name": "search"}],
        function_call={"name": "search"},
        messages=[
            asks(),
            {"role": "assistant", "content": None, "function_call": {"name": "search", "arguments": '{"q": 1}'}},
            {"role": "function", "name": "search", "content": "found"},
        ],
    )
    called, result = body["messages"][1]["content"][0], body["messages"][2]["content"][0]
    assert called["input"] == {"q": 1}
    assert called["id"] == result["tool_use_id"]
    assert body["tool_choice"] == {"type": "tool", "name": "search"}


# -- 6, 7: tools ----------------------------------------------------------------------------------------------------


def a_tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


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
    assert refused(tools=[{"type": "custom", "custom": {"name": "x"}}]) == "tools.0.type"


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


# -- 8: max_tokens --------------------------------------------------------------------------------------------------


def test_max_tokens_is_always_sent() -> None:
    assert sent()["max_tokens"] == 4096
    assert sent(max_output=64000)["max_tokens"] == 64000
    assert sent(max_tokens=5, max_completion_tokens=9)["max_tokens"] == 9


def test_max_tokens_within_the_thinking_budget_is_refused() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert refused(thinking=thinking, max_tokens=2048) == "max_tokens"
    assert sent(thinking=thinking)["max_tokens"] == 2048 + 4096


# -- 9, 10, 11: sampling --------------------------------------------------------------------------------------------


def test_stop_is_a_list_of_sequences_and_white_space_alone_is_refused() -> None:
    assert sent(stop="END")["stop_sequences"] == ["END"]
    assert sent(stop=["a", "b", "c", "d"])["stop_sequences"] == ["a", "b", "c", "d"]
    assert refused(stop=["a", "\n"]) == "stop.1"


def test_temperature_is_bounded_by_one_and_that_is_declared() -> None:
    request = encode(temperature=1.7)
    assert json.loads(request.body)["temperature"] == 1
    assert request.warnings == ("temperature: Anthropic's most is 1, set to 1",)


def test_top_p_gives_way_to_temperature_on_newer_models() -> None:
    assert "top_p" not in sent(temperature=0.5, top_p=0.9)
    older = sent("claude-3-5-haiku-20241022", temperature=0.5, top_p=0.9, top_k=4)
    assert (older["temperature"], older["top_p"], older["top_k"]) == (0.5, 0.9, 4)


def test_sampling_is_left_out_and_declared_where_the_model_takes_none() -> None:
    request = encode("claude-opus-4-8", temperature=0.2, top_p=0.9, top_k=3)
    assert not {"temperature", "top_p", "top_k"} & json.loads(request.body).keys()
    assert [warning.split(":")[0] for warning in request.warnings] == ["temperature", "top_p", "top_k"]
    assert encode("claude-opus-4-8", temperature=1).warnings == ()


def test_sampling_gives_way_to_thinking() -> None:
    body = sent(reasoning_effort="low", max_tokens=9000, temperature=0, top_p=0.97, top_k=5)
    assert body["thinking"]["type"] == "enabled"
    assert not {"temperature", "top_k"} & body.keys()
    assert body["top_p"] == 0.97


HINTS = {"seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.5, "logit_bias": {"1": 2}, "verbosity": "low"}


def test_hints_that_anthropic_lacks_are_declared() -> None:
    declared = {warning.split(":")[0] for warning in encode(**HINTS).warnings}
    assert declared == set(HINTS)


@pytest.mark.parametrize("name", sorted(HINTS))
def test_a_strict_caller_is_refused_instead(name: str) -> None:
    assert refused(strict=True, **{name: HINTS[name]}) == name


def test_a_strict_caller_of_what_anthropic_can_express_is_served() -> None:
    assert encode(strict=True, temperature=0.5, metadata={"tag": "x"}, store=False).warnings == ()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}]},
            "messages.0.content.0",
        ),
    ],
)
def test_what_would_change_the_question_is_refused(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_a_warning_is_printable_ascii_whatever_a_field_is_called() -> None:
    (warning,) = encode(**{"x\r\nset-cookie: é": 1}).warnings
    assert warning.isascii()
    assert warning.isprintable()


# -- 12: the answer's form ------------------------------------------------------------------------------------------


def test_a_schema_is_native_where_the_model_holds_to_it() -> None:
    body = sent(response_format=FORM)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": {**CLOSED, "additionalProperties": False}}}
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


# -- 13: reasoning --------------------------------------------------------------------------------------------------


def test_an_effort_is_a_budget_of_at_most_half_the_tokens() -> None:
    assert sent(reasoning_effort="high", max_tokens=64000)["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    assert sent(reasoning_effort="high", max_tokens=6000)["thinking"]["budget_tokens"] == 3000
    free = sent(reasoning_effort="medium")
    assert free["max_tokens"] - free["thinking"]["budget_tokens"] == 4096
    small = encode(reasoning_effort="high", max_tokens=1500)
    assert "thinking" not in json.loads(small.body)
    assert small.warnings[0].startswith("reasoning_effort")


def test_an_effort_is_an_effort_on_adaptive_models() -> None:
    body = sent("claude-opus-4-8", reasoning_effort={"effort": "xhigh", "summary": "auto"})
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "xhigh"}
    older = encode("claude-opus-4-6", reasoning_effort="xhigh")
    assert json.loads(older.body)["output_config"] == {"effort": "high"}
    assert older.warnings[0].startswith("reasoning_effort")


def test_no_effort_switches_off_what_would_think_unasked() -> None:
    assert "thinking" not in sent(reasoning_effort="none")
    assert sent("claude-opus-5", reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_thinking_takes_the_form_of_the_model() -> None:
    adaptive = {"type": "adaptive"}
    assert sent(thinking=adaptive, max_tokens=9000)["thinking"] == {"type": "enabled", "budget_tokens": 4500}
    assert sent("claude-opus-5", thinking={"type": "enabled", "budget_tokens": 2000})["thinking"] == adaptive
    assert refused("claude-3-haiku-20240307", thinking=adaptive) == "thinking"


def test_an_effort_a_model_cannot_have_is_declared_or_refused() -> None:
    assert encode("claude-3-haiku-20240307", reasoning_effort="low").warnings[0].startswith("reasoning_effort")
    assert refused(reasoning_effort="enormous") == "reasoning_effort"


def test_the_version_of_an_alias_can_be_stated() -> None:
    deployment = a_deployment("our-claude", options={"claude_version": "4.5"})
    request = ADAPTER.encode(a_call(reasoning_effort="low"), deployment, CHAT, {})
    assert json.loads(request.body)["thinking"]["type"] == "enabled"


# -- 14: replayed thinking ------------------------------------------------------------------------------------------

THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig", "provider": "anthropic"}


def test_thinking_goes_back_verbatim_and_before_the_tool_call() -> None:
    history = [asks(), calls("a", thinking_blocks=[THOUGHT, {"type": "redacted_thinking", "data": "xyz"}]), answers("a")]
    body = sent(tools=[SEARCH], messages=history, reasoning_effort="low", max_tokens=9000)
    assert [block["type"] for block in body["messages"][1]["content"]] == ["thinking", "redacted_thinking", "tool_use"]
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert body["thinking"]["type"] == "enabled"


def test_reasoning_of_another_provider_or_without_a_signature_is_left_out_and_declared() -> None:
    foreign = {**THOUGHT, "provider": "gemini"}
    for history in ({"thinking_blocks": [foreign]}, {"reasoning_content": "hm"}):
        request = encode(messages=[asks(), {"role": "assistant", "content": "a", **history}, asks()])
        assert json.loads(request.body)["messages"][1]["content"] == [text("a")]
        assert request.warnings[0].startswith("messages: ")


def test_a_tool_loop_begun_without_thinking_goes_on_without_it() -> None:
    history = [asks(), calls("a"), answers("a")]
    request = encode(tools=[SEARCH], messages=history, reasoning_effort="high")
    assert "thinking" not in json.loads(request.body)
    assert request.warnings[0].startswith("reasoning_effort")
    assert refused(tools=[SEARCH], messages=history, thinking={"type": "enabled", "budget_tokens": 1024}) == "messages"
    assert sent("claude-opus-4-8", tools=[SEARCH], messages=history, reasoning_effort="high")["thinking"]


def test_a_providers_own_blocks_go_back_to_their_place() -> None:
    used = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    history = {
        "role": "assistant",
        "content": "before after",
        "thinking_blocks": [THOUGHT, {**THOUGHT, "thinking": "again", "offset": 7}],
        "provider_blocks": [
            {"provider": "anthropic", "offset": 7, "thinking_before": 1, "block": used},
            {"provider": "gemini", "offset": 7, "thinking_before": 1, "block": {"x": 1}},
        ],
    }
    content = sent(messages=[asks(), history, asks()])["messages"][1]["content"]
    assert [block.get("thinking") or block.get("text") or block["type"] for block in content] == [
        "hm",
        "before ",
        "server_tool_use",
        "again",
        "after",
    ]


# -- 15: cache markers ----------------------------------------------------------------------------------------------

MARKER = {"type": "ephemeral", "ttl": "1h"}


def test_cache_markers_stand_on_tools_system_messages_calls_and_results() -> None:
    call = calls("a")
    call["tool_calls"][0]["cache_control"] = MARKER
    body = sent(
        tools=[{**SEARCH, "cache_control": MARKER}],
        messages=[{"role": "system", "content": "s", "cache_control": MARKER}, asks(), call, answers("a", cache_control=MARKER)],
    )
    assert body["tools"][0]["cache_control"] == MARKER
    assert body["system"][0]["cache_control"] == MARKER
    assert body["messages"][1]["content"][0]["cache_control"] == MARKER
    assert body["messages"][2]["content"][0]["cache_control"] == MARKER


def test_at_most_four_markers_are_sent_and_the_oldest_of_the_messages_go() -> None:
    turns = [{"role": "user", "content": [{**text(str(number)), "cache_control": MARKER}]} for number in range(5)]
    request = encode(messages=[{"role": "system", "content": "s", "cache_control": MARKER}, *turns])
    body = json.loads(request.body)
    marked = [block["text"] for block in body["messages"][0]["content"] if "cache_control" in block]
    assert marked == ["2", "3", "4"]
    assert "cache_control" in body["system"][0]
    assert request.warnings[0].startswith("cache_control")


def test_the_automatic_marker_is_one_of_the_four() -> None:
    turns = [{"role": "user", "content": [{**text(str(number)), "cache_control": MARKER}]} for number in range(4)]
    body = sent(messages=turns, cache_control=MARKER)
    assert body["cache_control"] == MARKER
    assert sum("cache_control" in block for block in body["messages"][0]["content"]) == 3


# -- 16: media ------------------------------------------------------------------------------------------------------


def media(part: dict[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = sent(messages=[{"role": "user", "content": [part]}])["messages"][0]["content"][0]
    return block


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def test_an_images_bytes_say_its_type() -> None:
    assert media(image(f"data:image/jpeg;base64,{PNG}"))["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": PNG,
    }
    assert media(image("https://x.org/a.png"))["source"] == {"type": "url", "url": "https://x.org/a.png"}


@pytest.mark.parametrize("url", ["http://x.org/a.png", "data:image/tiff;base64,AAAA", "data:image/png;base64,A", "data:,x"])
def test_an_image_that_anthropic_cannot_read_is_refused(url: str) -> None:
    field = refused(messages=[{"role": "user", "content": [image(url)]}])
    assert field is not None
    assert field.startswith("messages.0.content.0")


def test_files_are_documents() -> None:
    pdf = media({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}})
    assert pdf == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
        "title": "a.pdf",
    }
    words = base64.b64encode("héllo".encode()).decode()
    plain = media({"type": "file", "file": {"file_data": f"data:text/plain;base64,{words}"}})
    assert plain["source"] == {"type": "text", "media_type": "text/plain", "data": "héllo"}
    assert media({"type": "file", "file": {"file_id": "file_1"}})["source"] == {"type": "file", "file_id": "file_1"}
    assert media({"type": "file", "file": {"file_data": "https://x.org/a.pdf"}})["source"]["type"] == "url"
    assert media({"type": "file", "file": {"file_data": f"data:image/png;base64,{PNG}"}})["type"] == "image"
    zipped = {"type": "file", "file": {"file_data": "data:application/zip;base64,UEsDBA=="}}
    assert refused(messages=[{"role": "user", "content": [zipped]}]) == "messages.0.content.0"


# -- 17: who asks ---------------------------------------------------------------------------------------------------


def test_an_opaque_user_is_passed_on_and_an_address_is_not() -> None:
    assert sent(user="u-17")["metadata"] == {"user_id": "u-17"}
    assert sent(safety_identifier="h4sh")["metadata"] == {"user_id": "h4sh"}
    for personal in ("jo@example.org", "+49 170 1234567", "x" * 257):
        request = encode(user=personal)
        assert "metadata" not in json.loads(request.body)
        assert request.warnings[0].startswith("user: ")
        assert personal not in request.warnings[0]


def test_the_service_tier_is_anthropics() -> None:
    assert sent(service_tier="default")["service_tier"] == "standard_only"
    assert sent(service_tier="priority")["service_tier"] == "auto"
    assert encode(service_tier="flex").warnings[0].startswith("service_tier")


def test_the_callers_betas_and_ours_are_one_header() -> None:
    request = encode(anthropic_beta="a-1, b-2", context_management={"edits": []}, betas=["c-3"])
    assert dict(request.headers)[b"anthropic-beta"] == b"a-1,b-2,c-3,context-management-2025-06-27"
    assert request.warnings == ()


def test_keys_and_oauth_tokens_are_told_apart() -> None:
    version = (b"anthropic-version", b"2023-06-01")
    assert ADAPTER.authorize("sk-ant-api03-x") == ((b"x-api-key", b"sk-ant-api03-x"), version)
    assert ADAPTER.authorize("sk-ant-oat01-x") == ((b"authorization", b"Bearer sk-ant-oat01-x"), version)


def test_the_path_has_its_version_once() -> None:
    call = a_call()
    assert ADAPTER.encode(call, a_deployment(), CHAT, {}).path == b"/v1/messages"
    for base in (b"", b"/", b"/proxy"):
        deployment = a_deployment()
        deployment = type(deployment)(**{**{f: getattr(deployment, f) for f in deployment.__struct_fields__}, "base_path": base})
        assert ADAPTER.encode(call, deployment, CHAT, {}).path == base.rstrip(b"/") + b"/v1/messages"


# -- the oracle -----------------------------------------------------------------------------------------------------

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("claude-sonnet-4-5", {"stop": "x", "user": "u", "service_tier": "auto", "stream": True}),
    "tools": (
        "claude-sonnet-4-5",
        {
            "tools": [{**SEARCH, "cache_control": MARKER}, a_tool("a.b", parameters=CLOSED, strict=True, description="d")],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "messages": [{"role": "system", "content": "s"}, asks(), calls("a.1"), answers("a.1", [text("x")], is_error=True)],
        },
    ),
    "thinking": (
        "claude-sonnet-4-5",
        {
            "reasoning_effort": "high",
            "tools": [SEARCH],
            "messages": [asks(), calls("a", thinking_blocks=[THOUGHT, {"type": "redacted_thinking", "data": "x"}]), answers("a")],
        },
    ),
    "adaptive": ("claude-opus-4-8", {"reasoning_effort": {"effort": "max", "summary": "auto"}, "messages": LATER_SYSTEM}),
    "form": ("claude-sonnet-4-5", {"response_format": FORM}),
    "forced form": ("claude-3-5-haiku-20241022", {"response_format": FORM}),
    "media": (
        "claude-sonnet-4-5",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        text("see"),
                        image(f"data:image/png;base64,{PNG}"),
                        image("https://x.org/a.png"),
                        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                        {"type": "file", "file": {"file_id": "file_1"}},
                    ],
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_the_anthropic_sdks_own_types_accept_what_is_sent_and_know_every_field(name: str) -> None:
    model, asked = REQUESTS[name]
    body = sent(model, **asked)
    assert walked(ORACLE.validate_python(body)) == body


def walked(value: Any) -> Any:
    """Reads what the oracle reads lazily; what it does not know is not in it."""
    if isinstance(value, dict):
        return {name: walked(inner) for name, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return [walked(inner) for inner in value]
