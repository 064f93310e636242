"""A conversation as the body of `POST /chat/completions`, in OpenAI's own words; a provider's accent comes after.

Source: https://platform.openai.com/docs/api-reference/chat/create (2026-11).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from adapters._blocks import Declarations
from adapters._openai_chat_turns import INPUT, encode_turns
from adapters._openai_quirks import Quirks
from adapters._thinking import effort_of
from gateway.core.blocks import Conversation, Json, Tool, ToolChoice
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

# OpenAI's fields that a conversation has no name for.
_OWN: Final = frozenset(
    {
        "audio",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
        "web_search_options",
    }
)

# Fields of other dialects without which it would be another question.
_MEANING: Final[Mapping[str, str]] = {
    "background": "chat answers at once",
    "container": "chat has no containers",
    "conversation": "the provider keeps no conversation under this name",
    "mcp_servers": "chat has no MCP servers",
    "previous_response_id": "the provider keeps no earlier answer under this name",
    "prompt": "chat has no stored prompts",
}

# Fields that say nothing about the answer.
_NO_LOSS: Final = frozenset({"anthropic_beta", "betas", "output_config", "reasoning_effort.summary"})

# Words of Anthropic's for OpenAI's tiers; any other word is the provider's own.
_TIERS: Final[Mapping[str, str]] = {"standard_only": "default", "standard": "default"}


def encode_chat(
    call: Call, conversation: Conversation, deployment: Deployment, quirks: Quirks, declarations: Declarations
) -> dict[str, Json]:
    """Returns the body; raises BadRequest naming the field that chat cannot express."""
    body: dict[str, Json] = {
        "model": deployment.model,
        "messages": encode_turns(conversation, deployment.adapter, quirks, declarations),
    }
    _tools(body, conversation, quirks, declarations)
    model = deployment.options.get("base_model", deployment.model)
    reasons = re.search(quirks.reasoners, model) is not None if quirks.reasoners is not None else None
    _reasoning(body, conversation, quirks, model, reasons, declarations)
    _sampling(body, conversation, quirks, reasons, declarations)
    wanted = conversation.response_format
    if wanted is not None and wanted.type != "text":
        body["response_format"] = {"type": wanted.type}
        if wanted.type == "json_schema":
            form = {"name": wanted.name, "schema": wanted.schema, "strict": wanted.strict}
            body["response_format"]["json_schema"] = _given(form)
    _account(body, conversation, declarations)
    for name, value in conversation.extra.items():
        if name in _MEANING and value not in (None, False, [], {}):
            raise BadRequest(f"{name}: {_MEANING[name]}", param=name)
        if name in _OWN or name in quirks.takes:
            body[name] = value
        elif name not in _NO_LOSS and name not in _MEANING:
            declarations.declare(name, "chat has no such field, left out")
    if call.stream:
        body["stream"] = True
    return body


def _given(fields: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in fields.items() if value is not None}


# -- tools --------------------------------------------------------------------------------------------------------


def _tools(body: dict[str, Json], conversation: Conversation, quirks: Quirks, declarations: Declarations) -> None:
    choice = conversation.tool_choice
    if not conversation.tools:
        if choice is not None and choice.mode in ("required", "tool"):
            raise BadRequest("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        return  # a choice without tools is refused, and says nothing
    body["tools"] = [_tool(tool, f"tools.{n}", quirks, declarations) for n, tool in enumerate(conversation.tools)]
    if choice is not None:
        body["tool_choice"] = _choice(choice, conversation.tools, quirks)
    if conversation.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = conversation.parallel_tool_calls


def _tool(tool: Tool, where: str, quirks: Quirks, declarations: Declarations) -> Json:
    if tool.native is not None:
        kind = tool.native.get("type") if isinstance(tool.native, dict) else None
        raise BadRequest(f"the provider runs no tool of type {kind!r} for chat", param=f"{where}.type")
    written: dict[str, Json]
    if tool.custom and quirks.custom_tools:
        custom = {"name": tool.name, "description": tool.description, "format": _format(tool.schema)}
        written = {"type": "custom", "custom": _given(custom)}
    else:
        schema = tool.schema
        if tool.custom:
            declarations.declare(where, f"a tool of plain text is sent as a function with one `{INPUT}`")
            schema = {"type": "object", "properties": {INPUT: {"type": "string"}}, "required": [INPUT]}
        function = {
            "name": tool.name,
            "description": tool.description,
            "parameters": {"type": "object", "properties": {}} if schema is None else schema,
            "strict": tool.strict,
        }
        written = {"type": "function", "function": _given(function)}
    if tool.cache is not None:
        if quirks.caches:
            written["cache_control"] = tool.cache
        else:
            declarations.declare("cache_control", "the provider takes no cache markers here, left out")
    return written


def _format(form: Json) -> Json:
    """Returns a custom tool's format as chat writes it: a grammar stands one level deeper than elsewhere."""
    if isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
        return {"type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"}}
    return form


def _choice(choice: ToolChoice, tools: tuple[Tool, ...], quirks: Quirks) -> Json:
    if choice.mode != "tool":
        return choice.mode
    named = next((tool for tool in tools if tool.name == choice.name), None)
    if named is None:
        raise BadRequest(f"no tool is named {choice.name!r}", param="tool_choice")
    kind = "custom" if named.custom and quirks.custom_tools else "function"
    return {"type": kind, kind: {"name": choice.name}}


# -- how to answer ------------------------------------------------------------------------------------------------


def _reasoning(
    body: dict[str, Json],
    conversation: Conversation,
    quirks: Quirks,
    model: str,
    reasons: bool | None,
    declarations: Declarations,
) -> None:
    """Writes how much to think. An effort and a `thinking` beside it are one wish, told as the provider has it."""
    effort, thinking = conversation.reasoning_effort, conversation.thinking
    field = "reasoning_effort" if effort is not None else "thinking"
    if thinking is not None:
        off = thinking.get("type") == "disabled"
        budget = thinking.get("budget_tokens")
        if quirks.thinking == "switch":
            body["thinking"] = {"type": "disabled" if off else "enabled"}
        elif quirks.thinking == "budget" and (effort is None or isinstance(budget, int)):
            # Of the two, which must not go together, the number says more.
            tokens = {"max_tokens": budget} if isinstance(budget, int) else {"enabled": True}
            body["reasoning"] = {"enabled": False} if off else tokens
            return
        elif quirks.thinking == "effort" and effort is None:
            effort = effort_of(thinking)
        elif effort is None:
            declarations.declare("thinking", "the provider has no such setting, left out")
    if effort is None:
        return
    if reasons is False:
        if effort != "none":
            declarations.declare(field, "the model does not reason, left out")
    elif effort == "none" and thinking is not None and quirks.rests and not re.search(quirks.rests, model):
        declarations.declare("thinking", "the model always reasons, left out")
    else:
        body["reasoning_effort"] = effort


def _sampling(
    body: dict[str, Json],
    conversation: Conversation,
    quirks: Quirks,
    reasons: bool | None,
    declarations: Declarations,
) -> None:
    for name in ("temperature", "top_p"):
        value = getattr(conversation, name)
        if value is None:
            continue
        if reasons and value != 1:
            declarations.declare(name, "the model reasons and takes none, left out")
        else:
            body[name] = value
    if conversation.top_k is not None:
        if "top_k" in quirks.takes:
            body["top_k"] = conversation.top_k
        else:
            declarations.declare("top_k", "the provider has no such parameter, left out")
    body.update(
        _given(
            {
                "max_completion_tokens": conversation.max_tokens,
                "n": conversation.n if conversation.n != 1 else None,
                "stop": list(conversation.stop) or None,
                "seed": conversation.seed,
                "frequency_penalty": conversation.frequency_penalty,
                "presence_penalty": conversation.presence_penalty,
                "logit_bias": conversation.logit_bias or None,
                "logprobs": conversation.logprobs or None,
                "top_logprobs": conversation.top_logprobs,
            }
        )
    )


def _account(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    if conversation.user is not None:
        body["user"] = conversation.user
    if conversation.metadata:
        # Without `store` it is refused (https://github.com/tmc/langchaingo/issues/1484, 2026-03).
        if conversation.extra.get("store") is True:
            body["metadata"] = conversation.metadata
        else:
            declarations.declare("metadata", "goes with `store` alone, left out")
    if conversation.service_tier is not None:
        body["service_tier"] = _TIERS.get(conversation.service_tier, conversation.service_tier)
