"""Decoders of a relay: Anthropic's answers go to the caller as the bytes that came, looked at once on the way.

Seen are whether an answer has begun, what it used, how it ended, and whether it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters import _sse
from adapters._anthropic_answer import FINISHES
from adapters._anthropic_errors import in_band
from adapters._anthropic_usage import merged, read_usage
from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.money import Usage

BYTES_PER_TOKEN: Final = 4  # of an answer that was left or cut before its last count

_decode: Final = msgspec.json.Decoder().decode


class _Delta(msgspec.Struct, gc=False):
    """What is looked at of a delta: that there is content, and how the message ended."""

    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    stop_reason: str | None = None


class _Block(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None


class _Head(msgspec.Struct, gc=False):
    model: str = ""
    usage: dict[str, Json] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Head | None = None
    usage: dict[str, Json] | None = None
    error: Json = None


class _Message(msgspec.Struct, gc=False):
    type: str = ""
    model: str = ""
    content: list[msgspec.Raw] | None = None
    usage: dict[str, Json] | None = None
    stop_reason: str | None = None
    error: Json = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_message: Final = msgspec.json.Decoder(_Message).decode

_DELTA: Final = b"event: content_block_delta\ndata: "


class StreamRelay:
    """Hands a stream on event by event; `message_stop` is its end, and everything else is a cut."""

    __slots__ = (
        "_counted",
        "_failure",
        "_framer",
        "_last_usage",
        "_model",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
    )

    def __init__(self) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._model = ""
        self._last_usage: dict[str, Json] | None = None
        self._counted = False  # the count is the answer's own, not that of its beginning
        self._framer = _sse.Framer()
        self._failure: UpstreamError | None = None

    @property
    def usage(self) -> Usage | None:
        """What was used; of an answer that stopped before its last count, the output is estimated from its bytes."""
        if self._last_usage is None:
            return None
        usage = read_usage(self._last_usage, self._model)
        if self._counted or not self.output_bytes:
            return usage
        said = max(usage.output_text, -(-self.output_bytes // BYTES_PER_TOKEN))
        return msgspec.structs.replace(usage, output_text=said, estimated=True)

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns the whole events of this read; an in-band error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        whole = self._framer.push(data)
        if not whole:
            return ()
        if whole.startswith(_DELTA):  # one delta a read is what a stream at its pace brings
            end = whole.find(b"\n", len(_DELTA))
            if end == len(whole) - 2:
                return (whole,) if self._see(whole[len(_DELTA) : end]) else ()
        return self._several(whole)

    def end(self) -> Iterable[bytes]:
        """Returns the last event where its blank line is missing; raises StreamCut where no `message_stop` came."""
        if self._failure is not None:
            raise self._failure
        rest = b"" if self.complete else self._framer.rest().strip(b"\r\n")
        seen = bool(rest) and self._see_block(rest)
        if not self.complete:
            raise StreamCut("the stream ended before message_stop")
        return (rest + b"\n\n",) if seen else ()

    def _several(self, whole: bytes) -> Iterable[bytes]:
        kept = []
        for block in _sse.blocks(whole):
            try:
                if self._see_block(block):
                    kept.append(block)
            except UpstreamError as error:
                if not kept or not self.started:
                    raise
                self._failure = error
                break
            if self.complete:
                break
        return (b"".join(kept),) if kept else ()

    def _see_block(self, block: bytes) -> bool:
        """Looks at one block of any form; whether it goes on to the caller."""
        _, data, stray = _sse.read(block)
        if data is not None:
            return self._see(data)
        if not stray:
            return True  # a comment, or an event of no data
        self.dropped += 1
        try:
            body = _decode(stray)
        except UNREADABLE:
            return False
        if isinstance(body, dict) and body.get("error") is not None:
            raise in_band(body["error"])
        return False

    def _see(self, data: bytes) -> bool:
        """Looks at one event's data; whether it goes on to the caller."""
        try:
            event = _decode_event(data)
        except msgspec.ValidationError:
            return True  # JSON of a form that we do not know: the caller's client may
        except UNREADABLE:
            self.dropped += 1
            return False
        kind, delta = event.type, event.delta
        if kind == "content_block_delta":
            if delta is None:
                return True
            piece = delta.text or delta.partial_json or delta.thinking
            if piece:
                self.started = True
                self.progress += 1
                self.output_bytes += len(piece) if piece.isascii() else len(piece.encode())
            elif delta.signature:
                self.started = True
                self.progress += 1
        elif kind == "content_block_start" and event.content_block is not None:
            self._open(event.content_block)
        elif kind == "message_start" and event.message is not None:
            self._model = event.message.model
            self._last_usage = event.message.usage
        elif kind == "message_delta":
            self._end(event)
        elif kind == "message_stop":
            if self.finish is None:
                raise StreamCut("the answer ended without a stop reason")
            self.complete = True
        elif kind == "error":
            raise in_band(event.error)
        return True

    def _open(self, block: _Block) -> None:
        """Begins a block: text and thinking begin with their first words, everything else with its name."""
        if block.type not in ("text", "thinking") or block.text or block.thinking:
            self.started = True
            self.progress += 1
            self.output_bytes += len(block.text or block.thinking or "")

    def _end(self, event: _Event) -> None:
        if event.usage is not None:
            self._last_usage = merged(self._last_usage or {}, event.usage)
            self._counted = True
        if event.delta is not None and event.delta.stop_reason:
            self.finish = FINISHES.get(event.delta.stop_reason, event.delta.stop_reason)


class UnaryRelay:
    """Gathers one message, reads usage and finish from it, and hands the same bytes on at its end."""

    __slots__ = ("_pieces", "complete", "dropped", "finish", "output_bytes", "progress", "started", "usage")

    def __init__(self) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where it holds an error or no message, StreamCut for half of one."""
        body = b"".join(self._pieces)
        try:
            message = _decode_message(body)
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        if message.type == "error" or message.error is not None:
            raise in_band(message.error)
        if message.content is None or message.stop_reason is None:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message")
        self.started = True
        self.progress = 1
        self.output_bytes = sum(map(len, message.content))
        self.finish = FINISHES.get(message.stop_reason, message.stop_reason)
        if message.usage is not None:
            self.usage = read_usage(message.usage, message.model)
        self.complete = True
        return (body,)


class _CountOf(msgspec.Struct, gc=False):
    input_tokens: int


_decode_count: Final = msgspec.json.Decoder(_CountOf).decode


class CountRelay(UnaryRelay):
    """Hands a count on; nothing was used, and nothing is paid."""

    __slots__ = ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where it holds no count."""
        body = b"".join(self._pieces)
        try:
            _decode_count(body)
        except UNREADABLE:  # what it says instead is no answer to a caller's question
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no count of tokens") from None
        self.started = True
        self.progress = 1
        self.complete = True
        return (body,)
