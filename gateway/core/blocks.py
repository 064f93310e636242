"""The vocabulary between dialects: a conversation as typed blocks, an answer as ordered events.

One vocabulary instead of a translator per pair: a dialect reads and writes it, a provider's adapter writes and
reads it. What only one provider knows travels as `Opaque`, with the provider's name on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.core.money import Usage

Json = Any  # a decoded JSON value: what callers put in schemas, arguments and unknown fields


class Text(msgspec.Struct, frozen=True):
    """Plain text; `cache` is the marker's value ({"type": "ephemeral", …}) where a caller set one.

    `citations` are as their provider gave them. `signature` is that provider's over the text (Gemini's).
    """

    text: str
    cache: Json = None
    citations: tuple[Json, ...] = ()
    signature: str | None = None
    provider: str | None = None


class Thinking(msgspec.Struct, frozen=True):
    """A model's reasoning with the provider's signature over it (or its encrypted form); `provider` says whose it is.

    `id` is the provider's name for it, where it has one (a reasoning item's).
    """

    text: str
    signature: str | None = None
    provider: str | None = None
    id: str | None = None


class RedactedThinking(msgspec.Struct, frozen=True):
    """Reasoning that the provider encrypted; must go back verbatim."""

    data: str
    provider: str | None = None


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a caller's tool; `arguments` is the JSON text as the model wrote it, or `custom` tools' plain text.

    `signature` is a provider's over the call (Gemini's thought signature); `provider` says whose.
    """

    id: str
    name: str
    arguments: str
    signature: str | None = None
    cache: Json = None
    provider: str | None = None
    custom: bool = False


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool answered: blocks, and whether it failed."""

    call_id: str
    content: tuple[Block, ...]
    is_error: bool = False
    cache: Json = None


class Image(msgspec.Struct, frozen=True):
    """An image by URL, as base64 with its media type, or by a provider's file id; `detail` is OpenAI's."""

    url: str | None = None
    media_type: str | None = None
    data: str | None = None
    detail: str | None = None
    cache: Json = None
    file_id: str | None = None


class Document(msgspec.Struct, frozen=True):
    """A file: base64, a URL, a provider's file id, plain text, or `content` in texts and images.

    `context` is what the caller says about it, beside its `name`; `citations` a provider's setting for citing it.
    """

    data: str | None = None
    media_type: str | None = None
    url: str | None = None
    file_id: str | None = None
    text: str | None = None
    name: str | None = None
    cache: Json = None
    content: tuple[Text | Image, ...] = ()
    context: str | None = None
    citations: Json = None


class Audio(msgspec.Struct, frozen=True):
    """Audio as base64 with its format ("wav", "mp3")."""

    data: str
    format: str


class Refusal(msgspec.Struct, frozen=True):
    """A model's refusal, kept apart from its text."""

    text: str


class Opaque(msgspec.Struct, frozen=True):
    """A block that only one provider knows; goes back to that provider verbatim, and to no other."""

    provider: str
    value: Json


Block = Text | Thinking | RedactedThinking | ToolCall | ToolResult | Image | Document | Audio | Refusal | Opaque


class Message(msgspec.Struct, frozen=True):
    """One turn; `role` is system, user or assistant (tool results are blocks of a user turn)."""

    role: str
    content: tuple[Block, ...]
    name: str | None = None


class Tool(msgspec.Struct, frozen=True):
    """A caller's function; `schema` is JSON Schema. `native` is a provider's own tool, passed as it came.

    A `custom` tool takes plain text; its `schema` is the text's format, where one is set.
    """

    name: str
    description: str | None = None
    schema: Json = None
    strict: bool | None = None
    cache: Json = None
    native: Json = None
    custom: bool = False


class ToolChoice(msgspec.Struct, frozen=True):
    """auto, none, required, or tool with its `name`."""

    mode: str
    name: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True):
    """text, json_object, or json_schema with its name and schema."""

    type: str
    name: str | None = None
    schema: Json = None
    strict: bool | None = None


class Conversation(msgspec.Struct, frozen=True):
    """A whole request in blocks. `extra` are fields of the caller that have no name here, as they came."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    n: int = 1
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    logit_bias: Json = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    thinking: Json = None  # a provider's own setting ({"type": "enabled", "budget_tokens": …})
    user: str | None = None
    metadata: Json = None
    service_tier: str | None = None
    extra: Mapping[str, Json] = {}


# -- an answer, event by event ------------------------------------------------------------------------------------


class Begin(msgspec.Struct, frozen=True, gc=False):
    """The answer's id and the model's own name, as the provider gave them."""

    id: str
    model: str
    created: int | None = None  # seconds since the epoch; None where the provider names none


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """More text of the answer."""

    text: str
    choice: int = 0


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    """More reasoning."""

    text: str
    choice: int = 0


class ThinkingEnd(msgspec.Struct, frozen=True, gc=False):
    """A reasoning block is whole; `signature` is the provider's over it, `redacted` its encrypted content instead."""

    signature: str | None = None
    redacted: str | None = None
    provider: str | None = None
    choice: int = 0
    id: str | None = None


class TextEnd(msgspec.Struct, frozen=True, gc=False):
    """A text block is whole; `signature` is the provider's over it. Where none comes, texts go on as one."""

    signature: str | None = None
    provider: str | None = None
    choice: int = 0


class ToolCallBegin(msgspec.Struct, frozen=True, gc=False):
    """A tool call begins; `index` counts the answer's tool calls from 0. The rest is as in `ToolCall`."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str | None = None
    provider: str | None = None
    custom: bool = False


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a tool call's arguments, as JSON text."""

    index: int
    arguments: str
    choice: int = 0


class RefusalDelta(msgspec.Struct, frozen=True, gc=False):
    """More of a refusal."""

    text: str
    choice: int = 0


class Citation(msgspec.Struct, frozen=True, gc=False):
    """A citation as the provider gave it."""

    value: Json
    choice: int = 0


class ImagePart(msgspec.Struct, frozen=True, gc=False):
    """An image that the model made: base64 and its media type."""

    media_type: str
    data: str
    choice: int = 0


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    """Log-probabilities of text tokens, each as OpenAI's chat writes them ({token, logprob, bytes, top_logprobs})."""

    content: tuple[Json, ...]
    choice: int = 0


class OpaqueBlock(msgspec.Struct, frozen=True, gc=False):
    """A whole block that only this provider knows (a server tool's call or result)."""

    provider: str
    value: Json
    choice: int = 0


class Embedded(msgspec.Struct, frozen=True, gc=False):
    """The vector of one input of an embedding request."""

    index: int
    vector: Sequence[float]
    choice: int = 0


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A choice is whole: `finish` in our words, `native` in the provider's."""

    finish: str
    native: str | None = None
    stop_sequence: str | None = None
    choice: int = 0


class Metered(msgspec.Struct, frozen=True, gc=False):
    """The answer's usage; the last one holds (streams repeat it cumulatively)."""

    usage: Usage


Event = (
    Begin
    | TextDelta
    | ThinkingDelta
    | ThinkingEnd
    | TextEnd
    | ToolCallBegin
    | ToolCallDelta
    | RefusalDelta
    | Citation
    | ImagePart
    | Logprobs
    | OpaqueBlock
    | Embedded
    | Finished
    | Metered
)

FINISHES: Final = ("stop", "length", "tool_calls", "content_filter")
