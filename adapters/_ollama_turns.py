"""A conversation as the messages of Ollama's chat.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/capabilities/tool-calling (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters._blocks import Declarations
from adapters._documents import unfolded
from adapters._ollama_media import image
from adapters._tool_calls import arguments_of
from gateway.core.adapter import Fetched
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

PROVIDER: Final = "ollama"


def encode_turns(conversation: Conversation, fetched: Fetched, declarations: Declarations) -> list[Json]:
    """Returns `messages`; raises BadRequest naming the message that cannot be sent."""
    turns = _Turns(fetched, declarations)
    for index, turn in enumerate(conversation.messages):
        if turn.name is not None:
            declarations.declare(f"messages.{index}.name", "Ollama has no names of participants, left out")
        if turn.role == "assistant":
            turns.assistant(index, turn)
        else:
            turns.other(index, turn)
    if not turns.written:
        raise BadRequest("there is no message with content", param="messages")
    return turns.written


class _Turns:
    """The messages so far, and the names of the tools called in them."""

    def __init__(self, fetched: Fetched, declarations: Declarations) -> None:
        self.written: list[Json] = []
        self._fetched = fetched
        self._declarations = declarations
        self._called: dict[str, str] = {}  # a call's id -> the tool's name

    def assistant(self, index: int, turn: Message) -> None:
        text: list[str] = []
        thinking: list[str] = []
        calls: list[Json] = []
        for block in turn.content:
            if isinstance(block, ToolCall):
                calls.append(self._call(block, f"messages.{index}.tool_calls.{len(calls)}"))
            elif isinstance(block, Text | Refusal):
                self._note_cache(block)
                text.append(block.text)
            elif isinstance(block, Thinking) and not block.signature and block.provider in (None, PROVIDER):
                thinking.append(block.text)
            else:
                self._declarations.declare("messages", "reasoning and blocks of another provider were left out")
        if not any(text) and not calls:
            return
        message: dict[str, Json] = {"role": "assistant", "content": "".join(text)}
        if any(thinking):
            message["thinking"] = "".join(thinking)
        if calls:
            message["tool_calls"] = calls
        self.written.append(message)

    def other(self, index: int, turn: Message) -> None:
        """Writes a system's or a user's turn; the results of tools in it are messages of their own."""
        where = f"messages.{index}"
        rest: list[tuple[str, Block]] = []
        for number, block in enumerate(turn.content):
            if isinstance(block, ToolResult):
                self._result(block, where)
            else:
                rest.append((f"{where}.content.{number}", block))
        message = self._message(turn.role, rest)
        if message["content"] or "images" in message:
            self.written.append(message)

    def _call(self, call: ToolCall, where: str) -> Json:
        if call.custom:
            raise BadRequest(f"{where}: Ollama's tools take JSON, no plain text", param=where)
        self._note_cache(call)
        self._called[call.id] = call.name
        arguments = arguments_of(call, where)
        # Newer servers give calls an id and match results by it (recorded, 2026-08); older ones leave it alone.
        return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}

    def _result(self, result: ToolResult, where: str) -> None:
        name = self._called.get(result.call_id)
        if name is None:
            field = f"{where}.tool_call_id"
            raise BadRequest(f"{field}: {result.call_id!r} answers no tool call before it", param=field)
        if result.is_error:
            self._declarations.declare(f"{where}.is_error", "Ollama has no mark for a tool that failed, left out")
        self._note_cache(result)
        parts = [(f"{where}.content.{number}", block) for number, block in enumerate(result.content)]
        self.written.append({**self._message("tool", parts), "tool_name": name, "tool_call_id": result.call_id})

    def _message(self, role: str, blocks: list[tuple[str, Block]]) -> dict[str, Json]:
        """Writes texts as one, and the images beside them, which is all a message can hold."""
        texts: list[str] = []
        images: list[str] = []
        for where, block in self._unfolded(blocks):
            self._note_cache(block)
            if isinstance(block, Text):
                texts.append(block.text)
            elif isinstance(block, Image):
                if block.detail not in (None, "auto"):
                    self._declarations.declare(f"{where}.detail", "Ollama has no levels of detail, left out")
                images.append(image(block, where, self._fetched))
            elif isinstance(block, Document) and block.text is not None:
                self._declarations.declare(where, "Ollama takes no files, sent as text")
                texts.append(f"{block.name}\n\n{block.text}" if block.name else block.text)
            else:
                what = {Audio: "audio", Document: "files"}.get(type(block), type(block).__name__)
                raise BadRequest(f"{where}: Ollama takes no {what} here", param=where)
        # Parts are apart for their writer; without anything between them words would grow together.
        message: dict[str, Json] = {"role": role, "content": "\n\n".join(text for text in texts if text)}
        if images:
            message["images"] = images
        return message

    def _unfolded(self, blocks: list[tuple[str, Block]]) -> Iterator[tuple[str, Block]]:
        for where, block in blocks:
            for part in unfolded(block, where, self._declarations) or (block,):
                yield where, part

    def _note_cache(self, block: Block) -> None:
        if getattr(block, "cache", None) is not None:
            self._declarations.declare("cache_control", "Ollama caches by itself, left out")
