"""A conversation as the body of Cohere's `POST /v2/chat`.

Source: https://docs.cohere.com/reference/chat (2026-11) and the request types of the `cohere` SDK 7.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import Declarations
from adapters._cohere_turns import encode_turns
from adapters._tool_names import callers_names, safe_names
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Conversation, Json, Tool
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

# "tool names can only contain certain characters (A-Za-z0-9_) and can't begin with a digit":
# https://docs.cohere.com/reference/errors (2026-11)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_]")

_STOPS_MAX: Final = 5
_K_MAX: Final = 500
_P_LEAST, _P_MOST = 0.01, 0.99

# Fields that only Cohere has: passed as they came.
_OWN: Final = frozenset({"documents", "citation_options", "safety_mode", "strict_tools", "priority"})

# OpenAI's fields that ask for something else than text about the messages: without them it would be another question.
_MEANING: Final = frozenset({"audio", "web_search_options"})
# Fields that say nothing about the answer.
_NO_LOSS: Final = frozenset({"modalities", "reasoning_effort.summary"})


def encode_request(call: Call, conversation: Conversation, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Cohere cannot express."""
    declarations = Declarations(call.strict)
    _refuse(conversation)
    names = safe_names(conversation, _NAME, _NOT_IN_NAME)
    body: dict[str, Json] = {
        "model": deployment.model,
        "messages": encode_turns(conversation, names, declarations),
        "stream": call.stream,
    }
    _tools(body, conversation, names, declarations)
    _format(body, conversation)
    if conversation.max_tokens is not None:
        body["max_tokens"] = conversation.max_tokens
    if len(conversation.stop) > _STOPS_MAX:
        raise BadRequest(f"stop: Cohere takes at most {_STOPS_MAX} stop sequences", param="stop")
    if conversation.stop:
        body["stop_sequences"] = list(conversation.stop)
    _sampling(body, conversation, declarations)
    _thinking(body, conversation, declarations)
    _extra(body, conversation, declarations)
    return UpstreamRequest(
        path=deployment.base_path.rstrip(b"/") + b"/chat",
        body=msgspec.json.encode(body),
        warnings=declarations.warnings,
    )


def renamed(conversation: Conversation) -> dict[str, str]:
    """Returns the caller's name for each tool that is sent under another."""
    return callers_names(safe_names(conversation, _NAME, _NOT_IN_NAME))


def _refuse(conversation: Conversation) -> None:
    """Refuses what changes the question: leaving it out would answer another one."""
    if conversation.n != 1:
        raise BadRequest("Cohere gives one answer per request: n must be 1", param="n")
    if conversation.top_logprobs:
        raise BadRequest("Cohere gives the log-probability of the tokens it chose alone", param="top_logprobs")
    modalities = conversation.extra.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise BadRequest("Cohere answers in text", param="modalities")
    for field in sorted(_MEANING & conversation.extra.keys()):
        raise BadRequest(f"Cohere has no {field}", param=field)


# -- tools and the form of the answer -----------------------------------------------------------------------------


def _tools(
    body: dict[str, Json], conversation: Conversation, names: Mapping[str, str], declarations: Declarations
) -> None:
    choice = conversation.tool_choice
    tools = conversation.tools
    if not tools:
        if choice is not None and choice.mode in ("required", "tool"):
            raise BadRequest("tool_choice asks for a tool, and there are no tools", param="tool_choice")
        return
    body["tools"] = [_definition(tool, names, f"tools.{index}", declarations) for index, tool in enumerate(tools)]
    strict = [tool for tool in tools if tool.strict]
    if len(strict) == len(tools):
        body["strict_tools"] = True
    elif strict:
        declarations.declare("tools", "Cohere is strict about all tools or none: strict is not enforced")
    if conversation.parallel_tool_calls is False:
        declarations.declare("parallel_tool_calls", "Cohere may call several tools at once, not enforced")
    if choice is None or choice.mode == "auto":
        return
    if choice.mode == "none":
        body["tool_choice"] = "NONE"
        return
    if choice.mode == "tool":
        if all(tool.name != choice.name for tool in tools):
            raise BadRequest(f"no tool is named {choice.name!r}", param="tool_choice.function.name")
        if len(tools) > 1:  # of one tool, to require any is to require it
            raise BadRequest("Cohere cannot be told which of several tools to call", param="tool_choice")
    body["tool_choice"] = "REQUIRED"


def _definition(tool: Tool, names: Mapping[str, str], where: str, declarations: Declarations) -> Json:
    if tool.native is not None or tool.custom:
        kind = tool.native.get("type") if isinstance(tool.native, dict) else "custom"
        raise BadRequest(f"Cohere has no tool of type {kind!r}", param=f"{where}.type")
    if tool.cache is not None:
        declarations.declare("cache_control", "Cohere caches by itself, left out")
    schema = tool.schema if isinstance(tool.schema, dict) else {}
    function: dict[str, Json] = {"name": names[tool.name]}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = schema if "type" in schema else {"type": "object", "properties": {}, **schema}
    return {"type": "function", "function": function}


def _format(body: dict[str, Json], conversation: Conversation) -> None:
    wanted = conversation.response_format
    if wanted is None or wanted.type == "text":
        return
    if conversation.tools or conversation.extra.get("documents"):
        what = "tools" if conversation.tools else "documents"
        raise BadRequest(f"Cohere takes no response_format together with {what}", param="response_format")
    written: dict[str, Json] = {"type": "json_object"}
    if wanted.schema is not None:
        # https://docs.cohere.com/docs/structured-outputs#schema-constraints (2026-11)
        if wanted.schema.get("type") != "object":
            field = "response_format.json_schema.schema"
            raise BadRequest(f"{field}: at Cohere the answer must be an object", param=field)
        written["json_schema"] = wanted.schema
    body["response_format"] = written


# -- hints --------------------------------------------------------------------------------------------------------


def _sampling(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Writes the sampling hints within Cohere's bounds; what is beyond them is set to the bound and declared."""
    hints = (
        ("temperature", "temperature", conversation.temperature, 0.0, 1.0),
        ("top_p", "p", conversation.top_p, _P_LEAST, _P_MOST),
        ("top_k", "k", conversation.top_k, 0, _K_MAX),
    )
    for field, name, value, least, most in hints:
        if value is not None:
            bounded = min(max(value, least), most)
            if bounded != value:
                declarations.declare(field, f"Cohere's {'least' if bounded == least else 'most'} is {bounded:g}")
            body[name] = bounded
    if conversation.seed is not None:
        body["seed"] = conversation.seed
    if conversation.logprobs:
        body["logprobs"] = True
    penalties = {
        name: value for name in ("frequency_penalty", "presence_penalty") if (value := getattr(conversation, name))
    }
    if len(penalties) == 2:
        # "cannot specify both frequency_penalty and presence_penalty": …/reference/errors (2026-11)
        declarations.declare("presence_penalty", "Cohere takes one penalty, left out")
        del penalties["presence_penalty"]
    for name, value in penalties.items():
        if value < 0:
            declarations.declare(name, "Cohere has no penalty below 0, left out")
            continue
        if value > 1:
            declarations.declare(name, "Cohere's most is 1, set to 1")
        body[name] = min(value, 1.0)
    if conversation.logit_bias:
        declarations.declare("logit_bias", "Cohere has no such parameter, left out")


def _thinking(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Writes `thinking`: on unless it is switched off, with a budget where the caller named one.

    Source: https://docs.cohere.com/docs/reasoning (2026-11).
    """
    given = conversation.thinking
    if given is not None:
        switched_off = given.get("type") == "disabled"
        thinking: dict[str, Json] = {"type": "disabled" if switched_off else "enabled"}
        budget = given.get("token_budget", given.get("budget_tokens"))
        if budget is not None and not switched_off:
            if not isinstance(budget, int) or isinstance(budget, bool) or budget < 1:
                raise BadRequest("thinking: the budget must be a positive number of tokens", param="thinking")
            thinking["token_budget"] = budget
        body["thinking"] = thinking
    elif conversation.reasoning_effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif conversation.reasoning_effort is not None:
        declarations.declare("reasoning_effort", "Cohere takes a budget of tokens (thinking), not an effort, left out")


def _extra(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Passes Cohere's own fields; whatever else has no place is declared."""
    for name in ("user", "metadata"):
        if getattr(conversation, name):
            declarations.declare(name, "Cohere has no such field, left out")
    if conversation.service_tier not in (None, "auto", "default"):
        declarations.declare("service_tier", "Cohere has no tiers, left out")
    for name, value in conversation.extra.items():
        if name in _OWN:
            body[name] = value
        elif name not in _NO_LOSS and value is not False:
            declarations.declare(name, "Cohere has no such field, left out")
