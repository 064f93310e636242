"""Reads an OpenAI chat request into blocks; what it cannot read is refused with the field's name.

`Conversation.messages` has one turn for each message of the caller, so that an adapter can name `messages.3` in an
error of its own. Fields beyond OpenAI's that carry a provider's things back (`cache_control`, `thinking_blocks`,
`provider_blocks`, `reasoning_content`, `reasoning_details`, `images`, `extra_content`, `is_error`, `thinking`, `top_k`)
are the ones the chat writer writes, or that the field's clients already send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._openai_reasoning import read_details
from adapters._signatures import unwrap
from adapters.dialects._chat_fields import (
    boolean,
    data_url,
    integer,
    number,
    object_of,
    objects,
    required,
    string,
    wrong,
)
from adapters.dialects._chat_signatures import signature_in
from adapters.dialects._chat_tools import response_format, tool_choice, tools
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Json,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from gateway.core.errors import BadRequest
from gateway.core.types import Call

_decode: Final = msgspec.json.Decoder().decode

_NAMED: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "messages",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "n",
        "stop",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "reasoning_effort",
        "thinking",
        "user",
        "metadata",
        "service_tier",
    }
)


def conversation(call: Call) -> Conversation:
    """Returns the request in blocks; raises BadRequest whose `param` is the field's path (`messages.2.content.0`)."""
    try:
        body = _decode(call.body)
    except UNREADABLE:
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    effort, summary = _effort(body.get("reasoning_effort"))
    extra = {name: value for name, value in body.items() if name not in _NAMED and value is not None}
    if extra.get("store") is False:  # the others keep nothing: it is done, not lost
        del extra["store"]
    if summary is not None:
        extra["reasoning_effort.summary"] = summary
    limit = integer(body, "max_completion_tokens")
    n = integer(body, "n")
    return Conversation(
        messages=_messages(body.get("messages")),
        tools=tools(body),
        tool_choice=tool_choice(body),
        parallel_tool_calls=boolean(body, "parallel_tool_calls"),
        max_tokens=limit if limit is not None else integer(body, "max_tokens"),
        temperature=number(body, "temperature", 0.0, 2.0),
        top_p=number(body, "top_p", 0.0, 1.0),
        top_k=integer(body, "top_k"),
        n=1 if n is None else n,
        stop=_stop(body.get("stop")),
        seed=integer(body, "seed"),
        frequency_penalty=number(body, "frequency_penalty", -2.0, 2.0),
        presence_penalty=number(body, "presence_penalty", -2.0, 2.0),
        logprobs=boolean(body, "logprobs") or False,
        top_logprobs=integer(body, "top_logprobs"),
        logit_bias=object_of(body, "logit_bias"),
        response_format=response_format(object_of(body, "response_format")),
        reasoning_effort=effort,
        thinking=object_of(body, "thinking"),
        user=string(body, "user"),
        metadata=object_of(body, "metadata"),
        service_tier=string(body, "service_tier"),
        extra=extra,
    )


def _stop(value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong("stop", "a string or a list of strings")
    return tuple(value)


def _effort(value: Json) -> tuple[str | None, str | None]:
    """Returns the effort and the wanted summary; some clients send both in one object."""
    if value is None or isinstance(value, str):
        return value, None
    if not isinstance(value, dict):
        raise wrong("reasoning_effort", "a string")
    return string(value, "effort", "reasoning_effort"), string(value, "summary", "reasoning_effort")


# -- messages -----------------------------------------------------------------------------------------------------


def _messages(value: Json) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise wrong("messages", "a list of at least one message")
    functions: dict[str, str] = {}  # the deprecated form has no ids: a function's name -> the id of its last call
    messages = []
    for index, message in enumerate(value):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            raise wrong(where, "an object")
        role = message.get("role")
        name = None
        if role == "user":
            blocks = _content(message, where, "user")
            name = string(message, "name", where)
        elif role == "assistant":
            blocks = _assistant(message, where, index, functions)
            name = string(message, "name", where)
        elif role in ("system", "developer"):
            blocks = _content(message, where, "system")
            role = "system"
        elif role == "tool":
            blocks = (_result(message, where, required(message, "tool_call_id", where)),)
            role = "user"
        elif role == "function":
            called = functions.pop(required(message, "name", where), None)
            if called is None:
                raise BadRequest(f"{where}.name answers no function_call before it", param=f"{where}.name")
            blocks = (_result(message, where, called),)
            role = "user"
        else:
            raise wrong(f"{where}.role", "one of system, developer, user, assistant, tool, function")
        marker = message.get("cache_control")
        if marker is not None and blocks and hasattr(blocks[-1], "cache"):
            blocks = (*blocks[:-1], msgspec.structs.replace(blocks[-1], cache=marker))
        messages.append(Message(role, blocks, name))
    return tuple(messages)


def _content(message: Mapping[str, Json], where: str, role: str) -> tuple[Block, ...]:
    """Reads `content`; `role` says which parts may stand there."""
    content = message.get("content")
    if isinstance(content, str):
        return (Text(content),)
    field = f"{where}.content"
    if content is None and role == "assistant":
        return ()
    if not isinstance(content, list):
        raise wrong(field, "a string or a list of parts")
    blocks = []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong(f"{field}.{index}", "an object")
        blocks.append(_part(part, f"{field}.{index}", role))
    return tuple(blocks)


_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image_url", "input_audio", "file"}),
    "assistant": frozenset({"text", "refusal", "thinking", "redacted_thinking"}),
    "tool": frozenset({"text", "image_url", "file"}),
}


def _part(part: Mapping[str, Json], where: str, role: str) -> Block:
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in _PARTS[role]:
        raise wrong(f"{where}.type", f"one of {', '.join(sorted(_PARTS[role]))} in a message of this role")
    if kind == "text":
        return Text(required(part, "text", where), part.get("cache_control"))
    if kind == "image_url":
        return _image(part, where)
    if kind == "file":
        return _file(part, where)
    if kind == "refusal":
        return Refusal(required(part, "refusal", where))
    if kind == "input_audio":
        audio = object_of(part, "input_audio", where) or {}
        inner = f"{where}.input_audio"
        return Audio(required(audio, "data", inner), required(audio, "format", inner))
    return _thinking(part, where)


def _image(part: Mapping[str, Json], where: str) -> Image:
    image = part.get("image_url")
    field = f"{where}.image_url"
    if isinstance(image, str):
        image = {"url": image}
    elif not isinstance(image, dict):
        raise wrong(field, "an object")
    url = required(image, "url", field)
    detail = string(image, "detail", field)
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, cache=part.get("cache_control"))
    media_type, data = data_url(url, f"{field}.url")
    return Image(media_type=media_type, data=data, detail=detail, cache=part.get("cache_control"))


def _file(part: Mapping[str, Json], where: str) -> Block:
    file = object_of(part, "file", where) or {}
    field = f"{where}.file"
    cache = part.get("cache_control")
    name = string(file, "filename", field)
    data = string(file, "file_data", field)
    if data is not None:
        media_type = string(file, "format", field)
        if data.startswith("data:"):
            media_type, data = data_url(data, f"{field}.file_data")
        elif data.startswith("https://"):
            return Document(url=data, name=name, cache=cache)
        return Document(data=data, media_type=media_type or None, name=name, cache=cache)
    file_id = string(file, "file_id", field)
    if file_id is None:
        raise BadRequest(f"{field} must have file_data or file_id", param=field)
    return Document(file_id=file_id, name=name, cache=cache)


def _result(message: Mapping[str, Json], where: str, call_id: str) -> ToolResult:
    return ToolResult(
        unwrap(call_id)[0], _content(message, where, "tool"), boolean(message, "is_error", where) or False
    )


# -- the assistant's turn -----------------------------------------------------------------------------------------


def _assistant(message: Mapping[str, Json], where: str, index: int, functions: dict[str, str]) -> tuple[Block, ...]:
    if message.get("audio") is not None:
        raise BadRequest(f"{where}.audio refers to audio that only its own provider keeps", param=f"{where}.audio")
    blocks: list[Block] = _interleaved(message, where)
    refusal = string(message, "refusal", where)
    if refusal:
        blocks.append(Refusal(refusal))
    for place, part in enumerate(objects(message, "images", where)):
        blocks.append(_image(part, f"{where}.images.{place}"))
    for place, call in enumerate(objects(message, "tool_calls", where)):
        field = f"{where}.tool_calls.{place}"
        kind = call.get("type", "function")
        if kind not in ("function", "custom"):
            raise wrong(f"{field}.type", "function or custom")
        call_id, signature, provider = unwrap(required(call, "id", field))
        if signature is None:
            signature, provider = signature_in(call)
        called = _tool_call(call.get(kind), f"{field}.{kind}", call_id, custom=kind == "custom")
        marker = call.get("cache_control")
        blocks.append(msgspec.structs.replace(called, signature=signature, provider=provider, cache=marker))
    function_call = message.get("function_call")
    if function_call is not None:
        called = _tool_call(function_call, f"{where}.function_call", f"function_{index}")
        functions[called.name] = called.id
        blocks.append(called)
    return tuple(blocks)


def _tool_call(called: Json, where: str, call_id: str, custom: bool = False) -> ToolCall:
    if not isinstance(called, dict):
        raise wrong(where, "an object")
    words = string(called, "input" if custom else "arguments", where) or ""
    return ToolCall(call_id, required(called, "name", where), words, custom=custom)


def _interleaved(message: Mapping[str, Json], where: str) -> list[Block]:
    """Puts reasoning and a provider's own blocks back between the pieces of text that they stood between.

    `offset` counts the characters of `content` before a block; `thinking_before` the reasoning blocks before one of
    `provider_blocks`. Both are written by the chat writer, and are 0 where a client leaves them out.
    """
    content = _content(message, where, "assistant")
    placed: list[tuple[int, Block]] = []
    for place, part in enumerate(objects(message, "thinking_blocks", where)):
        placed.append((_count(part, "offset"), _thinking(part, f"{where}.thinking_blocks.{place}")))
    if not placed:
        placed = [(0, block) for block in read_details(objects(message, "reasoning_details", where))]
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not placed and isinstance(reasoning, str) and reasoning:
        placed.append((0, Thinking(reasoning)))
    for place, part in enumerate(objects(message, "provider_blocks", where)):
        field = f"{where}.provider_blocks.{place}"
        own = Opaque(required(part, "provider", field), object_of(part, "block", field) or {})
        placed.insert(_count(part, "thinking_before") + place, (_count(part, "offset"), own))
    whole = content[0] if len(content) == 1 else None
    if not isinstance(whole, Text):
        return [block for _, block in placed] + list(content)
    blocks: list[Block] = []
    done = 0
    for offset, block in placed:
        if offset > done:
            blocks.append(Text(whole.text[done:offset]))
            done = offset
        blocks.append(block)
    signature, signed_by = signature_in(message)
    blocks.append(Text(whole.text[done:], whole.cache, signature=signature, provider=signed_by))
    return blocks


def _count(part: Mapping[str, Json], name: str) -> int:
    value = part.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _thinking(part: Mapping[str, Json], where: str) -> Block:
    provider = string(part, "provider", where)
    if part.get("type") == "redacted_thinking":
        return RedactedThinking(required(part, "data", where), provider)
    if part.get("type") != "thinking":
        raise wrong(f"{where}.type", "thinking or redacted_thinking")
    text, signature = string(part, "thinking", where) or "", string(part, "signature", where)
    return Thinking(text, signature, provider, string(part, "id", where))
