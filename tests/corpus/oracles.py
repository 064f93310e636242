"""Requests as the providers' own code judges them: SDK types, the AWS service model, OpenAI's published schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import botocore.session
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_params
from botocore.validate import ParamValidator
from cohere.types import ChatMessageV2, ResponseFormatV2, ToolV2
from google.genai import types as google
from mistralai.client.models import ChatCompletionRequest
from pydantic import TypeAdapter, ValidationError

from tests.corpus.schemas import request_problem

Oracle = Callable[[dict[str, Any]], str | None]


def anthropic(body: dict[str, Any]) -> str | None:
    """Holds a request to the SDK's parameters, those in beta where it uses any."""
    first = _tried(_anthropic(False), body)
    return first and _tried(_anthropic(True), body)


@cache
def _anthropic(beta: bool) -> TypeAdapter[Any]:
    return TypeAdapter((beta_params if beta else message_create_params).MessageCreateParams)


def vertex_anthropic(body: dict[str, Any]) -> str | None:
    """Holds a request to the same, less what Vertex has in its URL."""
    if body.get("anthropic_version") != "vertex-2023-10-16" or "model" in body:
        return "anthropic_version or model"
    return anthropic({"model": "m", **body})


def gemini(body: dict[str, Any]) -> str | None:
    """Holds a request to the SDK's types, which allow no field beyond theirs."""
    fields: Mapping[str, Any] = {
        "contents": list[google.Content],
        "systemInstruction": google.Content,
        "tools": list[google.Tool],
        "toolConfig": google.ToolConfig,
        "generationConfig": google.GenerationConfig,
        "safetySettings": list[google.SafetySetting],
        "cachedContent": str,
        "labels": dict[str, str],
        "serviceTier": str,
    }
    for name, value in body.items():
        if name not in fields:
            return f"{name} is no field of generateContent"
        found = _tried(_google(name, fields[name]), value)
        if found:
            return f"{name}: {found}"
    return None


@cache
def _google(name: str, kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def converse(body: dict[str, Any]) -> str | None:
    """Holds a request to the service model that botocore carries."""
    report = ParamValidator().validate({"modelId": "m", **body}, _converse())
    return report.generate_report()[:300] if report.has_errors() else None


@cache
def _converse() -> Any:
    session = botocore.session.Session()
    return session.get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def mistral(body: dict[str, Any]) -> str | None:
    """Holds a request to the SDK's type; it refuses fields that are not its own, as the API does."""
    beyond = body.keys() - ChatCompletionRequest.model_fields.keys()
    if beyond:
        return f"{sorted(beyond)} are no fields of Mistral's"
    return _tried(_mistral(), body)


@cache
def _mistral() -> TypeAdapter[Any]:
    return TypeAdapter(ChatCompletionRequest)


_COHERE = frozenset(
    (
        *("model", "messages", "tools", "strict_tools", "documents", "citation_options", "response_format"),
        *("safety_mode", "max_tokens", "stop_sequences", "temperature", "seed", "frequency_penalty"),
        *("presence_penalty", "k", "p", "logprobs", "tool_choice", "thinking", "priority", "stream", "raw_prompting"),
    )
)


def cohere(body: dict[str, Any]) -> str | None:
    """Holds a request to the SDK's types; fields that its call does not take are none of the API's."""
    beyond = body.keys() - _COHERE
    if beyond:
        return f"{sorted(beyond)} are no fields of Cohere's"
    for name in ("messages", "tools", "response_format"):
        if name in body and (found := _tried(_cohere(name), body[name])):
            return f"{name}: {found}"
    return None


@cache
def _cohere(name: str) -> TypeAdapter[Any]:
    kinds: dict[str, Any] = {
        "messages": list[ChatMessageV2],
        "tools": list[ToolV2],
        "response_format": ResponseFormatV2,
    }
    return TypeAdapter(kinds[name])


def openai_chat(body: dict[str, Any]) -> str | None:
    return request_problem("CreateChatCompletionRequest", body)


def openai_responses(body: dict[str, Any]) -> str | None:
    return request_problem("CreateResponse", body)


def _tried(oracle: TypeAdapter[Any], value: Any) -> str | None:
    try:
        for _ in _all(oracle.validate_python(value)):
            pass
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]
    return None


def _all(value: Any) -> Iterator[Any]:
    """Visits all of a value: what a type calls an iterable is validated when it is read."""
    if isinstance(value, dict):
        for member in value.values():
            yield from _all(member)
    elif hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        for member in value:
            yield from _all(member)
    else:
        yield value
