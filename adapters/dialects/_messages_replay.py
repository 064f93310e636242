"""A kept message in the other form: a stream's events merged to one message, a message told again as a stream.

Unknown fields survive both ways: a delta of an unknown kind adds its strings to its block's. `json` of the standard
library reads and writes here, because a provider's answer may hold what stricter readers refuse (NaN, lone surrogates).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from adapters import _sse
from gateway.core.blocks import Json
from gateway.core.types import Call

# A block's fields that a stream tells in deltas, each with the kind of its delta, in the order in which they come.
_TOLD: Final = (("thinking", "thinking_delta"), ("text", "text_delta"), ("signature", "signature_delta"))


def replay(body: bytes, streamed: bool, call: Call) -> bytes:
    """Rewrites a kept answer as `call` asks for it: streamed or whole."""
    if streamed == call.stream:
        return body
    if streamed:
        return _dumps(_merged(_events(body)))
    return b"".join(_told(json.loads(body)))


def _dumps(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _events(stream: bytes) -> Iterator[dict[str, Json]]:
    for block in _sse.blocks(stream):
        data = _sse.read(block)[1]
        if data is not None:
            event = json.loads(data)
            if isinstance(event, dict):
                yield event


# -- a stream, merged ----------------------------------------------------------------------------------------------


def _merged(events: Iterator[dict[str, Json]]) -> dict[str, Json]:
    message: dict[str, Json] = {}
    content: dict[int, dict[str, Json]] = {}
    inputs: dict[int, list[str]] = {}
    for event in events:
        kind, index = event.get("type"), event.get("index") or 0
        if kind == "message_start":
            message = dict(event["message"])
        elif kind == "content_block_start":
            content[index] = dict(event["content_block"])
        elif kind == "content_block_delta":
            delta = event["delta"]
            if delta.get("type") == "input_json_delta":
                inputs.setdefault(index, []).append(delta.get("partial_json") or "")
            elif index in content:
                _grow(content[index], delta)
        elif kind == "message_delta":
            more = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
            told = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
            message |= {**event["delta"], **more, "usage": {**(message.get("usage") or {}), **told}}
    for index, pieces in inputs.items():
        written = "".join(pieces)
        if index in content and written.strip():
            try:
                content[index]["input"] = json.loads(written)
            except ValueError:
                content[index]["input"] = {}  # cut off by max_tokens: a whole answer would have no more
    message["content"] = [content[index] for index in sorted(content)]
    return message


def _grow(block: dict[str, Json], delta: Mapping[str, Json]) -> None:
    kind = delta.get("type")
    if kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
        return
    for name, value in delta.items():
        before = block.get(name) or ""
        if name != "type" and isinstance(value, str) and isinstance(before, str):
            block[name] = before + value


# -- a message, told as a stream -----------------------------------------------------------------------------------


def _told(message: dict[str, Json]) -> Iterator[bytes]:
    usage = message.get("usage") or {}
    ending = {name: message.pop(name, None) for name in ("stop_reason", "stop_sequence")}
    ending |= {name: message.pop(name) for name in ("stop_details", "container") if name in message}
    content = message.pop("content", None) or ()
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    yield _event("message_start", message=begun)
    for index, block in enumerate(content):
        opening, deltas = _pieces(block)
        yield _event("content_block_start", index=index, content_block=opening)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    counts = {name: value for name, value in usage.items() if name.endswith(("_tokens", "_details", "_use"))}
    yield _event("message_delta", delta=ending, usage={"output_tokens": 0, **counts})
    yield _event("message_stop")


def _pieces(block: Mapping[str, Json]) -> tuple[dict[str, Json], list[Json]]:
    """Returns a block as it begins, and the deltas that fill it."""
    kind = block.get("type")
    opening, deltas = dict(block), []
    if kind in ("text", "thinking"):
        for name, delta in _TOLD:
            if isinstance(block.get(name), str):
                opening[name] = ""
                if block[name]:
                    deltas.append({"type": delta, name: block[name]})
        citations = opening.pop("citations", None) or ()
        deltas[0:0] = [{"type": "citations_delta", "citation": citation} for citation in citations]
    elif isinstance(kind, str) and kind.endswith("tool_use"):
        opening["input"] = {}
        deltas.append({"type": "input_json_delta", "partial_json": json.dumps(block.get("input") or {})})
    return opening, deltas


def _event(name: str, **fields: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _dumps({"type": name, **fields}))
