"""Cohere as a strict server: what its own SDK's types and its documented rules do not allow is a 400.

Rules: https://docs.cohere.com/reference/errors and https://docs.cohere.com/reference/chat (2026-11).
"""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterator
from typing import Any

from cohere.v2.client import V2Client
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.fakes.listening import Asked, Listening, Said

_PARAMETERS = {
    "/v2/chat": typing.get_type_hints(V2Client.chat),
    "/v2/embed": typing.get_type_hints(V2Client.embed),
    "/v2/rerank": typing.get_type_hints(V2Client.rerank),
}
_NOT_SENT = {"self", "request_options", "return"}
_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT = "Waterloo is a station, and a battle."
_KEY = "Bearer co-upstream-secret"


class Refused(Exception):
    """What a request is refused with."""


def check(path: str, body: dict[str, Any]) -> None:
    """Raises Refused for a request that Cohere would not take."""
    hints = {name: hint for name, hint in _PARAMETERS[path].items() if name not in _NOT_SENT}
    for name, value in body.items():
        if name == "stream" and path == "/v2/chat":
            continue
        if name not in hints:
            raise Refused(f"unknown parameter {name}")
        try:
            _known(TypeAdapter(hints[name]).validate_python(value), name)
        except ValidationError as error:
            raise Refused(f"invalid request: {error}") from None
    for required in {"/v2/chat": ("model", "messages", "stream"), "/v2/embed": ("model", "input_type")}.get(path, ()):
        if required not in body:
            raise Refused(f"{required} is required")
    if path == "/v2/chat":
        _chat(body)
    elif path == "/v2/embed":
        _embed(body)


def _known(value: Any, where: str) -> None:
    """Refuses fields that the SDK's types do not have, which they would keep in silence."""
    if isinstance(value, BaseModel):
        if value.model_extra:
            raise Refused(f"unknown fields in {where}: {sorted(value.model_extra)}")
        for name in value.model_fields_set:
            _known(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            _known(item, where)


def _chat(body: dict[str, Any]) -> None:
    called: set[str] = set()
    for index, message in enumerate(body["messages"]):
        role, content = message["role"], message.get("content")
        if role == "system" and index:
            raise Refused("system turn must be the first in the list")
        if not content and not message.get("tool_calls") and role != "tool":
            raise Refused("message must not be empty in a turn")
        for call in message.get("tool_calls") or ():
            if call["id"] in called:
                raise Refused("cannot have duplicate tool ids")
            called.add(call["id"])
            if not isinstance(json.loads(call["function"]["arguments"]), dict):
                raise Refused("arguments must be an object")
        if role == "tool" and message["tool_call_id"] not in called:
            raise Refused("tool call id not found in previous tool calls")
    tools = body.get("tools") or []
    for tool in tools:
        if not _TOOL_NAME.fullmatch(tool["function"]["name"]):
            raise Refused("tool names can only contain certain characters (A-Za-z0-9_) and can't begin with a digit")
        if tool["function"]["parameters"].get("type") != "object":
            raise Refused("parameters must be an object")
    if body.get("tool_choice", "NONE") not in ("REQUIRED", "NONE") or ("tool_choice" in body and not tools):
        raise Refused("invalid tool_choice")
    form = body.get("response_format")
    if form is not None and (tools or body.get("documents")):
        raise Refused("response_format is not supported with tools or RAG")
    if form is not None and form.get("json_schema", {"type": "object"}).get("type") != "object":
        raise Refused("schema must be an object")
    bounds = {"temperature": (0, 1), "p": (0.01, 0.99), "k": (0, 500)}
    bounds |= dict.fromkeys(("frequency_penalty", "presence_penalty"), (0, 1))
    for name, (least, most) in bounds.items():
        if not least <= body.get(name, least) <= most:
            raise Refused(f"{name} must be between {least} and {most} inclusive.")
    if body.get("frequency_penalty") and body.get("presence_penalty"):
        raise Refused("cannot specify both frequency_penalty and presence_penalty.")
    if len(body.get("stop_sequences") or ()) > 5:
        raise Refused("too many stop sequences")
    if body.get("max_tokens", 1) < 1:
        raise Refused("max_tokens must be positive")


def _embed(body: dict[str, Any]) -> None:
    if body["input_type"] not in ("search_document", "search_query", "classification", "clustering", "image"):
        raise Refused("valid input_type must be provided with the provided model")
    if not body.get("embedding_types"):
        raise Refused("embedding_types parameter is required")
    texts = body.get("texts") or []
    if not 1 <= len(texts) <= 96:
        raise Refused(f"total number of texts must be at most 96 - received {len(texts)}")
    if "" in texts:
        raise Refused(f"inputs contains an element that is the empty string at index {texts.index('')}")


def vector(text: str, dimensions: int) -> list[float]:
    """Returns the vector of a text, with few digits, as Cohere's have."""
    return [round(((len(text) * 31 + place * 17) % 200 - 100) / 1000, 8) for place in range(dimensions)]


class FakeCohere(Listening):
    """Cohere on a socket. `fault` is what the next answers do: "401", "429", "500", "long", "error", "cut"."""

    def __init__(self) -> None:
        super().__init__(self._answered)
        self.fault = ""

    def _answered(self, asked: Asked) -> Said:
        if asked.headers.get("authorization") != _KEY or self.fault == "401":
            return _refused(401, "invalid api token")
        if self.fault == "429":
            said = _refused(429, "You are past the per minute request limit, please wait and try again later.")
            return said._replace(headers=("retry-after: 7",))
        if self.fault == "500":
            return _refused(500, "internal server error, this has been reported to our developers")
        if self.fault == "long":
            return _refused(400, "too many tokens: size limit exceeded by 25836 tokens.", error_type="TOO_MANY_TOKENS")
        try:
            if asked.path not in _PARAMETERS:
                return _refused(404, "not found")
            check(asked.path, asked.body)
        except Refused as refused:
            return _refused(400, str(refused))
        if asked.path == "/v2/embed":
            return _said(self._embedded(asked.body))
        if asked.path == "/v2/rerank":
            return _said(_reranked(asked.body))
        message = _message(asked.body)
        if not asked.body["stream"]:
            return _said(message | (_ERROR if self.fault == "error" else {}))
        events = list(_events(message, self.fault == "error"))
        if self.fault == "cut":
            return Said(events[: len(events) // 2], content_type="text/event-stream", cut=True)
        return Said(events, content_type="text/event-stream")

    def _embedded(self, body: dict[str, Any]) -> dict[str, Any]:
        vectors = [vector(text, body.get("output_dimension", 16)) for text in body["texts"]]
        return {
            "id": "e-1",
            "embeddings": {"float": vectors},
            "texts": body["texts"],
            "meta": {
                "api_version": {"version": "2"},
                "billed_units": {"input_tokens": 3 * len(vectors), "image_tokens": 0},
            },
            "response_type": "embeddings_by_type",
        }


_ERROR = {
    "finish_reason": "ERROR",
    "usage": {},
    "error": "your request resulted in an invalid tool generation.",
    "error_type": "INVALID_TOOL_GENERATION",
}


def _message(body: dict[str, Any]) -> dict[str, Any]:
    """Answers: a call of the first tool where one may be called and none was; else words about what it saw."""
    usage = {
        "billed_units": {"input_tokens": 12, "output_tokens": 9},
        "tokens": {"input_tokens": 1212, "output_tokens": 14},
        "cached_tokens": 1200,
    }
    whole: dict[str, Any] = {"id": "c-1", "message": {"role": "assistant"}, "finish_reason": "COMPLETE", "usage": usage}
    last = body["messages"][-1]
    if body.get("tools") and body.get("tool_choice") != "NONE" and last["role"] != "tool":
        name = body["tools"][0]["function"]["name"]
        function = {"name": name, "arguments": '{"city":"Paris"}'}
        call = {"id": f"{name}_1a2b", "type": "function", "function": function}
        whole["message"] |= {"tool_plan": "I will look it up.", "tool_calls": [call]}
        whole["finish_reason"] = "TOOL_CALL"
        return whole
    text = _TEXT
    if body.get("response_format"):
        text = '{"name":"Waterloo"}'
    elif last["role"] == "tool":
        text = f"The tool said: {last['content']}"
        source = {"type": "tool", "id": f"{last['tool_call_id']}:0", "tool_output": {"content": last["content"]}}
        cited = {"start": 15, "end": len(text), "text": last["content"], "sources": [source], "type": "TEXT_CONTENT"}
        whole["message"]["citations"] = [cited]
    content = [{"type": "text", "text": text}]
    if body.get("thinking", {}).get("type") == "enabled":
        content.insert(0, {"type": "thinking", "thinking": "Hm, let me think."})
    whole["message"]["content"] = content
    if body.get("max_tokens", 100) < 5:
        whole["finish_reason"] = "MAX_TOKENS"
    return whole


def _events(whole: dict[str, Any], fails: bool) -> Iterator[bytes]:
    message = whole["message"]
    yield _event("message-start", id=whole["id"], delta={"message": {"role": "assistant", "content": []}})
    for index, block in enumerate(message.get("content", ())):
        kind = block["type"]
        yield _event("content-start", index=index, delta={"message": {"content": {"type": kind, kind: ""}}})
        for word in re.findall(r"\S+\s*", block[kind]):
            yield _event("content-delta", index=index, delta={"message": {"content": {kind: word}}})
        for number, citation in enumerate(message.get("citations", ()) if kind == "text" else ()):
            yield _event("citation-start", index=number, delta={"message": {"citations": citation}})
            yield _event("citation-end", index=number)
        yield _event("content-end", index=index)
    for word in re.findall(r"\S+\s*", message.get("tool_plan", "")):
        yield _event("tool-plan-delta", delta={"message": {"tool_plan": word}})
    if fails:
        yield _event("message-end", delta=_ERROR)
        yield b"data: [DONE]\n\n"
        return
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        opened = {**call, "function": {"name": function["name"], "arguments": ""}}
        yield _event("tool-call-start", index=index, delta={"message": {"tool_calls": opened}})
        for piece in re.findall(r".{1,4}", function["arguments"]):
            delta = {"message": {"tool_calls": {"function": {"arguments": piece}}}}
            yield _event("tool-call-delta", index=index, delta=delta)
        yield _event("tool-call-end", index=index)
    yield _event("message-end", delta={"finish_reason": whole["finish_reason"], "usage": whole["usage"]})
    yield b"data: [DONE]\n\n"


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _reranked(body: dict[str, Any]) -> dict[str, Any]:
    scored = sorted(
        ({"index": index, "relevance_score": 1 / (2 + index)} for index in range(len(body["documents"]))),
        key=lambda result: -result["relevance_score"],
    )
    billed = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
    return {"id": "r-1", "results": scored[: body.get("top_n", len(scored))], "meta": billed}


def _said(body: dict[str, Any]) -> Said:
    return Said([json.dumps(body).encode()])


def _refused(status: int, message: str, **more: str) -> Said:
    return Said([json.dumps({"id": "1f-2e", "message": message, **more}).encode()], status)
