"""Laws and oracles of what is written to OpenAI's wire: its published schema, Mistral's own types, and the way back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mistralai.client import models

from adapters.dialects.chat import ChatDialect
from gateway.core.blocks import (
    Audio,
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    RedactedThinking,
    Refusal,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gateway.core.errors import BadRequest
from tests.adapters.openai_chat import encoded, schema

Line = dict[str, Any]
CHAT = ChatDialect()
VALIDATOR = schema("CreateChatCompletionRequest")

needs_schemas = pytest.mark.skipif(VALIDATOR is None, reason="the schemas are not at ../shared/schemas")

# -- conversations -------------------------------------------------------------------------------------------------

_WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
_NAMES = st.sampled_from(["f", "g", "get_weather"])
_IDS = st.sampled_from(["call_1", "call_2", "toolu_x-3", "abcdefgh9"])
_ARGUMENTS = st.sampled_from(["{}", '{"a": 1}'])
_CACHE = st.none() | st.just({"type": "ephemeral"})

_texts = st.builds(Text, _WORDS)
_images = st.builds(Image, url=st.just("https://a.example/i.png"), detail=st.sampled_from([None, "low"])) | st.builds(
    Image, media_type=st.just("image/png"), data=st.just("QUJD")
)
_documents = st.builds(Document, data=st.just("QUJD"), media_type=st.just("application/pdf"), name=st.just("a.pdf"))
_documents |= st.builds(Document, file_id=st.just("file-1"))
_media = _images | _documents | st.builds(Audio, st.just("QUJD"), st.sampled_from(["wav", "mp3"]))
_results = st.builds(ToolResult, _IDS, st.tuples(_texts))

_users = st.builds(Message, st.just("user"), st.lists(_texts | _media, min_size=1, max_size=3).map(tuple))
_users |= st.builds(Message, st.just("user"), st.lists(_results, min_size=1, max_size=2).map(tuple))
_systems = st.builds(Message, st.just("system"), st.tuples(_texts))
_calls = st.builds(ToolCall, _IDS, _NAMES, _ARGUMENTS)


@st.composite
def _assistants(draw: st.DrawFn) -> Message:
    blocks: list[Block] = []
    if draw(st.booleans()):
        blocks.append(Thinking(draw(_WORDS.filter(bool))))
    blocks.append(draw(_texts))
    if draw(st.booleans()):
        blocks.append(Refusal(draw(_WORDS.filter(bool))))
    return Message("assistant", (*blocks, *draw(st.lists(_calls, max_size=2))))


_tools = st.builds(
    Tool,
    _NAMES,
    st.none() | _WORDS.filter(bool),
    st.just({"type": "object", "properties": {}}),
    st.none() | st.booleans(),
)
_formats = st.none() | st.just(ResponseFormat("json_object"))
_formats |= st.just(ResponseFormat("json_schema", "out", {"type": "object"}, True))


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    tools = draw(st.lists(_tools, max_size=2, unique_by=lambda tool: tool.name))
    choices = [
        None,
        ToolChoice("auto"),
        ToolChoice("none"),
        ToolChoice("required"),
        *(ToolChoice("tool", t.name) for t in tools),
    ]
    return Conversation(
        messages=(*draw(st.lists(_systems | _users | _assistants(), max_size=4)), draw(_users)),
        tools=tuple(tools),
        tool_choice=draw(st.sampled_from(choices)) if tools else None,
        parallel_tool_calls=draw(st.none() | st.booleans()) if tools else None,
        max_tokens=draw(st.none() | st.integers(1, 99)),
        temperature=draw(st.sampled_from([None, 0.5])),
        stop=draw(st.sampled_from([(), ("a",), ("a", "b")])),
        seed=draw(st.none() | st.integers(0, 9)),
        response_format=draw(_formats),
        user=draw(st.none() | st.just("u")),
    )


def flat(conversation: Conversation) -> list[tuple[str, Block]]:
    return [(turn.role, block) for turn in conversation.messages for block in turn.content]


def back(body: bytes) -> Conversation:
    return CHAT.conversation(CHAT.parse("c", body, ()))


@given(conversations())
def test_a_conversation_comes_back_from_its_request_block_by_block(conversation: Conversation) -> None:
    request = encoded(conversation, "vllm")
    read = back(request.body)
    assert flat(read) == flat(conversation)
    assert request.warnings == ()
    for field in ("tools", "tool_choice", "parallel_tool_calls", "max_tokens", "temperature", "stop", "seed", "user"):
        assert getattr(read, field) == getattr(conversation, field)
    assert read.response_format == conversation.response_format


_odd = st.builds(Opaque, st.just("gemini"), st.just({"a": 1})) | st.builds(
    RedactedThinking, st.just("x"), st.just("anthropic")
)
_odd |= st.builds(Thinking, _WORDS, st.just("sig"), st.just("anthropic"))
_marked = st.builds(Text, _WORDS, _CACHE)


@given(
    said=st.lists(_marked | _odd | _calls | st.builds(Refusal, _WORDS), min_size=1, max_size=4),
    asked=st.lists(
        _marked
        | _media
        | st.builds(ToolResult, _IDS, st.lists(_marked | _images, max_size=2).map(tuple), st.booleans()),
        min_size=1,
        max_size=3,
    ),
)
def test_what_a_provider_cannot_hold_is_declared_and_a_strict_caller_is_refused(
    said: list[Block], asked: list[Block]
) -> None:
    conversation = Conversation(
        messages=(Message("user", tuple(asked)), Message("assistant", tuple(said)), Message("user", (Text("go on"),)))
    )
    request = encoded(conversation, "openai")
    read = [block for _, block in flat(back(request.body))]
    inner = [part for block in asked if isinstance(block, ToolResult) for part in (block, *block.content)]
    blocks = [*asked, *inner, *said]
    lost = any(isinstance(block, Opaque | RedactedThinking | Thinking) for block in blocks)
    lost |= any(getattr(block, "cache", None) for block in blocks)
    lost |= any(
        isinstance(block, ToolResult) and (block.is_error or any(isinstance(p, Image) for p in block.content))
        for block in asked
    )
    assert bool(request.warnings) is lost
    for kind in (ToolCall, ToolResult, Document, Audio):
        assert sum(isinstance(block, kind) for block in read) == sum(
            isinstance(block, kind) for block in [*asked, *said]
        )
    images = [block for block in blocks if isinstance(block, Image)]
    assert [block for block in read if isinstance(block, Image)] == sorted(images, key=images.index) or len(images) > 1
    if lost:
        with pytest.raises(BadRequest):
            encoded(conversation, "openai", strict=True)


# -- oracles -------------------------------------------------------------------------------------------------------


@needs_schemas
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=40)
@given(conversations(), st.booleans())
def test_openais_published_schema_takes_what_is_written(conversation: Conversation, stream: bool) -> None:
    assert VALIDATOR is not None
    VALIDATOR.validate(json.loads(encoded(conversation, "openai", "gpt-4o", stream=stream).body))


def types_of(body: dict[str, Any]) -> Iterator[str]:
    """Yields what Mistral's own types do not know of a body: they ignore it, its API refuses it."""
    known = models.ChatCompletionRequest.model_fields
    yield from body.keys() - known.keys()
    of_role = {
        "system": models.SystemMessage,
        "user": models.UserMessage,
        "assistant": models.AssistantMessage,
        "tool": models.ToolMessage,
    }
    for message in body["messages"]:
        yield from message.keys() - of_role[message["role"]].model_fields.keys()


@settings(max_examples=40)
@given(conversations(), st.booleans())
def test_mistrals_own_types_take_what_is_written(conversation: Conversation, stream: bool) -> None:
    body = json.loads(encoded(conversation, "mistral", stream=stream).body)
    for message in body["messages"]:  # recorded requests have OpenAI's form of audio, the types one of their own
        for part in message["content"] if isinstance(message["content"], list) else ():
            if part["type"] == "input_audio":
                part["input_audio"] = part["input_audio"]["data"]
    models.ChatCompletionRequest.model_validate(body)
    assert list(types_of(body)) == []
    for message in body["messages"]:
        ids = [call["id"] for call in message.get("tool_calls") or []] + [message.get("tool_call_id", "a" * 9)]
        assert all(len(one) == 9 and one.isalnum() for one in ids)


@pytest.mark.corpus
def test_every_recorded_chat_request_is_written_again_with_nothing_lost_in_silence(
    corpus_lines: Callable[[str], list[Line]],
) -> None:
    """Reads each as blocks and writes it to the same kind: what comes back is the same, or a warning says why not."""
    written = declared = 0
    refused: Counter[str | None] = Counter()
    for line in corpus_lines("*.jsonl"):
        body = line["request"].get("body")
        if line["surface"] != "chat" or line["response"]["status"] != 200 or not isinstance(body, dict):
            continue
        try:  # what is not written again is refused with its field
            conversation = CHAT.conversation(CHAT.parse("c", json.dumps(body).encode(), ()))
            kind = "openai" if line["provider"] == "cohere" else line["provider"]
            request = encoded(conversation, kind, "gpt-4o", bool(body.get("stream")))
        except BadRequest as error:
            refused[error.param] += 1
            continue
        written += 1
        read = back(request.body)
        if request.warnings:
            declared += 1
        else:
            assert _gist(read) == _gist(conversation), line["id"]
        if VALIDATOR is not None and kind == "openai":
            VALIDATOR.validate(json.loads(request.body))
    print(f"requests written again: {written}, of them with something declared: {declared}, refused: {dict(refused)}")
    assert None not in refused
    assert written > 180
    assert declared < written / 3


def _gist(conversation: Conversation) -> Any:
    """Returns what must not change: an id, what is absent and what is empty are written in a form of their own."""
    blocks = []
    for role, block in flat(conversation):
        if isinstance(block, ToolCall):
            block = msgspec.structs.replace(block, id="", arguments=block.arguments or "{}")
        elif isinstance(block, ToolResult):
            block = msgspec.structs.replace(block, call_id="")
        if not (isinstance(block, Text) and not block.text):
            blocks.append((role, block))
    tools = [
        (tool.name, tool.description, tool.schema or {"type": "object", "properties": {}})
        for tool in conversation.tools
    ]
    form = conversation.response_format
    return blocks, tools, conversation.tool_choice, None if form == ResponseFormat("text") else form, conversation.stop
