"""Recorded answers of Cohere, fed in every way a network may deliver them, against a reading of their own."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.adapter import Decoder
from gateway.core.errors import StreamCut, UpstreamError
from tests.adapters.anthropic_wire import a_call, chunks, corpus, fed, reassembled, unary, validator
from tests.adapters.cohere_wire import ADAPTER, EMBEDDINGS, PLACE, decoder, embeddings_call
from tests.fakes.cohere import check

V1 = "Cohere's version 1 is not spoken"
CHUNK = validator("CreateChatCompletionStreamResponse")
COMPLETION = validator("CreateChatCompletionResponse")
LIST = validator("CreateEmbeddingResponse")
FINISHES = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def spoken(*names: str) -> list[Any]:
    """Returns the recorded exchanges; those of version 1 are skipped with the reason."""
    out = []
    for parameter in corpus(*names):
        record = parameter.values[0]
        if record is not None and record["request"].get("path", "").startswith("/v1/"):
            parameter = pytest.param(record, id=record["id"], marks=pytest.mark.skip(reason=V1))
        out.append(parameter)
    return out


STREAMS = spoken("cohere.chat.stream", "cohere.generate.stream")
ANSWERS = spoken("cohere.chat", "cohere.generate")


def streaming() -> Decoder:
    return decoder(a_call(stream=True, stream_options={"include_usage": True}))


def read(sse: str) -> dict[str, Any]:
    """Reads a recorded stream line by line, with nothing of ours, as the message that it adds up to."""
    message: dict[str, Any] = {"content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    end: dict[str, Any] = {}
    for line in sse.splitlines():
        if not line.startswith("data: {"):
            continue
        told = json.loads(line[6:])
        piece = (told.get("delta") or {}).get("message") or {}
        if told["type"] == "content-start":
            message["content"].append(dict(piece["content"]))
        elif told["type"] == "content-delta":
            for name, value in piece["content"].items():
                message["content"][told["index"]][name] += value
        elif told["type"] == "tool-plan-delta":
            message["tool_plan"] += piece["tool_plan"]
        elif told["type"] == "tool-call-start":
            message["tool_calls"].append(piece["tool_calls"])
        elif told["type"] == "tool-call-delta":
            message["tool_calls"][told["index"]]["function"]["arguments"] += piece["tool_calls"]["function"][
                "arguments"
            ]
        elif told["type"] == "citation-start":
            message["citations"].append(piece["citations"])
        elif told["type"] == "message-end":
            end = told["delta"]
    return {"message": message, **end}


def holds(message: dict[str, Any], reader: Decoder, answer: dict[str, Any]) -> None:
    """Asserts that what the caller gets is what was recorded."""
    recorded = answer["message"]
    content = recorded.get("content") or []
    text = "".join(block["text"] for block in content if block["type"] == "text")
    assert (message["content"] or "") == text
    thoughts = [block["thinking"] for block in content if block["type"] == "thinking"]
    assert message.get("reasoning_content", "") == "".join(thoughts) + recorded.get("tool_plan", "")
    assert message.get("tool_calls", []) == [
        {"id": call["id"], **call["function"]} for call in recorded.get("tool_calls") or []
    ]
    for call in message.get("tool_calls", []):
        assert isinstance(json.loads(call["arguments"]), dict)
    cited = message.get("citations", [])
    places = ("start_index", "end_index")
    assert [{name: value for name, value in one.items() if name not in places} for one in cited] == (
        recorded.get("citations") or []
    )
    for one in cited:
        assert text[one["start_index"] : one["end_index"]] == one["text"]
    assert message["finish_reason"] == reader.finish == FINISHES[answer["finish_reason"]]
    billed = answer["usage"]["billed_units"]
    written = message["usage"]
    assert (written["prompt_tokens"], written["completion_tokens"]) == (billed["input_tokens"], billed["output_tokens"])
    assert written["total_tokens"] == billed["input_tokens"] + billed["output_tokens"]
    tokens = answer["usage"]["tokens"]
    assert written.get("completion_tokens_details", {}).get("reasoning_tokens", 0) == tokens.get("reasoning_tokens", 0)
    assert written.get("prompt_tokens_details", {}).get("image_tokens", 0) == tokens.get("image_tokens", 0)
    assert reader.usage is not None
    assert not reader.usage.suspect
    assert json.loads(reader.usage.raw) == answer["usage"]


def cuts(raw: bytes, seed: str) -> list[list[bytes]]:
    """Returns the bytes one by one, and cut at random, the same in every run."""
    dice = random.Random(seed)
    ways = [[raw[place : place + 1] for place in range(len(raw))]]
    for _ in range(5):
        edges = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(20))})
        ways.append([raw[begin:end] for begin, end in pairwise(edges)])
    return ways


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    answer = read(record["response"]["sse"])
    reader = streaming()
    if answer["finish_reason"] == "ERROR":
        for way in ([raw], *cuts(raw, record["id"])):
            with pytest.raises(UpstreamError) as caught:
                fed(streaming(), way)
            assert caught.value.message == answer["error"]
        return
    whole = fed(reader, [raw])
    holds(reassembled(whole), reader, answer)
    assert reader.dropped == 0
    for way in cuts(raw, record["id"]):
        assert fed(streaming(), way) == whole


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_at_any_event_is_cut_and_says_so(record: Any) -> None:
    raw = record["response"]["sse"].encode()
    end = raw.index(b"event: message-end")
    place = raw.find(b"\n\n") + 2
    everything = streaming()
    whole = b"".join(everything.feed(raw))
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
    if CHUNK is None:
        pytest.skip("no ../shared/schemas here")
    if read(record["response"]["sse"])["finish_reason"] == "ERROR":
        return
    for chunk in chunks(fed(streaming(), [record["response"]["sse"].encode()])):
        CHUNK.validate(chunk)
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = json.dumps(record["response"]["body"]).encode()
    reader = decoder()
    whole = fed(reader, [raw])
    holds(unary(whole), reader, record["response"]["body"])
    if COMPLETION is not None:
        COMPLETION.validate(json.loads(whole))
    ChatCompletion.model_validate(json.loads(whole), strict=True)
    for way in cuts(raw, record["id"]):
        assert fed(decoder(), way) == whole
    for cut in range(0, len(raw), 1 + len(raw) // 50):
        with pytest.raises(StreamCut):
            fed(decoder(), [raw[:cut]])


@pytest.mark.parametrize("record", spoken("cohere.embeddings"))
def test_recorded_embeddings_are_the_very_floats(record: Any) -> None:
    body = record["response"]["body"]
    if not isinstance(body["embeddings"], dict):
        pytest.skip(V1)
    call = embeddings_call(input=record["request"]["body"]["texts"])
    raw = json.dumps(body).encode()
    out = fed(ADAPTER.decoder(call, PLACE, EMBEDDINGS), [raw])
    answer = json.loads(out)
    assert [row["embedding"] for row in answer["data"]] == body["embeddings"]["float"]
    assert answer["usage"]["prompt_tokens"] == body["meta"]["billed_units"]["input_tokens"]
    if LIST is not None:
        LIST.validate(answer)
    for way in cuts(raw, record["id"])[1:]:
        assert fed(ADAPTER.decoder(call, PLACE, EMBEDDINGS), way) == out
    with pytest.raises(UpstreamError):
        fed(ADAPTER.decoder(call, PLACE, EMBEDDINGS), [raw[:-1]])


@pytest.mark.parametrize("record", spoken("cohere.chat", "cohere.chat.stream", "cohere.embeddings"))
def test_the_strict_fake_takes_what_cohere_took(record: Any) -> None:
    """The fake's rules are no stricter than Cohere's own: real requests, less the nulls of their SDK, pass."""
    body = {name: value for name, value in record["request"]["body"].items() if value is not None}
    for message in body.get("messages", ()):
        for name in [name for name, value in message.items() if value is None]:
            del message[name]
    check(record["request"]["path"], body)
