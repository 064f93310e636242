"""An Ollama answer as events: lines of JSON as they come, or one object.

Source: https://docs.ollama.com/api/streaming and https://docs.ollama.com/api/chat (2026-11).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters import _ndjson
from adapters._answer import Answer
from adapters._blocks import UNREADABLE, sniffed_type
from adapters._ollama_errors import in_band
from adapters._ollama_turns import PROVIDER
from gateway.core.blocks import ImagePart, Json, Logprobs
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.money import Usage

# What is not here goes on as it is ("load", "unload": no answer was asked for).
_FINISHES: Final[Mapping[str, str]] = {"stop": "stop", "length": "length"}


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: Json = None


class _Call(msgspec.Struct, gc=False):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None
    images: list[str] | None = None


class _Line(msgspec.Struct, gc=False):
    """A line of a stream, or a whole answer."""

    model: str = ""
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[dict[str, Json]] | None = None
    error: Json = None


_decode: Final = msgspec.json.Decoder(_Line).decode
_encode: Final = msgspec.json.Encoder().encode


class OllamaAnswer(Answer):
    """Reads a chat answer; a line with `done` is its end, and nothing else is.

    Tool calls without an id get one of `call_id`, the gateway's name for the call, and their number.
    """

    def __init__(self, writer: Writer, call_id: str, streamed: bool) -> None:
        super().__init__(writer, PROVIDER, _ndjson.Framer() if streamed else None)
        self._call_id = call_id
        self._begun = False

    def frame(self, frame: bytes) -> bytes:
        try:
            line = _decode(frame)
        except UNREADABLE:
            self.dropped += 1
            return b""
        return self._line(line)

    def body(self, body: bytes) -> bytes:
        try:
            line = _decode(body)
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        if line.message is None and line.error is None:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message")
        written = self._line(line)
        if not line.done:
            raise StreamCut("the answer ended before it was done")
        return written

    def _line(self, line: _Line) -> bytes:
        if line.error is not None:
            raise in_band(line.error)
        out = []
        if not self._begun:
            self._begun = True
            out.append(self.begin("", line.model))
        message = line.message
        if message is not None:
            if message.thinking:
                out.append(self.think(message.thinking))
            if message.content:
                out.append(self.text(message.content))
            out.extend(self._image(data) for data in message.images or ())
        if line.logprobs:
            out.append(self.note(Logprobs(tuple(_logprob(item) for item in line.logprobs))))
        if message is not None and message.tool_calls:
            out.extend(self._call(call) for call in message.tool_calls)
        if line.done:
            self.usage = _usage(line)
            native = line.done_reason
            if not native:
                raise StreamCut("the answer was done without a reason")
            finish = "tool_calls" if native == "stop" and self.tool_calls else _FINISHES.get(native, native)
            out.append(self.whole(finish, native))
        return b"".join(out)

    def _call(self, call: _Call) -> bytes:
        """Writes a call, which comes whole: its arguments are an object, OpenAI's are text."""
        given = call.function.arguments
        arguments = given if isinstance(given, str) else _encode(given or {}).decode()
        call_id = call.id or f"call_{self._call_id}_{self.tool_calls}"
        return self.call(call_id, call.function.name) + self.arguments(arguments)

    def _image(self, data: str) -> bytes:
        try:
            media_type = sniffed_type(data)
        except (binascii.Error, ValueError):
            self.dropped += 1
            return b""
        return self.part(ImagePart(media_type or "image/png", data))


def _logprob(item: Mapping[str, Json]) -> Json:
    """Writes one token's log-probability as OpenAI does: the fields are the same, the list is never left out."""
    return {**item, "bytes": item.get("bytes"), "top_logprobs": item.get("top_logprobs") or []}


def _usage(line: _Line) -> Usage | None:
    """Reads the counts; None where there are none, `suspect` where one is missing (a prompt wholly cached, once)."""
    prompt, output = line.prompt_eval_count, line.eval_count
    if prompt is None and output is None:
        return None
    counts = {"prompt_eval_count": prompt, "eval_count": output}
    return Usage(
        fresh_input=max(0, prompt or 0),
        output_text=max(0, output or 0),
        raw=_encode({name: count for name, count in counts.items() if count is not None}),
        suspect=prompt is None or output is None or prompt < 0 or output < 0,
    )
