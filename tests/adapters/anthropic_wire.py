"""What the tests of the Anthropic translation share: calls, deployments, the wire written by hand, an own reading."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from adapters.anthropic import AnthropicAdapter
from adapters.dialects.chat import ChatDialect
from gateway.core.adapter import Decoder, UpstreamRequest
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

SHARED = Path(__file__).resolve().parents[2].parent / "shared"

CHAT = ChatDialect()
ADAPTER = AnthropicAdapter()


def a_call(body: dict[str, Any] | None = None, strict: bool = False, **fields: Any) -> Call:
    """Returns a call of the chat dialect; without a body it asks "hi"."""
    asked = {"messages": [{"role": "user", "content": "hi"}], **(body or {}), **fields}
    headers = ((b"x-headgate-strict", b"true"),) if strict else ()
    call = CHAT.parse("call-1", json.dumps({"model": "m", **asked}).encode(), headers)
    assert call.strict is strict
    return call


def a_deployment(model: str = "claude-sonnet-4-5", **fields: Any) -> Deployment:
    return Deployment(
        name="claude",
        provider="anthropic",
        kind="hosted",
        model=model,
        adapter="anthropic",
        base_path=b"/v1",
        endpoints=(),
        **fields,
    )


def encode(
    model: str = "claude-sonnet-4-5", strict: bool = False, max_output: int | None = None, **body: Any
) -> UpstreamRequest:
    return ADAPTER.encode(a_call(body, strict), a_deployment(model, max_output=max_output), CHAT, {})


def sent(model: str = "claude-sonnet-4-5", **body: Any) -> dict[str, Any]:
    """Returns the body that goes to Anthropic."""
    written: dict[str, Any] = json.loads(encode(model, **body).body)
    return written


def decoder(call: Call | None = None, model: str = "claude-sonnet-4-5") -> Decoder:
    return ADAPTER.decoder(call or a_call(), a_deployment(model), CHAT)


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def stream(
    blocks: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]],
    stop_reason: str | None = "end_turn",
    usage: dict[str, Any] | None = None,
    **stop: Any,
) -> Iterator[bytes]:
    """Yields the events of an answer: each block is its start and its deltas."""
    begun = {"input_tokens": 10, "output_tokens": 1, **(usage or {})}
    yield event("message_start", message={"id": "msg_1", "model": "claude-x", "content": [], "usage": begun})
    yield event("ping")
    for index, (start, deltas) in enumerate(blocks):
        yield event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    yield event("message_delta", delta={"stop_reason": stop_reason, **stop}, usage={"output_tokens": 7})
    yield event("message_stop")


def said(*texts: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]


def fed(reader: Decoder, pieces: Iterable[bytes]) -> bytes:
    """Feeds all pieces and the end."""
    out = [written for piece in pieces for written in reader.feed(piece)]
    return b"".join((*out, *reader.end()))


def chunks(out: bytes) -> list[dict[str, Any]]:
    """Reads a stream of ours, which must end with the sentinel."""
    assert out.endswith(b"data: [DONE]\n\n")
    lines = out.removesuffix(b"data: [DONE]\n\n").split(b"\n\n")
    assert lines.pop() == b""
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


def reassembled(out: bytes) -> dict[str, Any]:
    """Puts a stream's chunks together as one message, with `finish_reason` and `usage`."""
    message: dict[str, Any] = {"content": None, "finish_reason": None, "usage": None}
    for chunk in chunks(out):
        message["usage"] = chunk.get("usage") or message["usage"]
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                if name in ("content", "reasoning_content", "refusal"):
                    if value:
                        message[name] = (message.get(name) or "") + value
                elif name == "tool_calls":
                    for piece in value:
                        calls = message.setdefault("tool_calls", [])
                        if piece["index"] == len(calls):
                            assert piece["function"]["arguments"] == ""
                            calls.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
                        else:
                            assert "id" not in piece
                            calls[piece["index"]]["arguments"] += piece["function"]["arguments"]
                elif isinstance(value, list):
                    for element in value:
                        known = message.setdefault(name, [])
                        assert element["index"] == len(known)
                        known.append({key: part for key, part in element.items() if key != "index"})
            for name in ("finish_reason", "native_finish_reason", "stop_sequence"):
                if choice.get(name) is not None:
                    assert not message.get(name)
                    message[name] = choice[name]
    return message


def unary(out: bytes) -> dict[str, Any]:
    """Reads a whole answer of ours in the form of `reassembled`."""
    body = json.loads(out)
    choice = body["choices"][0]
    message: dict[str, Any] = {"usage": body.get("usage")}
    for name, value in choice["message"].items():
        if name == "tool_calls":
            message[name] = [{"id": call["id"], **call["function"]} for call in value]
        elif name in ("content", "finish_reason") or (name != "role" and value is not None):
            message[name] = value or None
    for name in ("finish_reason", "native_finish_reason", "stop_sequence"):
        if choice.get(name) is not None:
            message[name] = choice[name]
    return message


def corpus(*names: str) -> list[Any]:
    """Returns the recorded exchanges as parameters; one that is skipped where they are not there."""
    paths = [SHARED / "corpus" / "dev" / f"{name}.jsonl" for name in names]
    if not paths[0].exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="no ../shared/corpus here"))]
    records = (json.loads(line) for path in paths for line in path.read_text().splitlines())
    return [pytest.param(record, id=record["id"], marks=pytest.mark.corpus) for record in records]


def validator(name: str) -> Draft202012Validator | None:
    """Returns OpenAI's published schema of this name, None where the schemas are not beside the repository."""
    path = SHARED / "schemas" / "openai_schemas.json"
    if not path.exists():
        return None
    return Draft202012Validator({"$defs": json.loads(path.read_text())["$defs"], "$ref": f"#/$defs/{name}"})


# -- requests -----------------------------------------------------------------------------------------------------

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 24).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + b"\0" * 24).decode()

SEARCH = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
CLOSED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": CLOSED}}


THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig", "provider": "anthropic"}
MARKER = {"type": "ephemeral", "ttl": "1h"}


def asks(text: str = "hi") -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(*ids: str, name: str = "search", arguments: str = "{}", **fields: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}} for call_id in ids
        ],
        **fields,
    }


def answers(call_id: str, content: Any = "found", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def refused(model: str = "claude-sonnet-4-5", **body: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        encode(model, **body)
    return caught.value.param


def a_tool(name: str, **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


LATER_SYSTEM = [asks("a"), {"role": "system", "content": "be brief"}, {"role": "assistant", "content": "b"}, asks("c")]
