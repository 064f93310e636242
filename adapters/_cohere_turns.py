"""A conversation as the messages of Cohere's chat, with the rules its API holds a history to.

Source: https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/errors (2026-11).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from adapters._blocks import Declarations, sniffed_type
from adapters._documents import unfolded
from adapters._tool_names import distinct
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest

PROVIDER: Final = "cohere"

_DETAILS: Final = ("auto", "low", "high")


def encode_turns(conversation: Conversation, names: Mapping[str, str], declarations: Declarations) -> list[Json]:
    """Returns `messages`; raises BadRequest naming the message that cannot be sent."""
    turns = _Turns(names, declarations)
    messages = conversation.messages
    start = 0
    while start < len(messages) and messages[start].role == "system":
        start += 1
    turns.system(messages[:start])
    for index in range(start, len(messages)):
        turn = messages[index]
        if turn.name is not None:
            declarations.declare(f"messages.{index}.name", "Cohere has no names of participants, left out")
        if turn.role == "assistant":
            turns.assistant(index, turn)
        elif turn.role == "user":
            turns.user(index, turn)
        else:
            # "system turn must be the first in the list": https://docs.cohere.com/reference/errors (2026-11)
            declarations.declare(f"messages.{index}", "Cohere takes system messages first only, sent as the user's")
            turns.user(index, turn)
    if not turns.written:
        raise BadRequest("there is no message with content", param="messages")
    return turns.written


class _Turns:
    """The messages so far, and the tool calls in them that nothing has answered."""

    def __init__(self, names: Mapping[str, str], declarations: Declarations) -> None:
        self.written: list[Json] = []
        self._names = names
        self._declarations = declarations
        self._open_calls: dict[str, list[str]] = {}  # the caller's id -> ids as sent
        self._ids: set[str] = set()

    def system(self, turns: Sequence[Message]) -> None:
        parts = [
            part
            for index, turn in enumerate(turns)
            for number, block in enumerate(turn.content)
            for part in self._content(block, f"messages.{index}.content.{number}")
        ]
        if parts:
            self.written.append({"role": "system", "content": _shortest(parts)})

    def user(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        parts: list[Json] = []
        for number, block in enumerate(turn.content):
            if isinstance(block, ToolResult):
                self.written.append(self._result(block, where))
            else:
                parts.extend(self._content(block, f"{where}.content.{number}"))
        if parts:
            self.written.append({"role": "user", "content": _shortest(parts)})

    def assistant(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        content: list[Json] = []
        plan: list[str] = []
        calls: list[Json] = []
        called = any(isinstance(block, ToolCall) for block in turn.content)
        for block in turn.content:
            if isinstance(block, ToolCall):
                calls.append(self._call(block, f"{where}.tool_calls.{len(calls)}"))
            elif isinstance(block, Text | Refusal):
                self._note_cache(block)
                if block.text:
                    content.append({"type": "text", "text": block.text})
            elif isinstance(block, Thinking) and not block.signature and block.provider in (None, PROVIDER):
                # What a model thinks before it calls tools is its plan; it comes back where it came from.
                if called:
                    plan.append(block.text)
                elif block.text:
                    content.append({"type": "thinking", "thinking": block.text})
            else:
                self._declarations.declare("messages", "reasoning and blocks of another provider were left out")
        if not content and not calls:
            return
        message: dict[str, Json] = {"role": "assistant"}
        if content:
            message["content"] = _shortest(content)
        if plan:
            message["tool_plan"] = "".join(plan)
        if calls:
            message["tool_calls"] = calls
        self.written.append(message)

    # -- tool calls and results --

    def _call(self, call: ToolCall, where: str) -> Json:
        if call.custom:
            raise BadRequest(f"{where}: Cohere's tools take JSON, no plain text", param=where)
        self._note_cache(call)
        sent_id = distinct(call.id or "call", self._ids)  # "cannot have duplicate tool ids"
        self._ids.add(sent_id)
        self._open_calls.setdefault(call.id, []).append(sent_id)
        function = {"name": self._names[call.name], "arguments": call.arguments.strip() or "{}"}
        return {"id": sent_id, "type": "function", "function": function}

    def _result(self, result: ToolResult, where: str) -> Json:
        waiting = self._open_calls.get(result.call_id)
        if not waiting:
            field = f"{where}.tool_call_id"
            raise BadRequest(f"{field}: {result.call_id!r} answers no tool call before it", param=field)
        sent_id = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if result.is_error:
            self._declarations.declare(f"{where}.is_error", "Cohere has no mark for a tool that failed, left out")
        self._note_cache(result)
        parts: list[Json] = []
        for number, block in enumerate(result.content):
            field = f"{where}.content.{number}"
            if isinstance(block, Image):
                raise BadRequest(f"{field}: Cohere takes no images in a tool's result", param=field)
            if isinstance(block, Document) and block.text is not None:
                about = {"title": block.name, "context": block.context}
                data = {"text": block.text} | {name: said for name, said in about.items() if said}
                parts.append({"type": "document", "document": {"data": data}})
            else:
                parts.extend(self._content(block, field))
        return {"role": "tool", "tool_call_id": sent_id, "content": _shortest(parts) if parts else ""}

    # -- blocks --

    def _content(self, block: Block, where: str) -> list[Json]:
        """Writes what may stand in a system's or a user's turn."""
        if parts := unfolded(block, where, self._declarations):
            return [written for part in parts for written in self._content(part, where)]
        self._note_cache(block)
        if isinstance(block, Text):
            return [{"type": "text", "text": block.text}] if block.text else []
        if isinstance(block, Image):
            return [{"type": "image_url", "image_url": _image(block, where)}]
        if isinstance(block, Document) and block.text is not None:
            self._declarations.declare(where, "Cohere takes no files, sent as text")
            return [{"type": "text", "text": f"{block.name}\n\n{block.text}" if block.name else block.text}]
        what = {Audio: "audio", Document: "files"}.get(type(block), type(block).__name__)
        raise BadRequest(f"{where}: Cohere takes no {what} here", param=where)

    def _note_cache(self, block: Block) -> None:
        if getattr(block, "cache", None) is not None:
            self._declarations.declare("cache_control", "Cohere caches by itself, left out")


def _shortest(parts: list[Json]) -> Json:
    """Writes one text as a string, anything else as the list of its parts."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return parts[0]["text"]
    return parts


def _image(block: Image, where: str) -> dict[str, Json]:
    """Writes an image as a URL of the web or of its data; the bytes say its media type."""
    if block.url is not None:
        if not block.url.startswith(("https://", "http://")):
            raise BadRequest(f"{where}: an image's URL must be https or data", param=where)
        url = block.url
    else:
        if block.data is None:
            raise BadRequest(f"{where}: Cohere keeps no files, send the image's bytes", param=where)
        data = block.data
        try:
            media_type = sniffed_type(data) or block.media_type
        except (binascii.Error, ValueError):
            raise BadRequest(f"{where} is not base64", param=where) from None
        url = f"data:{media_type or 'image/png'};base64,{data}"
    return {"url": url, "detail": block.detail} if block.detail in _DETAILS else {"url": url}
