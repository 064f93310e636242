"""Decoders of chat answers for callers of other dialects, by the same law of streams as the relay's."""

from __future__ import annotations

from collections.abc import Iterable

from adapters import _sse
from adapters._openai_chat_answer import ChatAnswer, CustomTools
from adapters._openai_chat_model import read
from adapters._openai_chunk import read_loosely
from adapters._openai_fault import means_error, read_in_band
from adapters._openai_quirks import Quirks
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError


class ChatStream(ChatAnswer):
    """Reads a stream: it is whole with a finish for each choice and then `[DONE]`, or a proper end of the body."""

    __slots__ = ("_failure", "_framer")

    def __init__(self, writer: Writer, call_id: str, provider: str, quirks: Quirks, custom_tools: CustomTools) -> None:
        super().__init__(writer, call_id, provider, quirks, custom_tools)
        self._framer = _sse.Framer()
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what the events of this read become; an error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        whole = self._framer.push(data)
        return self._several(whole) if whole else ()

    def _several(self, whole: bytes) -> Iterable[bytes]:
        out: list[bytes] = []
        for block in _sse.blocks(whole):
            try:
                written = self._block(block)
            except UpstreamError as error:
                if not out or not self.started:
                    raise
                self._failure = error
                break
            if written:
                out.append(written)
            if self.complete:  # what follows the sentinel is no answer
                break
        return out

    def end(self) -> Iterable[bytes]:
        """Returns the rest; raises what went wrong, or StreamCut where the answer had not ended."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        out = []
        rest = self._framer.rest().strip(b"\r\n")
        if rest:
            dropped = self.dropped
            out.append(self._block(rest))
            if self.dropped > dropped:
                raise StreamCut("the stream ended within an event")
        if not self.complete:
            out.append(self.whole("the stream ended without a finish reason"))
        return out

    def _block(self, block: bytes) -> bytes:
        name, data, stray = _sse.read(block)
        if data is None:
            return self._stray(stray) if stray else b""
        if name == b"error":
            raise read_in_band(data)
        if data.strip() == b"[DONE]":
            return self.whole("the stream was declared done before its answer was")
        chunk = read(data)
        if chunk is None:
            self.dropped += 1
            return b""
        if chunk.error and means_error(bytes(chunk.error)):
            raise read_in_band(data)
        return self.take(chunk, data)

    def _stray(self, stray: bytes) -> bytes:
        """Looks at lines that are no event stream: an error may come as bare JSON, the rest is dropped."""
        bare = read_loosely(stray)
        if bare is not None and bare.get("error"):
            raise read_in_band(stray)
        self.dropped += 1
        return b""


class ChatUnary(ChatAnswer):
    """Gathers one completion and reads it at its end."""

    __slots__ = ("_pieces",)

    def __init__(self, writer: Writer, call_id: str, provider: str, quirks: Quirks, custom_tools: CustomTools) -> None:
        super().__init__(writer, call_id, provider, quirks, custom_tools)
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the caller's body; raises UpstreamError where a 200 holds an error, no choices, or no JSON at all."""
        body = b"".join(self._pieces)
        answer = read(body)
        if answer is None:
            raise StreamCut("the answer is not a whole JSON object")
        if answer.error and means_error(bytes(answer.error)):
            raise read_in_band(body)
        if not answer.choices:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no choices")
        for choice in answer.choices:
            if choice.message is not None:
                choice.delta = None  # Perplexity writes an empty one beside it (recorded, 2026-06)
        return (self.take(answer, body) + self.whole("the answer ended without a finish reason"),)
