"""Holds what Headgate writes to OpenAI's published schemas and to the types of the official SDKs, strictly.

Two values of one shape are valid alike, so that each shape is checked once: texts that no schema constrains are
replaced before a value is looked up among those already seen.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from jsonschema import Draft202012Validator
from openai.types import Completion, CreateEmbeddingResponse, ModerationCreateResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from tests.corpus.lines import SHARED

_SDK: dict[str, TypeAdapter[Any]] = {
    "CreateChatCompletionResponse": TypeAdapter(ChatCompletion),
    "CreateChatCompletionStreamResponse": TypeAdapter(ChatCompletionChunk),
    "CreateCompletionResponse": TypeAdapter(Completion),
    "CreateEmbeddingResponse": TypeAdapter(CreateEmbeddingResponse),
    "CreateModerationResponse": TypeAdapter(ModerationCreateResponse),
    "Response": TypeAdapter(Response),
    "ResponseStreamEvent": TypeAdapter(ResponseStreamEvent),
    "Message": TypeAdapter(Message),
    "RawMessageStreamEvent": TypeAdapter(RawMessageStreamEvent),
}

# Texts that may be anything: what a model said, names and ids.
_FREE = frozenset(
    (
        *("id", "item_id", "call_id", "tool_use_id", "file_id", "model", "name", "system_fingerprint", "obfuscation"),
        *(
            "text",
            "delta",
            "content",
            "refusal",
            "reasoning",
            "reasoning_content",
            "thinking",
            "signature",
            "transcript",
        ),
        *("arguments", "partial_json", "input", "encrypted_content", "data", "token", "explanation", "stop_sequence"),
        *("title", "url", "cited_text", "filename", "native_finish_reason"),
    )
)
_COUNTS = frozenset({"created", "created_at", "completed_at", "sequence_number", "start_index", "end_index"})


def problem(name: str, value: Any, published: bool = True, strict: bool = True) -> str | None:
    """Says what is wrong with a value of ours; None where nothing is.

    `published` takes OpenAI's schemas as they are published, else with the patches under which real traffic is valid.
    `strict` has the SDK's types read no value as another type.
    """
    return _problem(name, json.dumps(_shape(value), sort_keys=True), published, strict)


@cache
def _problem(name: str, shape: str, published: bool, strict: bool) -> str | None:
    value = json.loads(shape)
    schema = _schema(name, value, published)
    if schema is not None:
        error = next(iter(schema.iter_errors(value)), None)
        if error is not None:
            while error.context:
                error = min(error.context, key=lambda inner: -len(inner.absolute_path))
            return f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
    try:
        _SDK[name].validate_python(value, strict=strict)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{name} of the SDK: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return None


def _shape(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _shape(member, name) for name, member in value.items()}
    if isinstance(value, list):
        if value and all(type(each) in (int, float) for each in value):
            return value[:1]  # a vector, or the bytes of a token
        shapes = []
        for each in value:
            shape = _shape(each)
            if not shapes or shape != shapes[-1]:
                shapes.append(shape)
        return shapes
    if key in _FREE and isinstance(value, str):
        return "x" if value else ""
    if key.endswith("_tokens") or key in _COUNTS:
        return 1 if type(value) is int and value >= 0 else value
    return value


def _schema(name: str, value: Any, published: bool) -> Draft202012Validator | None:
    schemas = _schemas(published)
    if schemas is None:
        return None
    if name == "ResponseStreamEvent" and isinstance(value, dict):
        name = _event_schemas(published).get(value.get("type", ""), name)
    return _validator(name, published)


@cache
def _schemas(published: bool) -> dict[str, Any] | None:
    path = SHARED / "schemas" / ("openai_schemas.json" if published else "openai_schemas_relaxed.json")
    if not path.exists():
        return None
    schemas: dict[str, Any] = json.loads(path.read_text())["$defs"]
    return schemas


@cache
def _validator(name: str, published: bool) -> Draft202012Validator | None:
    schemas = _schemas(published) or {}
    if name not in schemas:
        return None
    return Draft202012Validator({"$defs": schemas, "$ref": f"#/$defs/{name}"})


@cache
def _event_schemas(published: bool) -> dict[str, str]:
    """Returns which schema speaks of which event: trying all fifty is slow and tells nothing of what is wrong."""
    names = {}
    for name, schema in (_schemas(published) or {}).items():
        if name.startswith("Response") and name.endswith("Event"):
            for kind in (schema.get("properties", {}).get("type") or {}).get("enum", []):
                names[kind] = name
    return names


def request_problem(name: str, value: Any, published: bool = True) -> str | None:
    """Says what is wrong with a request, by OpenAI's published schemas."""
    schema = _validator(name, published) if _schemas(published) else None
    if schema is None:
        return None
    error = next(iter(schema.iter_errors(value)), None)
    if error is None:
        return None
    while error.context:
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    return f"{name}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"


def error_problem(dialect: str, body: bytes, event: bytes, status: int) -> str | None:
    """Says what is wrong with an error as a dialect writes it: a body, and the end of a stream that had begun."""
    written = json.loads(body)
    if dialect in ("messages", "count_tokens"):
        if written.get("type") != "error" or {"type", "message"} - written["error"].keys():
            return f"no error of Messages: {written}"
    else:
        schema = _validator("ErrorResponse", True) if _schemas(True) else None
        error = None if schema is None else next(iter(schema.iter_errors(written)), None)
        if error is not None:
            return error.message
    streams = dialect in ("chat", "completions", "responses", "messages")  # what else streams is no event stream
    if streams and (not event.endswith(b"\n\n") or b"data:" not in event):
        return "an error in-band is no event"
    return None
