"""The chat dialect: what a request says, how it is refused, and how a kept answer is told in the other form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import openai
from adapters.dialects.chat import ChatDialect
from gateway.core.errors import BadRequest, Overloaded
from gateway.core.types import Call, Deployment, Headers

CHAT = ChatDialect()
USER = {"role": "user", "content": "hi"}


def parse(headers: Headers = (), **fields: Any) -> Call:
    return CHAT.parse("c1", json.dumps({"messages": [USER], **fields}).encode(), headers)


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        CHAT.parse("c1", body, ())
    return caught.value


def test_what_routing_needs_is_read() -> None:
    body = json.dumps(
        {
            "model": "fast",
            "messages": [USER],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": 5,
            "max_completion_tokens": 7,
            "n": 2,
            "user": "u",
            "unknown": {"a": [1]},
        }
    ).encode()
    call = CHAT.parse("c1", body, ())
    assert (call.id, call.endpoint, call.dialect, call.body) == ("c1", "chat", "chat", body)
    assert (call.model, call.stream, call.include_usage, call.temperature) == ("fast", True, True, 0.0)
    assert (call.max_tokens, call.n, call.user) == (7, 2, "u")


def test_nulls_and_absences_are_defaults() -> None:
    nulls = parse(model=None, stream=None, temperature=None, max_tokens=None, n=None, user=None, stream_options=None)
    for call in (nulls, parse()):
        assert (call.model, call.stream, call.temperature, call.max_tokens, call.n) == (None, False, None, None, 1)
        assert call.needs == frozenset()
        assert not call.has_media


@pytest.mark.parametrize(
    ("fields", "needs", "has_media"),
    [
        ({"tools": [{"type": "function"}]}, {"tools"}, False),
        ({"tools": []}, set(), False),
        ({"functions": [{"name": "f"}]}, {"tools"}, False),
        ({"response_format": {"type": "json_schema"}}, {"json_schema"}, False),
        ({"response_format": {"type": "json_object"}}, set(), False),
        ({"logprobs": True}, {"logprobs"}, False),
        ({"n": 3}, {"n"}, False),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, {"vision"}, True),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {"audio"}, True),
        ({"messages": [USER, {"content": [{"type": "text"}, {"type": "file"}]}]}, {"file"}, True),
        ({"messages": [{"content": 'say "image_url"'}], "tools": [{"image_url": 1}]}, {"tools"}, False),
    ],
)
def test_what_the_answer_takes_is_read_from_the_fields_themselves(
    fields: dict[str, Any], needs: set[str], has_media: bool
) -> None:
    call = parse(**fields)
    assert call.needs == needs
    assert call.has_media is has_media


def test_the_callers_headers_are_read() -> None:
    call = parse(
        (
            (b"host", b"h"),
            (b"cache-control", b"no-store"),
            (b"timeout", b"9"),
            (b"x-headgate-timeout", b"2.5"),
            (b"x-headgate-strict", b"True"),
            (b"x-data-sensitivity", b"secret"),
            (b"x-headgate-tag-team", b"caf\xe9"),
        )
    )
    assert (call.cache_control, call.timeout_s, call.strict) == ("no-store", 2.5, True)
    assert ("x-data-sensitivity", "secret") in call.labels
    assert ("x-headgate-tag-team", "café") in call.labels
    assert "host" not in dict(call.labels)


@pytest.mark.parametrize("value", [b"", b"soon", b"-1", b"0", b"nan", b"inf", b"\xff", b"1e999"])
def test_a_malformed_timeout_counts_as_absent(value: bytes) -> None:
    assert parse(((b"timeout", value),)).timeout_s is None


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        (b"{}", "messages", "missing_required_parameter"),
        (b'{"messages":[]}', "messages", "empty_array"),
        (b'{"messages":null}', "messages", "invalid_type"),
        (b'{"messages":"hi"}', "messages", "invalid_type"),
        (b'{"messages":["hi"]}', "messages[0]", "invalid_type"),
        (b'{"messages":[{"content":5}]}', "messages[0].content", "invalid_type"),
        (b'{"messages":[{"content":[{}, 1]}]}', "messages[0].content[1]", "invalid_type"),
        (b'{"messages":[{}],"model":5}', "model", "invalid_type"),
        (b'{"messages":[{}],"temperature":"warm"}', "temperature", "invalid_type"),
        (b'{"messages":[{}],"temperature":1e999}', "temperature", "invalid_value"),
        (b'{"messages":[{}],"stream":"yes"}', "stream", "invalid_type"),
        (b'{"messages":[{}],"n":0}', "n", "integer_below_min_value"),
        (b'{"messages":[{}],"n":1000}', "n", "integer_above_max_value"),
        (b'{"messages":[{}],"max_tokens":-1}', "max_tokens", "integer_below_min_value"),
        (b'{"messages":[{}],"max_tokens":1e2}', "max_tokens", "invalid_type"),
        (b'{"messages":[{}],"stream_options":{"include_usage":1}}', "stream_options.include_usage", "invalid_type"),
        (b'{"messages":[{}],"tools":{}}', "tools", "invalid_type"),
        (b"[]", None, "invalid_type"),
        (b"5", None, "invalid_type"),
    ],
)
def test_a_wrong_field_is_named(body: bytes, param: str | None, code: str) -> None:
    error = refused(body)
    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert error.param is None or error.param in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"messages":[{}]} x',
        b'{"messages":[{"content":"\xff"}]}',
        b'{"messages":[{"x":"\xff"}]}',
        b"\xef\xbb\xbf{}",
        b'{"messages":[{}],"x":NaN}',
        b'{"messages":[{}],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    error = refused(body)
    assert error.status == 400
    assert error.code in ("invalid_json", "invalid_type")


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[{}],"model":"a","messages":[{"content":"last"}],"model":"b"}',
        b'{"model":"a","messages":[{}],"mod\\u0065l":"b", "messages": [{"content":"last"}]}',
    ],
)
def test_a_key_that_stands_twice_is_read_and_sent_on_as_its_last(body: bytes) -> None:
    call = CHAT.parse("c", body, ())
    assert call.model == "b"
    deployment = Deployment("d", "p", "openai", "upstream-model", "openai", b"/v1", ())
    sent = openai.adapter().encode(call, deployment, CHAT, {}).body
    pairs = json.loads(sent, object_pairs_hook=list)
    assert sorted(name for name, _ in pairs) == ["messages", "model"]
    assert json.loads(sent) == {"model": "upstream-model", "messages": [{"content": "last"}]}


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    refused(body)


def test_an_error_is_openais_object() -> None:
    error = Overloaded("try later", retry_after_s=3)
    expected = {"error": {"message": "try later", "type": "server_error", "param": None, "code": "overloaded"}}
    assert json.loads(CHAT.error(error)) == expected
    event = CHAT.error_event(error)
    assert event.startswith(b"data: {")
    assert event.endswith(b"}\n\n")
    assert json.loads(event[6:]) == expected


# -- kept answers --------------------------------------------------------------------------------------------------

_CALL = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=4),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.text(min_size=1, max_size=4), "arguments": st.text(max_size=6)}),
    }
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": st.text(min_size=1, max_size=6),
        "refusal": st.none() | st.text("r", min_size=1),
    },
    optional={
        "tool_calls": st.lists(_CALL, min_size=1, max_size=3),
        "reasoning_content": st.text(min_size=1, max_size=4),
        "annotations": st.lists(st.fixed_dictionaries({"type": st.text(max_size=3)}), min_size=1, max_size=2),
    },
)
_LOGPROBS = st.none() | st.just({"content": [{"token": "a", "logprob": -0.5}], "refusal": None})
_FINISH = st.sampled_from(["stop", "length", "tool_calls"])


@given(
    st.lists(st.tuples(_MESSAGE, _LOGPROBS, _FINISH), min_size=1, max_size=3),
    st.booleans(),
    st.dictionaries(st.sampled_from(["system_fingerprint", "service_tier", "citations"]), st.text(min_size=1)),
)
def test_an_answer_told_as_a_stream_and_merged_again_is_the_answer(
    parts: list[tuple[dict[str, Any], Any, str]], usage: bool, more: dict[str, Any]
) -> None:
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        **more,
        "choices": [
            {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}
            for index, (message, logprobs, finish) in enumerate(parts)
        ],
    }
    if usage:
        answer["usage"] = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    streaming = parse(stream=True, stream_options={"include_usage": True})
    stream = CHAT.replay(json.dumps(answer).encode(), False, streaming)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert json.loads(CHAT.replay(stream, True, parse())) == answer


def test_the_same_form_is_the_same_bytes() -> None:
    assert CHAT.replay(b"{kept}", False, parse()) == b"{kept}"
    stream = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n'
    asked = parse(stream=True, stream_options={"include_usage": True})
    assert CHAT.replay(stream, True, asked) == stream
    assert CHAT.replay(stream, True, parse(stream=True)) == b"data: [DONE]\n\n"


def test_a_told_stream_has_the_role_first_and_its_usage_only_where_asked() -> None:
    answer = {
        "id": "x",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 1},
    }
    stream = CHAT.replay(json.dumps(answer).encode(), False, parse(stream=True))
    events = [json.loads(event[6:]) for event in stream.split(b"\n\n")[:-2]]
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas == [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, None, "tool_calls"]
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert not any("usage" in event for event in events)


def test_parallel_tool_calls_under_one_index_stay_apart() -> None:
    calls = [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 0, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    chunks = [{"id": "x", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]} for call in calls]
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    merged = json.loads(CHAT.replay(stream, True, parse()))["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]) for call in merged] == [
        ("a", {"name": "f", "arguments": "{}"}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_parts_and_text_of_one_answer_are_merged_to_parts() -> None:
    deltas = [{"content": [{"type": "thinking", "thinking": []}]}, {"content": "He"}, {"content": ""}]
    chunks = [{"id": "x", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    stream = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    merged = json.loads(CHAT.replay(stream, True, parse()))
    assert merged["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": "He"},
    ]
