"""Requests to Cohere: each is checked by the SDK's own types and the documented rules (tests/fakes/cohere.py)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.chat import ChatDialect
from gateway.core.blocks import Conversation, Document, Message, Text, Tool, ToolCall, ToolResult
from gateway.core.errors import BadRequest
from gateway.core.types import Call
from tests.adapters.anthropic_wire import CLOSED, FORM, PNG, SEARCH, a_call, a_tool, answers, asks, calls, image, text
from tests.adapters.cohere_wire import (
    ADAPTER,
    CHAT,
    EMBEDDINGS,
    PLACE,
    declared,
    embeddings_call,
    encode,
    refused,
    sent,
)
from tests.fakes.cohere import check

TWO = [SEARCH, a_tool("other", parameters=CLOSED)]


def turns(*messages: dict[str, Any], **body: Any) -> Any:
    return sent(messages=list(messages), **body)["messages"]


# -- messages -----------------------------------------------------------------------------------------------------


def test_a_chat_is_written_as_cohere_has_it() -> None:
    assert sent(max_tokens=9, stop=["a"], seed=3, temperature=0.2, top_p=0.5, top_k=4) == {
        "model": "command-a-03-2025",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "max_tokens": 9,
        "stop_sequences": ["a"],
        "seed": 3,
        "temperature": 0.2,
        "p": 0.5,
        "k": 4,
    }
    assert sent(stream=True)["stream"] is True


def test_system_messages_in_front_are_one_and_later_ones_are_the_users() -> None:
    system = {"role": "system", "content": "be brief"}
    assert turns(system, asks("q"))[0] == system
    assert turns(system, {"role": "developer", "content": "be kind"}, asks("q"))[0] == {
        "role": "system",
        "content": [text("be brief"), text("be kind")],
    }
    later = [asks("q"), {"role": "assistant", "content": "a"}, system, asks("r")]
    assert turns(*later)[2] == {"role": "user", "content": "be brief"}
    assert declared(messages=later) == ["messages.2"]


def test_images_go_as_url_or_data() -> None:
    content = [text("what?"), image("https://x.org/a.png"), image(f"data:image/jpeg;base64,{PNG}")]
    assert turns({"role": "user", "content": content})[0]["content"] == [
        text("what?"),
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "high"}},
    ]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"type": "file", "file": {"file_data": PNG}}, "messages.0.content.0"),
        ({"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}, "messages.0.content.0"),
        (image("ftp://x.org/a.png"), "messages.0.content.0"),
        (image("data:image/png;base64,!"), "messages.0.content.0"),
    ],
)
def test_other_media_are_refused_with_their_place(part: dict[str, Any], field: str) -> None:
    assert refused(messages=[{"role": "user", "content": [part]}]) == field


def test_a_tool_call_and_its_result_go_back_with_the_plan() -> None:
    history = turns(asks(), calls("c1", arguments="", reasoning_content="I will look."), answers("c1"), tools=[SEARCH])
    assert history[1:] == [
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]


def test_reasoning_without_tools_goes_back_as_thinking() -> None:
    said = {"role": "assistant", "content": "8", "reasoning_content": "5 + 3"}
    assert turns(asks(), said, asks())[1]["content"] == [{"type": "thinking", "thinking": "5 + 3"}, text("8")]


def test_anothers_signed_reasoning_is_left_out_and_declared() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s", "provider": "anthropic"}
    history = [asks(), {"role": "assistant", "content": "a", "thinking_blocks": [signed]}, asks()]
    assert turns(*history)[1] == {"role": "assistant", "content": "a"}
    assert declared(messages=history) == ["messages"]


def test_ids_that_come_twice_are_made_two_and_answered_in_order() -> None:
    history = turns(asks(), calls("c", "c"), answers("c", "1"), answers("c", "2"), tools=[SEARCH])
    assert [call["id"] for call in history[1]["tool_calls"]] == ["c", "c_2"]
    assert [turn["tool_call_id"] for turn in history[2:]] == ["c", "c_2"]


def test_a_result_of_no_call_is_refused() -> None:
    assert refused(messages=[asks(), answers("c1")]) == "messages.1.tool_call_id"


def test_results_in_parts_stay_parts_and_images_in_them_are_refused() -> None:
    parts = [text("a"), text("b")]
    assert turns(asks(), calls("c"), answers("c", parts), tools=[SEARCH])[2]["content"] == parts
    assert (
        refused(messages=[asks(), calls("c"), answers("c", [image("https://x.org/a.png")])]) == "messages.2.content.0"
    )


def test_empty_turns_are_left_out_and_a_request_of_them_alone_is_refused() -> None:
    assert len(turns(asks(), {"role": "assistant", "content": ""}, asks())) == 2
    assert refused(messages=[{"role": "user", "content": ""}]) == "messages"


# -- tools and forms ----------------------------------------------------------------------------------------------


def test_a_tools_definition_is_written() -> None:
    tool = a_tool("f", description="d", parameters=CLOSED)
    assert sent(tools=[tool])["tools"] == [tool]
    assert sent(tools=[a_tool("f")])["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_names_that_cohere_refuses_are_changed_and_come_back() -> None:
    names = ["web-search", "web.search", "7up", "fine"]
    body: dict[str, Any] = {"messages": [asks(), calls("c", name="web-search"), answers("c")]}
    body["tools"] = [a_tool(name) for name in names]
    written = sent(**body)
    changed = [tool["function"]["name"] for tool in written["tools"]]
    assert changed == ["web_search", "web_search_2", "tool_7up", "fine"]
    assert written["messages"][1]["tool_calls"][0]["function"]["name"] == "web_search"
    called = {"id": "x", "type": "function", "function": {"name": "tool_7up", "arguments": "{}"}}
    answer = {"id": "a", "message": {"tool_calls": [called]}, "finish_reason": "TOOL_CALL"}
    reader = ADAPTER.decoder(a_call(body), PLACE, CHAT)
    list(reader.feed(json.dumps(answer).encode()))
    (out,) = reader.end()
    assert json.loads(out)["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "7up"


def test_strict_is_of_all_tools_or_none() -> None:
    strict = a_tool("f", parameters=CLOSED, strict=True)
    assert sent(tools=[strict])["strict_tools"] is True
    assert "strict_tools" not in sent(tools=[strict, SEARCH])
    assert declared(tools=[strict, SEARCH]) == ["tools"]
    assert "strict_tools" not in sent(tools=[SEARCH])


@pytest.mark.parametrize(
    ("choice", "written"),
    [("auto", None), (None, None), ("none", "NONE"), ("required", "REQUIRED")],
)
def test_the_choice_of_tools(choice: Any, written: str | None) -> None:
    assert sent(tools=TWO, tool_choice=choice).get("tool_choice") == written


def test_a_named_tool_can_be_required_where_it_is_the_only_one() -> None:
    named = {"type": "function", "function": {"name": "search"}}
    assert sent(tools=[SEARCH], tool_choice=named)["tool_choice"] == "REQUIRED"
    assert refused(tools=TWO, tool_choice=named) == "tool_choice"
    assert refused(tools=[a_tool("f")], tool_choice=named) == "tool_choice.function.name"
    assert refused(tool_choice="required") == "tool_choice"
    assert "tool_choice" not in sent(tool_choice="none")


def test_forms_of_the_answer() -> None:
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert sent(response_format=FORM)["response_format"] == {"type": "json_object", "json_schema": CLOSED}
    assert "response_format" not in sent(response_format={"type": "text"})
    assert refused(response_format=FORM, tools=[SEARCH]) == "response_format"
    assert refused(response_format=FORM, documents=["a"]) == "response_format"
    open_root = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "array"}}}
    assert refused(response_format=open_root) == "response_format.json_schema.schema"


# -- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "written", "fields"),
    [
        ({"temperature": 1.5}, {"temperature": 1.0}, ["temperature"]),
        ({"top_p": 1}, {"p": 0.99}, ["top_p"]),
        ({"top_p": 0}, {"p": 0.01}, ["top_p"]),
        ({"top_k": 501}, {"k": 500}, ["top_k"]),
        ({"frequency_penalty": 2}, {"frequency_penalty": 1.0}, ["frequency_penalty"]),
        ({"frequency_penalty": -1}, {}, ["frequency_penalty"]),
        ({"frequency_penalty": 0.5, "presence_penalty": 0.5}, {"frequency_penalty": 0.5}, ["presence_penalty"]),
        ({"frequency_penalty": 0, "presence_penalty": 0.5}, {"presence_penalty": 0.5}, []),
        ({"logit_bias": {"1": 2}}, {}, ["logit_bias"]),
        ({"logprobs": True}, {"logprobs": True}, []),
        ({"user": "u", "metadata": {"a": "b"}}, {}, ["user", "metadata"]),
        ({"service_tier": "flex"}, {}, ["service_tier"]),
        ({"service_tier": "auto", "store": False}, {}, []),
        ({"prediction": {"type": "content"}}, {}, ["prediction"]),
        ({"tools": TWO, "parallel_tool_calls": False}, {}, ["parallel_tool_calls"]),
        ({"reasoning_effort": "high"}, {}, ["reasoning_effort"]),
        ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}, []),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 9}},
            {"thinking": {"type": "enabled", "token_budget": 9}},
            [],
        ),
        ({"thinking": {"type": "disabled", "budget_tokens": 9}}, {"thinking": {"type": "disabled"}}, []),
        (
            {"documents": [{"id": "d", "data": {"text": "t"}}], "safety_mode": "STRICT", "priority": 1},
            {"documents": [{"id": "d", "data": {"text": "t"}}], "safety_mode": "STRICT", "priority": 1},
            [],
        ),
        ({"citation_options": {"mode": "FAST"}}, {"citation_options": {"mode": "FAST"}}, []),
    ],
)
def test_hints_are_kept_bounded_or_left_out_and_what_was_done_is_declared(
    body: dict[str, Any], written: dict[str, Any], fields: list[str]
) -> None:
    rest = {name: value for name, value in sent(**body).items() if name not in ("model", "messages", "stream", "tools")}
    assert rest == written
    assert declared(**body) == fields


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True, "top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"stop": list("abcdef")}, "stop"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking"),
    ],
)
def test_what_changes_the_question_is_refused(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_completions_are_not_spoken() -> None:
    call = a_call()
    with pytest.raises(BadRequest):
        ADAPTER.encode(type(call)(id="c", endpoint="completions", dialect="completions", body=b"{}"), PLACE, CHAT, {})


def test_the_key_goes_as_a_bearer() -> None:
    assert ADAPTER.authorize("k") == ((b"authorization", b"Bearer k"),)
    assert ADAPTER.needs(a_call(), PLACE) == ()


# -- what other dialects may bring --------------------------------------------------------------------------------


class Saying(ChatDialect):
    """A dialect whose request is this conversation."""

    def __init__(self, *messages: Message, **more: Any) -> None:
        self._conversation = Conversation(messages, **more)

    def conversation(self, call: Call) -> Conversation:
        return self._conversation


def test_plain_text_files_are_text() -> None:
    files = (Document(text="t", name="n"), Document(text="u"))
    turns = (
        Message("user", files),
        Message("assistant", (ToolCall("c", "f", "{}"),)),
        Message("user", (ToolResult("c", files),)),
    )
    request = ADAPTER.encode(a_call(), PLACE, Saying(*turns), {})
    body = json.loads(request.body)
    check("/v2/chat", body)
    written = body["messages"]
    assert written[0]["content"] == [text("n\n\nt"), text("u")]
    assert written[2]["content"] == [
        {"type": "document", "document": {"data": {"text": "t", "title": "n"}}},
        {"type": "document", "document": {"data": {"text": "u"}}},
    ]
    assert [warning.split(":")[0] for warning in request.warnings] == ["messages.0.content.0", "messages.0.content.1"]


@pytest.mark.parametrize(
    ("turns", "tools", "param"),
    [
        ((Message("user", (Document(file_id="f"),)),), (), "messages.0.content.0"),
        ((Message("assistant", (ToolCall("c", "f", "words", custom=True),)),), (), "messages.0.tool_calls.0"),
        ((Message("user", (Text("a"),)),), (Tool("f", custom=True),), "tools.0.type"),
        ((Message("user", (Text("a"),)),), (Tool("f", native={"type": "web_search"}),), "tools.0.type"),
    ],
)
def test_what_has_no_place_is_refused(turns: Any, tools: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ADAPTER.encode(a_call(), PLACE, Saying(*turns, tools=tools), {})
    assert caught.value.param == param


def test_marks_that_say_little_are_left_out_and_declared() -> None:
    marker = {"type": "ephemeral"}
    history: list[Any] = [
        {**asks(), "name": "ann"},
        calls("c", cache_control=marker),
        answers("c", is_error=True),
        {"role": "user", "content": [{**text("a"), "cache_control": marker}]},
    ]
    tools = [a_tool("search", cache_control=marker)]
    assert declared(messages=history, tools=tools) == ["messages.0.name", "cache_control", "messages.2.is_error"]


# -- embeddings ---------------------------------------------------------------------------------------------------


def embedded(**body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = ADAPTER.encode(embeddings_call(**body), PLACE, EMBEDDINGS, {})
    assert request.path == b"/v2/embed"
    written: dict[str, Any] = json.loads(request.body)
    check("/v2/embed", written)
    return written, request.warnings


def test_embeddings_are_asked_for_with_a_purpose() -> None:
    body, warnings = embedded(input=["a", "b"], dimensions=256, input_type="search_query")
    assert body == {
        "model": "command-a-03-2025",
        "texts": ["a", "b"],
        "input_type": "search_query",
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 256,
    }
    assert warnings == ()
    assert embedded(truncate="END", max_tokens=9, priority=2, input_type="clustering")[0]["truncate"] == "END"


def test_a_purpose_that_nobody_named_is_declared() -> None:
    body, warnings = embedded(user="u", colour="red")
    assert body["input_type"] == "search_document"
    assert [warning.split(":")[0] for warning in warnings] == ["input_type", "user", "colour"]
    with pytest.raises(BadRequest) as caught:
        embedded(strict=True)
    assert caught.value.param == "input_type"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ["a"] * 97}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"embedding_types": ["int8"]}, "embedding_types"),
    ],
)
def test_vectors_that_cohere_cannot_give_are_refused(body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        embedded(**body)
    assert caught.value.param == param
    assert embedded(input=["a"] * 96, embedding_types=["float"])[0]["embedding_types"] == ["float"]


def test_warnings_come_once() -> None:
    marked = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}] * 2
    assert encode(messages=[{"role": "user", "content": marked}]).warnings == (
        "cache_control: Cohere caches by itself, left out",
    )
