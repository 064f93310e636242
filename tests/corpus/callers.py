"""The three dialects as a caller reads them: every rule of their protocol, beside what the answer says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.corpus.readers import chat, embeddings, messages, responses
from tests.corpus.reading import Event, Reading, Said, arguments, events
from tests.corpus.schemas import problem

SCHEMAS = {
    ("chat", False): "CreateChatCompletionResponse",
    ("chat", True): "CreateChatCompletionStreamResponse",
    ("completions", False): "CreateCompletionResponse",
    ("completions", True): "CreateCompletionResponse",
    ("responses", False): "Response",
    ("responses", True): "ResponseStreamEvent",
    ("messages", False): "Message",
    ("messages", True): "RawMessageStreamEvent",
    ("embeddings", False): "CreateEmbeddingResponse",
    ("moderations", False): "CreateModerationResponse",
}
_READERS: dict[tuple[str, bool], Any] = {
    ("chat", False): chat.whole,
    ("chat", True): chat.stream,
    ("completions", False): chat.whole,
    ("completions", True): chat.stream,
    ("responses", False): responses.whole,
    ("responses", True): responses.stream,
    ("messages", False): messages.whole,
    ("messages", True): messages.stream,
    ("embeddings", False): embeddings.openai,
    ("count_tokens", False): messages.counted,
    ("moderations", False): embeddings.moderated,
    ("rerank", False): embeddings.reranked,
}


def read(dialect: str, streamed: bool, out: bytes) -> Reading:
    """Reads what a caller got."""
    reading: Reading = _READERS[dialect, streamed](out)
    return reading


def ended(dialect: str, out: bytes) -> bool:
    """Whether a stream ended so that its caller takes it for whole."""
    if dialect in ("chat", "completions"):
        return any(event.data is not None and event.data.strip() == "[DONE]" for event in events(out, cut=True))
    last = {"responses": ("response.completed", "response.incomplete"), "messages": ("message_stop",)}[dialect]
    return any(event.name in last for event in events(out, cut=True))


def values(streamed: bool, out: bytes) -> list[dict[str, Any]]:
    """Returns the JSON values of an answer of ours."""
    if not streamed:
        return [json.loads(out)]
    return [json.loads(event.data) for event in events(out) if event.data not in (None, "[DONE]")]


def problems(dialect: str, streamed: bool, out: bytes) -> Iterator[str]:
    """Says what is wrong with an answer that Headgate wrote itself: schema, SDK and protocol, strictly."""
    name = SCHEMAS[dialect, streamed]
    for value in values(streamed, out):
        found = problem(name, value)
        if found:
            yield found
    if streamed:
        if not out.endswith(b"\n\n"):
            yield "the stream ends within an event"
        told = list(events(out))
        yield from {"chat": _chat, "responses": _responses, "messages": _messages}[dialect](told)


# -- protocols ----------------------------------------------------------------------------------------------------


def _chat(told: list[Event]) -> Iterator[str]:
    if not told or told[-1].data != "[DONE]" or sum(event.data == "[DONE]" for event in told) != 1:
        yield "[DONE] is not the last event and the only one"
    chunks = [json.loads(event.data or "") for event in told if event.data != "[DONE]"]
    if len({(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks}) != 1:
        yield "id, model or created change"
    seen: dict[int, int] = {}  # choice -> tool calls
    finished: set[int] = set()
    for place, chunk in enumerate(chunks):
        last = place == len(chunks) - 1
        if (chunk.get("usage") is not None) != (last and not chunk["choices"]):
            yield "usage stands in another place than the last chunk, which has no choices"
        if not chunk["choices"] and not last:
            yield "a chunk without choices that is not the last"
        for choice in chunk["choices"]:
            index = choice["index"]
            if index not in seen and choice["delta"].get("role") != "assistant":
                yield f"choice {index} begins without its role"
            if index in finished:
                yield f"choice {index} goes on after its finish"
            seen.setdefault(index, 0)
            for call in choice["delta"].get("tool_calls") or []:
                if call["index"] == seen[index]:
                    seen[index] += 1
                    if not call.get("id") or not (call.get("function") or call.get("custom") or {}).get("name"):
                        yield "a tool call begins without id or name"
                elif call["index"] != seen[index] - 1 or "id" in call:
                    yield "pieces of tool calls are out of order"
            if choice["finish_reason"] is not None:
                finished.add(index)
    if finished != seen.keys():
        yield f"choices {sorted(seen)} began, {sorted(finished)} finished"


def _responses(told: list[Event]) -> Iterator[str]:
    told = [event for event in told if event.data != "[DONE]"]
    stream = [json.loads(event.data or "") for event in told]
    if [event.name for event in told] != [event["type"] for event in stream]:
        yield "events are not named by their types"
    if [event.get("sequence_number") for event in stream] != list(range(len(stream))):
        yield "sequence numbers do not count from 0"
    if [event["type"] for event in stream[:2]] != ["response.created", "response.in_progress"]:
        yield "it does not begin with created and in_progress"
    if stream[-1]["type"] not in ("response.completed", "response.incomplete"):
        yield f"it ends with {stream[-1]['type']}"
        return
    if len({event["response"]["id"] for event in stream if "response" in event}) != 1:
        yield "the response's id changes"
    added: dict[int, dict[str, Any]] = {}
    done: dict[int, dict[str, Any]] = {}
    parts: dict[tuple[int, str, int], str] = {}  # open parts and what they told
    for event in stream:
        kind = event["type"]
        at = event.get("output_index", -1)
        if kind == "response.output_item.added":
            if at != len(added):
                yield "output indices do not count from 0"
            added[at] = event["item"]
        elif kind == "response.output_item.done":
            done[at] = event["item"]
            if added[at]["id"] != event["item"]["id"] or added[at]["type"] != event["item"]["type"]:
                yield "an item is done as another than it was added"
        elif at >= 0:
            if at not in added or at in done:
                yield f"{kind} for an item that is not open"
            elif event.get("item_id") != added[at]["id"]:
                yield f"{kind} names another item"
            yield from _part(parts, kind, at, event)
    if done.keys() != added.keys():
        yield "items were added that are not done"
    final = stream[-1]["response"]
    if final["output"] != [done[at] for at in sorted(done)]:
        yield "the last response's output is not the items as they were done"
    by_deltas, by_items = Reading(), responses.of(final)
    said = by_deltas.choice()
    streamed = responses.stream("".join(f"data: {event.data}\n\n" for event in told).encode())
    said = streamed.choice()
    whole = by_items.choice()
    if (said.text, said.refusal, said.reasoning, said.calls) != (
        whole.text,
        whole.refusal,
        whole.reasoning,
        whole.calls,
    ):
        yield "the deltas add up to something else than the items"
    ids = [item["id"] for item in added.values()]
    if len(set(ids)) != len(ids):
        yield "two items have one id"


def _part(parts: dict[tuple[int, str, int], str], kind: str, at: int, event: dict[str, Any]) -> Iterator[str]:
    """Follows the parts of an item: added, told in deltas, done as they were told."""
    summary = "summary" in kind
    index = event.get("summary_index" if summary else "content_index", 0)
    key = (at, "summary" if summary else "part", index)
    if kind.endswith("part.added"):
        if key in parts:
            yield "a part is added twice"
        parts[key] = ""
    elif kind.endswith(("arguments.delta", "input.delta")):
        key = (at, "arguments", 0)
        parts[key] = parts.get(key, "") + event["delta"]
    elif kind.endswith(("arguments.done", "input.done")):
        told = parts.get((at, "arguments", 0), "")
        if told != event.get("arguments", event.get("input")):
            yield "arguments are done as others than were told"
    elif kind.endswith(".delta"):
        if key not in parts:
            yield f"{kind} for a part that was not added"
        parts[key] = parts.get(key, "") + event["delta"]
    elif kind.endswith("part.done"):
        part = event["part"]
        if parts.get(key) != (part.get("text") if part.get("text") is not None else part.get("refusal")):
            yield "a part is done as another than it was told"
    elif kind.endswith(".done") and parts.get(key) != (event.get("text") or event.get("refusal") or ""):
        yield f"{kind} says something else than was told"


_DELTAS = {
    "text_delta": {"text"},
    "citations_delta": {"text"},
    "thinking_delta": {"thinking"},
    "signature_delta": {"thinking"},
    "input_json_delta": {"tool_use", "server_tool_use", "mcp_tool_use"},
}


def _messages(told: list[Event]) -> Iterator[str]:
    stream = [json.loads(event.data or "") for event in told]
    if [event.name for event in told] != [event["type"] for event in stream]:
        yield "events are not named by their types"
    stream = [event for event in stream if event["type"] != "ping"]
    kinds = [event["type"] for event in stream]
    if kinds[:1] != ["message_start"] or kinds[-2:] != ["message_delta", "message_stop"]:
        yield f"it begins with {kinds[:1]} and ends with {kinds[-2:]}"
    if {"message_start", "message_delta", "message_stop"} & set(kinds[1:-2]):
        yield "its frame comes more than once"
    open_block: dict[str, Any] | None = None
    count = 0
    written = ""
    for event in stream[1:-2]:
        kind = event["type"]
        if event["index"] != count:
            yield f"{kind} has index {event['index']}, not {count}"
        if kind == "content_block_start":
            if open_block is not None:
                yield "a block begins within another"
            open_block, written = event["content_block"], ""
        elif open_block is None:
            yield f"{kind} outside of a block"
        elif kind == "content_block_delta":
            if open_block["type"] not in _DELTAS[event["delta"]["type"]]:
                yield f"{event['delta']['type']} in a block of {open_block['type']}"
            written += event["delta"].get("partial_json", "")
        else:
            if open_block["type"] == "tool_use" and not isinstance(arguments(written), dict):
                yield "a tool's input is no object"
            open_block = None
            count += 1
    if open_block is not None:
        yield "a block is not closed"


def merged(said: Said) -> str:
    """Returns text and refusal as one, for dialects in which a refusal is a text."""
    return said.text + said.refusal
