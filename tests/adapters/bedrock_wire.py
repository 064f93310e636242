"""What the tests of the Bedrock translation share: calls, deployments, frames written by hand, an own reading."""

from __future__ import annotations

import base64
import json
import struct
from binascii import crc32
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from adapters.bedrock import BedrockAdapter
from gateway.core.adapter import Decoder, Fetched, UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment
from tests.adapters.anthropic_wire import CHAT, a_call

ADAPTER = BedrockAdapter()
SONNET = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"
LLAMA = "us.meta.llama3-3-70b-instruct-v1:0"


def a_deployment(model: str = SONNET, **fields: Any) -> Deployment:
    return Deployment("bedrock", "aws", "bedrock", model, "bedrock", b"", (), **fields)


def encode(
    model: str = SONNET,
    strict: bool = False,
    fetched: Fetched | None = None,
    options: Mapping[str, str] | None = None,
    max_output: int | None = None,
    **body: Any,
) -> UpstreamRequest:
    deployment = a_deployment(model, options=options or {}, max_output=max_output)
    return ADAPTER.encode(a_call(body, strict), deployment, CHAT, fetched or {})


def sent(model: str = SONNET, **body: Any) -> dict[str, Any]:
    """Returns the body that goes to Bedrock, which its own service model must find nothing wrong with."""
    written: dict[str, Any] = json.loads(encode(model, **body).body)
    valid(written, model, stream=bool(body.get("stream")))
    return written


def warned(model: str = SONNET, **body: Any) -> str:
    return "\n".join(encode(model, **body).warnings)


def refused(model: str = SONNET, **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(model, **body)
    return caught.value.param


@cache
def service() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime")


def valid(body: dict[str, Any], model: str = SONNET, stream: bool = False) -> None:
    """Asserts that a body is one of Converse's, by botocore's model and by the rules that it does not hold."""
    shape = service().operation_model("ConverseStream" if stream else "Converse").input_shape
    report = ParamValidator().validate({"modelId": model, **with_bytes(body)}, shape)
    assert not report.has_errors(), report.generate_report()
    assert set(body) <= set(shape.members)
    assert problem_of(body) is None


def problem_of(body: Mapping[str, Any]) -> str | None:
    """Says what Bedrock would find wrong beyond its model: turns, tool results, blank texts, documents, cache points."""
    roles = [turn["role"] for turn in body["messages"]]
    if roles[0] != "user" or any(one == other for one, other in zip(roles, roles[1:], strict=False)):
        return "A conversation must start with a user message and roles must alternate."
    waiting: list[str] = []
    ids: set[str] = set()
    names: list[str] = []
    for turn in body["messages"]:
        results = [block["toolResult"]["toolUseId"] for block in turn["content"] if "toolResult" in block]
        if turn["role"] == "user" and sorted(results) != sorted(waiting):
            return f"Expected toolResult blocks for the following Ids: {waiting}"
        waiting = [
            block["toolUse"]["toolUseId"]
            for block in turn["content"]
            if "toolUse" in block and block["toolUse"].get("type") != "server_tool_use"
        ]
        if ids & set(waiting) or len(set(waiting)) < len(waiting):
            return "The toolUse ids are not unique."
        ids |= set(waiting)
        if (waiting or results) and "toolConfig" not in body:
            return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
        if not turn["content"] or any("text" in block and not block["text"].strip() for block in turn["content"]):
            return "The text field in the ContentBlock object is blank."
        named = [block["document"]["name"] for block in turn["content"] if "document" in block]
        names += named
        if named and not any("text" in block for block in turn["content"]):
            return "Add a text block to the message with a document."
    if waiting:
        return "There is a toolUse without its toolResult."
    if len(set(names)) < len(names):
        return "Two documents have one name."
    everything = [block for turn in body["messages"] for block in turn["content"]]
    everything += body.get("system", []) + body.get("toolConfig", {}).get("tools", [])
    if sum("cachePoint" in block for block in everything) > 4:
        return "There are more than 4 cache points."
    return None


def with_bytes(value: Any) -> Any:
    """Returns the JSON of a request as botocore takes it: blobs as bytes."""
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(inner, validate=True)
        if name in ("bytes", "redactedContent") and isinstance(inner, str)
        else inner
        if name in ("json", "input", "additionalModelRequestFields")
        else with_bytes(inner)
        for name, inner in value.items()
    }


# -- answers ------------------------------------------------------------------------------------------------------


def decoder(call: Call | None = None, model: str = SONNET) -> Decoder:
    return ADAPTER.decoder(call or a_call(), a_deployment(model), CHAT)


def streaming(model: str = SONNET, **body: Any) -> Decoder:
    return decoder(a_call(body, stream=True, stream_options={"include_usage": True}), model)


def header(name: str, value: str) -> bytes:
    said = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(said)) + said


def frame(headers: bytes, payload: bytes = b"") -> bytes:
    head = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    whole = head + struct.pack("!I", crc32(head)) + headers + payload
    return whole + struct.pack("!I", crc32(whole))


def event(kind: str, message: str = "event", **payload: Any) -> bytes:
    """Returns an event as Bedrock frames it, its random padding included."""
    name = ":event-type" if message == "event" else ":exception-type"
    headers = header(name, kind) + header(":content-type", "application/json") + header(":message-type", message)
    return frame(headers, json.dumps({**payload, "p": "abcdefgh"}).encode())


def exception(kind: str, **payload: Any) -> bytes:
    return event(kind, "exception", **payload)


USAGE = {"inputTokens": 10, "outputTokens": 7, "totalTokens": 17}


def stream(
    *blocks: tuple[dict[str, Any] | None, list[dict[str, Any]]],
    reason: str = "end_turn",
    usage: dict[str, Any] | None = None,
) -> Iterator[bytes]:
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


def said(*texts: str) -> tuple[None, list[dict[str, Any]]]:
    return None, [{"text": each} for each in texts]


def called(name: str, *inputs: str, call_id: str = "tooluse_1") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"toolUse": {"toolUseId": call_id, "name": name}}, [{"toolUse": {"input": each}} for each in inputs]


def answered(
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
