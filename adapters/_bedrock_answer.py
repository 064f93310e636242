"""A Converse answer as events, block by block; the same steps for a stream and for a whole answer.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStreamOutput.html (2026-11) and
recorded answers (2025 and 2026): a block of text or reasoning has no start, the usage comes after the stop.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters._bedrock_tools import Answering
from adapters._bedrock_usage import read_usage
from adapters._blocks import UNREADABLE
from gateway.core.blocks import (
    Citation,
    Finished,
    ImagePart,
    Json,
    Metered,
    OpaqueBlock,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.errors import StreamCut
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseResponse.html (2026-11). What is not here
# (malformed_model_output, malformed_tool_use) goes on as it is: such an end is no natural one.
_FINISHES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}

_SERVER_TOOL: Final = "server_tool_use"
_NESTED: Final = '{"properties":'


class ToolStart(msgspec.Struct, gc=False):
    """A tool call, as it begins in a stream or stands whole in an answer."""

    toolUseId: str = ""
    name: str = ""
    type: str | None = None
    input: Json = None


class _Block:
    """A block that is open: what of it is known only at its end."""

    __slots__ = (
        "begin",
        "begun",
        "citations",
        "pieces",
        "reasons",
        "redacted",
        "result",
        "server",
        "signature",
        "tool",
        "wraps",
    )

    def __init__(self, begin: int) -> None:
        self.begin = begin  # characters of text before it
        self.begun = False  # some of a tool's input has been passed on
        self.pieces: list[str] = []  # of a tool's input that is held back
        self.citations: list[dict[str, Json]] = []
        self.tool: int | None = None  # the number of the caller's tool call
        self.server: ToolStart | None = None  # a tool that Bedrock runs itself
        self.result: dict[str, Json] | None = None  # and what that answered
        self.wraps = False  # the synthetic tool's: its input is the answer
        self.reasons = False
        self.signature: str | None = None
        self.redacted: list[str] = []


class Answer:
    """Writes one answer into the caller's dialect, and notes what a decoder tells of it."""

    __slots__ = (
        "_answering",
        "_blocks",
        "_format",
        "_provider",
        "_stop",
        "_text_length",
        "_tools",
        "_undo",
        "_wrapped",
        "_writer",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, undo: Callable[[], Answering], provider: str) -> None:
        self.started = False
        self.progress = 0
        self.output_bytes = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._undo = undo  # asked once, at the first tool call: most answers have none
        self._provider = provider
        self._answering: Answering | None = None
        self._blocks: dict[int, _Block] = {}
        self._format: dict[int, str] = {}  # block -> format of an image
        self._text_length = 0
        self._tools = 0
        self._wrapped = False
        self._stop: str | None = None

    # -- the answer --

    def meter(self, usage: Mapping[str, Json], tier: Json) -> None:
        self.usage = read_usage(usage, tier)

    def stop(self, reason: str | None) -> None:
        self._stop = reason or self._stop

    def beside(self, name: str, value: Json) -> bytes:
        """Passes what stands beside the message (a guardrail's trace, fields that were asked for) as Bedrock's own."""
        return b"" if not value else self._writer.write(OpaqueBlock(self._provider, {name: value}))

    def whole(self) -> bytes:
        """Writes the end of an answer that ended; raises StreamCut where it never said why it stopped."""
        native = self._stop
        if native is None:
            raise StreamCut("the answer ended without a stop reason")
        finish = _FINISHES.get(native, native)
        if native == "tool_use" and self._wrapped and not self._tools:
            finish = "stop"  # the call was the synthetic tool's: the caller sees an answer in words
        out = [self.close(index) for index in list(self._blocks)]
        self.finish = finish
        self.complete = True
        out.append(self._writer.write(Finished(finish, native)))
        if self.usage is not None:
            out.append(self._writer.write(Metered(self.usage)))
        out.append(self._writer.end())
        return b"".join(out)

    # -- blocks --

    def open_tool(self, index: int, start: ToolStart) -> bytes:
        block = self._block(index)
        if start.type == _SERVER_TOOL:
            block.server = start
            return b""
        answering = self._answering
        if answering is None:
            answering = self._answering = self._undo()
        if start.name == answering.json_tool:
            block.wraps = self._wrapped = True
            return b""
        block.tool = self._tools  # the blocks' own numbers count text and reasoning too
        self._tools += 1
        self._seen("")
        name = answering.names.get(start.name, start.name)
        return self._writer.write(ToolCallBegin(block.tool, start.toolUseId, name))

    def open_result(self, index: int, result: dict[str, Json]) -> None:
        """Begins what a tool of Bedrock's own answered; its content may follow."""
        self._block(index).result = {"content": [], **result}

    def open_image(self, index: int, form: str) -> None:
        self._format[index] = form

    def text(self, index: int, text: str) -> bytes:
        if index not in self._blocks:
            self._block(index)
        return self._say(text) if text else b""

    def think(self, index: int, text: str | None, signature: str | None, redacted: str | None) -> bytes:
        block = self._block(index)
        block.reasons = True
        if signature:
            block.signature = signature
        if redacted:
            block.redacted.append(redacted)
        if not text:
            return b""
        self._seen(text)
        return self._writer.write(ThinkingDelta(text))

    def input(self, index: int, piece: str) -> bytes:
        """Takes more of a tool's input, as JSON text."""
        block = self._block(index)
        if block.wraps:
            return self._unwrap(block, piece)
        if block.tool is None:
            block.pieces.append(piece)
            return b""
        if not piece:
            return b""
        block.begun = True
        self._seen(piece)
        return self._writer.write(ToolCallDelta(block.tool, piece))

    def result(self, index: int, content: Json) -> None:
        block = self._block(index)
        if block.result is None:
            block.result = {"content": []}
        if isinstance(content, list):
            block.result["content"].extend(content)

    def cite(self, index: int, citation: Json) -> None:
        if isinstance(citation, dict):
            self._block(index).citations.append(citation)

    def image(self, index: int, source: Json) -> bytes:
        data = source.get("bytes") if isinstance(source, dict) else None
        if not isinstance(data, str):
            return b""
        self._seen(data)
        return self._writer.write(ImagePart(f"image/{self._format.get(index, 'png')}", data))

    def close(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        if block is None:
            return b""
        if block.tool is not None:
            # A call without input streams none; its arguments are an object all the same.
            return b"" if block.begun else self._writer.write(ToolCallDelta(block.tool, "{}"))
        if block.wraps:
            return self._unwrapped(block)
        if block.reasons:
            return self._reasoned(block)
        if block.server is not None:
            self._seen("")
            return self._writer.write(OpaqueBlock(self._provider, {"toolUse": _called(block.server, block.pieces)}))
        if block.result is not None:
            self._seen("")
            return self._writer.write(OpaqueBlock(self._provider, {"toolResult": block.result}))
        return b"".join(self._cited(block, citation) for citation in block.citations) if block.citations else b""

    def _block(self, index: int) -> _Block:
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block(self._text_length)
        return block

    def _reasoned(self, block: _Block) -> bytes:
        if block.redacted:
            self._seen("")
            return self._writer.write(ThinkingEnd(redacted=_joined(block.redacted), provider=self._provider))
        if block.signature is not None:
            self._seen("")  # a model may keep its reasoning to itself and only sign it
        return self._writer.write(ThinkingEnd(block.signature, provider=self._provider))

    def _cited(self, block: _Block, citation: dict[str, Json]) -> bytes:
        """Passes a citation with the place of the text it speaks of, in characters of the whole answer."""
        placed = {**citation, "start_index": block.begin, "end_index": self._text_length}
        location = citation.get("location")
        web = location.get("web") if isinstance(location, dict) else None
        if isinstance(web, dict) and isinstance(web.get("url"), str):
            placed["url"] = web["url"]
        return self._writer.write(Citation(placed))

    # -- the synthetic tool --

    def _unwrap(self, block: _Block, piece: str) -> bytes:
        """Passes the synthetic tool's input on as text, once it is seen not to hide in a `properties` of its own.

        Some models answer with the schema's shape around the values ({"properties": {…}}).
        """
        if block.begun:
            return self._say(piece) if piece else b""
        self.progress += 1
        block.pieces.append(piece)
        held = "".join(block.pieces)
        answering = self._answering
        if (answering is None or not answering.nests) and _NESTED.startswith("".join(held.split())[: len(_NESTED)]):
            return b""
        block.begun = True
        return self._say(held)

    def _unwrapped(self, block: _Block) -> bytes:
        """Passes what was held back of the synthetic tool's input, out of its wrapping."""
        if block.begun:
            return b""
        held = "".join(block.pieces) or "{}"
        try:
            value = _decode(held)
        except UNREADABLE:
            value = None
        inner = value.get("properties") if isinstance(value, dict) and len(value) == 1 else None
        return self._say(_encode(inner).decode() if isinstance(inner, dict) else held)

    def _say(self, text: str) -> bytes:
        self._text_length += len(text)
        self._seen(text)
        return self._writer.write(TextDelta(text))

    def _seen(self, piece: str) -> None:
        self.started = True
        self.progress += 1
        self.output_bytes += len(piece) if piece.isascii() else len(piece.encode())


def _joined(pieces: list[str]) -> str:
    """Puts bytes together that came in pieces, each as base64 of its own."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(base64.b64decode(piece) for piece in pieces)).decode()
    except ValueError:
        return "".join(pieces)


def _called(start: ToolStart, pieces: list[str]) -> dict[str, Json]:
    value = start.input
    if value is None:
        try:
            value = _decode("".join(pieces)) if any(pieces) else {}
        except UNREADABLE:
            value = {}
    return {"toolUseId": start.toolUseId, "name": start.name, "type": start.type, "input": value}
