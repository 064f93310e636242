"""Reads OpenAI's chat completions, as OpenAI, its imitators and Headgate write them; legacy completions too."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, Said, arguments, events, objects, unknown

WORDS = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "function_call": "tool_calls",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
}


def whole(raw: bytes) -> Reading:
    """Reads one completion."""
    reading = Reading(ended=True)
    body = json.loads(raw)
    reading.error = body.get("error")
    for place, choice in enumerate(body.get("choices") or []):
        said = reading.choice(choice.get("index", place))
        if "text" in choice:
            said.text = choice["text"] or ""
        message = choice.get("message") or {}
        _content(said, message)
        for call in message.get("tool_calls") or []:
            said.calls.append(_called(call))
        if message.get("function_call") and message["function_call"].get("name"):
            function = message["function_call"]
            said.calls.append(Called(function["name"], arguments(function.get("arguments"))))
        said.finish = _finish(choice.get("finish_reason"))
    reading.counts = counts(body.get("usage"))
    return reading


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads chunks; the answer has ended where every choice has finished."""
    reading = Reading()
    pieces: dict[int, dict[Any, dict[str, Any]]] = {}
    for event in events(raw, cut):
        if event.name == "error":
            reading.error = event.data
    for chunk in objects(raw, cut):
        reading.error = reading.error or chunk.get("error")
        usage = chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage")
        reading.counts = counts(usage) or reading.counts
        for place, choice in enumerate(chunk.get("choices") or []):
            index = choice.get("index", place) or 0
            said = reading.choice(index)
            delta = choice.get("delta") or {}
            if "text" in choice and not delta:  # Together's chat has both, and they say the same
                said.text += choice["text"] or ""
            _content(said, delta)
            calls = pieces.setdefault(index, {})
            for at, piece in enumerate(delta.get("tool_calls") or []):
                key = piece.get("index")
                if key is None:
                    key = piece.get("id") or at  # Mistral's, which come whole
                _merge(calls.setdefault(key, {}), piece)
            if delta.get("function_call"):
                _merge(calls.setdefault("function", {}), {"function": delta["function_call"]})
            if choice.get("finish_reason"):
                said.finish = _finish(choice["finish_reason"])
    for index, calls in pieces.items():
        reading.choice(index).calls = [_called(call) for call in calls.values()]
    reading.ended = reading.finished
    return reading


def _merge(call: dict[str, Any], piece: dict[str, Any]) -> None:
    for kind in ("function", "custom"):
        for name, value in (piece.get(kind) or {}).items():
            if isinstance(value, str):
                call.setdefault(kind, {})
                call[kind][name] = call[kind].get(name, "") + value
            elif value is not None and name == "arguments":
                call.setdefault(kind, {})[name] = value


def _called(call: dict[str, Any]) -> Called:
    if (call.get("custom") or {}).get("name"):
        return Called(call["custom"]["name"], call["custom"].get("input", ""))
    function = call.get("function") or {}
    return Called(function.get("name", ""), arguments(function.get("arguments")))


def _content(said: Said, message: dict[str, Any]) -> None:
    content = message.get("content")
    if isinstance(content, str):
        said.text += content
    for part in content if isinstance(content, list) else []:
        if part.get("type") == "text":
            said.text += part.get("text") or ""
        elif part.get("type") == "thinking":
            thinking = part.get("thinking") or []
            said.reasoning += (
                thinking if isinstance(thinking, str) else "".join(each.get("text") or "" for each in thinking)
            )
    said.reasoning += message.get("reasoning_content") or message.get("reasoning") or _details(message)
    said.refusal += message.get("refusal") or ""
    for block in message.get("thinking_blocks") or []:
        if signature := block.get("signature") or block.get("data"):
            said.signatures.append(signature)
    for block in message.get("provider_blocks") or []:
        said.opaque.append(str(block["block"].get("type")))
    audio = message.get("audio") or {}
    said.audio += audio.get("data") or ""
    said.transcript += audio.get("transcript") or ""
    for image in message.get("images") or []:
        said.images.append(image["image_url"]["url"].partition("base64,")[2])


def _details(message: dict[str, Any]) -> str:
    """Reads OpenRouter's reasoning where it is not told in one text beside."""
    return "".join(
        detail.get("text") or detail.get("summary") or "" for detail in message.get("reasoning_details") or []
    )


def _finish(native: str | None) -> str | None:
    return WORDS.get(native, unknown(native)) if native else None


def counts(usage: Any) -> Counts | None:
    """Reads usage: parts are inside their wholes, unless the total says that they are beside them."""
    if not isinstance(usage, dict) or not usage:
        return None
    out = int(usage.get("completion_tokens") or 0)
    total = usage.get("total_tokens")
    into = usage.get("prompt_tokens")
    if into is None and total is None:
        return None
    into = int(into if into is not None else total - out)
    within = usage.get("prompt_tokens_details") or usage.get("prompt_token_details") or {}
    of = usage.get("completion_tokens_details") or usage.get("completion_token_details") or {}
    cached = (
        within.get("cached_tokens")
        or usage.get("prompt_cache_hit_tokens")
        or usage.get("cached_tokens")
        or usage.get("num_cached_tokens")
        or 0
    )
    reasoning = of.get("reasoning_tokens") or 0
    if total not in (None, into + out):
        if total == into + out + reasoning:
            out += reasoning  # xAI
        elif total == into + out + (within.get("audio_tokens") or 0):
            into += within["audio_tokens"]  # Mistral
        else:
            return Counts(-1)
    return Counts(into, cached, within.get("cache_write_tokens") or 0, out, reasoning)
