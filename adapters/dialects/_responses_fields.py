"""What a Responses caller calls the fields that a translator names in the words of chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adapters.dialects._callers_words import Words, is_within, named
from adapters.dialects._responses_items import places
from adapters.dialects._responses_read import conversation, read
from gateway.core.errors import BadRequest
from gateway.core.types import Call

_WORDS: Final = Words(
    {
        "logprobs": "include",
        "max_tokens": "max_output_tokens",
        "reasoning_effort": "reasoning.effort",
        "reasoning_effort.summary": "reasoning.summary",
        "response_format.json_schema": "text.format",
        "response_format": "text.format",
        "tool_choice.function": "tool_choice",
        "verbosity": "text.verbosity",
    },
    {"function.arguments": "arguments", "function.name": "name", "tool_call_id": "call_id"},
    root="input",
)


def fields(call: Call, names: Sequence[str]) -> Sequence[str]:
    """Returns the caller's name for each; as they are where the request could not be read, and names its own fields."""
    try:
        asked = conversation(call)
    except BadRequest:
        return names
    body = read(call)
    turns = places(body.get("instructions"), body.get("input")) if any(map(is_within, names)) else []
    told = named(names, _WORDS, asked.messages, turns)
    return [name.replace(".function", "") if name.startswith("tools.") else name for name in told]
