"""Every recorded Response through the relay: whole, byte by byte, and cut at every event; every request read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from adapters import openai
from adapters.dialects.responses import ResponsesDialect
from gateway.core.errors import BadRequest, StreamCut, UpstreamError
from gateway.core.types import Deployment

pytestmark = pytest.mark.corpus

Line = dict[str, Any]
Reader = Callable[[str], list[Line]]

RESPONSES = ResponsesDialect()
DEPLOYMENT = Deployment("d", "p", "openai", "m", "openai", b"/v1", ())
CONTENT = ("output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments")
# What a translation refuses: it stands for something that OpenAI alone has.
REFUSED = {"conversation", "prompt", "moderation", "previous_response_id", "tools.0"}


def lines(corpus_lines: Reader, form: str) -> list[Line]:
    found = [line for line in corpus_lines("*.responses*.jsonl") if line["surface"] == "responses"]
    return [line for line in found if line["response"]["format"] == form and line["response"]["status"] == 200]


def decoder(stream: bool) -> Any:
    call = RESPONSES.parse("c", json.dumps({"input": "hi", "stream": stream}).encode(), ())
    return openai.adapter().decoder(call, DEPLOYMENT, RESPONSES)


def run(one: Any, reads: Iterable[bytes]) -> bytes:
    out = [piece for read in reads for piece in one.feed(read)]
    return b"".join([*out, *one.end()])


def events_of(stream: str) -> list[Any]:
    data = [line[5:] for line in re.split(r"\r\n|\n|\r", stream) if line.startswith("data:")]
    return [json.loads(each) for each in data if each.strip() != "[DONE]"]


def told(one: Any) -> tuple[Any, ...]:
    return one.started, one.progress, one.finish, one.usage, one.output_bytes, one.dropped, one.made, one.complete


def check_usage(one: Any, usage: Line, where: str) -> None:
    assert (one.usage.input_tokens, one.usage.output_tokens) == (usage["input_tokens"], usage["output_tokens"]), where
    assert one.usage.cached_input == usage["input_tokens_details"]["cached_tokens"], where
    assert one.usage.reasoning == usage["output_tokens_details"]["reasoning_tokens"], where
    assert not one.usage.suspect, where


def test_every_recorded_stream_is_relayed_whole_byte_by_byte_and_with_a_tail(corpus_lines: Reader) -> None:
    taken = lines(corpus_lines, "sse")
    for line in taken:
        source = line["response"]["sse"].encode()
        expected = source.replace(b"data: [DONE]", b"").strip()
        outcomes = []
        for reads in ([source], [bytes([byte]) for byte in source], [source[:-7], source[-7:]]):
            one = decoder(True)
            assert run(one, reads).strip() == expected, line["id"]
            outcomes.append(told(one))
        assert outcomes[0] == outcomes[1] == outcomes[2], line["id"]
        events = events_of(source.decode())
        last = events[-1]["response"]
        said = sum(
            len(event["delta"].encode())
            for event in events
            if event["type"].removeprefix("response.").removesuffix(".delta") in CONTENT and "delta" in event
        )
        assert one.started
        assert one.output_bytes >= said * 0.9, line["id"]
        calls = any(item["type"] in ("function_call", "custom_tool_call") for item in last["output"])
        assert one.finish == ("tool_calls" if calls else "stop"), line["id"]
        check_usage(one, last["usage"], line["id"])
        ids = [last["id"], *(item["id"] for item in last["output"] if item.get("id"))]
        assert set(one.made) - {(last.get("conversation") or {}).get("id")} == (
            set() if last.get("store") is False else set(ids)
        ), line["id"]
    print(f"streams relayed: {len(taken)}")
    assert len(taken) > 30


def test_every_recorded_stream_cut_at_any_event_is_a_cut_until_its_response_has_ended(corpus_lines: Reader) -> None:
    cuts = 0
    for line in lines(corpus_lines, "sse"):
        blocks = re.findall(r".*?(?:\r\n\r\n|\n\n|$)", line["response"]["sse"], re.DOTALL)
        end = next(
            count
            for count, block in enumerate(blocks)
            if "event: response.completed" in block or ('"type":"response.completed"' in block.replace(" ", ""))
        )
        for count in range(end + 1):
            with pytest.raises(StreamCut):
                run(decoder(True), ["".join(blocks[:count]).encode()])
            cuts += 1
        half = "".join(blocks[: end + 1])
        with pytest.raises(StreamCut):
            run(decoder(True), [half[:-9].encode()])
        one = decoder(True)
        run(one, [half.encode()])
        assert one.complete
    print(f"cuts: {cuts}")
    assert cuts > 1000


def test_every_recorded_answer_is_relayed_with_its_usage_and_finish(corpus_lines: Reader) -> None:
    taken = [line for line in lines(corpus_lines, "json") if line["response"]["body"].get("object") == "response"]
    for line in taken:
        answer = line["response"]["body"]
        body = json.dumps(answer).encode()
        one = decoder(False)
        assert run(one, [body[:30], body[30:]]) == body
        assert one.complete
        assert one.started is (answer["status"] == "completed"), line["id"]  # one thought to itself up to its bound
        check_usage(one, answer["usage"], line["id"])
        if answer["status"] == "incomplete":
            assert one.finish == "length"
        else:
            calls = any(item["type"] in ("function_call", "custom_tool_call") for item in answer["output"])
            assert one.finish == ("tool_calls" if calls else "stop"), line["id"]
        for at in range(0, len(body), max(1, len(body) // 20)):
            with pytest.raises(UpstreamError):
                run(decoder(False), [body[:at]])
    print(f"answers relayed: {len(taken)}")
    assert len(taken) > 50


def test_every_recorded_answer_is_told_in_the_other_form(corpus_lines: Reader) -> None:
    whole, streaming = (
        RESPONSES.parse("c", json.dumps({"input": "hi", "stream": stream}).encode(), ()) for stream in (False, True)
    )
    for line in lines(corpus_lines, "json"):
        answer = line["response"]["body"]
        if answer.get("object") != "response":
            continue
        stream = RESPONSES.replay(json.dumps(answer).encode(), False, streaming)
        assert [event["sequence_number"] for event in events_of(stream.decode())] == list(
            range(len(events_of(stream.decode())))
        )
        assert json.loads(RESPONSES.replay(stream, True, whole)) == answer
        assert run(decoder(True), [stream]) == stream
    for line in lines(corpus_lines, "sse"):
        kept = RESPONSES.replay(line["response"]["sse"].encode(), True, whole)
        assert json.loads(kept) == events_of(line["response"]["sse"])[-1]["response"]


def test_every_recorded_request_is_read_or_refused_for_what_openai_alone_has(corpus_lines: Reader) -> None:
    read = 0
    refused: list[str | None] = []
    for line in lines(corpus_lines, "json") + lines(corpus_lines, "sse"):
        if not isinstance(body := line["request"].get("body"), dict) or "model" not in body:
            continue
        call = RESPONSES.parse("c", json.dumps(body).encode(), ())
        assert call.stream is (body.get("stream") is True)
        try:
            conversation = RESPONSES.conversation(call)
        except BadRequest as error:
            refused.append(error.param)
        else:
            read += 1
            assert conversation.messages
            assert len(conversation.tools) == len(body.get("tools") or ())
    print(f"requests read: {read}, refused: {refused}")
    assert set(refused) <= REFUSED
    assert read > 60
