"""A conversation's turns as chat messages; what chat has no place for is declared or refused.

Source: https://platform.openai.com/docs/api-reference/chat/create (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE, Declarations
from adapters._documents import unfolded
from adapters._openai_quirks import Quirks
from adapters._openai_reasoning import TEXT_OF
from adapters._openai_tool_ids import short_ids
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest

# A tool that takes plain text, told to a provider that has none of the kind: a function of this one argument.
INPUT: Final = "input"

_AUDIO: Final = ("wav", "mp3")
_IN_NEXT_MESSAGE: Final = "The result is in the next message."


def encode_turns(
    conversation: Conversation, provider: str, quirks: Quirks, declarations: Declarations
) -> list[dict[str, Json]]:
    """Returns `messages`; raises BadRequest naming the message that cannot be sent."""
    turns = _Turns(conversation, provider, quirks, declarations)
    for index, turn in enumerate(conversation.messages):
        turns.add(f"messages.{index}", turn)
    if not turns.messages:
        raise BadRequest("there is no message with content", param="messages")
    turns.close()
    return turns.messages


class _Turns:
    """The messages so far."""

    def __init__(self, conversation: Conversation, provider: str, quirks: Quirks, declarations: Declarations) -> None:
        self.messages: list[dict[str, Json]] = []
        self._provider = provider
        self._quirks = quirks
        self._replays = quirks.replays or ()
        self._declarations = declarations
        self._ids = short_ids(_ids(conversation)) if quirks.short_ids else {}
        self._last = ""

    def add(self, where: str, turn: Message) -> None:
        self._last = where
        if turn.role == "assistant":
            self._assistant(where, turn)
        elif turn.role == "user":
            self._user(where, turn)
        else:
            parts = [self._text(block, where) for block in turn.content if isinstance(block, Text)]
            if len(parts) != len(turn.content):
                raise BadRequest(f"{where}: a system message holds text alone", param=where)
            self._say("system", parts, turn.name)

    def close(self) -> None:
        """Ends the conversation; where the assistant has the last word, not every model goes on from there."""
        last = self.messages[-1]
        if last["role"] != "assistant" or last.get("tool_calls"):
            return
        if self._quirks.prefix:
            last["prefix"] = True
        else:
            self._declarations.declare(self._last, "the provider answers anew, it does not go on from this text")

    def _say(self, role: str, parts: list[Json], name: str | None) -> None:
        message: dict[str, Json] = {"role": role, "content": _content(parts)}
        if name is not None:
            message["name"] = name
        self.messages.append(message)

    # -- the user's side --

    def _user(self, where: str, turn: Message) -> None:
        """Writes the tools' results first, as they must follow the calls; their media come in a user's message."""
        parts: list[Json] = []
        results = [block for block in turn.content if isinstance(block, ToolResult)]
        for result in results:
            parts.extend(self._result(where, result))
        rest = [
            part
            for place, block in enumerate(turn.content)
            if not isinstance(block, ToolResult)
            for part in self._parts(block, f"{where}.content.{place}")
        ]
        if parts or rest or not results:
            self._say("user", [*parts, *rest], turn.name)

    def _result(self, where: str, result: ToolResult) -> list[Json]:
        """Writes what a tool said; returns what a tool's message cannot hold, for the message after it."""
        said: list[Json] = []
        media: list[Json] = []
        for place, block in enumerate(result.content):
            for part in self._parts(block, f"{where}.content.{place}"):
                (said if part["type"] == "text" else media).append(part)
        if result.is_error:
            self._declarations.declare(f"{where}.is_error", "chat has no such mark, the text alone tells")
        self._marker(result.cache)
        call_id = self._id(result.call_id)
        content = _content(said) if said or not media else _IN_NEXT_MESSAGE
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
        if not media:
            return []
        self._declarations.declare(f"{where}.content", "media of a tool's result are sent in a user's message")
        return [{"type": "text", "text": f"The result of the tool call {call_id}:"}, *media]

    def _parts(self, block: Block, where: str) -> list[Json]:
        return [self._part(one, where) for one in unfolded(block, where, self._declarations) or (block,)]

    def _part(self, block: Block, where: str) -> dict[str, Json]:
        if isinstance(block, Text):
            return self._text(block, where)
        if isinstance(block, Image):
            if block.file_id is not None or (block.url is None and block.data is None):
                raise BadRequest(f"{where}: an image is sent by its URL or as data here", param=where)
            url = block.url or f"data:{block.media_type or 'image/png'};base64,{block.data or ''}"
            image: dict[str, Json] = {"url": url}
            if block.detail is not None:
                image["detail"] = block.detail
            return self._marked({"type": "image_url", "image_url": image}, block.cache)
        if isinstance(block, Document):
            return self._marked(self._document(block, where), block.cache)
        if isinstance(block, Audio):
            if block.format not in _AUDIO:
                raise BadRequest(f"{where}: audio is wav or mp3 here, not {block.format!r}", param=where)
            return {"type": "input_audio", "input_audio": {"data": block.data, "format": block.format}}
        raise BadRequest(f"{where}: chat takes no {type(block).__name__} here", param=where)

    def _text(self, block: Text, where: str) -> dict[str, Json]:
        return self._marked({"type": "text", "text": block.text}, block.cache)

    def _document(self, block: Document, where: str) -> dict[str, Json]:
        if block.text is not None:
            return {"type": "text", "text": f"{block.name}:\n{block.text}" if block.name else block.text}
        if block.file_id is not None:
            if self._quirks.typed_chunks:
                return {"type": "file", "file_id": block.file_id}
            return {"type": "file", "file": {"file_id": block.file_id}}
        if block.url is None and block.data is None:
            raise BadRequest(f"{where}: a document is sent as data, as text or by its id here", param=where)
        url = block.url or f"data:{block.media_type or 'application/pdf'};base64,{block.data or ''}"
        if self._quirks.typed_chunks:
            named = {"document_name": block.name} if block.name else {}
            return {"type": "document_url", "document_url": url, **named}
        if block.url is not None and not self._quirks.file_urls:
            raise BadRequest(f"{where}: the provider fetches no documents, send the file itself", param=where)
        return {"type": "file", "file": {"filename": block.name or "document.pdf", "file_data": url}}

    # -- the assistant's side --

    def _assistant(self, where: str, turn: Message) -> None:
        texts: list[str] = []
        refusals: list[str] = []
        thoughts: list[Thinking | RedactedThinking] = []
        calls: list[Json] = []
        images: list[Json] = []
        left_out = False
        for place, block in enumerate(turn.content):
            if isinstance(block, Text):
                texts.append(block.text)
                self._marker(block.cache)
                if block.citations:
                    self._declarations.declare("messages.annotations", "citations of earlier answers are left out")
            elif isinstance(block, Refusal):
                (texts if self._quirks.typed_chunks else refusals).append(block.text)
            elif isinstance(block, ToolCall):
                calls.append(self._call(block))
            elif isinstance(block, Thinking | RedactedThinking) and block.provider in (None, self._provider):
                thoughts.append(block)
            elif isinstance(block, Image) and "images" in self._replays:
                images.append(self._part(block, f"{where}.content.{place}"))
            else:
                left_out = True
        message: dict[str, Json] = {"role": "assistant"}
        told = self._think(message, thoughts)
        if told < len(thoughts) or left_out:
            self._declarations.declare("messages", "reasoning and blocks that the provider takes none of are left out")
        if texts and self._quirks.typed_chunks and "content" in message:
            message["content"].append({"type": "text", "text": "".join(texts)})
        elif "content" not in message:
            message["content"] = "".join(texts) if texts else None
        if refusals:
            message["refusal"] = "".join(refusals)
        if images:
            message["images"] = images
        if calls:
            message["tool_calls"] = calls
            if self._quirks.reasoned_calls:
                message.setdefault("reasoning_content", "")
        elif message["content"] is None and not refusals and not images:
            if turn.content:
                return  # of another provider's blocks nothing is left
            message["content"] = ""
        if turn.name is not None:
            message["name"] = turn.name
        self.messages.append(message)

    def _think(self, message: dict[str, Json], thoughts: list[Thinking | RedactedThinking]) -> int:
        """Writes reasoning where the provider takes it back; returns how many blocks have found a place."""
        texts = [block.text for block in thoughts if isinstance(block, Thinking) and block.text]
        if self._quirks.typed_chunks:
            chunks: list[Json] = [_thinking_chunk(block) for block in thoughts if isinstance(block, Thinking)]
            if chunks:
                message["content"] = chunks
            return len(chunks)
        if "reasoning_details" in self._replays:
            details = [detail for block in thoughts if (detail := _detail(block)) is not None]
            if details:
                message["reasoning_details"] = details
                return len(details)
        for field in [field for field in self._replays if field in ("reasoning", "reasoning_content")][:1]:
            if texts:
                message[field] = "".join(texts)
            return sum(isinstance(block, Thinking) for block in thoughts)
        return sum(not _says(block) for block in thoughts)

    def _call(self, call: ToolCall) -> Json:
        self._marker(call.cache)
        call_id = self._id(call.id)
        if not call.custom:
            function = {"name": call.name, "arguments": call.arguments or "{}"}
            return {"id": call_id, "type": "function", "function": function}
        if self._quirks.custom_tools:
            return {"id": call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
        arguments = msgspec.json.encode({INPUT: call.arguments}).decode()
        return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    # -- what both need --

    def _id(self, call_id: str) -> str:
        return self._ids.get(call_id, call_id)

    def _marked(self, part: dict[str, Json], cache: Json) -> dict[str, Json]:
        if cache is not None and self._quirks.caches:
            part["cache_control"] = cache
        else:
            self._marker(cache)
        return part

    def _marker(self, cache: Json) -> None:
        if cache is not None:
            self._declarations.declare("cache_control", "the provider takes no cache markers here, left out")


def _content(parts: list[Json]) -> Json:
    """Returns one text as a string, which every provider reads, and anything else as parts."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts


def _ids(conversation: Conversation) -> Iterable[str]:
    for turn in conversation.messages:
        for block in turn.content:
            if isinstance(block, ToolCall):
                yield block.id
            elif isinstance(block, ToolResult):
                yield block.call_id


def _says(block: Thinking | RedactedThinking) -> bool:
    return isinstance(block, RedactedThinking) or bool(block.text or block.signature)


def _thinking_chunk(block: Thinking) -> Json:
    chunk: dict[str, Json] = {"type": "thinking", "thinking": [{"type": "text", "text": block.text}]}
    if block.signature:
        chunk["signature"] = block.signature
    return chunk


def _detail(block: Thinking | RedactedThinking) -> dict[str, Json] | None:
    """Returns the element of `reasoning_details` that a block was read from (`_openai_reasoning`)."""
    kept = block.data if isinstance(block, RedactedThinking) else block.signature
    try:
        detail = msgspec.json.decode(kept or "")
    except UNREADABLE:
        detail = None
    if not isinstance(detail, dict):
        return None
    field = TEXT_OF.get(str(detail.get("type")))
    if field is not None and isinstance(block, Thinking):
        detail[field] = block.text
    return detail
