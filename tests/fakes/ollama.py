"""Ollama's own wire as a strict server: what its documented fields do not allow is a 400.

Fields: https://docs.ollama.com/openapi.yaml and https://docs.ollama.com/capabilities/tool-calling (2026-11).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.fakes.listening import Asked, Listening, Said

_TEXT = "A llama hums; it does not sing."


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Function(_Strict):
    name: str = Field(min_length=1)
    arguments: dict[str, Any]


class _Call(_Strict):
    id: str | None = None
    function: _Function


class _Message(_Strict):
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Definition(_Strict):
    name: str
    description: str | None = None
    parameters: dict[str, Any]


class _Tool(_Strict):
    type: Literal["function"]
    function: _Definition


class _Options(_Strict):
    num_ctx: int | None = None
    num_predict: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: list[str] | None = None


class Chat(_Strict):
    """The body of `/api/chat`."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool
    tools: list[_Tool] | None = None
    format: Literal["json"] | dict[str, Any] | None = None
    options: _Options | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    keep_alive: str | float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class Embed(_Strict):
    """The body of `/api/embed`."""

    model: str
    input: list[str] = Field(min_length=1)
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: str | float | None = None
    options: _Options | None = None


class Refused(Exception):
    """What a request is refused with."""


def check(path: str, body: dict[str, Any]) -> None:
    """Raises Refused for a request that Ollama would not take, or would misread in silence."""
    try:
        if path == "/api/embed":
            Embed.model_validate(body)
            return
        chat = Chat.model_validate(body)
    except ValidationError as error:
        raise Refused(f"invalid request: {error}") from None
    called: list[str] = []
    for message in chat.messages:
        for image in message.images or ():
            base64.b64decode(image, validate=True)
        called.extend(call.function.name for call in message.tool_calls or ())
        if message.role == "tool" and message.tool_name not in called:
            raise Refused("a tool's result names no tool that was called")


class FakeOllama(Listening):
    """Ollama on a socket. `fault` is what the next answers do: "404", "busy", "long", "error", "cut".

    `ids` has calls of tools carry an id, as newer servers do.
    """

    def __init__(self) -> None:
        super().__init__(self._answered)
        self.fault = ""
        self.ids = False

    def _answered(self, asked: Asked) -> Said:
        if self.fault == "404":
            return _refused(404, f"model '{asked.body['model']}' not found")
        if self.fault == "busy":
            return _refused(503, "server busy, please try again. maximum pending requests exceeded")
        if self.fault == "long":
            return _refused(400, "the input length exceeds the context length")
        try:
            if asked.path not in ("/api/chat", "/api/embed"):
                return _refused(404, "not found")
            check(asked.path, asked.body)
        except Refused as refused:
            return _refused(400, str(refused))
        if asked.path == "/api/embed":
            return Said([json.dumps(_embedded(asked.body)).encode()])
        lines = list(self._lines(asked.body))
        if not asked.body["stream"]:
            return Said([_whole(lines)])
        if self.fault == "cut":
            return Said(_written(lines[: len(lines) // 2]), content_type="application/x-ndjson", cut=True)
        if self.fault == "error":
            broken = [*lines[: len(lines) // 2], {"error": "an error was encountered while running the model"}]
            return Said(_written(broken), content_type="application/x-ndjson")
        return Said(_written(lines), content_type="application/x-ndjson")

    def _lines(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        head = {"model": body["model"], "created_at": "2026-11-20T10:00:00.123456789Z"}
        last = body["messages"][-1]

        def line(**message: Any) -> dict[str, Any]:
            return {**head, "message": {"role": "assistant", "content": "", **message}, "done": False}

        if body.get("think"):
            yield from (line(thinking=word) for word in ("Hm, ", "llamas."))
        reason = "stop"
        if body.get("tools") and last["role"] != "tool":
            for index, city in enumerate(("Paris", "Rome")):
                named = {"id": f"call_{city.lower()}"} if self.ids else {}
                function = {"name": body["tools"][0]["function"]["name"], "arguments": {"city": city}}
                yield line(tool_calls=[{**named, "function": {"index": index, **function}}])
        else:
            text = _TEXT
            if body.get("format"):
                text = '{"name":"Llama"}'
            elif last["role"] == "tool":
                text = f"The tool said: {last['content']}"
            elif last.get("images"):
                text = f"I see {len(last['images'])} images."
            words = re.findall(r"\S+\s*", text)
            most = (body.get("options") or {}).get("num_predict", len(words))
            reason = "length" if most < len(words) else "stop"
            for word in words[:most]:
                said = line(content=word)
                if body.get("logprobs"):
                    said["logprobs"] = [{"token": word, "logprob": -0.5, "bytes": list(word.encode())}]
                yield said
        counts = {"total_duration": 1, "prompt_eval_count": 21, "prompt_eval_duration": 1, "eval_count": 8}
        yield {**line(), "done": True, "done_reason": reason, **counts}


def _whole(lines: list[dict[str, Any]]) -> bytes:
    """Writes the lines as the one object that they are without streaming."""
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    logprobs: list[Any] = []
    for line in lines:
        for name in ("content", "thinking"):
            if line["message"].get(name):
                message[name] = message.get(name, "") + line["message"][name]
        message.setdefault("tool_calls", []).extend(line["message"].get("tool_calls", ()))
        logprobs.extend(line.get("logprobs", ()))
    if not message["tool_calls"]:
        del message["tool_calls"]
    return json.dumps({**lines[-1], "message": message, **({"logprobs": logprobs} if logprobs else {})}).encode()


def _written(lines: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(line).encode() + b"\n" for line in lines]


def _embedded(body: dict[str, Any]) -> dict[str, Any]:
    count = body.get("dimensions", 8)
    vectors = [[(len(text) % 7 + place) / 16 for place in range(count)] for text in body["input"]]
    return {"model": body["model"], "embeddings": vectors, "total_duration": 1, "prompt_eval_count": 4 * len(vectors)}


def _refused(status: int, message: str) -> Said:
    return Said([json.dumps({"error": message}).encode()], status)
