"""Events become Anthropic's stream or one message, valid to its SDK, and come back from its clients as blocks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters._signatures import wrap
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.messages import MessagesDialect
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Metered,
    Opaque,
    OpaqueBlock,
    RedactedThinking,
    RefusalDelta,
    Text,
    TextDelta,
    TextEnd,
    Thinking,
    ThinkingDelta,
    ThinkingEnd,
    ToolCall,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.errors import BadRequest, CallError, Overloaded, Unanswered, UnknownModel
from gateway.core.money import Usage
from gateway.core.types import Call
from tests.adapters.messages_wire import events, ordered, put_together, valid

MESSAGES = MessagesDialect()

ANSWER: tuple[Event, ...] = (
    Begin("msg_1", "model-1"),
    ThinkingDelta("th"),
    ThinkingDelta("ink"),
    ThinkingEnd("c2ln", provider="anthropic"),
    ThinkingEnd(redacted="enc", provider="anthropic"),
    TextDelta("Hel"),
    TextDelta('lo "\n\u2028é'),
    Citation(
        {
            "type": "char_location",
            "cited_text": "x",
            "document_index": 0,
            "document_title": None,
            "file_id": None,
            "start_char_index": 0,
            "end_char_index": 1,
            "start_index": 0,
            "end_index": 5,
        }
    ),
    Citation({"url": "https://x.org", "title": "X", "start_index": 0, "end_index": 3}),
    ToolCallBegin(0, "t0", "f"),
    ToolCallDelta(0, '{"a":'),
    ToolCallDelta(0, " 1}"),
    ToolCallBegin(1, "t1", "g"),
    Finished("tool_calls"),
    Metered(Usage(fresh_input=3, cached_input=4, cache_write_1h=5, output_text=6, reasoning=7, service_tier="default")),
)


def written(told: Sequence[Event], stream: bool) -> bytes:
    call = Call(id="call-1", endpoint="chat", dialect="messages", body=b"{}", stream=stream)
    pen = MESSAGES.writer(call, "public-model")
    return b"".join([*(pen.write(event) for event in told), pen.end()])


def streamed(*told: Event) -> dict[str, Any]:
    read = events(written(told, stream=True))
    ordered(read)
    return put_together(read)


def message(*told: Event) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(written(told, stream=False))
    return whole


def returned(said: dict[str, Any]) -> tuple[Any, ...]:
    """Returns the blocks of an answer that a client sends back."""
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": said["content"]}]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode()
    return MESSAGES.conversation(MESSAGES.parse("c", body, ())).messages[1].content


def test_a_message_holds_all_that_was_said() -> None:
    said = valid(message(*ANSWER))
    assert said == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "model-1",
        "content": [
            {"type": "thinking", "thinking": "think", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "enc"},
            {
                "type": "text",
                "text": 'Hello "\n\u2028é',
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "x",
                        "document_index": 0,
                        "document_title": None,
                        "file_id": None,
                        "start_char_index": 0,
                        "end_char_index": 1,
                    },
                    {
                        "type": "web_search_result_location",
                        "url": "https://x.org",
                        "title": "X",
                        "cited_text": "",
                        "encrypted_index": "",
                    },
                ],
            },
            {"type": "tool_use", "id": "t0", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "t1", "name": "g", "input": {}},
        ],
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 4,
            "output_tokens": 13,
            "output_tokens_details": {"thinking_tokens": 7},
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 5},
            "service_tier": "standard",
        },
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "stop_details": None,
    }


def test_a_stream_is_what_anthropics_own_sdk_puts_together_to_the_same_message() -> None:
    whole, put = message(*ANSWER), streamed(*ANSWER)
    # The split of cache writes and the tier are told at a stream's beginning, when this provider had told nothing.
    for told in (whole, put):
        told["usage"] = {name: told["usage"][name] for name in told["usage"] if name.endswith("_tokens")}
    assert put == whole


def test_a_stream_begins_with_a_full_skeleton_of_usage() -> None:
    begun = events(written(ANSWER, stream=True))[0]["message"]
    assert begun["content"] == []
    assert (begun["stop_reason"], begun["stop_sequence"]) == (None, None)
    assert begun["usage"] == {
        "input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    }
    told = events(written((Metered(Usage(fresh_input=7)), *ANSWER), stream=True))[0]["message"]["usage"]
    assert told["input_tokens"] == 7


@pytest.mark.parametrize(
    ("finished", "stop_reason"),
    [
        (Finished("stop"), "end_turn"),
        (Finished("stop", "STOP", stop_sequence="END"), "stop_sequence"),
        (Finished("length", "MAX_TOKENS"), "max_tokens"),
        (Finished("length", "model_context_window_exceeded"), "model_context_window_exceeded"),
        (Finished("length", "pause_turn"), "pause_turn"),
        (Finished("stop", "tool_use"), "end_turn"),
        (Finished("content_filter", "SAFETY"), "refusal"),
        (Finished("MALFORMED_FUNCTION_CALL"), "MALFORMED_FUNCTION_CALL"),
        (Finished("error"), "error"),
    ],
)
def test_an_answer_stops_for_the_reason_it_had(finished: Finished, stop_reason: str) -> None:
    told = (Begin("m", "m"), TextDelta("a"), finished)
    ended = events(written(told, stream=True))[-2]["delta"]
    whole = message(*told)
    assert ended["stop_reason"] == whole["stop_reason"] == stop_reason
    assert ended["stop_sequence"] == whole["stop_sequence"] == finished.stop_sequence
    assert ended.get("stop_details") == whole.get("stop_details")


def test_a_call_that_was_forced_ends_in_tool_use_as_anthropics_do() -> None:
    told = (Begin("m", "m"), ToolCallBegin(0, "t", "f"), ToolCallDelta(0, "{}"), Finished("stop"))
    assert message(*told)["stop_reason"] == streamed(*told)["stop_reason"] == "tool_use"


def test_a_refusal_is_told_in_words_and_as_the_reason() -> None:
    told = (Begin("m", "m"), RefusalDelta("I "), RefusalDelta("won't."), Finished("stop"))
    for said in (valid(message(*told)), streamed(*told)):
        assert said["content"][0]["text"] == "I won't."
        assert said["stop_reason"] == "refusal"
        assert said["stop_details"] == {"type": "refusal", "category": None, "explanation": "I won't."}


def test_what_has_no_place_in_the_wire_comes_back_from_its_clients_to_whom_it_belongs() -> None:
    told = (
        Begin("m", "m"),
        ThinkingDelta("a"),
        ThinkingEnd("ZW5j", provider="openai", id="rs_1"),
        ThinkingEnd("b25seQ==", provider="openai"),
        ThinkingEnd(redacted="ZW5j", provider="bedrock"),
        OpaqueBlock("openai", {"type": "web_search_call", "id": "ws"}),
        OpaqueBlock("anthropic", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}),
        TextDelta("so"),
        TextEnd("dGV4dA==", "gemini"),
        TextDelta("and"),
        TextEnd(),
        ThinkingDelta("unsigned"),
        ToolCallBegin(0, "t", "f", signature="c2ln", provider="gemini"),
        ToolCallDelta(0, "{}"),
        Finished("tool_calls"),
    )
    for said in (valid(message(*told)), streamed(*told)):
        assert returned(said) == (
            Thinking("a", "ZW5j", "openai", "rs_1"),
            Thinking("", "b25seQ==", "openai"),
            RedactedThinking("ZW5j", "bedrock"),
            Opaque("openai", {"type": "web_search_call", "id": "ws"}),
            Opaque("anthropic", {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"q": "x"}}),
            Text("so", signature="dGV4dA==", provider="gemini"),
            Text("and"),
            Thinking("unsigned"),
            ToolCall("t", "f", "{}", "c2ln", provider="gemini"),
        )


def test_an_image_that_the_model_made_is_a_block() -> None:
    told = (Begin("m", "m"), TextDelta("look"), ImagePart("image/png", "AAAA"), Finished("stop"))
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert message(*told)["content"][1] == {"type": "image", "source": source}
    assert events(written(told, stream=True))[4]["content_block"] == {"type": "image", "source": source}


@pytest.mark.parametrize(
    ("arguments", "finish", "read"),
    [
        ("", "tool_calls", {}),
        ('{"a":', "length", {}),
        ('{"a":', "tool_calls", {"INVALID_JSON": '{"a":'}),
        ("[1]", "tool_calls", {"INVALID_JSON": "[1]"}),
    ],
)
def test_a_tools_input_is_an_object_whatever_the_model_wrote(arguments: str, finish: str, read: Any) -> None:
    said = valid(message(Begin("m", "m"), ToolCallBegin(0, "t", "f"), ToolCallDelta(0, arguments), Finished(finish)))
    assert said["content"][0]["input"] == read


def test_what_the_provider_did_not_name_is_the_calls_own_and_an_empty_answer_is_one() -> None:
    for said in (valid(message(Finished("stop"))), streamed(Finished("stop"))):
        assert (said["id"], said["model"], said["content"]) == ("call-1", "public-model", [])
        assert said["stop_reason"] == "end_turn"


def test_a_late_piece_of_a_call_belongs_to_that_call() -> None:
    told = (
        ToolCallBegin(0, "t0", "f"),
        ToolCallBegin(1, "t1", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, '{"a":1}'),
        Finished("tool_calls"),
    )
    put = put_together(events(written(told, stream=True)))
    assert [block["input"] for block in put["content"]] == [{"a": 1}, {}]


# -- laws ---------------------------------------------------------------------------------------------------------

_WORDS = st.text(max_size=8)
_PROVIDERS = st.sampled_from(["anthropic", "openai", "gemini", None])
_SIGNATURES = st.none() | st.text("abc+/=", min_size=1, max_size=8)
_PIECES: st.SearchStrategy[list[Event]] = st.one_of(
    st.lists(st.builds(TextDelta, _WORDS), max_size=3),
    st.builds(lambda signature, provider: [TextEnd(signature, provider)], _SIGNATURES, _PROVIDERS),
    st.lists(st.builds(ThinkingDelta, _WORDS), min_size=1, max_size=3),
    st.builds(lambda signature, provider: [ThinkingEnd(signature, provider=provider)], _SIGNATURES, _PROVIDERS),
    st.builds(
        lambda data, provider: [ThinkingEnd(redacted=data, provider=provider)], st.text("ab", min_size=1), _PROVIDERS
    ),
    st.builds(
        lambda provider: [
            OpaqueBlock(provider, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"a": 1}})
        ],
        st.sampled_from(["anthropic", "openai"]),
    ),
    st.just([Citation({"url": "https://x.org", "title": "X"})]),
    st.builds(lambda text: [RefusalDelta(text)], _WORDS),
)


@given(
    st.lists(_PIECES, max_size=8),
    st.integers(0, 3),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
@example([[ThinkingDelta("")], [TextEnd("=", "anthropic")]], 0, "stop")
def test_every_stream_is_in_order_and_puts_together_to_the_whole(
    pieces: list[list[Event]], calls: int, finish: str
) -> None:
    told: list[Event] = [Begin("m", "m"), *(event for piece in pieces for event in piece)]
    for index in range(calls):
        told += [
            ToolCallBegin(index, f"t{index}", "f"),
            ToolCallDelta(index, '{"i":'),
            ToolCallDelta(index, f"{index}}}"),
        ]
    told.append(Finished(finish))
    whole, put = valid(message(*told)), streamed(*told)
    for said in (whole, put):
        del said["usage"]
    assert put == whole
    assert all(block["text"] for block in whole["content"] if block["type"] == "text")


# -- replay, counts, errors ---------------------------------------------------------------------------------------


def replayed(body: bytes, streamed: bool) -> bytes:
    asked = Call(id="c", endpoint="chat", dialect="messages", body=b"{}", stream=not streamed)
    return MESSAGES.replay(body, streamed, asked)


def test_a_kept_answer_is_told_in_the_other_form_and_back() -> None:
    kept = written(ANSWER, stream=False)
    told = replayed(kept, streamed=False)
    read = events(told)
    ordered(read)
    assert put_together(read)["content"] == json.loads(kept)["content"]
    again = json.loads(replayed(told, streamed=True))
    assert again == json.loads(kept)
    same = Call(id="c", endpoint="chat", dialect="messages", body=b"{}", stream=True)
    assert MESSAGES.replay(told, True, same) == told


def test_a_count_is_a_number_that_says_whether_it_is_one() -> None:
    call = Call(id="c", endpoint="chat", dialect="messages", body=b"{}", counting=True)
    for usage, body in (
        (Usage(fresh_input=7, cached_input=1), b'{"input_tokens":8}'),
        (Usage(fresh_input=7, estimated=True), b'{"input_tokens":7,"estimated":true}'),
    ):
        pen = CountTokensDialect().writer(call, "m")
        assert pen.write(Metered(usage)) + pen.end() == body


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (BadRequest("must be an object", param="tools.0"), "invalid_request_error", "tools.0: must be an object"),
        (
            BadRequest("tools.0 must be an object", param="tools.0"),
            "invalid_request_error",
            "tools.0 must be an object",
        ),
        (UnknownModel("no such model"), "not_found_error", "no such model"),
        (Overloaded("later"), "overloaded_error", "later"),
        (CallError("a defect"), "api_error", "a defect"),
        (Unanswered("slow", status=504), "timeout_error", "slow"),
        (Unanswered("wait", status=429), "rate_limit_error", "wait"),
        (
            Unanswered("too many tokens", status=400, code="context_length_exceeded"),
            "invalid_request_error",
            "prompt is too long: too many tokens",
        ),
    ],
)
def test_an_error_is_of_anthropics_form(error: CallError, kind: str, message: str) -> None:
    error.request_id = "req_1"
    body = {"error": {"type": kind, "message": message}, "request_id": "req_1", "type": "error"}
    assert json.loads(MESSAGES.error(error)) == body
    name, data, _ = MESSAGES.error_event(error).split(b"\n", 2)
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == body


def test_reasoning_that_nobody_signed_is_framed_as_nobodys() -> None:
    said = message(ThinkingDelta("hm"), TextDelta("so"), Finished("stop"))
    assert said["content"][0]["signature"] == wrap("", "", None) != ""


@pytest.mark.parametrize("provider", ["anthropic", "bedrock_anthropic"])
def test_a_claudes_signature_is_its_own_wherever_it_ran_and_its_encrypted_reasoning_is_the_places(
    provider: str,
) -> None:
    said = message(
        ThinkingDelta("hm"), ThinkingEnd("c2ln", provider=provider), ThinkingEnd(redacted="ZW5j", provider=provider)
    )
    assert said["content"][0]["signature"] == "c2ln"
    assert returned(said) == (Thinking("hm", "c2ln", "anthropic"), RedactedThinking("ZW5j", provider))
