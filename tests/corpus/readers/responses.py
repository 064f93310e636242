"""Reads OpenAI's Responses, as OpenAI, its imitators and Headgate write them."""

from __future__ import annotations

import json
from typing import Any

from tests.corpus.reading import Called, Counts, Reading, Said, arguments, events, objects, unknown

OURS = {"message", "reasoning", "function_call", "custom_tool_call"}


def whole(raw: bytes) -> Reading:
    """Reads one response."""
    return of(json.loads(raw))


def of(body: dict[str, Any]) -> Reading:
    """Reads a decoded response: finished where its status says so."""
    reading = Reading(ended=body.get("status") in (None, "completed", "incomplete", "failed"))
    reading.error = body.get("error")
    said = reading.choice()
    for item in body.get("output") or []:
        _item(said, item)
    said.finish = _finish(body, said)
    reading.counts = counts(body.get("usage"))
    return reading


def _item(said: Said, item: dict[str, Any]) -> None:
    kind = item["type"]
    if kind == "message":
        for part in item.get("content") or []:
            said.text += part.get("text") or ""
            said.refusal += part.get("refusal") or ""
    elif kind == "reasoning":
        parts = item.get("content") or item.get("summary") or []
        said.reasoning += "".join(part.get("text") or "" for part in parts)
        if item.get("encrypted_content"):
            said.signatures.append(item["encrypted_content"])
    elif kind == "function_call":
        said.calls.append(Called(item["name"], arguments(item["arguments"])))
    elif kind == "custom_tool_call":
        said.calls.append(Called(item["name"], item["input"]))
    else:
        said.opaque.append(kind)
        if kind == "image_generation_call" and item.get("result"):
            said.images.append(item["result"])


def _finish(body: dict[str, Any], said: Said) -> str | None:
    status = body.get("status")
    if status == "incomplete":
        reason = (body.get("incomplete_details") or {}).get("reason")
        return {"max_output_tokens": "length", "content_filter": "content_filter"}.get(reason, unknown(str(reason)))
    if status in (None, "completed"):
        return "tool_calls" if said.calls else "stop"
    return None


def stream(raw: bytes, cut: bool = True) -> Reading:
    """Reads events, by their deltas; what no delta told is taken from the items when they are done."""
    reading = Reading()
    said = reading.choice()
    items: dict[int, dict[str, Any]] = {}
    deltas: dict[int, dict[str, dict[Any, str]]] = {}
    last: dict[str, Any] | None = None
    for event in events(raw, cut):
        if event.name == "error":
            reading.error = event.data
    for event in objects(raw, cut):
        kind = event.get("type", "")
        at = event.get("output_index", 0)
        if kind in ("error", "response.failed"):
            reading.error = event.get("error") or event.get("message") or event["response"].get("error") or True
        if kind.startswith("response.output_item."):
            items[at] = event["item"]
        elif kind in _DELTAS:
            field, part = _DELTAS[kind]
            told = deltas.setdefault(at, {}).setdefault(field, {})
            told[event.get(part, 0)] = told.get(event.get(part, 0), "") + event["delta"]
        elif kind in ("response.completed", "response.incomplete", "response.failed"):
            last = event["response"]
    for at in sorted(items.keys() | deltas.keys()):
        _told(said, items.get(at), deltas.get(at, {}))
    if last is not None:
        reading.ended = True
        said.finish = _finish(last, said)
        reading.counts = counts(last.get("usage"))
    return reading


_DELTAS = {
    "response.output_text.delta": ("text", "content_index"),
    "response.refusal.delta": ("refusal", "content_index"),
    "response.reasoning_summary_text.delta": ("summary", "summary_index"),
    "response.reasoning_text.delta": ("content", "content_index"),
    "response.function_call_arguments.delta": ("arguments", "output_index"),
    "response.custom_tool_call_input.delta": ("input", "output_index"),
}


def _told(said: Said, item: dict[str, Any] | None, told: dict[str, dict[Any, str]]) -> None:
    texts = {field: "".join(text for _, text in sorted(parts.items())) for field, parts in told.items()}
    kind = item["type"] if item is not None else None
    if kind in ("function_call", "custom_tool_call") and item is not None:
        written = texts.get("arguments", texts.get("input"))
        if written is None:
            _item(said, item)
        else:
            said.calls.append(Called(item["name"], arguments(written) if kind == "function_call" else written))
        return
    if item is not None and (not texts or kind not in OURS):
        _item(said, item)
        return
    said.text += texts.get("text", "")
    said.refusal += texts.get("refusal", "")
    said.reasoning += texts.get("content") or texts.get("summary", "")
    if kind == "reasoning" and item is not None and item.get("encrypted_content"):
        said.signatures.append(item["encrypted_content"])


def counts(usage: Any) -> Counts | None:
    """Reads usage; input holds what came from a cache, output holds reasoning."""
    if not isinstance(usage, dict):
        return None
    within = usage.get("input_tokens_details") or {}
    of = usage.get("output_tokens_details") or {}
    return Counts(
        usage["input_tokens"],
        within.get("cached_tokens") or 0,
        within.get("cache_write_tokens") or 0,
        usage["output_tokens"],
        of.get("reasoning_tokens") or 0,
    )
