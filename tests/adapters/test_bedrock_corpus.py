"""Recorded answers of Bedrock, fed in every way a network may deliver them, against a reading of their own."""

from __future__ import annotations

import base64
import json
import random
from itertools import accumulate, pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.adapter import Decoder
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.anthropic_wire import chunks, corpus, fed, reassembled, unary, validator
from tests.adapters.bedrock_wire import ADAPTER, decoder, streaming
from tests.fakes.bedrock_wire import problem_of

FINISHES = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
}
STREAMS = corpus("bedrock.converse.stream")
ANSWERS = corpus("bedrock.converse")
# Headgate asks through Converse alone: bodies of InvokeModel are each model's own, and read for embeddings only. Their
# frames are read in test_eventstream.py.
INVOKED = corpus("bedrock.invoke", "bedrock.invoke.stream")
FAULTS = corpus("errors")
CHUNK = validator("CreateChatCompletionStreamResponse")
COMPLETION = validator("CreateChatCompletionResponse")


def frames_of(raw: bytes) -> list[tuple[dict[str, Any], dict[str, Any], int]]:
    """Returns headers, payload and size of each frame, as botocore reads them."""
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    return [(each.headers, json.loads(each.payload), each.prelude.total_length) for each in buffer]


def read(raw: bytes) -> dict[str, Any]:
    """Reads a recorded stream event by event, with nothing of ours."""
    blocks: dict[int, dict[str, Any]] = {}
    last: dict[str, Any] = {}
    for headers, payload, _ in frames_of(raw):
        kind = headers[":event-type"]
        if kind in ("messageStop", "metadata"):
            last |= payload
        if "contentBlockIndex" not in payload:
            continue
        block = blocks.setdefault(payload["contentBlockIndex"], {})
        if kind == "contentBlockStart":
            block |= {name: dict(value) for name, value in payload["start"].items()}
        elif kind == "contentBlockDelta":
            for name, value in payload["delta"].items():
                if name == "text":
                    block["text"] = block.get("text", "") + value
                elif name == "toolUse":
                    block["toolUse"]["input"] = block["toolUse"].get("input", "") + value["input"]
                elif name == "reasoningContent":
                    inner = block.setdefault("reasoningContent", {"reasoningText": {}})["reasoningText"]
                    for part, piece in value.items():
                        inner[part] = inner.get(part, "") + piece
                elif name == "citation":
                    block.setdefault("citations", []).append(value)
                elif name == "toolResult":
                    block["toolResult"].setdefault("content", []).extend(value)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"].get("input") or "{}")
    return {"content": list(blocks.values()), **last}


def flat(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns blocks with their texts beside their citations, whichever way they came."""
    found = []
    for block in content:
        cited = block.get("citationsContent")
        if cited is not None:
            said = "".join(part["text"] for part in cited["content"])
            found.append({"text": said, "citations": cited["citations"]})
        else:
            found.append(block)
    return found


def holds(message: dict[str, Any], reader: Decoder, expected: dict[str, Any]) -> None:
    """Asserts that what the caller gets is what was recorded."""
    content = flat(expected["content"])
    reasoning = [block["reasoningContent"] for block in content if block.get("reasoningContent")]
    texts = [inner["reasoningText"] for inner in reasoning if "reasoningText" in inner]
    assert (message["content"] or "") == "".join(block.get("text", "") for block in content)
    assert message.get("reasoning_content", "") == "".join(inner.get("text", "") for inner in texts)
    signed = [inner["signature"] for inner in texts if "signature" in inner]
    signed += [inner["redactedContent"] for inner in reasoning if "redactedContent" in inner]
    kept = message.get("thinking_blocks", [])
    assert [block.get("signature") or block.get("data") for block in kept] == signed
    tools = [block["toolUse"] for block in content if "toolUse" in block]
    own = [tool for tool in tools if tool.get("type") != "server_tool_use"]
    called = [{**call, "arguments": json.loads(call["arguments"])} for call in message.get("tool_calls", [])]
    assert called == [{"id": tool["toolUseId"], "name": tool["name"], "arguments": tool["input"]} for tool in own]
    blocks = [block["block"] for block in message.get("provider_blocks", [])]
    served = [tool for tool in tools if tool.get("type") == "server_tool_use"]
    assert [block["toolUse"] for block in blocks if "toolUse" in block] == served
    assert [block["toolResult"] for block in blocks if "toolResult" in block] == [
        block["toolResult"] for block in content if "toolResult" in block
    ]
    assert [block["trace"] for block in blocks if "trace" in block] == [
        trace for trace in [expected.get("trace")] if trace
    ]
    cited = [citation for block in content for citation in block.get("citations", [])]
    assert len(message.get("citations", [])) + len(message.get("annotations", [])) == len(cited)
    assert message["finish_reason"] == reader.finish == FINISHES[expected["stopReason"]]
    assert message["native_finish_reason"] == expected["stopReason"]
    used = expected["usage"]
    prompt = sum(used.get(name, 0) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
    written = message["usage"]
    assert (written["prompt_tokens"], written["completion_tokens"]) == (prompt, used["outputTokens"])
    assert written["total_tokens"] == used["totalTokens"]
    assert written.get("prompt_tokens_details", {}).get("cached_tokens", 0) == used.get("cacheReadInputTokens", 0)
    assert reader.usage is not None
    assert not reader.usage.suspect
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (prompt, used["outputTokens"])


def cuts(raw: bytes, seed: str) -> list[list[bytes]]:
    """Returns the bytes cut into reads: one by one, and at random."""
    dice = random.Random(seed)  # the same cuts in every run
    ways = [[raw[place : place + 1] for place in range(len(raw))]]
    for _ in range(5):
        edges = sorted({0, len(raw), *(dice.randrange(len(raw)) for _ in range(20))})
        ways.append([raw[begin:end] for begin, end in pairwise(edges)])
    return ways


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    raw = base64.b64decode(record["response"]["body_b64"])
    model = record["model"]
    reader = streaming(model)
    whole = fed(reader, [raw])
    holds(reassembled(whole), reader, read(raw))
    assert reader.dropped == 0
    assert reader.complete
    for pieces in cuts(raw, record["id"]):
        assert fed(streaming(model), pieces) == whole


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_at_any_frame_or_within_it_is_cut_and_says_so(record: Any) -> None:
    raw = base64.b64decode(record["response"]["body_b64"])
    frames = frames_of(raw)
    whole = fed(streaming(record["model"]), [raw])
    stopped = next(place for place, (headers, _, _) in enumerate(frames) if headers[":event-type"] == "messageStop")
    for index, end in enumerate(accumulate((size for _, _, size in frames), initial=0)):
        for cut in (end, end + 7):
            if cut >= len(raw):
                continue
            reader = streaming(record["model"])
            out = b"".join(reader.feed(raw[:cut]))
            assert whole.startswith(out)
            assert b'"finish_reason":"' not in out
            assert b"[DONE]" not in out
            if cut == end and index > stopped:  # only the usage is missing: the answer is whole, and its usage unknown
                rest = b"".join(reader.end())
                assert reader.finish == FINISHES[read(raw)["stopReason"]]
                assert reader.usage is None
                assert rest.endswith(b"data: [DONE]\n\n")
                continue
            with pytest.raises(StreamCut):
                list(reader.end())


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_is_valid_to_openais_schema_and_sdk(record: Any) -> None:
    for chunk in chunks(fed(streaming(record["model"]), [base64.b64decode(record["response"]["body_b64"])])):
        if CHUNK is not None:
            assert not list(CHUNK.iter_errors(chunk))
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    body = record["response"]["body"]
    raw = json.dumps(body).encode()
    reader = decoder(model=record["model"])
    whole = fed(reader, [raw])
    expected = {**body, "content": body["output"]["message"]["content"]}
    if record["id"] == "bedrock.converse-e9ae4841c9":  # made by hand: an empty reasoningContent
        expected["content"] = [block for block in expected["content"] if block != {"reasoningContent": {}}]
    holds(unary(whole), reader, expected)
    for pieces in cuts(raw, record["id"]):
        assert fed(decoder(model=record["model"]), pieces) == whole


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_is_valid_to_openais_schema_and_sdk(record: Any) -> None:
    body = json.loads(fed(decoder(model=record["model"]), [json.dumps(record["response"]["body"]).encode()]))
    if COMPLETION is not None:
        assert not list(COMPLETION.iter_errors(body))
    ChatCompletion.model_validate(body, strict=True)


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_cut_anywhere_is_cut(record: Any) -> None:
    raw = json.dumps(record["response"]["body"]).encode()
    for cut in range(1, len(raw), max(1, len(raw) // 7)):
        reader = decoder(model=record["model"])
        assert list(reader.feed(raw[:cut])) == []
        with pytest.raises(StreamCut):
            list(reader.end())


@pytest.mark.parametrize("record", [*STREAMS, *ANSWERS])
def test_the_fake_finds_nothing_wrong_with_what_bedrock_took(record: Any) -> None:
    body = record["request"]["body"]
    if any("bytes" in str(mark) or "media" in str(mark) for mark in record.get("modified") or ()):
        pytest.skip("its media were cut by the recorder")
    assert problem_of(record["model"], body, streamed=record["stream"]) is None


@pytest.mark.parametrize("record", INVOKED)
def test_an_answer_of_invoke_model_is_not_taken_for_one_of_converse(record: Any) -> None:
    if record["stream"]:
        reader = streaming(record["model"])
        assert list(reader.feed(base64.b64decode(record["response"]["body_b64"]))) == []
        with pytest.raises(StreamCut):
            list(reader.end())
        return
    reader = decoder(model=record["model"])
    reader.feed(json.dumps(record["response"]["body"]).encode())
    with pytest.raises(UpstreamError, match="no message"):
        list(reader.end())


REASONS = {
    "bedrock.converse-06ff9c52f4": Reason.CONTEXT_TOO_LONG,
    "bedrock.converse-ea3e6abd31": Reason.NOT_FOUND,
    "bedrock.converse-fe754fc8d9": Reason.UNAUTHENTICATED,
    "bedrock.count_tokens-cfb87e3f5b": Reason.NOT_FOUND,
    "bedrock.invoke-451504e531": Reason.NOT_FOUND,
    "bedrock.invoke-7756980dcf": Reason.UNAUTHENTICATED,
}


@pytest.mark.parametrize("record", [each for each in FAULTS if each.id is None or each.id.startswith("bedrock.")])
def test_a_recorded_error_has_its_reason(record: Any) -> None:
    response = record["response"]
    headers = tuple((name.encode(), value.encode()) for name, value in response["headers"].items())
    failure = ADAPTER.fault(response["status"], headers, json.dumps(response["body"]).encode())
    assert failure.reason is REASONS.get(record["id"], Reason.BAD_REQUEST)
    assert failure.status == response["status"]
    assert failure.message == response["body"]["message"]
    assert not failure.named_by_caller
