"""What a Messages caller calls the fields that a translator names in the words of chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from adapters.dialects._callers_words import Turn, Words, is_within, named
from adapters.dialects._messages_read import conversation, placed
from gateway.core.blocks import Json
from gateway.core.errors import BadRequest
from gateway.core.types import Call

_decode: Final = msgspec.json.Decoder().decode

_WITHIN: Final = {"function.arguments": "input", "function.name": "name", "tool_call_id": "tool_use_id"}
_FIELDS: Final = {
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format.json_schema": "output_config.format",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "tool_choice.function": "tool_choice",
    "user": "metadata.user_id",
}


def fields(call: Call, names: Sequence[str]) -> Sequence[str]:
    """Returns the caller's name for each; as they are where the request could not be read, and names its own fields."""
    try:
        read = conversation(call)
    except BadRequest:
        return names
    body = _decode(call.body)
    turns = _turns(body) if any(map(is_within, names)) else []
    told = named(names, Words(_FIELDS | _own(body), _WITHIN), read.messages, turns)
    return [_of_tool(name) for name in told]


def _own(body: Mapping[str, Json]) -> dict[str, str]:
    """Returns the names that hang on what the caller wrote: an effort may have been read from its `thinking`."""
    config = body.get("output_config") or {}
    own = {"reasoning_effort": "output_config.effort" if config.get("effort") is not None else "thinking"}
    if config.get("format") is None and body.get("output_format") is not None:
        own |= dict.fromkeys(("response_format.json_schema", "response_format"), "output_format")
    return own


def _turns(body: Mapping[str, Json]) -> list[Turn]:
    turns = []
    if body.get("system") not in (None, ""):
        turns.append(_turn("system", "system", body["system"], "system"))
    for index, message in enumerate(body["messages"]):
        where = f"messages.{index}"
        turns.append(_turn(where, f"{where}.content", message["content"], message["role"]))
    return turns


def _turn(place: str, where: str, content: Json, role: str) -> Turn:
    return Turn(place, tuple(found for found, _ in placed(content, where, role)))


def _of_tool(name: str) -> str:
    """Returns a tool's field less the `function` around it."""
    if not name.startswith("tools."):
        return name
    return name.replace(".function.parameters", ".input_schema").replace(".function", "")
