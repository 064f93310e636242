"""An answer on its way from a provider's wire to the caller's: what every translating decoder notes and writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Protocol

from gateway.core.blocks import (
    Begin,
    Event,
    Finished,
    Metered,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.errors import StreamCut, UpstreamError
from gateway.core.money import Usage


class Framer(Protocol):
    """Cuts a stream into its frames: events or lines."""

    def push(self, data: bytes) -> Iterable[bytes]:
        """Returns the whole frames there are now."""
        ...

    def rest(self) -> bytes:
        """Returns the half frame that is left."""
        ...


class Answer(ABC):
    """A decoder: a provider's file reads frames of a stream, or one body, and writes them with these steps.

    Without a `framer` the answer comes in one piece, and is read at its end.
    """

    def __init__(self, writer: Writer, provider: str, framer: Framer | None) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self.text_length = 0  # characters
        self.tool_calls = 0
        self._writer = writer
        self._provider = provider
        self._framer = framer
        self._pieces: list[bytes] = []
        self._failure: UpstreamError | None = None
        self._thinking = False  # a reasoning block is open
        self._unfilled = False  # the last tool call has no arguments yet

    @abstractmethod
    def frame(self, frame: bytes) -> bytes:
        """Writes one frame of a stream; raises UpstreamError on an in-band error."""

    @abstractmethod
    def body(self, body: bytes) -> bytes:
        """Writes a whole body; raises UpstreamError where a 200 holds an error or no answer."""

    # -- as the bytes come --

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what the frames of this read become; an error that follows content in it is raised next."""
        if self._failure is not None:
            raise self._failure
        if self._framer is None:
            self._pieces.append(data)
            return ()
        if self.finish is not None:
            return ()
        out: list[bytes] = []
        for frame in self._framer.push(data):
            try:
                written = self.frame(frame)
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
        """Returns the rest; raises what went wrong, or StreamCut where the provider did not end its answer."""
        if self._failure is not None:
            raise self._failure
        if self._framer is None:
            return (self.body(b"".join(self._pieces)),)
        if self.finish is not None:
            return ()
        rest = self._framer.rest()
        written = self.frame(rest) if rest.strip() else b""
        if not self.complete:
            raise StreamCut("the stream ended before its answer had")
        return (written,)

    # -- steps --

    def begin(self, answer_id: str, model: str, created: int | None = None) -> bytes:
        return self._writer.write(Begin(answer_id, model, created))

    def text(self, text: str) -> bytes:
        if not text:
            return b""
        self.text_length += len(text)
        self._seen(text)
        return self.close_thinking() + self._writer.write(TextDelta(text))

    def think(self, text: str) -> bytes:
        if not text:
            return b""
        self._thinking = True
        self._seen(text)
        return self._writer.write(ThinkingDelta(text))

    def close_thinking(self) -> bytes:
        """Ends the reasoning block that is open, if one is."""
        if not self._thinking:
            return b""
        self._thinking = False
        return self._writer.write(ThinkingEnd(provider=self._provider))

    def call(self, call_id: str, name: str) -> bytes:
        """Begins the next tool call; the one before it is whole."""
        out = self.close_thinking() + self.close_call()
        self._seen("")
        self._unfilled = True
        self.tool_calls += 1
        return out + self._writer.write(ToolCallBegin(self.tool_calls - 1, call_id, name))

    def arguments(self, piece: str) -> bytes:
        """Adds to the arguments of the last tool call."""
        if not piece or not self.tool_calls:
            return b""
        self._unfilled = False
        self._seen(piece)
        return self._writer.write(ToolCallDelta(self.tool_calls - 1, piece))

    def close_call(self) -> bytes:
        """Ends the last tool call: arguments are an object, also where the model wrote none."""
        return self.arguments("{}") if self._unfilled else b""

    def part(self, event: Event) -> bytes:
        """Writes content of any other kind."""
        self._seen("")
        return self._writer.write(event)

    def note(self, event: Event) -> bytes:
        """Writes what is no content by itself: a citation, log-probabilities."""
        return self._writer.write(event)

    def whole(self, finish: str, native: str) -> bytes:
        """Writes the end of an answer that the provider ended, with the usage as far as it is known."""
        out = [self.close_thinking(), self.close_call()]
        self.finish = finish
        self.complete = True
        out.append(self._writer.write(Finished(finish, native)))
        if self.usage is not None:
            out.append(self._writer.write(Metered(self.usage)))
        out.append(self._writer.end())
        return b"".join(out)

    def _seen(self, piece: str) -> None:
        self.started = True
        self.progress += 1
        self.output_bytes += len(piece) if piece.isascii() else len(piece.encode())
