"""Reads the input items of a Responses request into turns; what cannot be read is refused with the item's path.

Items that the assistant made one after the other (reasoning, a message, calls) are one turn, as a provider's wire has
them. Items of OpenAI's own tools are blocks of OpenAI's: they go back to it, and to no other provider.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._signatures import unwrap
from adapters.dialects._callers_words import Turn
from adapters.dialects._chat_fields import boolean, data_url, objects, required, string, wrong
from adapters.dialects._responses_seal import BlockSeal, RedactedSeal, TextSeal, unseal
from gateway.core.blocks import (
    Audio,
    Block,
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

PROVIDER: Final = "openai"  # whose the items are that have no name here

_BREAKPOINT: Final = {"type": "ephemeral"}
_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "system": frozenset({"input_text", "output_text"}),
    "user": frozenset({"input_text", "input_image", "input_file", "input_audio"}),
    "assistant": frozenset({"output_text", "refusal", "input_text"}),
}
# Items of OpenAI's own tools that the caller writes: what a computer, a shell or a person has answered.
_CALLERS: Final = ("_output", "_response")


def messages(instructions: str | None, given: Json) -> tuple[Message, ...]:
    """Returns the turns; `instructions` are a system turn before them."""
    return tuple(_read(instructions, given).turns)


def places(instructions: str | None, given: Json) -> list[Turn]:
    """Returns where each turn and its blocks stand."""
    return [
        Turn(blocks[-1].partition(".content")[0], tuple(blocks), "output")
        for blocks in _read(instructions, given).places
    ]


def _read(instructions: str | None, given: Json) -> _Reader:
    reader = _Reader()
    if instructions is not None:
        reader.add("system", (Text(instructions),), "instructions")
    if isinstance(given, str):
        reader.add("user", (Text(given),), "input")
    elif isinstance(given, list) and given:
        for index, item in enumerate(given):
            if not isinstance(item, dict):
                raise wrong(f"input.{index}", "an object")
            reader.read(item, f"input.{index}")
    else:
        raise wrong("input", "a text or a list of at least one item")
    return reader


class _Reader:
    """Gathers turns."""

    def __init__(self) -> None:
        self.turns: list[Message] = []
        self.places: list[list[str]] = []  # of the blocks of each turn

    def add(self, role: str, blocks: tuple[Block, ...], *places: str) -> None:
        """Adds blocks, to the assistant's turn where that goes on; an item that says nothing is no turn.

        `places` are where they stand.
        """
        last = self.turns[-1] if self.turns else None
        if not blocks:
            return
        if role == "assistant" and last is not None and last.role == role:
            self.turns[-1] = Message(role, (*last.content, *blocks))
            self.places[-1] += places
        else:
            self.turns.append(Message(role, blocks))
            self.places.append([*places])

    def read(self, item: dict[str, Json], where: str) -> None:
        """Reads one item."""
        kind = item.get("type") or "message"
        if kind == "message":
            self._message(item, where)
        elif kind == "function_call":
            self._call(item, required(item, "arguments", where), where, custom=False)
        elif kind == "custom_tool_call":
            self._call(item, required(item, "input", where), where, custom=True)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item, where)
        elif kind == "reasoning":
            self._reasoning(item, where)
        elif kind == "item_reference":
            raise BadRequest(
                f"{where} names an item that this deployment's provider does not keep: send the item itself, "
                "and store: false",
                param=f"{where}.id",
            )
        elif isinstance(kind, str):
            self.add("user" if kind.endswith(_CALLERS) else "assistant", (Opaque(PROVIDER, item),), where)
        else:
            raise wrong(f"{where}.type", "a string")

    def _message(self, item: Mapping[str, Json], where: str) -> None:
        role = item.get("role")
        if role == "developer":
            role = "system"
        if not isinstance(role, str) or role not in _PARTS:
            raise wrong(f"{where}.role", "one of system, developer, user, assistant")
        given, field = item.get("content"), f"{where}.content"
        blocks = _content(given, field, _PARTS[role])
        self.add(role, blocks, *([field] if isinstance(given, str) else [f"{field}.{n}" for n in range(len(blocks))]))

    def _call(self, item: Mapping[str, Json], arguments: str, where: str, custom: bool) -> None:
        call_id, signature, provider = unwrap(required(item, "call_id", where))
        self.add(
            "assistant",
            (
                ToolCall(
                    call_id,
                    required(item, "name", where),
                    arguments,
                    signature=signature,
                    cache=item.get("cache_control"),
                    provider=provider,
                    custom=custom,
                ),
            ),
            where,
        )

    def _output(self, item: Mapping[str, Json], where: str) -> None:
        content = _content(item.get("output"), f"{where}.output", _PARTS["user"])
        failed = boolean(item, "is_error", where) or False
        result = ToolResult(unwrap(required(item, "call_id", where))[0], content, failed, item.get("cache_control"))
        self.add("user", (result,), where)

    def _reasoning(self, item: Mapping[str, Json], where: str) -> None:
        text = _texts(item, "content", where) or _texts(item, "summary", where)
        encrypted = string(item, "encrypted_content", where)
        name = string(item, "id", where)
        if encrypted is None:
            self.add("assistant", (Thinking(text, id=name),) if text else (), where)
            return
        sealed = unseal(encrypted, f"{where}.encrypted_content")
        if sealed is None:
            self.add("assistant", (Thinking(text, encrypted, PROVIDER, name),), where)
        elif isinstance(sealed, TextSeal):
            self._sign_text(sealed)
        elif isinstance(sealed, RedactedSeal):
            self.add("assistant", (RedactedThinking(sealed.data, sealed.provider),), where)
        elif isinstance(sealed, BlockSeal):
            self.add("assistant", (Opaque(sealed.provider, sealed.value),), where)
        else:
            self.add("assistant", (Thinking(text, sealed.signature, sealed.provider, sealed.id),), where)

    def _sign_text(self, sealed: TextSeal) -> None:
        """Puts a signature back on the text that it was given with; without that it signs nothing."""
        last = self.turns[-1] if self.turns else None
        if last is not None and last.role == "assistant" and isinstance(text := last.content[-1], Text):
            signed = msgspec.structs.replace(text, signature=sealed.signature, provider=sealed.provider)
            self.turns[-1] = Message(last.role, (*last.content[:-1], signed))


def _texts(item: Mapping[str, Json], name: str, where: str) -> str:
    parts = [string(part, "text", f"{where}.{name}") for part in objects(item, name, where)]
    return "\n\n".join(part for part in parts if part)


# -- parts ---------------------------------------------------------------------------------------------------------


def _content(content: Json, field: str, kinds: frozenset[str]) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if not isinstance(content, list):
        raise wrong(field, "a string or a list of parts")
    blocks = []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong(f"{field}.{index}", "an object")
        blocks.append(_part(part, f"{field}.{index}", kinds))
    return tuple(blocks)


def _part(part: Mapping[str, Json], where: str, kinds: frozenset[str]) -> Block:
    kind = part.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise wrong(f"{where}.type", f"one of {', '.join(sorted(kinds))} in an item of this kind")
    cache = part.get("cache_control")
    if cache is None and part.get("prompt_cache_breakpoint") is not None:
        cache = _BREAKPOINT
    if kind == "input_text":
        return Text(required(part, "text", where), cache)
    if kind == "output_text":
        return Text(required(part, "text", where), cache, tuple(objects(part, "annotations", where)))
    if kind == "refusal":
        return Refusal(required(part, "refusal", where))
    if kind == "input_image":
        return _image(part, where, cache)
    if kind == "input_file":
        return _file(part, where, cache)
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise wrong(f"{where}.input_audio", "an object")
    return Audio(required(audio, "data", f"{where}.input_audio"), required(audio, "format", f"{where}.input_audio"))


def _image(part: Mapping[str, Json], where: str, cache: Json) -> Block:
    detail = string(part, "detail", where)
    url = string(part, "image_url", where)
    if url is None:
        return Image(file_id=required(part, "file_id", where), detail=detail, cache=cache)
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, cache=cache)
    media_type, data = data_url(url, f"{where}.image_url")
    return Image(media_type=media_type, data=data, detail=detail, cache=cache)


def _file(part: Mapping[str, Json], where: str, cache: Json) -> Block:
    name = string(part, "filename", where)
    data = string(part, "file_data", where)
    if data is not None:
        media_type = None
        if data.startswith("data:"):
            media_type, data = data_url(data, f"{where}.file_data")
        return Document(data=data, media_type=media_type or None, name=name, cache=cache)
    url = string(part, "file_url", where)
    if url is not None:
        return Document(url=url, name=name, cache=cache)
    file_id = string(part, "file_id", where)
    if file_id is None:
        raise BadRequest(f"{where} must have file_data, file_url or file_id", param=where)
    return Document(file_id=file_id, name=name, cache=cache)
