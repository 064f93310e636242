"""Reads a request to Anthropic's Messages into blocks; what it cannot read is refused with the field's name.

The system's blocks become a first message of that role; every other message keeps its place after it. Blocks that only
Anthropic knows (its server tools and their results, uploads to its containers) travel as `Opaque`.

Source: https://platform.claude.com/docs/en/api/messages (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._signatures import unwrap
from adapters.dialects._chat_fields import boolean, integer, number, object_of, objects, required, string, wrong
from adapters.dialects._messages_settings import effort_of, response_format, tool_choice, tools, unread
from gateway.core.blocks import (
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    Opaque,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest
from gateway.core.types import Call

PROVIDER: Final = "anthropic"

_UNSET: Final = -1  # what Anthropic takes for no `top_p` and no `top_k`, as recorded traffic shows

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


def conversation(call: Call) -> Conversation:
    """Returns the request in blocks; raises BadRequest whose `param` is the field's path (`messages.2.content.0`)."""
    try:
        body = _decode(call.body)
    except UNREADABLE:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    stop = body.get("stop_sequences") or []
    if not isinstance(stop, list) or not all(isinstance(item, str) for item in stop):
        raise wrong("stop_sequences", "a list of strings")
    choice, parallel = tool_choice(object_of(body, "tool_choice"))
    metadata = object_of(body, "metadata") or {}
    tier = string(body, "service_tier")
    return Conversation(
        messages=(*_system(body.get("system")), *_messages(body.get("messages"))),
        tools=tools(objects(body, "tools")),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        max_tokens=integer(body, "max_tokens"),
        temperature=number(body, "temperature", 0.0, 1.0),
        top_p=None if body.get("top_p") == _UNSET else number(body, "top_p", 0.0, 1.0),
        top_k=None if body.get("top_k") == _UNSET else integer(body, "top_k"),
        stop=tuple(stop),
        response_format=response_format(body),
        reasoning_effort=effort_of(body),
        thinking=object_of(body, "thinking"),
        user=string(metadata, "user_id", "metadata"),
        service_tier="default" if tier == "standard_only" else tier,
        extra=unread(body),
    )


# -- messages -----------------------------------------------------------------------------------------------------


def _system(value: Json) -> tuple[Message, ...]:
    if value is None or value == "":
        return ()
    return (Message("system", _content(value, "system", "system")),)


def _messages(value: Json) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise wrong("messages", "a list of at least one message")
    messages = []
    for index, message in enumerate(value):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            raise wrong(where, "an object")
        role = message.get("role")
        if role not in ("user", "assistant", "system"):
            raise wrong(f"{where}.role", "user or assistant")
        messages.append(Message(role, _content(message.get("content"), f"{where}.content", role)))
    return tuple(messages)


def _content(value: Json, where: str, role: str) -> tuple[Block, ...]:
    return tuple(block for _, block in placed(value, where, role))


def placed(value: Json, where: str, role: str) -> list[tuple[str, Block]]:
    """Reads content into blocks, each with its place."""
    if isinstance(value, str):
        return [(where, Text(value))]
    if not isinstance(value, list):
        raise wrong(where, "a string or a list of blocks")
    blocks: list[tuple[str, Block]] = []
    for index, block in enumerate(value):
        field = f"{where}.{index}"
        if not isinstance(block, dict):
            raise wrong(field, "an object")
        read = _block(block, field, role)
        place, before = blocks[-1] if blocks else ("", None)
        if isinstance(read, Thinking) and read.id == OF_TEXT and isinstance(before, Text):
            signed = msgspec.structs.replace(before, signature=read.signature, provider=read.provider)
            blocks[-1] = (place, signed)
        else:
            blocks.append((field, read))
    return blocks


# -- blocks -------------------------------------------------------------------------------------------------------

# The ids under which the writer frames what has no place in the wire: a signature over the text before, and a block of
# another provider.
OF_TEXT: Final = "text"
OF_BLOCK: Final = "block"


def _block(block: Mapping[str, Json], where: str, role: str) -> Block:
    kind = required(block, "type", where)
    if kind == "text":
        citations = tuple(objects(block, "citations", where))
        return Text(required(block, "text", where), block.get("cache_control"), citations)
    if kind == "image" and role != "assistant":
        return _image(block, where)
    if kind == "document" and role != "assistant":
        return _document(block, where)
    if kind == "tool_result" and role == "user":
        return _result(block, where)
    if role == "assistant":
        if kind == "tool_use":
            return _tool_call(block, where)
        if kind == "thinking":
            return _thinking(block, where)
        if kind == "redacted_thinking":
            return _redacted(required(block, "data", where))
    elif kind in ("thinking", "redacted_thinking", "tool_use"):
        raise BadRequest(f"{where}: a block of type {kind} is the assistant's", param=where)
    return Opaque(PROVIDER, dict(block))


def _source(block: Mapping[str, Json], where: str) -> tuple[Mapping[str, Json], str, str]:
    field = f"{where}.source"
    source = object_of(block, "source", where)
    if source is None:
        raise wrong(field, "an object")
    return source, field, required(source, "type", field)


def _image(block: Mapping[str, Json], where: str) -> Image:
    source, field, kind = _source(block, where)
    cache = block.get("cache_control")
    if kind == "base64":
        return Image(
            media_type=required(source, "media_type", field), data=required(source, "data", field), cache=cache
        )
    if kind == "url":
        return Image(url=required(source, "url", field), cache=cache)
    if kind == "file":
        return Image(file_id=required(source, "file_id", field), cache=cache)
    raise wrong(f"{field}.type", "base64, url or file")


def _document(block: Mapping[str, Json], where: str) -> Document:
    source, field, kind = _source(block, where)
    told = Document(
        name=string(block, "title", where),
        cache=block.get("cache_control"),
        context=string(block, "context", where),
        citations=object_of(block, "citations", where),
    )
    replace = msgspec.structs.replace
    if kind == "base64":
        media_type = string(source, "media_type", field) or "application/pdf"
        return replace(told, data=required(source, "data", field), media_type=media_type)
    if kind == "url":
        return replace(told, url=required(source, "url", field))
    if kind == "text":
        return replace(told, text=required(source, "data", field))
    if kind == "file":
        return replace(told, file_id=required(source, "file_id", field))
    if kind == "content":
        parts = _content(source.get("content"), f"{field}.content", "user")
        return replace(told, content=tuple(part for part in parts if isinstance(part, Text | Image)))
    raise wrong(f"{field}.type", "base64, url, text, file or content")


def _result(block: Mapping[str, Json], where: str) -> ToolResult:
    content = block.get("content")
    return ToolResult(
        unwrap(required(block, "tool_use_id", where))[0],
        () if content is None else _content(content, f"{where}.content", "tool"),
        boolean(block, "is_error", where) or False,
        block.get("cache_control"),
    )


def _tool_call(block: Mapping[str, Json], where: str) -> ToolCall:
    given = object_of(block, "input", where)
    call_id, signature, provider = unwrap(required(block, "id", where))
    return ToolCall(
        call_id,
        required(block, "name", where),
        _encode({} if given is None else given).decode(),
        signature,
        block.get("cache_control"),
        provider,
    )


def _thinking(block: Mapping[str, Json], where: str) -> Thinking:
    """Reads reasoning; a signature that we framed is another provider's, and its id that of the provider's item."""
    text = string(block, "thinking", where) or ""
    given = string(block, "signature", where)
    if not given:
        return Thinking(text)
    name, signature, provider = unwrap(given)
    if signature is None:
        return Thinking(text, given, PROVIDER)
    return Thinking(text, signature or None, provider, name or None)


def _redacted(given: str) -> Block:
    name, data, provider = unwrap(given)
    if data is None:
        return RedactedThinking(given, PROVIDER)
    if name == OF_BLOCK and provider is not None:
        try:
            return Opaque(provider, _decode(data))
        except UNREADABLE:
            pass
    return RedactedThinking(data, provider)
