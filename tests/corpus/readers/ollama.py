"""Reads Ollama's own chat: one JSON object, or one a line."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, unknown


def whole(raw: bytes) -> Reading:
    """Reads one answer."""
    return _read([json.loads(raw)])


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads lines; the answer has ended where one says `done`."""
    lines = []
    for line in raw.split(b"\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return _read(lines)


def _read(lines: list[Any]) -> Reading:
    reading = Reading()
    said = reading.choice()
    for line in lines:
        reading.error = reading.error or line.get("error")
        message = line.get("message") or {}
        said.text += message.get("content") or ""
        said.reasoning += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            said.calls.append(Called(call["function"]["name"], call["function"].get("arguments") or {}))
        if line.get("done"):
            reading.ended = True
            native = line.get("done_reason") or "stop"
            said.finish = native if native in ("stop", "length") else unknown(native)
            if said.calls and said.finish == "stop":
                said.finish = "tool_calls"
            if "prompt_eval_count" in line or "eval_count" in line:
                reading.counts = Counts(line.get("prompt_eval_count") or 0, out=line.get("eval_count") or 0)
    return reading
