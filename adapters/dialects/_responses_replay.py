"""A kept Response in the other form: taken out of a stream's last event, or told again as a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from adapters import _sse
from gateway.core.blocks import Json
from gateway.core.types import Call

_TERMINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
# Items whose one text is told in a delta: its name, and the events that tell it.
_GROWING: Final = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
}
_PARTS: Final = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}


def replay(body: bytes, streamed: bool, call: Call) -> bytes:
    """Rewrites a kept answer as `call` asks for it."""
    if streamed is call.stream:
        return body
    return _dumps(_whole(body)) if streamed else told(json.loads(body))


def _dumps(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _whole(stream: bytes) -> Json:
    """Returns the Response that a stream ends with."""
    for block in reversed(_sse.blocks(stream)):
        data = _sse.read(block)[1]
        if data is not None and data.strip() != b"[DONE]":
            event = json.loads(data)
            if event.get("type") in _TERMINAL:
                return event["response"]
    raise ValueError("a stream that never ended was kept")


def told(response: dict[str, Json]) -> bytes:
    """Tells a Response as a stream."""
    begun = {name: value for name, value in response.items() if name not in ("usage", "completed_at")}
    begun |= {"status": "in_progress", "output": [], "incomplete_details": None}
    events: list[tuple[str, dict[str, Json]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
    ]
    for index, item in enumerate(response.get("output") or ()):
        events += _item(index, item)
    events.append((f"response.{response.get('status') or 'completed'}", {"response": response}))
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (kind.encode(), _dumps({"type": kind, **fields, "sequence_number": number}))
        for number, (kind, fields) in enumerate(events)
    )


def _item(index: int, item: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    kind = item.get("type")
    at: dict[str, Json] = {"item_id": item.get("id") or "", "output_index": index}
    emptied: dict[str, Json] = {name: [] for name in ("content", "summary") if isinstance(item.get(name), list)}
    if kind in _GROWING:
        emptied[_GROWING[kind][0]] = ""
    if "status" in item:
        emptied["status"] = "in_progress"
    yield "response.output_item.added", {"output_index": index, "item": {**item, **emptied}}
    for place, part in enumerate(item.get("summary") or ()):
        where = {**at, "summary_index": place}
        yield "response.reasoning_summary_part.added", {**where, "part": {**part, "text": ""}}
        yield "response.reasoning_summary_text.delta", {**where, "delta": part["text"]}
        yield "response.reasoning_summary_text.done", {**where, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**where, "part": part}
    content = item.get("content")
    for place, part in enumerate(content if isinstance(content, list) else ()):
        yield from _part({**at, "content_index": place}, part)
    if kind in _GROWING:
        name, event = _GROWING[kind]
        more = {"name": item.get("name")} if kind == "function_call" else {}
        if item.get(name):
            yield f"{event}.delta", {**at, "delta": item[name]}
        yield f"{event}.done", {**at, **more, name: item.get(name) or ""}
    yield "response.output_item.done", {"output_index": index, "item": item}


def _part(where: dict[str, Json], part: Mapping[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    kind = part.get("type")
    name, event = _PARTS.get(kind or "", ("", ""))
    emptied: dict[str, Json] = {name: ""} if name else {}
    emptied |= {each: [] for each in ("annotations", "logprobs") if each in part}
    yield "response.content_part.added", {**where, "part": {**part, **emptied}}
    if name:
        logprobs = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
        yield f"{event}.delta", {**where, "delta": part[name], **logprobs}
        for place, annotation in enumerate(part.get("annotations") or ()):
            yield (
                "response.output_text.annotation.added",
                {**where, "annotation_index": place, "annotation": annotation},
            )
        yield f"{event}.done", {**where, name: part[name], **logprobs}
    yield "response.content_part.done", {**where, "part": part}
