"""Reads Anthropic's Messages, as Anthropic, its resellers and Headgate write them."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, Said, arguments, events, objects, unknown

WORDS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def whole(raw: bytes) -> Reading:
    """Reads one message."""
    body = json.loads(raw)
    reading = Reading(ended=True)
    if body.get("type") == "error":
        reading.error = body["error"]
        return reading
    said = reading.choice()
    for block in body["content"]:
        _block(said, block, "")
    _stop(said, body)
    reading.counts = counts(body["usage"])
    return reading


def counted(raw: bytes) -> Reading:
    """Reads a count of tokens: the one number that it is."""
    return Reading(ended=True, vectors=[[json.loads(raw)["input_tokens"]]])


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads events; the answer has ended with `message_stop`."""
    reading = Reading()
    said = reading.choice()
    usage: dict[str, Any] = {}
    opened: dict[int, dict[str, Any]] = {}
    written: dict[int, str] = {}
    for event in events(raw, cut):
        if event.name == "error":
            reading.error = event.data
    for event in objects(raw, cut):
        kind = event.get("type")
        if kind == "message_start":
            usage |= event["message"].get("usage") or {}
        elif kind == "content_block_start":
            opened[event["index"]] = dict(event["content_block"])
            written[event["index"]] = ""
        elif kind == "content_block_delta":
            delta = event["delta"]
            block = opened.setdefault(event["index"], {"type": "text"})
            for field in ("text", "thinking", "signature"):
                if field in delta:
                    block[field] = (block.get(field) or "") + delta[field]
            written[event["index"]] = written.get(event["index"], "") + delta.get("partial_json", "")
        elif kind == "message_delta":
            _stop(said, event["delta"])
            usage |= {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
        elif kind == "message_stop":
            reading.ended = True
            break
        elif kind == "error":
            reading.error = event["error"]
    for index, block in opened.items():
        _block(said, block, written[index])
    if not reading.ended:
        said.finish = None
    reading.counts = counts(usage) if usage else None
    return reading


def _block(said: Said, block: dict[str, Any], written: str) -> None:
    kind = block["type"]
    if kind == "text":
        said.text += block.get("text") or ""
    elif kind == "thinking":
        said.reasoning += block.get("thinking") or ""
        if block.get("signature"):
            said.signatures.append(block["signature"])
    elif kind == "redacted_thinking":
        said.signatures.append(block["data"])
    elif kind == "tool_use":
        said.calls.append(Called(block["name"], arguments(written) if written else block.get("input") or {}))
    elif kind == "image":
        said.images.append(block["source"]["data"])
    else:
        said.opaque.append(kind)


def _stop(said: Said, stopped: dict[str, Any]) -> None:
    native = stopped.get("stop_reason")
    if native:
        said.finish = WORDS.get(native, unknown(native))
        said.refusal = (stopped.get("stop_details") or {}).get("explanation") or ""


def counts(usage: dict[str, Any]) -> Counts:
    """Reads usage: cache reads and writes are beside the input, and a compaction's tokens are in iterations alone."""
    parts = usage.get("iterations") or [usage]
    into, cached, written, out = (
        sum(part.get(name) or 0 for part in parts)
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    )
    details = usage.get("output_tokens_details") or {}
    return Counts(into + cached + written, cached, written, out, details.get("thinking_tokens") or 0)
