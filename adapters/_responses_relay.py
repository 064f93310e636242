"""Relaying OpenAI's Responses: what goes to a provider that speaks them, and what is noticed of its answer.

A stream ends with `response.completed`, `.incomplete` or `.failed`, and no sentinel
(https://platform.openai.com/docs/api-reference/responses-streaming, 2026-11; OpenRouter adds `[DONE]`, recorded
2026-08, which no client waits for and nobody is sent).

An answer that failed is an answer, with the provider's own words in it, except where the provider says that the fault
is its own and nothing was said yet: then another try may do better, and the caller need never know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters import _sse
from adapters._blocks import UNREADABLE
from adapters._openai_chunk import read_loosely, text_size
from adapters._openai_fault import means_error, read_in_band
from adapters._responses_usage import read_usage
from adapters._signatures import MARK as FRAME
from adapters._signatures import unwrap
from adapters.dialects._responses_envelope import MARK, is_minted
from adapters.dialects._responses_seal import PREFIX
from gateway.core.blocks import Json
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.money import Usage

_NONE: Final = msgspec.Raw(b"")


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Item(msgspec.Struct, gc=False):
    """An output item, as far as it says something; `result` is a picture."""

    type: str | None = None
    id: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    arguments: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE
    result: msgspec.Raw = _NONE
    encrypted_content: str | None = None

    def size(self) -> int:
        """Returns the bytes of content; a provider's own tool call counts as one, for something was done."""
        total = 0
        for part in (*(self.content or ()), *(self.summary or ())):
            total += text_size(part.text or "") + text_size(part.refusal or "")
        total += sum(len(raw) for raw in (self.arguments, self.input) if bytes(raw) not in (b"null", b'""'))
        if self.encrypted_content:
            total += len(self.encrypted_content)
        return total or int(self.type not in ("message", "reasoning"))


class _Details(msgspec.Struct, gc=False):
    reason: str | None = None


class _Error(msgspec.Struct, gc=False):
    code: str | None = None


class _Conversation(msgspec.Struct, gc=False):
    id: str | None = None


class _Response(msgspec.Struct, gc=False):
    """A Response: whole, or in the events that begin and end a stream."""

    id: str | None = None
    status: str | None = None
    output: list[_Item] | None = None
    usage: msgspec.Raw = _NONE
    service_tier: str | None = None
    incomplete_details: _Details | None = None
    error: msgspec.Raw = _NONE
    store: bool | None = None
    conversation: _Conversation | None = None


class _Event(msgspec.Struct, gc=False):
    """Any event of a stream; a delta's text is not decoded, only measured."""

    type: str = ""
    delta: msgspec.Raw = _NONE
    item: msgspec.Raw = _NONE
    response: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE


_decode_event: Final = msgspec.json.Decoder(_Event).decode
_decode_item: Final = msgspec.json.Decoder(_Item).decode
_decode_response: Final = msgspec.json.Decoder(_Response).decode
_decode_error: Final = msgspec.json.Decoder(_Error).decode
_decode_input: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode

_SEALED: Final = b'"' + PREFIX.encode()
_MINTED: Final = b'"rs' + MARK.encode()
_FRAMED: Final = FRAME.encode()
_BEGUN: Final = frozenset({"response.created", "response.in_progress", "response.queued"})
_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CALLERS_TURN: Final = frozenset({"function_call", "custom_tool_call"})

# Codes of `response.error` by which a provider says that the fault was not the caller's
# (https://platform.openai.com/docs/api-reference/responses/object, 2026-11).
_PROVIDERS_FAULT: Final = {
    "server_error": Reason.SERVER_ERROR,
    "rate_limit_exceeded": Reason.RATE_LIMITED,
    "vector_store_timeout": Reason.TIMEOUT,
}


def without_sealed(members: dict[str, msgspec.Raw], strict: bool) -> tuple[str, ...]:
    """Takes out of `input` the reasoning of other providers: OpenAI refuses what it did not encrypt or name itself.

    The ids of tool calls and their outputs lose the signatures that the gateway put inside.
    """
    given = bytes(members.get("input", _NONE))
    framed = _FRAMED in given
    if not framed and _SEALED not in given and _MINTED not in given:
        return ()
    try:
        items = _decode_input(given)
    except msgspec.ValidationError:  # a text
        return ()
    kept = [item for item in items if not _is_anothers(bytes(item))]
    whole = len(kept) == len(items)
    if framed:
        kept = [_unframed(item) for item in kept]
        members["input"] = msgspec.Raw(_encode(kept))
    if whole:
        return ()
    if strict:
        raise BadRequest("input: reasoning of another provider, and strict is set", param="input")
    members["input"] = msgspec.Raw(_encode(kept))
    return ("input: reasoning of another provider was left out",)


def _unframed(item: msgspec.Raw) -> msgspec.Raw:
    if _FRAMED not in bytes(item):
        return item
    try:
        members = _decode_members(item)
    except msgspec.DecodeError:
        return item
    given = _decode(members["call_id"]) if "call_id" in members else None
    if not isinstance(given, str) or unwrap(given)[1] is None:
        return item
    members["call_id"] = msgspec.Raw(_encode(unwrap(given)[0]))
    return msgspec.Raw(_encode(members))


def _is_anothers(item: bytes) -> bool:
    if _SEALED not in item and _MINTED not in item:
        return False
    try:
        read = _decode_item(item)
    except UNREADABLE:
        return False
    return read.type == "reasoning" and ((read.encrypted_content or "").startswith(PREFIX) or is_minted(read.id or ""))


class _Watch:
    """What is noticed of an answer. `made` are the ids under which its provider keeps it, none where it does not."""

    __slots__ = ("complete", "dropped", "finish", "made", "output_bytes", "progress", "started", "usage")

    def __init__(self) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = None
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False
        self.made: tuple[str, ...] = ()

    def _seen(self, size: int) -> None:
        if size:
            self.started = True
            self.progress += 1
            self.output_bytes += size

    def _name(self, response: _Response) -> None:
        if response.store is False or response.id is None:
            return
        names = [response.id]
        if response.conversation is not None and response.conversation.id is not None:
            names.append(response.conversation.id)
        names += [item.id for item in response.output or () if item.id is not None]
        self.made = tuple(names)

    def _end(self, response: _Response) -> None:
        """Reads an answer that has ended; raises UpstreamError where its provider failed before it said anything."""
        self._name(response)
        self.usage = read_usage(bytes(response.usage), response.service_tier) or self.usage
        status = response.status or "completed"
        if status == "failed":
            fault = _PROVIDERS_FAULT.get(_code(response.error))
            if fault is not None and not self.started:
                raise UpstreamError(fault, "the provider failed to answer", code=_code(response.error))
        self.finish = _finish(response, status)
        self.complete = True


def _finish(response: _Response, status: str) -> str:
    if status == "completed":
        asks = any(item.type in _CALLERS_TURN for item in response.output or ())
        return "tool_calls" if asks else "stop"
    if status == "incomplete":
        reason = response.incomplete_details.reason if response.incomplete_details is not None else None
        return "length" if reason == "max_output_tokens" else reason or status
    return status  # failed, cancelled; queued or in_progress, where it goes on in the background


def _code(error: msgspec.Raw) -> str:
    try:
        return _decode_error(error).code or ""
    except UNREADABLE:
        return ""


class UnaryRelay(_Watch):
    """Gathers one Response, reads usage and finish from it, and hands the same bytes on at its end."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where a 200 holds an error, no Response, or no JSON at all."""
        body = b"".join(self._pieces)
        try:
            response = _decode_response(body)
        except UNREADABLE:
            response = _loose_response(body)
        if response.status is None and response.output is None:
            if response.error and means_error(bytes(response.error)):
                raise read_in_band(body)
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is no Response")
        for item in response.output or ():
            self._seen(item.size())
        self._end(response)
        return (body,)


class StreamRelay(_Watch):
    """Hands a stream on event by event, and knows whether it ended or was cut."""

    __slots__ = ("_failure", "_framer")

    def __init__(self) -> None:
        super().__init__()
        self._framer = _sse.Framer()
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns the whole events of this read; raises UpstreamError on an in-band error.

        What content of the same read precedes a failure goes out first, and the failure is raised next.
        """
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        whole = self._framer.push(data)
        return self._several(_sse.blocks(whole)) if whole else ()

    def end(self) -> Iterable[bytes]:
        """Returns the rest; raises what went wrong, or StreamCut where no event has ended the answer."""
        if self._failure is not None:
            raise self._failure
        if self.complete:
            return ()
        rest = self._framer.rest().strip(b"\r\n")
        return self._several([rest + b"\n\n"] if rest else [], last=True)

    def _several(self, blocks: list[bytes], last: bool = False) -> Iterable[bytes]:
        kept: list[bytes] = []
        for block in blocks:
            try:
                goes_on = self._see_block(block)
            except UpstreamError as failure:
                if not kept or not self.started:
                    raise
                self._failure = failure
                break
            if goes_on:
                kept.append(block)
            if self.complete:  # what follows is no answer
                return (b"".join(kept),)
        if last:
            raise StreamCut("the stream ended before its response did")
        return (b"".join(kept),) if kept else ()

    def _see_block(self, block: bytes) -> bool:
        """Looks at one block; whether it goes on to the caller."""
        _, data, stray = _sse.read(block)
        if data is None:
            if not stray:
                return True  # a comment
            bare = read_loosely(stray)
            if bare is not None and bare.get("error"):
                raise read_in_band(stray)
            self.dropped += 1
            return False
        if data.strip() == b"[DONE]":
            raise StreamCut("the stream was declared done before its response was")
        try:
            event = _decode_event(data)
        except UNREADABLE:
            loose = read_loosely(data)
            if loose is None:
                self.dropped += 1
                return False
            event = _loose_event(loose)
        self._see(event, data)
        return True

    def _see(self, event: _Event, data: bytes) -> None:
        kind = event.type
        if kind.endswith(".delta"):
            size = len(event.delta)
            self._seen(size - 2 if bytes(event.delta).startswith(b'"') else size)
        elif kind in _TERMINAL:
            self._end(_read_response(event.response))
        elif kind in _BEGUN:
            self._name(_read_response(event.response))
        elif kind == "error" or (event.error and means_error(bytes(event.error))):
            raise read_in_band(data)
        elif kind == "response.output_item.done":
            self._see_item(event.item)
        elif "_call." in kind or "partial_image" in kind:  # a tool of the provider's is at work
            self._seen(1)

    def _see_item(self, raw: msgspec.Raw) -> None:
        """Counts an item that came whole: its text has been counted as it grew."""
        try:
            item = _decode_item(raw)
        except UNREADABLE:
            return
        if item.size() and (not self.started or item.type not in ("message", "reasoning")):
            self.started = True
            self.progress += 1


def _read_response(raw: msgspec.Raw) -> _Response:
    try:
        return _decode_response(raw)
    except UNREADABLE:
        return _loosely(read_loosely(bytes(raw)) or {})


def _loose_event(event: dict[str, Json]) -> _Event:
    def raw(name: str) -> msgspec.Raw:
        return msgspec.Raw(_json(event[name])) if event.get(name) is not None else _NONE

    kind = event.get("type")
    return _Event(kind if isinstance(kind, str) else "", raw("delta"), raw("item"), raw("response"), raw("error"))


def _loose_response(body: bytes) -> _Response:
    """Reads a Response that the typed decoder refuses; raises UpstreamError where it is not JSON."""
    loose = read_loosely(body)
    if loose is None:
        raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is not a JSON object")
    return _loosely(loose)


def _loosely(response: dict[str, Json]) -> _Response:
    """Returns what can be read of a Response whose types are odd; what cannot be read counts as absent."""

    def text(value: Json) -> str | None:
        return value if isinstance(value, str) else None

    items = response.get("output")
    details = response.get("incomplete_details")
    return _Response(
        id=text(response.get("id")),
        status=text(response.get("status")),
        output=[
            _Item(type=text(item.get("type")), id=text(item.get("id")), arguments=msgspec.Raw(_json(item)))
            for item in items
            if isinstance(item, dict)
        ]
        if isinstance(items, list)
        else None,
        usage=msgspec.Raw(_json(response["usage"])) if response.get("usage") is not None else _NONE,
        service_tier=text(response.get("service_tier")),
        incomplete_details=_Details(text(details.get("reason"))) if isinstance(details, dict) else None,
        error=msgspec.Raw(_json(response["error"])) if response.get("error") is not None else _NONE,
        store=False if response.get("store") is False else None,
    )


def _json(value: Json) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (ValueError, UnicodeEncodeError):
        return b"{}"
