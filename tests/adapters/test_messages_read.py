"""A request to Anthropic's Messages is read for routing and into blocks, or refused with the path of the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters._signatures import wrap
from adapters.dialects.count_tokens import CountTokensDialect
from adapters.dialects.messages import MessagesDialect
from gateway.core.blocks import (
    Block,
    Conversation,
    Document,
    Image,
    Message,
    Opaque,
    RedactedThinking,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from gateway.core.errors import BadRequest
from gateway.core.types import Call, Headers

MESSAGES = MessagesDialect()
CACHE = {"type": "ephemeral", "ttl": "1h"}


def parse(*messages: Any, headers: Headers = (), **fields: Any) -> Call:
    body = {"model": "m", "max_tokens": 9, "messages": list(messages) or [{"role": "user", "content": "hi"}], **fields}
    return MESSAGES.parse("c", json.dumps(body).encode(), headers)


def read(*messages: Any, **fields: Any) -> Conversation:
    return MESSAGES.conversation(parse(*messages, **fields))


def user(*blocks: Any) -> tuple[Block, ...]:
    return read({"role": "user", "content": list(blocks)}).messages[0].content


def assistant(*blocks: Any) -> tuple[Block, ...]:
    return read({"role": "user", "content": "hi"}, {"role": "assistant", "content": list(blocks)}).messages[1].content


def refused(*messages: Any, **fields: Any) -> str | None:
    with pytest.raises(BadRequest) as caught:
        read(*messages, **fields)
    return caught.value.param


# -- what routing needs -------------------------------------------------------------------------------------------


def test_a_call_says_what_routing_needs() -> None:
    call = parse(stream=True, temperature=0.5, metadata={"user_id": "u"}, unknown={"a": 1})
    assert (call.dialect, call.endpoint, call.model, call.stream) == ("messages", "chat", "m", True)
    assert (call.temperature, call.max_tokens, call.n, call.user) == (0.5, 9, 1, "u")
    assert call.needs == frozenset()
    assert call.repeatable
    assert not call.counting


IMAGE = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "facts"}}


@pytest.mark.parametrize(
    ("content", "needs"),
    [
        ([IMAGE], {"vision"}),
        ([DOCUMENT], {"file"}),
        ([{"type": "tool_result", "tool_use_id": "t", "content": [IMAGE, DOCUMENT]}], {"vision", "file"}),
        ([{"type": "web_search_tool_result", "tool_use_id": "t", "content": {"type": "error"}}], set()),
    ],
)
def test_media_are_found_wherever_they_stand(content: Any, needs: set[str]) -> None:
    call = parse({"role": "user", "content": content})
    assert call.needs == needs
    assert call.has_media is bool(needs)


def test_tools_and_formats_are_needs() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    assert parse(tools=[{"name": "f", "input_schema": {}}]).needs == {"tools"}
    assert parse(output_config={"format": form}).needs == parse(output_format=form).needs == {"json_schema"}
    assert parse(output_config={"effort": "low"}).needs == frozenset()


@pytest.mark.parametrize(
    ("fields", "repeatable"),
    [
        ({"tools": [{"name": "f", "input_schema": {}}, {"type": "custom", "name": "g", "input_schema": {}}]}, True),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "tool_search_tool_bm25_20251119"}]}, True),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, False),
        ({"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, False),
        ({"container": "container_1"}, False),
        ({"container": {"id": "container_1"}}, False),
        ({"mcp_servers": [{"type": "url", "url": "https://x"}]}, False),
    ],
)
def test_what_the_provider_does_beside_answering_is_not_done_twice(fields: Any, repeatable: bool) -> None:
    assert parse(**fields).repeatable is repeatable


def test_headers_for_anthropic_are_kept_and_others_are_not() -> None:
    headers = (
        (b"anthropic-version", b"2026-10-21"),
        (b"anthropic-beta", b"a-2025-01-01, b-2025-01-01"),
        (b"anthropic-beta", b"c-2025-01-01"),
        (b"anthropic-dangerous-direct-browser-access", b"true"),
        (b"x-api-key", b"secret"),
        (b"x-headgate-strict", b"true"),
    )
    call = parse(headers=headers)
    assert dict(call.forwarded) == {
        b"anthropic-version": b"2026-10-21",
        b"anthropic-beta": b"a-2025-01-01, b-2025-01-01,c-2025-01-01",
    }
    assert call.strict
    assert parse(headers=((b"anthropic-version", b"2026\r\nx: y"), (b"anthropic-beta", b"a;b"))).forwarded == ()


def test_a_count_is_a_call_that_counts() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
    call = CountTokensDialect().parse("c", body, ())
    assert (call.dialect, call.endpoint, call.counting, call.stream) == ("messages", "chat", True, False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"tools": [3]}, "tools[0]"),
    ],
)
def test_a_body_that_cannot_be_one_names_its_field(fields: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


# -- blocks -------------------------------------------------------------------------------------------------------


def test_the_system_comes_first_and_every_message_keeps_its_place() -> None:
    asked = read(
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "system", "content": "later"},
        system=[{"type": "text", "text": "be brief", "cache_control": CACHE}],
    )
    assert asked.messages == (
        Message("system", (Text("be brief", CACHE),)),
        Message("user", (Text("a"),)),
        Message("assistant", (Text("b"),)),
        Message("system", (Text("later"),)),
    )
    assert read(system="be brief").messages[0] == Message("system", (Text("be brief"),))


def test_images_and_documents_of_every_source() -> None:
    base64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}
    parts = {"type": "content", "content": [{"type": "text", "text": "t"}, {"type": "image", "source": base64}]}
    told = {"title": "T", "context": "C", "citations": {"enabled": True}, "cache_control": CACHE}
    assert user(
        {"type": "image", "source": base64, "cache_control": CACHE},
        IMAGE,
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": pdf, **told},
        {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}},
        DOCUMENT,
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": parts},
        {"type": "document", "source": {"type": "content", "content": "words"}},
    ) == (
        Image(media_type="image/png", data="AAAA", cache=CACHE),
        Image(url="https://x/y.png"),
        Image(file_id="f"),
        Document(
            data="AAAA", media_type="application/pdf", name="T", context="C", citations={"enabled": True}, cache=CACHE
        ),
        Document(url="https://x/y.pdf"),
        Document(text="facts"),
        Document(file_id="f"),
        Document(content=(Text("t"), Image(media_type="image/png", data="AAAA"))),
        Document(content=(Text("words"),)),
    )


def test_tool_calls_and_their_results() -> None:
    called = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": [1, "ü"]}, "cache_control": CACHE}
    assert assistant(called) == (ToolCall("t", "f", '{"a":[1,"ü"]}', cache=CACHE),)
    assert user(
        {"type": "tool_result", "tool_use_id": "t", "content": "21", "is_error": True, "cache_control": CACHE},
        {"type": "tool_result", "tool_use_id": "u", "content": [{"type": "text", "text": "x"}, IMAGE]},
        {"type": "tool_result", "tool_use_id": "v"},
        {"type": "tool_result", "tool_use_id": "w", "content": [{"type": "tool_reference", "tool_name": "f"}]},
    ) == (
        ToolResult("t", (Text("21"),), is_error=True, cache=CACHE),
        ToolResult("u", (Text("x"), Image(url="https://x/y.png"))),
        ToolResult("v", ()),
        ToolResult("w", (Opaque("anthropic", {"type": "tool_reference", "tool_name": "f"}),)),
    )


def test_a_signature_says_whose_it_is() -> None:
    def thought(text: str, signature: str) -> dict[str, Any]:
        return {"type": "thinking", "thinking": text, "signature": signature}

    assert assistant(
        thought("a", "c2ln"),
        thought("b", wrap("rs_1", "ZW5j", "openai")),
        thought("c", wrap("", "", None)),
        thought("d", ""),
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "redacted_thinking", "data": wrap("", "ZW5j", "bedrock")},
        {"type": "redacted_thinking", "data": wrap("block", '{"type":"web_search_call"}', "openai")},
        {"type": "tool_use", "id": wrap("t", "c2ln", "gemini"), "name": "f", "input": {}},
        {"type": "text", "text": "so"},
        thought("", wrap("text", "dGV4dA==", "gemini")),
    ) == (
        Thinking("a", "c2ln", "anthropic"),
        Thinking("b", "ZW5j", "openai", "rs_1"),
        Thinking("c"),
        Thinking("d"),
        RedactedThinking("ZW5j", "anthropic"),
        RedactedThinking("ZW5j", "bedrock"),
        Opaque("openai", {"type": "web_search_call"}),
        ToolCall("t", "f", "{}", "c2ln", provider="gemini"),
        Text("so", signature="dGV4dA==", provider="gemini"),
    )
    assert user({"type": "tool_result", "tool_use_id": wrap("t", "c2ln", "gemini")}) == (ToolResult("t", ()),)


@pytest.mark.parametrize("kind", ["server_tool_use", "web_search_tool_result", "mcp_tool_use", "not_invented_yet"])
def test_blocks_that_only_anthropic_knows_are_kept_as_they_are(kind: str) -> None:
    block = {"type": kind, "id": "s", "content": [{"deep": [1]}]}
    assert assistant(block) == (Opaque("anthropic", block),)


def test_citations_stay_with_their_text() -> None:
    cited = {"type": "char_location", "cited_text": "x", "document_index": 0}
    assert assistant({"type": "text", "text": "x", "citations": [cited]}) == (Text("x", citations=(cited,)),)


# -- settings -----------------------------------------------------------------------------------------------------


def test_tools_of_the_caller_and_of_anthropic() -> None:
    schema = {"type": "object"}
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    asked = read(
        tools=[
            {"name": "f", "description": "d", "input_schema": schema, "strict": True, "cache_control": CACHE},
            {"type": "custom", "name": "g", "input_schema": schema, "defer_loading": True},
            search,
            {"type": "mcp_toolset", "mcp_server_name": "s"},
        ]
    )
    assert asked.tools == (
        Tool("f", "d", schema, strict=True, cache=CACHE),
        Tool("g", schema=schema),
        Tool("web_search", native=search),
        Tool("mcp_toolset", native={"type": "mcp_toolset", "mcp_server_name": "s"}),
    )
    assert asked.extra == {"tools.defer_loading": True}


@pytest.mark.parametrize(
    ("choice", "read_as", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f", "disable_parallel_tool_use": False}, ToolChoice("tool", "f"), True),
        ({"type": "none"}, ToolChoice("none"), None),
    ],
)
def test_the_tool_choice_and_parallel_calls(choice: Any, read_as: ToolChoice, parallel: bool | None) -> None:
    asked = read(tool_choice=choice)
    assert (asked.tool_choice, asked.parallel_tool_calls) == (read_as, parallel)


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "adaptive"}}, "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}, "xhigh"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        ({"output_config": {"effort": "low"}}, "low"),
    ],
)
def test_thinking_is_an_effort_too(fields: Any, effort: str | None) -> None:
    asked = read(**fields)
    assert asked.reasoning_effort == effort
    assert asked.thinking == fields.get("thinking")


def test_the_rest_of_a_request() -> None:
    schema = {"type": "object", "properties": {}}
    asked = read(
        temperature=1,
        top_p=0.9,
        top_k=5,
        stop_sequences=["a", "b"],
        service_tier="standard_only",
        metadata={"user_id": "u", "team": "t"},
        output_config={"format": {"type": "json_schema", "schema": schema}, "task_budget": {"total": 9}},
        context_management={"edits": []},
        speed="fast",
        stream=True,
    )
    assert (asked.temperature, asked.top_p, asked.top_k, asked.max_tokens) == (1.0, 0.9, 5, 9)
    assert (asked.stop, asked.service_tier, asked.user) == (("a", "b"), "default", "u")
    assert asked.response_format == ResponseFormat("json_schema", "answer", schema, strict=True)
    assert asked.extra == {
        "context_management": {"edits": []},
        "metadata": {"team": "t"},
        "output_config": {"task_budget": {"total": 9}},
        "speed": "fast",
    }
    unset = read(top_p=-1, top_k=-1)
    assert (unset.top_p, unset.top_k) == (None, None)


def test_what_cannot_be_read_names_its_field() -> None:
    def said(role: str, *blocks: Any) -> dict[str, Any]:
        return {"role": role, "content": list(blocks)}

    assert refused({"role": "tool", "content": "x"}) == "messages.0.role"
    assert refused({"role": "user", "content": None}) == "messages.0.content"
    assert refused(said("user", {"type": "text"})) == "messages.0.content.0.text"
    assert refused(said("user", {"text": "x"})) == "messages.0.content.0.type"
    assert refused(said("user", {"type": "image"})) == "messages.0.content.0.source"
    assert refused(said("user", {"type": "image", "source": {"type": "ftp"}})) == "messages.0.content.0.source.type"
    assert refused(said("user", {"type": "tool_use", "id": "t", "name": "f"})) == "messages.0.content.0"
    assert refused(said("assistant", {"type": "tool_use", "id": "t", "name": "f", "input": "x"})) == (
        "messages.0.content.0.input"
    )
    assert refused(tool_choice={"type": "maybe"}) == "tool_choice.type"
    assert refused(output_config={"format": {"type": "xml"}}) == "output_config.format.type"
    assert refused(output_format={"type": "json_schema"}) == "output_format.schema"
    assert refused(stop_sequences="x") == "stop_sequences"
    assert refused(temperature=1.5) == "temperature"
    assert refused(tools=[{"input_schema": {}}]) == "tools.0.name"
