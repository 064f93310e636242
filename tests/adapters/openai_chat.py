"""A caller of no wire at all, for what is translated to OpenAI's: it asks in blocks and is answered in events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from adapters import compatible, openai, vllm
from adapters.azure import adapter as azure
from adapters.openai import Relay
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Conversation, Event, Message, Metered, Text, TextDelta, ThinkingDelta, ToolCallDelta
from gateway.core.types import Call, Deployment

SHARED = Path(__file__).resolve().parents[3] / "shared"

ASKED = Conversation(messages=(Message("user", (Text("hi"),)),))


class Recorder:
    """A writer that keeps the events, and writes something for each that a decoder must pass on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.ended = False

    def write(self, event: Event) -> bytes:
        assert not self.ended
        self.events.append(event)
        return repr(event).encode()

    def end(self) -> bytes:
        assert not self.ended
        self.ended = True
        return b"end"


class Blocks:
    """A dialect whose requests are conversations and whose answers are events."""

    name = "blocks"
    endpoint = "chat"

    def __init__(self, conversation: Conversation = ASKED) -> None:
        self.asked = conversation
        self.recorder = Recorder()

    def conversation(self, call: Call) -> Conversation:
        return self.asked

    def writer(self, call: Call, model: str) -> Recorder:
        return self.recorder


def call(stream: bool = False, strict: bool = False) -> Call:
    return Call("c1", "chat", "blocks", b"{}", stream=stream, strict=strict)


def adapter_of(kind: str) -> Relay:
    """Returns the adapter of a kind, or of a corpus's provider by its name there."""
    kind = {"bedrock-mantle": "bedrock_openai", "llama.cpp": "llamacpp", "gpustack-vllm": "vllm"}.get(kind, kind)
    makers: dict[str, Callable[[], Relay]] = {"openai": openai.adapter, "vllm": vllm.adapter, "azure": azure}
    if kind in makers:
        return makers[kind]()
    return compatible.adapter(kind) if kind in compatible.KINDS else compatible.unknown()


def deployment(kind: str = "openai", model: str = "m", **options: str) -> Deployment:
    return Deployment("d", kind, kind, model, adapter_of(kind).name, b"/v1", (), options=options)


def encoded(
    conversation: Conversation, kind: str = "openai", model: str = "m", stream: bool = False, strict: bool = False
) -> UpstreamRequest:
    dialect: Any = Blocks(conversation)
    return adapter_of(kind).encode(call(stream, strict), deployment(kind, model), dialect, {})


def sent(conversation: Conversation, kind: str = "openai", model: str = "m", stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(encoded(conversation, kind, model, stream).body)
    return body


def turns(*messages: Message, kind: str = "openai", **fields: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sent(Conversation(messages=messages, **fields), kind)["messages"]
    return found


def decoder(kind: str = "openai", stream: bool = True, conversation: Conversation = ASKED) -> tuple[Any, Recorder]:
    dialect: Any = Blocks(conversation)
    return adapter_of(kind).decoder(call(stream), deployment(kind), dialect), dialect.recorder


def read(
    *reads: bytes, kind: str = "openai", stream: bool = True, conversation: Conversation = ASKED
) -> tuple[list[Event], Any]:
    """Feeds reads to a fresh decoder; returns the events and the decoder."""
    one, recorder = decoder(kind, stream, conversation)
    out = [piece for data in reads for piece in one.feed(data)]
    out += one.end()
    assert b"".join(out) == b"".join(repr(event).encode() for event in recorder.events) + b"end"
    return recorder.events, one


def joined(events: Iterable[Event]) -> list[Event]:
    """Joins neighbouring deltas, so that two ways of cutting the same answer are equal; the last usage holds."""
    whole: list[Any] = []
    for event in events:
        last = whole[-1] if whole else None
        if isinstance(event, TextDelta | ThinkingDelta) and type(last) is type(event) and last.choice == event.choice:
            whole[-1] = type(event)(last.text + event.text, event.choice)
        elif isinstance(event, ToolCallDelta) and isinstance(last, ToolCallDelta) and last.index == event.index:
            whole[-1] = ToolCallDelta(event.index, last.arguments + event.arguments, event.choice)
        else:
            whole.append(event)
    return [event for event in whole if not isinstance(event, Metered)]


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    body = {"id": "x", "model": "m-1", "created": 7, "choices": [choice], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def answer(message: dict[str, Any], finish: str | None = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "x", "model": "m-1", "created": 7, "choices": [choice], **more}).encode()


def schema(name: str) -> Draft202012Validator | None:
    """Returns OpenAI's published schema of this name, None where the schemas are not beside the repository."""
    path = SHARED / "schemas" / "openai_schemas.json"
    if not path.exists():
        return None
    return Draft202012Validator({"$defs": json.loads(path.read_text())["$defs"], "$ref": f"#/$defs/{name}"})
