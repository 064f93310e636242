"""Laws of the translation to Bedrock: whatever is asked passes its model, whatever it says arrives."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, StreamCut
from tests.adapters.anthropic_wire import a_call, fed, reassembled, unary
from tests.adapters.bedrock_wire import LLAMA, NEW_SONNET, NOVA, OLD_SONNET, PROFILE, SONNET, decoder, encode, streaming
from tests.fakes.bedrock_wire import called, problem_of, said, stream, whole

words = st.text(max_size=12)
names = st.text("abz_-./ é", min_size=1, max_size=70)
ids = st.text("ab1-_./: ", min_size=1, max_size=70)
MODELS = [
    SONNET,
    OLD_SONNET,
    NEW_SONNET,
    NOVA,
    LLAMA,
    PROFILE,
    "mistral.mistral-7b-instruct-v0:2",
    "minimax.minimax-m2",
]
arguments = st.dictionaries(words, st.none() | st.integers() | words, max_size=3)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draws histories: words, calls with their results in some order, reasoning, cache markers."""
    messages: list[dict[str, Any]] = []
    marker = st.sampled_from([{}, {}, {"cache_control": {"type": "ephemeral"}}])
    for _ in range(draw(st.integers(1, 6))):
        role = draw(st.sampled_from(["system", "user", "assistant", "tools"]))
        if role == "tools":
            made = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
            calls = [
                {
                    "id": each,
                    "type": "function",
                    "function": {"name": draw(names), "arguments": json.dumps(draw(arguments))},
                }
                for each in made
            ]
            messages.append({"role": "assistant", "content": draw(st.none() | words), "tool_calls": calls})
            results = draw(st.permutations(made))
            messages += [
                {"role": "tool", "tool_call_id": each, "content": draw(words), **draw(marker)} for each in results
            ]
        else:
            messages.append({"role": role, "content": draw(words), **draw(marker)})
    return [*messages, {"role": "user", "content": "go on"}]


tools = st.lists(names.map(lambda name: {"type": "function", "function": {"name": name}}), max_size=3)


@given(
    st.sampled_from(MODELS),
    conversations(),
    tools,
    st.sampled_from([{}, {"tool_choice": "auto"}, {"tool_choice": "required"}, {"tool_choice": "none"}]),
    st.sampled_from([{}, {"reasoning_effort": "low"}, {"reasoning_effort": "high"}]),
    st.sampled_from(
        [{}, {"temperature": 1.9}, {"top_p": 0.3, "top_k": 4}, {"response_format": {"type": "json_object"}}]
    ),
    st.booleans(),
)
def test_whatever_is_sent_passes_botocores_model_and_the_rules(
    model: str,
    messages: list[dict[str, Any]],
    offered: list[dict[str, Any]],
    choice: dict[str, Any],
    effort: dict[str, Any],
    more: dict[str, Any],
    streamed: bool,
) -> None:
    given_tools = {"tools": offered} if offered else {}
    try:
        request = encode(model, messages=messages, stream=streamed, **given_tools, **choice, **effort, **more)
    except BadRequest as error:
        if error.param:  # what is refused is refused by name
            return
        raise
    body = json.loads(request.body)
    assert problem_of(model, body, streamed=streamed) is None
    spoken = [block["text"] for turn in body["messages"] for block in turn["content"] if "text" in block]
    for message in messages:
        if isinstance(message.get("content"), str) and message["content"].strip() and message["role"] == "user":
            assert message["content"] in spoken


blocks = st.lists(
    st.one_of(
        st.lists(words, max_size=4).map(lambda pieces: ("text", pieces)),
        st.tuples(arguments, st.integers(1, 5)).map(lambda drawn: ("tool", drawn)),
        st.tuples(words, words).map(lambda drawn: ("reasoning", drawn)),
    ),
    max_size=5,
)


@given(blocks, st.lists(st.integers(0, 3000), max_size=8))
def test_a_stream_says_what_the_whole_answer_says_however_it_is_cut(drawn: list[Any], edges: list[int]) -> None:
    events, content = [], []
    for number, (kind, inner) in enumerate(drawn):
        if kind == "text":
            events.append(said(*inner))
            content.append({"text": "".join(inner)})
        elif kind == "tool":
            text, step = json.dumps(inner[0]), inner[1]
            pieces = [text[place : place + step] for place in range(0, len(text), step)]
            events.append(called("t", *pieces, call_id=str(number)))
            content.append({"toolUse": {"toolUseId": str(number), "name": "t", "input": inner[0]}})
        else:
            thought, signature = inner
            deltas = [{"reasoningContent": {"text": thought}}, {"reasoningContent": {"signature": signature}}]
            events.append((None, deltas))
            content.append({"reasoningContent": {"reasoningText": {"text": thought, "signature": signature}}})
    raw = b"".join(stream(*events, reason="tool_use"))
    cuts = sorted({0, len(raw), *(edge for edge in edges if edge < len(raw))})
    streamed = reassembled(fed(streaming(), [raw[begin:end] for begin, end in pairwise(cuts)]))
    answer = unary(fed(decoder(a_call()), [whole(content, "tool_use")]))
    for message in (streamed, answer):
        for call in message.get("tool_calls", ()):
            call["arguments"] = json.loads(call["arguments"])
        message["content"] = message["content"] or None
    assert streamed == answer


@given(st.lists(words, min_size=1, max_size=4), st.data())
def test_a_stream_that_is_cut_never_passes_for_whole(pieces: list[str], data: st.DataObject) -> None:
    events = list(stream(said(*pieces)))
    raw = b"".join(events[:-1])  # up to the stop; the usage behind it may be missing
    reader = streaming()
    out = b"".join(reader.feed(raw[: data.draw(st.integers(0, len(raw) - 1))]))
    assert b"[DONE]" not in out
    assert reader.finish is None
    try:
        list(reader.end())
    except StreamCut:
        return
    raise AssertionError("a cut passed for an end")
