"""A caller's tools and answer formats as Converse's: definitions, names both ways, the choice, the synthetic tool.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html (2026-11) and the
patterns of botocore's model of bedrock-runtime (1.44).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters import _tool_names
from adapters._anthropic_schema import Open, closed, rooted
from adapters._bedrock_model import Family
from adapters._blocks import Declarations
from adapters._tool_names import called, callers_names, distinct
from gateway.core.blocks import Conversation, Json, Tool, ToolCall, ToolResult
from gateway.core.errors import BadRequest

# Where a model cannot be held to a schema, it answers through this tool, and the decoder takes the answer out again.
JSON_TOOL: Final = "json_tool_call"

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_KEPT: Final = 60  # of a name that is changed: leaves room for a number behind


class Answering(msgspec.Struct, frozen=True):
    """What a decoder must undo: the caller's name for each name that was changed, and the synthetic tool.

    `nests`: the caller's schema has a property named `properties`, so that one in an answer is its own.
    """

    names: Mapping[str, str]
    json_tool: str | None
    nests: bool = False


class Choice(msgspec.Struct):
    """The request's tools: definitions, the choice (None: the model's), and what rides beside Converse's fields."""

    tools: list[Json]
    choice: dict[str, Json] | None = None
    additional: dict[str, Json] | None = None

    @property
    def forces(self) -> bool:
        """Whether the model must call a tool."""
        return self.choice is not None


def safe_names(conversation: Conversation) -> dict[str, str]:
    """Returns a name that Converse takes for each tool's name."""
    return _tool_names.safe_names(conversation, _NAME, _NOT_IN_NAME, _NAME_KEPT)


def answering(conversation: Conversation, family: Family) -> Answering:
    """Returns what `encode` did to the names of this conversation's tools."""
    names = safe_names(conversation)
    changed = callers_names(names)
    if not _wants_json(conversation) or native_format(conversation, family) is not None:
        return Answering(changed, None)
    wanted = conversation.response_format
    schema = wanted.schema if wanted is not None else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    nests = isinstance(properties, dict) and "properties" in properties
    return Answering(changed, distinct(JSON_TOOL, set(names.values())), nests)


def _has_tool_blocks(conversation: Conversation) -> bool:
    return any(isinstance(block, ToolCall | ToolResult) for turn in conversation.messages for block in turn.content)


# -- definitions --------------------------------------------------------------------------------------------------


def encode_tools(
    conversation: Conversation, names: Mapping[str, str], family: Family, declarations: Declarations
) -> Choice:
    """Returns tools and choice; raises BadRequest for what the model's family does not take."""
    uses = _has_tool_blocks(conversation)
    if not family.tools and (conversation.tools or uses):
        raise BadRequest("the model takes no tools", param="tools" if conversation.tools else "messages")
    tools: list[Json] = []
    for index, tool in enumerate(conversation.tools):
        where = f"tools.{index}"
        if tool.custom:
            raise BadRequest(f"{where}: Bedrock has no custom tools", param=where)
        if tool.native is not None:
            tools.append(_system_tool(tool.native, where))
            continue
        tools.append({"toolSpec": _definition(tool, names[tool.name], f"{where}.function", family, declarations)})
        if tool.cache is not None:
            tools.extend(cache_point(tool.cache, "tools", family, declarations))
    if not tools and uses:
        # A history with tool blocks is refused without definitions; these can be read, and are not to be called.
        used = dict.fromkeys(names[call.name] for call in called(conversation))
        tools.extend(
            {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object", "properties": {}}}}} for name in used
        )
    return _chosen(conversation, names, Choice(tools), uses, family, declarations)


def _definition(tool: Tool, name: str, where: str, family: Family, declarations: Declarations) -> dict[str, Json]:
    schema = rooted(tool.schema)
    written: dict[str, Json] = {"name": name}
    if tool.description:
        written["description"] = tool.description
    if tool.strict:
        if not family.structured:
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
    written["inputSchema"] = {"json": schema}
    return written


def _system_tool(native: Json, where: str) -> Json:
    """Passes a tool that Bedrock runs itself ({"type": "systemTool", "systemTool": {"name": "nova_grounding"}})."""
    named = native.get("systemTool")
    if not isinstance(named, dict):
        raise BadRequest(f"{where}: Bedrock has no tool of type {native.get('type')!r}", param=f"{where}.type")
    return {"systemTool": named}


def cache_point(cache: Json, where: str, family: Family, declarations: Declarations) -> list[Json]:
    """Writes a cache marker as the block that stands behind what it marks; nothing where the model takes none there."""
    if where not in family.cache:
        declarations.declare("cache_control", f"the model takes no cache points in {where}, left out")
        return []
    point: dict[str, Json] = {"type": "default"}
    ttl = cache.get("ttl") if isinstance(cache, dict) else None
    if ttl == "1h":
        if family.cache_ttl:
            point["ttl"] = ttl
        else:
            declarations.declare("cache_control.ttl", "the model keeps a cache for five minutes, left out")
    return [{"cachePoint": point}]


# -- the choice ---------------------------------------------------------------------------------------------------


def _chosen(
    conversation: Conversation,
    names: Mapping[str, str],
    choice: Choice,
    uses: bool,
    family: Family,
    declarations: Declarations,
) -> Choice:
    asked = conversation.tool_choice
    mode = asked.mode if asked is not None else "auto"
    if not conversation.tools:
        if mode in ("required", "tool"):
            raise BadRequest("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        return _forbidden(choice, family) if choice.tools and family.claude is not None else choice
    if mode == "none":
        if not uses:
            choice.tools = []  # Converse cannot forbid tools; without them there is nothing to call
            return choice
        if family.claude is None:
            raise BadRequest("Bedrock cannot forbid tools after they were used", param="tool_choice")
        return _forbidden(choice, family)
    if mode == "tool":
        name = asked.name if asked is not None else None
        if all(tool.name != name for tool in conversation.tools):
            raise BadRequest(f"no tool is named {name!r}", param="tool_choice.function.name")
        _can_force("tool", family, "tool_choice")
        choice.choice = {"tool": {"name": names.get(name or "", name)}}
    elif mode == "required":
        _can_force("any", family, "tool_choice")
        choice.choice = {"any": {}}
    if conversation.parallel_tool_calls is False:
        _one_at_a_time(choice, family, declarations)
    return choice


def _can_force(kind: str, family: Family, field: str) -> None:
    if family.choices is not None and kind not in family.choices:
        what = "a named tool" if kind == "tool" else "a tool"
        raise BadRequest(f"{field}: the model cannot be made to call {what}", param=field)


def _forbidden(choice: Choice, family: Family) -> Choice:
    """Forbids calls in Claude's own words: Converse has none for it (https://github.com/boto/boto3/issues/4687)."""
    choice.additional = {"tool_choice": {"type": "none"}}
    return choice


def _one_at_a_time(choice: Choice, family: Family, declarations: Declarations) -> None:
    if family.claude is None:
        declarations.declare("parallel_tool_calls", "Bedrock cannot forbid parallel calls here, left out")
        return
    # Claude's own field. It needs its type, unless Converse's own choice gives one: then a second is a conflict.
    # https://github.com/BerriAI/litellm/pull/34347 (2026-07, run against Bedrock) and …/issues/36536 (2026-08)
    beside: dict[str, Json] = {"disable_parallel_tool_use": True}
    choice.additional = {"tool_choice": beside if choice.choice is not None else {"type": "auto", **beside}}


# -- the format ---------------------------------------------------------------------------------------------------


def _wants_json(conversation: Conversation) -> bool:
    wanted = conversation.response_format
    return wanted is not None and wanted.type != "text"


def native_format(conversation: Conversation, family: Family) -> tuple[Json, tuple[str, ...]] | None:
    """Returns `outputConfig.textFormat` and what it could not enforce; None where the model or the schema has no such.

    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html (2026-11)
    """
    wanted = conversation.response_format
    if wanted is None or wanted.schema is None or not family.structured:
        return None
    try:
        schema, moved = closed(wanted.schema)
    except Open:
        return None
    written: dict[str, Json] = {"schema": msgspec.json.encode(schema).decode()}
    if wanted.name:
        written["name"] = wanted.name
    return {"type": "json_schema", "structure": {"jsonSchema": written}}, moved


def add_format(
    conversation: Conversation,
    names: Mapping[str, str],
    choice: Choice,
    family: Family,
    declarations: Declarations,
) -> Json:
    """Returns `outputConfig.textFormat`, or adds the synthetic tool; raises BadRequest where neither holds the model.

    With tools of the caller beside the synthetic one any of them may be called; a choice that forbids or names a tool
    is obeyed: the format then holds once the model answers in words.
    """
    if not _wants_json(conversation):
        return None
    native = native_format(conversation, family)
    if native is not None:
        if native[1]:
            field = "response_format.json_schema.schema"
            declarations.declare(field, f"{', '.join(native[1])} not enforced, only described")
        return native[0]
    if choice.choice is not None and "tool" in choice.choice:
        return None
    name = distinct(JSON_TOOL, set(names.values()))
    alone = not choice.tools or choice.additional == {"tool_choice": {"type": "none"}}
    kind = "tool" if alone and (family.choices is None or "tool" in family.choices) else "any"
    if not family.tools or (family.choices is not None and kind not in family.choices):
        raise BadRequest("the model cannot be held to a form of its answer", param="response_format")
    wanted = conversation.response_format
    choice.tools.append(
        {
            "toolSpec": {
                "name": name,
                "description": "Gives the answer to the user, as JSON in this form. Always answer with this tool.",
                "inputSchema": {"json": rooted(wanted.schema if wanted is not None else None)},
            }
        }
    )
    choice.choice = {"tool": {"name": name}} if kind == "tool" else {"any": {}}
    if family.claude is not None:
        choice.additional = {"tool_choice": {"disable_parallel_tool_use": True}} if alone else choice.additional
    return None
