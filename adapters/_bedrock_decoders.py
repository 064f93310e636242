"""Decoders of Converse's answers: an event stream as it comes, or one answer at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from adapters._bedrock_answer import Answer, ToolStart
from adapters._bedrock_errors import in_band
from adapters._bedrock_tools import Answering
from adapters._blocks import UNREADABLE
from adapters._eventstream import Frame, Framer
from gateway.core.blocks import Json
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError


class _Reasoning(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class _ToolDelta(msgspec.Struct, gc=False):
    input: str = ""


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    toolUse: _ToolDelta | None = None
    toolResult: Json = None
    reasoningContent: _Reasoning | None = None
    citation: Json = None
    image: Json = None


class _Start(msgspec.Struct, gc=False):
    toolUse: ToolStart | None = None
    toolResult: dict[str, Json] | None = None
    image: dict[str, Json] | None = None


class _Event(msgspec.Struct, gc=False):
    """The payload of any event of a stream; the padding `p` is nobody's."""

    contentBlockIndex: int = 0
    delta: _Delta | None = None
    start: _Start | None = None
    stopReason: str | None = None
    usage: dict[str, Json] | None = None
    serviceTier: Json = None
    trace: Json = None
    additionalModelResponseFields: Json = None


class _Output(msgspec.Struct, gc=False):
    message: dict[str, Json] | None = None


class _Whole(msgspec.Struct, gc=False):
    output: _Output | None = None
    stopReason: str | None = None
    usage: dict[str, Json] | None = None
    serviceTier: Json = None
    trace: Json = None
    additionalModelResponseFields: Json = None
    message: str | None = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_whole: Final = msgspec.json.Decoder(_Whole).decode


class StreamDecoder(Answer):
    """Reads a stream. `messageStop` says why it ended, `metadata` after it what was used: then it is whole.

    The finish is held back until then, or until the body's proper end where no metadata comes.
    """

    __slots__ = ("_failure", "_framer")

    def __init__(self, writer: Writer, undo: Callable[[], Answering], provider: str) -> None:
        super().__init__(writer, undo, provider)
        self._framer = Framer()
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what the events of this read become; an error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        framer = self._framer
        framer.push(data)
        out: list[bytes] = []
        while not self.complete:
            try:
                frame = framer.next()
                if frame is None:
                    break
                written = self._event(frame)
            except UpstreamError as error:
                if not out or not self.started:
                    raise
                self._failure = error
                break
            if written:
                out.append(written)
        return out

    def end(self) -> Iterable[bytes]:
        """Returns the rest; raises what went wrong, or StreamCut where the stream had not ended."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        if self._framer.pending:
            raise StreamCut("the stream ended within a frame")
        return (self.whole(),)

    def _event(self, frame: Frame) -> bytes:
        headers = frame.headers
        kind = headers.get(":event-type")
        if kind is None or headers.get(":message-type", "event") != "event":
            if headers.get(":message-type") in ("exception", "error"):
                named = headers.get(":exception-type") or headers.get(":error-code")
                raise in_band(named, frame.payload, headers.get(":error-message"))
            self.dropped += 1
            return b""
        try:
            event = _decode_event(frame.payload)
        except UNREADABLE:
            self.dropped += 1
            return b""
        index = event.contentBlockIndex
        if kind == "contentBlockDelta" and event.delta is not None:
            delta = event.delta
            if delta.text is not None:
                return self.text(index, delta.text)
            if delta.toolUse is not None:
                return self.input(index, delta.toolUse.input)
            if delta.reasoningContent is not None:
                reasoning = delta.reasoningContent
                return self.think(index, reasoning.text, reasoning.signature, reasoning.redactedContent)
            if delta.citation is not None:
                self.cite(index, delta.citation)
            elif delta.toolResult is not None:
                self.result(index, delta.toolResult)
            elif isinstance(delta.image, dict):
                return self.image(index, delta.image.get("source"))
        elif kind == "contentBlockStart" and event.start is not None:
            if event.start.toolUse is not None:
                return self.open_tool(index, event.start.toolUse)
            if event.start.toolResult is not None:
                self.open_result(index, event.start.toolResult)
            elif event.start.image is not None:
                self.open_image(index, str(event.start.image.get("format")))
        elif kind == "contentBlockStop":
            return self.close(index)
        elif kind == "messageStop":
            self.stop(event.stopReason)
            return self.beside("additionalModelResponseFields", event.additionalModelResponseFields)
        elif kind == "metadata":
            if event.usage is not None:
                self.meter(event.usage, event.serviceTier)
            return self.beside("trace", event.trace) + self.whole()
        return b""


class UnaryDecoder(Answer):
    """Gathers one answer and reads it at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, writer: Writer, undo: Callable[[], Answering], provider: str) -> None:
        super().__init__(writer, undo, provider)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the caller's body; raises UpstreamError where a 200 holds an error or no message."""
        try:
            answer = _decode_whole(b"".join(self._pieces))
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        message = answer.output.message if answer.output is not None else None
        if message is None:
            told = "the provider's answer is no message" if answer.message is None else answer.message
            raise UpstreamError(Reason.SERVER_ERROR, told)
        out = []
        content = message.get("content")
        for index, block in enumerate(content if isinstance(content, list) else []):
            if isinstance(block, dict):
                out.append(self._content(index, block))
                out.append(self.close(index))
        if answer.usage is not None:
            self.meter(answer.usage, answer.serviceTier)
        out.append(self.beside("additionalModelResponseFields", answer.additionalModelResponseFields))
        out.append(self.beside("trace", answer.trace))
        self.stop(answer.stopReason)
        out.append(self.whole())
        return (b"".join(out),)

    def _content(self, index: int, block: dict[str, Json]) -> bytes:
        text = block.get("text")
        if isinstance(text, str):
            return self.text(index, text)
        tool = block.get("toolUse")
        if isinstance(tool, dict):
            return self._tool(index, tool)
        reasoning = block.get("reasoningContent")
        if isinstance(reasoning, dict):
            inner = reasoning.get("reasoningText")
            inner = inner if isinstance(inner, dict) else {}
            redacted = reasoning.get("redactedContent")
            return self.think(index, _text(inner, "text"), _text(inner, "signature"), _string(redacted))
        cited = block.get("citationsContent")
        if isinstance(cited, dict):
            parts, citations = cited.get("content"), cited.get("citations")
            out = [
                self.text(index, part["text"])
                for part in (parts if isinstance(parts, list) else [])
                if isinstance(part, dict) and isinstance(part.get("text"), str)
            ]
            for citation in citations if isinstance(citations, list) else []:
                self.cite(index, citation)
            return b"".join(out)
        if isinstance(block.get("toolResult"), dict):
            self.open_result(index, block["toolResult"])
        elif isinstance(block.get("image"), dict):
            self.open_image(index, str(block["image"].get("format")))
            return self.image(index, block["image"].get("source"))
        else:
            self.dropped += 1
        return b""

    def _tool(self, index: int, tool: dict[str, Json]) -> bytes:
        start = ToolStart(
            _text(tool, "toolUseId") or "", _text(tool, "name") or "", _text(tool, "type"), tool.get("input")
        )
        written = self.open_tool(index, start)
        given = tool.get("input")
        return written + self.input(index, msgspec.json.encode({} if given is None else given).decode())


def _string(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def _text(holder: dict[str, Json], name: str) -> str | None:
    return _string(holder.get(name))
