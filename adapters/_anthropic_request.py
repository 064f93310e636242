"""A conversation as the body of `POST /v1/messages`.

Source: https://platform.claude.com/docs/en/api/messages (2026-11-20).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._anthropic_model import Model, model_of
from adapters._anthropic_thinking import Effort, settle
from adapters._anthropic_tools import (
    add_json_tool,
    encode_choice,
    encode_tools,
    native_format,
    safe_names,
)
from adapters._anthropic_turns import encode_turns, loops_without_thinking
from adapters._blocks import Declarations
from gateway.core.adapter import UpstreamRequest
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

_MARKERS_MAX: Final = 4  # https://platform.claude.com/docs/en/build-with-claude/prompt-caching (2026-11-20)
_USER_ID_MAX: Final = 256

# Fields that only Anthropic has: passed as they came. Those in beta name the header they ask for.
_OWN: Final[Mapping[str, str | None]] = {
    "cache_control": None,
    "container": None,
    "context_management": "context-management-2025-06-27",
    "diagnostics": "cache-diagnosis-2026-04-07",
    "fallbacks": "server-side-fallback-2026-07-01",
    "inference_geo": None,
    "mcp_servers": "mcp-client-2025-04-04",
    "speed": "fast-mode-2026-02-01",
    "user_profile_id": None,
}

# Fields read by us, or that say nothing about the answer.
_NO_LOSS: Final = frozenset({"output_config", "reasoning_effort.summary", "safety_identifier"})

# OpenAI's fields that ask for something else than text about the messages: without them it would be another question.
_MEANING: Final = frozenset({"audio", "web_search_options"})

_SERVICE_TIERS: Final[Mapping[str, str]] = {
    "auto": "auto",
    "priority": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
}

_PHONE: Final = re.compile(r"\+?[0-9 ()./-]{7,}")


def encode_request(call: Call, conversation: Conversation, deployment: Deployment) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Anthropic cannot express."""
    model = model_of(deployment)
    declarations = Declarations(call.strict)
    _refuse(conversation)
    names = safe_names(conversation)
    system, messages = encode_turns(conversation, names, model, declarations)
    tools, betas = encode_tools(conversation, names, model, declarations)
    choice = encode_choice(conversation, names, bool(tools))
    body: dict[str, Json] = {"model": deployment.model, "messages": messages}
    given = conversation.extra.get("output_config", {})
    if not isinstance(given, dict):
        raise BadRequest("output_config must be an object", param="output_config")
    config: dict[str, Json] = dict(given)
    if conversation.response_format is not None and conversation.response_format.type != "text":
        native = native_format(conversation, model)
        if native is None:
            choice = add_json_tool(conversation, names, tools, choice)
        else:
            config["format"] = native[0]
            if native[1]:
                field = "response_format.json_schema.schema"
                declarations.declare(field, f"{', '.join(native[1])} not enforced, only described")
    effort = settle(conversation, model, deployment.max_output, _obstacle(choice, messages, model), declarations)
    body["max_tokens"] = effort.max_tokens
    if system:
        body["system"] = system
    if tools:
        body["tools"] = tools
    if choice is not None:
        body["tool_choice"] = choice
    if effort.thinking is not None:
        body["thinking"] = effort.thinking
    if effort.effort is not None:
        config["effort"] = effort.effort
    if conversation.stop:
        body["stop_sequences"] = _stop_sequences(conversation)
    _sampling(body, conversation, model, effort, declarations)
    _account(body, conversation, declarations)
    _extra(body, conversation, betas, declarations)
    if config:
        body["output_config"] = config
    if call.stream:
        body["stream"] = True
    _limit_markers(body, declarations)
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)
    if betas:
        headers = (*headers, (b"anthropic-beta", ",".join(sorted(betas)).encode()))
    base = deployment.base_path.rstrip(b"/")
    return UpstreamRequest(
        path=base + (b"/messages" if base.endswith(b"/v1") else b"/v1/messages"),
        body=msgspec.json.encode(body),
        headers=headers,
        warnings=declarations.warnings,
    )


def _refuse(conversation: Conversation) -> None:
    """Refuses what changes the question: leaving it out would answer another one."""
    if conversation.n != 1:
        raise BadRequest("Anthropic gives one answer per request: n must be 1", param="n")
    if conversation.logprobs or conversation.top_logprobs:
        raise BadRequest("Anthropic gives no logprobs", param="logprobs" if conversation.logprobs else "top_logprobs")
    modalities = conversation.extra.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise BadRequest("Anthropic answers in text", param="modalities")
    for field in sorted(_MEANING & conversation.extra.keys()):
        raise BadRequest(f"Anthropic has no {field}", param=field)


def _obstacle(choice: Mapping[str, Json] | None, messages: list[Json], model: Model) -> tuple[str, str] | None:
    """Returns what thinking cannot be on with, as (field, why)."""
    if choice is not None and choice["type"] in ("any", "tool"):
        return "tool_choice", "a tool or a format that is forced does not go with thinking"
    if model.thinking == "budget" and loops_without_thinking(messages):
        return "messages", "the tool calls of the last turn came without their thinking blocks"
    return None


def _stop_sequences(conversation: Conversation) -> list[str]:
    for index, sequence in enumerate(conversation.stop):
        if not sequence.strip():
            raise BadRequest("Anthropic takes no stop sequence of white space alone", param=f"stop.{index}")
    return list(conversation.stop)


def _sampling(
    body: dict[str, Json], conversation: Conversation, model: Model, effort: Effort, declarations: Declarations
) -> None:
    """Writes the sampling hints a model takes; the others are left out and declared."""
    temperature, top_p, top_k = conversation.temperature, conversation.top_p, conversation.top_k
    if temperature is not None and temperature > 1:
        declarations.declare("temperature", "Anthropic's most is 1, set to 1")
        temperature = 1.0
    if not model.sampling or effort.thinks:
        why = "does not go with thinking" if model.sampling else "the model does not take it"
        if temperature is not None and temperature != 1:
            declarations.declare("temperature", f"{why}, left out")
        if top_p is not None and top_p != 1 and not (model.sampling and top_p >= 0.95):
            declarations.declare("top_p", f"{why}, left out")
            top_p = None
        if top_k is not None:
            declarations.declare("top_k", f"{why}, left out")
        temperature = top_k = None
        if not model.sampling:
            top_p = None
    if temperature is not None and top_p is not None and not model.temperature_with_top_p:
        if top_p != 1:
            declarations.declare("top_p", "the model takes temperature or top_p, top_p was left out")
        top_p = None
    hints = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
    body.update({name: value for name, value in hints.items() if value is not None})
    for name in ("seed", "frequency_penalty", "presence_penalty", "logit_bias"):
        if getattr(conversation, name):
            declarations.declare(name, "Anthropic has no such parameter, left out")


def _account(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Writes who asked, and the service tier."""
    user = conversation.user or conversation.extra.get("safety_identifier")
    if isinstance(user, str) and user:
        # Anthropic asks for an opaque identifier: no name, e-mail address or phone number.
        if "@" in user or _PHONE.fullmatch(user) or len(user) > _USER_ID_MAX:
            declarations.declare("user", "looks like an address or a number or is too long, not passed on")
        else:
            body["metadata"] = {"user_id": user}
    if conversation.metadata:
        declarations.declare("metadata", "Anthropic keeps none but the user's id, left out")
    tier = conversation.service_tier
    if tier is not None:
        if tier in _SERVICE_TIERS:
            body["service_tier"] = _SERVICE_TIERS[tier]
        else:
            declarations.declare("service_tier", f"Anthropic has no tier {tier!r}, left out")


def _extra(body: dict[str, Json], conversation: Conversation, betas: set[str], declarations: Declarations) -> None:
    """Passes Anthropic's own fields; whatever else has no place is declared."""
    for name, value in conversation.extra.items():
        if name in _OWN:
            body[name] = value
            beta = _OWN[name]
            if beta is not None and not (name == "mcp_servers" and "mcp-client-2025-11-20" in betas):
                betas.add(beta)
        elif name in ("anthropic_beta", "betas"):
            named = value.split(",") if isinstance(value, str) else value
            if not isinstance(named, list) or not all(isinstance(beta, str) for beta in named):
                raise BadRequest(f"{name} must be a list of strings", param=name)
            betas.update(beta.strip() for beta in named)
        elif name not in _NO_LOSS and name != "modalities":
            declarations.declare(name, "Anthropic has no such field, left out")


def _limit_markers(body: dict[str, Json], declarations: Declarations) -> None:
    """Leaves as many cache markers as the API takes; the oldest of the messages go first.

    The newest of a conversation and those of the tools and the system are the ones that the next turn reads.
    """
    marked: list[dict[str, Json]] = []
    for turn in body["messages"]:
        for block in turn["content"]:
            marked.extend(inner for inner in _inner(block) if "cache_control" in inner)
    marked.extend(block for block in body.get("system", ()) if "cache_control" in block)
    marked.extend(tool for tool in body.get("tools", ()) if "cache_control" in tool)
    allowed = _MARKERS_MAX - ("cache_control" in body)
    for block in marked[: max(0, len(marked) - allowed)]:
        declarations.declare("cache_control", f"Anthropic takes {_MARKERS_MAX} markers, the oldest were left out")
        del block["cache_control"]


def _inner(block: dict[str, Json]) -> list[dict[str, Json]]:
    content = block.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return [*parts, block]
