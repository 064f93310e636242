"""Writes a provider's events as OpenAI's Responses: numbered events of a stream, or one object at the end.

Source: https://platform.openai.com/docs/api-reference/responses-streaming (2026-11). Reasoning stands in the summary
where the caller asks for summaries, else in the item's content, as providers of open reasoning write it. What has no
field of its own rides in `encrypted_content` (`_responses_seal`); citations without a URL in `citations` of the text.
"""

from __future__ import annotations

from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._signatures import wrap
from adapters.dialects._citations import placed, titled
from adapters.dialects._responses_envelope import Envelope, reason_of
from adapters.dialects._responses_envelope import minted as _minted
from adapters.dialects._responses_seal import BlockSeal, RedactedSeal, Seal, Sealed, TextSeal, seal
from gateway.core.blocks import (
    Begin,
    Citation,
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
from gateway.core.money import Usage
from gateway.core.types import Call

_encode: Final = msgspec.json.Encoder().encode

_TEXT: Final = "output_text"
_REFUSAL: Final = "refusal"
_WHOLE: Final = ("completed", "incomplete")


def writer(call: Call, model: str) -> Writer:
    """Returns a writer for one answer; `model` is shown where the provider does not name its own."""
    return _Stream(call, model) if call.stream else _Answer(call, model)


class _Call:
    """A tool call that is open: until its arguments are whole and something follows, or until the answer ends.

    That another call has begun is no sign: a provider may mix their arguments.
    """

    __slots__ = ("item", "pieces", "place")

    def __init__(self, item: dict[str, Json], place: int) -> None:
        self.item = item
        self.place = place
        self.pieces: list[str] = []

    def is_whole(self) -> bool:
        """Says whether the arguments are a JSON object, to which nothing can be added; of plain text nobody knows."""
        if self.item["type"] == "custom_tool_call":
            return False
        try:
            return isinstance(msgspec.json.decode("".join(self.pieces)), dict)
        except UNREADABLE:
            return False


class _Answer:
    """The answer's items as they grow; unary, it says nothing before its end.

    One message or reasoning item is open at a time, with one part; `_say` is told each step.
    """

    __slots__ = (
        "_annotations",
        "_begun",
        "_calls",
        "_citations",
        "_envelope",
        "_finished",
        "_id",
        "_item",
        "_length",
        "_logprobs",
        "_output",
        "_part",
        "_part_begin",
        "_pieces",
        "_refused",
        "_unsaid_logprobs",
        "_usage",
    )

    def __init__(self, call: Call, model: str) -> None:
        self._envelope = Envelope(call, model)
        self._id = call.id
        self._begun = False
        self._output: list[Json] = []
        self._item: dict[str, Json] | None = None  # the open message or reasoning
        self._part = ""  # what of it is open
        self._pieces: list[str] = []
        self._annotations: list[Json] = []
        self._citations: list[Json] = []
        self._logprobs: list[Json] = []
        self._unsaid_logprobs: list[Json] = []
        self._length = 0  # characters of text in the whole answer
        self._part_begin = 0
        self._calls: dict[int, _Call] = {}
        self._refused = False
        self._finished: Finished | None = None
        self._usage: Usage | None = None

    def write(self, event: Event) -> bytes:
        self._take(event)
        return b""

    def end(self) -> bytes:
        return self._close()

    def _say(self, kind: str, **fields: Json) -> None:
        """Tells of a step."""

    def _take(self, event: Event) -> None:
        if isinstance(event, Begin):
            self._envelope.begin(event)
            self._begin()
            return
        if isinstance(event, Metered):
            self._usage = event.usage
            return
        if event.choice:  # Responses know of no second one, and none was asked for
            return
        self._begin()
        if isinstance(event, TextDelta):
            self._text(event.text)
        elif isinstance(event, ThinkingDelta):
            self._think(event.text)
        elif isinstance(event, ThinkingEnd):
            self._end_thought(event)
        elif isinstance(event, ToolCallBegin):
            self._call(event)
        elif isinstance(event, ToolCallDelta):
            self._argue(event)
        elif isinstance(event, RefusalDelta):
            self._refuse(event.text)
        elif isinstance(event, Finished):
            self._finished = event
            incomplete = reason_of(event, self._refused) is not None
            self._close_items(_WHOLE[incomplete])
        else:
            self._rare(event)

    def _rare(self, event: Event) -> None:
        if isinstance(event, Citation):
            self._cite(event.value)
        elif isinstance(event, TextEnd):
            if event.signature is not None:
                self._close_item()
                self._carry(TextSeal(event.signature, event.provider))
        elif isinstance(event, ImagePart):
            self._image(event)
        elif isinstance(event, OpaqueBlock):
            self._close_item()
            self._carry(BlockSeal(event.provider, event.value))
        elif isinstance(event, Logprobs):
            told = [_logprob(token) for token in event.content]
            self._logprobs += told
            self._unsaid_logprobs += told

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            response = self._envelope.response([])
            self._say("response.created", response=response)
            self._say("response.in_progress", response=response)

    def _close(self) -> bytes:
        """Returns the whole object, and tells of it."""
        self._begin()
        finished = self._finished or Finished("")
        self._close_items("incomplete")
        response = self._envelope.response(self._output, finished, self._usage, self._refused)
        written = self._envelope.left(response)
        self._say(f"response.{response['status']}", response=msgspec.Raw(written))
        return written

    # -- items -----------------------------------------------------------------------------------------------------

    def _open(self, prefix: str, **fields: Json) -> dict[str, Json]:
        """Opens an item at the end of the output; calls before it that are whole are told so."""
        for index in [index for index, call in self._calls.items() if call.is_whole()]:
            self._close_call(self._calls.pop(index), "completed")
        item = {"id": _minted(prefix, self._id, len(self._output)), **fields}
        self._output.append(item)
        self._say("response.output_item.added", output_index=len(self._output) - 1, item=item)
        return item

    def _close_items(self, status: str) -> None:
        self._close_item(status)
        for call in self._calls.values():
            self._close_call(call, status)
        self._calls.clear()

    def _close_item(self, status: str = "completed", sealed: Sealed | None = None) -> None:
        """Closes the message or reasoning item that is open, if one is."""
        item = self._item
        if item is None:
            return
        self._close_part()
        item["status"] = status
        if sealed is not None:
            item["encrypted_content"] = seal(sealed)
        self._item = None
        self._say("response.output_item.done", output_index=len(self._output) - 1, item=item)

    def _carry(self, sealed: Sealed) -> None:
        """Writes a reasoning item that holds nothing but what is sealed."""
        self._item = self._open("rs", type="reasoning", summary=[], status="in_progress")
        self._close_item("completed", sealed)

    def _at(self) -> dict[str, Json]:
        """Returns where the open part is."""
        assert self._item is not None
        place = "summary_index" if self._part == "summary_text" else "content_index"
        holder = "summary" if self._part == "summary_text" else "content"
        return {
            "item_id": self._item["id"],
            "output_index": len(self._output) - 1,
            place: len(self._item[holder]),
        }

    def _say_part(self, state: str, part: dict[str, Json]) -> None:
        summary = self._part == "summary_text"
        kind = f"response.reasoning_summary_part.{state}" if summary else f"response.content_part.{state}"
        self._say(kind, **self._at(), part=part)

    # -- messages --------------------------------------------------------------------------------------------------

    def _open_part(self, part: str) -> None:
        """Opens a part of a message, and the message where none is open."""
        item = self._item
        if item is not None and item["type"] != "message":
            self._close_item()
            item = None
        if item is None:
            self._item = self._open("msg", type="message", status="in_progress", role="assistant", content=[])
        elif self._part:
            self._close_part()
        self._part = part
        self._part_begin = self._length
        empty: dict[str, Json] = {"type": part, "text": "", "annotations": [], "logprobs": []}
        self._say_part("added", empty if part == _TEXT else {"type": part, "refusal": ""})

    def _text(self, text: str) -> None:
        if self._part != _TEXT:
            self._open_part(_TEXT)
        self._pieces.append(text)
        self._length += len(text)
        self._say("response.output_text.delta", **self._at(), delta=text, logprobs=self._unsaid_logprobs)
        self._unsaid_logprobs = []

    def _refuse(self, text: str) -> None:
        self._refused = True
        if self._part != _REFUSAL:
            self._open_part(_REFUSAL)
        self._pieces.append(text)
        self._say("response.refusal.delta", **self._at(), delta=text)

    def _cite(self, value: Json) -> None:
        """Writes a citation into the text it speaks of: the part that is open, or one that begins with it."""
        if self._part != _TEXT:
            self._open_part(_TEXT)
        url = value.get("url") or value.get("source")
        if not isinstance(url, str) or "://" not in url:
            self._citations.append(value)
            return
        annotation = {
            "type": "url_citation",
            "url": url,
            "title": titled(value, url),
            "start_index": max(0, placed(value, "start_index", self._part_begin) - self._part_begin),
            "end_index": max(0, placed(value, "end_index", self._part_begin) - self._part_begin),
        }
        self._annotations.append(annotation)
        self._say(
            "response.output_text.annotation.added",
            **self._at(),
            annotation_index=len(self._annotations) - 1,
            annotation=annotation,
        )

    def _close_part(self) -> None:
        """Closes what is open of the open item."""
        item, kind = self._item, self._part
        if item is None or not kind:
            return
        text = "".join(self._pieces)
        self._pieces.clear()
        if kind == _TEXT:
            part: dict[str, Json] = {
                "type": kind,
                "text": text,
                "annotations": self._annotations,
                "logprobs": self._logprobs,
            }
            if self._citations:
                part["citations"] = self._citations
            self._say("response.output_text.done", **self._at(), text=text, logprobs=self._logprobs)
            self._annotations, self._citations, self._logprobs, self._unsaid_logprobs = [], [], [], []
        elif kind == _REFUSAL:
            part = {"type": kind, "refusal": text}
            self._say("response.refusal.done", **self._at(), refusal=text)
        else:
            part = {"type": kind, "text": text}
            done = "reasoning_summary_text" if kind == "summary_text" else kind
            self._say(f"response.{done}.done", **self._at(), text=text)
        self._say_part("done", part)
        item["summary" if kind == "summary_text" else "content"].append(part)
        self._part = ""

    # -- reasoning -------------------------------------------------------------------------------------------------

    def _think(self, text: str) -> None:
        summary = self._envelope.summarised
        if self._item is None or self._item["type"] != "reasoning":
            self._close_item()
            content: dict[str, Json] = {} if summary else {"content": []}
            self._item = self._open("rs", type="reasoning", summary=[], **content, status="in_progress")
            self._part = "summary_text" if summary else "reasoning_text"
            self._say_part("added", {"type": self._part, "text": ""})
        self._pieces.append(text)
        kind = "response.reasoning_summary_text.delta" if summary else "response.reasoning_text.delta"
        self._say(kind, **self._at(), delta=text)

    def _end_thought(self, event: ThinkingEnd) -> None:
        thinking = self._item is not None and self._item["type"] == "reasoning"
        if event.redacted is not None:
            self._close_item()
            self._carry(RedactedSeal(event.redacted, event.provider))
        elif event.signature is None:
            if thinking:
                self._close_item("completed", Seal(None, event.provider, event.id) if event.provider else None)
        elif thinking:
            self._close_item("completed", Seal(event.signature, event.provider, event.id))
        else:
            self._close_item()
            self._carry(Seal(event.signature, event.provider, event.id))

    # -- tool calls and pictures -----------------------------------------------------------------------------------

    def _call(self, event: ToolCallBegin) -> None:
        self._close_item()
        call_id = wrap(event.id, event.signature, event.provider)
        if event.custom:
            item = self._open("ctc", type="custom_tool_call", call_id=call_id, name=event.name, input="")
        else:
            item = self._open(
                "fc", type="function_call", status="in_progress", call_id=call_id, name=event.name, arguments=""
            )
        self._calls[event.index] = _Call(item, len(self._output) - 1)

    def _argue(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            return  # of a call that was whole: nothing can follow an object but blanks
        call.pieces.append(event.arguments)
        custom = call.item["type"] == "custom_tool_call"
        self._say(
            "response.custom_tool_call_input.delta" if custom else "response.function_call_arguments.delta",
            item_id=call.item["id"],
            output_index=call.place,
            delta=event.arguments,
        )

    def _close_call(self, call: _Call, status: str) -> None:
        item, written = call.item, "".join(call.pieces)
        at: dict[str, Json] = {"item_id": item["id"], "output_index": call.place}
        if item["type"] == "custom_tool_call":
            item["input"] = written
            self._say("response.custom_tool_call_input.done", **at, input=written)
        else:
            item["arguments"], item["status"] = written, status
            self._say("response.function_call_arguments.done", **at, name=item["name"], arguments=written)
        self._say("response.output_item.done", output_index=call.place, item=item)

    def _image(self, event: ImagePart) -> None:
        self._close_item()
        item = self._open("ig", type="image_generation_call", status="in_progress", result=None)
        place = len(self._output) - 1
        at: dict[str, Json] = {"item_id": item["id"], "output_index": place}
        self._say("response.image_generation_call.in_progress", **at)
        self._say("response.image_generation_call.completed", **at)
        item["status"], item["result"] = "completed", event.data
        item["output_format"] = event.media_type.partition("/")[2] or event.media_type
        self._say("response.output_item.done", output_index=place, item=item)


class _Stream(_Answer):
    """The same, told as it grows."""

    __slots__ = ("_head", "_said", "_sequence")

    def __init__(self, call: Call, model: str) -> None:
        super().__init__(call, model)
        self._sequence = 0
        self._said: list[bytes] = []
        self._head = b""  # of the open text's deltas, up to the text

    def write(self, event: Event) -> bytes:
        if (
            isinstance(event, TextDelta)
            and self._part == _TEXT
            and self._head
            and not (event.choice or self._unsaid_logprobs)
        ):
            text = event.text
            self._pieces.append(text)
            self._length += len(text)
            self._sequence = sequence = self._sequence + 1
            return b'%b%b,"logprobs":[],"sequence_number":%d}\n\n' % (self._head, _encode(text), sequence - 1)
        self._take(event)
        return self._flushed()

    def end(self) -> bytes:
        self._close()
        return self._flushed()

    def _say(self, kind: str, **fields: Json) -> None:
        event = _encode({"type": kind, **fields, "sequence_number": self._sequence})
        self._sequence += 1
        self._said.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), event))

    def _open_part(self, part: str) -> None:
        super()._open_part(part)
        self._head = b""
        if part == _TEXT:
            kind = b"response.output_text.delta"
            at = _encode({"type": kind.decode(), **self._at()})
            self._head = b'event: %b\ndata: %b,"delta":' % (kind, at[:-1])

    def _flushed(self) -> bytes:
        said = b"".join(self._said)
        self._said.clear()
        return said


def _logprob(token: Json) -> Json:
    """Writes a token of chat's log-probabilities: what may be null or absent there must be a list here."""
    return {
        "token": token.get("token", ""),
        "logprob": token.get("logprob", 0.0),
        "bytes": token.get("bytes") or list(str(token.get("token", "")).encode("utf-8", "replace")),
        "top_logprobs": [
            {**top, "bytes": top.get("bytes") or list(str(top.get("token", "")).encode("utf-8", "replace"))}
            for top in token.get("top_logprobs") or ()
        ],
    }
