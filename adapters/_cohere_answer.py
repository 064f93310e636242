"""A Cohere answer as events; the same steps for a stream and for a whole message.

Source: https://docs.cohere.com/v2/docs/streaming and https://docs.cohere.com/reference/chat-stream (2026-11).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from adapters import _sse
from adapters._answer import Answer
from adapters._blocks import UNREADABLE
from adapters._cohere_errors import in_band
from adapters._cohere_turns import PROVIDER
from adapters._cohere_usage import read_usage
from gateway.core.blocks import Citation, Json, Logprobs
from gateway.core.dialect import Writer
from gateway.core.errors import Reason, StreamCut, UpstreamError

# What is not here goes on as it is: an end that we do not know is not a natural one. ERROR and TIMEOUT are no ends.
_FINISHES: Final[Mapping[str, str]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
_FAILURES: Final = frozenset({"ERROR", "TIMEOUT"})
_DONE: Final = b"[DONE]"
_DATA: Final = b"\ndata: "
# Citations of these speak of the reasoning, which has no places in a caller's text.
_NOT_OF_TEXT: Final = frozenset({"PLAN", "THINKING_CONTENT"})


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Content(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None


class _Message(msgspec.Struct, gc=False):
    """A whole message, where the fields are lists, or a piece of one, where each is one of them."""

    content: _Content | list[_Content] | str | None = None
    tool_plan: str | None = None
    tool_calls: _Call | list[_Call] | None = None
    citations: Json = None


class _Delta(msgspec.Struct, gc=False):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: Json = None
    error: Json = None
    error_type: Json = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    logprobs: Json = None
    message: Json = None  # of an error that is no event


class _Whole(msgspec.Struct, gc=False):
    id: str = ""
    message: _Message | str | None = None
    finish_reason: str | None = None
    usage: Json = None
    logprobs: Json = None
    error: Json = None
    error_type: Json = None


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_whole: Final = msgspec.json.Decoder(_Whole).decode


class _Events:
    """Cuts a stream into its events."""

    def __init__(self) -> None:
        self._framer = _sse.Framer()

    def push(self, data: bytes) -> list[bytes]:
        return _sse.blocks(self._framer.push(data))

    def rest(self) -> bytes:
        return self._framer.rest()


class CohereAnswer(Answer):
    """Reads a chat answer; `message-end` is a stream's end, and nothing else is.

    `renamed` is asked once, at the first tool call, for the callers' names of tools: most answers have none.
    """

    def __init__(self, writer: Writer, model: str, renamed: Callable[[], Mapping[str, str]], streamed: bool) -> None:
        super().__init__(writer, PROVIDER, _Events() if streamed else None)
        self._model = model
        self._renamed = renamed
        self._names: Mapping[str, str] | None = None
        self._begins: dict[int, int] = {}  # content block -> characters of text before it

    # -- a stream --

    def frame(self, frame: bytes) -> bytes:
        # As the API writes them: a line for the name, one for the data. Anything else is read by the book.
        data: bytes | None = frame[frame.find(_DATA) + len(_DATA) : -2] if frame.startswith(b"event: ") else b""
        if not data or not data.startswith(b"{") or b"\n" in data or not frame.endswith(b"\n\n"):
            _, data, stray = _sse.read(frame)
            data = stray if data is None else data  # an error may come as bare JSON
        if not data or data == _DONE:
            return b""
        try:
            event = _decode_event(data)
        except UNREADABLE:
            self.dropped += 1
            return b""
        return self._event(event)

    def _event(self, event: _Event) -> bytes:
        kind = event.type
        delta = event.delta
        message = delta.message if delta is not None else None
        if kind == "content-delta" and message is not None and isinstance(message.content, _Content):
            return self._content(message.content) + self._logprobs(event.logprobs)
        if kind == "tool-call-delta" and message is not None and isinstance(message.tool_calls, _Call):
            function = message.tool_calls.function
            return self.arguments(function.arguments or "") if function is not None else b""
        if kind == "tool-plan-delta" and message is not None:
            return self.think(message.tool_plan or "")
        if kind == "content-start" and message is not None and isinstance(message.content, _Content):
            self._begins[event.index or 0] = self.text_length
            return self._content(message.content)
        if kind == "tool-call-start" and message is not None and isinstance(message.tool_calls, _Call):
            return self._call(message.tool_calls)
        if kind == "citation-start" and message is not None:
            return self._cite(message.citations)
        if kind == "content-end":
            return self.close_thinking()
        if kind == "tool-call-end":
            return self.close_call()
        if kind == "message-start":
            return self.begin(event.id or "", self._model)
        if kind == "message-end":
            return self._end(delta or _Delta())
        if not kind and isinstance(event.message, str):
            raise in_band({"message": event.message})
        return b""

    # -- a whole message --

    def body(self, body: bytes) -> bytes:
        try:
            whole = _decode_whole(body)
        except msgspec.ValidationError:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message") from None
        except UNREADABLE:
            raise StreamCut("the answer is not whole JSON") from None
        message = whole.message
        ending = _Delta(
            finish_reason=whole.finish_reason, usage=whole.usage, error=whole.error, error_type=whole.error_type
        )
        if isinstance(message, str):  # {id, message}: an error
            raise in_band({"message": message})
        if message is None or whole.finish_reason in _FAILURES:
            self._fail(ending)
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no message")
        self.begin(whole.id, self._model)
        content = message.content
        parts = [_Content(text=content)] if isinstance(content, str) else content
        for index, part in enumerate(parts if isinstance(parts, list) else []):
            self._begins[index] = self.text_length
            self._content(part)
        self._logprobs(whole.logprobs)
        for citation in message.citations if isinstance(message.citations, list) else []:
            self._cite(citation)
        self.think(message.tool_plan or "")
        for call in message.tool_calls if isinstance(message.tool_calls, list) else []:
            self._call(call)
        return self._end(ending)

    # -- what both have --

    def _content(self, content: _Content) -> bytes:
        if content.thinking:
            return self.think(content.thinking)
        return self.text(content.text or "")

    def _call(self, call: _Call) -> bytes:
        if self._names is None:
            self._names = self._renamed()
        function = call.function or _Function()
        name = function.name or ""
        return self.call(call.id or "", self._names.get(name, name)) + self.arguments(function.arguments or "")

    def _cite(self, citation: Json) -> bytes:
        """Passes a citation with its place in the whole text, and once more for each source that is on the web."""
        if not isinstance(citation, dict):
            return b""
        place: dict[str, Json] = {}
        start, end = citation.get("start"), citation.get("end")
        if isinstance(start, int) and isinstance(end, int) and str(citation.get("type")) not in _NOT_OF_TEXT:
            index = citation.get("content_index")
            # Without an index there is one text (recorded, 2025 to 2026).
            before = self._begins.get(index, 0) if isinstance(index, int) else 0
            place = {"start_index": before + start, "end_index": before + end}
        out = [self.note(Citation({**citation, **place}))]
        sources = citation.get("sources")
        for source in sources if isinstance(sources, list) and place else []:
            document = source.get("document") if isinstance(source, dict) else None
            if isinstance(document, dict) and "://" in str(document.get("url")):
                on_web = {"url": str(document["url"]), "title": document.get("title")}
                out.append(self.note(Citation(place | on_web)))
        return b"".join(out)

    def _logprobs(self, value: Json) -> bytes:
        """Passes log-probabilities; of a piece that is several tokens they are one, its own."""
        items = value if isinstance(value, list) else [value]
        content = []
        for item in items:
            text = item.get("text") if isinstance(item, dict) else None
            logprobs = item.get("logprobs") if isinstance(item, dict) else None
            if isinstance(text, str) and isinstance(logprobs, list):
                content.append(
                    {
                        "token": text,
                        "logprob": math.fsum(logprobs),
                        "bytes": list(text.encode()),
                        "top_logprobs": [],
                    }
                )
        return self.note(Logprobs(tuple(content))) if content else b""

    def _end(self, ending: _Delta) -> bytes:
        self.usage = read_usage(ending.usage) or self.usage
        native = ending.finish_reason
        self._fail(ending)
        if native is None:
            raise StreamCut("the answer ended without a finish reason")
        return self.whole(_FINISHES.get(native, native), native)

    def _fail(self, ending: _Delta) -> None:
        """Raises the error that an answer ended with."""
        if ending.error is not None or ending.finish_reason in _FAILURES:
            raise in_band({"error": ending.error, "error_type": ending.error_type}, ending.finish_reason or "ERROR")
