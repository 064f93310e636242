"""A caller's own names for the fields that translators name as the conversation has them, in the words of chat.

A translator knows the turns of a conversation and not where they stood: `messages.3.tool_calls.0.function.arguments`
may be `messages.2.content.1.input` to one caller and `input.5.arguments` to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from gateway.core.blocks import Message, ToolCall, ToolResult

_TURN: Final = re.compile(r"messages\.(\d+)(?:\.(content|tool_calls)(?:\.(\d+))?)?(?:\.(.+))?")


class Turn(msgspec.Struct, frozen=True):
    """Where a turn stands in the caller's body, and where each of its blocks does."""

    place: str
    blocks: tuple[str, ...]
    inner: str = "content"  # what a tool's result calls the blocks within it


class Words(msgspec.Struct, frozen=True):
    """How a dialect names what chat names otherwise: fields by their beginning, and those within a turn."""

    fields: Mapping[str, str]
    within: Mapping[str, str]
    root: str = "messages"


def named(names: Iterable[str], words: Words, messages: Sequence[Message], turns: Sequence[Turn]) -> list[str]:
    """Returns the caller's name for each; what has no other stays as it is."""
    return [_named(name, words, messages, turns) for name in names]


def is_within(name: str) -> bool:
    """Says whether a name is one of a turn, for which it must be known where the turns stand."""
    return _TURN.fullmatch(name) is not None


def _named(name: str, words: Words, messages: Sequence[Message], turns: Sequence[Turn]) -> str:
    found = _TURN.fullmatch(name)
    if found is not None and int(found[1]) < len(turns):
        index = int(found[1])
        return _within(found, words, messages[index], turns[index])
    if name.partition(".")[0] == "messages":
        return words.root
    beginnings = [known for known in words.fields if name == known or name.startswith(f"{known}.")]
    beginning = max(beginnings, key=len, default=None)
    return name if beginning is None else words.fields[beginning] + name[len(beginning) :]


def _within(found: re.Match[str], words: Words, message: Message, turn: Turn) -> str:
    holder, number, rest = found[2], found[3], found[4]
    kind = ToolCall if holder == "tool_calls" else ToolResult
    of_kind = [place for place, block in zip(turn.blocks, message.content, strict=True) if isinstance(block, kind)]
    if holder == "content" and number is not None:
        place = _block(int(number), message, turn, of_kind)
    elif holder == "tool_calls" and number is not None:
        place = of_kind[int(number)] if int(number) < len(of_kind) else None
    else:  # a field of a message in chat, which holds one result, and here of the result's own
        place = of_kind[0] if len(of_kind) == 1 else None
    if place is None:
        return turn.place
    field = words.within.get(rest, rest) if rest else ""
    return f"{place}.{field}" if field else place


def _block(number: int, message: Message, turn: Turn, results: Sequence[str]) -> str | None:
    """Returns a block's place: of the turn itself, or of the one result in it, whose blocks count from 0 too."""
    of_turn = number < len(message.content) and not isinstance(message.content[number], ToolResult)
    if not results:
        return turn.blocks[number] if of_turn else None
    within = [block for block in message.content if isinstance(block, ToolResult) and number < len(block.content)]
    if of_turn and not within:
        return turn.blocks[number]
    return f"{results[0]}.{turn.inner}.{number}" if len(results) == 1 and within and not of_turn else None
