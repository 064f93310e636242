"""Decoders of a relay: OpenAI-shaped answers go to the caller as the bytes that came, looked at once on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters import _sse
from adapters._blocks import UNREADABLE
from adapters._openai_chunk import Answer, Choice, Chunk, Present, finish_word, loose_choices, read_loosely, text_size
from adapters._openai_fault import means_error, read_in_band
from adapters._openai_usage import read_usage, usage_in
from gateway.core.blocks import Json
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call

DONE: Final = b"data: [DONE]\n\n"

# vLLM, SGLang ("abort": the engine gave the request up) and Mistral ("error") end so what they could not answer.
_GIVEN_UP: Final = frozenset({"abort", "error"})

_decode_chunk: Final = msgspec.json.Decoder(Chunk).decode
_decode_answer: Final = msgspec.json.Decoder(Answer).decode


class UnaryRelay:
    """Gathers one JSON answer, reads usage and finish from it, and hands the same bytes on at its end."""

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
        """Returns the body; raises UpstreamError where a 200 holds an error, no choices, or no JSON at all."""
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            answer = _decode_answer(body)
        except UNREADABLE:
            answer = _loose_answer(body)
        if answer.error and means_error(bytes(answer.error)):
            raise read_in_band(body)
        choices = answer.choices
        if choices:
            for choice in choices:
                self._see(choice)
        elif answer.data is None:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer holds no choices")
        else:
            self.started = True
            self.progress = 1
        if answer.usage:
            self.usage = read_usage(bytes(answer.usage), answer.service_tier)
        self.complete = True
        return (body,)

    def _see(self, choice: Choice) -> None:
        size = choice.size() if choice.message is None else choice.message.size()
        if size:
            self.started = True
            self.progress += 1
            self.output_bytes += size
        native = choice.finish_reason
        if native:
            if native in _GIVEN_UP:  # half an answer or none: nothing of it has left
                raise UpstreamError(Reason.ABORTED, f"the provider gave the answer up ({native})")
            if self.finish is None or choice.index == 0:
                self.finish = finish_word(native)


class StreamRelay:
    """Hands a stream on event by event, and knows whether it ended or was cut.

    A finish reason for every choice seen, then `[DONE]` or the end of the HTTP body, is an end; everything else is a
    cut. The usage-only chunk is taken out where the caller did not ask for it; an event that is no JSON is dropped.
    """

    __slots__ = (
        "_failure",
        "_finished",
        "_framer",
        "_unsaid",
        "_usage",
        "_usage_asked",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
    )

    def __init__(self, call: Call, ends_unsaid: bool = False) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self._usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self._usage_asked = call.include_usage
        self._unsaid = ends_unsaid  # its streams end without a finish reason: usage, told last, is the sign
        self._framer = _sse.Framer()
        self._failure: UpstreamError | None = None
        self._finished: dict[int, bool] = {}  # by choice

    @property
    def usage(self) -> Usage | None:
        """What was used, as far as the provider has told."""
        return self._usage

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns the whole events of this read; raises UpstreamError on an in-band error, StreamCut on a false end.

        What content of the same read precedes a failure goes out first, and the failure is raised next.
        """
        if self.complete:
            return ()
        if self._failure is not None:
            raise self._failure
        whole = self._framer.push(data)
        if not whole:
            return ()
        line_end = whole.find(b"\n")
        if line_end >= len(whole) - 3 and whole.startswith(b"data: "):  # one event of one line, as nearly always
            return (whole,) if self._see(whole[6:line_end]) else ()
        return self._several(whole)

    def end(self) -> Iterable[bytes]:
        """Returns the sentinel where the provider left it out; raises StreamCut where the answer had not ended."""
        if self.complete:
            return ()
        if self._failure is not None:
            raise self._failure
        out = []
        rest = self._framer.rest().strip(b"\r\n")
        if rest:
            dropped = self.dropped
            if self._see_block(rest):
                out.append(rest + b"\n\n")
            if self.dropped > dropped:
                raise StreamCut("the stream ended within an event")
        if not self.complete:
            self._close("the stream ended without a finish reason")
            out.append(DONE)
        return out

    def _several(self, whole: bytes) -> Iterable[bytes]:
        kept: list[bytes] = []
        for block in _sse.blocks(whole):
            try:
                goes_on = self._see_block(block)
            except UpstreamError as failure:
                if not kept or not self.started:
                    raise
                self._failure = failure
                break
            if goes_on:
                kept.append(block)
            if self.complete:  # what follows the sentinel is no answer
                break
        return (b"".join(kept),) if kept else ()

    def _close(self, otherwise: str) -> None:
        if not self._finished or not (all(self._finished.values()) or (self._unsaid and self.usage is not None)):
            raise StreamCut(otherwise)
        self.complete = True

    def _see_block(self, block: bytes) -> bool:
        """Looks at one block of any form; whether it goes on to the caller."""
        line_end = block.find(b"\n")
        if line_end >= len(block) - 3 and block.startswith(b"data: "):
            return self._see(block[6:line_end])
        name, data, stray = _sse.read(block)
        if data is None:
            if not stray:
                return True  # a comment, or an event of no data: nothing that a caller could read as content
            bare = read_loosely(stray)
            if bare is not None and bare.get("error"):
                raise read_in_band(stray)
            self.dropped += 1
            return False
        if name == b"error":
            raise read_in_band(data)
        return self._see(data)

    def _see(self, data: bytes) -> bool:
        """Looks at one event's data; whether it goes on to the caller."""
        try:
            chunk = _decode_chunk(data)
        except UNREADABLE:
            if data.strip() == b"[DONE]":
                self._close("the stream was declared done before its answer was")
                return True
            loose = read_loosely(data)
            if loose is None:
                self.dropped += 1
                return False
            if loose.get("error"):
                raise read_in_band(data) from None
            chunk = Chunk(
                choices=loose_choices(loose.get("choices")),
                usage=Present() if isinstance(loose.get("usage"), dict) else None,
            )
        if chunk.error and means_error(bytes(chunk.error)):
            raise read_in_band(data)
        choices = chunk.choices
        if choices:
            for choice in choices:
                index = choice.index or 0
                delta = choice.delta
                if delta is not None and delta.content.__class__ is str and delta.content and not delta.tool_calls:
                    size = text_size(delta.content)
                else:
                    size = choice.size()
                if size:
                    self.started = True
                    self.progress += 1
                    self.output_bytes += size
                if choice.finish_reason:
                    self._see_finish(index, choice.finish_reason)
                elif index not in self._finished:
                    self._finished[index] = False
            if chunk.usage is not None or chunk.x_groq is not None:
                self._note_usage(data)
            return True
        if chunk.usage is None:
            return True
        self._note_usage(data)
        return self._usage_asked

    def _note_usage(self, data: bytes) -> None:
        """Takes the usage that a chunk of content brings."""
        self._usage = usage_in(data) or self._usage

    def _see_finish(self, index: int, native: str) -> None:
        if native in _GIVEN_UP and not self.started:
            raise UpstreamError(Reason.ABORTED, f"the provider gave the answer up ({native})")
        self._finished[index] = True
        if self.finish is None or index == 0:
            self.finish = finish_word(native)


def _loose_answer(body: bytes) -> Answer:
    """Reads an answer that the typed decoder refuses; raises UpstreamError where it is not JSON."""
    loose = read_loosely(body)
    if loose is None:
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is not a JSON object")
    if loose.get("error"):
        raise read_in_band(body)
    return Answer(
        choices=loose_choices(loose.get("choices")),
        data=[] if isinstance(loose.get("data"), list) else None,
        usage=msgspec.Raw(_usage_bytes(loose.get("usage"))),
    )


def _usage_bytes(usage: Json) -> bytes:
    try:
        return msgspec.json.encode(usage) if isinstance(usage, dict) else b""
    except (ValueError, UnicodeEncodeError):
        return b"{}"
