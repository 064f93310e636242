"""What the tests of the Responses dialect share: calls, answers as events, an own reading of what is written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from adapters.dialects.responses import ResponsesDialect
from gateway.core.blocks import (
    Begin,
    Citation,
    Event,
    Finished,
    ImagePart,
    Logprobs,
    Metered,
    OpaqueBlock,
    RefusalDelta,
    TextDelta,
    TextEnd,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.money import Usage
from gateway.core.types import Call
from tests.adapters.anthropic_wire import validator

RESPONSES = ResponsesDialect()
Told = list[dict[str, Any]]

FUNCTION = {"type": "function", "name": "search", "parameters": {"type": "object", "properties": {}}}
CUSTOM = {"type": "custom", "name": "note", "description": "Takes notes."}


def a_call(strict: bool = False, headers: tuple[tuple[bytes, bytes], ...] = (), **fields: Any) -> Call:
    """Returns a call that asks "hi" unless it says otherwise."""
    body = {"model": "m", "input": "hi", **fields}
    if strict:
        headers = (*headers, (b"x-headgate-strict", b"true"))
    return RESPONSES.parse("req_0123abcd00000001", json.dumps(body).encode(), headers, 1_790_000_000)


def whole(events: Iterable[Event], **fields: Any) -> dict[str, Any]:
    """Writes an answer whole."""
    one = RESPONSES.writer(a_call(**fields), "shown")
    for event in events:
        assert one.write(event) == b""
    written: dict[str, Any] = json.loads(one.end())
    return written


def streamed(events: Iterable[Event], **fields: Any) -> Told:
    """Writes an answer as a stream; returns its events."""
    one = RESPONSES.writer(a_call(stream=True, **fields), "shown")
    return told(b"".join([*map(one.write, events), one.end()]))


def told(out: bytes) -> Told:
    """Reads a stream of ours: each event is named as its data says, and numbered from 0 without a gap."""
    events = []
    for block in out.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        assert event["sequence_number"] == len(events)
        events.append(event)
    return events


def reassembled(events: Told) -> dict[str, Any]:
    """Puts a stream together from its deltas alone, and holds every `done` against them; returns the Response."""
    items: list[dict[str, Any]] = []
    begun, in_progress, *rest = events
    assert [begun["type"], in_progress["type"]] == ["response.created", "response.in_progress"]
    assert begun["response"]["output"] == []
    done: set[int] = set()
    for event in rest[:-1]:
        kind = event["type"]
        item = items[event["output_index"]] if event["output_index"] < len(items) else None
        if kind == "response.output_item.added":
            assert event["output_index"] == len(items)
            items.append(json.loads(json.dumps(event["item"])))
            continue
        assert item is not None
        if kind == "response.output_item.done":
            assert event["output_index"] not in done
            done.add(event["output_index"])
            for name in ("content", "summary", "arguments", "input"):
                if name in event["item"]:
                    assert event["item"][name] == item[name], name
            items[event["output_index"]] = event["item"]
            continue
        assert event["item_id"] == item["id"]
        holder, index = ("summary", "summary_index") if "summary" in kind else ("content", "content_index")
        part = item[holder][event[index]] if index in event and event[index] < len(item[holder]) else None
        if kind.endswith("part.added"):
            assert event[index] == len(item[holder])
            item[holder].append(event["part"])
        elif kind.endswith("part.done"):
            assert part is not None
            assert all(part[name] == event["part"][name] for name in ("text", "refusal", "annotations") if name in part)
            item[holder][event[index]] = event["part"]
        elif kind.endswith("annotation.added"):
            assert part is not None
            assert event["annotation_index"] == len(part["annotations"])
            part["annotations"].append(event["annotation"])
        elif kind.endswith(".delta"):
            if part is not None:
                part["refusal" if "refusal" in kind else "text"] += event["delta"]
            else:
                item["input" if "custom" in kind else "arguments"] += event["delta"]
        elif kind.endswith(".done"):
            name = next(each for each in ("text", "refusal", "arguments", "input") if each in event)
            assert (part or item)[name] == event[name]
        else:
            assert "image_generation" in kind
    assert done == set(range(len(items)))
    last = rest[-1]
    assert last["type"] == f"response.{last['response']['status']}"
    assert last["response"]["output"] == items
    response: dict[str, Any] = last["response"]
    return response


@functools.cache
def schema(name: str) -> Draft202012Validator | None:
    return validator(name)


# -- answers -------------------------------------------------------------------------------------------------------

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
PIECES = st.lists(WORDS, min_size=1, max_size=3)


def _texts(parts: Sequence[str]) -> list[Event]:
    return [TextDelta(part) for part in parts]


def _thinking(parts: Sequence[str], end: ThinkingEnd | None) -> list[Event]:
    return [*map(ThinkingDelta, parts), *([end] if end is not None else [])]


def _cited(parts: Sequence[str], url: str | None) -> list[Event]:
    value = {"type": "x", "cited_text": "c", **({"url": url, "title": "t"} if url else {})}
    return [*_texts(parts), Citation(value)]


_ENDS = st.one_of(
    st.none(),
    st.builds(ThinkingEnd),
    st.builds(ThinkingEnd, signature=WORDS, provider=st.sampled_from(["anthropic", "gemini"]), id=st.none() | WORDS),
)
BLOCKS = st.one_of(
    st.builds(_texts, PIECES),
    st.builds(_cited, PIECES, st.sampled_from([None, "https://x.org/a"])),
    st.builds(_thinking, PIECES, _ENDS),
    st.builds(lambda data: [ThinkingEnd(redacted=data, provider="anthropic")], WORDS),
    st.builds(lambda signature: [ThinkingEnd(signature, provider="anthropic")], WORDS),
    st.builds(lambda signature: [TextDelta("t"), TextEnd(signature, "gemini")], WORDS),
    st.builds(lambda parts: [RefusalDelta(part) for part in parts], PIECES),
    st.builds(lambda data: [OpaqueBlock("anthropic", {"type": "server_tool_use", "input": data})], WORDS),
    st.just([ImagePart("image/png", "iVBORw0K")]),
    st.just([Logprobs(({"token": "t", "logprob": -0.1, "bytes": None, "top_logprobs": []},)), TextDelta("t")]),
)
CALLS = st.lists(
    st.tuples(st.booleans(), PIECES, st.none() | WORDS).map(lambda each: (each[0], tuple(each[1]), each[2])), max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any order of blocks, calls after them, their arguments mixed."""
    events: list[Event] = [Begin("msg_1", "claude-x", draw(st.none() | st.just(1_780_000_000)))]
    for block in draw(st.lists(BLOCKS, max_size=5)):
        events += block
    calls = draw(CALLS)
    for index, (custom, _, signature) in enumerate(calls):
        events.append(ToolCallBegin(index, f"call_{index}", "search", signature=signature, provider="g", custom=custom))
    deltas = [ToolCallDelta(index, piece) for index, (_, pieces, _) in enumerate(calls) for piece in pieces]
    events += draw(st.permutations(deltas)) if deltas else []
    finish = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd_word"]))
    events.append(Finished(finish, draw(st.none() | WORDS)))
    if draw(st.booleans()):
        events.append(Metered(Usage(10, 3, 2, output_text=7, reasoning=4, service_tier="standard")))
    return events
