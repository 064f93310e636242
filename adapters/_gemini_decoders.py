"""Decoders of Gemini's answers: server-sent events, an array that grows, or one response at its end.

Recorded streams end their lines in CRLF and have no sentinel; without `alt=sse` the API streams a JSON array; an error
may come as bare JSON under the content type of an event stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec

from adapters import _sse
from adapters._blocks import UNREADABLE
from adapters._gemini_answer import Answer, Response
from adapters._gemini_errors import error_of, in_band
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError

_decode: Final = msgspec.json.Decoder(Response).decode
_decode_array: Final = msgspec.json.Decoder(list[Response]).decode
_decode_any: Final = msgspec.json.Decoder().decode

_DATA: Final = b"data: "
_BLANK: Final = b" \t\r\n"


class StreamDecoder(Answer):
    """Reads a stream; the provider's close is its end, and every candidate must have finished by then."""

    __slots__ = ("_array", "_failure", "_framer")

    def __init__(self, writer: Writer, undo: Callable[[], Mapping[str, str]], provider: str, call_id: str) -> None:
        super().__init__(writer, undo, provider, call_id)
        self._framer = _sse.Framer()
        self._array: ArrayFramer | None = None
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what the events of this read become; an error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        out: list[bytes] = []
        for document in self._documents(data):
            try:
                written = self._document(document)
            except UpstreamError as error:
                if not out or not self.started:
                    raise
                self._failure = error
                break
            if written:
                out.append(written)
        return out

    def end(self) -> Iterable[bytes]:
        """Returns the end; raises what went wrong, or StreamCut where a candidate never finished."""
        if self._failure is not None:
            raise self._failure
        out = []
        if self._array is not None:
            if not self._array.closed:
                raise StreamCut("the stream's array was not closed")
        else:
            rest = self._framer.rest()
            if rest.strip():
                out.append(self._rest(rest))
        out.append(self.whole())
        return [piece for piece in out if piece]

    def _documents(self, data: bytes) -> Iterator[bytes]:
        """Yields each JSON document that is whole now."""
        if self._array is None and not self._began and not self._framer.rest():
            data = data.lstrip(_BLANK)
            if data.startswith(b"["):
                self._array = ArrayFramer()
        if self._array is not None:
            yield from self._array.push(data)
            return
        whole = self._framer.push(data)
        if whole:
            for block in _sse.blocks(whole):
                if block.startswith(_DATA) and block.find(b"\n") >= len(block) - 4:  # one line, as the API writes them
                    yield block[len(_DATA) :]
                    continue
                _, read, stray = _sse.read(block)
                if read is not None:
                    yield read
                elif stray:
                    self._stray(stray)

    def _document(self, document: bytes) -> bytes:
        try:
            response = _decode(document)
        except UNREADABLE:
            self.dropped += 1
            return b""
        return self.take(response)

    def _rest(self, rest: bytes) -> bytes:
        """Reads what no blank line ended: a last event, or an error in bare JSON."""
        _, read, stray = _sse.read(rest)
        if read is None:
            self._stray(stray)
            return b""
        try:
            return self.take(_decode(read))
        except UNREADABLE:
            raise StreamCut("the stream ended within an event") from None

    def _stray(self, stray: bytes) -> None:
        """Looks at lines that are no event stream: an error may come as bare JSON, the rest is dropped."""
        self.dropped += 1
        try:
            error = error_of(_decode_any(stray))
        except UNREADABLE:
            return
        if error is not None:
            raise in_band(error)


class UnaryDecoder(Answer):
    """Gathers one answer and reads it at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, writer: Writer, undo: Callable[[], Mapping[str, str]], provider: str, call_id: str) -> None:
        super().__init__(writer, undo, provider, call_id)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the caller's body; raises UpstreamError where a 200 holds an error or no answer."""
        body = b"".join(self._pieces)
        try:
            responses = _decode_array(body) if body.lstrip(_BLANK).startswith(b"[") else [_decode(body)]
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no response") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        out = [self.take(response) for response in responses]
        if not self._choices:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer has no candidate")
        out.append(self.whole())
        return (b"".join(out),)


class ArrayFramer:
    """Cuts the objects out of an array that grows: each is handed on once it is whole."""

    __slots__ = ("_depth", "_escaped", "_held", "_quoted", "closed")

    def __init__(self) -> None:
        self._held = bytearray()
        self._depth = 0  # of braces
        self._quoted = False
        self._escaped = False
        self.closed = False

    def push(self, data: bytes) -> Iterator[bytes]:
        """Yields the objects that are whole now; raises UpstreamError for one past every bound."""
        held = self._held
        for byte in data:
            if self._quoted:
                held.append(byte)
                if self._escaped:
                    self._escaped = False
                elif byte == 0x5C:  # backslash
                    self._escaped = True
                elif byte == 0x22:
                    self._quoted = False
                continue
            if byte == 0x7B:  # {
                self._depth += 1
            elif self._depth == 0:
                self.closed = self.closed or byte == 0x5D  # ]
                continue
            held.append(byte)
            if byte == 0x22:
                self._quoted = True
            elif byte == 0x7D:  # }
                self._depth -= 1
                if self._depth == 0:
                    whole = bytes(held)
                    held.clear()
                    yield whole
        if len(held) > _sse.EVENT_BYTES_MAX:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider sent an element past every bound")
