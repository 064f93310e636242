"""Laws that hold for any answer, any history and any garbage, found by hypothesis."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.blocks import (
    Conversation,
    Finished,
    Image,
    Message,
    Opaque,
    Refusal,
    Text,
    TextDelta,
    TextEnd,
    Thinking,
    ThinkingDelta,
    ThinkingEnd,
    Tool,
    ToolCall,
    ToolCallBegin,
    ToolCallDelta,
    ToolResult,
)
from gateway.core.errors import BadRequest, UpstreamError
from tests.adapters.anthropic_wire import PNG
from tests.adapters.gemini_rules import accepted
from tests.adapters.gemini_wire import CHAT, GEMINI, a_call, a_deployment, chunk, decoder, events_of, fed, sse, told
from tests.adapters.test_anthropic_laws import OBJECTS, WORDS, spoiled

SIGNATURES = st.sampled_from([None, "c2lnbmVk", "AAAA"])


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["text", "thought", "call", "code", "image"]))
    signature = draw(SIGNATURES)
    signed = {"thoughtSignature": signature} if signature else {}
    if kind == "call":
        named = {"id": draw(WORDS)} if draw(st.booleans()) else {}
        return {"functionCall": {"name": draw(st.sampled_from("fg")), "args": draw(OBJECTS), **named}, **signed}
    if kind == "code":
        return {"executableCode": {"language": "PYTHON", "code": draw(WORDS)}, **signed}
    if kind == "image":
        return {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    return {"text": draw(WORDS), **({"thought": True} if kind == "thought" else {}), **signed}


def merged(events: list[Any]) -> list[Any]:
    """Returns events with neighbouring deltas put together, and no ids: what was said, however it came."""
    out: list[Any] = []
    for event in events:
        last = out[-1] if out else None
        if isinstance(event, TextDelta | ThinkingDelta) and type(last) is type(event):
            out[-1] = type(event)(last.text + event.text)
        else:
            out.append(event)
    return out


@settings(max_examples=80, deadline=None)
@given(st.lists(parts(), max_size=6), st.data())
def test_the_chunks_of_a_stream_add_up_to_the_whole_answer(answer: list[dict[str, Any]], data: st.DataObject) -> None:
    documents = []
    for part in answer:
        if "text" in part and len(part["text"]) > 1:
            cut = data.draw(st.integers(1, len(part["text"]) - 1))
            plain = {name: value for name, value in part.items() if name != "thoughtSignature"}
            documents += [chunk({**plain, "text": part["text"][:cut]}), chunk({**part, "text": part["text"][cut:]})]
        else:
            documents.append(chunk(part))
    raw = sse(*documents, chunk(finish="STOP"))
    edges = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=8))})
    streamed, _ = events_of([raw[begin:end] for begin, end in pairwise(edges)], stream=True)
    whole, reader = events_of([json.dumps(chunk(*answer, finish="STOP")).encode()], stream=False)
    assert merged(streamed.events) == merged(whole.events)
    assert reader.started == any("text" not in part or part["text"] for part in answer)
    for event in whole.events:
        if isinstance(event, ToolCallDelta):
            assert isinstance(json.loads(event.arguments), dict)


@settings(max_examples=80, deadline=None)
@given(st.lists(parts(), max_size=6))
def test_an_answer_that_is_sent_back_is_the_same_to_gemini(answer: list[dict[str, Any]]) -> None:
    """Each part goes back with its own signature; a signed text and one that follows it stay apart."""
    dialect, _ = events_of([json.dumps(chunk(*answer, finish="STOP")).encode()], stream=False)
    blocks: list[Any] = []
    text, thought = "", ""
    for event in dialect.events:
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ThinkingDelta):
            blocks += [Text(text)] if text else []
            text = ""
            thought += event.text
        elif isinstance(event, TextEnd):
            blocks.append(Text(text, signature=event.signature, provider=event.provider))
            text = ""
        elif isinstance(event, ThinkingEnd):
            blocks.append(Thinking(thought, event.signature, event.provider))
            thought = ""
        elif isinstance(event, ToolCallBegin):
            blocks += [Text(text)] if text else []
            text = ""
            blocks.append(ToolCall(event.id, event.name, "", event.signature, provider=event.provider))
        elif isinstance(event, ToolCallDelta):
            old = blocks[-1]
            blocks[-1] = ToolCall(old.id, old.name, event.arguments, old.signature, provider=old.provider)
        elif hasattr(event, "value") or hasattr(event, "media_type"):
            blocks += [Text(text)] if text else []
            text = ""
            value = getattr(event, "value", None)
            blocks.append(Opaque("gemini", value) if value else Image(media_type="image/png", data="AAAA"))
        elif isinstance(event, Finished) and text:
            blocks.append(Text(text))
    calls = [block for block in blocks if isinstance(block, ToolCall)]
    results = tuple(ToolResult(call.id, (Text("r"),)) for call in calls)
    turns = (Message("user", (Text("q"),)), Message("assistant", tuple(blocks)), Message("user", (*results, Text("q"))))
    body = told(Conversation(turns, tools=(Tool("f"), Tool("g"))), "gemini-2.5-flash")
    replayed = body["contents"][1]["parts"] if len(body["contents"]) > 1 else []
    assert joined(replayed) == joined(answer)


def joined(content: list[dict[str, Any]]) -> list[Any]:
    """Returns parts without minted ids; an unsigned text is one with the text that follows it."""
    out: list[Any] = []
    for part in content:
        last = out[-1] if out else None
        if "functionCall" in part:
            called = part["functionCall"]
            out.append((called["name"], called["args"], part.get("thoughtSignature")))
        elif (
            "text" in part
            and isinstance(last, dict)
            and "text" in last
            and "thoughtSignature" not in last
            and last.get("thought") == part.get("thought")
        ):
            out[-1] = {**part, "text": last["text"] + part["text"]}
        else:
            out.append(part)
    return out


# -- generated conversations --------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> Conversation:
    """Returns a conversation that a caller may have: calls answered, results in any order, foreign things between."""
    messages: list[Message] = []
    names = ("f", "a b", "1st")
    messages.extend(Message("system", (Text(word),)) for word in draw(st.lists(WORDS, max_size=2)))
    said = st.one_of(
        WORDS.map(Text),
        st.builds(Thinking, WORDS, SIGNATURES, st.sampled_from(["gemini", "anthropic", None])),
        st.builds(Text, WORDS, signature=SIGNATURES, provider=st.sampled_from(["gemini", "vertex", None])),
        st.just(Opaque("gemini", {"executableCode": {"language": "PYTHON", "code": "1"}})),
        st.just(Opaque("anthropic", {"type": "x"})),
        WORDS.map(Refusal),
    )
    for turn in range(draw(st.integers(1, 4))):
        asked: tuple[Any, ...] = tuple(
            draw(st.lists(st.one_of(WORDS.map(Text), st.just(Image(media_type="image/png", data=PNG))), max_size=2))
        )
        messages.append(Message("user", asked))
        blocks = draw(st.lists(said, max_size=3))
        calls = [
            ToolCall(
                f"c{turn}{place}",
                draw(st.sampled_from(names)),
                json.dumps(draw(OBJECTS)),
                draw(SIGNATURES),
                provider=draw(st.sampled_from(["gemini", "anthropic"])),
            )
            for place in range(draw(st.integers(0, 3)))
        ]
        messages.append(Message("assistant", (*blocks, *calls)))
        results = [
            Message(
                "user",
                (
                    ToolResult(
                        call.id,
                        (Text(draw(WORDS)), *draw(st.sampled_from(((), (Image(media_type="image/png", data=PNG),))))),
                        draw(st.booleans()),
                    ),
                ),
            )
            for call in draw(st.permutations(calls))
        ]
        messages.extend(results)
        if draw(st.booleans()):
            messages.append(Message("system", (Text(draw(WORDS)),)))
    messages.append(Message("user", (Text("end"),)))
    return Conversation(tuple(messages), tools=tuple(Tool(name) for name in names))


@settings(max_examples=100, deadline=None)
@given(histories(), st.sampled_from(["gemini-2.5-flash", "gemini-3-pro-preview", "gemini-3.8-flash", "gemma-3-27b-it"]))
def test_any_history_is_one_that_google_takes(conversation: Conversation, model: str) -> None:
    accepted(told(conversation, model), signs="-3" in model and "gemini" in model)


# -- garbage ------------------------------------------------------------------------------------------------------

USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 2,
    "totalTokenCount": 7,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    "serviceTier": "standard",
}
GROUNDING = {
    "groundingChunks": [{"web": {"uri": "https://x.org", "title": "t"}}],
    "groundingSupports": [{"segment": {"startIndex": 0, "endIndex": 2, "text": "ü"}, "groundingChunkIndices": [0]}],
    "searchEntryPoint": {"renderedContent": "x"},
}
LOGPROBS = {
    "chosenCandidates": [{"token": "x", "logProbability": -1.0}],
    "topCandidates": [{"candidates": [{"token": "x", "logProbability": -1.0}]}],
}
PARTS = [
    {"text": "ü", "thoughtSignature": "s"},
    {"text": "x", "thought": True},
    {"functionCall": {"name": "f", "args": {"a": 1}, "id": "1"}, "thoughtSignature": "s"},
    {"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b", "stringValue": "x"}], "willContinue": True}},
    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    {"executableCode": {"code": "1"}},
]
RESPONSE = {
    "candidates": [
        {
            "content": {"parts": PARTS, "role": "model"},
            "index": 0,
            "finishReason": "STOP",
            "groundingMetadata": GROUNDING,
            "citationMetadata": {"citations": [{"uri": "https://x.org", "startIndex": 1}]},
            "logprobsResult": LOGPROBS,
        }
    ],
    "usageMetadata": USAGE,
    "promptFeedback": {"blockReason": "SAFETY"},
    "modelVersion": "m",
    "responseId": "r",
    "createTime": "2026-01-01T00:00:00Z",
}


@settings(max_examples=150, deadline=None)
@given(spoiled(RESPONSE))
def test_a_spoiled_answer_is_an_upstream_error_or_an_answer(response: Any) -> None:
    for call, raw in ((a_call(stream=True), sse(response)), (a_call(), json.dumps(response).encode())):
        try:
            fed(decoder(call), [raw])
        except UpstreamError:
            pass


SCHEMA = {
    "type": "object",
    "properties": {"a": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/b", "description": "d"}]}},
    "$defs": {"b": {"type": "object", "properties": {}}},
}
CALLED = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REQUEST = {
    "messages": [
        {"role": "system", "content": "x"},
        {"role": "user", "name": "n", "content": [{"type": "image_url", "image_url": {"url": "gs://x/y.png"}}]},
        {
            "role": "assistant",
            "content": "xyz",
            "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s", "provider": "gemini"}],
            "provider_blocks": [{"provider": "gemini", "offset": 2, "block": {"executableCode": {"code": "1"}}}],
            "tool_calls": [CALLED],
        },
        {"role": "tool", "tool_call_id": "t", "content": [{"type": "text", "text": "{}"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    "reasoning_effort": "low",
    "stop": ["x"],
    "google": {"thinking_config": None, "safety_settings": [], "tool_config": {}},
    "generation_config": {"image_config": {}},
    "modalities": ["text", "image"],
    "web_search_options": {},
    "service_tier": "flex",
    "logprobs": True,
    "top_logprobs": 2,
}


@settings(max_examples=150, deadline=None)
@given(spoiled(REQUEST), st.sampled_from(["gemini-1.5-pro", "gemini-2.5-flash", "gemini-3-flash-preview"]))
def test_a_spoiled_request_is_refused_or_sent(request: Any, model: str) -> None:
    try:
        call = CHAT.parse("c", json.dumps(request).encode(), ())
        GEMINI.needs(call, a_deployment(model))
        GEMINI.encode(call, a_deployment(model), CHAT, {})
    except BadRequest:
        pass
