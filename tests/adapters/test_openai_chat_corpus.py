"""Every recorded chat answer as events: whole, byte by byte, with a tail, and cut at every event.

What is expected comes from a reading of its own, with the standard library alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from gateway.core.blocks import (
    Begin,
    Event,
    Finished,
    Metered,
    RefusalDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallBegin,
    ToolCallDelta,
)
from gateway.core.errors import Reason, StreamCut, UpstreamError
from tests.adapters.openai_chat import decoder

pytestmark = pytest.mark.corpus

Line = dict[str, Any]
Reader = Callable[[str], list[Line]]
Told = dict[Any, Any]

FOREIGN = {"cohere"}
OURS = {"eos": "stop", "function_call": "tool_calls"}
# The recorder put two calls into one body.
TWO_ANSWERS = {"cerebras.chat.stream-af62200ebd"}
BROKEN = {"groq.chat.stream-6d7a0182ec": Reason.BAD_REQUEST}
# A provider whose details say the same as its reasoning, and more.
DETAILED = {"openrouter"}


def lines(corpus_lines: Reader, form: str) -> list[Line]:
    return [
        line
        for line in corpus_lines("*.jsonl")
        if line["surface"] == "chat"
        and line["response"]["status"] == 200
        and line["response"]["format"] == form
        and line["provider"] not in FOREIGN
        and line["id"] not in TWO_ANSWERS
    ]


def chunks(stream: str) -> list[Any]:
    """Returns the data of a stream's events up to the sentinel."""
    found = []
    for line in re.split(r"\r\n|\n|\r", stream):
        if line.startswith("data:"):
            if line[5:].strip() == "[DONE]":
                break
            found.append(json.loads(line[5:]))
    return found


def reading(documents: list[Any], provider: str) -> Told:
    """Reads what is said, called and ended, choice by choice."""
    said: Told = {}
    calls: dict[int, list[Any]] = {}
    finishes: dict[int, str] = {}
    usage = None
    for document in documents:
        usage = document.get("usage") or (document.get("x_groq") or {}).get("usage") or usage
        for choice in document.get("choices") or []:
            index = choice["index"]
            finishes[index] = choice.get("finish_reason") or finishes.get(index) or ""
            whole = document.get("object") == "chat.completion"  # Perplexity's have an empty delta beside the message
            part = (choice.get("message") if whole else None) or choice.get("delta") or choice.get("message") or {}
            thought = part.get("reasoning_content") or part.get("reasoning") or ""
            details = part.get("reasoning_details") or []
            if details and (provider in DETAILED or not thought):
                thought = "".join(detail.get("text") or detail.get("summary") or "" for detail in details)
            content = part.get("content") or ""
            for piece in content if isinstance(content, list) else [{"type": "text", "text": content}]:
                if piece["type"] == "thinking":
                    thought += "".join(inner["text"] for inner in piece["thinking"])
                else:
                    said[index, "text"] = said.get((index, "text"), "") + piece["text"]
            said[index, "thinking"] = said.get((index, "thinking"), "") + thought
            said[index, "refusal"] = said.get((index, "refusal"), "") + (part.get("refusal") or "")
            for call in part.get("tool_calls") or []:
                function = call.get("function") or {}
                mine = calls.setdefault(index, [])
                if function.get("name"):
                    mine.append([call.get("id"), function["name"], ""])
                mine[-1][2] += function.get("arguments") or ""
            legacy = part.get("function_call") or {}
            if legacy.get("name"):
                calls.setdefault(index, []).append([None, legacy["name"], legacy["arguments"]])
            spoken = (part.get("audio") or {}).get("transcript")
            if spoken and not content:
                said[index, "text"] = said.get((index, "text"), "") + spoken
    ends = {}
    for index, native in finishes.items():
        finish = OURS.get(native, native) or "stop"
        ends[index] = ("tool_calls" if finish == "stop" and calls.get(index) else finish, native or None)
    told = [[index, *call[:2], call[2] or "{}"] for index in sorted(calls) for call in calls[index]]
    return {"said": {k: v for k, v in said.items() if v}, "calls": told, "ends": ends, "used": usage is not None}


def telling(events: list[Event]) -> Told:
    """Reads the same out of events."""
    said: Told = {}
    calls: list[Any] = []
    ends = {}
    names = {TextDelta: "text", ThinkingDelta: "thinking", RefusalDelta: "refusal"}
    for event in events:
        if isinstance(event, TextDelta | ThinkingDelta | RefusalDelta):
            key = (event.choice, names[type(event)])
            said[key] = said.get(key, "") + event.text
        elif isinstance(event, ToolCallBegin):
            assert event.index == sum(call[0] == event.choice for call in calls)
            calls.append([event.choice, event.id, event.name, ""])
        elif isinstance(event, ToolCallDelta):
            [call for call in calls if call[0] == event.choice][event.index][3] += event.arguments
        elif isinstance(event, Finished):
            assert event.choice not in ends
            ends[event.choice] = (event.finish, event.native)
    used = any(isinstance(event, Metered) for event in events)
    return {"said": said, "calls": sorted(calls, key=lambda call: call[0]), "ends": ends, "used": used}


def same(found: Told, expected: Told) -> bool:
    """Compares them; an id that the provider left out was made up."""
    if len(found["calls"]) == len(expected["calls"]):
        for mine, theirs in zip(found["calls"], expected["calls"], strict=True):
            if not theirs[1]:
                assert mine[1].startswith("call_")
                theirs[1] = mine[1]
    return found == expected


def fed(line: Line, *reads: bytes) -> tuple[list[Event], Any]:
    one, recorder = decoder(line["provider"], stream=line["response"]["format"] == "sse")
    for data in reads:
        list(one.feed(data))
    list(one.end())
    assert recorder.ended
    return recorder.events, one


def test_every_recorded_stream_is_told_whole_byte_by_byte_and_with_a_tail(corpus_lines: Reader) -> None:
    taken = lines(corpus_lines, "sse")
    whole = 0
    for line in taken:
        source = line["response"]["sse"].encode()
        if line["id"] in BROKEN:
            with pytest.raises(UpstreamError) as caught:
                fed(line, source)
            assert caught.value.reason is BROKEN[line["id"]]
            continue
        expected = reading(chunks(source.decode()), line["provider"])
        outcomes = []
        for reads in ([source], [source[at : at + 1] for at in range(len(source))], [source[:-7], source[-7:]]):
            events, one = fed(line, *reads)
            outcomes.append((events, one.started, one.progress, one.finish, one.usage, one.output_bytes))
            assert one.dropped == 0
        assert outcomes[0] == outcomes[1] == outcomes[2], line["id"]
        events, started, progress, finish, *_ = outcomes[0]
        assert isinstance(events[0], Begin)
        assert same(telling(events), expected), line["id"]
        assert finish == expected["ends"][0][0], line["id"]
        assert started is (progress > 0) is bool(expected["said"] or expected["calls"]), line["id"]
        whole += 1
    print(f"streams told: {whole}")
    assert whole > 80


def ends(data: Any) -> bool:
    return any(choice.get("finish_reason") for choice in data.get("choices") or [])


def test_every_recorded_stream_cut_at_every_event_tells_no_finish_until_it_has_one(corpus_lines: Reader) -> None:
    cuts = 0
    for line in lines(corpus_lines, "sse"):
        if line["id"] in BROKEN:
            continue
        events = re.findall(r".*?(?:\r\n\r\n|\n\n|$)", line["response"]["sse"], re.DOTALL)
        one, recorder = decoder(line["provider"])
        finished, unsaid = False, line["provider"] == "snowflake"
        often = 1 if len(events) < 60 else 7
        for count, event in enumerate(events):
            copy, copied = decoder(line["provider"])
            if not finished and count % often == 0:
                list(copy.feed("".join(events[:count]).encode()))
                with pytest.raises(StreamCut):
                    list(copy.end())
                assert not any(isinstance(told, Finished | Metered) for told in copied.events)
                cuts += 1
            list(one.feed(event.encode()))
            finished = finished or any(map(ends, chunks(event))) or (unsaid and one.usage is not None)
        assert finished
        list(one.end())
        assert recorder.ended
    print(f"cuts: {cuts}")
    assert cuts > 1000


def test_every_recorded_answer_is_told(corpus_lines: Reader) -> None:
    taken = lines(corpus_lines, "json")
    for line in taken:
        body = line["response"]["body"]
        data = json.dumps(body).encode()
        events, one = fed(line, data[:30], data[30:])
        expected = reading([body], line["provider"])
        assert same(telling(events), expected), line["id"]
        assert one.finish == expected["ends"][0][0], line["id"]
        if one.usage is not None and not one.usage.suspect:
            assert json.loads(one.usage.raw) == body["usage"]
    print(f"answers told: {len(taken)}")
    assert len(taken) > 110


def test_a_recorded_answer_cut_short_is_a_failure(corpus_lines: Reader) -> None:
    for line in lines(corpus_lines, "json"):
        data = json.dumps(line["response"]["body"]).encode()
        for at in range(0, len(data), max(1, len(data) // 8)):
            with pytest.raises(UpstreamError):
                fed(line, data[:at])
