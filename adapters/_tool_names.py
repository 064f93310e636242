"""Tools' names as a provider takes them, both ways: what it refuses is written otherwise, and read back."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from gateway.core.blocks import Conversation, ToolCall


def safe_names(
    conversation: Conversation, allowed: re.Pattern[str], rest: re.Pattern[str], kept: int = 120
) -> dict[str, str]:
    """Returns a name that is `allowed` for each tool's and each call's, no two alike; one that is fine stays.

    What matches `rest` in a name becomes an underscore; a name that then still is not allowed begins with `tool_`. Of a
    name that is changed so many characters are `kept` that there is room for a number behind.
    """
    wanted = dict.fromkeys(tool.name for tool in conversation.tools if tool.native is None)
    wanted.update(dict.fromkeys(call.name for call in called(conversation)))
    names = {name: name for name in wanted if allowed.fullmatch(name)}
    taken = set(names) | {tool.name for tool in conversation.tools if tool.native is not None}
    for name in wanted:
        if name not in names:
            safe = rest.sub("_", name)[:kept]
            names[name] = distinct(safe if allowed.fullmatch(safe) else f"tool_{safe}"[:kept], taken)
            taken.add(names[name])
    return names


def callers_names(names: dict[str, str]) -> dict[str, str]:
    """Returns the caller's name for each name that was changed."""
    return {safe: name for name, safe in names.items() if safe != name}


def distinct(name: str, taken: Container[str], between: str = "_") -> str:
    """Returns the name, with a number after it where it is taken."""
    candidate = name
    number = 2
    while candidate in taken:
        candidate = f"{name}{between}{number}"
        number += 1
    return candidate


def called(conversation: Conversation) -> Iterable[ToolCall]:
    """Yields the tool calls of the history."""
    return (block for turn in conversation.messages for block in turn.content if isinstance(block, ToolCall))
