"""Answers of Bedrock, block by block: tools, reasoning, formats, ends, and what goes wrong on the way."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import CLOSED, FORM, SEARCH, a_call, a_tool, chunks, fed, reassembled, unary
from tests.adapters.bedrock_wire import NOVA, OLD_SONNET, decoder, streaming
from tests.fakes.bedrock_wire import called, event, exception, frame, header, said, stream, whole


def told(*blocks: Any, model: str = OLD_SONNET, reason: str = "end_turn", **body: Any) -> dict[str, Any]:
    """Returns what a caller reads of a streamed answer."""
    return reassembled(fed(streaming(model, **body), stream(*blocks, reason=reason)))


def told_whole(*content: Any, model: str = OLD_SONNET, reason: str = "end_turn", **body: Any) -> dict[str, Any]:
    """Returns what a caller reads of an answer in one piece."""
    return unary(fed(decoder(a_call(body), model), [whole(content, reason)]))


# -- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_model_output", "malformed_model_output"),
        ("malformed_tool_use", "malformed_tool_use"),
        ("a_new_one", "a_new_one"),
    ],
)
def test_every_end_has_its_finish_and_an_unknown_one_is_no_stop(native: str, finish: str) -> None:
    for message in (told(said("x"), reason=native), told_whole({"text": "x"}, reason=native)):
        assert (message["finish_reason"], message["native_finish_reason"]) == (finish, native)


def test_usage_comes_after_the_stop_and_the_end_with_it() -> None:
    *events, metadata = stream(said("x"))
    reader = streaming()
    out = b"".join(written for each in events for written in reader.feed(each))
    assert b'"finish_reason":"' not in out
    assert not reader.complete
    out += b"".join(reader.feed(metadata))
    assert reader.complete
    assert out.endswith(b"data: [DONE]\n\n")
    assert list(reader.feed(b"whatever")) == []
    assert list(reader.end()) == []


def test_without_metadata_the_usage_is_unknown_and_the_answer_whole() -> None:
    *events, _ = stream(said("x"))
    reader = streaming()
    message = reassembled(fed(reader, events))
    assert message["finish_reason"] == "stop"
    assert message["usage"] is None
    assert reader.usage is None


def test_an_answer_without_a_stop_reason_is_cut() -> None:
    reader = decoder()
    reader.feed(json.dumps({"output": {"message": {"content": [{"text": "x"}]}}}).encode())
    with pytest.raises(StreamCut):
        list(reader.end())


def test_started_only_on_content() -> None:
    events = list(stream(said("", "x")))
    reader = streaming()
    for each in events[:2]:
        list(reader.feed(each))
        assert not reader.started
    list(reader.feed(events[2]))
    assert (reader.started, reader.progress, reader.output_bytes) == (True, 1, 1)


# -- tools --------------------------------------------------------------------------------------------------------


def test_tool_calls_are_numbered_from_zero_and_an_empty_input_is_an_object() -> None:
    message = told(said("so"), called("a", call_id="1"), called("b", "", '{"q":', "1}", call_id="2"), reason="tool_use")
    assert message["tool_calls"] == [
        {"id": "1", "name": "a", "arguments": "{}"},
        {"id": "2", "name": "b", "arguments": '{"q":1}'},
    ]
    assert message["content"] == "so"


def test_changed_names_come_back_as_the_callers() -> None:
    tools = [a_tool("a.b"), a_tool("a_b")]
    assert told(called("a_b_2"), tools=tools, reason="tool_use")["tool_calls"][0]["name"] == "a.b"
    use = {"toolUse": {"toolUseId": "1", "name": "a_b_2", "input": {}}}
    assert told_whole(use, tools=tools, reason="tool_use")["tool_calls"][0]["name"] == "a.b"


# -- the form of the answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [['{"n": 1}'], ["{", '"n"', ": 1}"], ['{"pr', 'operties"', ': {"n": 1}}']])
def test_the_synthetic_tools_input_is_the_answer(pieces: list[str]) -> None:
    message = told(called("json_tool_call", *pieces), response_format=FORM, reason="tool_use")
    assert json.loads(message["content"]) == {"n": 1}
    assert message["finish_reason"] == "stop"
    assert "tool_calls" not in message
    use = {"toolUse": {"toolUseId": "1", "name": "json_tool_call", "input": json.loads("".join(pieces))}}
    whole_message = told_whole(use, response_format=FORM, reason="tool_use")
    assert json.loads(whole_message["content"]) == {"n": 1}


def test_it_goes_on_piece_by_piece_once_it_is_seen_to_be_plain() -> None:
    reader = streaming(OLD_SONNET, response_format=FORM)
    events = list(stream(called("json_tool_call", '{"n', '": 1', "}"), reason="tool_use"))
    written = [b"".join(reader.feed(each)) for each in events]
    assert [b'"content":"{' in out for out in written[2:5]] == [True, False, False]
    assert all(out for out in written[2:5])


def test_a_property_of_that_name_is_the_callers_own() -> None:
    schema = {"type": "object", "properties": {"properties": CLOSED}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    message = told(called("json_tool_call", '{"properties":', ' {"n": 1}}'), response_format=form, reason="tool_use")
    assert json.loads(message["content"]) == {"properties": {"n": 1}}


def test_a_wrapping_that_is_not_whole_goes_on_as_it_came() -> None:
    message = told(called("json_tool_call", '{"properties": {"n"'), response_format=FORM, reason="max_tokens")
    assert message["content"] == '{"properties": {"n"'
    assert told(called("json_tool_call"), response_format=FORM, reason="tool_use")["content"] == "{}"


def test_a_callers_tool_called_beside_the_format_is_a_call() -> None:
    message = told(called("search", "{}"), response_format=FORM, tools=[SEARCH], model=NOVA, reason="tool_use")
    assert message["finish_reason"] == "tool_calls"


# -- reasoning ----------------------------------------------------------------------------------------------------


def test_reasoning_is_signed_by_its_maker() -> None:
    deltas = [{"reasoningContent": {"text": "h"}}, {"reasoningContent": {"text": "m"}}]
    message = told((None, [*deltas, {"reasoningContent": {"signature": "sig"}}]), said("so"))
    assert message["reasoning_content"] == "hm"
    assert message["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "sig", "provider": "bedrock_anthropic"}
    ]


def test_redacted_reasoning_survives_in_pieces() -> None:
    pieces = [base64.b64encode(each).decode() for each in (b"first", b"second")]
    message = told((None, [{"reasoningContent": {"redactedContent": each}} for each in pieces]), said("x"))
    assert base64.b64decode(message["thinking_blocks"][0]["data"]) == b"firstsecond"


def test_reasoning_that_nobody_signed_is_shown_and_not_kept() -> None:
    message = told((None, [{"reasoningContent": {"text": "hm"}}]), said("x"))
    assert message["reasoning_content"] == "hm"
    assert "thinking_blocks" not in message


# -- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "payload", "reason"),
    [
        ("throttlingException", {"message": "slow down"}, Reason.RATE_LIMITED),
        ("serviceUnavailableException", {"message": "no"}, Reason.OVERLOADED),
        ("internalServerException", {"message": "no"}, Reason.SERVER_ERROR),
        ("modelStreamErrorException", {"message": "no", "originalStatusCode": 500}, Reason.SERVER_ERROR),
        ("modelStreamErrorException", {"message": "no", "originalStatusCode": 529}, Reason.OVERLOADED),
        ("modelTimeoutException", {"message": "no"}, Reason.TIMEOUT),
        ("validationException", {"message": "bad"}, Reason.BAD_REQUEST),
        ("validationException", {"message": "Input is too long for requested model."}, Reason.CONTEXT_TOO_LONG),
        ("somethingNewException", {}, Reason.SERVER_ERROR),
    ],
)
def test_an_exception_in_a_stream_is_an_error_with_its_reason(
    kind: str, payload: dict[str, Any], reason: Reason
) -> None:
    events = list(stream(said("x")))
    reader = streaming()
    out = b"".join(reader.feed(b"".join(events[:2]) + exception(kind, **payload)))  # what came before is passed on
    assert b'"content":"x"' in out
    for ask in (lambda: reader.feed(b""), reader.end):
        with pytest.raises(UpstreamError) as caught:
            list(ask())
        assert caught.value.reason is reason
        assert payload.get("message", "") in caught.value.message
    first = streaming()
    with pytest.raises(UpstreamError) as caught:
        first.feed(exception(kind, **payload))
    assert not first.started


def test_an_error_frame_says_what_it_is_in_its_headers() -> None:
    headers = header(":message-type", "error") + header(":error-code", "ThrottlingException")
    with pytest.raises(UpstreamError) as caught:
        streaming().feed(frame(headers + header(":error-message", "slow down")))
    assert (caught.value.reason, caught.value.message) == (Reason.RATE_LIMITED, "slow down")


def test_an_exception_after_the_stop_is_no_end() -> None:
    *events, _ = stream(said("x"))
    reader = streaming()
    out = b"".join(reader.feed(b"".join(events) + exception("internalServerException", message="no")))
    assert b'finish_reason":"' not in out
    with pytest.raises(UpstreamError):
        list(reader.end())


def test_damage_after_content_is_raised_next() -> None:
    good, bad = b"".join(list(stream(said("x")))[:2]), event("contentBlockDelta")[:-1] + b"\0"
    reader = streaming()
    assert b"".join(reader.feed(good + bad))
    with pytest.raises(UpstreamError, match="damaged"):
        reader.feed(b"")


def test_what_is_not_known_is_dropped_and_counted() -> None:
    reader = streaming()
    events = list(stream(said("x")))
    events[1:1] = [frame(header(":event-type", "messageStart"), b"no JSON"), frame(header(":x", "y"))]
    events.insert(1, event("aNewEvent", contentBlockIndex=0))
    assert reassembled(fed(reader, events))["content"] == "x"
    assert reader.dropped == 2


@pytest.mark.parametrize("body", [b'{"message": "no"}', b"[]", b"{}", b'{"output": {"video": {}}}'])
def test_a_body_of_200_that_is_no_message_is_an_error(body: bytes) -> None:
    reader = decoder()
    reader.feed(body)
    with pytest.raises(UpstreamError) as caught:
        list(reader.end())
    assert caught.value.reason is Reason.SERVER_ERROR


# -- beside -------------------------------------------------------------------------------------------------------


def test_fields_that_were_asked_for_are_passed_as_bedrocks_own() -> None:
    fields = {"stop_sequence": "x"}
    events = list(stream(said("x")))
    events[-2] = event("messageStop", stopReason="stop_sequence", additionalModelResponseFields=fields)
    message = reassembled(fed(streaming(), events))
    assert [each["block"] for each in message["provider_blocks"]] == [{"additionalModelResponseFields": fields}]
    body = whole([{"text": "x"}], additionalModelResponseFields=fields)
    assert unary(fed(decoder(), [body]))["provider_blocks"] == [
        {key: value for key, value in each.items() if key != "index"} for each in message["provider_blocks"]
    ]


def test_a_page_that_is_cited_is_an_annotation_with_its_place() -> None:
    page = {"location": {"web": {"url": "https://e.org/a", "domain": "e.org"}}, "title": "A"}
    message = told(said("Well. "), (None, [{"text": "It is."}, {"citation": page}]))
    assert message["annotations"][0]["url_citation"] == {
        "start_index": 6,
        "end_index": 12,
        "url": "https://e.org/a",
        "title": "A",
    }


def test_the_tier_that_served_is_told() -> None:
    events = list(stream(said("x")))
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    events[-1] = event("metadata", usage=usage, serviceTier={"type": "flex"})
    assert chunks(fed(streaming(), events))[-1]["service_tier"] == "flex"
