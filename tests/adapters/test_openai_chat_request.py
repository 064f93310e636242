"""Conversations as chat requests: every block has its place, or is declared, or refused with its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.blocks import (
    Audio,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gateway.core.errors import BadRequest
from tests.adapters.openai_chat import encoded, sent, turns

HI = Message("user", (Text("hi"),))
F = Tool("f", "does f", {"type": "object", "properties": {"a": {"type": "integer"}}}, strict=True)
MARK = {"type": "ephemeral"}


def asks(*messages: Message, **fields: Any) -> Conversation:
    return Conversation(messages=messages or (HI,), **fields)


def warnings(conversation: Conversation, kind: str = "openai", model: str = "m") -> tuple[str, ...]:
    return encoded(conversation, kind, model).warnings


def refused(conversation: Conversation, kind: str = "openai") -> str | None:
    with pytest.raises(BadRequest) as caught:
        encoded(conversation, kind)
    return caught.value.param


# -- turns ---------------------------------------------------------------------------------------------------------


def test_system_messages_keep_their_place() -> None:
    be = Message("system", (Text("be brief"),))
    assert [turn["role"] for turn in turns(be, HI, be, Message("user", (Text("a"), Text("b")), name="ann"))] == [
        "system",
        "user",
        "system",
        "user",
    ]
    assert turns(be, HI)[0] == {"role": "system", "content": "be brief"}
    assert turns(Message("user", (Text("a"), Text("b")), name="ann")) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "ann"}
    ]
    assert refused(asks(Message("system", (Image(url="https://a.example"),)), HI)) == "messages.0"


def test_media_are_parts() -> None:
    (turn,) = turns(
        Message(
            "user",
            (
                Image(url="https://a.example/i.png", detail="low"),
                Image(media_type="image/gif", data="QUJD"),
                Document(data="QUJD", name="a.pdf"),
                Document(file_id="file-1"),
                Document(text="all of it", name="notes"),
                Audio("QUJD", "wav"),
            ),
        )
    )
    assert turn["content"] == [
        {"type": "image_url", "image_url": {"url": "https://a.example/i.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/gif;base64,QUJD"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "text", "text": "notes:\nall of it"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
    ]


def test_a_document_at_a_url_is_refused_unless_the_provider_fetches_it() -> None:
    linked = asks(Message("user", (Document(url="https://a.example/a.pdf"),)))
    assert refused(linked) == "messages.0.content.0"
    (turn,) = sent(linked, "openrouter")["messages"]
    assert turn["content"][0]["file"]["file_data"] == "https://a.example/a.pdf"


def test_audio_of_another_format_is_refused() -> None:
    assert refused(asks(Message("user", (Audio("QUJD", "ogg"),)))) == "messages.0.content.0"


def test_results_come_first_and_their_media_in_a_message_after_them() -> None:
    conversation = asks(
        HI,
        Message("assistant", (ToolCall("i", "f", '{"a":1}'), ToolCall("j", "f", ""))),
        Message(
            "user",
            (
                Text("and now?"),
                ToolResult("i", (Text("1"), Image(media_type="image/png", data="QUJD"))),
                ToolResult("j", (Text("failed"),), is_error=True),
            ),
        ),
    )
    assert sent(conversation)["messages"][1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "i", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "j", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "i", "content": "1"},
        {"role": "tool", "tool_call_id": "j", "content": "failed"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "The result of the tool call i:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                {"type": "text", "text": "and now?"},
            ],
        },
    ]
    declared = warnings(conversation)
    assert [warning.partition(":")[0] for warning in declared] == ["messages.2.content", "messages.2.is_error"]


def test_an_assistants_texts_are_one_and_its_refusal_stands_beside_them() -> None:
    said = Message("assistant", (Text("a"), Text("b"), Refusal("no")), name="bob")
    assert turns(HI, said, HI)[1] == {"role": "assistant", "content": "ab", "refusal": "no", "name": "bob"}


def test_what_only_others_know_is_left_out_and_declared_and_a_turn_of_it_alone_is_no_turn() -> None:
    foreign = (Thinking("hm", "sig", "anthropic"), RedactedThinking("x", "anthropic"), Opaque("gemini", {"a": 1}))
    conversation = asks(HI, Message("assistant", foreign), Message("assistant", (*foreign, Text("a"))), HI)
    assert [turn.get("content") for turn in sent(conversation)["messages"]] == ["hi", "a", "hi"]
    assert warnings(conversation) == ("messages: reasoning and blocks that the provider takes none of are left out",)
    with pytest.raises(BadRequest):
        encoded(conversation, strict=True)


def test_a_last_word_of_the_assistants_is_declared_or_marked() -> None:
    last = asks(HI, Message("assistant", (Text("so"),)))
    assert warnings(last)[0].startswith("messages.1: ")
    assert sent(last, "mistral")["messages"][-1] == {"role": "assistant", "content": "so", "prefix": True}
    assert warnings(last, "mistral") == ()


@pytest.mark.parametrize(
    "block", [Image(detail="low"), Image(file_id="f"), Image(data="QUJD", file_id="f"), Document(name="a")]
)
def test_media_in_a_form_that_is_not_known_are_refused(block: Image | Document) -> None:
    assert refused(asks(Message("user", (block,)))) == "messages.0.content.0"


def test_an_effort_tells_what_a_thinking_would() -> None:
    both = asks(thinking=BUDGET, reasoning_effort="low")
    assert sent(both, "mistral")["reasoning_effort"] == "low"
    assert warnings(both, "mistral") == ()


def test_nothing_to_say_is_refused() -> None:
    assert refused(asks(Message("assistant", (Opaque("gemini", {}),)))) == "messages"


# -- reasoning that goes back ---------------------------------------------------------------------------------------

REASONED = asks(
    HI, Message("assistant", (Thinking("hm"), ToolCall("i", "f", "{}"))), Message("user", (ToolResult("i", ()),))
)


@pytest.mark.parametrize(
    ("kind", "member"),
    [
        ("deepseek", {"reasoning_content": "hm"}),
        ("moonshot", {"reasoning_content": "hm"}),
        ("zai", {"reasoning_content": "hm"}),
        ("xai", {"reasoning_content": "hm"}),
        ("vllm", {"reasoning": "hm"}),
        ("ollama", {"reasoning": "hm"}),
        ("together", {"reasoning": "hm"}),
        ("openrouter", {"reasoning": "hm"}),
        ("openai", {}),
        ("groq", {}),
        ("openai_compatible", {}),
    ],
)
def test_reasoning_goes_back_in_the_field_that_the_provider_takes(kind: str, member: dict[str, Any]) -> None:
    turn = sent(REASONED, kind)["messages"][1]
    assert {name: value for name, value in turn.items() if name not in ("role", "content", "tool_calls")} == member
    assert bool(warnings(REASONED, kind)) is not bool(member)


def test_deepseeks_calls_have_reasoning_be_it_empty() -> None:
    bare = asks(HI, Message("assistant", (ToolCall("i", "f", "{}"),)), Message("user", (ToolResult("i", ()),)))
    assert sent(bare, "deepseek")["messages"][1]["reasoning_content"] == ""
    assert "reasoning_content" not in sent(bare, "zai")["messages"][1]


def test_reasoning_details_go_back_as_they_came() -> None:
    text = {"type": "reasoning.text", "signature": "sig", "format": "f", "index": 0}
    hidden = {"type": "reasoning.encrypted", "data": "xyz", "id": "r1"}
    blocks = (
        Thinking("hm", json.dumps(text), "openrouter"),
        RedactedThinking(json.dumps(hidden), "openrouter"),
        Text("a"),
    )
    turn = sent(asks(HI, Message("assistant", blocks), HI), "openrouter")["messages"][1]
    assert turn["reasoning_details"] == [{**text, "text": "hm"}, hidden]


def test_images_that_a_model_made_go_back_to_openrouter_and_are_declared_elsewhere() -> None:
    made = asks(HI, Message("assistant", (Text("here"), Image(media_type="image/png", data="AAAA"))), HI)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert sent(made, "openrouter")["messages"][1] == {"role": "assistant", "content": "here", "images": [image]}
    assert sent(made)["messages"][1] == {"role": "assistant", "content": "here"}
    assert warnings(made)


def test_mistrals_reasoning_and_documents_are_chunks() -> None:
    blocks = (Image(url="https://a.example"), Document(url="https://a.example/a.pdf", name="a"), Document(file_id="f1"))
    conversation = asks(
        Message("user", (*blocks, Audio("QUJD", "mp3"))), Message("assistant", (Thinking("hm", "s"), Text("a"))), HI
    )
    user, assistant, _ = sent(conversation, "mistral")["messages"]
    assert user["content"][1:] == [
        {"type": "document_url", "document_url": "https://a.example/a.pdf", "document_name": "a"},
        {"type": "file", "file_id": "f1"},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},  # as recorded requests have it
    ]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "signature": "s"},
        {"type": "text", "text": "a"},
    ]


def test_mistrals_ids_are_short_the_same_for_a_call_and_its_result_and_its_own_stay() -> None:
    made = "call_abcdefghijkl"
    conversation = asks(
        HI,
        Message("assistant", (ToolCall(made, "f", "{}"), ToolCall("VzeppoSaq", "f", "{}"))),
        Message("user", (ToolResult(made, (Text("1"),)), ToolResult("VzeppoSaq", (Text("2"),)))),
    )
    for _ in range(2):  # the same in every request: the provider's cache of the prompt goes by it
        _, assistant, one, two = sent(conversation, "mistral")["messages"]
        first, second = (call["id"] for call in assistant["tool_calls"])
        assert first == one["tool_call_id"] != made
        assert len(first) == 9
        assert first.isalnum()
        assert second == two["tool_call_id"] == "VzeppoSaq"
    assert sent(conversation)["messages"][1]["tool_calls"][0]["id"] == made


# -- tools and settings --------------------------------------------------------------------------------------------


def test_tools_their_choice_and_the_form_of_the_answer() -> None:
    body = sent(
        asks(
            tools=(F, Tool("g")),
            tool_choice=ToolChoice("tool", "f"),
            parallel_tool_calls=False,
            response_format=ResponseFormat("json_schema", "out", {"type": "object"}, True),
        )
    )
    assert body["tools"] == [
        {
            "type": "function",
            "function": {"name": "f", "description": "does f", "parameters": F.schema, "strict": True},
        },
        {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}},
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert body["parallel_tool_calls"] is False
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "out", "schema": {"type": "object"}, "strict": True},
    }
    assert sent(asks(response_format=ResponseFormat("json_object")))["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(asks(response_format=ResponseFormat("text")))


def test_a_choice_without_tools_is_left_out_or_refused() -> None:
    assert sent(asks(tool_choice=ToolChoice("auto"), parallel_tool_calls=True)).keys() == {"model", "messages"}
    assert refused(asks(tool_choice=ToolChoice("required"))) == "tool_choice"
    assert refused(asks(tools=(F,), tool_choice=ToolChoice("tool", "g"))) == "tool_choice"


def test_a_tool_that_runs_elsewhere_is_refused() -> None:
    assert refused(asks(tools=(F, Tool("web_search", native={"type": "web_search_20250305"})))) == "tools.1.type"


def test_custom_tools_are_openais_and_functions_of_one_input_elsewhere() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    conversation = asks(
        HI,
        Message("assistant", (ToolCall("i", "patch", 'say "hi"', custom=True),)),
        Message("user", (ToolResult("i", (Text("done"),)),)),
        tools=(Tool("patch", "edits", grammar, custom=True),),
        tool_choice=ToolChoice("tool", "patch"),
    )
    body = sent(conversation)
    told = {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a/"}}
    assert body["tools"] == [{"type": "custom", "custom": {"name": "patch", "description": "edits", "format": told}}]
    assert body["tool_choice"] == {"type": "custom", "custom": {"name": "patch"}}
    assert body["messages"][1]["tool_calls"] == [
        {"id": "i", "type": "custom", "custom": {"name": "patch", "input": 'say "hi"'}}
    ]
    body = sent(conversation, "vllm")
    assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "patch"}}
    call = body["messages"][1]["tool_calls"][0]["function"]
    assert json.loads(call["arguments"]) == {"input": 'say "hi"'}
    assert warnings(conversation, "vllm") == ("tools.0: a tool of plain text is sent as a function with one `input`",)


def test_settings_have_openais_names_and_each_provider_gets_its_own() -> None:
    conversation = asks(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        n=2,
        stop=("a", "b"),
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logit_bias={"1": 2},
        logprobs=True,
        top_logprobs=3,
        user="u",
        service_tier="standard_only",
        extra={"store": True, "verbosity": "low"},
        metadata={"a": "b"},
    )
    body = sent(conversation)
    del body["messages"]
    assert body == {
        "model": "m",
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["a", "b"],
        "seed": 7,
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "logit_bias": {"1": 2},
        "logprobs": True,
        "top_logprobs": 3,
        "user": "u",
        "service_tier": "default",
        "store": True,
        "verbosity": "low",
        "metadata": {"a": "b"},
    }
    assert warnings(conversation) == ()
    mistral = sent(conversation, "mistral")
    assert mistral["max_tokens"] == 5
    assert mistral["random_seed"] == 7
    assert mistral.keys().isdisjoint({"user", "store", "verbosity", "logit_bias", "max_completion_tokens", "seed"})
    declared = {warning.partition(":")[0] for warning in warnings(conversation, "mistral")}
    assert declared == {"user", "store", "verbosity", "logit_bias"}


def test_a_streams_usage_is_asked_for_except_where_it_comes_unasked() -> None:
    assert sent(asks(), stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(asks(), "mistral", stream=True)


def test_metadata_without_store_and_fields_that_chat_has_not_are_declared() -> None:
    conversation = asks(metadata={"a": "b"}, top_k=4, extra={"speed": "fast", "betas": ["x"]})
    assert warnings(conversation) == (
        "top_k: the provider has no such parameter, left out",
        "metadata: goes with `store` alone, left out",
        "speed: chat has no such field, left out",
    )
    assert sent(asks(top_k=4), "vllm")["top_k"] == 4


@pytest.mark.parametrize("field", ["previous_response_id", "mcp_servers", "container", "conversation", "prompt"])
def test_what_would_be_another_question_without_it_is_refused(field: str) -> None:
    assert refused(asks(extra={field: "x"})) == field
    assert sent(asks(extra={field: None})).keys() == {"model", "messages"}


def test_cache_markers_go_where_they_are_read_and_are_declared_elsewhere() -> None:
    conversation = asks(Message("user", (Text("long", MARK), Text("short"))), tools=(Tool("f", cache=MARK),))
    assert warnings(conversation) == ("cache_control: the provider takes no cache markers here, left out",)
    body = sent(conversation, "openrouter")
    assert body["messages"][0]["content"][0] == {"type": "text", "text": "long", "cache_control": MARK}
    assert body["tools"][0]["cache_control"] == MARK
    assert warnings(conversation, "openrouter") == ()


# -- how much to think ---------------------------------------------------------------------------------------------

BUDGET = {"type": "enabled", "budget_tokens": 8000}


@pytest.mark.parametrize(
    ("kind", "model", "thinking", "told", "declared"),
    [
        ("openai", "gpt-5.2", BUDGET, {"reasoning_effort": "medium"}, False),
        ("openai", "gpt-5.2", {"type": "enabled", "budget_tokens": 1024}, {"reasoning_effort": "low"}, False),
        ("openai", "gpt-5.2", {"type": "enabled", "budget_tokens": 60000}, {"reasoning_effort": "high"}, False),
        ("openai", "gpt-5.2", {"type": "disabled"}, {"reasoning_effort": "none"}, False),
        ("openai", "gpt-5-mini", {"type": "disabled"}, {}, True),
        ("openai", "gpt-5.3-codex", {"type": "disabled"}, {}, True),
        ("openai", "gpt-5.2", {"type": "adaptive"}, {"reasoning_effort": "high"}, False),
        ("openai", "gpt-4.1", BUDGET, {}, True),
        ("openai", "gpt-4.1", {"type": "disabled"}, {}, False),
        ("openai", "gpt-5-chat-latest", BUDGET, {}, True),
        ("azure", "o4-mini", BUDGET, {"reasoning_effort": "medium"}, False),
        ("azure", "gpt-35-turbo", BUDGET, {}, True),
        ("deepseek", "m", BUDGET, {"thinking": {"type": "enabled"}}, False),
        ("zai", "m", {"type": "disabled"}, {"thinking": {"type": "disabled"}}, False),
        ("openrouter", "m", BUDGET, {"reasoning": {"max_tokens": 8000}}, False),
        ("openrouter", "m", {"type": "disabled"}, {"reasoning": {"enabled": False}}, False),
        ("vllm", "m", BUDGET, {}, True),
    ],
)
def test_a_thinking_of_the_callers_is_told_as_the_provider_has_it(
    kind: str, model: str, thinking: Any, told: dict[str, Any], declared: bool
) -> None:
    body = sent(asks(thinking=thinking), kind, model)
    assert {name: value for name, value in body.items() if name not in ("model", "messages")} == told
    assert bool(warnings(asks(thinking=thinking), kind, model)) is declared


@pytest.mark.parametrize(("kind", "model"), [("openai", "gpt-5.2"), ("openrouter", "m"), ("zai", "m"), ("groq", "m")])
def test_a_thinking_beside_an_effort_is_one_wish_also_for_a_strict_caller(kind: str, model: str) -> None:
    request = encoded(asks(thinking=BUDGET, reasoning_effort="medium"), kind, model, strict=True)
    body = json.loads(request.body)
    assert request.warnings == ()
    assert ("reasoning_effort" in body) is (kind != "openrouter")
    assert body.get("reasoning") == ({"max_tokens": 8000} if kind == "openrouter" else None)


def test_a_thinking_of_the_callers_alone_is_told_a_strict_caller_too() -> None:
    assert json.loads(encoded(asks(thinking=BUDGET), model="o3", strict=True).body)["reasoning_effort"] == "medium"


def test_an_effort_goes_to_models_that_reason_and_sampling_to_those_that_do_not() -> None:
    conversation = asks(reasoning_effort="high", temperature=0.2, top_p=1.0)
    body = sent(conversation, model="o3")
    assert (body["reasoning_effort"], body["top_p"]) == ("high", 1.0)
    assert "temperature" not in body
    assert warnings(conversation, model="o3") == ("temperature: the model reasons and takes none, left out",)
    body = sent(conversation, model="gpt-4o")
    assert "reasoning_effort" not in body
    assert body["temperature"] == 0.2
    assert sent(conversation, "groq")["reasoning_effort"] == "high"
