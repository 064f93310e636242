"""A kept answer in the other form: a stream's chunks merged to one answer, an answer told again as a stream.

Unknown fields survive both ways, by rules that hold for any of them: text is joined, lists are joined by `index` where
their items have one, objects are merged, everything else is replaced by what came later. `json` of the standard library
reads and writes here, because a provider's answer may hold what stricter readers refuse (NaN, lone surrogates).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from adapters import _sse
from adapters.dialects._chat_write import usage_object
from gateway.core.blocks import Json
from gateway.core.money import Usage
from gateway.core.types import Call

DONE: Final = b"data: [DONE]\n\n"


class Form(msgspec.Struct, frozen=True):
    """How an endpoint names its answers and chunks, and whether a choice holds its text itself or in a message."""

    answer: str
    chunk: str
    messages: bool


CHAT: Final = Form("chat.completion", "chat.completion.chunk", messages=True)
COMPLETIONS: Final = Form("text_completion", "text_completion", messages=False)

# Strings that grow from chunk to chunk; every other string is whole each time.
_TEXTS: Final = frozenset(
    {"content", "text", "reasoning", "reasoning_content", "thinking", "refusal", "summary"}
    | {"arguments", "input", "data", "transcript"}
)
# Lists whose items have an `index` in chunks alone; others (OpenRouter's reasoning_details, Groq's executed_tools)
# keep theirs in whole answers.
_NUMBERED_IN_CHUNKS: Final = frozenset(
    {"tool_calls", "annotations", "citations", "thinking_blocks", "provider_blocks", "images"}
)
_ON_EVERY_CHUNK: Final = ("id", "created", "model", "service_tier", "system_fingerprint")
_OF_CHUNKS_ALONE: Final = frozenset({"choices", "usage", "object", "obfuscation"})


def replay(form: Form, body: bytes, streamed: bool, call: Call, usage: Usage | None) -> bytes:
    """Rewrites a kept answer as `call` asks for it: streamed or whole, with the usage chunk or without.

    `usage` is shown where it is asked for and the answer was kept without: its first caller had not asked.
    """
    if not streamed:
        return _told(form, json.loads(body), call.include_usage) if call.stream else body
    if not call.stream:
        answer = _merged(form, _chunks(body))
        if usage is not None:
            answer.setdefault("usage", usage_object(usage))
        return _dumps(answer)
    if not call.include_usage:
        return _without_usage(body)
    return body if usage is None else _with_usage(form, body, usage)


def _dumps(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _event(chunk: Mapping[str, Json]) -> bytes:
    return b"data: " + _dumps(chunk) + b"\n\n"


def _chunks(stream: bytes) -> Iterator[dict[str, Json]]:
    for block in _sse.blocks(stream):
        data = _sse.read(block)[1]
        if data is not None and data.strip() != b"[DONE]":
            chunk = json.loads(data)
            if isinstance(chunk, dict):
                yield chunk


def _without_usage(stream: bytes) -> bytes:
    """Leaves out the chunk that holds usage and no choice."""
    kept = []
    for block in _sse.blocks(stream):
        data = _sse.read(block)[1]
        if data is not None and data.strip() != b"[DONE]":
            chunk = json.loads(data)
            if isinstance(chunk, dict) and chunk.get("usage") and not chunk.get("choices"):
                continue
        kept.append(block)
    return b"".join(kept)


def _with_usage(form: Form, stream: bytes, usage: Usage) -> bytes:
    """Puts a chunk with the usage before the sentinel, where no chunk holds any."""
    first: dict[str, Json] = {}
    for chunk in _chunks(stream):
        if chunk.get("usage"):
            return stream
        first = first or chunk
    head: dict[str, Json] = {name: first[name] for name in _ON_EVERY_CHUNK if name in first}
    told = _event({**head, "object": form.chunk, "choices": [], "usage": usage_object(usage)})
    return stream.removesuffix(DONE) + told + DONE


# -- a stream, merged ----------------------------------------------------------------------------------------------


def _merged(form: Form, chunks: Iterator[dict[str, Json]]) -> dict[str, Json]:
    answer: dict[str, Json] = {"id": "", "object": form.answer, "created": 0, "model": ""}
    choices: dict[int, dict[str, Json]] = {}
    usage: Json = None
    for chunk in chunks:
        for name, value in chunk.items():
            if name not in _OF_CHUNKS_ALONE and (value or name not in answer):
                answer[name] = value
        usage = chunk.get("usage") or usage
        for part in chunk.get("choices") or ():
            index = part.get("index") or 0
            choice = choices.setdefault(index, {"index": index, "logprobs": None, "finish_reason": None})
            _merge(choice, {name: value for name, value in part.items() if name not in ("index", "message")})
    answer["choices"] = [_whole(form, choices[index]) for index in sorted(choices)]
    if usage is not None:
        answer["usage"] = usage
    return answer


def _whole(form: Form, choice: dict[str, Json]) -> dict[str, Json]:
    """Turns a merged choice into that of a whole answer."""
    if not form.messages:
        return choice
    message = {"role": "assistant", "content": None, "refusal": None, **choice.pop("delta", {})}
    for name, value in message.items():
        if isinstance(value, list) and name in _NUMBERED_IN_CHUNKS:
            message[name] = [_unnumbered(item) for item in value]
    if message.get("tool_calls") and not message["content"]:
        message["content"] = None
    return {"index": choice.pop("index"), "message": message, **choice}


def _unnumbered(item: Json) -> Json:
    return {name: value for name, value in item.items() if name != "index"} if isinstance(item, dict) else item


def _merge(base: dict[str, Json], more: Mapping[str, Json]) -> None:
    for name, value in more.items():
        held = base.get(name)
        if value is None:
            base.setdefault(name, None)
        elif isinstance(value, list):
            base[name] = _joined(held, value)
        elif isinstance(held, list) and isinstance(value, str):  # Mistral: parts first, then bare text
            if value:
                held.append({"type": "text", "text": value})
        elif isinstance(held, dict) and isinstance(value, dict):
            _merge(held, value)
        elif isinstance(held, str) and isinstance(value, str) and name in _TEXTS:
            base[name] = held + value
        else:
            base[name] = value


def _joined(held: Json, more: list[Json]) -> list[Json]:
    """Joins two lists: items with an `index` grow in their place, others are appended; items of one list stay apart.

    Gemini's compatible wire gives every parallel tool call the index 0, so another id or type is another item.
    """
    joined: list[Json] = [{"type": "text", "text": held}] if isinstance(held, str) and held else []
    if isinstance(held, list):
        joined = held
    before = tuple(joined)
    for item in more:
        known = next((known for known in before if _same(known, item)), None)
        if known is None:
            joined.append(item)
        else:
            _merge(known, item)
    return joined


def _same(known: Json, item: Json) -> bool:
    if not (isinstance(known, dict) and isinstance(item, dict)) or item.get("index") is None:
        return False
    marks = [(item.get(name), known.get(name)) for name in ("id", "type")]
    return known.get("index") == item["index"] and all(not its or not held or its == held for its, held in marks)


# -- an answer, told as a stream -----------------------------------------------------------------------------------


def _told(form: Form, answer: dict[str, Json], include_usage: bool) -> bytes:
    head = {name: answer[name] for name in _ON_EVERY_CHUNK if answer.get(name) is not None}
    head["object"] = form.chunk
    tail: dict[str, Json] = {"usage": None} if include_usage else {}
    events = []
    once = {name: value for name, value in answer.items() if name not in head and name not in _OF_CHUNKS_ALONE}
    for choice in answer.get("choices") or ():
        pieces = _message_pieces(choice) if form.messages else _text_pieces(choice)
        for piece in pieces:
            part = {"index": choice.get("index") or 0, "logprobs": None, "finish_reason": None, **piece}
            events.append(_event({**head, **once, "choices": [part], **tail}))
            once = {}
    if include_usage and answer.get("usage") is not None:
        events.append(_event({**head, "choices": [], "usage": answer["usage"]}))
    events.append(DONE)
    return b"".join(events)


def _ending(choice: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in choice.items() if name not in ("message", "text", "logprobs", "index")}


def _text_pieces(choice: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    yield {"text": choice.get("text") or "", "logprobs": choice.get("logprobs")}
    yield {"text": "", **_ending(choice)}


def _message_pieces(choice: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    """Yields deltas: the role, reasoning, the rest of the message, tool calls begun and filled, the finish."""
    message = dict(choice.get("message") or {})
    calls = message.pop("tool_calls", None)
    nulls = {name: None for name in list(message) if message[name] is None}
    opening = {"content": "" if message.get("content") is not None else None, **nulls}
    yield {"delta": {"role": message.pop("role", None) or "assistant", **opening}}
    for name in ("reasoning", "reasoning_content"):
        if message.get(name):
            yield {"delta": {name: message.pop(name)}}
    said = {name: value for name, value in message.items() if value is not None and value != ""}
    if said or choice.get("logprobs"):
        yield {"delta": said, "logprobs": choice.get("logprobs")}
    for index, call in enumerate(calls or ()):
        filled = {name: value for name, value in call.items() if isinstance(value, dict)}
        begun = {name: {**value, **_emptied(value)} for name, value in filled.items()}
        yield {"delta": {"tool_calls": [{**call, **begun, "index": index}]}}
        rest = {name: {key: value[key] for key in _emptied(value)} for name, value in filled.items()}
        if any(rest.values()):
            yield {"delta": {"tool_calls": [{"index": index, **{name: part for name, part in rest.items() if part}}]}}
    yield {"delta": {}, **_ending(choice)}


def _emptied(function: Mapping[str, Json]) -> dict[str, Json]:
    """Returns the texts of a tool call that grow (`arguments`, a custom tool's `input`), empty."""
    return {name: "" for name in ("arguments", "input") if function.get(name)}
