"""Decoders of Anthropic's answers: an event stream as it comes, or one message at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from adapters import _sse
from adapters._anthropic_answer import Answer, Delta
from adapters._anthropic_errors import in_band
from adapters._anthropic_tools import Answering
from adapters._blocks import UNREADABLE
from gateway.core.blocks import Json
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError


class _Message(msgspec.Struct, gc=False):
    """A whole message, or the head of one that is streamed."""

    type: str = ""
    id: str = ""
    model: str = ""
    content: list[dict[str, Json]] | None = None
    usage: dict[str, Json] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Json = None
    error: Json = None


class _Event(msgspec.Struct, gc=False):
    """Any event of a stream."""

    type: str
    index: int = 0
    delta: Delta | None = None
    content_block: dict[str, Json] | None = None
    message: _Message | None = None
    usage: dict[str, Json] | None = None
    error: Json = None


class _Loose(msgspec.Struct, gc=False):
    delta: dict[str, Json] = {}


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_message: Final = msgspec.json.Decoder(_Message).decode
_decode_loose: Final = msgspec.json.Decoder(_Loose).decode
_decode: Final = msgspec.json.Decoder().decode

_KNOWN_DELTAS: Final = frozenset({"input_json_delta", "signature_delta", "citations_delta"})
_DATA: Final = b"\ndata: "


class StreamDecoder(Answer):
    """Reads a stream; `message_stop` is its end, and nothing else is.

    The finish is held back until then, so that a stream cut after its last delta carries none.
    """

    __slots__ = ("_failure", "_framer")

    def __init__(self, writer: Writer, undo: Callable[[], Answering]) -> None:
        super().__init__(writer, undo)
        self._framer = _sse.Framer()
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what the events of this read become; an error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        whole = self._framer.push(data)
        if not whole or self.finish is not None:
            return ()
        out: list[bytes] = []
        # One event a read is what a stream at its pace brings: 0.4 us less than splitting it.
        for block in (whole,) if whole.find(b"\n\n") == len(whole) - 2 else _sse.blocks(whole):
            try:
                written = self._block(block)
            except UpstreamError as error:
                if not out or not self.started:
                    raise
                self._failure = error
                break
            if written:
                out.append(written)
            if self.complete:
                break
        return out

    def end(self) -> Iterable[bytes]:
        """Returns nothing more; raises what went wrong, or StreamCut where no `message_stop` came."""
        if self._failure is not None:
            raise self._failure
        if self.finish is not None:
            return ()
        rest = self._framer.rest()
        written = self._block(rest) if rest.strip() else b""
        if not written or not self.complete:
            raise StreamCut("the stream ended before message_stop")
        return (written,)

    def _block(self, block: bytes) -> bytes:
        # As the API writes them: a line for the name, one for the data. Anything else is read by the book.
        if block.startswith(b"event: "):
            data = block[block.find(_DATA) + len(_DATA) : -2]
            if data.startswith(b"{") and b"\n" not in data and block.endswith(b"\n\n"):
                return self._event(data)
        _, read, stray = _sse.read(block)
        if read is not None:
            return self._event(read)
        if stray:
            self._stray(stray)
        return b""

    def _event(self, data: bytes) -> bytes:
        try:
            event = _decode_event(data)
        except UNREADABLE:
            self.dropped += 1
            return b""
        delta = event.delta
        kind = event.type
        if kind == "content_block_delta" and delta is not None:
            if delta.type == "text_delta":
                return self.text(delta.text or "")
            if delta.type == "thinking_delta":
                return self.think(delta.thinking or "")
            if delta.type in _KNOWN_DELTAS:
                return self.change(event.index, delta)
            try:
                loose = _decode_loose(data).delta
            except UNREADABLE:  # what the typed reading had skipped
                self.dropped += 1
                return b""
            return self.extend(event.index, loose)
        if kind == "content_block_start" and event.content_block is not None:
            return self.open(event.index, event.content_block)
        if kind == "content_block_stop":
            return self.close(event.index)
        if kind == "message_start" and event.message is not None:
            message = event.message
            return self.begin(message.id, message.model, message.usage)
        if kind == "message_delta":
            if event.usage is not None:
                self.meter(event.usage)
            if delta is not None:
                self.stop(delta)
        elif kind == "message_stop":
            return self.whole()
        elif kind == "error":
            raise in_band(event.error)
        return b""

    def _stray(self, stray: bytes) -> None:
        """Looks at lines that are no event stream: an error may come as bare JSON, the rest is dropped."""
        self.dropped += 1
        try:
            body = _decode(stray)
        except UNREADABLE:
            return
        if isinstance(body, dict) and body.get("error") is not None:
            raise in_band(body["error"])


class UnaryDecoder(Answer):
    """Gathers one message and reads it at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, writer: Writer, undo: Callable[[], Answering]) -> None:
        super().__init__(writer, undo)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the caller's body; raises UpstreamError where a 200 holds an error or no message."""
        try:
            message = _decode_message(b"".join(self._pieces))
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        if message.type == "error" or message.error is not None:
            raise in_band(message.error)
        if message.content is None:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message")
        self.begin(message.id, message.model, message.usage)
        for index, block in enumerate(message.content):
            self.open(index, block)
            self.close(index)
        self.stop(
            Delta(
                stop_reason=message.stop_reason,
                stop_sequence=message.stop_sequence,
                stop_details=message.stop_details,
            )
        )
        return (self.whole(),)
