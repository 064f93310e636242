"""A Gemini answer as events, part by part; the same steps for a chunk of a stream and for a whole answer.

Sources (2026-11): https://ai.google.dev/api/generate-content#generatecontentresponse and
…/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters._gemini_arguments import Arguments
from adapters._gemini_errors import in_band
from adapters._gemini_grounding import Grounding
from adapters._gemini_usage import counts_tokens, read_usage
from gateway.core.blocks import (
    Begin,
    Event,
    Finished,
    ImagePart,
    Json,
    Logprobs,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    TextEnd,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.money import Usage

_encode: Final = msgspec.json.Encoder().encode

# https://ai.google.dev/api/generate-content#FinishReason (2026-11). What is not here goes on as it is: an end that we
# do not know is not a natural one.
_FINISHES: Final[Mapping[str, str]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}

# A server that is asked for numbers instead of names writes these; beyond them AI Studio and Vertex count differently.
_NUMBERED: Final[Mapping[int, str]] = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}

_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)")


class Content(msgspec.Struct, gc=False):
    """A candidate's parts so far, or of this chunk."""

    parts: list[dict[str, Json]] | None = None


class Candidate(msgspec.Struct, gc=False):
    """One of the answers of a response."""

    index: int = 0
    content: Content | None = None
    finishReason: str | int | None = None
    finishMessage: str | None = None
    groundingMetadata: Json = None
    citationMetadata: Json = None
    logprobsResult: Json = None


class Response(msgspec.Struct, gc=False):
    """A whole answer, or a chunk of one."""

    candidates: list[Candidate] | None = None
    usageMetadata: dict[str, Json] | None = None
    promptFeedback: Json = None
    modelVersion: str | None = None
    responseId: str | None = None
    createTime: str | None = None
    error: Json = None


class _Choice:
    """What one candidate has said so far, as far as the rest needs it."""

    __slots__ = ("arguments", "calls", "finish", "grounding", "message", "thinking")

    def __init__(self) -> None:
        self.thinking = False  # a reasoning block is open
        self.calls = 0
        self.arguments: Arguments | None = None  # of a call that is open
        self.finish: str | None = None
        self.message: str | None = None
        self.grounding = Grounding()


class Answer:
    """Writes one answer into the caller's dialect, and notes what a decoder tells of it.

    Gemini has no mark of an answer's end: usage and sources may follow a finish. So finishes are held back until the
    provider has closed, and an answer of which any candidate has none was cut.
    """

    __slots__ = (
        "_began",
        "_blocked",
        "_call_id",
        "_choices",
        "_names",
        "_provider",
        "_undo",
        "_writer",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, undo: Callable[[], Mapping[str, str]], provider: str, call_id: str) -> None:
        self.started = False
        self.progress = 0
        self.output_bytes = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._undo = undo  # the callers' names of functions; asked once, at the first call
        self._names: Mapping[str, str] | None = None
        self._provider = provider
        self._call_id = call_id
        self._choices: dict[int, _Choice] = {}
        self._began = False
        self._blocked: str | None = None

    def take(self, response: Response) -> bytes:
        """Takes a response, or a chunk of one; raises UpstreamError for an error in its place."""
        if response.error is not None:
            raise in_band(response.error)
        out: list[bytes] = []
        if not self._began:
            self._began = True
            begin = Begin(response.responseId or "", response.modelVersion or "", _epoch(response.createTime))
            out.append(self._writer.write(begin))
        if response.usageMetadata is not None and counts_tokens(response.usageMetadata):
            self.usage = read_usage(response.usageMetadata)  # cumulative: the last one holds
        for candidate in response.candidates or ():
            out.extend(self._candidate(candidate))
        if not response.candidates and isinstance(response.promptFeedback, dict):
            out.extend(self._block(response.promptFeedback))
        return b"".join(out)

    def whole(self) -> bytes:
        """Writes the end of an answer that the provider has closed; raises StreamCut where it never said why."""
        choices = self._choices.values()
        if not choices or any(choice.finish is None or choice.arguments is not None for choice in choices):
            raise StreamCut("the answer ended without a finish reason")
        out: list[bytes] = []
        for number, choice in sorted(self._choices.items()):
            native = choice.finish or ""
            finish = self._finish(native, choice)
            out.extend(self._write(event) for event in choice.grounding.citations(number))
            if choice.thinking:
                out.append(self._end_thinking(choice, number, None))
            if self.finish is None:
                self.finish = finish
            out.append(self._write(Finished(finish, native, choice=number)))
        self.complete = True
        if self.usage is not None:
            out.append(self._write(Metered(self.usage)))
        out.append(self._writer.end())
        return b"".join(out)

    def _finish(self, native: str, choice: _Choice) -> str:
        """Returns the finish in our words; raises UpstreamError where nothing was said but what went wrong.

        A function's call ends with STOP as any answer does.
        """
        if native == "STOP" and choice.calls:
            return "tool_calls"
        if self._blocked is not None:
            return "content_filter"
        finish = _FINISHES.get(native)
        if finish is not None:
            return finish
        if not self.started:
            said = f": {choice.message}" if choice.message else ""
            raise UpstreamError(Reason.ABORTED, f"the model ended with {native}{said}")
        return native

    # -- candidates and parts --

    def _candidate(self, candidate: Candidate) -> list[bytes]:
        number = candidate.index
        choice = self._choices.get(number)
        if choice is None:
            choice = self._choices[number] = _Choice()
        out: list[bytes] = []
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, choice, number, out)
        if candidate.logprobsResult is not None:
            content = _logprobs(candidate.logprobsResult)
            if content:
                out.append(self._write(Logprobs(content, number)))
        if candidate.citationMetadata is not None:
            out.extend(self._write(event) for event in choice.grounding.cite(candidate.citationMetadata, number))
        if candidate.groundingMetadata is not None:
            choice.grounding.note(candidate.groundingMetadata)
        reason = candidate.finishReason
        if reason is not None and choice.finish is None:
            choice.finish = reason if isinstance(reason, str) else _NUMBERED.get(reason, str(reason))
            choice.message = candidate.finishMessage
        return out

    def _part(self, part: dict[str, Json], choice: _Choice, number: int, out: list[bytes]) -> None:
        text = part.get("text")
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) and signature else None
        if part.get("thought") is True:
            if isinstance(text, str) and text:
                choice.thinking = True
                self._seen(text)
                out.append(self._write(ThinkingDelta(text, number)))
            if signature is not None:
                out.append(self._end_thinking(choice, number, signature))
            return
        if choice.thinking:
            out.append(self._end_thinking(choice, number, None))
        if isinstance(text, str):
            if text:
                choice.grounding.say(text)
                self._seen(text)
                out.append(self._write(TextDelta(text, number)))
            if signature is not None:
                self._seen("")
                out.append(self._write(TextEnd(signature, self._provider, number)))
            return
        called = part.get("functionCall")
        if isinstance(called, dict):
            self._call(called, signature, choice, number, out)
            return
        inline = part.get("inlineData")
        if isinstance(inline, dict) and str(inline.get("mimeType")).startswith("image/"):
            data = str(inline.get("data") or "")
            self._seen(data)
            out.append(self._write(ImagePart(str(inline["mimeType"]), data, number)))
        elif part.keys() == {"thoughtSignature"}:
            self._seen("")
            out.append(self._write(TextEnd(signature, self._provider, number)))
        elif part:
            self._seen("")
            out.append(self._write(OpaqueBlock(self._provider, part, number)))

    def _call(
        self, called: Mapping[str, Json], signature: str | None, choice: _Choice, number: int, out: list[bytes]
    ) -> None:
        names = self._names
        if names is None:
            names = self._names = self._undo()
        if choice.arguments is not None and not called.get("name"):
            self._go_on(called, choice, number, out)
            return
        name = str(called.get("name") or "")
        index = choice.calls
        choice.calls += 1
        given = called.get("id")
        call_id = given if isinstance(given, str) and given else self._minted(number, index)
        provider = self._provider if signature is not None else None
        self._seen("")
        begin = ToolCallBegin(index, call_id, names.get(name, name), number, signature, provider)
        out.append(self._write(begin))
        choice.arguments = Arguments()
        args = called.get("args")
        if isinstance(args, dict):
            choice.arguments.value.update(args)
        self._go_on(called, choice, number, out)

    def _go_on(self, called: Mapping[str, Json], choice: _Choice, number: int, out: list[bytes]) -> None:
        """Takes more of a call's arguments; what comes in pieces is handed on once it is whole."""
        assert choice.arguments is not None
        choice.arguments.add(called.get("partialArgs"))
        self.progress += 1
        if called.get("willContinue") is not True:
            arguments = _encode(choice.arguments.value).decode()
            choice.arguments = None
            self._seen(arguments)
            out.append(self._write(ToolCallDelta(choice.calls - 1, arguments, number)))

    def _minted(self, number: int, index: int) -> str:
        """Returns an id for a call that came without: the same whenever this answer is read again."""
        place = f"{self._call_id}/{number}/{index}".encode()
        return f"call_{hashlib.blake2s(place, digest_size=12).hexdigest()}"

    def _end_thinking(self, choice: _Choice, number: int, signature: str | None) -> bytes:
        choice.thinking = False
        if signature is not None:
            self._seen("")
        return self._write(ThinkingEnd(signature, provider=self._provider, choice=number))

    # -- what is no candidate --

    def _block(self, feedback: Mapping[str, Json]) -> list[bytes]:
        """Takes a prompt that was blocked: there is no candidate, and there will be none."""
        reason = feedback.get("blockReason")
        if not reason or self._choices:
            return []
        choice = self._choices[0] = _Choice()
        self._blocked = choice.finish = str(reason)
        said = feedback.get("blockReasonMessage")
        words = said if isinstance(said, str) and said else f"The provider blocked the prompt: {reason}."
        self._seen("")
        return [self._write(RefusalDelta(words))]

    def _write(self, event: Event) -> bytes:
        return self._writer.write(event)

    def _seen(self, piece: str) -> None:
        self.started = True
        self.progress += 1
        self.output_bytes += len(piece) if piece.isascii() else len(piece.encode())


def _logprobs(result: Json) -> tuple[Json, ...]:
    """Writes log-probabilities as OpenAI's chat does."""
    if not isinstance(result, dict):
        return ()
    chosen = result.get("chosenCandidates")
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    written = []
    for place, token in enumerate(chosen if isinstance(chosen, list) else ()):
        if not isinstance(token, dict):
            continue
        listed = tops[place].get("candidates") if place < len(tops) and isinstance(tops[place], dict) else None
        listed = listed if isinstance(listed, list) else []
        others = [_token(other) for other in listed if isinstance(other, dict)]
        written.append({**_token(token), "top_logprobs": others})
    return tuple(written)


def _token(token: Mapping[str, Json]) -> dict[str, Json]:
    text = str(token.get("token") or "")
    return {"token": text, "logprob": token.get("logProbability", 0.0), "bytes": list(text.encode())}


def _epoch(time: str | None) -> int | None:
    """Reads Vertex's `createTime` (RFC 3339, in UTC) as seconds since the epoch."""
    found = _TIME.match(time) if time and time.endswith("Z") else None
    try:
        return calendar.timegm(tuple(map(int, found.groups()))) if found else None
    except ValueError:  # a thirteenth month
        return None
