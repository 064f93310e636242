"""What the tests of Gemini's translation share: calls, deployments, the wire written by hand, an own reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from adapters.dialects.chat import ChatDialect
from adapters.gemini import GeminiAdapter
from adapters.vertex import VertexAdapter
from gateway.core.adapter import Decoder, Fetched, UpstreamRequest
from gateway.core.blocks import Conversation, Event, ToolCallBegin, ToolCallDelta
from gateway.core.types import Call, Deployment

CHAT = ChatDialect()
GEMINI = GeminiAdapter()
VERTEX = VertexAdapter()


class Told:
    """A dialect whose conversation is given, and whose writer keeps the events: the translation without a caller."""

    name = "told"
    endpoint = "chat"

    def __init__(self, conversation: Conversation | None = None) -> None:
        self.asked = conversation or Conversation(())
        self.events: list[Event] = []
        self.ended = 0

    def conversation(self, call: Call) -> Conversation:
        return self.asked

    def writer(self, call: Call, model: str) -> Told:
        return self

    def write(self, event: Event) -> bytes:
        self.events.append(event)
        return b"."

    def end(self) -> bytes:
        self.ended += 1
        return b"!"


def a_call(body: dict[str, Any] | None = None, strict: bool = False, **fields: Any) -> Call:
    """Returns a call of the chat dialect; without a body it asks "hi"."""
    asked = {"messages": [{"role": "user", "content": "hi"}], **(body or {}), **fields}
    headers = ((b"x-headgate-strict", b"true"),) if strict else ()
    return CHAT.parse("call-1", json.dumps({"model": "m", **asked}).encode(), headers)


def a_deployment(model: str = "gemini-2.5-flash", adapter: str = "gemini", **fields: Any) -> Deployment:
    base = b"/v1beta" if adapter == "gemini" else b""
    return Deployment(
        name="flash",
        provider="google",
        kind=adapter,
        model=model,
        adapter=adapter,
        base_path=fields.pop("base_path", base),
        endpoints=(),
        **fields,
    )


def encode(
    model: str = "gemini-2.5-flash",
    strict: bool = False,
    vertex: bool = False,
    fetched: Fetched | None = None,
    **body: Any,
) -> UpstreamRequest:
    adapter = VERTEX if vertex else GEMINI
    return adapter.encode(a_call(body, strict), a_deployment(model, adapter.name), CHAT, fetched or {})


def sent(model: str = "gemini-2.5-flash", **body: Any) -> dict[str, Any]:
    """Returns the body that goes to Gemini."""
    written: dict[str, Any] = json.loads(encode(model, **body).body)
    return written


def told(
    conversation: Conversation, model: str = "gemini-3-flash-preview", vertex: bool = False, strict: bool = False
) -> dict[str, Any]:
    """Returns the body that goes to Gemini for a conversation that no dialect had to say."""
    adapter = VERTEX if vertex else GEMINI
    request = adapter.encode(a_call(strict=strict), a_deployment(model, adapter.name), Told(conversation), {})  # type: ignore[arg-type]
    written: dict[str, Any] = json.loads(request.body)
    return written


def decoder(call: Call | None = None, model: str = "gemini-2.5-flash") -> Decoder:
    return GEMINI.decoder(call or a_call(), a_deployment(model), CHAT)


def events_of(pieces: Iterable[bytes], stream: bool, vertex: bool = False) -> tuple[Told, Decoder]:
    """Feeds an answer and returns what it became, event by event."""
    adapter = VERTEX if vertex else GEMINI
    dialect = Told()
    reader = adapter.decoder(a_call(stream=stream), a_deployment(adapter=adapter.name), dialect)  # type: ignore[arg-type]
    fed(reader, pieces)
    return dialect, reader


def fed(reader: Decoder, pieces: Iterable[bytes]) -> bytes:
    """Feeds all pieces and the end."""
    out = [written for piece in pieces for written in reader.feed(piece)]
    return b"".join((*out, *reader.end()))


def chunk(*parts: dict[str, Any], finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Returns a response of one candidate."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    candidate |= {name: fields.pop(name) for name in tuple(fields) if name in _CANDIDATE}
    return {"candidates": [candidate], "modelVersion": "gemini-x", "responseId": "r1", **fields}


_CANDIDATE = ("finishMessage", "groundingMetadata", "citationMetadata", "logprobsResult")


def sse(*documents: dict[str, Any]) -> bytes:
    """Returns an event stream as the API writes it."""
    return b"".join(b"data: " + json.dumps(document).encode() + b"\r\n\r\n" for document in documents)


def calls_of(events: Iterable[Event]) -> list[tuple[str, Any, str | None]]:
    """Returns the tool calls as (name, arguments, signature)."""
    found: list[tuple[str, Any, str | None]] = []
    for event in events:
        if isinstance(event, ToolCallBegin):
            found.append((event.name, "", event.signature))
        elif isinstance(event, ToolCallDelta):
            name, arguments, signature = found[event.index]
            found[event.index] = (name, arguments + event.arguments, signature)
    return [(name, json.loads(arguments), signature) for name, arguments, signature in found]


def documents(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Reads a recorded answer with nothing of ours: its responses, one by one."""
    response = record["response"]
    if response["format"] == "sse":
        for line in response["sse"].splitlines():
            if line.startswith("data:"):
                yield json.loads(line[5:])
    elif isinstance(response["body"], list):
        yield from response["body"]
    else:
        yield response["body"]


def raw(record: dict[str, Any]) -> bytes:
    response = record["response"]
    if response["format"] == "sse":
        return str(response["sse"]).encode()
    return json.dumps(response["body"]).encode()
