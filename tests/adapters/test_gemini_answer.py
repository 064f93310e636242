"""Answers of Gemini written by hand: what recorded ones do not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.blocks import (
    Begin,
    Citation,
    Finished,
    ImagePart,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    TextEnd,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import a_tool, reassembled, unary
from tests.adapters.gemini_wire import a_call, chunk, decoder, events_of, fed, sse

OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"text": said, **fields}


def call(name: str, signature: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {"a": 1}, **fields}} | (
        {"thoughtSignature": signature} if signature else {}
    )


def events(*documents: dict[str, Any], vertex: bool = False) -> list[Any]:
    return events_of([sse(*documents)], stream=True, vertex=vertex)[0].events


def test_parts_become_events_in_their_order_with_the_signatures_of_each() -> None:
    found = events(
        chunk(text("hm", thought=True)),
        chunk(text("Hel"), usageMetadata={"trafficType": "ON_DEMAND"}),
        chunk(text("lo"), text("", thoughtSignature="s1")),
        chunk(call("f", "s2", id="abc"), call("g")),
        chunk(
            text("", thoughtSignature="s3"), finish="STOP", usageMetadata={"promptTokenCount": 3, "totalTokenCount": 3}
        ),
    )
    minted = found[8].id
    assert found[:-2] == [
        Begin("r1", "gemini-x"),
        ThinkingDelta("hm"),
        ThinkingEnd(provider="gemini"),
        TextDelta("Hel"),
        TextDelta("lo"),
        TextEnd("s1", "gemini"),
        ToolCallBegin(0, "abc", "f", signature="s2", provider="gemini"),
        ToolCallDelta(0, '{"a":1}'),
        ToolCallBegin(1, minted, "g"),
        ToolCallDelta(1, '{"a":1}'),
        TextEnd("s3", "gemini"),
    ]
    assert found[-2] == Finished("tool_calls", "STOP")
    assert found[-1].usage.fresh_input == 3


def test_an_id_that_the_model_did_not_give_is_the_same_whenever_it_is_read() -> None:
    answer = [chunk(call("f"), call("f"), finish="STOP")]
    first, second = ([event.id for event in events(*answer) if isinstance(event, ToolCallBegin)] for _ in range(2))
    assert first == second
    assert len(set(first)) == 2
    assert all(name.startswith("call_") and name.replace("_", "").isalnum() for name in first)


def test_a_changed_name_comes_back_as_the_caller_wrote_it() -> None:
    asked = a_call(tools=[a_tool("a b"), a_tool("a_b")])
    out = unary(fed(decoder(asked), [json.dumps(chunk(call("a_b_2"), call("a_b"), finish="STOP")).encode()]))
    assert [each["name"] for each in out["tool_calls"]] == ["a b", "a_b"]


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *(
            (native, "content_filter")
            for native in (
                "SAFETY",
                "RECITATION",
                "LANGUAGE",
                "BLOCKLIST",
                "PROHIBITED_CONTENT",
                "SPII",
                "IMAGE_SAFETY",
                "IMAGE_PROHIBITED_CONTENT",
                "IMAGE_RECITATION",
                "MODEL_ARMOR",
            )
        ),
        *(
            (native, native)
            for native in (
                "MALFORMED_FUNCTION_CALL",
                "UNEXPECTED_TOOL_CALL",
                "MISSING_THOUGHT_SIGNATURE",
                "MALFORMED_RESPONSE",
                "TOO_MANY_TOOL_CALLS",
                "OTHER",
                "NO_IMAGE",
                "FINISH_REASON_UNSPECIFIED",
                "OF_TOMORROW",
            )
        ),
    ],
)
def test_a_finish_is_one_of_ours_or_the_providers_own_word(native: str, finish: str) -> None:
    found = events(chunk(text("x"), finish=native))
    assert [event for event in found if isinstance(event, Finished)] == [Finished(finish, native)]


@pytest.mark.parametrize("native", ["MALFORMED_FUNCTION_CALL", "OTHER", "MISSING_THOUGHT_SIGNATURE", "OF_TOMORROW"])
@pytest.mark.parametrize("stream", [True, False])
def test_an_end_that_is_none_without_a_word_said_is_an_error_another_may_mend(native: str, stream: bool) -> None:
    document = chunk(finish=native, finishMessage="Malformed call: print(")
    raw = sse(document) if stream else json.dumps(document).encode()
    with pytest.raises(UpstreamError) as caught:
        events_of([raw], stream)
    assert caught.value.reason is Reason.ABORTED
    assert native in caught.value.message


def test_an_empty_answer_that_stopped_has_stopped() -> None:
    dialect, reader = events_of([sse(chunk(finish="STOP"))], stream=True)
    assert dialect.events == [Begin("r1", "gemini-x"), Finished("stop", "STOP")]
    assert not reader.started


@pytest.mark.parametrize("stream", [True, False])
def test_a_blocked_prompt_is_a_refusal_that_says_why(stream: bool) -> None:
    document = {"promptFeedback": {"blockReason": "MODEL_ARMOR"}, "responseId": "r"}
    dialect, reader = events_of([sse(document) if stream else json.dumps(document).encode()], stream)
    refusal, finished = dialect.events[1:]
    assert isinstance(refusal, RefusalDelta)
    assert "MODEL_ARMOR" in refusal.text
    assert finished == Finished("content_filter", "MODEL_ARMOR")
    assert reader.usage is None
    assert (reader.started, reader.finish) == (True, "content_filter")


def test_several_candidates_are_several_choices() -> None:
    def both(*said: str, finish: str | None = None) -> dict[str, Any]:
        candidates = [
            {"index": number, "content": {"parts": [text(word)]}} | ({"finishReason": finish} if finish else {})
            for number, word in enumerate(said)
        ]
        return {"candidates": candidates}

    found = events(both("a", "b"), both("c", "d", finish="STOP"))
    said = {0: "", 1: ""}
    for event in found:
        if isinstance(event, TextDelta):
            said[event.choice] += event.text
    assert said == {0: "ac", 1: "bd"}
    assert [(event.choice, event.finish) for event in found if isinstance(event, Finished)] == [
        (0, "stop"),
        (1, "stop"),
    ]


def test_a_candidate_that_never_finished_makes_the_answer_a_cut_one() -> None:
    other = {"candidates": [{"index": 1, "content": {"parts": [text("b")]}}]}
    reader = decoder(a_call(stream=True, n=2))
    list(reader.feed(sse(chunk(text("a"), finish="STOP"), other)))
    with pytest.raises(StreamCut):
        list(reader.end())


def test_a_finish_said_twice_is_one_and_what_follows_it_is_still_counted() -> None:
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
    found = events(chunk(text("a"), finish="STOP"), chunk(finish="MAX_TOKENS"), {"usageMetadata": usage})
    assert [event for event in found if isinstance(event, Finished)] == [Finished("stop", "STOP")]
    (metered,) = [event for event in found if isinstance(event, Metered)]
    assert metered.usage.output_tokens == 2


def test_images_and_blocks_of_googles_own_are_kept() -> None:
    inline = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    sound = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    code = {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "s"}
    found = events(chunk(inline, sound, code, finish="STOP"))
    assert found[1:4] == [ImagePart("image/png", "AAAA"), OpaqueBlock("gemini", sound), OpaqueBlock("gemini", code)]


def test_a_signature_alone_ends_the_text() -> None:
    assert TextEnd("s", "gemini") in events(chunk(text("a")), chunk({"thoughtSignature": "s"}, finish="STOP"))


def test_vertex_signs_in_its_own_name_and_says_when_it_was_made() -> None:
    found = events(
        {**chunk(text("a", thoughtSignature="s"), finish="STOP"), "createTime": "2026-03-12T18:06:05.232680Z"},
        vertex=True,
    )
    assert found[0] == Begin("r1", "gemini-x", 1773338765)
    assert TextEnd("s", "vertex") in found


# -- sources ------------------------------------------------------------------------------------------------------


def test_a_source_stands_where_its_words_stand_in_characters() -> None:
    said = "Grüße: größer. Später mehr."
    raw = said.encode()
    start = raw.index("Später".encode())
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://x.org", "title": "X"}}, {"retrievedContext": {"text": "t"}}],
        "groundingSupports": [
            {
                "segment": {"startIndex": start, "endIndex": len(raw), "text": "Später mehr."},
                "groundingChunkIndices": [0, 1, 7],
            }
        ],
        "webSearchQueries": ["q"],
    }
    found = events(chunk(text(said[:5])), chunk(text(said[5:]), finish="STOP", groundingMetadata=grounding))
    first, second, search = [event.value for event in found if isinstance(event, Citation)]
    assert first == {"url": "https://x.org", "title": "X", "start_index": 15, "end_index": 27}
    assert said[15:27] == "Später mehr."
    assert (second["type"], second["text"]) == ("retrievedContext", "t")
    assert search == {"type": "search", "queries": ["q"], "entry_point": None}


def test_sources_without_a_place_are_cited_all_the_same_and_none_twice() -> None:
    web = {"groundingChunks": [{"web": {"uri": "https://x.org", "title": "X"}}]}
    source = {"uri": "https://y.org", "endIndex": 2}
    cited = {"citationMetadata": {"citationSources": [source]}}
    found = events(chunk(text("ab"), **cited), chunk(finish="STOP", groundingMetadata=web, **cited))
    assert [event.value for event in found if isinstance(event, Citation)] == [
        {"url": "https://y.org", "start_index": 0, "end_index": 2},
        {"url": "https://x.org", "title": "X", "start_index": 0, "end_index": 0},
    ]


# -- arguments in pieces ------------------------------------------------------------------------------------------


def test_arguments_in_pieces_are_handed_on_once_they_are_whole() -> None:
    def piece(path: str, **value: Any) -> dict[str, Any]:
        return {"functionCall": {"partialArgs": [{"jsonPath": path, **value}], "willContinue": True}}

    found = events(
        chunk({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "s"}),
        chunk(piece("$.a.b", stringValue="x", willContinue=True)),
        chunk(piece("$.a.b", stringValue="y")),
        chunk(piece("$.a['c d']", numberValue=2.0)),
        chunk(piece("$.list[1].on", boolValue=True)),
        chunk(piece("$.none", nullValue="NULL_VALUE")),
        chunk({"functionCall": {}}),
        chunk(call("g"), finish="STOP"),
    )
    first, second = [event for event in found if isinstance(event, ToolCallDelta)]
    assert json.loads(first.arguments) == {"a": {"b": "xy", "c d": 2}, "list": [None, {"on": True}], "none": None}
    assert (second.index, second.arguments) == (1, '{"a":1}')


def test_a_call_whose_arguments_never_ended_is_a_cut_answer() -> None:
    with pytest.raises(StreamCut):
        events(chunk({"functionCall": {"name": "f", "willContinue": True}}, finish="STOP"))


# -- framing ------------------------------------------------------------------------------------------------------


def test_an_array_that_grows_is_a_stream_too_and_must_be_closed() -> None:
    documents = [chunk(text('a "}] \\" {')), chunk(text("ü"), finish="STOP")]
    raw = json.dumps(documents, indent=1).encode()
    whole, _ = events_of([raw], stream=True)
    assert "".join(event.text for event in whole.events if isinstance(event, TextDelta)) == 'a "}] \\" {ü'
    assert events_of([raw[at : at + 1] for at in range(len(raw))], stream=True)[0].events == whole.events
    with pytest.raises(StreamCut):
        events_of([raw.rstrip()[:-1]], stream=True)


def test_an_array_where_one_answer_was_asked_for_is_read_as_its_pieces() -> None:
    raw = json.dumps([chunk(text("a")), chunk(text("b"), finish="STOP")]).encode()
    found = events_of([raw], stream=False)[0].events
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["a", "b"]


def test_an_event_that_is_no_json_is_dropped_and_counted() -> None:
    raw = sse(chunk(text("a"))) + b'data: {"candidates": [\r\n\r\n' + b": comment\r\n\r\n" + sse(chunk(finish="STOP"))
    dialect, reader = events_of([raw], stream=True)
    assert reader.dropped == 1
    assert dialect.events[-1] == Finished("stop", "STOP")


@pytest.mark.parametrize(
    "raw",
    [
        sse(OVERLOADED),
        json.dumps(OVERLOADED, indent=2).encode(),
        json.dumps([OVERLOADED]).encode(),
        json.dumps(OVERLOADED).encode() + b"\r\n\r\n",
    ],
)
@pytest.mark.parametrize("bytewise", [True, False])
def test_an_error_in_place_of_a_stream_is_an_error(raw: bytes, bytewise: bool) -> None:
    with pytest.raises(UpstreamError) as caught:
        events_of([raw[at : at + 1] for at in range(len(raw))] if bytewise else [raw], stream=True)
    assert (caught.value.reason, caught.value.status) == (Reason.OVERLOADED, 503)


def test_an_error_after_content_comes_once_the_content_has_left() -> None:
    reader = decoder(a_call(stream=True))
    out = b"".join(reader.feed(sse(chunk(text("a")), OVERLOADED)))
    assert b'"a"' in out
    with pytest.raises(UpstreamError) as caught:
        list(reader.end())
    assert caught.value.reason is Reason.OVERLOADED


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"candidates": "x"}', Reason.SERVER_ERROR),
        (b"{}", Reason.SERVER_ERROR),
        (b"[]", Reason.SERVER_ERROR),
        (b"", Reason.STREAM_CUT),
        (b'{"candidates": [{"content"', Reason.STREAM_CUT),
        (b'{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m"}}', Reason.RATE_LIMITED),
    ],
)
def test_a_body_that_is_no_answer_is_an_error(raw: bytes, reason: Reason) -> None:
    with pytest.raises(UpstreamError) as caught:
        events_of([raw], stream=False)
    assert caught.value.reason is reason


def test_a_stream_says_what_the_whole_answer_says() -> None:
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 6, "totalTokenCount": 15}
    said = [text("hm", thought=True), text("Hello"), call("f", "s", id="1")]
    whole = unary(fed(decoder(), [json.dumps({**chunk(*said, finish="STOP"), "usageMetadata": usage}).encode()]))
    pieces = sse(*(chunk(part) for part in said), {**chunk(finish="STOP"), "usageMetadata": usage})
    streamed = fed(decoder(a_call(stream=True, stream_options={"include_usage": True})), [pieces])
    assert reassembled(streamed) == whole
