"""Reads Bedrock's Converse; its event stream by botocore's own parser."""

from __future__ import annotations

import json
from typing import Any

from botocore.eventstream import EventStreamBuffer, ParserError

from tests.corpus.reading import Called, Counts, Reading, Said, arguments, unknown

WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def whole(raw: bytes) -> Reading:
    """Reads one answer."""
    body = json.loads(raw)
    reading = Reading(ended=True)
    said = reading.choice()
    for block in body["output"]["message"]["content"]:
        _block(said, block)
    said.finish = WORDS.get(body["stopReason"], unknown(body["stopReason"]))
    reading.counts = counts(body["usage"])
    return reading


def _block(said: Said, block: dict[str, Any]) -> None:
    if "text" in block:
        said.text += block["text"]
    elif block.get("toolUse", {}).get("type") == "server_tool_use":
        said.opaque.append(block["toolUse"]["name"])
    elif "toolUse" in block:
        said.calls.append(Called(block["toolUse"]["name"], block["toolUse"]["input"]))
    elif "reasoningContent" in block:
        reasoning = block["reasoningContent"]
        if "redactedContent" in reasoning:
            said.signatures.append(reasoning["redactedContent"])
            return
        thought = reasoning.get("reasoningText") or {}
        said.reasoning += thought.get("text") or ""
        if thought.get("signature"):
            said.signatures.append(thought["signature"])
    elif "citationsContent" in block:
        said.text += "".join(part.get("text", "") for part in block["citationsContent"].get("content") or [])
    else:
        said.opaque += list(block)


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads frames; the answer has ended with `messageStop`, its usage comes after."""
    reading = Reading()
    said = reading.choice()
    blocks: dict[int, dict[str, Any]] = {}
    buffer = EventStreamBuffer()
    buffer.add_data(raw)
    try:
        for frame in buffer:
            headers = dict(frame.headers.items())
            payload = json.loads(frame.payload) if frame.payload else {}
            if headers.get(":message-type") != "event":
                reading.error = {"type": headers.get(":exception-type") or headers.get(":error-code"), **payload}
                continue
            _frame(reading, blocks, headers[":event-type"], payload)
    except ParserError as error:
        reading.error = str(error)
    for _, block in sorted(blocks.items()):
        if "toolUse" in block:
            said.calls.append(Called(block["toolUse"], arguments(block["input"])))
        said.opaque += [block["server"]] if "server" in block else []
        said.text += block["text"]
        said.reasoning += block["reasoning"]
        if block["signature"]:
            said.signatures.append(block["signature"])
    return reading


def _frame(reading: Reading, blocks: dict[int, dict[str, Any]], kind: str, payload: dict[str, Any]) -> None:
    if kind in ("contentBlockStart", "contentBlockDelta"):
        block = blocks.setdefault(
            payload["contentBlockIndex"], {"text": "", "reasoning": "", "signature": "", "input": ""}
        )
        if "toolUse" in payload.get("start", {}):
            started = payload["start"]["toolUse"]
            block["server" if started.get("type") == "server_tool_use" else "toolUse"] = started["name"]
        delta = payload.get("delta", {})
        block["text"] += delta.get("text", "")
        block["input"] += delta.get("toolUse", {}).get("input", "")
        thought = delta.get("reasoningContent", {})
        block["reasoning"] += thought.get("text", "")
        block["signature"] += thought.get("signature", "") + thought.get("redactedContent", "")
    elif kind == "messageStop":
        reading.choice().finish = WORDS.get(payload["stopReason"], unknown(payload["stopReason"]))
        reading.ended = True
    elif kind == "metadata":
        reading.counts = counts(payload["usage"])


def counts(usage: dict[str, Any]) -> Counts:
    """Reads usage: input excludes what was read from and written to the cache."""
    cached = usage.get("cacheReadInputTokens") or 0
    written = usage.get("cacheWriteInputTokens") or 0
    return Counts(usage["inputTokens"] + cached + written, cached, written, usage["outputTokens"])
