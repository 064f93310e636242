"""A conversation as Anthropic's system blocks and alternating turns, with the rules its API holds a history to.

Source: https://platform.claude.com/docs/en/api/messages and …/agents-and-tools/tool-use/handle-tool-calls (2026-11-20).
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from typing import Final

from adapters._anthropic_ids import safe_id
from adapters._anthropic_media import document, image
from adapters._anthropic_model import Model
from adapters._blocks import Declarations
from adapters._signatures import holds
from adapters._tool_calls import OpenCalls, arguments_of
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

PROVIDER: Final = "anthropic"


def encode_turns(
    conversation: Conversation, names: Mapping[str, str], model: Model, declarations: Declarations
) -> tuple[list[Json], list[Json]]:
    """Returns `system` and `messages`; raises BadRequest naming the message that cannot be sent."""
    turns = _Turns(names, model, declarations)
    messages = conversation.messages
    start = 0
    while start < len(messages) and messages[start].role == "system":
        start += 1
    system = [block for turn in messages[:start] for block in turns.texts(turn)]
    for index in range(start, len(messages)):
        turn = messages[index]
        if turn.role == "assistant":
            turns.assistant(index, turn)
        elif turn.role == "user":
            turns.user(index, turn)
        else:
            turns.system(turn, _answered_next(messages, index))
    return system, turns.whole()


def _answered_next(messages: Sequence[Message], index: int) -> bool:
    """Says whether the assistant speaks after this run of system messages, or nobody."""
    after = next((turn.role for turn in messages[index:] if turn.role != "system"), "assistant")
    return after == "assistant"


class _Turns:
    """The turns so far: whole ones, and the open one of either side."""

    def __init__(self, names: Mapping[str, str], model: Model, declarations: Declarations) -> None:
        self._names = names
        self._model = model
        self._declarations = declarations
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

    def system(self, turn: Message, answered_next: bool) -> None:
        """Keeps a later system message in its place; a hoisted one would invalidate the prompt cache."""
        blocks = self.texts(turn)
        if not blocks:
            return
        self._close_assistant()
        if self._model.mid_system and answered_next and not self._open_calls:
            # Such a message may follow a user's turn, and precede the assistant's or end the list:
            # https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages (2026-11-20)
            self._close_user()
            previous = self._messages[-1] if self._messages else None
            if previous is not None and previous["role"] == "system":
                previous["content"].extend(blocks)
                return
            if previous is not None and previous["role"] == "user":
                self._messages.append({"role": "system", "content": blocks})
                return
        self._rest.extend(blocks)

    def user(self, index: int, turn: Message) -> None:
        where = f"messages.{index}"
        self._close_assistant()
        if turn.name is not None:
            self._declarations.declare(f"{where}.name", "Anthropic has no names of participants, left out")
        for number, block in enumerate(turn.content):
            if isinstance(block, ToolResult):
                self._results.append(self._result(block, where))
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
            self._messages.append({"role": "user", "content": [{"type": "text", "text": "."}]})
        self._last = index
        calls = 0
        for block, written in zip(turn.content, spoken, strict=True):
            self._said.extend(written)
            if isinstance(block, ToolCall):
                self._said.append(self._call(block, f"{where}.tool_calls.{calls}"))
                calls += 1

    # -- closing --

    def _close_user(self) -> None:
        if self._results or self._rest:
            self._open_calls.close(self._last)
            self._messages.append({"role": "user", "content": self._results + self._rest})
            self._results, self._rest = [], []

    def _close_assistant(self) -> None:
        if self._said:
            self._messages.append({"role": "assistant", "content": self._said})
            self._said = []

    def _close_prefill(self) -> None:
        """Closes a conversation that the assistant has the last word in: the model goes on from there."""
        self._open_calls.close(self._last)
        last = self._said[-1]
        if last["type"] == "text":
            where = f"messages.{self._last}"
            if not self._model.prefill:
                raise BadRequest("the model does not go on from an assistant's message: end with a user's", param=where)
            last["text"] = last["text"].rstrip()
        self._close_assistant()

    # -- tool calls and results --

    def _call(self, call: ToolCall, where: str) -> Json:
        if call.custom:
            raise BadRequest(f"{where}: Anthropic has no custom tools", param=where)
        sent_id = safe_id(call.id, self._ids)
        self._ids.add(sent_id)
        self._open_calls.add(call.id, sent_id)
        arguments = arguments_of(call, where)
        return _marked(
            {"type": "tool_use", "id": sent_id, "name": self._names[call.name], "input": arguments}, call.cache
        )

    def _result(self, result: ToolResult, where: str) -> Json:
        written: dict[str, Json] = {
            "type": "tool_result",
            "tool_use_id": self._open_calls.answer(result.call_id, where),
        }
        content = [
            part
            for number, block in enumerate(result.content)
            for part in self._content(block, f"{where}.content.{number}")
        ]
        if content:
            written["content"] = content
        if result.is_error:
            written["is_error"] = True
        return _marked(written, result.cache)

    # -- blocks --

    def texts(self, turn: Message) -> list[Json]:
        """Writes a system message's text; empty blocks, which the API refuses, are dropped."""
        written = []
        for block in turn.content:
            if isinstance(block, Text) and block.text.strip():
                written.append(_marked({"type": "text", "text": block.text}, block.cache))
            elif isinstance(block, Opaque) and block.provider == PROVIDER:
                written.append(block.value)
        return written

    def _content(self, block: Block, where: str) -> list[Json]:
        """Writes what may stand in a user's turn or a tool's result."""
        if isinstance(block, Text):
            return [_marked({"type": "text", "text": block.text}, block.cache)] if block.text.strip() else []
        if isinstance(block, Opaque) and block.provider == PROVIDER:
            return [block.value]
        try:
            if isinstance(block, Image):
                return [_marked(image(block, where), block.cache)]
            if isinstance(block, Document):
                return [_marked(document(block, where), block.cache)]
        except (binascii.Error, ValueError):
            raise BadRequest(f"{where} is not base64", param=where) from None
        what = "audio" if isinstance(block, Audio) else type(block).__name__
        raise BadRequest(f"{where}: Anthropic takes no {what} here", param=where)

    def _spoken(self, block: Block) -> list[Json]:
        """Writes what may stand in an assistant's turn; another provider's reasoning and blocks are left out."""
        if isinstance(block, Refusal):
            return [{"type": "text", "text": block.text}] if block.text.strip() else []
        if isinstance(block, Text):
            return [_marked(_cited(block), block.cache)] if block.text.strip() else []
        if isinstance(block, Thinking) and block.signature and holds(block.provider, PROVIDER):
            return [{"type": "thinking", "thinking": block.text, "signature": block.signature}]
        if isinstance(block, RedactedThinking) and block.provider in (None, PROVIDER):
            return [{"type": "redacted_thinking", "data": block.data}]
        if isinstance(block, Opaque) and block.provider == PROVIDER:
            return [block.value]
        self._declarations.declare("messages", "reasoning and blocks that Anthropic did not sign were left out")
        return []


def _cited(block: Text) -> dict[str, Json]:
    """Writes text with those of its citations that are of Anthropic's kinds."""
    written: dict[str, Json] = {"type": "text", "text": block.text}
    citations = [each for each in block.citations if isinstance(each, dict) and _is_location(each.get("type"))]
    if citations:
        written["citations"] = citations
    return written


def _is_location(kind: Json) -> bool:
    return isinstance(kind, str) and kind.endswith("_location")


def _marked(block: dict[str, Json], cache: Json) -> dict[str, Json]:
    if cache is not None:
        block["cache_control"] = cache
    return block


def loops_without_thinking(messages: Sequence[Json]) -> bool:
    """Says whether the model is in the middle of a tool loop that it began without thinking.

    Anthropic refuses to switch a thinking budget on there.
    """
    spoken = [turn for turn in messages if turn["role"] != "system"][-2:]
    if len(spoken) < 2 or spoken[1]["role"] != "user" or spoken[1]["content"][0]["type"] != "tool_result":
        return False
    return spoken[0]["content"][0]["type"] not in ("thinking", "redacted_thinking")
