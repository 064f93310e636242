"""The relay of OpenAI's wire: what is sent, what is noticed in answers, and which failures have which reason."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import openai
from adapters.dialects.chat import ChatDialect
from adapters.dialects.completions import CompletionsDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Headers

ADAPTER = openai.adapter()
CHAT = ChatDialect()
DEPLOYMENT = Deployment("fast", "openai", "openai", 'gpt-"4"', "openai", b"/v1", ())


def call(**fields: Any) -> Call:
    body = {"model": "route", "messages": [{"role": "user", "content": "hi"}], **fields}
    return CHAT.parse("c1", json.dumps(body).encode(), ())


def sent(asked: Call) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(ADAPTER.encode(asked, DEPLOYMENT, CHAT, {}).body)
    return body


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "x", "choices": [choice], **more}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE_CHUNK = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'


def decoder(**fields: Any) -> Any:
    return ADAPTER.decoder(call(stream=True, **fields), DEPLOYMENT, CHAT)


def relayed(stream: Any, *reads: bytes) -> bytes:
    out = [piece for read in reads for piece in stream.feed(read)]
    return b"".join([*out, *stream.end()])


# -- requests ------------------------------------------------------------------------------------------------------


def test_only_the_model_is_spliced_and_every_other_byte_stays() -> None:
    body = (
        '{"messages":[{"role":"user","content":"h\\u00e9 \\/ é"}],"model":"route","x":1.10,"big":12345678901234567890}'
    )
    request = ADAPTER.encode(CHAT.parse("c", body.encode(), ()), DEPLOYMENT, CHAT, {})
    assert request.body.decode() == body.replace('"route"', '"gpt-\\"4\\""')
    assert request.path == b"/v1/chat/completions"


def test_a_model_is_added_where_the_caller_named_none() -> None:
    request = ADAPTER.encode(CHAT.parse("c", b'{"messages":[{}]}', ()), DEPLOYMENT, CHAT, {})
    assert json.loads(request.body)["model"] == 'gpt-"4"'


def test_usage_of_a_stream_is_always_asked_for_and_other_options_stay() -> None:
    assert sent(call(stream=True))["stream_options"] == {"include_usage": True}
    assert sent(call(stream=True, stream_options=None))["stream_options"] == {"include_usage": True}
    options = {"include_obfuscation": False, "include_usage": False}
    assert sent(call(stream=True, stream_options=options))["stream_options"] == options | {"include_usage": True}
    assert "stream_options" not in sent(call())


def test_each_endpoint_has_its_path() -> None:
    for dialect, body, path in (
        (CompletionsDialect(), b'{"prompt":"a"}', b"/v1/completions"),
        (EmbeddingsDialect(), b'{"input":"a"}', b"/v1/embeddings"),
    ):
        assert ADAPTER.encode(dialect.parse("c", body, ()), DEPLOYMENT, dialect, {}).path == path


def test_a_wire_that_it_does_not_speak_is_refused() -> None:
    foreign = Call("c", "chat", "messages", b"{}")
    with pytest.raises(BadRequest):
        ADAPTER.encode(foreign, DEPLOYMENT, CHAT, {})


def test_a_credential_becomes_a_bearer_token_and_none_becomes_nothing() -> None:
    assert ADAPTER.authorize("sk-1") == ((b"authorization", b"Bearer sk-1"),)
    assert ADAPTER.authorize("") == ()


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.integers() | st.text(), st.lists), max_size=6))
def test_unknown_members_travel_untouched(members: dict[str, Any]) -> None:
    known = ("messages", "model", "stream", "stream_options", "temperature", "max_tokens", "max_completion_tokens")
    known += ("n", "user", "tools", "functions", "response_format", "logprobs")
    members = {name: value for name, value in members.items() if name not in known}
    assert sent(call(**members)) == {
        "model": 'gpt-"4"',
        "messages": [{"role": "user", "content": "hi"}],
        **members,
    }


# -- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_is_relayed_byte_by_byte_as_it_came() -> None:
    stream = chunk({"role": "assistant", "content": ""}) + chunk({"content": "hé"}) + chunk(finish="stop") + DONE
    asked = decoder(stream_options={"include_usage": True})
    assert relayed(asked, *(stream[i : i + 1] for i in range(len(stream)))) == stream
    assert (asked.finish, asked.progress, asked.output_bytes, asked.complete) == ("stop", 1, 3, True)


def test_the_usage_chunk_is_removed_where_the_caller_did_not_ask() -> None:
    head, tail = chunk({"content": "a"}, usage=None), chunk(finish="stop", usage=None)
    unasked = decoder()
    assert relayed(unasked, head + tail + USAGE_CHUNK + DONE) == head + tail + DONE
    assert unasked.usage is not None
    assert (unasked.usage.fresh_input, unasked.usage.output_text) == (3, 2)
    asked = decoder(stream_options={"include_usage": True})
    assert relayed(asked, head, tail, USAGE_CHUNK, DONE) == head + tail + USAGE_CHUNK + DONE


def test_usage_on_a_chunk_with_a_choice_is_read_and_left_in_place() -> None:
    last = chunk(finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5})
    stream = decoder()
    assert relayed(stream, last, DONE) == last + DONE
    assert stream.usage.output_text == 2


@pytest.mark.parametrize(
    ("delta", "content"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "tool_calls": None, "refusal": None}, False),
        ({"tool_calls": []}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning": "a"}, True),
        ({"refusal": "a"}, True),
        ({"content": [{"type": "text", "text": "a"}]}, True),
        ({"tool_calls": [{"index": 0, "function": {"arguments": ""}}]}, True),
        ({"content": "", "reasoning_content": "a"}, True),
        ({"function_call": {"name": "f"}}, True),
    ],
)
def test_a_stream_has_started_with_content_and_not_before(delta: dict[str, Any], content: bool) -> None:
    stream = decoder()
    list(stream.feed(b": keep-alive\n\n"))
    list(stream.feed(chunk(delta)))
    assert stream.started is content
    assert stream.progress == int(content)


def test_a_stream_that_finished_may_leave_the_sentinel_out() -> None:
    stream = decoder()
    assert relayed(stream, chunk({"content": "a"}), chunk(finish="length")).endswith(DONE)
    assert stream.finish == "length"
    assert stream.complete


@pytest.mark.parametrize(
    "reads",
    [
        (),
        (b"",),
        (chunk({"content": "a"}),),
        (chunk({"content": "a"}), DONE),
        (DONE,),
        (chunk({"content": "a"}), chunk(finish="stop")[:-20]),
        (chunk({"content": "a"}, index=0), chunk({"content": "b"}, index=1), chunk(finish="stop", index=0)),
        (chunk({"content": "a"}, index=0), chunk({"content": "b"}, index=1), chunk(finish="stop", index=0), DONE),
        (chunk({"content": "a"}), USAGE_CHUNK),
        (b"<html>not an answer</html>\n\n",),
        (b'{"id":"x","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}',),
    ],
)
def test_a_stream_without_its_finish_is_cut(reads: tuple[bytes, ...]) -> None:
    with pytest.raises(StreamCut):
        relayed(decoder(), *reads)


def test_nothing_after_the_sentinel_is_relayed() -> None:
    stream = decoder()
    end = chunk(finish="stop") + DONE
    assert relayed(stream, end + chunk({"content": "late"}), chunk({"content": "later"})) == end
    assert not stream.started


def test_an_event_that_is_no_json_is_dropped_and_counted() -> None:
    stream = decoder()
    first, last = chunk({"content": "a"}), chunk(finish="stop")
    assert relayed(stream, first, b"data: {oops\n\n", b'data: "text"\n\n' + last, DONE) == first + last + DONE
    assert stream.dropped == 2


def test_json_that_only_loose_readers_take_is_relayed_and_seen() -> None:
    stream = decoder()
    odd = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"},"logprob":NaN,"finish_reason":"stop"}]}\n\n'
    assert relayed(stream, odd, DONE) == odd + DONE
    assert stream.started
    assert stream.finish == "stop"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b'data: {"error":{"message":"m","code":502}}\n\n', Reason.SERVER_ERROR),
        (b'data: {"error":{"message":"m","type":"rate_limit_error"}}\n\n', Reason.RATE_LIMITED),
        (b'event: error\ndata: {"error":{"message":"m","status_code":400}}\n\n', Reason.BAD_REQUEST),
        (b'event: error\ndata: {"message":"m"}\n\n', Reason.SERVER_ERROR),
        (b'data: {"choices":[{"finish_reason":"error"}],"error":{"code":429}}\n\n', Reason.RATE_LIMITED),
        (b'data: {"error":"overloaded"}\n\n', Reason.SERVER_ERROR),
        (b'{"error":{"message":"m","code":401}}\n\n', Reason.UNAUTHENTICATED),
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}\n\n', Reason.ABORTED),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_an_error_in_a_stream_is_raised_with_its_reason(event: bytes, reason: Reason, together: bool) -> None:
    stream = decoder()
    role = chunk({"role": "assistant"})
    with pytest.raises(UpstreamError) as caught:
        relayed(stream, *((role + event,) if together else (role, event)))
    assert caught.value.reason is reason


@pytest.mark.parametrize("at_the_end", [True, False])
def test_content_that_came_in_one_read_with_an_error_goes_out_before_it(at_the_end: bool) -> None:
    stream = decoder()
    content = chunk({"content": "a"})
    assert b"".join(stream.feed(content + b'data: {"error":{"message":"m","code":502}}\n\n')) == content
    with pytest.raises(UpstreamError) as caught:
        stream.end() if at_the_end else stream.feed(b"")
    assert caught.value.reason is Reason.SERVER_ERROR


def test_an_answer_that_is_aborted_after_content_ends_as_the_provider_ended_it() -> None:
    stream = decoder()
    assert relayed(stream, chunk({"content": "a"}) + chunk(finish="abort") + DONE).endswith(DONE)
    assert stream.finish == "abort"


def test_a_legacy_completion_stream_is_seen_by_its_text() -> None:
    dialect = CompletionsDialect()
    stream = ADAPTER.decoder(dialect.parse("c", b'{"prompt":"a","stream":true}', ()), DEPLOYMENT, dialect)
    first = b'data: {"choices":[{"text":"abc","index":0,"finish_reason":null}]}\n\n'
    last = b'data: {"choices":[{"text":"","index":0,"finish_reason":"stop"}]}\n\n'
    assert relayed(stream, first + last + DONE) == first + last + DONE
    assert (stream.started, stream.output_bytes, stream.finish) == (True, 3, "stop")


_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.none() | st.text(max_size=6),
        "role": st.just("assistant"),
        "reasoning": st.text(max_size=4),
        "tool_calls": st.just([{"index": 0, "function": {"arguments": "{"}}]),
    },
)


@given(
    deltas=st.lists(_DELTAS, max_size=6),
    finish=st.none() | st.sampled_from(["stop", "length", "eos"]),
    done=st.booleans(),
    asked=st.booleans(),
    crlf=st.booleans(),
    cuts=st.lists(st.integers(0, 900), max_size=12),
)
def test_any_split_of_a_stream_gives_the_same_outcome(
    deltas: list[dict[str, Any]], finish: str | None, done: bool, asked: bool, crlf: bool, cuts: list[int]
) -> None:
    stream = b"".join(map(chunk, deltas)) + (chunk(finish=finish) if finish else b"") + USAGE_CHUNK
    stream += b": ping\n\ndata: {broken\n\n" + (DONE if done else b"")
    if crlf:
        stream = stream.replace(b"\n", b"\r\n")
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]

    def outcome(*reads: bytes) -> tuple[Any, ...]:
        one = decoder(stream_options={"include_usage": asked})
        try:
            out: bytes | None = relayed(one, *reads)
        except StreamCut:
            out = None
        return out, one.started, one.progress, one.finish, one.usage, one.output_bytes, one.dropped, one.complete

    split = outcome(*(stream[a:b] for a, b in pairwise(edges)))
    assert split == outcome(stream)
    assert (split[0] is not None) is (finish is not None)


# -- unary answers -------------------------------------------------------------------------------------------------


def unary(body: bytes, cut: int = 0) -> tuple[Any, bytes]:
    one = ADAPTER.decoder(call(), DEPLOYMENT, CHAT)
    return one, relayed(one, body[:cut], body[cut:])


def test_a_unary_answer_is_the_same_bytes_with_usage_and_finish_noticed() -> None:
    body = b'{ "choices": [{"index":0,"message":{"content":"abc"},"finish_reason":"eos"}], "x": 1,\n "usage":{'
    body += b'"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":6}}}'
    one, out = unary(body, 17)
    assert out == body
    assert (one.finish, one.started, one.output_bytes, one.complete) == ("stop", True, 3, True)
    assert (one.usage.fresh_input, one.usage.cached_input, one.usage.output_text) == (4, 6, 4)
    assert json.loads(one.usage.raw)["total_tokens"] == 14


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.SERVER_ERROR),
        (b"<html>", Reason.SERVER_ERROR),
        (b"[]", Reason.SERVER_ERROR),
        (b"{}", Reason.SERVER_ERROR),
        (b'{"choices":[]}', Reason.SERVER_ERROR),
        (b'{"choices":null}', Reason.SERVER_ERROR),
        (b"[" * 100_000, Reason.SERVER_ERROR),
        (b'{"choices":[{"message":{"content":"a"}}', Reason.SERVER_ERROR),
        (b'{"error":{"message":"m","code":503}}', Reason.OVERLOADED),
        (b'{"error":"text","code":"rate_limit_exceeded"}', Reason.RATE_LIMITED),
        (b'{"choices":[{"message":{"content":""},"finish_reason":"abort"}]}', Reason.ABORTED),
    ],
)
def test_a_200_that_is_no_answer_is_a_failure(body: bytes, reason: Reason) -> None:
    with pytest.raises(UpstreamError) as caught:
        unary(body)
    assert caught.value.reason is reason


def test_a_finish_that_nobody_knows_is_kept_and_an_empty_one_is_none() -> None:
    assert unary(b'{"choices":[{"message":{"content":"a"},"finish_reason":"odd"}]}')[0].finish == "odd"
    assert unary(b'{"choices":[{"message":{"content":"a"},"finish_reason":""}]}')[0].finish is None


def test_an_embedding_answer_counts_its_input_alone() -> None:
    one, _ = unary(b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":8,"total_tokens":8}}')
    assert one.usage == Usage(fresh_input=8, raw=b'{"prompt_tokens":8,"total_tokens":8}')


# -- faults --------------------------------------------------------------------------------------------------------


def fault(status: int, body: bytes | dict[str, Any] = b"", headers: Headers = ()) -> UpstreamError:
    return ADAPTER.fault(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, Reason.SERVER_ERROR),
        (400, Reason.BAD_REQUEST),
        (401, Reason.UNAUTHENTICATED),
        (402, Reason.OUT_OF_CREDIT),
        (403, Reason.UNAUTHENTICATED),
        (404, Reason.NOT_FOUND),
        (405, Reason.BAD_REQUEST),
        (408, Reason.ABORTED),
        (409, Reason.BAD_REQUEST),
        (413, Reason.BAD_REQUEST),
        (415, Reason.BAD_REQUEST),
        (422, Reason.BAD_REQUEST),
        (425, Reason.ABORTED),
        (429, Reason.RATE_LIMITED),
        (498, Reason.OVERLOADED),
        (500, Reason.SERVER_ERROR),
        (501, Reason.SERVER_ERROR),
        (502, Reason.SERVER_ERROR),
        (503, Reason.OVERLOADED),
        (520, Reason.SERVER_ERROR),
        (529, Reason.OVERLOADED),
    ],
)
def test_a_status_alone_has_a_reason(status: int, reason: Reason) -> None:
    error = fault(status, b"<html>whatever</html>")
    assert error.reason is reason
    assert error.named_by_caller is False
    assert "html" not in error.message


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (400, {"code": "context_length_exceeded", "message": "m"}, Reason.CONTEXT_TOO_LONG),
        (400, {"message": "This model's maximum context length is 8192 tokens."}, Reason.CONTEXT_TOO_LONG),
        (413, {"code": "rate_limit_exceeded", "message": "Request too large"}, Reason.RATE_LIMITED),
        (400, {"code": "content_filter", "message": "m"}, Reason.CONTENT_FILTERED),
        (403, {"message": "Your chosen model requires moderation and your input was flagged"}, Reason.CONTENT_FILTERED),
        (400, {"code": "content_policy_violation"}, Reason.CONTENT_FILTERED),
        (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, Reason.OUT_OF_CREDIT),
        (400, {"message": "Incorrect API key provided: sk-1"}, Reason.UNAUTHENTICATED),
        (400, {"code": "model_not_found", "param": "model"}, Reason.NOT_FOUND),
        (500, {"type": "overloaded_error"}, Reason.OVERLOADED),
        (500, {"message": "maximum context length"}, Reason.SERVER_ERROR),
    ],
)
def test_a_providers_words_say_more_than_its_status(status: int, error: dict[str, Any], reason: Reason) -> None:
    assert fault(status, {"error": error}).reason is reason


def test_the_callers_own_fault_is_told_in_the_providers_words() -> None:
    error = fault(
        400, {"error": {"message": "bad stop", "type": "invalid_request_error", "param": "stop", "code": "x"}}
    )
    assert (error.message, error.type, error.param, error.code, error.status) == (
        "bad stop",
        "invalid_request_error",
        "stop",
        "x",
        400,
    )


def test_what_is_not_the_callers_fault_is_told_in_our_words() -> None:
    error = fault(401, {"error": {"message": "Incorrect API key provided: sk-secret"}})
    assert "sk-secret" not in error.message
    assert error.message == "the provider answered with status 401"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        (((b"retry-after", b"7"),), 7.0),
        (((b"retry-after", b"1.5"),), 1.5),
        (((b"retry-after-ms", b"250"), (b"retry-after", b"9")), 0.25),
        (((b"retry-after-ms", b"0"),), 0.0),
        (((b"retry-after", b"Fri, 20 Nov 2026 12:00:30 GMT"), (b"date", b"Fri, 20 Nov 2026 12:00:00 GMT")), 30.0),
        (((b"retry-after", b"Fri, 20 Nov 2026 11:00:00 GMT"), (b"date", b"Fri, 20 Nov 2026 12:00:00 GMT")), 0.0),
        (((b"retry-after", b"Fri, 20 Nov 2026 12:00:30 GMT"),), None),
        (((b"retry-after", b"soon"),), None),
        (((b"retry-after", b"nan"),), None),
        (((b"retry-after", b"-3"),), None),
        (((b"retry-after", b"\xff"),), None),
        (((b"x-ratelimit-remaining-requests", b"0"), (b"x-ratelimit-reset-requests", b"1m30s")), 90.0),
        (((b"x-ratelimit-remaining-tokens", b"0"), (b"x-ratelimit-reset-tokens", b"120ms")), 0.12),
        (((b"x-ratelimit-remaining-tokens", b"5"), (b"x-ratelimit-reset-tokens", b"6m0s")), None),
        (
            (
                (b"x-ratelimit-remaining", b"0"),
                (b"x-ratelimit-reset", b"1795176060000"),
                (b"date", b"Fri, 20 Nov 2026 12:00:00 GMT"),
            ),
            60.0,
        ),
        ((), None),
    ],
)
def test_the_wait_is_read_from_every_form_a_provider_uses(headers: Headers, wait: float | None) -> None:
    assert fault(429, b"", headers).retry_after_s == wait


def test_the_wait_may_stand_in_the_message_alone() -> None:
    said = {"error": {"message": "Rate limit reached. Please try again in 1m7.66s. Visit us.", "type": "tokens"}}
    assert fault(429, said).retry_after_s == pytest.approx(67.66)


def test_should_retry_is_passed_on() -> None:
    assert fault(500, b"", ((b"x-should-retry", b"false"),)).should_retry is False
    assert fault(400, b"", ((b"x-should-retry", b"true"),)).should_retry is True
    assert fault(400, b"", ((b"x-should-retry", b"maybe"),)).should_retry is None


@given(
    st.integers(300, 599), st.binary(max_size=60) | st.sampled_from([b"[[", b'{"error":[]}', b'{"error":{"code":{}}}'])
)
def test_no_body_breaks_the_reading_of_a_fault(status: int, body: bytes) -> None:
    assert isinstance(ADAPTER.fault(status, (), body), UpstreamError)
