"""A caller's tools and answer formats as Anthropic's: definitions, names both ways, the choice, the synthetic tool."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters import _tool_names
from adapters._anthropic_model import Model
from adapters._anthropic_schema import Open, closed, rooted
from adapters._blocks import Declarations
from adapters._tool_names import called, callers_names, distinct
from gateway.core.blocks import Conversation, Json, Tool
from gateway.core.errors import BadRequest

# Where a model cannot be held to a schema, it answers through this tool, and the decoder takes the answer out again.
JSON_TOOL: Final = "json_tool_call"

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")

# Anthropic's own tools, passed as they came: https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-reference
# (2026-11-20). The date at the end of a type is its version.
_NATIVE: Final = (
    "advisor_",
    "bash_",
    "browser_toolset_",
    "code_execution_",
    "computer_",
    "mcp_toolset",
    "memory_",
    "text_editor_",
    "tool_search_tool_",
    "web_fetch_",
    "web_search_",
)

# The headers that tools and fields still in beta ask for; the rest needs none.
# https://platform.claude.com/docs/en/api/beta-headers (2026-11-20)
_TOOL_BETAS: Final[Mapping[str, str]] = {
    "advisor_20260301": "advisor-tool-2026-03-01",
    "code_execution_20250522": "code-execution-2025-05-22",
    "computer_20241022": "computer-use-2024-10-22",
    "computer_20250124": "computer-use-2025-01-24",
    "computer_20251124": "computer-use-2025-11-24",
    "mcp_toolset": "mcp-client-2025-11-20",
}


class Answering(msgspec.Struct, frozen=True):
    """What a decoder must undo: the caller's name for each name that was changed, and the synthetic tool's."""

    names: Mapping[str, str]
    json_tool: str | None


def safe_names(conversation: Conversation) -> dict[str, str]:
    """Returns a name Anthropic takes for each tool's name."""
    return _tool_names.safe_names(conversation, _NAME, _NOT_IN_NAME)


def answering(conversation: Conversation, model: Model) -> Answering:
    """Returns what `encode` did to the names of this conversation's tools."""
    names = safe_names(conversation)
    json_tool = None
    if _wants_json(conversation) and native_format(conversation, model) is None:
        json_tool = _json_tool_name(names)
    return Answering(callers_names(names), json_tool)


def _json_tool_name(names: Mapping[str, str]) -> str:
    return distinct(JSON_TOOL, set(names.values()))


# -- definitions --------------------------------------------------------------------------------------------------


def encode_tools(
    conversation: Conversation, names: Mapping[str, str], model: Model, declarations: Declarations
) -> tuple[list[dict[str, Json]], set[str]]:
    """Returns the tools' definitions and the betas they ask for."""
    written = []
    betas = set()
    for index, tool in enumerate(conversation.tools):
        if tool.custom:
            raise BadRequest("Anthropic has no custom tools", param=f"tools.{index}.type")
        if tool.native is None:
            written.append(_definition(tool, names[tool.name], f"tools.{index}.function", model, declarations))
            continue
        kind = str(tool.native.get("type"))
        if not kind.startswith(_NATIVE):
            raise BadRequest(f"Anthropic has no tool of type {kind!r}", param=f"tools.{index}.type")
        written.append(tool.native)
        if kind in _TOOL_BETAS:
            betas.add(_TOOL_BETAS[kind])
    if not written:
        # A history with tool calls is refused without definitions; these can be read, and are not to be called.
        used = dict.fromkeys(names[call.name] for call in called(conversation))
        written.extend({"name": name, "input_schema": {"type": "object"}} for name in used)
    return written, betas


def _definition(tool: Tool, name: str, where: str, model: Model, declarations: Declarations) -> dict[str, Json]:
    schema = rooted(tool.schema)
    _one_object(schema, f"{where}.parameters")
    written: dict[str, Json] = {"name": name}
    if tool.description:
        written["description"] = tool.description
    if tool.strict:
        if not model.structured:
            declarations.declare(f"{where}.strict", "the model does not hold to schemas, left out")
        else:
            try:
                schema, moved = closed(schema)
            except Open:
                declarations.declare(f"{where}.strict", "the schema is not closed, left out")
            else:
                written["strict"] = True
                if moved:
                    declarations.declare(f"{where}.parameters", f"{', '.join(moved)} not enforced, only described")
    written["input_schema"] = schema
    if tool.cache is not None:
        written["cache_control"] = tool.cache
    return written


def _one_object(schema: Mapping[str, Json], field: str) -> None:
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            raise BadRequest(f"Anthropic takes no {key} at the root of a tool's schema", param=field)


# -- the choice and the format ------------------------------------------------------------------------------------


def encode_choice(conversation: Conversation, names: Mapping[str, str], has_tools: bool) -> dict[str, Json] | None:
    """Returns `tool_choice`, which holds `parallel_tool_calls` too; None leaves both to the provider."""
    choice = conversation.tool_choice
    if not conversation.tools:
        if choice is not None and choice.mode in ("required", "tool"):
            raise BadRequest("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        return {"type": "none"} if has_tools else None
    if choice is None:
        if conversation.parallel_tool_calls is not False:
            return None
        written: dict[str, Json] = {"type": "auto"}
    elif choice.mode == "tool":
        if all(tool.name != choice.name for tool in conversation.tools):
            raise BadRequest(f"no tool is named {choice.name!r}", param="tool_choice.function.name")
        written = {"type": "tool", "name": names.get(choice.name or "", choice.name)}
    else:
        written = {"type": {"required": "any"}.get(choice.mode, choice.mode)}
    if conversation.parallel_tool_calls is False and written["type"] != "none":
        written["disable_parallel_tool_use"] = True
    return written


def _wants_json(conversation: Conversation) -> bool:
    wanted = conversation.response_format
    return wanted is not None and wanted.type != "text"


def native_format(conversation: Conversation, model: Model) -> tuple[Json, tuple[str, ...]] | None:
    """Returns `output_config.format` and what it could not enforce; None where the model or the schema has no such."""
    wanted = conversation.response_format
    if wanted is None or wanted.schema is None or not model.structured:
        return None
    try:
        schema, moved = closed(wanted.schema)
    except Open:
        return None
    return {"type": "json_schema", "schema": schema}, moved


def add_json_tool(
    conversation: Conversation,
    names: Mapping[str, str],
    tools: list[dict[str, Json]],
    choice: dict[str, Json] | None,
) -> dict[str, Json] | None:
    """Adds the synthetic tool and returns the choice that makes the model answer through it.

    With tools of the caller beside it any of them may be called; a choice that forbids or names a tool is obeyed:
    the format then holds once the model answers in words.
    """
    wanted = conversation.response_format
    assert wanted is not None
    name = _json_tool_name(names)
    if choice is not None and choice["type"] == "tool":
        return choice
    forbidden = choice is not None and choice["type"] == "none"
    schema = rooted(wanted.schema)
    _one_object(schema, "response_format.json_schema.schema")
    tools.append(
        {
            "name": name,
            "description": "Gives the answer to the user, as JSON in this form. Always answer with this tool.",
            "input_schema": schema,
        }
    )
    if forbidden or not conversation.tools:
        return {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    return {**(choice or {}), "type": "any"}
