"""A conversation as the body of Ollama's `POST /api/chat`.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/modelfile#parameter (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import Declarations
from adapters._ollama_turns import encode_turns
from gateway.core.adapter import Fetched, UpstreamRequest
from gateway.core.blocks import Conversation, Json, Tool
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

# Options that OpenAI's fields have no word for: in `options`, or beside the other fields.
OPTIONS: Final = frozenset(
    {
        "num_ctx",
        "num_predict",
        "num_keep",
        "min_p",
        "typical_p",
        "tfs_z",
        "repeat_last_n",
        "repeat_penalty",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "penalize_newline",
    }
)
# How the server runs the model for everybody: not one caller's matter.
_SERVERS: Final = frozenset(
    {"num_batch", "num_gpu", "num_thread", "main_gpu", "use_mmap", "use_mlock", "low_vram", "numa"}
)
_OWN: Final = frozenset({"keep_alive", "think"})

# https://docs.ollama.com/capabilities/thinking (2026-11): three levels, or on and off.
_LEVELS: Final[Mapping[str, str]] = {"minimal": "low", "xhigh": "high", "max": "high"}

# OpenAI's fields that ask for something else than text about the messages: without them it would be another question.
_MEANING: Final = frozenset({"audio", "web_search_options"})
# Fields that say nothing about the answer.
_NO_LOSS: Final = frozenset({"modalities", "options", "reasoning_effort.summary"})


def encode_request(call: Call, conversation: Conversation, deployment: Deployment, fetched: Fetched) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Ollama cannot express."""
    declarations = Declarations(call.strict)
    _refuse(conversation)
    body: dict[str, Json] = {
        "model": deployment.model,
        "messages": encode_turns(conversation, fetched, declarations),
        "stream": call.stream,  # it streams unless it is told not to
    }
    tools = _tools(conversation, declarations)
    if tools:
        body["tools"] = tools
    wanted = conversation.response_format
    if wanted is not None and wanted.type != "text":
        body["format"] = "json" if wanted.schema is None else wanted.schema
    if conversation.logprobs:
        body["logprobs"] = True
        if conversation.top_logprobs:
            body["top_logprobs"] = conversation.top_logprobs
    think = _think(conversation, declarations)
    if think is not None:
        body["think"] = think
    body["options"] = options(conversation.extra, declarations) | _options(conversation)
    _extra(body, conversation, declarations)
    return UpstreamRequest(
        path=deployment.base_path.rstrip(b"/") + b"/chat",
        body=msgspec.json.encode(body),
        warnings=declarations.warnings,
    )


def options(extra: Mapping[str, Json], declarations: Declarations) -> dict[str, Json]:
    """Returns the caller's own `options`, and those that stand beside the other fields."""
    given = extra.get("options", {})
    if not isinstance(given, dict):
        raise BadRequest("options must be an object", param="options")
    for name in sorted(_SERVERS & given.keys()):
        declarations.declare(f"options.{name}", "it is the server's to set, left out")
    found = {name: value for name, value in given.items() if name not in _SERVERS}
    return found | {name: value for name, value in extra.items() if name in OPTIONS}


def _refuse(conversation: Conversation) -> None:
    """Refuses what changes the question: leaving it out would answer another one."""
    if conversation.n != 1:
        raise BadRequest("Ollama gives one answer per request: n must be 1", param="n")
    modalities = conversation.extra.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise BadRequest("Ollama answers in text", param="modalities")
    for field in sorted(_MEANING & conversation.extra.keys()):
        raise BadRequest(f"Ollama has no {field}", param=field)


# -- tools --------------------------------------------------------------------------------------------------------


def _tools(conversation: Conversation, declarations: Declarations) -> list[Json]:
    """Returns the tools; none where none is to be called, which is how a model is kept from them."""
    choice = conversation.tool_choice
    if choice is not None and choice.mode in ("required", "tool"):
        raise BadRequest("Ollama cannot be told to call a tool", param="tool_choice")
    written = [_definition(tool, f"tools.{index}", declarations) for index, tool in enumerate(conversation.tools)]
    if choice is not None and choice.mode == "none":
        return []
    if written and conversation.parallel_tool_calls is False:
        declarations.declare("parallel_tool_calls", "Ollama may call several tools at once, not enforced")
    return written


def _definition(tool: Tool, where: str, declarations: Declarations) -> Json:
    if tool.native is not None or tool.custom:
        kind = tool.native.get("type") if isinstance(tool.native, dict) else "custom"
        raise BadRequest(f"Ollama has no tool of type {kind!r}", param=f"{where}.type")
    if tool.strict:
        declarations.declare(f"{where}.function.strict", "Ollama holds no call to its tool's schema, not enforced")
    if tool.cache is not None:
        declarations.declare("cache_control", "Ollama caches by itself, left out")
    schema = tool.schema if isinstance(tool.schema, dict) else {}
    function: dict[str, Json] = {"name": tool.name, "description": tool.description or ""}
    function["parameters"] = schema if "type" in schema else {"type": "object", "properties": {}, **schema}
    return {"type": "function", "function": function}


# -- hints --------------------------------------------------------------------------------------------------------


def _options(conversation: Conversation) -> dict[str, Json]:
    hints = {
        "num_predict": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "top_k": conversation.top_k,
        "seed": conversation.seed,
        "stop": list(conversation.stop) or None,
        "frequency_penalty": conversation.frequency_penalty,
        "presence_penalty": conversation.presence_penalty,
    }
    return {name: value for name, value in hints.items() if value is not None}


def _think(conversation: Conversation, declarations: Declarations) -> bool | str | None:
    given = conversation.thinking
    if given is not None:
        if given.get("budget_tokens") is not None or given.get("token_budget") is not None:
            declarations.declare("thinking", "Ollama has no budget for thinking, left out")
        return bool(given.get("type") != "disabled")
    effort = conversation.reasoning_effort
    if effort is None:
        return None
    if effort == "none":
        return False
    if effort in _LEVELS:
        declarations.declare("reasoning_effort", f"Ollama has no {effort}, {_LEVELS[effort]} is taken")
    return _LEVELS.get(effort, effort)


def _extra(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Passes Ollama's own fields; whatever else has no place is declared."""
    for name in ("user", "metadata", "logit_bias"):
        if getattr(conversation, name):
            declarations.declare(name, "Ollama has no such field, left out")
    if conversation.service_tier not in (None, "auto", "default"):
        declarations.declare("service_tier", "Ollama has no tiers, left out")
    for name, value in conversation.extra.items():
        if name in _OWN:
            body[name] = value
        elif name not in OPTIONS and name not in _NO_LOSS and value is not False:
            declarations.declare(name, "Ollama has no such field, left out")
