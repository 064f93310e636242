"""Laws that hold for any answer and any history, found by hypothesis."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, UpstreamError
from tests.adapters.anthropic_wire import ADAPTER, CHAT, a_call, a_deployment, decoder, fed, reassembled, stream, unary

WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
PIECES = st.lists(WORDS, min_size=1, max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(WORDS, VALUES, max_size=3)
Block = tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]  # as streamed: start, deltas; and whole


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[begin:end] for begin, end in pairwise(edges)]


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    kind = draw(st.sampled_from(["text", "cited", "thinking", "redacted", "tool", "server"]))
    if kind in ("text", "cited"):
        parts = draw(PIECES)
        deltas: list[dict[str, Any]] = [{"type": "text_delta", "text": part} for part in parts]
        whole: dict[str, Any] = {"type": "text", "text": "".join(parts)}
        if kind == "cited":
            citation = {"type": "web_search_result_location", "url": "https://x.org", "title": draw(WORDS)}
            deltas.insert(0, {"type": "citations_delta", "citation": citation})
            whole["citations"] = [citation]
        return {"type": "text", "text": ""}, deltas, whole
    if kind == "thinking":
        parts = draw(PIECES)
        signature = draw(WORDS)
        deltas = [{"type": "thinking_delta", "thinking": part} for part in parts]
        deltas.append({"type": "signature_delta", "signature": signature})
        whole = {"type": "thinking", "thinking": "".join(parts), "signature": signature}
        return {"type": "thinking", "thinking": "", "signature": ""}, deltas, whole
    if kind == "redacted":
        whole = {"type": "redacted_thinking", "data": draw(WORDS)}
        return whole, [], whole
    given_input = draw(OBJECTS)
    named = {"type": "tool_use" if kind == "tool" else "server_tool_use", "id": draw(WORDS), "name": "f"}
    written = json.dumps(given_input, ensure_ascii=False, separators=(",", ":"))
    cuts = draw(st.lists(st.integers(0, 50), max_size=4))
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in pieces_of(written, cuts)]
    return {**named, "input": {}}, deltas if given_input else [], {**named, "input": given_input}


ANSWERS = st.lists(blocks(), max_size=6)


@settings(max_examples=150, deadline=None)
@given(ANSWERS, st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal"]), st.data())
def test_the_deltas_of_a_stream_add_up_to_the_whole_answer(answer: list[Block], stop: str, data: st.DataObject) -> None:
    raw = b"".join(stream([(start, deltas) for start, deltas, _ in answer], stop))
    edges = sorted({0, len(raw), *data.draw(st.lists(st.integers(0, len(raw)), max_size=8))})
    reads = [raw[begin:end] for begin, end in pairwise(edges)]
    streamed = reassembled(fed(decoder(a_call(stream=True, stream_options={"include_usage": True})), reads))
    message = {
        "id": "msg_1",
        "model": "claude-x",
        "content": [whole for _, _, whole in answer],
        "stop_reason": stop,
        "usage": {"input_tokens": 10, "output_tokens": 7},
    }
    whole = unary(fed(decoder(), [json.dumps(message).encode()]))
    assert streamed == whole
    for call in whole.get("tool_calls", ()):
        assert isinstance(json.loads(call["arguments"]), dict)


@settings(max_examples=150, deadline=None)
@given(ANSWERS, st.booleans())
def test_an_answer_that_is_sent_back_is_the_same_to_anthropic(answer: list[Block], as_stream: bool) -> None:
    """Text, reasoning and the provider's blocks keep order and content; text blocks side by side become one."""
    calls = [whole for _, _, whole in answer if whole["type"] == "tool_use"]
    others = [whole for _, _, whole in answer if whole["type"] != "tool_use"]
    ordered = others + calls  # where calls and other blocks alternate, a chat message has no place for it
    for number, call in enumerate(calls):
        call["id"] = f"toolu_{number}"
    sent_back: dict[str, Any]
    body = {"id": "m", "model": "x", "content": ordered, "stop_reason": "end_turn"}
    if as_stream:
        raw = stream([(block, []) for block in ordered])
        sent_back = reassembled(fed(decoder(a_call(stream=True)), raw))
        for call in sent_back.get("tool_calls", ()):
            call["function"] = {"name": call.pop("name"), "arguments": call.pop("arguments")}
    else:
        sent_back = json.loads(fed(decoder(), [json.dumps(body).encode()]))["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "r"} for call in calls]
    history = [
        {"role": "user", "content": "q"},
        {**sent_back, "role": "assistant"},
        *results,
        {"role": "user", "content": "q"},
    ]
    request = ADAPTER.encode(a_call({"messages": history}), a_deployment(), CHAT, {})
    turns = json.loads(request.body)["messages"]
    replayed = turns[1]["content"] if len(turns) == 3 else []
    assert joined(replayed) == joined(ordered)


def joined(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for block in content:
        if block["type"] != "text":
            out.append(block)
        elif out and out[-1]["type"] == "text":
            out[-1] = {"type": "text", "text": out[-1]["text"] + block["text"]}
        else:
            out.append({"type": "text", "text": block["text"]})
    return [block for block in out if block["type"] != "text" or block["text"].strip()]


GARBAGE: Any = st.sampled_from(
    [None, True, -1, 1.5, "", "x", [], [1], ["x"], [None], {}, {"x": 1}, [{}], {"type": "text"}]
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the path of every value in the document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(found for key, value in inner for found in places(value, (*path, key)))]


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> Any:
    """Returns the document with garbage in the place of one value of it."""
    whole: Any = {"": json.loads(json.dumps(document))}
    *way, last = ("", *draw(st.sampled_from(places(document))))
    holder = whole
    for key in way:
        holder = holder[key]
    holder[last] = draw(GARBAGE)
    return whole[""]


USAGE = {
    "input_tokens": 1,
    "output_tokens": 2,
    "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_5m_input_tokens": 3},
    "output_tokens_details": {"thinking_tokens": 1},
    "iterations": [{"type": "message", "input_tokens": 1, "output_tokens": 2}],
    "service_tier": "standard",
}
CONTENT = [
    {"type": "text", "text": "x", "citations": [{"url": "https://x.org", "title": "t"}]},
    {"type": "thinking", "thinking": "x", "signature": "s"},
    {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    {"type": "server_tool_use", "id": "s", "name": "g", "input": {}},
    {"type": "compaction", "content": None},
]
EVENTS = [
    {"type": "message_start", "message": {"id": "m", "model": "x", "usage": USAGE, "content": []}},
    *({"type": "content_block_start", "index": index, "content_block": block} for index, block in enumerate(CONTENT)),
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "x"}},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "citations_delta", "citation": {"url": "https://x.org"}},
    },
    {"type": "content_block_delta", "index": 1, "delta": {"type": "signature_delta", "signature": "x"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
    {"type": "content_block_delta", "index": 4, "delta": {"type": "compaction_delta", "content": "x"}},
    *({"type": "content_block_stop", "index": index} for index in range(5)),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "refusal", "stop_details": {"explanation": "x"}},
        "usage": USAGE,
    },
    {"type": "message_stop"},
]
MESSAGE = {"id": "m", "model": "x", "content": CONTENT, "stop_reason": "refusal", "stop_details": {}, "usage": USAGE}


@settings(max_examples=300, deadline=None)
@given(spoiled(EVENTS), spoiled(MESSAGE))
def test_a_spoiled_answer_is_an_upstream_error_or_an_answer(events: Any, message: Any) -> None:
    parts = events if isinstance(events, list) else [events]
    for call, reads in (
        (a_call(stream=True), [f"event: x\ndata: {json.dumps(part)}\n\n".encode() for part in parts]),
        (a_call(), [json.dumps(message).encode()]),
    ):
        try:
            fed(decoder(call), reads)
        except UpstreamError:
            pass


SCHEMA = {
    "type": "object",
    "properties": {
        "a": {"anyOf": [{"type": "string", "format": "x"}, {"$ref": "#/$defs/b"}]},
        "c": {"type": "array", "items": {}},
    },
    "$defs": {"b": {"type": "object", "properties": {}}},
    "required": ["a"],
}
CALLED = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
REQUEST = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"role": "user", "name": "n", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]},
        {
            "role": "assistant",
            "content": "xyz",
            "thinking_blocks": [{"type": "thinking", "thinking": "x", "signature": "s", "offset": 1}],
            "provider_blocks": [{"provider": "anthropic", "offset": 2, "block": {"type": "server_tool_use"}}],
            "tool_calls": [CALLED],
        },
        {
            "role": "tool",
            "tool_call_id": "t",
            "content": [{"type": "file", "file": {"file_data": "AAAA", "format": "text/x"}}],
        },
        {"role": "assistant", "function_call": {"name": "f", "arguments": ""}},
        {"role": "function", "name": "f", "content": "x"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA, "strict": True}}
    ],
    "functions": [{"name": "g", "parameters": {"$ref": "#/$defs/b", "$defs": {"b": {"type": "object"}}}}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CALLED]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "reasoning_effort": {"effort": "low", "summary": "auto"},
    "stop": ["x"],
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "user": "u",
    "output_config": {"effort": "low"},
    "betas": ["x"],
    "safety_identifier": "x",
    "temperature": 0.5,
    "n": 1,
}


@settings(max_examples=400, deadline=None)
@given(spoiled(REQUEST), st.sampled_from(["claude-sonnet-4-5", "claude-3-5-haiku", "claude-opus-5"]))
def test_a_spoiled_request_is_refused_or_sent(request: Any, model: str) -> None:
    try:
        call = CHAT.parse("c", json.dumps(request).encode(), ())
        ADAPTER.encode(call, a_deployment(model), CHAT, {})
    except BadRequest:
        pass
