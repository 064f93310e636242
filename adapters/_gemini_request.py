"""A conversation as the body of `generateContent`.

Sources (2026-11): https://ai.google.dev/api/generate-content and
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import Declarations
from adapters._gemini_model import Model, model_of
from adapters._gemini_thinking import thinking_config
from adapters._gemini_tools import encode_choice, encode_format, encode_tools, safe_names
from adapters._gemini_turns import encode_turns
from gateway.core.adapter import Fetched
from gateway.core.blocks import Conversation, Image, Json, ToolResult
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Deployment

_STOPS_MAX: Final = 5
_CANDIDATES_MAX: Final = 8
_TOP_LOGPROBS_MAX: Final = 20

# Google's own fields, in either of the spellings its clients use, beside a request's messages or under `google`.
_OWN_TOP: Final = frozenset({"safetySettings", "cachedContent", "labels", "modelArmorConfig", "toolConfig"})
_OWN_CONFIG: Final = frozenset(
    {
        "audioTimestamp",
        "audioTranscriptionConfig",
        "enableEnhancedCivicAnswers",
        "imageConfig",
        "mediaResolution",
        "modelSelectionConfig",
        "responseModalities",
        "routingConfig",
        "speechConfig",
        "thinkingConfig",
        "translationConfig",
    }
)
_NESTED: Final = ("google", "extra_body", "generationConfig", "generation_config")

# Fields read by us elsewhere, or that say nothing about the answer.
_NO_LOSS: Final = frozenset(
    {
        "modalities",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort.summary",
        "safety_identifier",
        "web_search_options",
    }
)

_SERVICE_TIERS: Final[Mapping[str, str | None]] = {
    "auto": None,
    "default": "standard",
    "standard": "standard",
    "flex": "flex",
    "priority": "priority",
}

_UNDERSCORE: Final = re.compile(r"_([a-z])")


def encode_body(
    call: Call, conversation: Conversation, deployment: Deployment, provider: str, fetched: Fetched
) -> tuple[dict[str, Json], tuple[str, ...]]:
    """Returns the body and what was declared; raises BadRequest naming the field that Gemini cannot express.

    `provider` is whose signatures go back.
    """
    model = model_of(deployment)
    declarations = Declarations(call.strict)
    top, own, rest = _own_fields(conversation.extra)
    _refuse(conversation)
    names = safe_names(conversation)
    system, contents = encode_turns(conversation, names, model, provider, fetched, declarations)
    body: dict[str, Json] = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    tools = encode_tools(conversation, names, model, declarations)
    forbidden = conversation.tool_choice is not None and conversation.tool_choice.mode == "none"
    if tools and forbidden and conversation.response_format is not None and not model.format_with_tools:
        tools = []  # none may be called, and the format does not go beside them
    if tools:
        body["tools"] = tools
    tool_config = dict(top.pop("toolConfig", {}))
    choice = encode_choice(conversation, names, model, declarations) if tools or not forbidden else None
    if choice is not None:
        tool_config["functionCallingConfig"] = choice
    if tool_config:
        body["toolConfig"] = tool_config
    config = _generation(conversation, model, call.strict, declarations)
    config |= encode_format(conversation, bool(tools), model, declarations)
    thinking = thinking_config(conversation, model, own.pop("thinkingConfig", None), declarations)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    resolution = _media_resolution(conversation, declarations)
    if resolution is not None:
        config["mediaResolution"] = resolution
    modalities = conversation.extra.get("modalities")
    if isinstance(modalities, list) and modalities != ["text"]:
        config["responseModalities"] = [str(modality).upper() for modality in modalities]
    config |= own
    if config:
        body["generationConfig"] = config
    body |= top
    _account(body, conversation, declarations)
    _declare_rest(rest, declarations)
    return body, declarations.warnings


def _refuse(conversation: Conversation) -> None:
    """Refuses what changes the question: leaving it out would answer another one."""
    if not 1 <= conversation.n <= _CANDIDATES_MAX:
        raise BadRequest(f"Gemini gives at most {_CANDIDATES_MAX} answers: n is out of range", param="n")
    if conversation.max_tokens is not None and conversation.max_tokens < 1:
        raise BadRequest("max_tokens must be at least 1", param="max_tokens")
    if len(conversation.stop) > _STOPS_MAX:
        raise BadRequest(f"Gemini takes at most {_STOPS_MAX} stop sequences", param="stop")
    if conversation.top_logprobs is not None and not 0 <= conversation.top_logprobs <= _TOP_LOGPROBS_MAX:
        raise BadRequest(f"top_logprobs must be from 0 to {_TOP_LOGPROBS_MAX}", param="top_logprobs")
    modalities = conversation.extra.get("modalities")
    if "audio" in conversation.extra or (isinstance(modalities, list) and "audio" in modalities):
        field = "audio" if "audio" in conversation.extra else "modalities"
        raise BadRequest("an answer in audio cannot be handed on from Gemini", param=field)


def _generation(conversation: Conversation, model: Model, strict: bool, declarations: Declarations) -> dict[str, Json]:
    """Writes the sampling and the bounds that the model takes; hints that it does not are left out and declared."""
    config: dict[str, Json] = {}
    if conversation.max_tokens is not None:
        config["maxOutputTokens"] = conversation.max_tokens
    if conversation.n > 1:
        config["candidateCount"] = conversation.n
    stop = [sequence for sequence in conversation.stop if sequence]
    if stop:
        config["stopSequences"] = stop
    hints = {
        "temperature": conversation.temperature,
        "topP": conversation.top_p,
        "topK": conversation.top_k,
        "presencePenalty": conversation.presence_penalty,
        "frequencyPenalty": conversation.frequency_penalty,
    }
    for name, value in hints.items():
        if value is None:
            continue
        if model.sampling:
            config[name] = value
        elif value not in (0, 1) or name == "topK":
            declarations.declare(_snake(name), "the model does not take it, left out")
    if conversation.seed is not None:
        config["seed"] = conversation.seed
    if conversation.logprobs:
        config["responseLogprobs"] = True
        if conversation.top_logprobs:
            config["logprobs"] = conversation.top_logprobs
    if conversation.logit_bias:
        declarations.declare("logit_bias", "Gemini has no such parameter, left out")
    temperature = conversation.temperature
    advised = model.prefers_default_temperature and model.sampling and not strict  # nothing is lost: no refusal
    if advised and temperature is not None and temperature < 1:
        declarations.declare("temperature", "Google advises 1 for this model, passed on as it is")
    return config


def _media_resolution(conversation: Conversation, declarations: Declarations) -> str | None:
    """Returns the resolution that all images ask for: Gemini has one for a request."""
    asked = {
        image.detail
        for turn in conversation.messages
        for block in turn.content
        for image in (block.content if isinstance(block, ToolResult) else (block,))
        if isinstance(image, Image)
    }
    wanted = asked - {None, "auto"}
    if not wanted:
        return None
    if len(asked) > 1:
        declarations.declare("messages", "images of different detail: Gemini has one for all, left out")
        return None
    return _RESOLUTIONS.get(str(wanted.pop()))


_RESOLUTIONS: Final = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}


def _account(body: dict[str, Json], conversation: Conversation, declarations: Declarations) -> None:
    tier = conversation.service_tier
    if tier is not None:
        if tier not in _SERVICE_TIERS:
            declarations.declare("service_tier", f"Gemini has no tier {tier!r}, left out")
        elif _SERVICE_TIERS[tier] is not None:
            body["serviceTier"] = _SERVICE_TIERS[tier]
    for field in ("user", "metadata"):
        if getattr(conversation, field):
            declarations.declare(field, "Gemini has no such field, left out")


def _own_fields(extra: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, Json], dict[str, Json]]:
    """Returns Google's fields of the body, those of its `generationConfig`, and what is not Google's."""
    top: dict[str, Json] = {}
    config: dict[str, Json] = {}
    rest: dict[str, Json] = {}
    for name, value in extra.items():
        if name in _NESTED and isinstance(value, dict):
            inner_top, inner_config, inner_rest = _own_fields(value)
            top |= inner_top
            config |= inner_config
            rest |= {f"{name}.{key}": left for key, left in inner_rest.items()}
            continue
        camel = _camel(name)
        if camel in _OWN_TOP:
            if camel == "toolConfig" and not isinstance(value, dict):
                raise BadRequest(f"{name} must be an object", param=name)
            top[camel] = value
        elif camel in _OWN_CONFIG:
            config[camel] = value
        else:
            rest[name] = value
    return top, config, rest


def _declare_rest(rest: Mapping[str, Json], declarations: Declarations) -> None:
    for name, value in rest.items():
        if name not in _NO_LOSS and value is not False:
            declarations.declare(name, "Gemini has no such field, left out")


def _camel(name: str) -> str:
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name)


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


_encode: Final = msgspec.json.Encoder().encode


def encode_json(body: Mapping[str, Json]) -> bytes:
    """Writes a body."""
    return _encode(body)
