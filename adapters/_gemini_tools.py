"""A caller's tools and answer formats as Gemini's: declarations, names both ways, the choice, Google's own tools.

Sources (2026-11): https://ai.google.dev/gemini-api/docs/function-calling, …/tool-combination, …/structured-output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adapters import _tool_names
from adapters._blocks import Declarations
from adapters._gemini_model import Model
from adapters._gemini_schema import json_schema, openapi, rooted
from gateway.core.blocks import Conversation, Json, Tool
from gateway.core.errors import BadRequest

# Letters, digits and _ . : - after a letter or _; Google's own pages differ on the length (64, 128): the lesser holds.
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}")
_NOT_IN_NAME: Final = re.compile(r"[^a-zA-Z0-9_.:-]")
_NAME_KEPT: Final = 60

# Google's own tools by the `type` that callers write, and what clients of OpenAI and Anthropic say for the same.
_NATIVE: Final[Mapping[str, str]] = {
    "google_search": "googleSearch",
    "google_search_retrieval": "googleSearchRetrieval",
    "google_maps": "googleMaps",
    "enterprise_web_search": "enterpriseWebSearch",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
    "computer_use": "computerUse",
    "file_search": "fileSearch",
    "retrieval": "retrieval",
    "web_search": "googleSearch",
    "web_search_preview": "googleSearch",
}


def safe_names(conversation: Conversation) -> dict[str, str]:
    """Returns a name Gemini takes for each function's name."""
    return _tool_names.safe_names(conversation, _NAME, _NOT_IN_NAME, _NAME_KEPT)


def callers_names(conversation: Conversation) -> dict[str, str]:
    """Returns the caller's name for each name that was changed."""
    return _tool_names.callers_names(safe_names(conversation))


# -- declarations -------------------------------------------------------------------------------------------------


def encode_tools(
    conversation: Conversation, names: Mapping[str, str], model: Model, declarations: Declarations
) -> list[Json]:
    """Returns `tools`: one list of functions, and Google's own tools beside it."""
    functions = []
    own: dict[str, Json] = {}
    for index, tool in enumerate(conversation.tools):
        if tool.native is not None:
            name, value = _own(tool.native, index)
            own[name] = value
        elif tool.custom:
            raise BadRequest("Gemini has no custom tools", param=f"tools.{index}.type")
        else:
            functions.append(_declaration(tool, names[tool.name], f"tools.{index}.function", model, declarations))
    search = conversation.extra.get("web_search_options")
    if search is not None:
        own.setdefault("googleSearch", {})
        if search:
            declarations.declare("web_search_options", "Google searches without options, left out")
    if functions and own and not model.mixes_tools:
        raise BadRequest(
            f"the model does not take functions beside {', '.join(sorted(own))}",
            param="tools" if search is None else "web_search_options",
        )
    written: list[Json] = [{"functionDeclarations": functions}] if functions else []
    written.extend({name: value} for name, value in own.items())
    return written


def _own(native: Mapping[str, Json], index: int) -> tuple[str, Json]:
    """Returns the name and the settings of a tool of Google's."""
    kind = str(native.get("type"))
    name = _NATIVE.get(kind) or next((name for name in _NATIVE.values() if name == kind), None)
    if name is None:
        raise BadRequest(f"Gemini has no tool of type {kind!r}", param=f"tools.{index}.type")
    for key in (kind, name):
        if isinstance(native.get(key), dict):
            return name, native[key]
    if "vector_store_ids" in native:
        raise BadRequest("the stores of another provider's search", param=f"tools.{index}.vector_store_ids")
    if kind.startswith("web_search"):
        return name, {}  # the options of another provider's search
    return name, {key: value for key, value in native.items() if key != "type"}


def _declaration(tool: Tool, name: str, where: str, model: Model, declarations: Declarations) -> Json:
    written: dict[str, Json] = {"name": name}
    if tool.description:
        written["description"] = tool.description
    if not tool.schema:
        return written
    schema = rooted(tool.schema)
    if model.json_schema:
        written["parametersJsonSchema"] = json_schema(schema)[0]
        return written
    parameters, lost = openapi(schema)
    if lost:
        declarations.declare(f"{where}.parameters", f"{', '.join(lost)} cannot be said to the model, left out")
    if parameters.get("properties"):  # an object without any is refused
        written["parameters"] = parameters
    return written


# -- the choice and the format ------------------------------------------------------------------------------------


def encode_choice(
    conversation: Conversation, names: Mapping[str, str], model: Model, declarations: Declarations
) -> Json:
    """Returns `functionCallingConfig`, or None where the provider's default says it."""
    functions = [tool for tool in conversation.tools if tool.native is None]
    choice = conversation.tool_choice
    if not functions:
        if choice is not None and choice.mode in ("required", "tool"):
            raise BadRequest("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        return None
    if conversation.parallel_tool_calls is False and len(functions) > 1 and (choice is None or choice.mode != "none"):
        declarations.declare("parallel_tool_calls", "Gemini may call several functions at once, left out")
    if choice is None or choice.mode == "auto":
        if any(tool.strict for tool in functions):
            if model.validates:
                return {"mode": "VALIDATED"}
            declarations.declare("tools", "strict: the model is not held to schemas, left out")
        return {"mode": "AUTO"} if choice is not None else None
    if choice.mode == "none":
        return {"mode": "NONE"}
    if choice.mode == "required":
        return {"mode": "ANY"}
    if all(tool.name != choice.name for tool in functions):
        raise BadRequest(f"no tool is named {choice.name!r}", param="tool_choice.function.name")
    return {"mode": "ANY", "allowedFunctionNames": [names[choice.name or ""]]}


def encode_format(conversation: Conversation, has_tools: bool, model: Model, declarations: Declarations) -> Json:
    """Returns the fields of `generationConfig` that give the answer its form."""
    wanted = conversation.response_format
    if wanted is None or wanted.type == "text":
        return {}
    if has_tools and not model.format_with_tools:
        raise BadRequest("the model does not take a format beside tools", param="response_format")
    if wanted.schema is None:
        return {"responseMimeType": "application/json"}
    where = "response_format.json_schema.schema"
    if model.json_schema:
        schema, loose = json_schema(wanted.schema)
        if loose:
            declarations.declare(where, f"{', '.join(loose)} not enforced")
        return {"responseMimeType": "application/json", "responseJsonSchema": schema}
    schema, lost = openapi(wanted.schema)
    if lost:
        declarations.declare(where, f"{', '.join(lost)} cannot be said to the model, left out")
    return {"responseMimeType": "application/json", "responseSchema": schema}
