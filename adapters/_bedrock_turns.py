"""A conversation as Converse's system blocks and alternating turns, with the rules that it holds a history to.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from adapters._bedrock_media import Media
from adapters._bedrock_model import Family
from adapters._bedrock_tools import cache_point
from adapters._blocks import Declarations
from adapters._documents import unfolded
from adapters._signatures import holds
from adapters._tool_calls import OpenCalls, arguments_of
from adapters._tool_names import distinct
from gateway.core.adapter import Fetched
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest

_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_ID_MAX: Final = 64
_ID_KEPT: Final = 60  # of an id that is changed: leaves room for a number behind
_PLACEHOLDER: Final = "."
_REPLAYED: Final = frozenset({"toolUse", "toolResult"})  # of the blocks that are Bedrock's own

# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_AudioBlock.html (2026-11)
_AUDIO: Final = frozenset({"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "m4a", "webm", "pcm"})


def encode_turns(
    conversation: Conversation,
    names: Mapping[str, str],
    family: Family,
    provider: str,
    fetched: Fetched,
    declarations: Declarations,
) -> tuple[list[Json], list[Json]]:
    """Returns `system` and `messages`; raises BadRequest naming the message that cannot be sent.

    `provider` is whose reasoning goes back: no other's signatures hold.
    """
    turns = _Turns(names, family, provider, fetched, declarations)
    messages = conversation.messages
    start = 0
    while start < len(messages) and messages[start].role == "system":
        start += 1
    system = [block for turn in messages[:start] for block in turns.system_blocks(turn)]
    if system and not family.system:
        declarations.declare("messages.0", "the model has no system prompt, it became the user's words")
        turns.say(system)
        system = []
    for index in range(start, len(messages)):
        turn = messages[index]
        if turn.role == "assistant":
            turns.assistant(index, turn)
        elif turn.role == "user":
            turns.user(index, turn)
        else:
            # In its place, as the user's words: hoisted it would invalidate the prompt cache.
            turns.say(turns.system_blocks(turn, "messages"))
    return system, turns.whole()


class _Turns:
    """The turns so far: whole ones, and the open one of either side."""

    def __init__(
        self,
        names: Mapping[str, str],
        family: Family,
        provider: str,
        fetched: Fetched,
        declarations: Declarations,
    ) -> None:
        self._names = names
        self._family = family
        self._provider = provider
        self._declarations = declarations
        self._media = Media(fetched)
        self._messages: list[Json] = []
        self._results: list[Json] = []  # of the open user turn: they come first in it
        self._rest: list[Json] = []
        self._said: list[Json] = []  # the open assistant turn
        self._last = 0  # the caller's message that the open assistant turn ends with
        self._open_calls: OpenCalls[str] = OpenCalls()  # with their ids as sent
        self._ids: set[str] = set()

    def whole(self) -> list[Json]:
        """Closes the last turn and returns all of them."""
        if self._said:
            self._close_prefill()
        else:
            self._close_user()
        if not self._messages:
            raise BadRequest("there is no message with content besides the system's", param="messages")
        return self._messages

    # -- the sides --

    def say(self, blocks: Sequence[Json]) -> None:
        """Adds to the user's open turn."""
        if blocks:
            self._close_assistant()
            self._rest.extend(blocks)

    def user(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        self._close_assistant()
        if turn.name is not None:
            self._declarations.declare(f"{where}.name", "Bedrock has no names of participants, left out")
        for number, block in enumerate(turn.content):
            if isinstance(block, ToolResult):
                self._results.extend(self._result(block, where))
            else:
                self._rest.extend(self._content(block, f"{where}.content.{number}"))

    def assistant(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        spoken = [[] if isinstance(block, ToolCall) else self._spoken(block) for block in turn.content]
        if not any(spoken) and not any(isinstance(block, ToolCall) for block in turn.content):
            return
        self._close_user()
        if not self._messages and not self._said:
            self._declarations.declare(where, "a conversation begins with the user, an empty turn was put before")
            self._messages.append({"role": "user", "content": [{"text": _PLACEHOLDER}]})
        self._last = index
        calls = 0
        for block, written in zip(turn.content, spoken, strict=True):
            self._said.extend(written)
            if isinstance(block, ToolCall):
                self._said.extend(self._call(block, f"{where}.tool_calls.{calls}"))
                calls += 1

    # -- closing --

    def _close_user(self) -> None:
        if self._results or self._rest:
            self._open_calls.close(self._last)
            content = self._results + self._rest
            # A document needs a text beside it: botocore's model of Message, 1.44.
            if any("document" in block for block in content) and not any("text" in block for block in content):
                self._declarations.declare("messages", "Bedrock wants words beside a document, a full stop was added")
                content.insert(len(self._results), {"text": _PLACEHOLDER})
            self._messages.append({"role": "user", "content": content})
            self._results, self._rest = [], []

    def _close_assistant(self) -> None:
        if self._said:
            self._messages.append({"role": "assistant", "content": self._said})
            self._said = []

    def _close_prefill(self) -> None:
        """Closes a conversation that the assistant has the last word in: the model goes on from there."""
        self._open_calls.close(self._last)
        last = self._said[-1]
        if "text" in last:
            where = f"messages.{self._last}"
            if self._family.claude is not None and not self._family.claude.prefill:
                raise BadRequest("the model does not go on from an assistant's message: end with a user's", param=where)
            last["text"] = last["text"].rstrip()
        self._close_assistant()

    # -- tool calls and results --

    def _call(self, call: ToolCall, where: str) -> list[Json]:
        fits = len(call.id) <= _ID_MAX and call.id and not _NOT_IN_ID.search(call.id)
        sent_id = distinct(call.id if fits else _NOT_IN_ID.sub("_", call.id)[:_ID_KEPT] or "call", self._ids)
        self._ids.add(sent_id)
        self._open_calls.add(call.id, sent_id)
        arguments = arguments_of(call, where)
        written = {"toolUse": {"toolUseId": sent_id, "name": self._names[call.name], "input": arguments}}
        return self._marked(written, call.cache)

    def _result(self, result: ToolResult, where: str) -> list[Json]:
        written: dict[str, Json] = {"toolUseId": self._open_calls.answer(result.call_id, where)}
        content = []
        cache = result.cache
        for number, block in enumerate(result.content):
            for part in self._content(block, f"{where}.content.{number}"):
                if "cachePoint" in part:
                    cache = getattr(block, "cache", cache)  # no place within a result: it marks the whole
                else:
                    content.append(part)
        written["content"] = content or [{"text": _PLACEHOLDER}]  # a result without content is refused
        if result.is_error:
            if self._family.error_status:
                written["status"] = "error"
            else:
                self._declarations.declare(f"{where}.is_error", "the model takes no word of a tool's failure, left out")
        return self._marked({"toolResult": written}, cache)

    # -- blocks --

    def system_blocks(self, turn: Message, where: str = "system") -> list[Json]:
        """Writes a system message's text; empty blocks, which Bedrock refuses, are dropped."""
        return [
            part
            for block in turn.content
            if isinstance(block, Text) and block.text.strip()
            for part in self._marked({"text": block.text}, block.cache, where)
        ]

    def _content(self, block: Block, where: str) -> list[Json]:
        """Writes what may stand in a user's turn or a tool's result."""
        if parts := unfolded(block, where, self._declarations):
            return [written for part in parts for written in self._content(part, where)]
        if isinstance(block, Text):
            return self._marked({"text": block.text}, block.cache) if block.text.strip() else []
        if isinstance(block, Image):
            return self._marked(self._media.image(block, where), block.cache)
        if isinstance(block, Document):
            return self._marked(self._media.document(block, where), block.cache)
        if isinstance(block, Audio):
            if block.format not in _AUDIO:
                raise BadRequest(f"{where}: Bedrock takes no audio as {block.format}", param=where)
            return [{"audio": {"format": block.format, "source": {"bytes": block.data}}}]
        raise BadRequest(f"{where}: Bedrock takes no {type(block).__name__} here", param=where)

    def _spoken(self, block: Block) -> list[Json]:
        """Writes what may stand in an assistant's turn; another provider's reasoning and blocks are left out."""
        if isinstance(block, Text | Refusal):
            cache = block.cache if isinstance(block, Text) else None
            return self._marked({"text": block.text}, cache) if block.text.strip() else []
        if isinstance(block, Thinking) and block.signature and holds(block.provider, self._provider):
            return [{"reasoningContent": {"reasoningText": {"text": block.text, "signature": block.signature}}}]
        if isinstance(block, RedactedThinking) and block.provider in (None, self._provider):
            return [{"reasoningContent": {"redactedContent": block.data}}]
        if isinstance(block, Opaque) and block.provider == self._provider:
            return [block.value] if _REPLAYED & block.value.keys() else []
        self._declarations.declare("messages", "reasoning and blocks that this model did not sign were left out")
        return []

    def _marked(self, block: Json, cache: Json, where: str = "messages") -> list[Json]:
        return [block] if cache is None else [block, *cache_point(cache, where, self._family, self._declarations)]


def loops_without_thinking(messages: Sequence[Json]) -> bool:
    """Says whether the model is in the middle of a tool loop that it began without thinking.

    Claude refuses to switch a thinking budget on there.
    """
    if len(messages) < 2 or "toolResult" not in messages[-1]["content"][0]:
        return False
    return "reasoningContent" not in messages[-2]["content"][0]
