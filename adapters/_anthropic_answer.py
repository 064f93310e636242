"""An Anthropic answer as events, block by block; the same steps for a stream and for a whole message.

Source: https://platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming (2026-11-20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters._anthropic_tools import Answering
from adapters._anthropic_usage import merged, read_usage
from adapters._blocks import UNREADABLE
from gateway.core.blocks import (
    Begin,
    Citation,
    Finished,
    Json,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.errors import StreamCut
from gateway.core.money import Usage

PROVIDER: Final = "anthropic"

_encode: Final = msgspec.json.Encoder().encode

# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons (2026-11-20). What is not here goes on as
# it is: an end that we do not know is not a natural one. A paused turn is unfinished, and goes on when it is sent back.
FINISHES: Final[Mapping[str, str]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "compaction": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Delta(msgspec.Struct, gc=False):
    """The deltas of a block, and of the message (the stop)."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    citation: Json = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Json = None


class _Block:
    """A block that is open: its kind, and what of it is known only at its end."""

    __slots__ = ("begin", "citations", "kind", "pieces", "signature", "tool", "value")

    def __init__(self, kind: str, value: dict[str, Json], begin: int) -> None:
        self.kind = kind
        self.value = value
        self.begin = begin  # characters of text before it
        self.pieces = 0
        self.tool = -1
        self.signature: str | None = None
        self.citations: list[Json] = []


class Answer:
    """Writes one answer into the caller's dialect, and notes what a decoder tells of it."""

    __slots__ = (
        "_answering",
        "_blocks",
        "_json_answered",
        "_last_usage",
        "_model",
        "_stop",
        "_text_length",
        "_tools",
        "_undo",
        "_writer",
        "_written_json",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, undo: Callable[[], Answering]) -> None:
        self.started = False
        self.progress = 0
        self.output_bytes = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._undo = undo  # asked once, at the first tool call: most answers have none
        self._answering: Answering | None = None
        self._blocks: dict[int, _Block] = {}
        self._text_length = 0
        self._tools = 0
        self._json_answered = False
        self._written_json: dict[int, list[str]] = {}  # block -> input of a tool of the provider's own
        self._last_usage: dict[str, Json] = {}
        self._model = ""
        self._stop: Delta | None = None

    # -- the message --

    def begin(self, answer_id: str, model: str, usage: Mapping[str, Json] | None) -> bytes:
        self._model = model
        if usage is not None:
            self.meter(usage)
        return self._writer.write(Begin(answer_id, model))

    def meter(self, usage: Mapping[str, Json]) -> None:
        """Takes usage as it stands; the next one overrides it, and a cut stream still has the last."""
        self._last_usage = merged(self._last_usage, usage)
        self.usage = read_usage(self._last_usage, self._model)

    def stop(self, delta: Delta) -> None:
        if delta.stop_reason is not None:
            self._stop = delta

    def whole(self) -> bytes:
        """Writes the end of an answer that the provider ended; raises StreamCut where it never said why it stopped."""
        stop = self._stop
        if stop is None or stop.stop_reason is None:
            raise StreamCut("the answer ended without a stop reason")
        native = stop.stop_reason
        finish = FINISHES.get(native, native)
        if native == "tool_use" and self._json_answered and not self._tools:
            finish = "stop"  # the call was the synthetic tool's: the caller sees an answer in words
        self.finish = finish
        self.complete = True
        out = []
        if native == "refusal":
            out.append(self._writer.write(RefusalDelta(_refusal(stop.stop_details))))
        out.append(self._writer.write(Finished(finish, native, stop.stop_sequence)))
        if self.usage is not None:
            out.append(self._writer.write(Metered(self.usage)))
        out.append(self._writer.end())
        return b"".join(out)

    # -- blocks --

    def open(self, index: int, value: dict[str, Json]) -> bytes:
        kind = str(value.get("type"))
        block = self._blocks[index] = _Block(kind, value, self._text_length)
        if kind == "text":
            citations = value.get("citations")
            if isinstance(citations, list):
                block.citations.extend(citations)
            return self.text(str(value["text"])) if value.get("text") else b""
        if kind == "thinking":
            signature = value.get("signature")
            block.signature = signature if isinstance(signature, str) and signature else None
            return self.think(str(value["thinking"])) if value.get("thinking") else b""
        if kind == "tool_use":
            return self._call(block)
        return b""

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        self._text_length += len(text)
        self._seen(text)
        return self._writer.write(TextDelta(text))

    def think(self, text: str) -> bytes:
        if not text:
            return b""
        self._seen(text)
        return self._writer.write(ThinkingDelta(text))

    def change(self, index: int, delta: Delta) -> bytes:
        """Takes a delta other than text and reasoning."""
        block = self._blocks.get(index)
        if block is None:
            return b""
        if delta.partial_json is not None:
            return self._input(index, block, delta.partial_json)
        if delta.signature is not None:
            block.signature = delta.signature
        elif delta.citation is not None:
            block.citations.append(delta.citation)
        return b""

    def extend(self, index: int, delta: Mapping[str, Json]) -> bytes:
        """Takes a delta of a kind only the provider knows: its strings go on from those of the block."""
        block = self._blocks.get(index)
        if block is not None:
            for name, value in delta.items():
                before = block.value.get(name) or ""
                if name != "type" and isinstance(value, str) and isinstance(before, str):
                    block.value[name] = before + value
        return b""

    def close(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        if block is None:
            return b""
        kind = block.kind
        if kind == "text":
            return b"".join(self._cite(block, citation) for citation in block.citations) if block.citations else b""
        if kind == "tool_use":
            # A call without input streams no input, or an empty piece of it; its arguments are an object all the same.
            return b"" if block.pieces else self._input(index, block, _encode(block.value.get("input") or {}).decode())
        if kind == "thinking":
            if block.signature is None:
                return self._writer.write(ThinkingEnd(provider=PROVIDER))
            self._seen("")  # a model may keep its reasoning to itself and only sign it
            return self._writer.write(ThinkingEnd(block.signature, provider=PROVIDER))
        self._seen("")
        if kind == "redacted_thinking":
            return self._writer.write(ThinkingEnd(redacted=str(block.value.get("data")), provider=PROVIDER))
        pieces = self._written_json.pop(index, None)
        if pieces:
            try:
                block.value["input"] = msgspec.json.decode("".join(pieces))
            except UNREADABLE:
                block.value["input"] = {}
        return self._writer.write(OpaqueBlock(PROVIDER, block.value))

    def _call(self, block: _Block) -> bytes:
        answering = self._answering
        if answering is None:
            answering = self._answering = self._undo()
        name = str(block.value.get("name"))
        if name == answering.json_tool:
            self._json_answered = True
            block.kind = "tool_use"
            return b""
        block.tool = self._tools  # the blocks' own numbers count text and the provider's tools too
        self._tools += 1
        self._seen("")
        return self._writer.write(
            ToolCallBegin(block.tool, str(block.value.get("id")), answering.names.get(name, name))
        )

    def _input(self, index: int, block: _Block, piece: str) -> bytes:
        if not piece:
            return b""
        if block.kind != "tool_use":
            self._written_json.setdefault(index, []).append(piece)
            return b""
        block.pieces += 1
        if block.tool < 0:
            return self.text(piece)
        self._seen(piece)
        return self._writer.write(ToolCallDelta(block.tool, piece))

    def _cite(self, block: _Block, citation: Json) -> bytes:
        """Passes a citation with the place of the text it speaks of, in characters of the whole answer."""
        if not isinstance(citation, dict):
            return b""
        placed = {**citation, "start_index": block.begin, "end_index": self._text_length}
        return self._writer.write(Citation(placed))

    def _seen(self, piece: str) -> None:
        self.started = True
        self.progress += 1
        self.output_bytes += len(piece) if piece.isascii() else len(piece.encode())


def _refusal(details: Json) -> str:
    explanation = details.get("explanation") if isinstance(details, dict) else None
    return explanation if isinstance(explanation, str) and explanation else "The model declined to answer."
