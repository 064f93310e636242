"""Anthropic to Anthropic: the bytes go through as they are, and what is told of them is true."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest

from adapters._anthropic_relay import BYTES_PER_TOKEN
from adapters._anthropic_request import encode_request
from adapters._signatures import wrap
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.messages import MessagesDialect
from gateway.core.adapter import Decoder, UpstreamRequest
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.types import Call, Headers
from tests.adapters.anthropic_wire import ADAPTER, a_deployment, corpus, event, fed, said, stream
from tests.adapters.test_anthropic_corpus import FINISHES, counted, read

MESSAGES = MessagesDialect()
COUNT = CountTokensDialect()
STREAMS = corpus("anthropic.messages.stream", "vertex.messages.stream", "mirascope-router.messages.stream")
ANSWERS = corpus("anthropic.messages", "vertex.messages", "mirascope-router.messages")
COUNTS = corpus("anthropic.count_tokens")
HI = {"role": "user", "content": "hi"}


def a_call(body: bytes | None = None, headers: Headers = (), **fields: Any) -> Call:
    asked = body or json.dumps({"model": "m", "max_tokens": 9, "messages": [HI], **fields}).encode()
    return MESSAGES.parse("c", asked, headers)


def encode(call: Call, model: str = "claude-sonnet-4-5") -> UpstreamRequest:
    return ADAPTER.encode(call, a_deployment(model), MESSAGES, {})


def sent(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encode(a_call(**fields)).body)
    return body


def decoder(stream: bool = True) -> Decoder:
    return ADAPTER.decoder(a_call(stream=stream), a_deployment(), MESSAGES)


def without_model(body: Any) -> Any:
    return {name: value for name, value in body.items() if name != "model"}


# -- the request --------------------------------------------------------------------------------------------------


def test_every_member_but_the_model_keeps_its_bytes_and_its_place() -> None:
    body = b'{"max_tokens": 9,"messages":[ {"role":"user","content":"\\u00fc"} ],"model":"m","new": {"a":1.50e2}}'
    request = encode(a_call(body), "claude-x")
    assert request.body == (
        b'{"max_tokens":9,"messages":[ {"role":"user","content":"\\u00fc"} ],"model":"claude-x","new":{"a":1.50e2}}'
    )
    assert request.path == b"/v1/messages"
    assert request.warnings == ()


def test_the_callers_version_and_betas_go_on_and_ours_stands_in_for_none() -> None:
    assert (b"anthropic-version", b"2023-06-01") in encode(a_call()).headers
    request = encode(a_call(headers=((b"anthropic-version", b"2026-10-21"), (b"anthropic-beta", b"x-2026"))))
    versions = [value for name, value in request.headers if name == b"anthropic-version"]
    assert versions == [b"2026-10-21"]
    assert (b"anthropic-beta", b"x-2026") in request.headers
    assert request.path == b"/v1/messages?beta=true"


def test_a_count_goes_where_counts_are_asked() -> None:
    body = json.dumps({"model": "m", "messages": [HI]}).encode()
    request = ADAPTER.encode(COUNT.parse("c", body, ()), a_deployment("claude-x"), COUNT, {})
    assert request.path == b"/v1/messages/count_tokens"
    assert json.loads(request.body) == {"model": "claude-x", "messages": [HI]}


def test_what_other_providers_signed_goes_no_further_and_ids_are_as_they_were() -> None:
    own = {"type": "thinking", "thinking": "mine", "signature": "c2ln"}
    history = [
        HI,
        {
            "role": "assistant",
            "content": [
                own,
                {"type": "thinking", "thinking": "hm", "signature": wrap("rs_1", "ZW5j", "openai")},
                {"type": "thinking", "thinking": "hm", "signature": wrap("", "", None)},
                {"type": "redacted_thinking", "data": wrap("block", "{}", "openai")},
                {"type": "redacted_thinking", "data": "enc"},
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": wrap("t", "c2ln", "gemini"), "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": wrap("t", "c2ln", "gemini")}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": wrap("", "s", "x")}]},
        HI,
    ]
    request = encode(a_call(messages=history))
    assert json.loads(request.body)["messages"] == [
        HI,
        {
            "role": "assistant",
            "content": [
                own,
                {"type": "redacted_thinking", "data": "enc"},
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
        HI,
    ]
    assert len(request.warnings) == 1
    with pytest.raises(BadRequest):
        encode(a_call(messages=history, headers=((b"x-headgate-strict", b"true"),)))


def test_ids_of_another_provider_that_anthropic_refuses_are_written_otherwise() -> None:
    ids = ["functions.ls:0", "functions_ls_0", "toolu_1", wrap("a|b", "c2ln", "gemini")]
    history = [
        HI,
        {"role": "assistant", "content": [{"type": "tool_use", "id": one, "name": "f", "input": {}} for one in ids]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": one, "content": one} for one in ids]},
    ]
    called, answered = json.loads(encode(a_call(messages=history)).body)["messages"][1:]
    sent_ids = [block["id"] for block in called["content"]]
    assert sent_ids == ["functions_ls_0_2", "functions_ls_0", "toolu_1", "a_b"]
    assert [block["tool_use_id"] for block in answered["content"]] == sent_ids
    assert [block["content"] for block in answered["content"]] == ids


def test_a_history_whose_ids_are_fine_keeps_its_bytes() -> None:
    kept = (
        b'[{"role":"user",  "content":"\\"tool_use_id\\": \\"a.b\\""},'
        b'{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"tool_use_id":1}}]},'
        b'{"role":"user","content":[{"type":"tool_result","tool_use_id" : "t","content":"x.y"}]}]'
    )
    call = MESSAGES.parse("c", b'{"model":"m","max_tokens":9,"messages":' + kept + b"}", ())
    assert kept in encode(call).body


@pytest.mark.parametrize(
    ("thinking", "kept"), [({"type": "enabled", "budget_tokens": 1024}, False), ({"type": "adaptive"}, True)]
)
def test_a_budget_gives_way_in_a_loop_of_tools_that_another_provider_began(thinking: Any, kept: bool) -> None:
    history = [
        HI,
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": wrap("", "", None)},
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
    ]
    assert ("thinking" in sent(messages=history, thinking=thinking)) is kept


# -- recorded answers ---------------------------------------------------------------------------------------------


def up_to_its_end(raw: bytes) -> bytes:
    """Returns a recorded stream up to its `message_stop`, after which recorders of the field put more."""
    return raw[: raw.index(b"\n\n", raw.index(b"event: message_stop")) + 2]


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_goes_through_untouched_however_it_is_cut_into_reads(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    expected = read(record["response"]["sse"])
    whole = up_to_its_end(raw)
    dice = random.Random(record["id"])
    ways: list[Iterable[bytes]] = [[raw], (raw[place : place + 1] for place in range(len(raw)))]
    edges = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(20))})
    ways.append(raw[begin:end] for begin, end in pairwise(edges))
    for pieces in ways:
        reader = decoder()
        assert fed(reader, pieces) == whole
        assert reader.complete
        assert reader.dropped == 0
        assert reader.finish == FINISHES[expected["stop"]]
        assert reader.usage is not None
        assert (reader.usage.input_tokens, reader.usage.output_tokens) == counted(expected["usage"])
        assert not reader.usage.estimated
        assert reader.started


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_at_any_event_is_cut_and_says_so(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    end = raw.index(b"event: message_stop")
    place = raw.find(b"\n\n") + 2
    while 1 < place <= end:
        for cut in (place, place - 7):
            reader = decoder()
            out = b"".join(reader.feed(raw[:cut]))
            assert raw.startswith(out)
            with pytest.raises(StreamCut):
                list(reader.end())
            assert not reader.complete
            assert (reader.usage is not None) is out.startswith(b"event: message_start")
        place = raw.find(b"\n\n", place) + 2


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_goes_through_untouched(record: Any) -> None:
    body = record["response"]["body"]
    raw = json.dumps(body).encode()
    for pieces in ([raw], [raw[place : place + 1] for place in range(len(raw))]):
        reader = decoder(stream=False)
        assert fed(reader, pieces) == raw
        assert reader.finish == FINISHES[body["stop_reason"]]
        assert reader.usage is not None
        assert (reader.usage.input_tokens, reader.usage.output_tokens) == counted(body["usage"])
        assert reader.started
    for cut in range(0, len(raw), 1 + len(raw) // 50):
        with pytest.raises(StreamCut):
            fed(decoder(stream=False), [raw[:cut]])


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_is_kept_whole_and_told_again(record: Any) -> None:
    kept = up_to_its_end(record["response"]["sse"].encode())
    whole = MESSAGES.replay(kept, True, a_call())
    told = MESSAGES.replay(whole, False, a_call(stream=True))
    read_again = read(told.decode())
    first = read(kept.decode())
    for name in ("text", "thinking", "signatures", "stop"):
        assert read_again[name] == first[name]
    called = [{**tool, "arguments": json.loads(tool["arguments"] or "{}")} for tool in first["tools"]]
    assert [{**tool, "arguments": json.loads(tool["arguments"])} for tool in read_again["tools"]] == called
    assert json.loads(MESSAGES.replay(told, True, a_call())) == json.loads(whole)


@pytest.mark.parametrize("record", COUNTS)
def test_a_recorded_count_goes_through_and_costs_nothing(record: Any) -> None:
    raw = json.dumps(record["response"]["body"]).encode()
    call = COUNT.parse("c", json.dumps(record["request"]["body"]).encode(), ())
    reader = ADAPTER.decoder(call, a_deployment(), COUNT)
    assert fed(reader, [raw[:5], raw[5:]]) == raw
    assert reader.usage is None
    assert reader.started
    for wrong in (b"{}", raw[:-1], b"[]"):
        with pytest.raises(UpstreamError):
            fed(ADAPTER.decoder(call, a_deployment(), COUNT), [wrong])


# -- recorded requests --------------------------------------------------------------------------------------------

REQUESTS = [each for each in (*STREAMS, *ANSWERS) if not each.values[0]["request"].get("missing")]


def as_blocks(content: Any) -> list[Any]:
    """Returns content as blocks without what says nothing: a text for a list of one, no failure, no mark of none."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    kept = []
    for block in blocks:
        inner = {
            name: value for name, value in block.items() if value is not None and (name, value) != ("is_error", False)
        }
        inner.pop("caller", None)
        if block["type"] == "tool_result":
            inner["content"] = as_blocks(block.get("content"))
        if block["type"] == "text" and not block["text"].strip():
            continue
        if block["type"] == "text" and not block.get("citations"):
            inner.pop("citations", None)
        kept.append(inner)
    return kept


@pytest.mark.parametrize("record", REQUESTS)
def test_a_recorded_request_read_to_blocks_and_written_again_keeps_every_block(record: Any) -> None:
    asked = record["request"]["body"]
    call = a_call(json.dumps(asked).encode())
    model = asked.get("model") or record["model"]
    written = json.loads(encode_request(call, MESSAGES.conversation(call), a_deployment(model)).body)
    turns: list[tuple[str, list[Any]]] = []
    for message in asked["messages"]:
        blocks = as_blocks(message["content"])
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        elif blocks:
            turns.append((message["role"], blocks))
    assert [(turn["role"], as_blocks(turn["content"])) for turn in written["messages"]] == turns
    assert as_blocks(written.get("system")) == as_blocks(asked.get("system"))
    assert [tool["name"] if "name" in tool else tool["type"] for tool in written.get("tools", [])] == [
        tool["name"] if "name" in tool else tool["type"] for tool in asked.get("tools", [])
    ]
    for name in ("max_tokens", "stop_sequences", "mcp_servers", "container", "context_management", "cache_control"):
        assert written.get(name) == asked.get(name)
    if asked.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        assert written["thinking"] == asked["thinking"]
    assert without_model(json.loads(encode(call).body)) == without_model(asked)


# -- what goes wrong ----------------------------------------------------------------------------------------------


def test_content_is_what_starts_an_answer() -> None:
    pieces = list(stream([said("Hi", " there")]))
    reader = decoder()
    for piece in pieces[:3]:  # message_start, ping, an empty text block
        assert list(reader.feed(piece)) == [piece]
        assert not reader.started
    assert list(reader.feed(pieces[3])) == [pieces[3]]
    assert reader.started
    assert (reader.progress, reader.output_bytes) == (1, 2)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "redacted_thinking", "data": "enc"},
    ],
)
def test_a_block_that_is_no_text_starts_with_its_name(block: Any) -> None:
    reader = decoder()
    list(reader.feed(event("content_block_start", index=0, content_block=block)))
    assert reader.started


def test_an_error_in_band_is_raised_after_what_came_before_it() -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    pieces = list(stream([said("Hi")]))
    reader = decoder()
    joined = b"".join(pieces[:4])
    assert b"".join(reader.feed(joined + event("error", error=error))) == joined
    with pytest.raises(UpstreamError) as caught:
        list(reader.feed(b""))
    assert caught.value.reason is Reason.OVERLOADED
    with pytest.raises(UpstreamError):
        list(decoder().feed(event("error", error=error)))
    with pytest.raises(UpstreamError):
        list(decoder().feed(b'{"type":"error","error":{"type":"api_error","message":"x"}}\n\n'))


def test_what_is_no_json_is_dropped_and_what_is_unknown_goes_on() -> None:
    pieces = list(stream([said("Hi")]))
    new = b'event: new\ndata: {"type":"not_invented_yet","delta":[1]}\n\n'
    comment = b": keep-alive\n\n"
    reader = decoder()
    out = fed(reader, [pieces[0], b"event: x\ndata: {no\n\n", new, comment, *pieces[1:]])
    assert out == b"".join([pieces[0], new, comment, *pieces[1:]])
    assert reader.dropped == 1


def test_a_stop_without_a_reason_is_a_cut() -> None:
    with pytest.raises(StreamCut):
        fed(decoder(), stream([said("Hi")], stop_reason=None))


def test_an_unknown_reason_is_kept_as_it_is() -> None:
    reader = decoder()
    fed(reader, stream([said("Hi")], stop_reason="tired"))
    assert reader.finish == "tired"


def test_the_last_event_may_lack_its_blank_line_and_nothing_follows_it() -> None:
    raw = b"".join(stream([said("Hi")]))
    assert fed(decoder(), [raw[:-1]]) == raw
    assert fed(decoder(), [raw + event("error", error={"type": "api_error", "message": "late"})]) == raw
    crlf = raw.replace(b"\n", b"\r\n")
    assert fed(decoder(), [crlf]) == crlf


def test_what_was_said_before_a_cut_is_counted_and_called_an_estimate() -> None:
    pieces = list(stream([said("x" * 100)]))
    reader = decoder()
    for piece in pieces[:4]:
        list(reader.feed(piece))
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (10, 100 // BYTES_PER_TOKEN)
    assert reader.usage.estimated
    fed(reader, pieces[4:])
    assert (reader.usage.output_tokens, reader.usage.estimated) == (7, False)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type":"error","error":{"type":"rate_limit_error","message":"x"}}', Reason.RATE_LIMITED),
        (b'{"id":"x"}', Reason.SERVER_ERROR),
        (b'{"content":[],"stop_reason":null}', Reason.SERVER_ERROR),
        (b"[]", Reason.SERVER_ERROR),
        (b"<html>", Reason.STREAM_CUT),
    ],
)
def test_a_200_that_holds_no_message_is_a_failure(body: bytes, reason: Reason) -> None:
    with pytest.raises(UpstreamError) as caught:
        fed(decoder(stream=False), [body])
    assert caught.value.reason is reason
