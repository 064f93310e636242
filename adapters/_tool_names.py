"""Tools' names as a provider takes them, both ways: what it refuses is written otherwise, and read back."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from gateway.core.blocks import Conversation, ToolCall


def safe_names(conversation: Conversation, allowed: re.Pattern[str], rest: re.Pattern[str]) -> dict[str, str]:
    """Returns a name that is `allowed` for each tool's and each call's, no two alike; one that is fine stays.

    What matches `rest` in a name becomes an underscore; a name that then still is not allowed begins with `tool_`.
    """
    wanted = dict.fromkeys(tool.name for tool in conversation.tools if tool.native is None)
    wanted.update(dict.fromkeys(call.name for call in _called(conversation)))
    names = {name: name for name in wanted if allowed.fullmatch(name)}
    taken = set(names)
    for name in wanted:
        if name not in names:
            safe = rest.sub("_", name)
            names[name] = distinct(safe if allowed.fullmatch(safe) else f"tool_{safe}"[:120], taken)
            taken.add(names[name])
    return names


def callers_names(names: dict[str, str]) -> dict[str, str]:
    """Returns the caller's name for each name that was changed."""
    return {safe: name for name, safe in names.items() if safe != name}


def distinct(name: str, taken: Container[str]) -> str:
    """Returns the name, with a number after it where it is taken."""
    candidate = name
    number = 2
    while candidate in taken:
        candidate = f"{name}_{number}"
        number += 1
    return candidate


def _called(conversation: Conversation) -> Iterable[ToolCall]:
    return (block for turn in conversation.messages for block in turn.content if isinstance(block, ToolCall))
