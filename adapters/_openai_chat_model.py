"""A chat answer or chunk as far as a translation reads it, and a loose reading for those whose types are odd."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from adapters._blocks import UNREADABLE
from adapters._openai_chunk import read_loosely
from gateway.core.blocks import Json

_NONE: Final = msgspec.Raw(b"")


class Function(msgspec.Struct, gc=False):
    """A call's function; some servers give the arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, Json] | None = None


class Custom(msgspec.Struct, gc=False):
    """A call of a tool that takes plain text."""

    name: str | None = None
    input: str | None = None


class CallPart(msgspec.Struct, gc=False):
    """A tool call, or a piece of one. Mistral leaves `type` out at times, Writer says `index: null`."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None


class Part(msgspec.Struct, gc=False):
    """A message or a delta."""

    content: str | list[Json] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Json]] | None = None
    refusal: str | None = None
    tool_calls: list[CallPart] | None = None
    function_call: Function | None = None
    annotations: list[Json] | None = None
    audio: dict[str, Json] | None = None
    images: list[Json] | None = None


class Odds(msgspec.Struct, gc=False):
    """Log-probabilities of a choice's tokens."""

    content: list[Json] | None = None


class Choice(msgspec.Struct, gc=False):
    """One choice of a chunk (`delta`) or an answer (`message`); a chunk with both says the news in its delta."""

    index: int | None = 0
    finish_reason: str | None = None
    delta: Part | None = None
    message: Part | None = None
    logprobs: Odds | None = None


class Answer(msgspec.Struct, gc=False):
    """A chunk, or a whole answer. `citations` and `search_results` are Perplexity's."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = _NONE
    x_groq: msgspec.Raw = _NONE
    error: msgspec.Raw = _NONE
    citations: list[Json] | None = None
    search_results: list[Json] | None = None


_decode: Final = msgspec.json.Decoder(Answer).decode


def read(document: bytes) -> Answer | None:
    """Reads a document; what has odd types counts as absent, None where it is no JSON object at all."""
    try:
        return _decode(document)
    except UNREADABLE:
        loose = read_loosely(document)
        return None if loose is None else _answer(_readable(loose))


def _readable(value: Json) -> Json:
    """Returns a value in which halves of surrogate pairs, which no encoder writes, are question marks."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_readable(name): _readable(member) for name, member in value.items()}
    return [_readable(member) for member in value] if isinstance(value, list) else value


def _answer(loose: Mapping[str, Json]) -> Answer:
    answer = Answer()
    _fill(answer, loose, "id", "model", "created", "citations", "search_results")
    choices = loose.get("choices")
    answer.choices = [_choice(one) for one in choices if isinstance(one, dict)] if isinstance(choices, list) else None
    for name in ("usage", "error", "x_groq"):
        try:
            setattr(answer, name, msgspec.Raw(msgspec.json.encode(loose[name])))
        except (KeyError, ValueError, UnicodeEncodeError):
            continue
    return answer


def _choice(loose: Mapping[str, Json]) -> Choice:
    choice = Choice()
    _fill(choice, loose, "index", "finish_reason", "logprobs")
    for name in ("delta", "message"):
        part = loose.get(name)
        if isinstance(part, dict):
            read_part = Part()
            _fill(read_part, part, *Part.__struct_fields__)
            setattr(choice, name, read_part)
    return choice


def _fill(struct: msgspec.Struct, loose: Mapping[str, Json], *names: str) -> None:
    """Sets the fields that can be read as what they should be."""
    fields = {field.name: field.type for field in msgspec.structs.fields(type(struct))}
    for name in names:
        if name in loose:
            try:
                setattr(struct, name, msgspec.convert(loose[name], fields[name], strict=False))
            except (msgspec.ValidationError, ValueError):
                continue
