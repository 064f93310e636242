"""Cohere's answers: what rare ones become, and laws that hold for any of them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.blocks import Event, Logprobs
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import a_call, fed, reassembled, unary
from tests.adapters.cohere_wire import ADAPTER, CHAT, EMBEDDINGS, PLACE, decoder, embeddings_call, event

USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "tokens": {"input_tokens": 900, "output_tokens": 9}}


def streaming(**body: Any) -> Any:
    return decoder(a_call(stream=True, stream_options={"include_usage": True}, **body))


def whole(finish: str | None = "COMPLETE", **message: Any) -> bytes:
    return json.dumps({"id": "c", "message": message, "finish_reason": finish, "usage": USAGE}).encode()


def failure(reader: Any, *pieces: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        fed(reader, pieces)
    return caught.value


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("NEW_WORD", "NEW_WORD"),
    ],
)
def test_finishes_are_translated_and_an_unknown_one_is_no_stop(native: str, finish: str) -> None:
    reader = decoder()
    choice = json.loads(fed(reader, [whole(native, content=[{"type": "text", "text": "a"}])]))["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"], reader.finish) == (finish, native, finish)


def test_an_error_inside_a_stream_follows_what_came_before_it() -> None:
    reader = streaming()
    begun = event("message-start", id="a") + event(
        "content-delta", index=0, delta={"message": {"content": {"text": "x"}}}
    )
    ended = {"finish_reason": "ERROR", "usage": {}, "error": "bad tools", "error_type": "INVALID_TOOL_GENERATION"}
    out = b"".join(reader.feed(begun + event("message-end", delta=ended) + b"data: [DONE]\n\n"))
    assert b'"x"' in out
    assert b'finish_reason":"' not in out
    for step in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(UpstreamError, match="bad tools") as caught:
            list(step())
        assert caught.value.reason is Reason.SERVER_ERROR
    assert not reader.complete


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({"finish_reason": "ERROR"}, Reason.SERVER_ERROR),
        ({"finish_reason": "TIMEOUT"}, Reason.TIMEOUT),
        ({"finish_reason": "ERROR", "error": "x", "error_type": "TOO_MANY_TOKENS"}, Reason.CONTEXT_TOO_LONG),
    ],
)
def test_an_answer_that_failed_is_an_error_whole_and_streamed(ending: dict[str, Any], reason: Reason) -> None:
    assert failure(streaming(), event("message-start", id="a"), event("message-end", delta=ending)).reason is reason
    body = {"id": "a", "message": {"role": "assistant", "content": []}, **ending}
    assert failure(decoder(), json.dumps(body).encode()).reason is reason


def test_an_error_without_an_event_is_an_error() -> None:
    told = json.dumps({"id": "a", "message": "sorry"}).encode()
    assert failure(streaming(), told).message == "sorry"
    assert failure(streaming(), b"data: " + told + b"\n\n").message == "sorry"
    assert failure(decoder(), told).message == "sorry"


@pytest.mark.parametrize("body", [b"[]", b'{"id":"a"}', b'{"message":{"content":5}}'])
def test_what_is_no_message_is_an_error(body: bytes) -> None:
    assert failure(decoder(), body).reason is Reason.SERVER_ERROR


def test_an_answer_without_a_finish_is_cut() -> None:
    for reader, pieces in (
        (decoder(), [whole(None, content=[])]),
        (streaming(), [event("message-start"), event("message-end", delta={})]),
        (streaming(), [event("message-start"), b"data: [DONE]\n\n"]),
    ):
        with pytest.raises(StreamCut):
            fed(reader, pieces)


def test_what_is_no_json_is_dropped_and_counted() -> None:
    reader = streaming()
    fed(
        reader,
        [
            b"data: {oops\n\n: a comment\n\n",
            event("debug", prompt="p"),
            event("message-end", delta={"finish_reason": "COMPLETE"}),
        ],
    )
    assert (reader.dropped, reader.started, reader.finish, reader.usage) == (1, False, "stop", None)


def test_a_last_event_needs_no_blank_line() -> None:
    reader = streaming()
    assert fed(reader, [event("message-end", delta={"finish_reason": "COMPLETE"}).rstrip()]).endswith(b"[DONE]\n\n")


def test_only_content_starts_an_answer() -> None:
    reader = streaming()
    list(reader.feed(event("message-start", id="a")))
    list(reader.feed(event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})))
    assert (reader.started, reader.progress) == (False, 0)
    list(reader.feed(event("tool-plan-delta", delta={"message": {"tool_plan": "ä"}})))
    assert (reader.started, reader.progress, reader.output_bytes) == (True, 1, 2)


def test_a_call_without_arguments_has_an_object_all_the_same() -> None:
    called = {"id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
    pieces = [
        event("tool-call-start", index=0, delta={"message": {"tool_calls": called}}),
        event("tool-call-end", index=0),
        event("message-end", delta={"finish_reason": "TOOL_CALL"}),
    ]
    assert reassembled(fed(streaming(), pieces))["tool_calls"] == [{"id": "t", "name": "f", "arguments": "{}"}]
    assert unary(fed(decoder(), [whole("TOOL_CALL", tool_calls=[called])]))["tool_calls"][0]["arguments"] == "{}"


def test_citations_have_their_place_in_the_whole_text_and_those_of_the_web_are_annotations() -> None:
    source = {"type": "document", "id": "d", "document": {"url": "https://x.org", "title": "X", "text": "two"}}
    cited = {"start": 0, "end": 3, "text": "two", "content_index": 2, "type": "TEXT_CONTENT", "sources": [source]}
    of_plan = {"start": 0, "end": 3, "text": "plan", "type": "PLAN", "sources": []}
    content = [
        {"type": "text", "text": "one "},
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "two"},
    ]
    message = unary(fed(decoder(), [whole(content=content, citations=[cited, of_plan])]))
    assert message["citations"] == [{**cited, "start_index": 4, "end_index": 7}, of_plan]
    assert message["annotations"] == [
        {
            "type": "url_citation",
            "url_citation": {"start_index": 4, "end_index": 7, "url": "https://x.org", "title": "X"},
        }
    ]


class Noting:
    """A writer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> bytes:
        self.events.append(event)
        return b""

    def end(self) -> bytes:
        return b""


def test_log_probabilities_are_of_the_pieces_that_cohere_gives() -> None:
    class Dialect(type(CHAT)):  # type: ignore[misc]
        def writer(self, call: Any, model: str) -> Noting:
            return writer

    items = [
        {"text": "Ä", "token_ids": [1], "logprobs": [-0.5]},
        {"text": "bc", "token_ids": [2, 3], "logprobs": [-1.0, -0.25]},
    ]
    written = [
        {"token": "Ä", "logprob": -0.5, "bytes": [195, 132], "top_logprobs": []},
        {"token": "bc", "logprob": -1.25, "bytes": [98, 99], "top_logprobs": []},
    ]
    writer = Noting()
    body = {"id": "a", "message": {"content": [{"type": "text", "text": "Äbc"}]}, "finish_reason": "COMPLETE"}
    fed(ADAPTER.decoder(a_call(), PLACE, Dialect()), [json.dumps({**body, "logprobs": items}).encode()])
    assert [each for each in writer.events if isinstance(each, Logprobs)] == [Logprobs(tuple(written))]
    writer = Noting()
    reader = ADAPTER.decoder(a_call(stream=True), PLACE, Dialect())
    for item in items:
        list(reader.feed(event("content-delta", delta={"message": {"content": {"text": item["text"]}}}, logprobs=item)))
    assert [each for each in writer.events if isinstance(each, Logprobs)] == [Logprobs((one,)) for one in written]


# -- usage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "buckets", "suspect"),
    [
        (USAGE, {"fresh_input": 5, "output_text": 4}, False),
        ({**USAGE, "cached_tokens": 800}, {"fresh_input": 5, "output_text": 4}, False),
        (
            {"billed_units": {"input_tokens": 8.0, "output_tokens": 50}, "tokens": {"reasoning_tokens": 38}},
            {"fresh_input": 8, "output_text": 12, "reasoning": 38},
            False,
        ),
        (
            {"billed_units": {"input_tokens": 8, "output_tokens": 5}, "tokens": {"reasoning_tokens": 9}},
            {"fresh_input": 8, "reasoning": 5},
            False,
        ),
        (
            {"billed_units": {"input_tokens": 262, "output_tokens": 59}, "tokens": {"image_tokens": 259}},
            {"fresh_input": 3, "image_input": 259, "output_text": 59},
            False,
        ),
        (
            {"tokens": {"input_tokens": 90, "output_tokens": 9}, "cached_tokens": 80},
            {"fresh_input": 10, "cached_input": 80, "output_text": 9},
            False,
        ),
        ({"billed_units": {"input_tokens": -8, "output_tokens": 5}}, {"output_text": 5}, True),
        ({"billed_units": {"input_tokens": 0.5, "output_tokens": 5}}, {"output_text": 5}, True),
    ],
)
def test_what_is_billed_is_booked(usage: dict[str, Any], buckets: dict[str, int], suspect: bool) -> None:
    reader = decoder()
    body = {"id": "a", "message": {"content": []}, "finish_reason": "COMPLETE", "usage": usage}
    fed(reader, [json.dumps(body).encode()])
    assert reader.usage is not None
    names = ("fresh_input", "cached_input", "image_input", "output_text", "reasoning")
    assert {name: count for name in names if (count := getattr(reader.usage, name))} == buckets
    assert reader.usage.suspect is suspect
    assert json.loads(reader.usage.raw) == usage


@pytest.mark.parametrize("usage", [None, {}, {"billed_units": {}}, 5])
def test_usage_that_counts_nothing_is_none(usage: Any) -> None:
    reader = decoder()
    body = {"id": "a", "message": {"content": []}, "finish_reason": "COMPLETE", "usage": usage}
    assert "usage" not in json.loads(fed(reader, [json.dumps(body).encode()]))
    assert reader.usage is None


# -- embeddings ---------------------------------------------------------------------------------------------------


def embedded(body: dict[str, Any]) -> Any:
    return fed(ADAPTER.decoder(embeddings_call(), PLACE, EMBEDDINGS), [json.dumps(body).encode()])


def test_an_embeddings_tokens_are_what_is_billed() -> None:
    meta = {"billed_units": {"input_tokens": 4, "image_tokens": 7}}
    answer = json.loads(embedded({"id": "a", "embeddings": {"float": [[0.5]]}, "meta": meta}))
    assert answer["data"] == [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    assert answer["usage"] == {"prompt_tokens": 11, "total_tokens": 11}
    assert answer["model"] == "command-a-03-2025"


@pytest.mark.parametrize(
    "body", [{"id": "a", "message": "no"}, {"id": "a"}, {"embeddings": {"int8": [[1]]}}, {"embeddings": {"float": 5}}]
)
def test_an_answer_without_vectors_is_an_error(body: dict[str, Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        embedded(body)
    assert caught.value.reason is Reason.SERVER_ERROR


# -- laws ---------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PIECES = st.lists(WORDS, min_size=1, max_size=4)
OBJECTS = st.dictionaries(WORDS, WORDS | st.integers() | st.booleans(), max_size=3)
CONTENT = st.lists(st.tuples(st.sampled_from(["text", "thinking"]), PIECES), max_size=3)
CALLS = st.lists(st.tuples(OBJECTS, st.lists(st.integers(0, 40), max_size=3)), max_size=3)


@settings(max_examples=80, deadline=None)
@given(CONTENT, st.lists(WORDS, max_size=3), CALLS, st.data())
def test_the_deltas_of_a_stream_add_up_to_the_whole_answer(
    content: list[tuple[str, list[str]]], plan: list[str], called: list[tuple[dict[str, Any], list[int]]], data: Any
) -> None:
    events = [event("message-start", id="c")]
    message: dict[str, Any] = {"content": [], "tool_calls": [], "tool_plan": "".join(plan)}
    for index, (kind, pieces) in enumerate(content):
        events.append(event("content-start", index=index, delta={"message": {"content": {"type": kind, kind: ""}}}))
        events += [event("content-delta", index=index, delta={"message": {"content": {kind: part}}}) for part in pieces]
        events.append(event("content-end", index=index))
        message["content"].append({"type": kind, kind: "".join(pieces)})
    events += [event("tool-plan-delta", delta={"message": {"tool_plan": part}}) for part in plan]
    for index, (arguments, cuts) in enumerate(called):
        written = json.dumps(arguments, ensure_ascii=False)
        edges = sorted({0, len(written), *(cut % len(written) for cut in cuts)})
        opened = {"id": f"t{index}", "type": "function", "function": {"name": "f", "arguments": ""}}
        events.append(event("tool-call-start", index=index, delta={"message": {"tool_calls": opened}}))
        for begin, end in pairwise(edges):
            piece = {"function": {"arguments": written[begin:end]}}
            events.append(event("tool-call-delta", index=index, delta={"message": {"tool_calls": piece}}))
        events.append(event("tool-call-end", index=index))
        message["tool_calls"].append({**opened, "function": {"name": "f", "arguments": written}})
    events.append(event("message-end", delta={"finish_reason": "COMPLETE", "usage": USAGE}))
    raw = b"".join(events)
    edges = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=6))})
    streamed = reassembled(fed(streaming(), [raw[begin:end] for begin, end in pairwise(edges)]))
    answer = unary(fed(decoder(), [whole(**message)]))
    assert streamed == answer
    for call, (arguments, _) in zip(answer.get("tool_calls", ()), called, strict=True):
        assert json.loads(call["arguments"]) == arguments
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]
