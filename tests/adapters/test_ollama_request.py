"""Requests to Ollama's own wire: each is checked against its documented fields (tests/fakes/ollama.py)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from adapters.dialects.chat import ChatDialect
from gateway.core.adapter import Fetch
from gateway.core.blocks import Conversation, Document, Message, Text, Tool, ToolCall, ToolResult
from gateway.core.errors import BadRequest
from gateway.core.types import Call
from tests.adapters.anthropic_wire import CLOSED, FORM, PNG, SEARCH, a_call, a_tool, answers, asks, calls, image, text
from tests.adapters.cohere_wire import embeddings_call
from tests.adapters.ollama_wire import ADAPTER, CHAT, EMBEDDINGS, PLACE, declared, refused, sent
from tests.fakes.ollama import check

URL = "https://x.org/a.png"


def turns(*messages: dict[str, Any], **body: Any) -> Any:
    return sent(messages=list(messages), **body)["messages"]


def test_a_chat_is_written_as_ollama_has_it() -> None:
    assert sent(max_tokens=9, stop=["a"], seed=3, temperature=0.2, top_p=0.5, top_k=4) == {
        "model": "llama3.2",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": False,
        "options": {"num_predict": 9, "temperature": 0.2, "top_p": 0.5, "top_k": 4, "seed": 3, "stop": ["a"]},
    }
    assert sent(stream=True)["stream"] is True


def test_options_may_stand_in_an_object_or_beside_and_openais_fields_come_first() -> None:
    body = sent(options={"num_ctx": 8192, "num_predict": 1, "min_p": 0.1}, repeat_penalty=1.1, max_tokens=7)
    assert body["options"] == {"num_ctx": 8192, "num_predict": 7, "min_p": 0.1, "repeat_penalty": 1.1}
    assert refused(options=[]) == "options"


def test_how_the_server_runs_the_model_is_not_a_callers_matter() -> None:
    assert sent(options={"num_gpu": 0, "num_ctx": 9})["options"] == {"num_ctx": 9}
    assert declared(options={"num_gpu": 0}) == ["options.num_gpu"]
    assert declared(num_gpu=0) == ["num_gpu"]


def test_system_messages_stay_where_they_are() -> None:
    system = {"role": "system", "content": "be brief"}
    assert turns(system, asks("q"), {"role": "assistant", "content": "a"}, system) == [
        system,
        asks("q"),
        {"role": "assistant", "content": "a"},
        system,
    ]


def test_images_are_bytes() -> None:
    content = [text("what?"), image(f"data:image/png;base64,{PNG}"), text("and?")]
    assert turns({"role": "user", "content": content}) == [
        {"role": "user", "content": "what?\n\nand?", "images": [PNG]}
    ]
    assert declared(messages=[{"role": "user", "content": content}]) == ["messages.0.content.1.detail"]


def test_an_image_by_url_is_asked_for_and_sent_as_what_was_fetched() -> None:
    content = [image(URL), image("http://x.org/b.png"), image(URL), image(f"data:image/png;base64,{PNG}")]
    messages = [{"role": "user", "content": content}, asks(URL)]
    needed = ADAPTER.needs(a_call({"messages": messages}), PLACE)
    assert [each.url for each in needed] == [URL, "http://x.org/b.png"]
    fetched = {URL: ("image/png", b"one"), "http://x.org/b.png": ("image/png", b"two")}
    written = sent(fetched, messages=messages)["messages"][0]["images"]
    assert [base64.b64decode(each) for each in written[:3]] == [b"one", b"two", b"one"]
    assert refused(messages=messages) == "messages.0.content.0"


def test_images_are_found_in_the_words_of_other_dialects() -> None:
    result = {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": URL}}]}
    bodies: list[Any] = [
        {"messages": [{"content": [{"type": "image", "source": {"type": "url", "url": URL}}]}]},
        {"messages": [{"content": [result]}]},
        {"input": [{"content": [{"type": "input_image", "image_url": URL}]}]},
    ]
    for body in bodies:
        call = Call(id="c", endpoint="chat", dialect="x", body=json.dumps(body).encode(), has_media=True)
        assert ADAPTER.needs(call, PLACE) == [Fetch(URL, "messages", ("image/",))]
    odd: list[Any] = [[], {"messages": 5}, {"messages": [5, {"content": [5, {"type": "image_url", "image_url": 5}]}]}]
    for body in odd:
        call = Call(id="c", endpoint="chat", dialect="x", body=json.dumps(body).encode(), has_media=True)
        assert ADAPTER.needs(call, PLACE) == []
    assert ADAPTER.needs(Call(id="c", endpoint="chat", dialect="x", body=b"{", has_media=True), PLACE) == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": PNG}},
        {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
        image("data:image/png;base64,!"),
    ],
)
def test_other_media_are_refused_with_their_place(part: dict[str, Any]) -> None:
    assert refused(messages=[{"role": "user", "content": [part]}]) == "messages.0.content.0"


def test_a_tool_call_and_its_result_go_back() -> None:
    history = turns(asks(), calls("c1", arguments='{"a":1}', reasoning_content="hm"), answers("c1"), tools=[SEARCH])
    assert history[1:] == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"id": "c1", "function": {"name": "search", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "found", "tool_name": "search", "tool_call_id": "c1"},
    ]
    assert turns(asks(), calls("c1", arguments=""), answers("c1"))[1]["tool_calls"][0]["function"]["arguments"] == {}


def test_what_answers_no_call_or_is_no_object_is_refused() -> None:
    assert refused(messages=[asks(), answers("c1")]) == "messages.1.tool_call_id"
    for arguments in ("[]", "{"):
        field = refused(messages=[asks(), calls("c", arguments=arguments), answers("c")])
        assert field == "messages.1.tool_calls.0.function.arguments"


def test_anothers_signed_reasoning_and_empty_turns_are_left_out() -> None:
    signed = {"type": "thinking", "thinking": "hm", "signature": "s", "provider": "anthropic"}
    history = [asks(), {"role": "assistant", "content": "a", "thinking_blocks": [signed]}, asks()]
    assert turns(*history)[1] == {"role": "assistant", "content": "a"}
    assert declared(messages=history) == ["messages"]
    assert len(turns(asks(), {"role": "assistant", "content": ""}, asks())) == 2
    assert refused(messages=[{"role": "user", "content": ""}]) == "messages"


def test_tools_are_written_and_left_out_where_none_is_to_be_called() -> None:
    tool = a_tool("f", description="d", parameters=CLOSED)
    assert sent(tools=[tool])["tools"] == [tool]
    bare = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
    assert sent(tools=[a_tool("f")], tool_choice="auto")["tools"][0]["function"] == bare
    assert "tools" not in sent(tools=[tool], tool_choice="none")
    assert declared(tools=[a_tool("f", strict=True)]) == ["tools.0.function.strict"]
    assert declared(tools=[tool], parallel_tool_calls=False) == ["parallel_tool_calls"]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "search"}}])
def test_a_call_cannot_be_forced(choice: Any) -> None:
    assert refused(tools=[SEARCH], tool_choice=choice) == "tool_choice"


def test_forms_of_the_answer() -> None:
    assert sent(response_format={"type": "json_object"})["format"] == "json"
    assert sent(response_format=FORM, tools=[SEARCH])["format"] == CLOSED
    assert "format" not in sent(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("body", "written", "fields"),
    [
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, []),
        ({"reasoning_effort": "none"}, {"think": False}, []),
        ({"reasoning_effort": "medium"}, {"think": "medium"}, []),
        ({"reasoning_effort": "minimal"}, {"think": "low"}, ["reasoning_effort"]),
        ({"reasoning_effort": "xhigh"}, {"think": "high"}, ["reasoning_effort"]),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"think": True}, ["thinking"]),
        ({"thinking": {"type": "disabled"}}, {"think": False}, []),
        ({"think": True, "keep_alive": "5m"}, {"think": True, "keep_alive": "5m"}, []),
        ({"user": "u", "metadata": {"a": "b"}, "logit_bias": {"1": 2}}, {}, ["user", "metadata", "logit_bias"]),
        ({"service_tier": "flex"}, {}, ["service_tier"]),
        ({"service_tier": "auto", "store": False}, {}, []),
        ({"prediction": {"type": "content"}}, {}, ["prediction"]),
    ],
)
def test_hints_are_kept_or_left_out_and_what_was_done_is_declared(
    body: dict[str, Any], written: dict[str, Any], fields: list[str]
) -> None:
    always = ("model", "messages", "stream", "options")
    assert {name: value for name, value in sent(**body).items() if name not in always} == written
    assert declared(**body) == fields


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
    ],
)
def test_what_changes_the_question_is_refused(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_completions_are_not_spoken_here_and_a_key_is_optional() -> None:
    with pytest.raises(BadRequest):
        ADAPTER.encode(Call(id="c", endpoint="completions", dialect="completions", body=b"{}"), PLACE, CHAT, {})
    assert ADAPTER.authorize("") == ()
    assert ADAPTER.authorize("k") == ((b"authorization", b"Bearer k"),)


# -- what other dialects may bring --------------------------------------------------------------------------------


class Saying(ChatDialect):
    """A dialect whose request is this conversation."""

    def __init__(self, *messages: Message, **more: Any) -> None:
        self._conversation = Conversation(messages, **more)

    def conversation(self, call: Call) -> Conversation:
        return self._conversation


def test_plain_text_files_are_text() -> None:
    files = (Document(text="t", name="n"), Document(text="u"))
    turns = (
        Message("user", files),
        Message("assistant", (ToolCall("c", "f", "{}"),)),
        Message("user", (ToolResult("c", files),)),
    )
    request = ADAPTER.encode(a_call(), PLACE, Saying(*turns), {})
    body = json.loads(request.body)
    check("/api/chat", body)
    written = body["messages"]
    assert written[0]["content"] == "n\n\nt\n\nu"
    assert written[2]["content"] == "n\n\nt\n\nu"
    assert [warning.split(":")[0] for warning in request.warnings] == [
        "messages.0.content.0",
        "messages.0.content.1",
        "messages.2.content.0",
        "messages.2.content.1",
    ]


@pytest.mark.parametrize(
    ("turns", "tools", "param"),
    [
        ((Message("user", (Document(file_id="f"),)),), (), "messages.0.content.0"),
        ((Message("assistant", (ToolCall("c", "f", "words", custom=True),)),), (), "messages.0.tool_calls.0"),
        ((Message("user", (Text("a"),)),), (Tool("f", custom=True),), "tools.0.type"),
        ((Message("user", (Text("a"),)),), (Tool("f", native={"type": "web_search"}),), "tools.0.type"),
    ],
)
def test_what_has_no_place_is_refused(turns: Any, tools: Any, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ADAPTER.encode(a_call(), PLACE, Saying(*turns, tools=tools), {})
    assert caught.value.param == param


def test_marks_that_say_little_are_left_out_and_declared() -> None:
    marker = {"type": "ephemeral"}
    history: list[Any] = [
        {**asks(), "name": "ann"},
        calls("c", cache_control=marker),
        answers("c", is_error=True),
        {"role": "user", "content": [{**text("a"), "cache_control": marker}]},
    ]
    tools = [a_tool("search", cache_control=marker)]
    assert declared(messages=history, tools=tools) == ["messages.0.name", "cache_control", "messages.2.is_error"]


# -- embeddings ---------------------------------------------------------------------------------------------------


def embedded(**body: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    request = ADAPTER.encode(embeddings_call(**body), PLACE, EMBEDDINGS, {})
    assert request.path == b"/api/embed"
    written: dict[str, Any] = json.loads(request.body)
    check("/api/embed", written)
    return written, request.warnings


def test_embeddings_are_asked_for_whole_unless_a_caller_wants_them_cut() -> None:
    assert embedded(input=["a", "b"], dimensions=64) == (
        {"model": "llama3.2", "input": ["a", "b"], "truncate": False, "dimensions": 64},
        (),
    )
    body, warnings = embedded(truncate=True, keep_alive=5, options={"num_ctx": 9}, num_keep=1, user="u", colour="red")
    assert body == {
        "model": "llama3.2",
        "input": ["a"],
        "truncate": True,
        "keep_alive": 5,
        "options": {"num_ctx": 9, "num_keep": 1},
    }
    assert [warning.split(":")[0] for warning in warnings] == ["user", "colour"]
    assert embedded(input_type="search_query")[1] == (
        "input_type: Ollama's models are told by the text itself, left out",
    )


def test_tokens_are_refused() -> None:
    with pytest.raises(BadRequest) as caught:
        embedded(input=[[1]])
    assert caught.value.param == "input"
