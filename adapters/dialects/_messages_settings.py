"""Reads what a request to Anthropic's Messages says of tools, of the form of the answer, and of thinking.

Source: https://platform.claude.com/docs/en/api/messages, …/build-with-claude/structured-outputs, …/effort (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from adapters._thinking import effort_of as thought
from adapters.dialects._chat_fields import boolean, object_of, required, string, wrong
from gateway.core.blocks import Json, ResponseFormat, Tool, ToolChoice

_NAMED: Final = frozenset(
    {
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
        # Vertex and Bedrock say it in the body (https://platform.claude.com/docs/en/api/claude-on-vertex-ai, 2026-11).
        "anthropic_version",
    }
)

# What a tool of the caller's own has beside its definition: hints, which no other provider has.
_HINTS: Final = ("allowed_callers", "defer_loading", "eager_input_streaming", "input_examples")

_FORMAT_NAME: Final = "answer"  # OpenAI's formats have names, Anthropic's have none


def tools(given: Sequence[Mapping[str, Json]]) -> tuple[Tool, ...]:
    """Reads `tools`: the caller's own, and those that only Anthropic knows, as they came."""
    found = []
    for index, tool in enumerate(given):
        where = f"tools.{index}"
        kind = string(tool, "type", where)
        if kind not in (None, "custom"):
            found.append(Tool(name=string(tool, "name", where) or kind or "", native=dict(tool)))
            continue
        found.append(
            Tool(
                name=required(tool, "name", where),
                description=string(tool, "description", where),
                schema=object_of(tool, "input_schema", where),
                strict=boolean(tool, "strict", where),
                cache=tool.get("cache_control"),
            )
        )
    return tuple(found)


def tool_choice(choice: Mapping[str, Json] | None) -> tuple[ToolChoice | None, bool | None]:
    """Reads `tool_choice`; returns the choice, and whether calls may be parallel where it says so."""
    if choice is None:
        return None, None
    kind = required(choice, "type", "tool_choice")
    alone = boolean(choice, "disable_parallel_tool_use", "tool_choice")
    parallel = None if alone is None else not alone
    if kind in ("auto", "none"):
        return ToolChoice(kind), parallel
    if kind == "any":
        return ToolChoice("required"), parallel
    if kind == "tool":
        return ToolChoice("tool", required(choice, "name", "tool_choice")), parallel
    raise wrong("tool_choice.type", "auto, any, tool or none")


def response_format(body: Mapping[str, Json]) -> ResponseFormat | None:
    """Reads `output_config.format`, or `output_format`, its form in the beta."""
    config = object_of(body, "output_config") or {}
    where = "output_config.format" if config.get("format") is not None else "output_format"
    given = object_of(config, "format", "output_config") or object_of(body, "output_format")
    if given is None:
        return None
    if given.get("type") != "json_schema":
        raise wrong(f"{where}.type", "json_schema")
    schema = object_of(given, "schema", where)
    if schema is None:
        raise wrong(f"{where}.schema", "an object")
    return ResponseFormat("json_schema", _FORMAT_NAME, schema, strict=True)


def effort_of(body: Mapping[str, Json]) -> str | None:
    """Returns how much the model is to think, as other providers are told it; `thinking` itself goes on beside it.

    The effort holds where the caller names one, except against thinking that is disabled.
    """
    thinking = object_of(body, "thinking") or {}
    effort = string(object_of(body, "output_config") or {}, "effort", "output_config")
    if thinking.get("type") is None or (effort is not None and thinking["type"] != "disabled"):
        return effort
    return thought(thinking)


def unread(body: Mapping[str, Json]) -> dict[str, Json]:
    """Returns the fields that have no name among the blocks, as they came; a part of a field under its path."""
    extra = {name: value for name, value in body.items() if name not in _NAMED and value is not None}
    config = {name: value for name, value in (body.get("output_config") or {}).items() if name not in _READ_OF_CONFIG}
    if config:
        extra["output_config"] = config
    metadata = {name: value for name, value in (body.get("metadata") or {}).items() if name != "user_id"}
    if metadata:
        extra["metadata"] = metadata
    for tool in body.get("tools") or ():
        if tool.get("type") in (None, "custom"):
            extra.update({f"tools.{name}": tool[name] for name in _HINTS if tool.get(name)})
    return extra


_READ_OF_CONFIG: Final = frozenset({"effort", "format"})
