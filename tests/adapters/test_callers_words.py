"""What a translator says of a field is said by the caller's own name for it, in errors and in warnings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from adapters import anthropic, bedrock, cohere, gemini, ollama, openai
from adapters._signatures import wrap
from adapters.dialects.chat import ChatDialect
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.messages import MessagesDialect
from adapters.dialects.responses import ResponsesDialect
from gateway.core.dialect import Dialect
from gateway.core.errors import BadRequest
from gateway.core.types import Deployment
from gateway.encode import encoded

DIALECTS: Mapping[str, Dialect] = {
    "chat": ChatDialect(),
    "messages": MessagesDialect(),
    "count_tokens": CountTokensDialect(),
    "responses": ResponsesDialect(),
}
PROVIDERS: Mapping[str, Any] = {
    "anthropic": anthropic,
    "bedrock": bedrock,
    "cohere": cohere,
    "gemini": gemini,
    "ollama": ollama,
    "openai": openai,
}
MODELS = {"anthropic": "claude-sonnet-4-5", "bedrock": "anthropic.claude-sonnet-4-5-v1:0", "gemini": "gemini-2.5-pro"}


def told(dialect: str, kind: str, body: dict[str, Any]) -> tuple[str, ...]:
    """Returns the fields that the caller is told of: those of warnings, or an error's, and another in its message."""
    speaker = DIALECTS[dialect]
    call = speaker.parse("c", json.dumps({"model": "m", **body}).encode(), ())
    place = Deployment("d", kind, kind, MODELS.get(kind, "m"), kind, b"/v1", ())
    try:
        request = encoded(PROVIDERS[kind].adapter(), call, place, speaker, {})
    except BadRequest as error:
        chats_name = re.search(r"messages\.\d+[a-z0-9_.]*", error.message)
        return (
            error.param or "",
            *([chats_name[0]] if chats_name and chats_name[0] not in (error.param or "") else ()),
        )
    return tuple(warning.partition(":")[0] for warning in request.warnings)


def messages(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"max_tokens": 99, "messages": list(turns), **fields}


def user(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


TEXT = {"type": "text", "text": "so"}
CALL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
SYSTEMS: list[dict[str, Any]] = [{}, {"system": "be brief"}, {"system": [TEXT, TEXT]}]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", ["openai", "bedrock", "cohere"])
def test_a_block_of_messages_is_named_by_its_place_whether_or_not_a_system_stands_apart(
    system: dict[str, Any], kind: str
) -> None:
    assert told("messages", kind, messages(user("a", FILE), **system)) == ("messages.0.content.1",)
    assert told("count_tokens", kind, messages(user("a"), assistant(TEXT), user(FILE), **system)) == (
        "messages.2.content.0",
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_calls_and_results_are_named_as_messages_has_them(system: dict[str, Any]) -> None:
    unanswered = messages(user("a"), assistant(TEXT, CALL), user("b"), **system)
    assert told("messages", "gemini", unanswered) == ("messages.1.content.1",)
    orphan = messages(user("a"), user("b", RESULT), **system)
    for kind in ("bedrock", "gemini", "cohere", "ollama"):
        assert told("messages", kind, orphan) == ("messages.1.content.1.tool_use_id",)
    two = messages(user("a"), user(RESULT, RESULT), **system)
    assert told("messages", "bedrock", two) == ("messages.1",)


def test_what_is_within_a_result_is_named_within_it_and_where_that_is_not_known_the_message_is() -> None:
    holding = {**RESULT, "content": [TEXT, FILE]}
    history = [user("a"), assistant(CALL)]
    assert told("messages", "bedrock", messages(*history, user(holding), system="s")) == (
        "messages.2.content.0.content.1",
    )
    beside = messages(*history, user(RESULT, "b", FILE), system="s")
    assert told("messages", "bedrock", beside) == ("messages.2.content.2",)
    either = messages(*history, user(holding, FILE), system="s")
    assert told("messages", "bedrock", either) == ("messages.2",)


def test_a_signature_after_a_text_does_not_move_what_follows() -> None:
    signed = {"type": "thinking", "thinking": "", "signature": wrap("text", "c2ln", "gemini")}
    history = messages(user("a"), assistant(TEXT, signed, CALL), user("b"), system="s")
    assert told("messages", "bedrock", history) == ("messages.1.content.2",)


def test_other_fields_have_the_names_that_messages_gives_them() -> None:
    call = DIALECTS["messages"].parse("c", json.dumps(messages(user("a"))).encode(), ())
    canonical = ["tools.0.function.parameters", "tools.0.function.strict", "response_format", "user", "stop.1", "top_k"]
    assert DIALECTS["messages"].fields(call, canonical) == [
        "tools.0.input_schema",
        "tools.0.strict",
        "output_config.format",
        "metadata.user_id",
        "stop_sequences.1",
        "top_k",
    ]
    assert told("messages", "cohere", messages(user("a"), stop_sequences=["a"] * 9)) == ("stop_sequences",)
    budget = {"type": "enabled", "budget_tokens": 2048}
    assert "thinking" in told("messages", "openai", messages(user("a"), thinking=budget))
    high = messages(user("a"), output_config={"effort": "high"})
    assert told("messages", "openai", high) == ("output_config.effort",)


def item(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


ASKED = {"role": "user", "content": "hi"}
BROKEN = item("function_call", call_id="t", name="f", arguments="{")
ANSWER = item("function_call_output", call_id="t", output="x")
KEPT = {"type": "input_file", "file_id": "file_1"}


@pytest.mark.parametrize("instructions", [{}, {"instructions": "be brief"}])
@pytest.mark.parametrize("kind", ["anthropic", "bedrock", "gemini"])
def test_items_of_responses_are_named_by_their_place(instructions: dict[str, Any], kind: str) -> None:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "so"}]}
    reasoned = item("reasoning", id="rs_1", summary=[{"type": "summary_text", "text": "hm"}])
    broken = {"input": [ASKED, reasoned, said, BROKEN, ANSWER], **instructions}
    assert told("responses", kind, broken)[-1] == "input.3.arguments"
    assert told("responses", kind, {"input": [ASKED, ANSWER], **instructions}) == ("input.1.call_id",)


@pytest.mark.parametrize("instructions", [{}, {"instructions": "be brief"}])
def test_parts_of_responses_are_named_by_their_place(instructions: dict[str, Any]) -> None:
    part = {"input": [ASKED, {"role": "user", "content": [{"type": "input_text", "text": "a"}, KEPT]}], **instructions}
    assert told("responses", "bedrock", part) == ("input.1.content.1",)
    called = item("function_call", call_id="t", name="f", arguments="{}")
    within = {"input": [ASKED, called, {**ANSWER, "output": [KEPT]}], **instructions}
    assert told("responses", "bedrock", within) == ("input.2.output.0",)


def test_other_fields_have_the_names_that_responses_give_them() -> None:
    def asked(**fields: Any) -> dict[str, Any]:
        return {"input": "hi", **fields}

    tool = {"type": "function", "name": "f", "parameters": {"anyOf": [{"type": "object"}]}}
    assert told("responses", "anthropic", asked(tools=[tool])) == ("tools.0.parameters",)
    assert told("responses", "cohere", asked(reasoning={"effort": "extreme"})) == ("reasoning.effort",)
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    form = {"format": {"type": "json_schema", "name": "n", "schema": {**schema, "additionalProperties": False}}}
    assert told("responses", "anthropic", asked(text=form)) == ("text.format.schema",)


def test_what_reading_the_request_comes_upon_keeps_its_name() -> None:
    broken = messages(user("a"), user({"type": "image", "source": 1}), system="s")
    assert told("messages", "bedrock", broken) == ("messages.1.content.0.source",)


def test_chat_is_named_as_it_is() -> None:
    called = {"id": "t", "type": "function", "function": {"name": "f", "arguments": "{"}}
    history = [ASKED, {"role": "assistant", "content": None, "tool_calls": [called]}]
    assert told("chat", "anthropic", {"messages": [{"role": "system", "content": "s"}, *history]}) == (
        "messages.2.tool_calls.0.function.arguments",
    )


def test_a_relay_names_fields_as_they_came() -> None:
    foreign = {"type": "thinking", "thinking": "hm", "signature": wrap("", "c2ln", "gemini")}
    assert told("messages", "anthropic", messages(user("a"), assistant(foreign, TEXT), user("b"))) == ("messages",)
