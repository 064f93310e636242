"""A conversation as the body of Converse and ConverseStream; the model stands in the path.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (2026-11) and botocore's model
of bedrock-runtime (1.44).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from adapters._bedrock_model import Family, base_model, family_of
from adapters._bedrock_thinking import Effort, settled
from adapters._bedrock_tools import Choice, add_format, encode_tools, safe_names
from adapters._bedrock_turns import encode_turns, loops_without_thinking
from adapters._blocks import Declarations
from gateway.core.adapter import Fetched, UpstreamRequest
from gateway.core.blocks import Conversation, Json
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

_NOT_IN_PROVIDER: Final = re.compile("[^a-z0-9_]")  # the alphabet of `adapters._signatures`
_MARKERS_MAX: Final = 4  # https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html (2026-11)
_STOPS_MAX: Final = 2500

# Fields that only Converse has: passed as they came.
_OWN: Final = frozenset(
    {
        "guardrailConfig",
        "requestMetadata",
        "performanceConfig",
        "projectIdentifier",
        "additionalModelResponseFieldPaths",
    }
)
_ADDITIONAL: Final = "additionalModelRequestFields"

# Fields read elsewhere, or that say nothing about the answer.
_NO_LOSS: Final = frozenset({_ADDITIONAL, "reasoning_effort.summary", "safety_identifier", "modalities"})

# OpenAI's fields that ask for something else than text about the messages: without them it would be another question.
_MEANING: Final = frozenset({"audio", "web_search_options"})

_SERVICE_TIERS: Final = frozenset({"default", "priority", "flex", "reserved"})


def provider_of(deployment: Deployment) -> str:
    """Returns whose reasoning and blocks these are: no maker's model reads what another's has signed or encrypted."""
    maker, dot, _ = base_model(deployment).partition(".")
    return f"bedrock_{_NOT_IN_PROVIDER.sub('_', maker.lower())}" if dot else "bedrock"


def path_of(deployment: Deployment, operation: str) -> bytes:
    """Returns the path of an operation on the deployment's model, whose name may hold colons and slashes."""
    base = deployment.base_path.rstrip(b"/")
    return b"%b/model/%b/%b" % (base, quote(deployment.model, safe="").encode(), operation.encode())


def encode_request(call: Call, conversation: Conversation, deployment: Deployment, fetched: Fetched) -> UpstreamRequest:
    """Writes the request; raises BadRequest naming the field that Bedrock cannot express."""
    family = family_of(deployment)
    declarations = Declarations(call.strict)
    _refuse(conversation)
    names = safe_names(conversation)
    system, messages = encode_turns(conversation, names, family, provider_of(deployment), fetched, declarations)
    choice = encode_tools(conversation, names, family, declarations)
    text_format = add_format(conversation, names, choice, family, declarations)
    obstacle = _obstacle(choice, messages, family)
    effort = settled(conversation, family, deployment.max_output, obstacle, declarations)
    body: dict[str, Json] = {"messages": messages}
    if system:
        body["system"] = system
    inference = _inference(conversation, family, effort, declarations)
    if inference:
        body["inferenceConfig"] = inference
    if choice.tools:
        body["toolConfig"] = {"tools": choice.tools}
        if choice.choice is not None:
            body["toolConfig"]["toolChoice"] = choice.choice
    if text_format is not None:
        body["outputConfig"] = {"textFormat": text_format}
    additional = _additional(conversation, family, effort, choice, declarations)
    if additional:
        body[_ADDITIONAL] = additional
    _extra(body, conversation, declarations)
    _limit_markers(body, declarations)
    return UpstreamRequest(
        path=path_of(deployment, "converse-stream" if call.stream else "converse"),
        body=msgspec.json.encode(body),
        warnings=declarations.warnings,
    )


def _refuse(conversation: Conversation) -> None:
    """Refuses what changes the question: leaving it out would answer another one."""
    if conversation.n != 1:
        raise BadRequest("Bedrock gives one answer per request: n must be 1", param="n")
    if conversation.logprobs or conversation.top_logprobs:
        raise BadRequest("Bedrock gives no logprobs", param="logprobs" if conversation.logprobs else "top_logprobs")
    modalities = conversation.extra.get("modalities")
    if modalities is not None and modalities != ["text"]:
        raise BadRequest("Bedrock answers in text", param="modalities")
    for field in sorted(_MEANING & conversation.extra.keys()):
        raise BadRequest(f"Bedrock has no {field}", param=field)


def _obstacle(choice: Choice, messages: list[Json], family: Family) -> tuple[str, str] | None:
    """Returns what a Claude's thinking cannot be on with, as (field, why)."""
    if choice.forces:
        return "tool_choice", "a tool or a format that is forced does not go with thinking"
    if family.claude is not None and family.claude.thinking == "budget" and loops_without_thinking(messages):
        return "messages", "the tool calls of the last turn came without their thinking blocks"
    return None


def _inference(
    conversation: Conversation, family: Family, effort: Effort, declarations: Declarations
) -> dict[str, Json]:
    inference: dict[str, Json] = {}
    if effort.max_tokens is not None:
        inference["maxTokens"] = effort.max_tokens
    temperature, top_p = _sampling(conversation, family, effort, declarations)
    if temperature is not None:
        inference["temperature"] = temperature
    if top_p is not None:
        inference["topP"] = top_p
    if conversation.stop:
        if len(conversation.stop) > _STOPS_MAX:
            raise BadRequest(f"Bedrock takes {_STOPS_MAX} stop sequences", param="stop")
        for index, sequence in enumerate(conversation.stop):
            if not sequence or (family.claude is not None and not sequence.strip()):
                raise BadRequest("the model takes no empty stop sequence", param=f"stop.{index}")
        inference["stopSequences"] = list(conversation.stop)
    for name in ("seed", "frequency_penalty", "presence_penalty", "logit_bias"):
        if getattr(conversation, name):
            declarations.declare(name, "Bedrock has no such parameter, left out")
    return inference


def _sampling(
    conversation: Conversation, family: Family, effort: Effort, declarations: Declarations
) -> tuple[float | None, float | None]:
    """Returns the sampling hints that the model takes; the others are left out and declared."""
    temperature, top_p = conversation.temperature, conversation.top_p
    if temperature is not None and temperature > 1:
        declarations.declare("temperature", "Bedrock's most is 1, set to 1")
        temperature = 1.0
    claude = family.claude
    why = ""
    if effort.unsampled:
        why = "does not go with high effort"
    elif claude is not None and not claude.sampling:
        why = "the model does not take it"
    elif claude is not None and effort.thinks:
        why = "does not go with thinking"
    if why:
        if temperature is not None and temperature != 1:
            declarations.declare("temperature", f"{why}, left out")
        keeps_top_p = effort.thinks and claude is not None and claude.sampling and top_p is not None and top_p >= 0.95
        if top_p is not None and top_p != 1 and not keeps_top_p:
            declarations.declare("top_p", f"{why}, left out")
        return None, top_p if keeps_top_p else None
    if claude is not None and temperature is not None and top_p is not None and not claude.temperature_with_top_p:
        if top_p != 1:
            declarations.declare("top_p", "the model takes temperature or top_p, top_p was left out")
        top_p = None
    return temperature, top_p


def _additional(
    conversation: Conversation, family: Family, effort: Effort, choice: Choice, declarations: Declarations
) -> dict[str, Json]:
    """Returns the model's own fields: the caller's, and what Converse has no field for."""
    given = conversation.extra.get(_ADDITIONAL, {})
    if not isinstance(given, dict):
        raise BadRequest(f"{_ADDITIONAL} must be an object", param=_ADDITIONAL)
    fields: dict[str, Json] = dict(given)
    if conversation.top_k is not None:
        untaken = effort.thinks or effort.unsampled or (family.claude is not None and not family.claude.sampling)
        if untaken or not family.top_k:
            declarations.declare("top_k", "the model does not take it, left out")
        else:
            _put(fields, family.top_k, conversation.top_k)
    for name, value in {**effort.fields, **(choice.additional or {})}.items():
        own = fields.get(name)
        fields[name] = {**value, **own} if isinstance(value, dict) and isinstance(own, dict) else value
    return fields


def _put(fields: dict[str, Json], path: tuple[str, ...], value: Json) -> None:
    for name in path[:-1]:
        inner = fields.get(name)
        fields[name] = dict(inner) if isinstance(inner, dict) else {}
        fields = fields[name]
    fields[path[-1]] = value


def _extra(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    """Passes Converse's own fields; whatever else has no place is declared."""
    tier = conversation.service_tier
    if tier in _SERVICE_TIERS:
        body["serviceTier"] = {"type": tier}
    elif tier is not None and tier != "auto":
        declarations.declare("service_tier", f"Bedrock has no tier {tier!r}, left out")
    for name, value in conversation.extra.items():
        if name in _OWN:
            body[name] = value
        elif name not in _NO_LOSS and value is not False:
            declarations.declare(name, "Bedrock has no such field, left out")


def _limit_markers(body: Mapping[str, Json], declarations: Declarations) -> None:
    """Leaves as many cache points as Bedrock takes; the oldest of the messages go first.

    The newest of a conversation and those of the tools and the system are the ones that the next turn reads.
    """
    holders: list[list[Json]] = [turn["content"] for turn in body["messages"]]
    holders.extend((body.get("system", []), body.get("toolConfig", {}).get("tools", [])))
    marks = [(holder, block) for holder in holders for block in holder if "cachePoint" in block]
    for holder, block in marks[: max(0, len(marks) - _MARKERS_MAX)]:
        declarations.declare("cache_control", f"Bedrock takes {_MARKERS_MAX} cache points, the oldest were left out")
        holder[:] = [kept for kept in holder if kept is not block]
