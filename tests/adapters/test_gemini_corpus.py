"""Recorded answers of Gemini, fed in every way a network may deliver them, against a reading of their own."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core.blocks import (
    Begin,
    Citation,
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
)
from gateway.core.errors import StreamCut
from tests.adapters.anthropic_wire import chunks, corpus, validator
from tests.adapters.gemini_wire import a_call, calls_of, decoder, documents, events_of, fed, raw

FINISHES = {"STOP": "stop", 1: "stop", "MAX_TOKENS": "length", 2: "length", "RECITATION": "content_filter"}
CHUNK = validator("CreateChatCompletionStreamResponse")
COMPLETION = validator("CreateChatCompletionResponse")


def of_generation(record: Any) -> bool:
    return "predictions" not in (record.values[0]["response"].get("body") or {})


ANSWERS = [
    record
    for record in corpus("gemini.generate", "vertex.generate", "pydantic-gateway.generate")
    if not record.values or of_generation(record)
]
STREAMS = corpus("gemini.generate.stream", "vertex.generate.stream", "mirascope-router.generate.stream")
RECORDS = ANSWERS + STREAMS


def read(record: dict[str, Any]) -> dict[str, Any]:
    """Reads a recorded answer with nothing of ours."""
    found: dict[str, Any] = {
        "text": "",
        "thinking": "",
        "signatures": [],
        "calls": [],
        "opaque": [],
        "images": [],
        "finish": None,
        "blocked": None,
        "usage": None,
    }
    for document in documents(record):
        usage = document.get("usageMetadata") or {}
        if "totalTokenCount" in usage:
            found["usage"] = usage
        if "promptFeedback" in document:
            found["blocked"] = document["promptFeedback"].get("blockReason")
        for candidate in document.get("candidates", []):
            found["finish"] = candidate.get("finishReason", found["finish"])
            for part in candidate.get("content", {}).get("parts", []):
                kinds = set(part) - {"thought", "thoughtSignature"}
                if "functionCall" in part:
                    called = part["functionCall"]
                    if "name" in called:
                        found["calls"].append((called["name"], called.get("args", {}), part.get("thoughtSignature")))
                    for piece in called.get("partialArgs", []):  # the one recording has texts at the top
                        arguments, key = found["calls"][-1][1], piece["jsonPath"].removeprefix("$.")
                        arguments[key] = arguments.get(key, "") + piece["stringValue"]
                elif kinds <= {"text"}:
                    found["thinking" if part.get("thought") else "text"] += part.get("text", "")
                    if "thoughtSignature" in part:
                        found["signatures"].append(part["thoughtSignature"])
                elif part.get("inlineData", {}).get("mimeType", "").startswith("image/"):
                    found["images"].append(part["inlineData"]["data"])
                else:
                    found["opaque"].append(part)
    return found


def is_streamed(record: dict[str, Any]) -> bool:
    return record["response"]["format"] != "json"


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_answer_becomes_the_events_that_it_holds(record: Any) -> None:
    vertex = record["provider"] == "vertex"
    dialect, reader = events_of([raw(record)], is_streamed(record), vertex)
    expected = read(record)
    events = dialect.events
    assert isinstance(events[0], Begin)
    assert dialect.ended == 1
    assert reader.dropped == 0
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == expected["text"]
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)) == expected["thinking"]
    ends = [event for event in events if isinstance(event, TextEnd | ThinkingEnd)]
    assert [event.signature for event in ends if event.signature] == expected["signatures"]
    assert {event.provider for event in ends} <= {"vertex" if vertex else "gemini"}
    assert calls_of(events) == expected["calls"]
    assert [event.value for event in events if isinstance(event, OpaqueBlock)] == expected["opaque"]
    assert [event.data for event in events if isinstance(event, ImagePart)] == expected["images"]
    (finished,) = [event for event in events if isinstance(event, Finished)]
    if expected["blocked"]:
        assert (finished.finish, finished.native) == ("content_filter", expected["blocked"])
        assert any(isinstance(event, RefusalDelta) for event in events)
    elif finished.finish == "tool_calls":
        assert expected["calls"]
        assert expected["finish"] in ("STOP", 1)
    else:
        assert finished.finish == FINISHES.get(expected["finish"], expected["finish"])
    assert reader.finish == finished.finish


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_usage_falls_into_disjoint_buckets_that_sum_to_its_total(record: Any) -> None:
    dialect, reader = events_of([raw(record)], is_streamed(record))
    told = read(record)["usage"]
    usage = reader.usage
    if told is None:
        assert usage is None
        return
    assert usage is not None
    assert [event.usage for event in dialect.events if isinstance(event, Metered)] == [usage]
    assert not usage.suspect
    assert usage.input_tokens + usage.output_tokens == told["totalTokenCount"]
    assert usage.input_tokens == told["promptTokenCount"] + told.get("toolUsePromptTokenCount", 0)
    assert usage.reasoning == told.get("thoughtsTokenCount", 0)
    assert usage.cached_input == told.get("cachedContentTokenCount", 0)
    kinds = dict.fromkeys(("AUDIO", "IMAGE"), 0)
    for name, sign in (("promptTokensDetails", 1), ("cacheTokensDetails", -1)):
        for detail in told.get(name, []):
            modality = {2: "IMAGE", 4: "AUDIO"}.get(detail["modality"], detail["modality"])
            if modality in kinds:
                kinds[modality] += sign * detail.get("tokenCount", 0)
    assert (usage.audio_input, usage.image_input) == (kinds["AUDIO"], kinds["IMAGE"])


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_answer_says_the_same_however_it_is_cut_into_reads(record: Any) -> None:
    body = raw(record)
    streamed = is_streamed(record)
    whole, _ = events_of([body], streamed)
    assert events_of([body[place : place + 1] for place in range(len(body))], streamed)[0].events == whole.events
    dice = random.Random(record["id"])  # the same cuts in every run
    for _ in range(4):
        edges = sorted({0, len(body), *(dice.randrange(len(body)) for _ in range(20))})
        assert events_of([body[begin:end] for begin, end in pairwise(edges)], streamed)[0].events == whole.events


@pytest.mark.parametrize("record", STREAMS)
def test_a_recorded_stream_cut_before_its_finish_is_cut_and_says_so(record: Any) -> None:
    body = raw(record)
    finish = body.rindex(b'"blockReason"' if b'"blockReason"' in body else b'"finishReason"')
    separator = b"\r\n\r\n" if record["response"]["format"] == "sse" else b"}, {"
    places = [0]
    while 0 <= (place := body.find(separator, places[-1] + 1)) < finish:
        places.append(place)
    for place in (cut for edge in places for cut in (edge, edge + 2, edge + 4, edge + 9)):
        reader = decoder(a_call(stream=True))
        out = b"".join(reader.feed(body[:place]))
        assert b'"finish_reason":"' not in out
        assert b"[DONE]" not in out
        with pytest.raises(StreamCut):
            list(reader.end())


@pytest.mark.parametrize("record", ANSWERS)
def test_a_recorded_answer_cut_anywhere_is_cut_and_says_so(record: Any) -> None:
    body = raw(record)
    for place in range(0, len(body), 1 + len(body) // 40):
        with pytest.raises(StreamCut):
            events_of([body[:place]], stream=False)


@pytest.mark.parametrize("record", RECORDS)
def test_a_recorded_answer_is_valid_to_openais_schema_and_sdk(record: Any) -> None:
    expected = read(record)
    native = "UNEXPECTED_TOOL_CALL"  # goes on as it is: no word of OpenAI's says it
    if is_streamed(record):
        written = chunks(fed(decoder(a_call(stream=True, stream_options={"include_usage": True})), [raw(record)]))
        for chunk in written:
            if CHUNK is not None:
                CHUNK.validate(chunk)
            ChatCompletionChunk.model_validate(chunk, strict=True)
        return
    completion = json.loads(fed(decoder(a_call()), [raw(record)]))
    if expected["finish"] == native:
        assert completion["choices"][0]["finish_reason"] == native
        completion["choices"][0]["finish_reason"] = "tool_calls"
    if COMPLETION is not None:
        COMPLETION.validate(completion)
    ChatCompletion.model_validate(completion, strict=True)


@pytest.mark.parametrize("record", RECORDS)
def test_recorded_sources_are_cited_with_their_place_in_the_answer(record: Any) -> None:
    expected = []
    for document in documents(record):
        for candidate in document.get("candidates", []):
            grounding = candidate.get("groundingMetadata", {})
            for support in grounding.get("groundingSupports", []):
                expected += [support["segment"]["text"]] * len(support["groundingChunkIndices"])
    dialect, _ = events_of([raw(record)], is_streamed(record))
    text = "".join(event.text for event in dialect.events if isinstance(event, TextDelta))
    cited = [event.value for event in dialect.events if isinstance(event, Citation)]
    places = [text[value["start_index"] : value["end_index"]] for value in cited if value.get("type") != "search"]
    if expected:
        assert places == expected


def test_recorded_log_probabilities_come_as_openais() -> None:
    records = [record.values[0] for record in ANSWERS if record.values]
    found = [record for record in records if record and "logprobs" in record["features"]]
    if not found:
        pytest.skip("no corpus here")
    dialect, _ = events_of([raw(found[0])], stream=False)
    (logprobs,) = [event for event in dialect.events if isinstance(event, Logprobs)]
    (token,) = logprobs.content
    assert (token["token"], token["bytes"]) == ("Hello", list(b"Hello"))
    assert [other["token"] for other in token["top_logprobs"]] == ["Hello", '"']
