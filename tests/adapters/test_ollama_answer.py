"""Ollama's answers: recorded ones fed in every way, rare ones, errors, and laws that hold for any."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.adapter import Decoder
from gateway.core.blocks import Event, ImagePart, Logprobs
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import PNG, a_call, chunks, corpus, fed, reassembled, unary, validator
from tests.adapters.cohere_wire import embeddings_call
from tests.adapters.ollama_wire import ADAPTER, CHAT, EMBEDDINGS, PLACE, decoder, line

CHUNK = validator("CreateChatCompletionStreamResponse")
COMPLETION = validator("CreateChatCompletionResponse")
LIST = validator("CreateEmbeddingResponse")
STREAMS = corpus("ollama.chat.native.stream")
ANSWERS = corpus("ollama.chat.native")
RECORDED_ERRORS = [
    each
    for each in corpus("errors")
    if each.values[0] is None or (each.values[0]["provider"], each.values[0]["surface"]) == ("ollama", "chat.native")
]
COUNTS = {"prompt_eval_count": 5, "eval_count": 4}


def streaming() -> Decoder:
    return decoder(a_call(stream=True, stream_options={"include_usage": True}))


def cuts(raw: bytes, seed: str) -> list[list[bytes]]:
    """Returns the bytes one by one, and cut at random, the same in every run."""
    dice = random.Random(seed)
    ways = [[raw[place : place + 1] for place in range(len(raw))]]
    for _ in range(5):
        edges = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(20))})
        ways.append([raw[begin:end] for begin, end in pairwise(edges)])
    return ways


def holds(message: dict[str, Any], reader: Decoder, lines: list[dict[str, Any]]) -> None:
    """Asserts that what the caller gets is what was recorded."""
    said = [each["message"] for each in lines]
    last = lines[-1]
    assert (message["content"] or "") == "".join(each["content"] for each in said)
    assert message.get("reasoning_content", "") == "".join(each.get("thinking", "") for each in said)
    called = [call for each in said for call in each.get("tool_calls", ())]
    assert [(call["name"], json.loads(call["arguments"])) for call in message.get("tool_calls", [])] == [
        (call["function"]["name"], call["function"]["arguments"]) for call in called
    ]
    for index, (call, recorded) in enumerate(zip(message.get("tool_calls", []), called, strict=True)):
        assert call["id"] == recorded.get("id", f"call_call-1_{index}")
    assert message["native_finish_reason"] == last["done_reason"]
    assert message["finish_reason"] == reader.finish == ("tool_calls" if called else last["done_reason"])
    usage = message["usage"]
    counts = (last["prompt_eval_count"], last["eval_count"])
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == counts
    assert usage["total_tokens"] == sum(counts)
    assert reader.usage is not None
    assert not reader.usage.suspect


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = record["response"]["text"].encode()
    reader = streaming()
    whole = fed(reader, [raw])
    holds(reassembled(whole), reader, [json.loads(each) for each in raw.splitlines()])
    assert reader.dropped == 0
    for way in cuts(raw, record["id"]):
        assert fed(streaming(), way) == whole
    for chunk in chunks(whole):
        if CHUNK is not None:
            CHUNK.validate(chunk)
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_at_any_line_is_cut_and_says_so(record: Any) -> None:
    raw = record["response"]["text"].encode()
    whole = fed(streaming(), [raw])
    place = raw.find(b"\n") + 1
    while 0 < place < len(raw):
        for cut in (place, place - 7):
            reader = streaming()
            out = b"".join(reader.feed(raw[:cut]))
            assert whole.startswith(out)
            assert b'"finish_reason":"' not in out
            with pytest.raises(StreamCut):
                list(reader.end())
        place = raw.find(b"\n", place) + 1


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = json.dumps(record["response"]["body"]).encode()
    reader = decoder()
    whole = fed(reader, [raw])
    holds(unary(whole), reader, [record["response"]["body"]])
    if COMPLETION is not None:
        COMPLETION.validate(json.loads(whole))
    ChatCompletion.model_validate(json.loads(whole), strict=True)
    for way in cuts(raw, record["id"]):
        assert fed(decoder(), way) == whole
    for cut in range(0, len(raw), 1 + len(raw) // 50):
        with pytest.raises(StreamCut):
            fed(decoder(), [raw[:cut]])


@pytest.mark.parametrize("record", corpus("ollama.embeddings.native"))
def test_recorded_embeddings_are_the_very_floats(record: Any) -> None:
    body = record["response"]["body"]
    call = embeddings_call(input=record["request"]["body"]["input"])
    raw = json.dumps(body).encode()
    out = fed(ADAPTER.decoder(call, PLACE, EMBEDDINGS), [raw])
    answer = json.loads(out)
    assert [row["embedding"] for row in answer["data"]] == body["embeddings"]
    assert (answer["model"], answer["usage"]["total_tokens"]) == (body["model"], body["prompt_eval_count"])
    if LIST is not None:
        LIST.validate(answer)
    with pytest.raises(UpstreamError):
        fed(ADAPTER.decoder(call, PLACE, EMBEDDINGS), [raw[:-1]])


# -- rare ones ----------------------------------------------------------------------------------------------------


def done(reason: str | None = "stop", **fields: Any) -> bytes:
    return line(True, **({"done_reason": reason} if reason else {}), **COUNTS, **fields)


@pytest.mark.parametrize(("native", "finish"), [("stop", "stop"), ("length", "length"), ("load", "load")])
def test_finishes_are_translated_and_an_unknown_one_is_no_stop(native: str, finish: str) -> None:
    message = reassembled(fed(streaming(), [line(message={"content": "a"}), done(native)]))
    assert (message["finish_reason"], message["native_finish_reason"]) == (finish, native)


def test_an_end_without_a_reason_is_cut() -> None:
    for reader in (streaming(), decoder()):
        with pytest.raises(StreamCut):
            fed(reader, [done(None, message={"content": "a"})])
    with pytest.raises(StreamCut):
        fed(decoder(), [line(message={"content": "a"})])


def test_a_cut_by_length_beside_a_tool_call_is_no_call_that_is_whole() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    assert (
        reassembled(fed(streaming(), [line(message={"tool_calls": [call]}), done("length")]))["finish_reason"]
        == "length"
    )


def test_ids_are_minted_of_the_calls_own_and_the_number_and_are_the_same_each_time() -> None:
    call = {"function": {"name": "f", "arguments": {"a": "ä"}}}
    pieces = [line(message={"tool_calls": [call]}), line(message={"tool_calls": [{**call, "id": "x"}, call]}), done()]
    called = reassembled(fed(streaming(), pieces))["tool_calls"]
    assert [each["id"] for each in called] == ["call_call-1_0", "x", "call_call-1_2"]
    assert fed(streaming(), pieces) == fed(streaming(), pieces)
    assert json.loads(called[0]["arguments"]) == {"a": "ä"}


@pytest.mark.parametrize(("given", "written"), [(None, "{}"), ({}, "{}"), ('{"a":1}', '{"a":1}'), ("", "{}")])
def test_arguments_are_an_object_whatever_comes(given: Any, written: str) -> None:
    call = {"function": {"name": "f", "arguments": given}}
    body = done(message={"content": "", "tool_calls": [call]})
    assert unary(fed(decoder(), [body]))["tool_calls"][0]["arguments"] == written


def test_an_error_inside_a_stream_follows_what_came_before_it() -> None:
    reader = streaming()
    out = b"".join(reader.feed(line(message={"content": "x"}) + b'{"error":"an error was encountered"}\n'))
    assert b'"x"' in out
    for step in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(UpstreamError, match="an error was encountered") as caught:
            list(step())
        assert caught.value.reason is Reason.SERVER_ERROR


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("model runner has unexpectedly stopped", Reason.SERVER_ERROR),
        ("the input length exceeds the context length", Reason.CONTEXT_TOO_LONG),
        ({"message": "server busy, please try again"}, Reason.OVERLOADED),
        (5, Reason.SERVER_ERROR),
    ],
)
def test_an_error_in_a_200_is_an_error(error: Any, reason: Reason) -> None:
    for reader in (streaming(), decoder()):
        with pytest.raises(UpstreamError) as caught:
            fed(reader, [json.dumps({"error": error}).encode()])
        assert caught.value.reason is reason


def test_what_is_no_message_is_an_error_and_a_line_that_is_none_is_dropped() -> None:
    for body in (b"[]", b"{}", b'{"message":5}'):
        with pytest.raises(UpstreamError) as caught:
            fed(decoder(), [body])
        assert caught.value.reason is Reason.SERVER_ERROR
    reader = streaming()
    fed(reader, [b"oops\n", line(message={"content": ""}), done().rstrip()])
    assert (reader.dropped, reader.started, reader.finish) == (1, False, "stop")


@pytest.mark.parametrize(
    ("counts", "known", "suspect"),
    [
        ({"prompt_eval_count": 5, "eval_count": 4}, (5, 4), False),
        ({"eval_count": 4}, (0, 4), True),
        ({"prompt_eval_count": -5, "eval_count": 4}, (0, 4), True),
        ({}, None, False),
    ],
)
def test_counts_become_usage_and_a_missing_one_is_suspect(counts: Any, known: Any, suspect: bool) -> None:
    reader = decoder()
    fed(reader, [line(True, done_reason="stop", message={"content": "a"}, **counts)])
    if known is None:
        assert reader.usage is None
        return
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens, reader.usage.suspect) == (*known, suspect)
    assert json.loads(reader.usage.raw) == counts


class Noting:
    """A writer that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> bytes:
        self.events.append(event)
        return b""

    def end(self) -> bytes:
        return b""


def test_images_and_log_probabilities_are_passed_on() -> None:
    writer = Noting()

    class Dialect(type(CHAT)):  # type: ignore[misc]
        def writer(self, call: Any, model: str) -> Noting:
            return writer

    top = [{"token": "a", "logprob": -0.5, "bytes": [97]}]
    logprobs = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": top}, {"token": "b", "logprob": -1.0}]
    reader = ADAPTER.decoder(a_call(), PLACE, Dialect())
    fed(reader, [done(message={"content": "ab", "images": [PNG, "!"]}, logprobs=logprobs)])
    kept = [each for each in writer.events if isinstance(each, Logprobs | ImagePart)]
    second = {"token": "b", "logprob": -1.0, "bytes": None, "top_logprobs": []}
    assert kept == [ImagePart("image/png", PNG), Logprobs((logprobs[0], second))]
    assert reader.dropped == 1


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (400, "registry.ollama.ai/library/x does not support tools", Reason.BAD_REQUEST),
        (400, "the input length exceeds the context length", Reason.CONTEXT_TOO_LONG),
        (500, "prompt is too long", Reason.CONTEXT_TOO_LONG),
        (401, "unauthorized", Reason.UNAUTHENTICATED),
        (402, "usage", Reason.OUT_OF_CREDIT),
        (403, "no", Reason.UNAUTHENTICATED),
        (404, "model 'x' not found", Reason.NOT_FOUND),
        (429, "too many requests", Reason.RATE_LIMITED),
        (500, "model runner has unexpectedly stopped", Reason.SERVER_ERROR),
        (500, "server busy, please try again", Reason.OVERLOADED),
        (503, "server busy, please try again. maximum pending requests exceeded", Reason.OVERLOADED),
        (504, "late", Reason.TIMEOUT),
    ],
)
def test_a_status_has_its_reason(status: int, message: str, reason: Reason) -> None:
    error = ADAPTER.fault(status, ((b"retry-after", b"3"),), json.dumps({"error": message}).encode())
    assert (error.reason, error.message, error.retry_after_s) == (reason, message, 3)
    assert error.status == (400 if reason is Reason.CONTEXT_TOO_LONG else status)
    assert not error.named_by_caller


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":5}', b"\xff"])
def test_a_body_that_is_not_ollamas_is_read_by_its_status(body: bytes) -> None:
    error = ADAPTER.fault(502, (), body)
    assert (error.reason, error.message) == (Reason.SERVER_ERROR, "the provider answered 502")


@pytest.mark.parametrize("record", RECORDED_ERRORS)
def test_recorded_errors(record: Any) -> None:
    response = record["response"]
    error = ADAPTER.fault(response["status"], (), json.dumps(response["body"]).encode())
    assert (error.reason, error.message) == (Reason.NOT_FOUND, response["body"]["error"])


@pytest.mark.parametrize("body", [{"error": "no"}, {"model": "m"}, {"embeddings": 5}])
def test_an_answer_without_vectors_is_an_error(body: dict[str, Any]) -> None:
    reader = ADAPTER.decoder(embeddings_call(), PLACE, EMBEDDINGS)
    with pytest.raises(UpstreamError):
        fed(reader, [json.dumps(body).encode()])


def test_an_embedding_that_nobody_counted_is_estimated() -> None:
    reader = ADAPTER.decoder(embeddings_call(), PLACE, EMBEDDINGS)
    assert json.loads(fed(reader, [b'{"embeddings":[[0.5]]}']))["usage"]["estimated"] is True
    assert reader.usage is None


# -- laws ---------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
OBJECTS = st.dictionaries(WORDS, WORDS | st.integers(-(2**60), 2**60) | st.booleans(), max_size=3)


@settings(max_examples=80, deadline=None)
@given(st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=4), st.lists(OBJECTS, max_size=3), st.data())
def test_the_lines_of_a_stream_add_up_to_the_whole_answer(
    thoughts: list[str], words: list[str], called: list[dict[str, Any]], data: st.DataObject
) -> None:
    calls = [{"function": {"name": "f", "arguments": arguments}} for arguments in called]
    lines = [line(message={"content": "", "thinking": word}) for word in thoughts]
    lines += [line(message={"content": word}) for word in words]
    lines += [line(message={"content": "", "tool_calls": [call]}) for call in calls]
    raw = b"".join((*lines, done(message={"content": ""})))
    edges = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=6))})
    streamed = reassembled(fed(streaming(), [raw[begin:end] for begin, end in pairwise(edges)]))
    message = {"content": "".join(words), "thinking": "".join(thoughts), "tool_calls": calls}
    whole = unary(fed(decoder(), [done(message=message)]))
    assert streamed == whole
    assert [json.loads(call["arguments"]) for call in whole.get("tool_calls", ())] == called
