"""A history becomes the turns that Anthropic takes, with all that stands in them, or is refused by its path."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.adapters.anthropic_wire import (
    LATER_SYSTEM,
    MARKER,
    PDF,
    PNG,
    SEARCH,
    THOUGHT,
    answers,
    asks,
    calls,
    encode,
    image,
    refused,
    sent,
    text,
)

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
        (
            [asks(), calls("a", "b"), answers("a"), asks("x"), {"role": "assistant", "content": "y"}],
            "messages.1.tool_calls",
        ),
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
        block["tool_use_id"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_result"
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


# -- 14: replayed thinking ------------------------------------------------------------------------------------------


def test_thinking_goes_back_verbatim_and_before_the_tool_call() -> None:
    history = [
        asks(),
        calls("a", thinking_blocks=[THOUGHT, {"type": "redacted_thinking", "data": "xyz"}]),
        answers("a"),
    ]
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


def test_reasoning_that_a_claude_at_bedrock_signed_goes_on_and_its_encrypted_one_does_not() -> None:
    signed = {**THOUGHT, "provider": "bedrock_anthropic"}
    redacted = {"type": "redacted_thinking", "data": "xyz", "provider": "bedrock_anthropic"}
    history = [asks(), {"role": "assistant", "content": "a", "thinking_blocks": [signed, redacted]}, asks()]
    request = encode(messages=history)
    spoken = json.loads(request.body)["messages"][1]["content"]
    assert spoken == [{"type": "thinking", "thinking": "hm", "signature": "sig"}, text("a")]
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


def test_cache_markers_stand_on_tools_system_messages_calls_and_results() -> None:
    call = calls("a")
    call["tool_calls"][0]["cache_control"] = MARKER
    body = sent(
        tools=[{**SEARCH, "cache_control": MARKER}],
        messages=[
            {"role": "system", "content": "s", "cache_control": MARKER},
            asks(),
            call,
            answers("a", cache_control=MARKER),
        ],
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


def test_an_images_bytes_say_its_type() -> None:
    assert media(image(f"data:image/jpeg;base64,{PNG}"))["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": PNG,
    }
    assert media(image("https://x.org/a.png"))["source"] == {"type": "url", "url": "https://x.org/a.png"}


@pytest.mark.parametrize(
    "url", ["http://x.org/a.png", "data:image/tiff;base64,AAAA", "data:image/png;base64,A", "data:,x"]
)
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
