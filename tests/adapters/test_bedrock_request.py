"""A caller's request as Converse takes it: everything sent passes botocore's model, what cannot be said is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import BadRequest
from tests.adapters.anthropic_wire import CLOSED, FORM, MARKER, PNG, SEARCH, a_call, a_tool, answers, asks, calls
from tests.adapters.bedrock_wire import (
    ADAPTER,
    LLAMA,
    NEW_SONNET,
    NOVA,
    OLD_SONNET,
    PROFILE,
    SONNET,
    a_deployment,
    encode,
    refused,
    sent,
    warned,
)

R1 = "us.deepseek.r1-v1:0"
MISTRAL = "mistral.mistral-large-2402-v1:0"
OSS = "openai.gpt-oss-120b-1:0"
GPT = "us.openai.gpt-5.6-sol"
MINIMAX = "minimax.minimax-m2"
OLD_NOVA = "amazon.nova-pro-v1:0"

HISTORY = [asks(), calls("c1"), answers("c1")]


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


# -- the address --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (SONNET, b"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"),
        (NEW_SONNET, b"/model/us.anthropic.claude-sonnet-5/converse"),
        (
            PROFILE,
            b"/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A"
            b"application-inference-profile%2Fa1b2c3d4e5f6/converse",
        ),
    ],
)
def test_the_model_stands_encoded_in_the_path(model: str, path: bytes) -> None:
    assert encode(model).path == path
    assert encode(model, stream=True).path == path + b"-stream"


def test_a_plain_question() -> None:
    assert sent() == {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    assert encode().headers == ((b"content-type", b"application/json"),)


# -- inference ----------------------------------------------------------------------------------------------------


def test_sampling_bounds_and_stops_are_said_in_converses_words() -> None:
    body = sent(OLD_SONNET, max_completion_tokens=50, temperature=0.5, stop=["a", "b"], top_k=7)
    assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["a", "b"]}
    assert body["additionalModelRequestFields"] == {"top_k": 7}
    assert sent(OLD_NOVA, top_p=0.5, top_k=7) == {
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"topP": 0.5},
        "additionalModelRequestFields": {"inferenceConfig": {"topK": 7}},
    }


def test_no_bound_is_made_up() -> None:
    assert "inferenceConfig" not in sent()
    assert json.loads(encode(max_output=900).body)["inferenceConfig"] == {"maxTokens": 900}


@pytest.mark.parametrize(
    ("model", "body", "told"),
    [
        (SONNET, {"temperature": 1.5}, "temperature"),
        (SONNET, {"temperature": 0.5, "top_p": 0.5}, "top_p"),
        (NEW_SONNET, {"temperature": 0.5}, "temperature"),
        (NEW_SONNET, {"top_k": 3}, "top_k"),
        (LLAMA, {"top_k": 3}, "top_k"),
        (SONNET, {"seed": 1}, "seed"),
        (SONNET, {"frequency_penalty": 1}, "frequency_penalty"),
        (SONNET, {"logit_bias": {"1": 1}}, "logit_bias"),
        (SONNET, {"service_tier": "scale"}, "service_tier"),
        (SONNET, {"prompt_cache_key": "k"}, "prompt_cache_key"),
        (LLAMA, {"reasoning_effort": "low"}, "reasoning_effort"),
        (LLAMA, {"tools": [SEARCH], "parallel_tool_calls": False}, "parallel_tool_calls"),
    ],
)
def test_a_hint_that_has_no_place_is_declared_and_refused_where_the_caller_is_strict(
    model: str, body: dict[str, Any], told: str
) -> None:
    assert f"{told}: " in warned(model, **body)
    sent(model, **body)
    with pytest.raises(BadRequest) as caught:
        encode(model, strict=True, **body)
    assert caught.value.param == told


def test_nothing_is_declared_of_what_is_sent() -> None:
    assert warned(temperature=1, stop="x", tools=[SEARCH], service_tier="auto", user="u", metadata={"a": "b"}) == ""


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": ["a", " "]}, "stop.1"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"additionalModelRequestFields": [1]}, "additionalModelRequestFields"),
    ],
)
def test_what_would_change_the_question_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_what_only_converse_has_goes_on_as_it_came() -> None:
    own = {
        "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"},
        "requestMetadata": {"team": "blue"},
        "performanceConfig": {"latency": "optimized"},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "additionalModelRequestFields": {"custom": 1},
    }
    body = sent(service_tier="flex", **own)
    assert {name: body[name] for name in own} == own
    assert body["serviceTier"] == {"type": "flex"}


def test_a_callers_own_fields_stand_beside_ours() -> None:
    body = sent(NOVA, top_k=5, reasoning_effort="low", additionalModelRequestFields={"inferenceConfig": {"x": 1}})
    assert body["additionalModelRequestFields"] == {
        "inferenceConfig": {"x": 1, "topK": 5},
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"},
    }


# -- reasoning ----------------------------------------------------------------------------------------------------


def additional(model: str, **body: Any) -> dict[str, Any]:
    fields: dict[str, Any] = sent(model, **body).get("additionalModelRequestFields", {})
    return fields


def test_an_effort_is_said_in_the_words_of_each_family() -> None:
    assert additional(NEW_SONNET, reasoning_effort="low") == {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low"},
    }
    assert additional(OSS, reasoning_effort="medium") == {"reasoning_effort": "medium"}
    assert additional(GPT, reasoning_effort="xhigh") == {"reasoning": {"effort": "xhigh"}}
    assert additional("moonshot.kimi-k2-thinking", reasoning_effort="low") == {"reasoning_effort": "low"}
    assert additional(NOVA, reasoning_effort="medium") == {
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}
    }
    assert additional(NOVA, reasoning_effort="none") == {}


def test_a_budget_leaves_room_for_the_answer() -> None:
    body = sent(OLD_SONNET, reasoning_effort="low", temperature=0.5)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}
    assert body["inferenceConfig"] == {"maxTokens": 2048 + 4096}
    given = sent(OLD_SONNET, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000)
    assert given["inferenceConfig"] == {"maxTokens": 2000}
    assert refused(OLD_SONNET, thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=1000) == "max_tokens"


def test_high_effort_of_nova_takes_no_sampling_and_no_bound() -> None:
    body = sent(NOVA, reasoning_effort="high", temperature=0.2, top_p=0.5, top_k=3, stop="x")
    assert body["inferenceConfig"] == {"stopSequences": ["x"]}
    assert body["additionalModelRequestFields"] == {
        "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}
    }
    bounded = sent(NOVA, reasoning_effort="high", max_tokens=10)
    assert bounded["inferenceConfig"] == {"maxTokens": 10}
    assert bounded["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"
    assert "set to medium" in warned(NOVA, reasoning_effort="high", max_tokens=10)


def test_thinking_is_refused_where_the_model_has_none_and_gives_way_to_a_forced_tool() -> None:
    assert refused(NOVA, thinking={"type": "enabled", "budget_tokens": 2000}) == "thinking"
    assert sent(NOVA, thinking={"type": "disabled"}) == sent(NOVA)
    forced = {"tools": [SEARCH], "tool_choice": "required"}
    assert refused(OLD_SONNET, thinking={"type": "enabled", "budget_tokens": 2000}, **forced) == "tool_choice"
    assert "thinking" not in additional(OLD_SONNET, reasoning_effort="high", **forced)
    looping = {"messages": HISTORY, "tools": [SEARCH]}
    assert refused(OLD_SONNET, thinking={"type": "enabled", "budget_tokens": 2000}, **looping) == "messages"


# -- tools --------------------------------------------------------------------------------------------------------


def test_tools_and_their_choice() -> None:
    tool = a_tool("search", description="Finds.", parameters={"type": "object", "properties": {"q": {}}})
    config = sent(tools=[tool])["toolConfig"]
    assert config == {
        "tools": [
            {
                "toolSpec": {
                    "name": "search",
                    "description": "Finds.",
                    "inputSchema": {"json": {"type": "object", "properties": {"q": {}}}},
                }
            }
        ]
    }
    assert sent(tools=[tool], tool_choice="auto")["toolConfig"] == config
    assert sent(tools=[tool], tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}
    assert sent(tools=[tool], tool_choice=named("search"))["toolConfig"]["toolChoice"] == {"tool": {"name": "search"}}
    assert "toolConfig" not in sent(tools=[tool], tool_choice="none")


def test_a_choice_that_the_model_does_not_take_is_refused() -> None:
    assert refused(LLAMA, tools=[SEARCH], tool_choice="required") == "tool_choice"
    assert refused(MISTRAL, tools=[SEARCH], tool_choice=named("search")) == "tool_choice"
    assert sent(MISTRAL, tools=[SEARCH], tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}
    assert refused(R1, tools=[SEARCH]) == "tools"
    assert refused(R1, messages=HISTORY) == "messages"
    assert refused(tools=[SEARCH], tool_choice=named("other")) == "tool_choice.function.name"
    assert refused(tool_choice="required") == "tool_choice"
    # Of a profile nothing is known: it is asked as the caller wants, and Bedrock says what it does not take.
    assert sent(PROFILE, tools=[SEARCH], tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}


def test_a_history_with_tools_has_definitions_without_any() -> None:
    config = sent(NOVA, messages=HISTORY)["toolConfig"]
    assert [tool["toolSpec"]["name"] for tool in config["tools"]] == ["search"]
    assert additional(SONNET, messages=HISTORY) == {"tool_choice": {"type": "none"}}
    assert additional(SONNET, messages=HISTORY, tools=[SEARCH], tool_choice="none") == {"tool_choice": {"type": "none"}}
    assert refused(NOVA, messages=HISTORY, tools=[SEARCH], tool_choice="none") == "tool_choice"


def test_one_call_at_a_time_is_claudes_own_word() -> None:
    one = {"tools": [SEARCH], "parallel_tool_calls": False}
    assert additional(SONNET, **one) == {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    body = sent(tool_choice="required", **one)
    assert body["additionalModelRequestFields"] == {"tool_choice": {"disable_parallel_tool_use": True}}
    assert body["toolConfig"]["toolChoice"] == {"any": {}}


def test_names_that_converse_does_not_take_are_changed_and_kept_apart() -> None:
    long = "x" * 80
    tools = [a_tool("a.b"), a_tool("a_b"), a_tool("a/b"), a_tool(long), a_tool(long + "y")]
    written = [tool["toolSpec"]["name"] for tool in sent(tools=tools)["toolConfig"]["tools"]]
    assert written == ["a_b_2", "a_b", "a_b_3", "x" * 60, "x" * 60 + "_2"]
    assert sent(tools=tools, tool_choice=named("a.b"))["toolConfig"]["toolChoice"] == {"tool": {"name": "a_b_2"}}


def test_strict_tools_are_closed_where_the_model_holds_to_schemas() -> None:
    tool = a_tool("t", strict=True, parameters=CLOSED)
    spec = sent(tools=[tool])["toolConfig"]["tools"][0]["toolSpec"]
    assert spec["strict"] is True
    assert spec["inputSchema"]["json"]["additionalProperties"] is False
    assert "strict" not in sent(NOVA, tools=[tool])["toolConfig"]["tools"][0]["toolSpec"]
    assert "tools.0.function.strict" in warned(NOVA, tools=[tool])


def test_a_tool_that_bedrock_runs_itself_is_passed_and_any_other_is_refused() -> None:
    grounding = {"type": "systemTool", "systemTool": {"name": "nova_grounding"}}
    assert sent(NOVA, tools=[grounding])["toolConfig"]["tools"] == [{"systemTool": {"name": "nova_grounding"}}]
    assert refused(tools=[{"type": "web_search_20250305", "name": "web_search"}]) == "tools.0.type"


# -- the form of the answer ---------------------------------------------------------------------------------------


def test_a_schema_is_held_to_where_the_model_can() -> None:
    for model in (SONNET, MINIMAX, OSS):
        written = sent(model, response_format=FORM)["outputConfig"]["textFormat"]
        assert written["type"] == "json_schema"
        assert written["structure"]["jsonSchema"]["name"] == "answer"
        assert json.loads(written["structure"]["jsonSchema"]["schema"]) == {**CLOSED, "additionalProperties": False}


@pytest.mark.parametrize("form", [FORM, {"type": "json_object"}])
@pytest.mark.parametrize("model", [OLD_SONNET, NOVA, PROFILE])
def test_else_it_answers_through_a_tool(model: str, form: dict[str, Any]) -> None:
    body = sent(model, response_format=form)
    assert "outputConfig" not in body
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["json_tool_call"]
    assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "json_tool_call"}}


def test_beside_tools_any_may_be_called_and_a_named_one_is_obeyed() -> None:
    body = sent(NOVA, response_format=FORM, tools=[SEARCH, a_tool("json_tool_call")])
    names = [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
    assert names == ["search", "json_tool_call", "json_tool_call_2"]
    assert body["toolConfig"]["toolChoice"] == {"any": {}}
    obeyed = sent(NOVA, response_format=FORM, tools=[SEARCH], tool_choice=named("search"))
    assert len(obeyed["toolConfig"]["tools"]) == 1


def test_a_model_that_cannot_be_held_is_not_asked() -> None:
    assert refused(LLAMA, response_format=FORM) == "response_format"
    assert refused(R1, response_format=FORM) == "response_format"
    assert sent(LLAMA, response_format={"type": "text"}) == sent(LLAMA)


# -- whose model it is --------------------------------------------------------------------------------------------


def test_a_profile_that_hides_its_model_takes_what_its_base_model_takes() -> None:
    known = {"base_model": "anthropic.claude-3-7-sonnet-20250219-v1:0"}
    hidden = encode(PROFILE, options=known, tools=[SEARCH], parallel_tool_calls=False)
    assert b"disable_parallel_tool_use" in hidden.body
    assert b"disable_parallel_tool_use" not in encode(PROFILE, tools=[SEARCH], parallel_tool_calls=False).body
    shown = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-7-sonnet-20250219-v1:0"
    assert b"disable_parallel_tool_use" in encode(shown, tools=[SEARCH], parallel_tool_calls=False).body


# -- cache points -------------------------------------------------------------------------------------------------


def marked(text: str, **marker: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, "cache_control": {"type": "ephemeral", **marker}}


POINT = {"cachePoint": {"type": "default"}}


def test_a_marker_is_a_block_behind_what_it_marks() -> None:
    body = sent(
        messages=[
            {"role": "system", "content": [marked("rules")]},
            {"role": "user", "content": [marked("a"), {"type": "text", "text": "b"}]},
        ],
        tools=[{**SEARCH, "cache_control": {"type": "ephemeral"}}],
    )
    assert body["system"] == [{"text": "rules"}, POINT]
    assert body["messages"][0]["content"] == [{"text": "a"}, POINT, {"text": "b"}]
    assert body["toolConfig"]["tools"][1] == POINT


def test_an_hour_is_kept_where_the_model_has_it() -> None:
    hour = [{"role": "user", "content": [marked("a", ttl="1h")]}]
    assert sent(messages=hour)["messages"][0]["content"][1] == {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert sent(OLD_SONNET, messages=hour)["messages"][0]["content"][1] == POINT
    assert "cache_control.ttl" in warned(OLD_SONNET, messages=hour)


def test_markers_are_left_out_where_the_model_takes_none() -> None:
    told = [{"role": "user", "content": [marked("a")]}]
    assert sent(LLAMA, messages=told)["messages"][0]["content"] == [{"text": "a"}]
    assert "cache_control" in warned(LLAMA, messages=told)
    assert len(sent(NOVA, tools=[{**SEARCH, "cache_control": MARKER}])["toolConfig"]["tools"]) == 1
    assert len(sent(PROFILE, messages=told)["messages"][0]["content"]) == 1


def test_of_too_many_the_oldest_go_first() -> None:
    body = sent(
        messages=[
            {"role": "system", "content": [marked("rules")]},
            {"role": "user", "content": [marked("a"), marked("b"), marked("c"), marked("d")]},
        ]
    )
    assert body["system"] == [{"text": "rules"}, POINT]
    assert body["messages"][0]["content"] == [
        {"text": "a"},
        *({"text": "b"}, POINT),
        *({"text": "c"}, POINT),
        *({"text": "d"}, POINT),
    ]


# -- media --------------------------------------------------------------------------------------------------------


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def file(data: bytes, name: str | None = None, media_type: str = "application/octet-stream") -> dict[str, Any]:
    written = f"data:{media_type};base64,{base64.b64encode(data).decode()}"
    return {"type": "file", "file": {"file_data": written, **({"filename": name} if name else {})}}


WORDS = {"type": "text", "text": "sum up"}


def content(*parts: Any, model: str = SONNET, **fields: Any) -> list[dict[str, Any]]:
    body = json.loads(encode(model, messages=[{"role": "user", "content": list(parts)}], **fields).body)
    written: list[dict[str, Any]] = body["messages"][0]["content"]
    return written


def test_images_are_bytes_and_what_they_are_their_bytes_say() -> None:
    assert content(image(f"data:image/jpeg;base64,{PNG}")) == [{"image": {"format": "png", "source": {"bytes": PNG}}}]
    assert content(image("s3://bucket/a.webp")) == [
        {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}}}
    ]


def test_an_image_by_url_is_asked_for_and_sent_as_bytes() -> None:
    url = "https://example.org/a.png"
    asked = a_call(
        messages=[{"role": "user", "content": [image(url), image(url), image(f"data:image/png;base64,{PNG}")]}]
    )
    assert [fetch.url for fetch in ADAPTER.needs(asked, a_deployment())] == [url]
    assert ADAPTER.needs(a_call(), a_deployment()) == ()
    written = content(image(url), fetched={url: ("image/gif; charset=x", b"GIF89a...")})
    assert written[0]["image"]["format"] == "gif"
    assert refused(messages=[{"role": "user", "content": [image(url)]}]) == "messages.0.content.0"
    assert refused(messages=[{"role": "user", "content": [image("data:image/tiff;base64,AAAA")]}]) is not None
    assert refused(messages=[{"role": "user", "content": [image("data:image/png;base64,???")]}]) is not None


def test_documents_have_safe_names_of_their_own_and_words_beside_them() -> None:
    pdf = b"%PDF-1.7\n"
    question = {"role": "user", "content": [file(pdf, "q3_report (final).pdf"), file(pdf, "q3.report (final).pdf")]}
    written = sent(messages=[question])["messages"][0]["content"]
    assert [block["document"]["name"] for block in written if "document" in block] == [
        "q3 report (final)",
        "q3 report (final) 2",
    ]
    assert {"text": "."} in written
    assert "full stop" in warned(messages=[question])
    nameless = sent(messages=[{"role": "user", "content": [file(pdf), WORDS]}])
    assert nameless["messages"][0]["content"][0]["document"]["name"] == "Document"


@pytest.mark.parametrize(
    ("media_type", "name", "form"),
    [
        ("text/csv", None, "csv"),
        ("application/octet-stream", "notes.MD", "md"),
        ("text/x-python", None, "txt"),
        ("application/json", None, "txt"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", None, "docx"),
    ],
)
def test_a_files_format_is_told_by_its_type_or_its_name(media_type: str, name: str | None, form: str) -> None:
    assert content(file(b"a,b", name, media_type), WORDS)[0]["document"]["format"] == form


def test_a_file_that_bedrock_does_not_take_is_refused() -> None:
    assert refused(messages=[{"role": "user", "content": [file(b"PK..", "a.zip")]}]) == "messages.0.content.0"
    by_id = {"type": "file", "file": {"file_id": "file-1"}}
    assert refused(messages=[{"role": "user", "content": [by_id]}]) == "messages.0.content.0"


def test_audio_goes_as_bytes_in_the_formats_there_are() -> None:
    heard = {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}}
    assert content(heard) == [{"audio": {"format": "wav", "source": {"bytes": PNG}}}]
    heard["input_audio"]["format"] = "midi"
    assert refused(messages=[{"role": "user", "content": [heard]}]) == "messages.0.content.0"
