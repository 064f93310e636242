"""Responses relayed: the bytes that came, an end that is one, failures before and after content, ids that are kept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters import openai, vllm
from adapters._responses_relay import StreamRelay, UnaryRelay
from adapters._responses_usage import read_usage
from adapters._signatures import wrap
from adapters.dialects._responses_seal import Seal, seal
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.types import Deployment
from tests.adapters.responses_wire import RESPONSES, a_call

DEPLOYMENT = Deployment("d", "p", "openai", "gpt-x", "openai", b"/v1", ())
USED = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 3},
    "output_tokens": 9,
    "output_tokens_details": {"reasoning_tokens": 4},
    "total_tokens": 29,
}
MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hi"}]}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def response(status: str = "completed", output: Any = (MESSAGE,), **fields: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "status": status, "output": list(output), "usage": USED, **fields}


CREATED = event("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})
ADDED = event("response.output_item.added", item={"type": "message", "id": "msg_1", "content": []})
DELTA = event("response.output_text.delta", delta="Hi")


def streamed(*events: bytes) -> tuple[StreamRelay, bytes]:
    one = StreamRelay()
    out = [piece for each in events for piece in one.feed(each)]
    return one, b"".join([*out, *one.end()])


def unary(body: Any) -> tuple[UnaryRelay, bytes]:
    one = UnaryRelay()
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert list(one.feed(written)) == []
    return one, b"".join(one.end())


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_request_goes_as_it_came_but_for_the_models_name() -> None:
    call = a_call(stream=True, unknown={"a": [1.0]}, store=False)
    request = openai.adapter().encode(call, DEPLOYMENT, RESPONSES, {})
    assert (request.method, request.path, request.warnings) == (b"POST", b"/v1/responses", ())
    assert json.loads(request.body) == {**json.loads(call.body), "model": "gpt-x"}
    assert b'"unknown":{"a": [1.0]}' in request.body


def test_a_signature_inside_an_id_reaches_no_provider() -> None:
    framed = wrap("c1", "c2ln", "gemini")
    items = [
        {"role": "user", "content": framed},
        {**CALL, "call_id": framed},
        {"type": "function_call_output", "call_id": framed, "output": framed},
        {"type": "function_call_output", "call_id": "c2", "output": framed},
    ]
    request = openai.adapter().encode(a_call(input=items), DEPLOYMENT, RESPONSES, {})
    assert json.loads(request.body)["input"] == [
        items[0],
        {**CALL, "call_id": "c1"},
        {**items[2], "call_id": "c1"},
        items[3],
    ]
    assert request.warnings == ()


def test_what_only_the_gateway_sets_does_not_reach_vllm() -> None:
    request = vllm.adapter().encode(a_call(priority=9), DEPLOYMENT, RESPONSES, {})
    assert "priority" not in json.loads(request.body)
    assert request.warnings


def test_reasoning_that_another_provider_signed_is_left_out_and_declared() -> None:
    theirs = {"type": "reasoning", "summary": [], "encrypted_content": seal(Seal("sig", "anthropic"))}
    unsigned = {"type": "reasoning", "id": "rs_headgate_01", "summary": [{"type": "summary_text", "text": "hm"}]}
    own = {"type": "reasoning", "id": "rs_01", "summary": [], "encrypted_content": "gAAA"}
    quoted = {"role": "user", "content": "hg1. and rs_headgate_01"}
    asked = [quoted, theirs, own, unsigned]
    request = openai.adapter().encode(a_call(input=asked), DEPLOYMENT, RESPONSES, {})
    assert json.loads(request.body)["input"] == [quoted, own]
    assert len(request.warnings) == 1
    with pytest.raises(BadRequest) as caught:
        openai.adapter().encode(a_call(strict=True, input=asked), DEPLOYMENT, RESPONSES, {})
    assert caught.value.param == "input"
    untouched = openai.adapter().encode(a_call(strict=True, input=[quoted, own]), DEPLOYMENT, RESPONSES, {})
    assert json.loads(untouched.body)["input"] == [quoted, own]


def test_ids_of_tool_calls_go_without_the_signatures_of_other_providers() -> None:
    signed = wrap("call_1", "c2ln", "gemini")
    asked = [
        {"role": "user", "content": f"what is {signed}?"},
        {"type": "function_call", "call_id": signed, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": signed, "output": "1"},
    ]
    request = openai.adapter().encode(a_call(strict=True, input=asked), DEPLOYMENT, RESPONSES, {})
    sent = json.loads(request.body)["input"]
    assert [item.get("call_id") for item in sent] == [None, "call_1", "call_1"]
    assert sent[0] == asked[0]


# -- streams -------------------------------------------------------------------------------------------------------


def test_a_whole_stream_is_the_bytes_that_came() -> None:
    events = (CREATED, b": keep-alive\n\n", ADDED, DELTA, event("response.completed", response=response()))
    one, out = streamed(*events)
    assert out == b"".join(events)
    assert (one.complete, one.started, one.progress, one.finish, one.output_bytes) == (True, True, 1, "stop", 2)
    usage = one.usage
    assert usage is not None
    assert (usage.fresh_input, usage.cached_input, usage.cache_write_5m) == (12, 5, 3)
    assert (usage.output_text, usage.reasoning, usage.suspect) == (5, 4, False)
    assert json.loads(usage.raw) == USED
    assert one.made == ("resp_1", "msg_1")


def test_only_content_starts_an_answer() -> None:
    one = StreamRelay()
    reasoning = event("response.output_item.added", item={"type": "reasoning", "id": "rs_1", "summary": []})
    for each in (CREATED, reasoning, ADDED, event("response.output_text.delta", delta="")):
        one.feed(each)
        assert not one.started
    for kind in ("output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments"):
        one = StreamRelay()
        one.feed(event(f"response.{kind}.delta", delta="x"))
        assert (one.started, one.output_bytes) == (True, 1)


@pytest.mark.parametrize(
    "item",
    [
        CALL,
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gA"},
        {"type": "image_generation_call", "id": "ig_1", "result": "aGk="},
    ],
)
def test_an_item_that_comes_whole_is_content(item: dict[str, Any]) -> None:
    one = StreamRelay()
    one.feed(event("response.output_item.done", item=item))
    assert one.started


def test_a_tool_of_the_providers_own_at_work_is_progress() -> None:
    one = StreamRelay()
    one.feed(event("response.web_search_call.searching", item_id="ws_1"))
    assert (one.started, one.progress) == (True, 1)


@pytest.mark.parametrize(
    ("status", "fields", "finish"),
    [
        ("completed", {"output": [MESSAGE, CALL]}, "tool_calls"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ("incomplete", {"incomplete_details": {"reason": "steered"}}, "steered"),
        ("incomplete", {"incomplete_details": None}, "incomplete"),
    ],
)
def test_how_a_response_ended_is_its_finish(status: str, fields: dict[str, Any], finish: str) -> None:
    ended = response(status, **fields)
    one, out = streamed(DELTA, event(f"response.{status}", response=ended))
    assert (one.finish, one.complete) == (finish, True)
    assert out.startswith(DELTA)
    assert unary(ended)[0].finish == finish


def test_a_stream_without_its_end_is_a_cut() -> None:
    for events in ((), (CREATED,), (CREATED, ADDED, DELTA), (DELTA, DELTA[:-9]), (DELTA, b"data: [DONE]\n\n")):
        with pytest.raises(StreamCut):
            streamed(*events)


def test_a_sentinel_after_the_end_is_sent_to_nobody() -> None:
    last = event("response.completed", response=response())
    assert streamed(DELTA + last + b"data: [DONE]\n\n")[1] == DELTA + last
    assert streamed(DELTA, last, b"data: [DONE]\n\n")[1] == DELTA + last


def test_a_last_event_without_its_blank_line_is_an_end() -> None:
    last = event("response.completed", response=response())
    one, out = streamed(DELTA, last.rstrip())
    assert one.complete
    assert out == DELTA + last


@pytest.mark.parametrize(
    ("code", "reason"),
    [("server_error", Reason.SERVER_ERROR), ("rate_limit_exceeded", Reason.RATE_LIMITED)],
)
def test_a_failure_of_the_providers_own_before_content_can_go_elsewhere(code: str, reason: Reason) -> None:
    failed = response("failed", output=[], error={"code": code, "message": "our secret trouble"})
    for attempt in (lambda: streamed(CREATED, event("response.failed", response=failed)), lambda: unary(failed)):
        with pytest.raises(UpstreamError) as caught:
            attempt()
        assert caught.value.reason is reason
        assert "secret" not in caught.value.message


def test_any_other_response_that_failed_is_an_answer() -> None:
    prompt = response("failed", output=[], error={"code": "invalid_prompt", "message": "no"})
    late = response("failed", error={"code": "server_error", "message": "x"})
    for events, ended in (((CREATED,), prompt), ((DELTA,), late)):
        last = event("response.failed", response=ended)
        one, out = streamed(*events, last)
        assert out == b"".join(events) + last
        assert (one.finish, one.complete) == ("failed", True)
        assert one.usage is not None
    assert unary(prompt)[0].finish == "failed"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"code": "server_error", "message": "m", "param": None, "sequence_number": 3}, Reason.SERVER_ERROR),
        ({"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}, Reason.OUT_OF_CREDIT),
        ({"code": "context_length_exceeded", "message": "m"}, Reason.CONTEXT_TOO_LONG),
    ],
)
def test_an_error_in_band_is_a_failure_wherever_it_comes(told: dict[str, Any], reason: Reason) -> None:
    for before in ((), (CREATED, DELTA)):
        with pytest.raises(UpstreamError) as caught:
            streamed(*before, event("error", **told))
        assert caught.value.reason is reason


@pytest.mark.parametrize("ends", [event("error", code="server_error", message="m"), b"data: [DONE]\n\n"])
def test_content_that_came_in_one_read_with_a_failure_goes_out_before_it_is_raised(ends: bytes) -> None:
    one = StreamRelay()
    assert b"".join(one.feed(CREATED + ADDED + DELTA + ends + DELTA)) == CREATED + ADDED + DELTA
    for more in (lambda: one.feed(DELTA), one.end):
        with pytest.raises(UpstreamError):
            more()
    nothing_said = StreamRelay()
    with pytest.raises(UpstreamError):  # another candidate may answer
        nothing_said.feed(CREATED + ADDED + ends)


def test_what_is_no_event_is_dropped_and_counted_and_a_bare_error_is_one() -> None:
    one, out = streamed(DELTA, b"data: {nonsense\n\n", b"<html>\n\n", event("response.completed", response=response()))
    assert one.dropped == 2
    assert b"nonsense" not in out
    with pytest.raises(UpstreamError):
        streamed(b'{"error": {"message": "m"}}\n\n')


def test_odd_types_do_not_hide_an_end() -> None:
    odd = {**response(), "output": [{"type": "message", "id": 7, "content": "text"}], "incomplete_details": "none"}
    one, _ = streamed(b'event: x\ndata: {"type": 7}\n\n', event("response.completed", response=odd))
    assert (one.complete, one.finish, one.made) == (True, "stop", ("resp_1",))
    assert unary(odd)[0].finish == "stop"


# -- whole answers -------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_the_bytes_that_came() -> None:
    body = json.dumps(response(output=[MESSAGE, CALL], conversation={"id": "conv_1"})).encode()
    one, out = unary(body)
    assert out == body
    assert (one.complete, one.started, one.finish) == (True, True, "tool_calls")
    assert one.output_bytes == len("Hi") + len('"{}"')
    assert one.made == ("resp_1", "conv_1", "msg_1", "fc_1")
    assert one.usage is not None


def test_an_answer_that_is_not_stored_has_no_ids_to_keep() -> None:
    assert unary(response(store=False))[0].made == ()
    assert streamed(event("response.completed", response=response(store=False)))[0].made == ()


def test_an_answer_in_the_background_is_an_answer() -> None:
    one, _ = unary({"id": "resp_1", "status": "queued", "output": [], "usage": None})
    assert (one.complete, one.finish, one.usage, one.made) == (True, "queued", None, ("resp_1",))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"error": {"message": "m", "code": "server_error"}}']
)
def test_a_200_that_is_no_response_is_a_failure(body: bytes) -> None:
    with pytest.raises(UpstreamError) as caught:
        unary(body)
    assert caught.value.reason is Reason.SERVER_ERROR


# -- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        {**USED, "total_tokens": 99},
        {**USED, "input_tokens_details": {"cached_tokens": 21}},
        {**USED, "output_tokens_details": {"reasoning_tokens": 10}},
    ],
)
def test_a_usage_that_contradicts_itself_is_suspect_and_no_less_than_it_says(usage: dict[str, Any]) -> None:
    read = read_usage(json.dumps(usage).encode(), None)
    assert read is not None
    assert read.suspect
    assert min(read.fresh_input, read.output_text) >= 0


def test_what_counts_nothing_is_no_usage() -> None:
    assert read_usage(b"null", None) is None
    assert read_usage(b"{}", None) is None
    odd = read_usage(b'{"input_tokens": "many"}', "flex")
    assert odd is not None
    assert (odd.suspect, odd.service_tier) == (True, "flex")
