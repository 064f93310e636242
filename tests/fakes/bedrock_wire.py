"""Bedrock's wire for tests: its frames, and what it finds wrong with a request, by botocore and by its rules."""

from __future__ import annotations

import base64
import json
import struct
from binascii import crc32
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

USAGE = {"inputTokens": 10, "outputTokens": 7, "totalTokens": 17}

# -- requests -----------------------------------------------------------------------------------------------------


@cache
def service() -> Any:
    """Returns botocore's model of bedrock-runtime."""
    return botocore.session.Session().get_service_model("bedrock-runtime")


def problem_of(model: str, body: Mapping[str, Any], *, streamed: bool = False) -> str | None:
    """Says what is wrong with a body of Converse, or None."""
    shape = service().operation_model("ConverseStream" if streamed else "Converse").input_shape
    unknown = body.keys() - shape.members.keys()
    if unknown:
        return f"Unknown fields: {sorted(unknown)}"
    try:
        request = {"modelId": model, **_with_bytes(body)}
    except ValueError:
        return "A blob is not base64."
    report = ParamValidator().validate(request, shape)
    return report.generate_report() if report.has_errors() else _broken_rule(body)


def _broken_rule(body: Mapping[str, Any]) -> str | None:
    """Says which rule is broken that the model does not hold: turns, tool results, texts, documents, cache points."""
    turns = body["messages"]
    roles = [turn["role"] for turn in turns]
    if roles[0] != "user" or any(one == other for one, other in pairwise(roles)):
        return "A conversation must start with a user message, and roles must alternate."
    waiting: list[str] = []
    ids: set[str] = set()
    documents: list[str] = []
    for turn in turns:
        content = turn["content"]
        results = [block["toolResult"]["toolUseId"] for block in content if "toolResult" in block]
        if turn["role"] == "user" and sorted(results) != sorted(waiting):
            return f"Expected toolResult blocks at the next turn for the following Ids: {waiting}"
        uses = [block["toolUse"] for block in content if "toolUse" in block]
        waiting = [use["toolUseId"] for use in uses if use.get("type") != "server_tool_use"]
        if ids & set(waiting) or len(set(waiting)) < len(waiting):
            return "The toolUse ids are not unique."
        ids |= set(waiting)
        if (uses or results) and "toolConfig" not in body:
            return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        if not content or any(block.get("text") == "" for block in content):
            return "The text field in the ContentBlock object is blank."
        named = [block["document"]["name"] for block in content if "document" in block]
        if named and not any("text" in block for block in content):
            return "Add a text block to the message that has a document."
        documents += named
    if waiting:
        return f"Expected toolResult blocks at the next turn for the following Ids: {waiting}"
    if len(set(documents)) < len(documents):
        return "Two documents have one name."
    everything = [block for turn in turns for block in turn["content"]]
    everything += [*body.get("system", []), *body.get("toolConfig", {}).get("tools", [])]
    if sum("cachePoint" in block for block in everything) > 4:
        return "There are more than 4 cache points."
    return None


def _with_bytes(value: Any) -> Any:
    """Returns the JSON of a request as botocore takes it: blobs as bytes."""
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    read = {}
    for name, inner in value.items():
        if name in ("bytes", "redactedContent") and isinstance(inner, str):
            read[name] = base64.b64decode(inner, validate=True)
        elif name in ("json", "input", "additionalModelRequestFields"):
            read[name] = inner
        else:
            read[name] = _with_bytes(inner)
    return read


# -- answers ------------------------------------------------------------------------------------------------------


def header(name: str, value: str) -> bytes:
    """Returns a header of text."""
    said = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(said)) + said


def frame(headers: bytes, payload: bytes = b"") -> bytes:
    """Returns a frame with its checksums."""
    head = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    whole = head + struct.pack("!I", crc32(head)) + headers + payload
    return whole + struct.pack("!I", crc32(whole))


def event(kind: str, message: str = "event", /, **payload: Any) -> bytes:
    """Returns an event as Bedrock frames it, its padding included."""
    name = ":event-type" if message == "event" else ":exception-type"
    headers = header(name, kind) + header(":content-type", "application/json") + header(":message-type", message)
    return frame(headers, json.dumps({**payload, "p": "abcdefgh"}).encode())


def exception(kind: str, **payload: Any) -> bytes:
    """Returns an exception that ends a stream."""
    return event(kind, "exception", **payload)


Streamed = tuple[dict[str, Any] | None, list[dict[str, Any]]]


def stream(*blocks: Streamed, reason: str = "end_turn", usage: dict[str, Any] | None = None) -> Iterator[bytes]:
    """Yields the events of an answer: each block is its start, where it has one, and its deltas."""
    yield event("messageStart", role="assistant")
    for index, (start, deltas) in enumerate(blocks):
        if start is not None:
            yield event("contentBlockStart", contentBlockIndex=index, start=start)
        for delta in deltas:
            yield event("contentBlockDelta", contentBlockIndex=index, delta=delta)
        yield event("contentBlockStop", contentBlockIndex=index)
    yield event("messageStop", stopReason=reason)
    yield event("metadata", usage=usage or USAGE, metrics={"latencyMs": 1})


def said(*texts: str) -> Streamed:
    """Returns a block of text."""
    return None, [{"text": each} for each in texts]


def called(name: str, *inputs: str, call_id: str = "tooluse_1") -> Streamed:
    """Returns a block that calls a tool."""
    return {"toolUse": {"toolUseId": call_id, "name": name}}, [{"toolUse": {"input": each}} for each in inputs]


def whole(
    content: Iterable[dict[str, Any]], reason: str = "end_turn", usage: dict[str, Any] | None = None, **beside: Any
) -> bytes:
    """Returns the body of an answer in one piece."""
    return json.dumps(
        {
            "output": {"message": {"role": "assistant", "content": list(content)}},
            "stopReason": reason,
            "usage": usage or USAGE,
            "metrics": {"latencyMs": 1},
            **beside,
        }
    ).encode()
