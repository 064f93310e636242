"""Reads what a chat request says of tools and of the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.dialects._chat_fields import boolean, object_of, objects, required, string, wrong
from gateway.core.blocks import Json, ResponseFormat, Tool, ToolChoice


def tools(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    """Reads `tools`, and `functions`, their deprecated form; those a choice of `allowed_tools` leaves out are gone."""
    found = []
    for index, tool in enumerate(objects(body, "tools")):
        where = f"tools.{index}"
        kind = required(tool, "type", where)
        if kind == "function":
            function = object_of(tool, "function", where)
            if function is None:
                raise wrong(f"{where}.function", "an object")
            found.append(_function(function, f"{where}.function", tool.get("cache_control")))
        elif kind == "custom" and tool.get("custom") is not None:
            found.append(_custom(object_of(tool, "custom", where), f"{where}.custom", tool.get("cache_control")))
        else:
            found.append(Tool(name=string(tool, "name", where) or kind, native=tool))
    for index, function in enumerate(objects(body, "functions")):
        found.append(_function(function, f"functions.{index}", None))
    allowed = _allowed_tools(body)
    return tuple(found if allowed is None else (tool for tool in found if tool.name in allowed))


def _function(function: Mapping[str, Json], where: str, cache: Json) -> Tool:
    return Tool(
        name=required(function, "name", where),
        description=string(function, "description", where),
        schema=object_of(function, "parameters", where),
        strict=boolean(function, "strict", where),
        cache=cache if cache is not None else function.get("cache_control"),
    )


def _custom(custom: Mapping[str, Json], where: str, cache: Json) -> Tool:
    """Reads a tool of plain text; a grammar stands one level deeper here than in Responses."""
    form = object_of(custom, "format", where)
    grammar = object_of(form or {}, "grammar", f"{where}.format")
    return Tool(
        name=required(custom, "name", where),
        description=string(custom, "description", where),
        schema={"type": "grammar", **grammar} if grammar is not None else form,
        cache=cache,
        custom=True,
    )


def tool_choice(body: Mapping[str, Json]) -> ToolChoice | None:
    """Reads `tool_choice`, or `function_call`, its deprecated form."""
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")
        if isinstance(choice, dict):
            return ToolChoice("tool", required(choice, "name", "function_call"))
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", "custom"):
        named = object_of(choice, kind, "tool_choice") or {}
        return ToolChoice("tool", required(named, "name", f"tool_choice.{kind}"))
    if kind == "allowed_tools":
        mode = (object_of(choice, "allowed_tools", "tool_choice") or {}).get("mode")
        if mode in ("auto", "required"):
            return ToolChoice(mode)
    raise wrong("tool_choice", "auto, none, required, or an object that names a function")


def _allowed_tools(body: Mapping[str, Json]) -> frozenset[str] | None:
    """Returns the names a choice of type `allowed_tools` leaves: the others are as if they had not been given."""
    choice = body.get("tool_choice")
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    where = "tool_choice.allowed_tools"
    names = set()
    for index, tool in enumerate(objects(object_of(choice, "allowed_tools", "tool_choice") or {}, "tools", where)):
        kind = "custom" if tool.get("type") == "custom" else "function"
        named = object_of(tool, kind, f"{where}.tools.{index}") or tool
        names.add(required(named, "name", f"{where}.tools.{index}"))
    return frozenset(names)


def response_format(value: Json) -> ResponseFormat | None:
    """Reads the form that the answer is to have."""
    if value is None:
        return None
    kind = value.get("type")
    if kind in ("text", "json_object"):
        return ResponseFormat(kind)
    where = "response_format"
    if kind != "json_schema":
        raise wrong(f"{where}.type", "text, json_object or json_schema")
    inner = object_of(value, "json_schema", where)
    if inner is None:
        raise wrong(f"{where}.json_schema", "an object")
    where = f"{where}.json_schema"
    return ResponseFormat(
        kind,
        required(inner, "name", where),
        object_of(inner, "schema", where),
        boolean(inner, "strict", where),
    )
