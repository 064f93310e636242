"""Writes a provider's events as Anthropic's Messages: the events of a stream as they come, or one message at the end.

What Anthropic's wire has no place for is framed (`adapters._signatures`) in fields that its clients send back as they
came: another provider's signature or reasoning item in a thinking block's `signature`, one over a tool call in its
`id`, one over a text in an empty thinking block after it, another provider's own block in `redacted_thinking`.
A citation belongs to the text that is open when it comes; one that comes after any other block has no place and is
left out. An image that the model made is a block of type `image`, which Anthropic's models have no equal of.

Source: https://platform.claude.com/docs/en/api/messages and …/build-with-claude/streaming (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._signatures import wrap
from adapters.dialects._messages_parts import (
    citation,
    ending,
    image,
    message,
    message_usage,
    opaque,
    redacted,
    signature,
    tool_input,
    usage_object,
)
from adapters.dialects._messages_read import OF_TEXT
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Json,
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
from gateway.core.money import Usage
from gateway.core.types import Call

_encode: Final = msgspec.json.Encoder().encode


def writer(call: Call, model: str) -> Writer:
    """Returns a writer for one answer; `model` is shown where the provider does not name its own."""
    return _Stream(call, model) if call.stream else _Whole(call, model)


class _Stream:
    """Events; `message_start` comes with the provider's name for the answer, `message_stop` is the last."""

    __slots__ = (
        "_begun",
        "_call",
        "_finished",
        "_index",
        "_model",
        "_open",
        "_refusal",
        "_text_head",
        "_tools",
        "_usage",
    )

    def __init__(self, call: Call, model: str) -> None:
        self._call = call
        self._model = model
        self._begun = False
        self._index = -1  # of the newest block
        self._open = ""  # its kind, where it is open
        self._text_head = b""  # of a delta of the open text block, up to the text
        self._tools: dict[int, int] = {}  # tool call -> block
        self._refusal: list[str] = []
        self._finished: Finished | None = None
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        if isinstance(event, TextDelta):
            if event.choice:
                return b""
            if self._open == "text":
                return b"%b%b}}\n\n" % (self._text_head, _encode(event.text))
            return self._text(event.text)
        if isinstance(event, Metered):
            self._usage = event.usage
            return b""
        if isinstance(event, Begin):
            return self._begin(event.id, event.model)
        if event.choice:
            return b""  # Messages have one answer, and no field to ask for more
        return self._other(event)

    def _other(self, event: Event) -> bytes:
        if isinstance(event, ToolCallDelta):
            return self._delta(
                self._tools.get(event.index, self._index),
                b'"input_json_delta","partial_json":%b' % _encode(event.arguments),
            )
        if isinstance(event, ThinkingDelta):
            opening = b"" if self._open == "thinking" else self._think()
            return opening + self._delta(self._index, b'"thinking_delta","thinking":%b' % _encode(event.text))
        if isinstance(event, ThinkingEnd):
            return self._thought(event)
        if isinstance(event, ToolCallBegin):
            call_id = wrap(event.id, event.signature, event.provider)
            opening = self._start("tool_use", {"type": "tool_use", "id": call_id, "name": event.name, "input": {}})
            self._tools[event.index] = self._index
            return opening
        if isinstance(event, TextEnd):
            return self._text_end(event)
        if isinstance(event, RefusalDelta):
            self._refusal.append(event.text)
            return self.write(TextDelta(event.text))
        if isinstance(event, Citation):
            cited = citation(event.value) if self._open == "text" else None
            return b"" if cited is None else self._delta(self._index, b'"citations_delta","citation":' + _encode(cited))
        if isinstance(event, OpaqueBlock):
            return self._whole(opaque(event))
        if isinstance(event, ImagePart):
            return self._whole(image(event))
        if isinstance(event, Finished):
            self._finished = event
        return b""

    def end(self) -> bytes:
        opening = self._close() if self._begun else self._begin("", "")
        stop = ending(self._finished, bool(self._tools), "".join(self._refusal))
        return b"".join(
            (
                opening,
                _event(b"message_delta", {"delta": stop, "usage": usage_object(self._usage)}),
                b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
            )
        )

    # -- blocks --

    def _begin(self, answer_id: str, model: str) -> bytes:
        """Writes the message's beginning; its usage is a skeleton where the provider has not told its own yet."""
        self._begun = True
        usage = message_usage(self._usage)
        usage["output_tokens"] = usage["output_tokens"] or 1  # as Anthropic's own begin; the end's count replaces it
        begun = message(answer_id or self._call.id, model or self._model, [], usage)
        return _event(b"message_start", {"message": {**begun, "stop_reason": None, "stop_sequence": None}})

    def _start(self, kind: str, block: Json) -> bytes:
        """Opens a block; whatever is open is closed before it."""
        before = self._close() if self._begun else self._begin("", "")
        self._index += 1
        self._open = kind
        return before + _event(b"content_block_start", {"index": self._index, "content_block": block})

    def _close(self) -> bytes:
        if not self._open:
            return b""
        # Reasoning that nobody signed is framed as nobody's: Anthropic refuses what it did not sign itself.
        unsigned = self._signed(wrap("", "", None)) if self._open == "thinking" else b""
        self._open = ""
        stop = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index
        return unsigned + stop

    def _whole(self, block: Json) -> bytes:
        return self._start("whole", block) + self._close()

    def _delta(self, index: int, delta: bytes) -> bytes:
        return (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b}}\n\n'
            % (index, delta)
        )

    def _text(self, text: str) -> bytes:
        if not text:
            return b""  # an empty block is refused when it comes back
        opening = self._start("text", {"type": "text", "text": ""})
        self._text_head = self._delta(self._index, b'"text_delta","text":').removesuffix(b"}}\n\n")
        return b"%b%b%b}}\n\n" % (opening, self._text_head, _encode(text))

    def _text_end(self, event: TextEnd) -> bytes:
        closing = self._close()
        if event.signature is None:
            return closing
        return closing + self._thought(ThinkingEnd(event.signature, provider=event.provider, id=OF_TEXT))

    def _think(self) -> bytes:
        return self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})

    def _signed(self, signature: str) -> bytes:
        return self._delta(self._index, b'"signature_delta","signature":%b' % _encode(signature)) if signature else b""

    def _thought(self, event: ThinkingEnd) -> bytes:
        if event.redacted is not None:
            return self._whole(redacted(event.redacted, event.provider))
        opening = b""
        if self._open != "thinking":
            if event.signature is None:
                return b""
            opening = self._think()
        signed = self._signed(signature(event))
        self._open = "whole"
        return opening + signed + self._close()


class _Whole:
    """One message, written when the answer is whole."""

    __slots__ = ("_begin", "_call", "_content", "_finished", "_model", "_open", "_refusal", "_tools", "_usage")

    def __init__(self, call: Call, model: str) -> None:
        self._call = call
        self._model = model
        self._begin = Begin("", "")
        self._content: list[tuple[dict[str, Json], list[str]]] = []  # blocks, and the pieces of their text
        self._open = ""  # the last block's kind, where it goes on
        self._tools: dict[int, list[str]] = {}
        self._refusal: list[str] = []
        self._finished: Finished | None = None
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        if isinstance(event, Begin):
            self._begin = event
        elif isinstance(event, Metered):
            self._usage = event.usage
        elif not event.choice:
            self._gather(event)
        return b""

    def end(self) -> bytes:
        self._close()
        cut = self._finished is not None and self._finished.finish == "length"
        whole = message(
            self._begin.id or self._call.id,
            self._begin.model or self._model,
            [_filled(block, "".join(pieces), cut) for block, pieces in self._content],
            message_usage(self._usage),
        )
        return _encode({**whole, **ending(self._finished, bool(self._tools), "".join(self._refusal))})

    def _gather(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            self._text(event.text)
        elif isinstance(event, ThinkingDelta):
            if self._open != "thinking":
                self._start("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            self._content[-1][1].append(event.text)
        elif isinstance(event, ThinkingEnd):
            self._thought(event)
        elif isinstance(event, ToolCallBegin):
            call_id = wrap(event.id, event.signature, event.provider)
            self._start("tool_use", {"type": "tool_use", "id": call_id, "name": event.name, "input": {}})
            self._tools[event.index] = self._content[-1][1]
        elif isinstance(event, ToolCallDelta):
            self._tools[event.index].append(event.arguments)
        elif isinstance(event, TextEnd):
            self._close()
            if event.signature is not None:
                self._thought(ThinkingEnd(event.signature, provider=event.provider, id=OF_TEXT))
        elif isinstance(event, RefusalDelta):
            self._refusal.append(event.text)
            self._text(event.text)
        elif isinstance(event, Citation):
            cited = citation(event.value) if self._open == "text" else None
            if cited is not None:
                self._content[-1][0].setdefault("citations", []).append(cited)
        elif isinstance(event, OpaqueBlock):
            self._start("whole", opaque(event))
        elif isinstance(event, ImagePart):
            self._start("whole", image(event))
        elif isinstance(event, Finished):
            self._finished = event

    def _start(self, kind: str, block: dict[str, Json]) -> None:
        self._close()
        self._content.append((block, []))
        self._open = kind

    def _close(self) -> None:
        """Closes the open block; reasoning that nobody signed is framed as nobody's."""
        if self._open == "thinking":
            self._content[-1][0]["signature"] = wrap("", "", None)
        self._open = ""

    def _text(self, text: str) -> None:
        if not text:
            return
        if self._open != "text":
            self._start("text", {"type": "text", "text": ""})
        self._content[-1][1].append(text)

    def _thought(self, event: ThinkingEnd) -> None:
        if event.redacted is not None:
            self._start("whole", redacted(event.redacted, event.provider))
            return
        if self._open != "thinking":
            if event.signature is None:
                return
            self._start("thinking", {"type": "thinking", "thinking": ""})
        self._content[-1][0]["signature"] = signature(event)
        self._open = ""


def _filled(block: dict[str, Json], text: str, cut: bool) -> dict[str, Json]:
    """Returns a block with the text that came for it."""
    kind = block["type"]
    if kind == "tool_use":
        return {**block, "input": tool_input(text, cut)}
    return {**block, kind: text} if kind in ("text", "thinking") else block


def _event(name: bytes, fields: Mapping[str, Json]) -> bytes:
    return b'event: %b\ndata: {"type":"%b",%b\n\n' % (name, name, _encode(fields)[1:])
