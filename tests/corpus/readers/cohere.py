"""Reads Cohere's chat, version 2."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, Said, arguments, objects, unknown

WORDS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}


def whole(raw: bytes) -> Reading:
    """Reads one answer: the plan before tool calls is reasoning."""
    body = json.loads(raw)
    reading = Reading(ended=True)
    said = reading.choice()
    message = body["message"]
    said.reasoning += message.get("tool_plan") or ""
    for part in message.get("content") or []:
        _part(said, part)
    for call in message.get("tool_calls") or []:
        said.calls.append(Called(call["function"]["name"], arguments(call["function"]["arguments"])))
    said.finish = WORDS.get(body["finish_reason"], unknown(body["finish_reason"]))
    reading.counts = counts(body.get("usage"))
    return reading


def _part(said: Said, part: dict[str, Any]) -> None:
    said.text += part.get("text") or ""
    said.reasoning += part.get("thinking") or ""


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads events; the answer has ended with `message-end`, which may hold an error."""
    reading = Reading()
    said = reading.choice()
    calls: dict[int, list[str]] = {}
    for event in objects(raw, cut):
        kind = event.get("type")
        delta = event.get("delta") or {}
        message = delta.get("message") or {}
        if kind in ("content-start", "content-delta"):
            _part(said, message["content"])
        elif kind == "tool-plan-delta":
            said.reasoning += message["tool_plan"]
        elif kind == "tool-call-start":
            function = message["tool_calls"]["function"]
            calls[event["index"]] = [function["name"], function["arguments"]]
        elif kind == "tool-call-delta":
            calls[event["index"]][1] += message["tool_calls"]["function"]["arguments"]
        elif kind == "message-end":
            reading.ended = True
            native = delta.get("finish_reason")
            if delta.get("error") or native in ("ERROR", "ERROR_TOXIC", "TIMEOUT"):
                reading.error = delta.get("error") or native
            said.finish = WORDS.get(native, unknown(str(native)))
            reading.counts = counts(delta.get("usage"))
    said.calls = [Called(name, arguments(written)) for name, written in calls.values()]
    return reading


def counts(usage: Any) -> Counts | None:
    """Reads usage: what is billed, which leaves out what Cohere puts in by itself, cached or not."""
    if not usage:
        return None
    tokens = usage.get("tokens") or {}
    billed = usage.get("billed_units") or tokens
    out = int(billed.get("output_tokens") or 0)
    return Counts(
        int(billed.get("input_tokens") or 0), out=out, reasoning=min(out, int(tokens.get("reasoning_tokens") or 0))
    )
