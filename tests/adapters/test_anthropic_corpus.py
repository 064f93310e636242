"""Recorded answers of Anthropic, fed in every way a network may deliver them, against a reading of their own."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.adapter import Decoder
from gateway.core.errors import StreamCut
from tests.adapters.anthropic_wire import a_call, chunks, corpus, decoder, fed, reassembled, unary, validator

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
# Vertex and a router of the field hand Anthropic's wire on.
STREAMS = corpus("anthropic.messages.stream", "vertex.messages.stream", "mirascope-router.messages.stream")
ANSWERS = corpus("anthropic.messages", "vertex.messages", "mirascope-router.messages")
CHUNK = validator("CreateChatCompletionStreamResponse")
COMPLETION = validator("CreateChatCompletionResponse")


def streaming() -> Decoder:
    return decoder(a_call(stream=True, stream_options={"include_usage": True}))


def read(sse: str) -> dict[str, Any]:
    """Reads a recorded stream line by line, with nothing of ours, up to its end."""
    text = thinking = ""
    tools: dict[int, dict[str, str]] = {}
    signatures = []
    usage: dict[str, Any] = {}
    stop = None
    for line in sse.splitlines():
        if not line.startswith("data:"):
            continue
        event = json.loads(line[5:])
        if event["type"] == "message_stop":
            break
        if event["type"] == "message_start":
            usage |= event["message"]["usage"]
        elif event["type"] == "content_block_start":
            block = event["content_block"]
            if block["type"] == "tool_use":
                started = json.dumps(block["input"]) if block["input"] else ""
                tools[event["index"]] = {"id": block["id"], "name": block["name"], "arguments": started}
            elif block["type"] == "redacted_thinking":
                signatures.append(block["data"])
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            text += delta.get("text", "")
            thinking += delta.get("thinking", "")
            if "signature" in delta:
                signatures.append(delta["signature"])
            if event["index"] in tools:
                tools[event["index"]]["arguments"] += delta.get("partial_json", "")
        elif event["type"] == "message_delta":
            stop = event["delta"]["stop_reason"]
            usage |= event["usage"]
    return {
        "text": text,
        "thinking": thinking,
        "signatures": signatures,
        "tools": list(tools.values()),
        "stop": stop,
        "usage": usage,
    }


def counted(usage: dict[str, Any]) -> tuple[int, int]:
    """Returns prompt and completion tokens as billed: every iteration where they are listed, else the totals."""
    parts = usage.get("iterations") or [usage]
    prompt = sum(
        (part.get(name) or 0)
        for part in parts
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    return prompt, sum(part["output_tokens"] for part in parts)


def holds(message: dict[str, Any], reader: Decoder, expected: dict[str, Any]) -> None:
    """Asserts that what the caller gets is what was recorded."""
    assert (message["content"] or "") == expected["text"]
    assert message.get("reasoning_content", "") == expected["thinking"]
    kept = [block.get("signature") or block.get("data") for block in message.get("thinking_blocks", [])]
    assert kept == expected["signatures"]
    called = [{**call, "arguments": json.loads(call["arguments"])} for call in message.get("tool_calls", [])]
    assert called == [{**call, "arguments": json.loads(call["arguments"] or "{}")} for call in expected["tools"]]
    assert message["finish_reason"] == reader.finish == FINISHES[expected["stop"]]
    prompt, completion = counted(expected["usage"])
    written = message["usage"]
    assert (written["prompt_tokens"], written["completion_tokens"]) == (prompt, completion)
    assert written["total_tokens"] == prompt + completion
    details = expected["usage"].get("output_tokens_details") or {}
    assert written.get("completion_tokens_details", {}).get("reasoning_tokens", 0) == details.get("thinking_tokens", 0)
    assert reader.usage is not None
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (prompt, completion)
    models = {part.get("model") for part in expected["usage"].get("iterations") or []}
    split = expected["usage"].get("cache_creation")
    # One recording with a server tool splits 12,016 of its 20,718 tokens of cache writes.
    contradicts = bool(split) and sum(split.values()) != expected["usage"]["cache_creation_input_tokens"]
    assert reader.usage.suspect == (bool(models - {None, expected["model"]}) or contradicts)


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    expected = read(record["response"]["sse"])
    expected["model"] = json.loads(record["response"]["sse"].split("data:", 1)[1].split("\n", 1)[0])["message"]["model"]
    reader = streaming()
    whole = fed(reader, [raw])
    holds(reassembled(whole), reader, expected)
    assert reader.dropped == 0

    assert fed(streaming(), [raw[place : place + 1] for place in range(len(raw))]) == whole

    dice = random.Random(record["id"])  # the same cuts in every run
    for _ in range(5):
        edges = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(20))})
        assert fed(streaming(), [raw[begin:end] for begin, end in pairwise(edges)]) == whole


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_at_any_event_is_cut_and_says_so(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    end = raw.index(b"event: message_stop")
    place = raw.find(b"\n\n") + 2
    whole = fed(streaming(), [raw])
    while 1 < place <= end:
        for cut in (place, place - 7):
            reader = streaming()
            out = b"".join(reader.feed(raw[:cut]))
            assert whole.startswith(out)
            assert b'"finish_reason":"' not in out
            assert b"[DONE]" not in out
            with pytest.raises(StreamCut):
                list(reader.end())
        place = raw.find(b"\n\n", place) + 2


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_is_valid_to_openais_schema_and_sdk(record: Any) -> None:
    for chunk in chunks(fed(streaming(), [record["response"]["sse"].encode()])):
        valid(CHUNK, chunk)
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    body = record["response"]["body"]
    raw = json.dumps(body).encode()
    expected = {
        "text": "".join(block["text"] for block in body["content"] if block["type"] == "text"),
        "thinking": "".join(block["thinking"] for block in body["content"] if block["type"] == "thinking"),
        "signatures": [
            block.get("signature") or block["data"] for block in body["content"] if "thinking" in block["type"]
        ],
        "tools": [
            {"id": block["id"], "name": block["name"], "arguments": json.dumps(block["input"])}
            for block in body["content"]
            if block["type"] == "tool_use"
        ],
        "stop": body["stop_reason"],
        "usage": body["usage"],
        "model": body["model"],
    }
    reader = decoder()
    whole = fed(reader, [raw])
    holds(unary(whole), reader, expected)
    assert fed(decoder(), [raw[place : place + 1] for place in range(len(raw))]) == whole
    for cut in range(0, len(raw), 1 + len(raw) // 50):
        with pytest.raises(StreamCut):
            fed(decoder(), [raw[:cut]])


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_is_valid_to_openais_schema_and_sdk(record: Any) -> None:
    completion = json.loads(fed(decoder(), [json.dumps(record["response"]["body"]).encode()]))
    valid(COMPLETION, completion)
    ChatCompletion.model_validate(completion, strict=True)
    kept = completion["choices"][0]["message"].get("provider_blocks", [])
    own = {"text", "thinking", "redacted_thinking", "tool_use"}
    recorded = [block for block in record["response"]["body"]["content"] if block["type"] not in own]
    assert [block["block"] for block in kept] == recorded


def valid(schema: Draft202012Validator | None, value: Any) -> None:
    if schema is None:
        pytest.skip("no ../shared/schemas here")
    schema.validate(value)
