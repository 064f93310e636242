"""Reads what a Responses request says of tools and of the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.dialects._chat_fields import boolean, object_of, objects, required, string, wrong
from gateway.core.blocks import Json, ResponseFormat, Tool, ToolChoice
from gateway.core.errors import BadRequest

# OpenAI's own tools whose names begin as those of another provider's do, which would take them for theirs.
_OPENAIS_ALONE: Final = ("web_search_preview", "computer_use_preview")


def tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    """Reads `tools`; those a choice of `allowed_tools` leaves out are gone, a provider's own stay as they came."""
    found = [_tool(tool, f"tools.{index}") for index, tool in enumerate(objects(body, "tools"))]
    allowed = _allowed(body)
    return tuple(found if allowed is None else (tool for tool in found if tool.name in allowed))


def _tool(tool: dict[str, Json], where: str) -> Tool:
    kind = required(tool, "type", where)
    if kind == "function":
        return Tool(
            name=required(tool, "name", where),
            description=string(tool, "description", where),
            schema=object_of(tool, "parameters", where),
            strict=boolean(tool, "strict", where),
            cache=tool.get("cache_control"),
        )
    if kind == "custom":
        return Tool(
            name=required(tool, "name", where),
            description=string(tool, "description", where),
            schema=object_of(tool, "format", where),
            cache=tool.get("cache_control"),
            custom=True,
        )
    if kind.startswith(_OPENAIS_ALONE):
        raise BadRequest(f"{where}: {kind} runs at OpenAI alone, and this deployment is elsewhere", param=where)
    return Tool(name=_name_of(tool, kind), native=tool)


def _name_of(tool: Mapping[str, Json], kind: str) -> str:
    for name in ("name", "server_label"):
        if isinstance(value := tool.get(name), str):
            return value
    return kind


def tool_choice(body: Mapping[str, Json]) -> ToolChoice | None:
    """Reads `tool_choice`."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if isinstance(choice, dict):
        kind = choice.get("type")
        if kind in ("function", "custom"):
            return ToolChoice("tool", required(choice, "name", "tool_choice"))
        if kind == "allowed_tools" and choice.get("mode") in ("auto", "required"):
            return ToolChoice(choice["mode"])
        if isinstance(kind, str) and kind != "allowed_tools":
            raise BadRequest(
                f"tool_choice: {kind} runs at OpenAI alone, and cannot be forced here", param="tool_choice"
            )
    raise wrong("tool_choice", "auto, none, required, or an object that names a tool")


def _allowed(body: Mapping[str, Json]) -> frozenset[str] | None:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    named = objects(choice, "tools", "tool_choice")
    return frozenset(_name_of(tool, required(tool, "type", f"tool_choice.tools.{n}")) for n, tool in enumerate(named))


def response_format(text: Json) -> ResponseFormat | None:
    """Reads the form that the answer is to have, out of `text`."""
    form = object_of(text or {}, "format", "text")
    if form is None:
        return None
    where = "text.format"
    kind = form.get("type")
    if kind in ("text", "json_object"):
        return ResponseFormat(kind)
    if kind != "json_schema":
        raise wrong(f"{where}.type", "text, json_object or json_schema")
    return ResponseFormat(
        kind,
        required(form, "name", where),
        object_of(form, "schema", where),
        boolean(form, "strict", where),
    )
