"""A chat answer as events, piece by piece; the same steps for a stream and for a whole completion.

Source: https://platform.openai.com/docs/api-reference/chat/streaming (2026-11), and recorded streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._openai_chat_model import Answer, CallPart, Choice, Function, Part
from adapters._openai_chat_turns import INPUT
from adapters._openai_chunk import finish_word, text_size
from adapters._openai_quirks import Quirks
from adapters._openai_reasoning import Details
from adapters._openai_usage import usage_in
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Json,
    Logprobs,
    Metered,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError
from gateway.core.money import Usage

# The engine gave the request up, as in `_openai_relay`.
_GIVEN_UP: Final = frozenset({"abort", "error"})

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

CustomTools = Callable[[], frozenset[str]]


class _Call:
    """A tool call that has begun: what is held until its name is known, or because its text must be taken out."""

    __slots__ = ("begun", "custom", "held", "id", "name", "number", "pieces", "unwrapped")

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.name = ""
        self.held: list[str] = []
        self.pieces = 0
        self.begun = False
        self.custom = False  # of plain text, on this provider's wire too
        self.unwrapped = False  # of plain text, told as a function


class _Spoken:
    """What one choice has said so far."""

    __slots__ = ("calls", "cited", "details", "finish", "keys", "thinks")

    def __init__(self, details: Details) -> None:
        self.calls: list[_Call] = []
        self.keys: dict[int, _Call] = {}  # the provider's index -> the call that has it now
        self.details = details
        self.finish: str | None = None
        self.thinks = False
        self.cited: list[Json] = []


class ChatAnswer:
    """Writes one answer into the caller's dialect, and notes what a decoder tells of it.

    Finishes and usage are held back until the answer is whole, so that a stream that is cut carries none.
    """

    __slots__ = (
        "_begun",
        "_call_id",
        "_choices",
        "_custom_tools",
        "_provider",
        "_quirks",
        "_searched",
        "_writer",
        "complete",
        "dropped",
        "finish",
        "output_bytes",
        "progress",
        "started",
        "usage",
    )

    def __init__(self, writer: Writer, call_id: str, provider: str, quirks: Quirks, custom_tools: CustomTools) -> None:
        self.started = False
        self.progress = 0
        self.output_bytes = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.dropped = 0
        self.complete = False
        self._writer = writer
        self._call_id = call_id
        self._provider = provider
        self._quirks = quirks
        self._custom_tools = custom_tools  # asked once, at the first tool call: most answers have none
        self._begun = False
        self._choices: dict[int, _Spoken] = {}
        self._searched: list[Json] = []

    # -- the answer --

    def take(self, answer: Answer, document: bytes) -> bytes:
        """Writes what a chunk, or a whole answer, says; `document` is the same as bytes, for its usage."""
        if answer.usage or answer.x_groq:
            self.usage = usage_in(document) or self.usage
        searched = answer.search_results or answer.citations
        if searched:
            self._searched = searched
        if not answer.choices:
            return b""
        out: list[bytes] = []
        if not self._begun:
            self._begun = True
            out.append(self._writer.write(Begin(answer.id or "", answer.model or "", answer.created or None)))
        for choice in answer.choices:
            self._choice(choice, out)
        return b"".join(out)

    @property
    def finished(self) -> bool:
        """Whether every choice that has been seen has its finish."""
        return bool(self._choices) and all(spoken.finish for spoken in self._choices.values())

    def whole(self, otherwise: str) -> bytes:
        """Writes the end of an answer that the provider ended; raises StreamCut where it never said why."""
        if not self.finished and not (self._quirks.ends_unsaid and self._choices and self.usage is not None):
            raise StreamCut(otherwise)
        out: list[bytes] = []
        for number, spoken in self._choices.items():
            self._quiet(number, spoken, out)
            self._close_calls(number, spoken, out)
        for place in self._searched:
            self._emit(Citation(place if isinstance(place, dict) else {"url": place}), out)
        for number, spoken in sorted(self._choices.items()):
            finish = finish_word(spoken.finish) if spoken.finish else "stop"
            if finish == "stop" and spoken.calls:
                # A forced tool ends with `stop` (recorded); what callers of other dialects act on is that tools were
                # called.
                finish = "tool_calls"
            if self.finish is None or number == 0:
                self.finish = finish
            self._emit(Finished(finish, spoken.finish or None, choice=number), out)
        if self.usage is not None:
            self._emit(Metered(self.usage), out)
        self.complete = True
        out.append(self._writer.end())
        return b"".join(out)

    # -- a choice --

    def _choice(self, choice: Choice, out: list[bytes]) -> None:
        number = choice.index or 0
        spoken = self._choices.get(number)
        if spoken is None:
            spoken = self._choices[number] = _Spoken(Details(self._provider, number))
        part = choice.delta or choice.message
        if part is not None:
            self._part(number, spoken, part, out)
        if choice.logprobs is not None and choice.logprobs.content:
            self._emit(Logprobs(tuple(choice.logprobs.content), number), out)
        native = choice.finish_reason
        if native:
            if native in _GIVEN_UP and not self.started:
                raise UpstreamError(Reason.ABORTED, f"the provider gave the answer up ({native})")
            spoken.finish = native

    def _part(self, number: int, spoken: _Spoken, part: Part, out: list[bytes]) -> None:
        self._reasoning(number, spoken, part, out)
        content = part.content
        if isinstance(content, str):
            self._text(number, spoken, content, out)
        elif content:
            for chunk in content:
                if isinstance(chunk, dict):
                    self._chunk(number, spoken, chunk, out)
        if part.refusal:
            self._quiet(number, spoken, out)
            self._say(RefusalDelta(part.refusal, number), part.refusal, out)
        if part.tool_calls:
            for call in part.tool_calls:
                self._tool(number, spoken, call, out)
        if part.function_call is not None and (part.function_call.name or part.function_call.arguments):
            self._tool(number, spoken, CallPart(index=0, function=part.function_call), out)
        if part.annotations:
            for annotation in part.annotations:
                if isinstance(annotation, dict) and annotation not in spoken.cited:  # some streams repeat them
                    spoken.cited.append(annotation)
                    self._emit(Citation(_citation(annotation), number), out)
        if part.audio and isinstance(part.audio.get("transcript"), str) and not part.content:
            self._text(number, spoken, part.audio["transcript"], out)
        for image in part.images or ():
            self._image(number, image, out)

    def _text(self, number: int, spoken: _Spoken, text: str, out: list[bytes]) -> None:
        if text:
            self._quiet(number, spoken, out)
            self._say(TextDelta(text, number), text, out)

    def _chunk(self, number: int, spoken: _Spoken, chunk: Mapping[str, Json], out: list[bytes]) -> None:
        """Takes a piece of Mistral's content: text, thinking (a list of texts), or references."""
        kind = chunk.get("type")
        if kind == "text":
            self._text(number, spoken, str(chunk.get("text") or ""), out)
        elif kind == "thinking":
            thinking = chunk.get("thinking")
            for piece in thinking if isinstance(thinking, list) else [{"text": thinking}]:
                if isinstance(piece, dict) and isinstance(piece.get("text"), str):
                    self._think(number, spoken, piece["text"], out)
        elif kind == "reference":
            self._emit(Citation(dict(chunk), number), out)

    def _image(self, number: int, image: Json, out: list[bytes]) -> None:
        inner = image.get("image_url") if isinstance(image, dict) else None
        url = inner.get("url") if isinstance(inner, dict) else inner
        if isinstance(url, str) and url.startswith("data:"):
            head, _, data = url[5:].partition(",")
            self._say(ImagePart(head.partition(";")[0], data, number), data, out)

    # -- reasoning --

    def _reasoning(self, number: int, spoken: _Spoken, part: Part, out: list[bytes]) -> None:
        details = part.reasoning_details
        if details and "reasoning_details" in (self._quirks.replays or ()):
            for detail in details:
                for event in spoken.details.add(detail):
                    self._say(event, event.text if isinstance(event, ThinkingDelta) else "", out)
            return
        text = part.reasoning_content or part.reasoning
        if text:
            self._think(number, spoken, text, out)
        elif details:
            for detail in details:
                said = detail.get("text") or detail.get("summary")
                if isinstance(said, str):
                    self._think(number, spoken, said, out)

    def _think(self, number: int, spoken: _Spoken, text: str, out: list[bytes]) -> None:
        if text:
            spoken.thinks = True
            self._say(ThinkingDelta(text, number), text, out)

    def _quiet(self, number: int, spoken: _Spoken, out: list[bytes]) -> None:
        """Ends the reasoning before anything else is said."""
        for event in spoken.details.close():
            self._emit(event, out)
        if spoken.thinks:
            spoken.thinks = False
            self._emit(ThinkingEnd(provider=self._provider, choice=number), out)

    # -- tool calls --

    def _tool(self, number: int, spoken: _Spoken, part: CallPart, out: list[bytes]) -> None:
        name = (part.function.name if part.function else None) or (part.custom.name if part.custom else None)
        call = self._called(spoken, part, name)
        if call is None:
            self._quiet(number, spoken, out)
            self._close_calls(number, spoken, out)
            call = _Call(len(spoken.calls))
            spoken.calls.append(call)
            if not self.started:
                self.started = True
        if part.index is not None:
            spoken.keys[part.index] = call
        if part.id and not call.id:
            call.id = part.id
        if name and not call.name:
            call.name = name
            call.custom = bool(part.custom and part.custom.name)
            call.unwrapped = not self._quirks.custom_tools and name in self._custom_tools()
        piece = _piece(part.function) if not call.custom else (part.custom.input if part.custom else None) or ""
        self.progress += 1
        if piece:
            call.pieces += 1
            call.held.append(piece)
            self.output_bytes += text_size(piece)
        if call.name and not call.unwrapped:
            self._tell(number, call, out)

    @staticmethod
    def _called(spoken: _Spoken, part: CallPart, name: str | None) -> _Call | None:
        """Returns the call that a piece belongs to, None for a new one.

        A piece has its call's index, or else its id, or else nothing. Servers that bring calls whole number all of
        them 0: another id with a name is another call.
        """
        known = spoken.keys.get(part.index) if part.index is not None else None
        if part.index is None and spoken.calls:
            same = (call for call in spoken.calls if call.id == part.id)
            known = next(same, None) if part.id else (None if name else spoken.calls[-1])
        if known is not None and part.id and known.id and part.id != known.id and name:
            return None
        return known

    def _tell(self, number: int, call: _Call, out: list[bytes]) -> None:
        if not call.begun:
            call.begun = True
            call_id = call.id or f"call_{self._call_id}_{number}_{call.number}"
            custom = call.custom or call.unwrapped
            self._emit(ToolCallBegin(call.number, call_id, call.name, number, custom=custom), out)
        for piece in call.held:
            self._emit(ToolCallDelta(call.number, piece, number), out)
        call.held = []

    def _close_calls(self, number: int, spoken: _Spoken, out: list[bytes]) -> None:
        """Ends the call that is open: one without arguments has an empty object, one of plain text its text."""
        for call in spoken.calls[-1:]:
            if call.unwrapped:
                call.held = [_unwrapped("".join(call.held))]
            elif not call.pieces and not call.custom:
                call.held = ["{}"]
                call.pieces = 1
            self._tell(number, call, out)
            call.unwrapped = False

    # -- writing --

    def _say(self, event: Event, text: str, out: list[bytes]) -> None:
        self.started = True
        self.progress += 1
        self.output_bytes += text_size(text)
        out.append(self._writer.write(event))

    def _emit(self, event: Event, out: list[bytes]) -> None:
        out.append(self._writer.write(event))


def _piece(function: Function | None) -> str:
    arguments = function.arguments if function is not None else None
    if isinstance(arguments, dict):
        return _encode(arguments).decode()
    return arguments or ""


def _unwrapped(arguments: str) -> str:
    """Returns the text out of the one argument that it was asked for in; whatever else a model wrote, as it is."""
    try:
        value = _decode(arguments)
    except UNREADABLE:
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def _citation(annotation: Mapping[str, Json]) -> dict[str, Json]:
    """Returns a citation with its fields at the top, as all providers' are told."""
    inner = annotation.get("url_citation")
    return {"type": "url_citation", **inner} if isinstance(inner, dict) else dict(annotation)
