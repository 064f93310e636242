"""Chat answers as events: what each shape that servers write becomes, and when a stream is whole."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.blocks import (
    Begin,
    Citation,
    Conversation,
    Finished,
    ImagePart,
    Logprobs,
    Message,
    Metered,
    RefusalDelta,
    Text,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    Tool,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.openai_chat import answer, chunk, decoder, joined, read

DONE = b"data: [DONE]\n\n"
BEGIN = Begin("x", "m-1", 7)
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'


def told(*reads: bytes, **how: Any) -> list[Any]:
    """Returns the events between the beginning and the finish."""
    events, _ = read(*reads, **how)
    assert events[0] == BEGIN
    return [event for event in events[1:] if not isinstance(event, Finished | Metered)]


def calls(*pieces: dict[str, Any], **how: Any) -> list[Any]:
    return told(*(chunk({"tool_calls": [piece]}) for piece in pieces), chunk(finish="tool_calls"), DONE, **how)


# -- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_of_text_is_told_with_its_usage_and_its_finish_last() -> None:
    events, one = read(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "hé"}), chunk(finish="length"), USAGE, DONE
    )
    assert events[:-1] == [BEGIN, TextDelta("hé"), Finished("length", "length")]
    assert isinstance(events[-1], Metered)
    assert (events[-1].usage.fresh_input, events[-1].usage.output_text) == (3, 2)
    assert (one.started, one.progress, one.output_bytes, one.finish, one.complete) == (True, 1, 3, "length", True)


@pytest.mark.parametrize(
    ("reads", "kind"),
    [
        ((), "openai"),
        ((chunk({"content": "a"}),), "openai"),
        ((chunk({"content": "a"}), DONE), "openai"),
        ((DONE,), "openai"),
        ((chunk({"content": "a"}), USAGE, DONE), "openai"),
        ((chunk({"content": "a"}), chunk(finish="stop")[:-20]), "openai"),
        ((chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk(finish="stop"), DONE), "openai"),
        ((b"<html>no answer</html>\n\n",), "openai"),
        ((chunk({"content": "a"}), DONE), "snowflake"),
    ],
)
def test_a_stream_without_its_finish_is_cut_and_no_finish_is_told(reads: tuple[bytes, ...], kind: str) -> None:
    one, recorder = decoder(kind)
    with pytest.raises(StreamCut):
        [*(piece for data in reads for piece in one.feed(data)), *one.end()]
    assert not any(isinstance(event, Finished | Metered) for event in recorder.events)
    assert not one.complete


def test_a_finish_and_the_end_of_the_body_are_an_end() -> None:
    events, one = read(chunk({"content": "a"}), chunk(finish="stop").rstrip())
    assert events == [BEGIN, TextDelta("a"), Finished("stop", "stop")]
    assert one.complete


def test_nothing_after_the_sentinel_is_read_and_a_finish_that_comes_twice_is_told_once() -> None:
    stream = (
        chunk({"content": "a"}) + chunk(finish="stop") + chunk({}, finish="stop", usage={"prompt_tokens": 1}) + DONE
    )
    events, _ = read(stream + chunk({"content": "late"}), chunk({"content": "later"}))
    assert [event for event in events if not isinstance(event, Metered)] == [
        BEGIN,
        TextDelta("a"),
        Finished("stop", "stop"),
    ]


def test_what_is_no_json_is_dropped_and_counted() -> None:
    events, one = read(
        b": ping\n\n", chunk({"content": "a"}), b"data: {broken\n\n", b"stray\n\n", chunk(finish="stop"), DONE
    )
    assert joined(events)[1] == TextDelta("a")
    assert one.dropped == 2


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b'data: {"error":{"message":"m","code":502}}\n\n', Reason.SERVER_ERROR),
        (b'event: error\ndata: {"error":{"message":"m","status_code":400}}\n\n', Reason.BAD_REQUEST),
        (b'data: {"choices":[{"finish_reason":"error"}],"error":{"code":429}}\n\n', Reason.RATE_LIMITED),
        (b'{"error":{"message":"m","code":401}}\n\n', Reason.UNAUTHENTICATED),
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n', Reason.ABORTED),
    ],
)
def test_an_error_in_a_200_is_an_error(event: bytes, reason: Reason) -> None:
    one, _ = decoder()
    with pytest.raises(UpstreamError) as caught:
        list(one.feed(chunk({"role": "assistant"}) + event))
    assert caught.value.reason is reason


def test_an_error_that_follows_content_in_one_read_comes_after_the_content() -> None:
    one, recorder = decoder()
    list(one.feed(chunk({"content": "a"}) + b'data: {"error":{"code":502}}\n\n'))
    assert recorder.events == [BEGIN, TextDelta("a")]
    with pytest.raises(UpstreamError):
        list(one.feed(DONE))
    with pytest.raises(UpstreamError):
        list(one.end())


def test_an_answer_that_is_given_up_after_content_ends_in_the_providers_word() -> None:
    events, _ = read(chunk({"content": "a"}), chunk(finish="abort"), DONE)
    assert events[-1] == Finished("abort", "abort")


def test_every_choice_has_its_own_finish() -> None:
    events, one = read(
        chunk({"content": "a"}),
        chunk({"content": "b"}, index=1),
        chunk(finish="length", index=1),
        chunk(finish="stop"),
        DONE,
    )
    assert events[1:] == [
        TextDelta("a"),
        TextDelta("b", 1),
        Finished("stop", "stop"),
        Finished("length", "length", choice=1),
    ]
    assert one.finish == "stop"


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("eos", "stop"),
        ("model_length", "length"),
        ("function_call", "tool_calls"),
        ("insufficient_system_resource",) * 2,
    ],
)
def test_a_finish_is_told_in_our_word_beside_the_providers(native: str, finish: str) -> None:
    assert read(chunk({"content": "a"}), chunk(finish=native), DONE)[0][-1] == Finished(finish, native)


def test_a_forced_tool_ends_in_stop_and_counts_as_a_call() -> None:
    piece = {"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}}
    events, _ = read(chunk({"tool_calls": [piece]}), chunk(finish="stop"), DONE)
    assert events[-1] == Finished("tool_calls", "stop")


@pytest.mark.parametrize("stream", [True, False])
def test_snowflakes_answers_end_without_saying_so(stream: bool) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    if stream:
        bare = {"delta": {"content": "4", "refusal": "", "tool_calls": None}, "index": 0}
        data = json.dumps({"choices": [bare], "id": "", "model": "m"}).encode()
        events, _ = read(b"data: " + data + b"\n\n", USAGE, DONE, kind="snowflake")
    else:
        zero = {"audio": {"data": "", "transcript": ""}, "function_call": {"arguments": "", "name": ""}}
        events, _ = read(answer({"content": "4", **zero}, "", usage=usage), kind="snowflake", stream=False)
    assert [event for event in events if not isinstance(event, Metered)][1:] == [TextDelta("4"), Finished("stop")]


# -- reasoning -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_ends_where_the_text_begins(field: str) -> None:
    assert told(chunk({field: "hm", "content": None}), chunk({"content": "a"}), chunk(finish="stop"), DONE) == [
        ThinkingDelta("hm"),
        ThinkingEnd(provider="openai"),
        TextDelta("a"),
    ]


def test_mistrals_content_is_a_list_of_thinking_and_text() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]},
        {"type": "text", "text": "a"},
        {"type": "reference", "reference_ids": [1]},
    ]
    assert told(answer({"content": content}), kind="mistral", stream=False) == [
        ThinkingDelta("h"),
        ThinkingDelta("m"),
        ThinkingEnd(provider="mistral"),
        TextDelta("a"),
        Citation({"type": "reference", "reference_ids": [1]}),
    ]


def test_reasoning_details_keep_what_must_go_back() -> None:
    pieces = [
        [{"type": "reasoning.text", "text": "h", "index": 0, "format": "f"}],
        [{"type": "reasoning.text", "text": "m", "index": 0}],
        [{"type": "reasoning.text", "signature": "sig", "index": 0}],
        [{"type": "reasoning.encrypted", "data": "xyz", "id": "r1", "index": 1}],
    ]
    stream = [chunk({"reasoning": "?", "reasoning_details": piece}) for piece in pieces]
    events = told(*stream, chunk({"content": "a"}), chunk(finish="stop"), DONE, kind="openrouter")
    kept = [json.loads(event.signature or event.redacted) for event in events if isinstance(event, ThinkingEnd)]
    assert kept == [
        {"type": "reasoning.text", "signature": "sig", "index": 0, "format": "f"},
        {"type": "reasoning.encrypted", "data": "xyz", "id": "r1", "index": 1},
    ]
    assert [event.text for event in events if isinstance(event, ThinkingDelta)] == ["h", "m"]
    assert events[-1] == TextDelta("a")


def test_reasoning_details_are_text_where_a_provider_does_not_want_them_back() -> None:
    details = [{"type": "reasoning.text", "text": "hm"}, {"type": "reasoning.summary", "summary": "!"}]
    events = told(chunk({"reasoning_details": details}), chunk(finish="stop"), DONE, kind="openai_compatible")
    assert events == [ThinkingDelta("hm"), ThinkingDelta("!"), ThinkingEnd(provider="openai_compatible")]


# -- tool calls ----------------------------------------------------------------------------------------------------


def test_a_call_in_pieces_is_told_as_it_comes() -> None:
    assert calls(
        {"index": 0, "id": "i", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "id": "", "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"arguments": ":1}"}},
    ) == [ToolCallBegin(0, "i", "f"), ToolCallDelta(0, '{"a"'), ToolCallDelta(0, ":1}")]


@pytest.mark.parametrize(
    "pieces",
    [
        [  # whole, all with index 0
            {"index": 0, "id": "i", "function": {"name": "f", "arguments": "{}"}},
            {"index": 0, "id": "j", "function": {"name": "g", "arguments": "[]"}},
        ],
        [  # whole, without any
            {"id": "i", "function": {"name": "f", "arguments": "{}"}},
            {"index": None, "id": "j", "function": {"name": "g", "arguments": "[]"}},
        ],
        [  # in pieces, without any
            {"id": "i", "function": {"name": "f"}},
            {"function": {"arguments": "{}"}},
            {"id": "j", "function": {"name": "g"}},
            {"id": "j", "function": {"arguments": "[]"}},
        ],
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_calls_are_told_apart_whatever_their_index(pieces: list[dict[str, Any]], together: bool) -> None:
    deltas = [{"tool_calls": pieces}] if together else [{"tool_calls": [piece]} for piece in pieces]
    assert told(*map(chunk, deltas), chunk(finish="tool_calls"), DONE) == [
        ToolCallBegin(0, "i", "f"),
        ToolCallDelta(0, "{}"),
        ToolCallBegin(1, "j", "g"),
        ToolCallDelta(1, "[]"),
    ]


def test_a_call_without_arguments_has_an_empty_object_and_one_without_an_id_is_given_one() -> None:
    first, empty, *_ = calls({"index": 0, "id": "", "function": {"name": "f"}})
    assert first.id.startswith("call_c1_")
    assert empty == ToolCallDelta(0, "{}")


def test_arguments_that_come_before_the_name_wait_for_it() -> None:
    assert calls(
        {"index": 0, "id": "i", "function": {"arguments": '{"a":1'}},
        {"index": 0, "function": {"name": "f", "arguments": "}"}},
    ) == [ToolCallBegin(0, "i", "f"), ToolCallDelta(0, '{"a":1'), ToolCallDelta(0, "}")]


def test_arguments_as_an_object_are_written_as_text() -> None:
    call = {"index": 0, "id": "i", "function": {"name": "f", "arguments": {"a": 1}}}
    assert calls(call) == [ToolCallBegin(0, "i", "f"), ToolCallDelta(0, '{"a":1}')]


def test_the_function_call_of_old_is_a_tool_call() -> None:
    message = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    begin, arguments = told(answer(message, "function_call"), stream=False)
    assert (begin.name, arguments) == ("f", ToolCallDelta(0, "{}"))


def test_a_custom_tool_has_plain_text() -> None:
    call = {"index": 0, "id": "i", "type": "custom", "custom": {"name": "f", "input": "plain"}}
    assert calls(call) == [ToolCallBegin(0, "i", "f", custom=True), ToolCallDelta(0, "plain")]


@pytest.mark.parametrize(
    ("pieces", "plain"),
    [(('{"inp', 'ut": "a\\nb"}'), "a\nb"), (("not json",), "not json"), (('{"other": 1}',), '{"other": 1}'), ((), "")],
)
def test_a_custom_tool_told_as_a_function_is_taken_out_again(pieces: tuple[str, ...], plain: str) -> None:
    asked = Conversation(messages=(Message("user", (Text("a"),)),), tools=(Tool("f", custom=True), Tool("g")))
    first = {"index": 0, "id": "i", "function": {"name": "f"}}
    more = [{"index": 0, "function": {"arguments": piece}} for piece in pieces]
    other = {"index": 1, "id": "j", "function": {"name": "g", "arguments": '{"input": "x"}'}}
    assert calls(first, *more, other, kind="vllm", conversation=asked) == [
        ToolCallBegin(0, "i", "f", custom=True),
        ToolCallDelta(0, plain),
        ToolCallBegin(1, "j", "g"),
        ToolCallDelta(1, '{"input": "x"}'),
    ]


# -- everything else -----------------------------------------------------------------------------------------------


def test_a_refusal_citations_images_and_log_probabilities_are_told() -> None:
    odds = {"token": "a", "logprob": -0.1, "bytes": [97], "top_logprobs": []}
    cited = {
        "type": "url_citation",
        "url_citation": {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 1},
    }
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    message = {"content": "a", "refusal": "no", "annotations": [cited, cited], "images": [image]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": [odds], "refusal": None}}
    body = json.dumps({"id": "x", "model": "m-1", "created": 7, "choices": [choice]}).encode()
    assert told(body, stream=False) == [
        TextDelta("a"),
        RefusalDelta("no"),
        Citation({"type": "url_citation", **cited["url_citation"]}),
        ImagePart("image/png", "QUJD"),
        Logprobs((odds,)),
    ]


def test_perplexitys_chunks_say_the_news_in_their_delta_and_their_sources_once() -> None:
    def piece(so_far: str, news: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "message": {"content": so_far}, "delta": {"content": news}, "finish_reason": finish}
        body = {"id": "x", "model": "m-1", "created": 7, "choices": [choice], "citations": ["https://a.example"]}
        return b"data: " + json.dumps(body).encode() + b"\r\n\r\n"

    assert told(piece("1", "1"), piece("12", "2"), piece("12", "", "stop"), kind="perplexity") == [
        TextDelta("1"),
        TextDelta("2"),
        Citation({"url": "https://a.example"}),
    ]


def test_azures_first_chunk_has_no_choices_and_its_last_no_delta() -> None:
    first = b'data: {"choices":[],"id":"","model":"","prompt_filter_results":[{"prompt_index":0}]}\n\n'
    last = b'data: {"choices":[{"index":0,"content_filter_offsets":{},"finish_reason":null}],"id":"","model":""}\n\n'
    events, _ = read(first, chunk({"content": "a"}), chunk(finish="stop"), last, DONE, kind="azure")
    assert events == [BEGIN, TextDelta("a"), Finished("stop", "stop")]


def test_odd_types_are_read_as_far_as_they_can_be() -> None:
    odd = b'data: {"id":7,"choices":[{"index":"0","delta":{"content":"\\ud83d","tool_calls":{}},"logprob":NaN}]}\n\n'
    events, one = read(odd, chunk(finish="stop"), DONE)
    assert events[1:] == [TextDelta("?"), Finished("stop", "stop")]  # half a pair is no text that could be written
    assert one.dropped == 0


# -- whole answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (answer({"content": "a"})[:-5], StreamCut),
        (answer({"content": "a"}, None), StreamCut),
        (b"", StreamCut),
        (b"[]", StreamCut),
        (b'{"choices":[]}', UpstreamError),
        (b'{"error":{"message":"m"}}', UpstreamError),
        (answer({"content": None}, "error"), UpstreamError),
    ],
)
def test_a_body_that_is_no_answer_is_a_failure(body: bytes, error: type[UpstreamError]) -> None:
    one, recorder = decoder(stream=False)
    list(one.feed(body))
    with pytest.raises(error):
        list(one.end())
    assert not recorder.ended


def test_an_empty_delta_beside_the_message_hides_nothing() -> None:
    one, recorder = decoder(stream=False)
    body = json.loads(answer({"role": "assistant", "content": "Weather is …"}))
    body["choices"][0]["delta"] = {"role": "assistant", "content": ""}  # Perplexity's (recorded, 2026-06)
    list(one.feed(json.dumps(body).encode()))
    list(one.end())
    assert TextDelta("Weather is …") in recorder.events


# -- laws ----------------------------------------------------------------------------------------------------------

_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=6),
        "reasoning": st.text(max_size=4),
        "refusal": st.text(max_size=3),
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "function": st.fixed_dictionaries(
                        {}, optional={"name": st.just("f"), "arguments": st.text("{}1", max_size=3)}
                    )
                },
                optional={"index": st.none() | st.integers(0, 2), "id": st.sampled_from(["", "i", "j"])},
            ),
            max_size=2,
        ),
    },
)


@given(
    deltas=st.lists(_DELTAS, max_size=6),
    finish=st.none() | st.sampled_from(["stop", "length", "eos"]),
    done=st.booleans(),
    crlf=st.booleans(),
    cuts=st.lists(st.integers(0, 900), max_size=12),
)
def test_any_split_of_a_stream_gives_the_same_events(
    deltas: list[dict[str, Any]], finish: str | None, done: bool, crlf: bool, cuts: list[int]
) -> None:
    stream = b"".join(map(chunk, deltas)) + (chunk(finish=finish) if finish else b"") + USAGE
    stream += b": ping\n\ndata: {broken\n\n" + (DONE if done else b"")
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]

    def outcome(*reads: bytes) -> tuple[Any, ...]:
        one, recorder = decoder()
        cut = False
        try:
            for data in reads:
                list(one.feed(data))
            list(one.end())
        except StreamCut:
            cut = True
        noticed = (one.started, one.progress, one.finish, one.usage, one.output_bytes, one.dropped, one.complete)
        return recorder.events, cut, noticed

    split = outcome(*(stream[a:b] for a, b in pairwise(edges)))
    assert split == outcome(stream)
    assert split[1] is (finish is None)
    begun = [event.index for event in split[0] if isinstance(event, ToolCallBegin)]
    assert begun == list(range(len(begun)))
