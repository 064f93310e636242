"""OpenAI's other endpoints, relayed: moderations, images, audio, reranking. JSON or forms go in, anything comes back.

Their answers hold no choices and no finish: a body is whole where HTTP says so, a stream where its last event has come.
Usage is read where an answer tells it; nothing is made up for seconds, images and characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from adapters import _sse
from adapters._openai_chunk import read_loosely
from adapters._openai_fault import means_error, read_in_band
from adapters._openai_usage import read_usage
from gateway.core.adapter import Decoder, UpstreamRequest
from gateway.core.errors import BadRequest, Reason, StreamCut, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Call

PATHS: Final[Mapping[str, bytes]] = {
    "moderations": b"/moderations",
    "images": b"/images/generations",
    "image_edits": b"/images/edits",
    "image_variations": b"/images/variations",
    "speech": b"/audio/speech",
    "transcriptions": b"/audio/transcriptions",
    "translations": b"/audio/translations",
    "rerank": b"/rerank",
}

_UNTOLD: Final = Usage(uncounted=True)
_MARKUP: Final = (b"<!doctype", b"<html")

# The events that end a stream: images (image_generation, image_edit), transcripts, speech.
_LAST: Final = (".completed", "transcript.text.done", "speech.audio.done")

_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


def encode(call: Call, path: bytes, model: str, withheld: tuple[str, ...]) -> UpstreamRequest:
    """Splices the model's name into a body or a form.

    `withheld` are fields whose meaning is the gateway's: out of a body they are left, and a form with one is refused.
    """
    form = call.form
    if form is not None:
        form.withhold(withheld)
        return UpstreamRequest(path, form.head(model), ((b"content-type", form.content_type),), upload=form.upload)
    members = _decode_members(call.body)
    members["model"] = msgspec.Raw(_encode(model))
    warnings = []
    for name in withheld:
        if members.pop(name, None) is not None:
            if call.strict:
                raise BadRequest(f"{name!r} is set by the gateway, not by its callers", param=name)
            warnings.append(f"{name}: not passed on, the gateway sets it")
    return UpstreamRequest(path, _encode(members), warnings=tuple(warnings))


def decoder(call: Call) -> Decoder:
    """Returns a fresh decoder for the answer to such a call."""
    if call.stream:
        return EventsRelay(spoken=call.dialect == "speech")
    return SoundRelay() if call.dialect == "speech" else BodyRelay(text=call.form is not None)


class _Details(msgspec.Struct, gc=False):
    text_tokens: int | None = None
    image_tokens: int | None = None
    audio_tokens: int | None = None
    cached_tokens: int | None = None


class _Tokens(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens: int | None = None
    input_tokens_details: _Details | None = None  # of images
    input_token_details: _Details | None = None  # of transcripts


_NO_DETAILS: Final = _Details()
_decode_tokens: Final = msgspec.json.Decoder(_Tokens, strict=False).decode


def usage_of(raw: bytes, spoken: bool = False) -> Usage:
    """Normalises a usage object; `uncounted` where it counts no tokens, as a transcript's seconds.

    OpenAI: input_tokens contain their details' text, image and audio tokens
    (https://platform.openai.com/docs/api-reference/images/object and …/audio/json-object, 2026-11). What a model draws
    counts as its output; what it speaks as audio.
    """
    if raw in (b"", b"null"):
        return _UNTOLD
    try:
        tokens = _decode_tokens(raw)
    except (msgspec.DecodeError, RecursionError):
        return Usage(raw=raw, uncounted=True)
    if tokens.input_tokens is None and tokens.output_tokens is None:
        if tokens.prompt_tokens is None and tokens.total_tokens is None:
            return Usage(raw=raw, uncounted=True)  # seconds, search units
        return read_usage(raw, None) or Usage(raw=raw, uncounted=True)
    given, made, total = tokens.input_tokens or 0, tokens.output_tokens or 0, tokens.total_tokens
    into = tokens.input_tokens_details or tokens.input_token_details or _NO_DETAILS
    image, audio, cached = into.image_tokens or 0, into.audio_tokens or 0, into.cached_tokens or 0
    fresh = given - image - audio - cached
    suspect = min(given, made, image, audio, cached, fresh) < 0 or (total is not None and total != given + made)
    if suspect:  # the buckets still are no less than nothing, and sum to what the provider's own two counts say
        given, made = max(0, given), max(0, made)
        image = min(max(0, image), given)
        audio = min(max(0, audio), given - image)
        cached = min(max(0, cached), given - image - audio)
        fresh = given - image - audio - cached
    return Usage(
        fresh_input=fresh,
        cached_input=cached,
        image_input=image,
        audio_input=audio,
        output_text=0 if spoken else made,
        audio_output=made if spoken else 0,
        raw=raw,
        suspect=suspect,
    )


class _Usages(msgspec.Struct, gc=False):
    """What is looked at in an answer or an event."""

    type: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"")
    meta: msgspec.Raw = msgspec.Raw(b"")  # of rerankers that count as Cohere does
    error: msgspec.Raw = msgspec.Raw(b"")


_decode_usages: Final = msgspec.json.Decoder(_Usages).decode


class _Relay:
    """What all of these decoders have in common."""

    __slots__ = ("complete", "dropped", "finish", "output_bytes", "progress", "started", "usage")

    def __init__(self) -> None:
        self.started = False
        self.progress = 0
        self.finish: str | None = None
        self.usage: Usage | None = _UNTOLD  # no answer in one piece is estimated by its bytes: they are no words
        self.output_bytes = 0
        self.dropped = 0
        self.complete = False

    def _see(self) -> None:
        self.started = True
        self.progress += 1


class BodyRelay(_Relay):
    """Gathers one body, and hands it on at its end: JSON or, where the caller may ask for it, text."""

    __slots__ = ("_pieces", "_text")

    def __init__(self, text: bool) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._text = text

    def feed(self, data: bytes) -> Iterable[bytes]:
        self._pieces.append(data)
        return ()

    def end(self) -> Iterable[bytes]:
        """Returns the body; raises UpstreamError where a 200 holds an error, or nothing that could be an answer."""
        body = b"".join(self._pieces)
        try:
            answer = _decode_usages(body)
        except (msgspec.DecodeError, RecursionError):
            loose = read_loosely(body)
            if loose is not None and loose.get("error"):
                raise read_in_band(body) from None
            if loose is None and not (self._text and _is_text(body)):
                raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is not what was asked for") from None
            answer = _Usages()
        if answer.error and means_error(bytes(answer.error)):
            raise read_in_band(body)
        self.usage = usage_of(bytes(answer.usage) or bytes(answer.meta))
        self._see()
        self.complete = True
        return (body,)


class SoundRelay(_Relay):
    """Hands sound on as it comes. It is whole where HTTP says so: nothing in it does."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        super().__init__()
        self._first = True

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what came; raises UpstreamError for an error in its place."""
        if self._first and data:
            self._first = False
            if data.lstrip()[:1] == b"{" and (loose := read_loosely(data)) is not None and loose.get("error"):
                raise read_in_band(data)
        self._see()
        return (data,)

    def end(self) -> Iterable[bytes]:
        """Raises UpstreamError where nothing came."""
        if not self.started:
            raise UpstreamError(Reason.SERVER_ERROR, "the provider's answer is empty")
        self.complete = True
        return ()


class EventsRelay(_Relay):
    """Hands a stream's events on; the last of them is kept until the stream's end proves it whole."""

    __slots__ = ("_framer", "_last", "_spoken")

    def __init__(self, spoken: bool) -> None:
        super().__init__()
        self._framer = _sse.Framer()
        self._last = b""
        self._spoken = spoken

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns the whole events of this read; raises UpstreamError on an in-band error."""
        out = []
        for event in _sse.blocks(self._framer.push(data)):
            name, told, _ = _sse.read(event)
            if told is None or told.strip() == b"[DONE]":
                out.append(event)
                continue
            try:
                seen = _decode_usages(told)
            except (msgspec.DecodeError, RecursionError):
                self.dropped += 1
                continue
            if name == b"error" or seen.type == "error" or (seen.error and means_error(bytes(seen.error))):
                raise read_in_band(told)
            self._see()
            if (seen.type or "").endswith(_LAST):
                out.append(self._last)
                self._last = event
                self.usage = usage_of(bytes(seen.usage), self._spoken)
            else:
                out.append(event)
        return [event for event in out if event]

    def end(self) -> Iterable[bytes]:
        """Returns the last event; raises StreamCut where none has come that ends such a stream.

        A model that does not stream answers in one body, as OpenAI's whisper-1 does: that goes on as it is.
        """
        last = self._last
        if not last:
            whole = BodyRelay(text=False)
            whole.feed(self._framer.rest())
            if self.started or not self._framer.rest().lstrip().startswith(b"{"):
                raise StreamCut("the stream ended before its answer was done")
            (last,) = whole.end()
            self.usage = whole.usage
            self._see()
        self.finish, self.complete = "stop", True
        return (last,)


def _is_text(body: bytes) -> bool:
    """Says whether a body can be what `response_format` text, srt or vtt gives; a page of a proxy is none."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return not body.lstrip()[:10].lower().startswith(_MARKUP)
