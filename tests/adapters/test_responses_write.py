"""Events become a Response or its stream: valid to OpenAI's schema, readable to its SDK, and the same in both forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from adapters.dialects._responses_envelope import is_minted
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Metered,
    RefusalDelta,
    Text,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCall,
    ToolCallBegin,
    ToolCallDelta,
    ToolResult,
)
from gateway.core.errors import Overloaded
from gateway.core.money import Usage
from tests.adapters.responses_wire import (
    CUSTOM,
    FUNCTION,
    RESPONSES,
    a_call,
    answers,
    reassembled,
    schema,
    streamed,
    told,
    whole,
)

BEGIN = Begin("msg_1", "claude-x", 1_780_000_000)
USED = Metered(Usage(10, 3, 2, output_text=7, reasoning=4, service_tier="standard"))
RICH: list[Event] = [
    BEGIN,
    ThinkingDelta("hm"),
    ThinkingEnd("sig", provider="anthropic"),
    TextDelta("Look"),
    TextDelta(" up."),
    Citation({"url": "https://x.org", "title": "X", "start_index": 0, "end_index": 4}),
    Citation({"type": "char_location", "document_title": "D", "cited_text": "c"}),
    RefusalDelta("No."),
    ImagePart("image/png", "iVBORw0K"),
    ToolCallBegin(0, "call_0", "search"),
    ToolCallDelta(0, '{"q":'),
    ToolCallDelta(0, "1}"),
    ToolCallBegin(1, "call_1", "note", custom=True),
    ToolCallDelta(1, "remember"),
    Finished("tool_calls", "tool_use"),
    USED,
]
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text_is_told_event_by_event() -> None:
    events = streamed([BEGIN, TextDelta("Hel"), TextDelta("lo"), Finished("stop"), USED])
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events if "delta" in event] == ["Hel", "lo"]
    assert events[-1]["response"]["usage"] == {
        "input_tokens": 15,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 11,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 26,
    }
    assert events[-1]["response"]["service_tier"] == "default"


def test_every_kind_of_item_is_told_in_its_order() -> None:
    response = reassembled(streamed(RICH))
    assert [item["type"] for item in response["output"]] == [
        "reasoning",
        "message",
        "image_generation_call",
        "function_call",
        "custom_tool_call",
    ]
    reasoning, message, image, call, custom = response["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert [part["type"] for part in message["content"]] == ["output_text", "refusal"]
    assert message["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "https://x.org", "title": "X", "start_index": 0, "end_index": 4}
    ]
    assert message["content"][0]["citations"] == [{"type": "char_location", "document_title": "D", "cited_text": "c"}]
    assert (image["result"], image["output_format"]) == ("iVBORw0K", "png")
    assert (call["call_id"], call["arguments"]) == ("call_0", '{"q":1}')
    assert (custom["call_id"], custom["input"]) == ("call_1", "remember")
    assert response["native_finish_reason"] == "tool_use"


def test_reasoning_stands_in_the_summary_where_the_caller_asks_for_one() -> None:
    events = streamed([BEGIN, ThinkingDelta("h"), ThinkingDelta("m"), Finished("stop")], reasoning={"summary": "auto"})
    assert types(events)[2:-1] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert reassembled(events)["output"][0]["summary"] == [{"type": "summary_text", "text": "hm"}]


@pytest.mark.parametrize(
    ("said", "finish", "status", "details"),
    [
        ([], "stop", "completed", None),
        ([], "tool_calls", "completed", None),
        ([], "length", "incomplete", {"reason": "max_output_tokens"}),
        ([], "content_filter", "incomplete", {"reason": "content_filter"}),
        ([RefusalDelta("no")], "content_filter", "completed", None),
        ([], "a_word_of_its_own", "incomplete", {}),
    ],
)
def test_how_an_answer_ended_is_its_status(said: list[Event], finish: str, status: str, details: Any) -> None:
    for response in (whole([*said, Finished(finish)]), reassembled(streamed([*said, Finished(finish)]))):
        assert response["status"] == status
        assert response["incomplete_details"] == details


def test_an_answer_that_never_said_how_it_ended_is_not_complete() -> None:
    assert whole([TextDelta("hi")])["status"] == "incomplete"
    assert streamed([TextDelta("hi")])[-1]["type"] == "response.incomplete"


def test_an_item_that_was_cut_short_says_so() -> None:
    response = whole([ToolCallBegin(0, "c", "search"), ToolCallDelta(0, '{"q'), Finished("length")])
    assert response["output"][0]["status"] == "incomplete"
    assert whole([TextDelta("hi"), Finished("length")])["output"][0]["status"] == "incomplete"


def test_the_object_repeats_what_was_asked() -> None:
    form = {"type": "json_schema", "name": "f", "schema": {"type": "object"}, "description": None}
    response = whole(
        [Finished("stop")],
        instructions="Be brief.",
        metadata={"a": "b"},
        temperature=0.5,
        max_output_tokens=16,
        parallel_tool_calls=False,
        tools=[FUNCTION, CUSTOM],
        tool_choice="required",
        text={"format": form, "verbosity": "low"},
        user="u",
        store=True,
    )
    assert response["instructions"] == "Be brief."
    assert response["metadata"] == {"a": "b"}
    assert (response["temperature"], response["top_p"], response["max_output_tokens"]) == (0.5, None, 16)
    assert response["parallel_tool_calls"] is False
    assert response["tools"] == [{**FUNCTION, "strict": None}, CUSTOM]
    assert response["text"] == {"format": {key: form[key] for key in ("type", "name", "schema")}, "verbosity": "low"}
    assert response["user"] == "u"
    assert response["store"] is False  # nobody keeps it


def test_ids_are_the_same_for_the_same_call_and_known_again() -> None:
    one, other = whole(RICH), reassembled(streamed(RICH))
    ids = [one["id"], *(item["id"] for item in one["output"])]
    assert ids == [other["id"], *(item["id"] for item in other["output"])]
    assert len(set(ids)) == len(ids)
    assert all(is_minted(each) for each in ids)
    assert not any(is_minted(each) for each in ("resp_68cf0a", "msg_hg123", "rs_1c1cae28-e3a2", "call_headgate"))


def test_a_second_choice_is_none_of_the_answer() -> None:
    other: list[Event] = [
        TextDelta("no", 1),
        ToolCallBegin(0, "c", "f", 1),
        ToolCallDelta(0, "{}", 1),
        Finished("length", choice=1),
    ]
    events = [BEGIN, TextDelta("yes"), *other, TextDelta("!"), Finished("stop"), *other]
    assert whole(events) == reassembled(streamed(events)) == whole([BEGIN, TextDelta("yes!"), Finished("stop")])


def test_an_answer_without_a_beginning_is_named_by_its_call() -> None:
    response = whole([TextDelta("hi"), Finished("stop")])
    assert (response["model"], response["created_at"]) == ("shown", 1_790_000_000)
    assert "usage" not in response


@settings(max_examples=150, deadline=None)
@given(answers())
def test_the_deltas_of_a_stream_add_up_to_the_whole_answer(events: list[Event]) -> None:
    assert reassembled(streamed(events)) == whole(events)
    asked = {"reasoning": {"effort": "low", "summary": "auto"}}
    assert reassembled(streamed(events, **asked)) == whole(events, **asked)


@settings(max_examples=80, deadline=None)
@given(answers())
def test_a_kept_answer_is_told_in_the_other_form(events: list[Event]) -> None:
    call, streaming = a_call(), a_call(stream=True)
    kept = whole(events)
    one = RESPONSES.writer(streaming, "shown")
    stream = b"".join([*map(one.write, events), one.end()])
    assert json.loads(RESPONSES.replay(stream, True, call)) == kept
    body = json.dumps(kept).encode()
    assert reassembled(told(RESPONSES.replay(body, False, streaming))) == kept
    assert RESPONSES.replay(body, False, call) is body
    assert RESPONSES.replay(stream, True, streaming) is stream


@settings(max_examples=25, deadline=None)
@given(answers())
def test_openais_sdk_reads_every_answer_strictly(events: list[Event]) -> None:
    Response.model_validate(whole(events, tools=[FUNCTION, CUSTOM]), strict=True)
    for event in streamed(events):
        SDK_EVENT.validate_python(event, strict=True)


@pytest.mark.parametrize(
    "asked", [{}, {"reasoning": {"effort": "low", "summary": "auto"}, "tools": [FUNCTION, CUSTOM]}]
)
def test_openais_schema_holds_for_every_answer_and_event(asked: dict[str, Any]) -> None:
    response, event = schema("Response"), schema("ResponseStreamEvent")
    if response is None or event is None:
        pytest.skip("no ../shared/schemas here")
    # The published schema lists OpenAI's own models and no other.
    answer = whole([Begin("", "gpt-5"), *RICH[1:]], **asked)
    assert [error.message for error in response.iter_errors(answer)] == []
    for told_event in streamed([Begin("", "gpt-5"), *RICH[1:]], **asked):
        assert [error.message for error in event.iter_errors(told_event)] == [], told_event["type"]
    for finish in ("length", "content_filter", "odd"):
        assert response.is_valid(whole([Begin("", "gpt-5"), TextDelta("x"), Finished(finish)]))


def test_an_error_in_band_is_valid_and_raised_by_sdks() -> None:
    error = Overloaded("busy", param="model")
    written = RESPONSES.error_event(error)
    assert written.startswith(b"event: error\ndata: {")
    event = json.loads(written.split(b"\n")[1].removeprefix(b"data: "))
    assert (event["type"], event["message"], event["code"], event["param"]) == ("error", "busy", "overloaded", "model")
    assert event["error"] == {"message": "busy", "type": "server_error", "param": "model", "code": "overloaded"}
    published = schema("ResponseErrorEvent")
    assert published is None or published.is_valid(event)
    assert json.loads(RESPONSES.error(error))["error"]["code"] == "overloaded"


def test_an_error_in_band_has_the_next_number() -> None:
    one = RESPONSES.writer(a_call(stream=True), "m")
    pieces = [one.write(event) for event in (BEGIN, TextDelta("a"), TextDelta('"sequence_number":99'))]
    for number, after in enumerate(pieces):
        numbers = [event["sequence_number"] for event in _read(b"".join(pieces[: number + 1]))]
        (error,) = _read(RESPONSES.error_event(Overloaded("busy"), after))
        assert error["sequence_number"] == numbers[-1] + 1
    (alone,) = _read(RESPONSES.error_event(Overloaded("busy")))
    assert alone["sequence_number"] == 0


def _read(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(block.split(b"data: ")[1]) for block in stream.split(b"\n\n")[:-1]]


def test_a_tool_call_is_told_whole_when_something_follows_it() -> None:
    first = [BEGIN, ToolCallBegin(0, "c0", "f"), ToolCallDelta(0, '{"a":'), ToolCallDelta(0, "1}")]
    events = streamed([*first, ToolCallBegin(1, "c1", "f"), ToolCallDelta(1, "{}"), TextDelta("so"), Finished("stop")])
    told = [(event["type"].removeprefix("response."), event.get("output_index")) for event in events]
    done = [place for kind, place in told if kind == "output_item.done"]
    assert done == [0, 1, 2]
    assert told.index(("output_item.done", 0)) < told.index(("output_item.added", 1))
    assert told.index(("output_item.done", 1)) < told.index(("output_item.added", 2))
    assert [item.get("arguments") for item in reassembled(events)["output"]] == ['{"a":1}', "{}", None]


def test_calls_whose_arguments_a_provider_mixes_stay_open() -> None:
    mixed = [
        BEGIN,
        ToolCallBegin(0, "c0", "f"),
        ToolCallDelta(0, '{"a":'),
        ToolCallBegin(1, "c1", "f"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, "1}"),
        ToolCallBegin(2, "c2", "note", custom=True),
        ToolCallDelta(2, "{}"),
        ToolCallDelta(0, " "),
        TextDelta("so"),
        ToolCallDelta(2, " more"),
        Finished("tool_calls"),
    ]
    call, other, custom, _ = reassembled(streamed(mixed))["output"]
    assert (call["arguments"], other["arguments"], custom["input"]) == ('{"a":1}', "{}", "{} more")
    assert whole(mixed)["output"][0]["arguments"] == '{"a":1}'


def test_a_signature_over_a_tool_call_rides_in_its_id_and_comes_back() -> None:
    signed = [BEGIN, ToolCallBegin(0, "c0", "f", signature="c2ln", provider="gemini"), ToolCallDelta(0, "{}")]
    (item,) = whole([*signed, Finished("tool_calls")])["output"]
    assert item["call_id"].startswith("c0__signed__")
    output = {"type": "function_call_output", "call_id": item["call_id"], "output": "1"}
    turns = RESPONSES.conversation(a_call(input=[{"role": "user", "content": "hi"}, item, output])).messages
    assert turns[1].content == (ToolCall("c0", "f", "{}", "c2ln", provider="gemini"),)
    assert turns[2].content == (ToolResult("c0", (Text("1"),)),)
