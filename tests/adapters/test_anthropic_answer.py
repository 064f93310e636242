"""Anthropic's answers, whole and streamed, in the caller's dialect; and the ways in which they end badly."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import (
    a_call,
    chunks,
    decoder,
    event,
    fed,
    reassembled,
    said,
    stream,
    unary,
)

THINKS = (
    {"type": "thinking", "thinking": "", "signature": ""},
    [
        {"type": "thinking_delta", "thinking": "let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": "sig=="},
    ],
)


def uses(name: str, *pieces: str, call_id: str = "toolu_1") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return (
        {"type": "tool_use", "id": call_id, "name": name, "input": {}},
        [{"type": "input_json_delta", "partial_json": piece} for piece in pieces],
    )


def searches(index: int = 1) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    used = {"type": "server_tool_use", "id": f"srv_{index}", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": f"srv_{index}", "content": []}
    return [(used, [{"type": "input_json_delta", "partial_json": '{"query": "x"}'}]), (found, [])]


def streamed(
    blocks: Any, stop_reason: str = "end_turn", model: str = "claude-sonnet-4-5", **fields: Any
) -> dict[str, Any]:
    stop = {name: fields.pop(name) for name in ("stop_sequence", "stop_details") if name in fields}
    usage = fields.pop("usage", None)
    call = a_call(stream=True, stream_options={"include_usage": True}, **fields)
    return reassembled(fed(decoder(call, model), stream(blocks, stop_reason, usage, **stop)))


def whole(
    content: Any, stop_reason: str | None = "end_turn", model: str = "claude-sonnet-4-5", **fields: Any
) -> dict[str, Any]:
    message = {
        "id": "msg_1",
        "type": "message",
        "model": "claude-x",
        "content": content,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 10, "output_tokens": 7},
        **fields.pop("message", {}),
    }
    return unary(fed(decoder(a_call(**fields), model), [json.dumps(message).encode()]))


# -- 18, 21: blocks -------------------------------------------------------------------------------------------------


def test_text_blocks_are_one_text() -> None:
    assert streamed([said("a", "b"), said("c")])["content"] == "abc"
    assert whole([{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}])["content"] == "abc"


def test_the_first_chunk_has_the_role_and_the_last_the_usage() -> None:
    call = a_call(stream=True, stream_options={"include_usage": True})
    written = chunks(fed(decoder(call), stream([said("a")])))
    assert written[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["usage"] for chunk in written[:-1]] == [None] * (len(written) - 1)
    assert written[-1]["choices"] == []
    assert written[-1]["usage"] == {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
    assert {chunk["id"] for chunk in written} == {"msg_1"}
    assert {chunk["model"] for chunk in written} == {"claude-x"}


def test_no_usage_is_written_that_was_not_asked_for() -> None:
    reader = decoder(a_call(stream=True))
    written = chunks(fed(reader, stream([said("a")])))
    assert all("usage" not in chunk and chunk["choices"] for chunk in written)
    assert reader.usage is not None
    assert reader.usage.output_tokens == 7


def test_thinking_is_reasoning_content_and_a_block_with_its_signature() -> None:
    blocks = [THINKS, ({"type": "redacted_thinking", "data": "enc"}, []), said("done")]
    message = streamed(blocks)
    assert message["reasoning_content"] == "let me see"
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "let me see", "signature": "sig==", "provider": "anthropic"},
        {"type": "redacted_thinking", "data": "enc", "provider": "anthropic"},
    ]
    content = [
        {"type": "thinking", "thinking": "let me see", "signature": "sig=="},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "done"},
    ]
    assert whole(content) == {**message, "usage": {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}}


def test_a_signature_alone_is_kept_though_there_is_no_reasoning_to_read() -> None:
    message = whole([{"type": "thinking", "thinking": "", "signature": "sig"}, {"type": "text", "text": "a"}])
    assert "reasoning_content" not in message
    assert message["thinking_blocks"][0]["signature"] == "sig"


def test_a_tool_call_begins_with_its_name_and_no_arguments() -> None:
    blocks = [said("calling"), uses("search", "", '{"q": ', '"x"}')]
    written = chunks(fed(decoder(a_call(stream=True)), stream(blocks, "tool_use")))
    deltas = [
        choice["delta"]["tool_calls"][0]
        for chunk in written
        for choice in chunk["choices"]
        if "tool_calls" in choice["delta"]
    ]
    assert deltas == [
        {"index": 0, "id": "toolu_1", "type": "function", "function": {"name": "search", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"q": '}},
        {"index": 0, "function": {"arguments": '"x"}'}},
    ]
    assert written[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_content_is_null_when_there_are_only_tools() -> None:
    message = whole([{"type": "tool_use", "id": "t", "name": "search", "input": {"q": 1}}], "tool_use")
    assert message["content"] is None
    assert message["tool_calls"] == [{"id": "t", "name": "search", "arguments": '{"q":1}'}]


@pytest.mark.parametrize("pieces", [[], [""]])
def test_a_tool_call_without_input_has_an_empty_object_for_arguments(pieces: list[str]) -> None:
    assert streamed([uses("search", *pieces)], "tool_use")["tool_calls"][0]["arguments"] == "{}"


def test_input_that_comes_with_the_start_of_a_block_is_not_lost() -> None:
    block = {"type": "tool_use", "id": "t", "name": "search", "input": {"q": 1}}
    assert streamed([(block, [])], "tool_use")["tool_calls"][0]["arguments"] == '{"q":1}'


def test_tool_calls_are_counted_apart_from_the_blocks() -> None:
    blocks = [
        THINKS,
        *searches(),
        said("a"),
        uses("f", "{}", call_id="t1"),
        *searches(2),
        uses("g", "{}", call_id="t2"),
    ]
    message = streamed(blocks, "tool_use")
    assert [(call["id"], call["name"]) for call in message["tool_calls"]] == [("t1", "f"), ("t2", "g")]


def test_blocks_of_the_providers_own_tools_are_kept_with_their_place() -> None:
    message = streamed([said("before "), *searches(), said("after")])
    assert [(block["offset"], block["block"]["type"]) for block in message["provider_blocks"]] == [
        (7, "server_tool_use"),
        (7, "web_search_tool_result"),
    ]
    assert message["provider_blocks"][0]["block"]["input"] == {"query": "x"}


def test_a_block_of_a_kind_not_known_yet_is_kept_with_what_its_deltas_add() -> None:
    message = streamed(
        [({"type": "compaction", "content": None}, [{"type": "compaction_delta", "content": "sum"}]), said("a")]
    )
    assert message["provider_blocks"][0]["block"] == {"type": "compaction", "content": "sum"}


def test_a_citation_with_a_url_is_an_annotation_of_its_text() -> None:
    cited = {"type": "web_search_result_location", "url": "https://x.org", "title": "X", "cited_text": "b"}
    other = {"type": "page_location", "document_index": 0, "start_page_number": 1}
    blocks = [
        said("a"),
        (
            {"type": "text", "text": ""},
            [
                {"type": "citations_delta", "citation": cited},
                {"type": "citations_delta", "citation": other},
                {"type": "text_delta", "text": "bcd"},
            ],
        ),
    ]
    message = streamed(blocks)
    assert message["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 1, "end_index": 4, "url": "https://x.org", "title": "X"},
        }
    ]
    assert message["citations"] == [{**other, "start_index": 1, "end_index": 4}]
    content = [{"type": "text", "text": "a"}, {"type": "text", "text": "bcd", "citations": [cited, other]}]
    assert whole(content)["annotations"] == message["annotations"]


def test_names_that_were_made_safe_are_the_callers_again() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a.b", "a_b")]
    message = streamed([uses("a_b_2", "{}"), uses("a_b", "{}")], "tool_use", tools=tools)
    assert [call["name"] for call in message["tool_calls"]] == ["a.b", "a_b"]


# -- 12: the synthetic tool -----------------------------------------------------------------------------------------

FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object", "properties": {}}}}
OLD = "claude-3-5-haiku-20241022"


def test_an_answer_through_the_synthetic_tool_is_text() -> None:
    message = streamed([uses("json_tool_call", '{"n":', " 1}")], "tool_use", OLD, response_format=FORM)
    assert message["content"] == '{"n": 1}'
    assert message["finish_reason"] == "stop"
    assert "tool_calls" not in message
    block = {"type": "tool_use", "id": "t", "name": "json_tool_call", "input": {"n": 1}}
    assert whole([block], "tool_use", OLD, response_format=FORM)["content"] == '{"n":1}'


def test_a_tool_of_the_caller_beside_the_synthetic_one_is_a_tool_call() -> None:
    tools = [{"type": "function", "function": {"name": "search"}}]
    message = streamed([uses("search", "{}")], "tool_use", OLD, response_format=FORM, tools=tools)
    assert message["finish_reason"] == "tool_calls"
    assert message["tool_calls"][0]["name"] == "search"


def test_a_tool_of_the_callers_own_by_that_name_stays_a_tool() -> None:
    tools = [{"type": "function", "function": {"name": "json_tool_call"}}]
    message = streamed([uses("json_tool_call", "{}")], "tool_use", OLD, response_format=FORM, tools=tools)
    assert message["tool_calls"][0]["name"] == "json_tool_call"


# -- 19: the finish -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "length"),
        ("compaction", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("a_reason_of_next_year", "a_reason_of_next_year"),
    ],
)
def test_each_stop_reason_has_its_finish_and_an_unknown_one_is_no_stop(native: str, finish: str) -> None:
    for message in (streamed([said("a")], native), whole([{"type": "text", "text": "a"}], native)):
        assert (message["finish_reason"], message["native_finish_reason"]) == (finish, native)


def test_the_stop_sequence_is_told() -> None:
    assert streamed([said("a")], "stop_sequence", stop_sequence="END")["stop_sequence"] == "END"


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    assert streamed([], "refusal", stop_details=details)["refusal"] == "No."
    message = whole([], "refusal", message={"stop_details": details})
    assert (message["content"], message["refusal"]) == (None, "No.")


# -- 21, 22: streams that end badly ---------------------------------------------------------------------------------


def test_nothing_but_message_stop_ends_a_stream() -> None:
    events = list(stream([said("a", "b"), uses("f", "{}")], "tool_use"))
    for cut in range(len(events)):
        reader = decoder(a_call(stream=True))
        out = b"".join(piece for part in events[:cut] for piece in reader.feed(part))
        assert b"[DONE]" not in out
        assert b'"finish_reason":"' not in out
        assert not reader.complete
        with pytest.raises(StreamCut):
            reader.end()


def test_a_stream_that_is_whole_needs_no_more_and_takes_no_more() -> None:
    reader = decoder(a_call(stream=True))
    out = [piece for part in stream([said("a")]) for piece in reader.feed(part)]
    assert reader.complete
    assert reader.finish == "stop"
    assert b"".join(out).endswith(b"data: [DONE]\n\n")
    assert not list(reader.feed(event("message_start", message={"id": "msg_2"})))
    assert not list(reader.end())


def test_a_stream_without_a_stop_reason_is_cut() -> None:
    with pytest.raises(StreamCut):
        fed(decoder(a_call(stream=True)), stream([said("a")], None))


@pytest.mark.parametrize(
    ("kind", "reason", "status"),
    [
        ("overloaded_error", Reason.OVERLOADED, 529),
        ("api_error", Reason.SERVER_ERROR, 500),
        ("rate_limit_error", Reason.RATE_LIMITED, 429),
        ("timeout_error", Reason.TIMEOUT, 504),
        ("an_error_of_next_year", Reason.SERVER_ERROR, None),
    ],
)
def test_an_error_event_is_an_error_of_its_class_and_no_finish(kind: str, reason: Reason, status: int | None) -> None:
    reader = decoder(a_call(stream=True))
    events = list(stream([said("a")]))[:4]
    out = b"".join(piece for part in events for piece in reader.feed(part))
    with pytest.raises(UpstreamError) as caught:
        reader.feed(event("error", error={"type": kind, "message": "Overloaded"}))
    assert (caught.value.reason, caught.value.status) == (reason, status)
    assert b'"finish_reason":"' not in out
    assert reader.finish is None


def test_text_before_an_error_in_one_read_is_passed_on_first() -> None:
    reader = decoder(a_call(stream=True))
    read = b"".join(list(stream([said("a")]))[:4]) + event("error", error={"type": "overloaded_error", "message": "x"})
    assert b'"content":"a"' in b"".join(reader.feed(read))
    with pytest.raises(UpstreamError):
        reader.end()


def test_an_error_before_any_content_is_raised_at_once() -> None:
    reader = decoder(a_call(stream=True))
    with pytest.raises(UpstreamError):
        reader.feed(next(iter(stream([]))) + event("error", error={"type": "overloaded_error", "message": "x"}))
    assert not reader.started


def test_an_error_as_bare_json_in_a_stream_is_an_error() -> None:
    reader = decoder(a_call(stream=True))
    with pytest.raises(UpstreamError) as caught:
        fed(reader, [b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}'])
    assert caught.value.reason is Reason.RATE_LIMITED


def test_an_event_that_is_no_json_is_dropped_and_counted() -> None:
    reader = decoder(a_call(stream=True))
    events = list(stream([said("a", "b")]))
    events.insert(4, b"event: content_block_delta\ndata: {garbage\n\n")
    events.insert(4, b'event: content_block_delta\ndata: {"type":"\xff"}\n\n')
    assert reassembled(fed(reader, events))["content"] == "ab"
    assert reader.dropped == 2


def test_padding_pings_comments_and_carriage_returns_change_nothing() -> None:
    events = list(stream([said("a", "b")]))
    padded = [part.replace(b"}\n\n", b"}          \n\n") for part in events]
    returned = [part.replace(b"\n", b"\r\n") for part in events]
    noisy = [b": keep-alive\n\n", *events[:3], event("ping"), b"data:" + b'{"type":"ping"}' + b"\n\n", *events[3:]]
    expected = fed(decoder(a_call(stream=True)), events)
    for variant in (padded, returned, noisy, [b"".join(events)]):
        assert fed(decoder(a_call(stream=True)), variant) == expected


def test_only_content_starts_an_answer() -> None:
    reader = decoder(a_call(stream=True))
    events = list(stream([said("", "héllo")]))
    for part in events[:4]:
        reader.feed(part)
        assert not reader.started
        assert reader.progress == 0
    reader.feed(events[4])
    assert reader.started
    assert (reader.progress, reader.output_bytes) == (1, 6)
    reader.feed(event("ping"))
    assert reader.progress == 1


# -- whole answers that are none ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', Reason.OVERLOADED),
        (b'{"id":"m","content":[{"type":"text"', Reason.STREAM_CUT),
        (b"", Reason.STREAM_CUT),
        (b"[]", Reason.SERVER_ERROR),
        (b'{"id":"\xff","content":[]}', Reason.STREAM_CUT),
        (b'{"id":"m"}', Reason.SERVER_ERROR),
        (b'{"id":"m","content":[1]}', Reason.SERVER_ERROR),
        (b'{"id":"m","content":[],"stop_reason":null}', Reason.STREAM_CUT),
        (b'{"stop_details":' + b"[" * 100_000, Reason.STREAM_CUT),
    ],
)
def test_a_200_that_holds_no_answer_is_an_error(body: bytes, reason: Reason) -> None:
    with pytest.raises(UpstreamError) as caught:
        fed(decoder(), [body])
    assert caught.value.reason is reason
