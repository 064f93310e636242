"""A request's settings as Gemini's: sampling, formats, tools, thinking, media; what is refused, and what declared."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.adapters.anthropic_wire import CLOSED, FORM, PDF, PNG, a_tool, asks
from tests.adapters.gemini_rules import accepted
from tests.adapters.gemini_wire import GEMINI, a_call, encode, sent
from tests.adapters.test_gemini_turns import refused

NEW = "gemini-3-flash-preview"
NEWEST = "gemini-3.8-flash"
OLD = "gemini-1.5-flash"


def config(model: str = "gemini-2.5-flash", **body: Any) -> dict[str, Any]:
    written = sent(model, **body)
    accepted(written, signs=False)
    found: dict[str, Any] = written.get("generationConfig", {})
    return found


def warned(model: str = "gemini-2.5-flash", **body: Any) -> str:
    return " ".join(encode(model, **body).warnings)


def test_sampling_and_bounds_have_gemini_names() -> None:
    assert config(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        seed=7,
        presence_penalty=1,
        frequency_penalty=-1,
        stop=["a", "b"],
        n=2,
        logprobs=True,
        top_logprobs=3,
    ) == {
        "maxOutputTokens": 5,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 4,
        "seed": 7,
        "presencePenalty": 1.0,
        "frequencyPenalty": -1.0,
        "stopSequences": ["a", "b"],
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 3,
    }


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 9}, "n"),
        ({"stop": list("abcdef")}, "stop"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "wav"}}, "audio"),
        ({"tool_choice": "required"}, "tool_choice"),
        (
            {"tools": [a_tool("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice.function.name",
        ),
        ({"tools": [{"type": "shell"}]}, "tools.0.type"),
        ({"tools": [a_tool("f"), {"type": "google_search"}]}, "tools"),
        ({"tools": [a_tool("f")], "response_format": FORM}, "response_format"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": "low", "thinking_config": {"thinkingBudget": 1}}, "reasoning_effort"),
        ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
    ],
)
def test_what_would_be_another_question_is_refused_by_its_field(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_hints_are_left_out_and_declared_and_refused_to_the_strict() -> None:
    assert "logit_bias" in warned(logit_bias={"1": 1})
    assert "user" in warned(user="u")
    assert "verbosity" in warned(verbosity="low")
    assert warned(store=False, prompt_cache_key="k", safety_identifier="s") == ""
    assert refused(strict=True, logit_bias={"1": 1}) == "logit_bias"
    assert refused(strict=True, verbosity="low") == "verbosity"


def test_the_newest_models_take_no_sampling() -> None:
    assert config(NEWEST, temperature=0.2, top_p=0.5, presence_penalty=0.5, seed=1) == {"seed": 1}
    said = warned(NEWEST, temperature=0.2, top_p=0.5, presence_penalty=0.5)
    assert all(name in said for name in ("temperature", "top_p", "presence_penalty"))
    assert warned(NEWEST, temperature=1, top_p=1, presence_penalty=0) == ""


def test_a_low_temperature_is_advised_against_where_google_does_and_sent() -> None:
    assert config(NEW, temperature=0.2)["temperature"] == 0.2
    assert "temperature" in warned(NEW, temperature=0.2)
    assert encode(NEW, strict=True, temperature=0.2).warnings == ()


def test_a_format_is_json_schema_or_the_older_subset() -> None:
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    assert config(response_format=FORM)["responseJsonSchema"] == CLOSED
    old = config(OLD, response_format=FORM)["responseSchema"]
    assert old == {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}, "required": ["n"]}
    assert config(NEW, tools=[a_tool("f")], response_format=FORM)["responseMimeType"] == "application/json"
    beside = sent(tools=[a_tool("f")], tool_choice="none", response_format=FORM)
    assert "tools" not in beside  # none may be called, and an older model takes no format beside them
    pattern = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "pattern": "a"}}}
    assert "pattern" in warned(response_format=pattern)


def test_functions_stand_in_one_list_and_googles_tools_beside_it() -> None:
    tools = [
        a_tool("f", description="d", parameters=CLOSED),
        {"type": "google_search"},
        a_tool("g"),
        {"type": "url_context", "url_context": {}},
        {"type": "web_search"},
    ]
    body = sent(NEW, tools=tools)
    assert body["tools"] == [
        {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": CLOSED}, {"name": "g"}]},
        {"googleSearch": {}},
        {"urlContext": {}},
    ]
    accepted(body, signs=True)
    assert sent(web_search_options={})["tools"] == [{"googleSearch": {}}]


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "a b"}}, {"mode": "ANY", "allowedFunctionNames": ["a_b"]}),
    ],
)
def test_the_choice_of_a_tool_is_a_mode(choice: Any, mode: dict[str, Any]) -> None:
    body = sent(tools=[a_tool("a b"), a_tool("a_c")], tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": mode}
    accepted(body, signs=False)


def test_a_strict_tool_is_held_to_its_schema_where_the_model_can_be() -> None:
    strict = a_tool("f", parameters=CLOSED, strict=True)
    assert sent(tools=[strict])["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert "toolConfig" not in sent("gemini-2.0-flash", tools=[strict])
    assert "strict" in warned("gemini-2.0-flash", tools=[strict])


def test_one_call_at_a_time_cannot_be_asked_for() -> None:
    assert "parallel_tool_calls" in warned(tools=[a_tool("f"), a_tool("g")], parallel_tool_calls=False)
    assert warned(tools=[a_tool("f")], parallel_tool_calls=False) == ""


def test_names_that_gemini_does_not_take_are_changed_without_two_becoming_one() -> None:
    names = ["a b", "a_b", "1st", "x" * 80, "ok.name:v-1"]
    body = sent(tools=[a_tool(name) for name in names])
    found = [each["name"] for each in body["tools"][0]["functionDeclarations"]]
    assert len(set(found)) == len(names)
    assert (found[1], found[4]) == ("a_b", "ok.name:v-1")
    assert all(len(name) <= 64 and (name[0].isalpha() or name[0] == "_") for name in found)


# -- thinking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"reasoning_effort": "minimal"}, {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", {"reasoning_effort": "medium"}, {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-flash", {"reasoning_effort": "high"}, {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-flash", {"reasoning_effort": "max"}, {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-pro", {"reasoning_effort": "max"}, {"thinkingBudget": 32768, "includeThoughts": True}),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128}),
        (
            "gemini-2.5-flash",
            {"reasoning_effort": "high", "max_tokens": 1000},
            {"thinkingBudget": 500, "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash",
            {"thinking": {"type": "enabled", "budget_tokens": 99}},
            {"thinkingBudget": 99, "includeThoughts": True},
        ),
        (
            "gemini-2.5-flash-lite",
            {"thinking": {"type": "enabled", "budget_tokens": 99}},
            {"thinkingBudget": 512, "includeThoughts": True},
        ),
        ("gemini-2.5-flash", {"thinking": {"type": "adaptive"}}, {"thinkingBudget": -1, "includeThoughts": True}),
        ("gemini-2.5-flash", {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"thinking_config": {"thinkingBudget": 7}}, {"thinkingBudget": 7}),
        ("gemini-2.5-flash", {"google": {"thinking_config": {"thinking_budget": 7}}}, {"thinking_budget": 7}),
        (NEW, {"reasoning_effort": "minimal"}, {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        (NEW, {"reasoning_effort": "medium"}, {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        (NEW, {"reasoning_effort": "xhigh"}, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        (NEW, {"reasoning_effort": "none"}, {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", {"reasoning_effort": "medium"}, {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3.1-pro-preview", {"reasoning_effort": "minimal"}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        (
            NEW,
            {"thinking": {"type": "enabled", "budget_tokens": 9000}},
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
        (NEW, {"thinking": {"type": "adaptive"}}, {"includeThoughts": True}),
        ("gemini-2.0-flash", {"reasoning_effort": "high"}, None),
        ("gemini-2.5-flash", {}, None),
    ],
)
def test_thinking_is_a_budget_or_a_level_by_model(model: str, body: dict[str, Any], expected: Any) -> None:
    assert config(model, **body).get("thinkingConfig") == expected


def test_thinking_that_is_not_as_asked_is_declared() -> None:
    assert "reasoning_effort" in warned("gemini-2.5-pro", reasoning_effort="none")
    assert "reasoning_effort" in warned("gemini-2.0-flash", reasoning_effort="high")
    assert "reasoning_effort" in warned(NEW, reasoning_effort="max")
    assert warned("gemini-2.5-flash", reasoning_effort="none") == ""
    assert refused("gemini-2.0-flash", thinking={"type": "enabled", "budget_tokens": 9}) == "thinking"


# -- google's own fields ------------------------------------------------------------------------------------------


def test_googles_own_fields_pass_in_either_spelling_and_place() -> None:
    safety = [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]
    body = sent(
        safety_settings=safety,
        google={"cached_content": "cachedContents/1"},
        extra_body={"google": {"responseModalities": ["TEXT", "IMAGE"]}},
        toolConfig={"retrievalConfig": {"languageCode": "de"}},
        tools=[a_tool("f")],
        tool_choice="auto",
        service_tier="flex",
        mediaResolution="MEDIA_RESOLUTION_LOW",
        labels={"team": "x"},
    )
    assert body["safetySettings"] == safety
    assert body["cachedContent"] == "cachedContents/1"
    assert body["labels"] == {"team": "x"}
    assert body["serviceTier"] == "flex"
    assert body["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    assert body["toolConfig"] == {
        "retrievalConfig": {"languageCode": "de"},
        "functionCallingConfig": {"mode": "AUTO"},
    }
    accepted(body, signs=False)
    assert config(modalities=["text", "image"]) == {"responseModalities": ["TEXT", "IMAGE"]}
    assert "service_tier" not in warned(service_tier="default")
    assert "service_tier" in warned(service_tier="scale")


# -- media --------------------------------------------------------------------------------------------------------


def parts(*content: dict[str, Any], **rest: Any) -> list[Any]:
    body = json.loads(encode(messages=[{"role": "user", "content": list(content)}], **rest).body)
    accepted(body, signs=False)
    found: list[Any] = body["contents"][0]["parts"]
    return found[:1]


def by_url(url: str, detail: str | None = None) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}


def a_file(**file: Any) -> dict[str, Any]:
    return {"type": "file", "file": file}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (by_url(f"data:image/jpg;base64,{PNG}"), {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        (by_url("data:image/heic;base64,AAAA"), {"inlineData": {"mimeType": "image/heic", "data": "AAAA"}}),
        (by_url("gs://b/cat.png"), {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/cat.png"}}),
        (
            a_file(file_data=f"data:application/pdf;base64,{PDF}"),
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        (a_file(file_data="AAAA", filename="a.mp4"), {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
        (
            a_file(file_data="data:application/json;base64,AAAA"),
            {"inlineData": {"mimeType": "text/plain", "data": "AAAA"}},
        ),
        (
            a_file(file_id="files/abc"),
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        ),
        (
            a_file(file_data="https://www.youtube.com/watch?v=1"),
            {"fileData": {"mimeType": "video/*", "fileUri": "https://www.youtube.com/watch?v=1"}},
        ),
        (
            a_file(file_data="https://generativelanguage.googleapis.com/v1beta/files/abc"),
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        ),
        (by_url("https://x.org/a.webp"), {"fileData": {"mimeType": "image/webp", "fileUri": "https://x.org/a.webp"}}),
    ],
)
def test_media_go_as_bytes_or_as_the_place_where_google_finds_them(part: Any, expected: Any) -> None:
    assert parts(part) == [expected]


def test_what_was_fetched_goes_as_bytes_and_is_what_it_shows_itself_to_be() -> None:
    fetched = {"https://x.org/a": ("image/jpeg; q=1", b"\x89PNG\r\n\x1a\n"), "https://x.org/b": ("text/csv", b"a,b")}
    assert parts(by_url("https://x.org/a"), fetched=fetched) == [
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    ]
    assert parts(a_file(file_data="https://x.org/b"), fetched=fetched) == [
        {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}}
    ]


@pytest.mark.parametrize(
    "part", [by_url("http://x.org/a.png"), by_url("data:image/png;base64,@"), a_file(file_data="AAAA")]
)
def test_media_that_cannot_be_sent_are_refused_by_their_place(part: Any) -> None:
    assert refused(messages=[{"role": "user", "content": [part]}]) == "messages.0.content.0"


def test_only_urls_that_google_does_not_keep_are_to_be_fetched() -> None:
    urls = ["https://x.org/a.png", "gs://b/c", "https://youtu.be/1", f"data:image/png;base64,{PNG}", "http://y.org/"]
    tool = a_tool("f", parameters={"type": "object", "properties": {"image_url": {"default": "https://no.org"}}})
    messages = [
        {"role": "user", "content": [*(by_url(url) for url in urls), a_file(file_data="https://x.org/b.pdf")]},
        {"role": "user", "content": "see https://in.text"},
    ]
    call = a_call(messages=messages, tools=[tool])
    wanted = [fetch.url for fetch in GEMINI.needs(call, None)]  # type: ignore[arg-type]
    assert wanted == ["https://x.org/a.png", "http://y.org/", "https://x.org/b.pdf"]
    assert GEMINI.needs(a_call(), None) == ()  # type: ignore[arg-type]


def test_the_detail_of_images_is_the_requests_resolution() -> None:
    def asked(*details: str | None) -> Any:
        content = [by_url(f"data:image/png;base64,{PNG}", detail) for detail in details]
        return config(messages=[{"role": "user", "content": content}]).get("mediaResolution")

    assert asked("low", "low") == "MEDIA_RESOLUTION_LOW"
    assert asked("high") == "MEDIA_RESOLUTION_HIGH"
    assert asked("auto", None) is None
    assert asked("low", "high") is None
    assert asked("low", None) is None


def test_the_path_names_model_and_method_and_asks_for_an_event_stream() -> None:
    assert encode().path == b"/v1beta/models/gemini-2.5-flash:generateContent"
    assert encode(stream=True).path == b"/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert encode("tunedModels/a b?", messages=[asks()]).path == b"/v1beta/tunedModels/a%20b%3F:generateContent"
    assert GEMINI.authorize("k") == ((b"x-goog-api-key", b"k"),)
