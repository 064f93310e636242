"""The parameters of a chat request become Anthropic's, are declared, or are refused by their path."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import message_create_params
from pydantic import TypeAdapter

from tests.adapters.anthropic_wire import (
    ADAPTER,
    CHAT,
    CLOSED,
    FORM,
    LATER_SYSTEM,
    MARKER,
    PDF,
    PNG,
    SEARCH,
    THOUGHT,
    a_call,
    a_deployment,
    a_tool,
    answers,
    asks,
    calls,
    encode,
    image,
    refused,
    sent,
    text,
)

ORACLE: TypeAdapter[Any] = TypeAdapter(message_create_params.MessageCreateParams)

# -- 8: max_tokens --------------------------------------------------------------------------------------------------


def test_max_tokens_is_always_sent() -> None:
    assert sent()["max_tokens"] == 4096
    assert sent(max_output=64000)["max_tokens"] == 64000
    assert sent(max_tokens=5, max_completion_tokens=9)["max_tokens"] == 9


def test_max_tokens_within_the_thinking_budget_is_refused() -> None:
    thinking = {"type": "enabled", "budget_tokens": 2048}
    assert refused(thinking=thinking, max_tokens=2048) == "max_tokens"
    assert sent(thinking=thinking)["max_tokens"] == 2048 + 4096


# -- 9, 10, 11: sampling --------------------------------------------------------------------------------------------


def test_stop_is_a_list_of_sequences_and_white_space_alone_is_refused() -> None:
    assert sent(stop="END")["stop_sequences"] == ["END"]
    assert sent(stop=["a", "b", "c", "d"])["stop_sequences"] == ["a", "b", "c", "d"]
    assert refused(stop=["a", "\n"]) == "stop.1"


def test_temperature_is_bounded_by_one_and_that_is_declared() -> None:
    request = encode(temperature=1.7)
    assert json.loads(request.body)["temperature"] == 1
    assert request.warnings == ("temperature: Anthropic's most is 1, set to 1",)


def test_top_p_gives_way_to_temperature_on_newer_models() -> None:
    assert "top_p" not in sent(temperature=0.5, top_p=0.9)
    older = sent("claude-3-5-haiku-20241022", temperature=0.5, top_p=0.9, top_k=4)
    assert (older["temperature"], older["top_p"], older["top_k"]) == (0.5, 0.9, 4)


def test_sampling_is_left_out_and_declared_where_the_model_takes_none() -> None:
    request = encode("claude-opus-4-8", temperature=0.2, top_p=0.9, top_k=3)
    assert not {"temperature", "top_p", "top_k"} & json.loads(request.body).keys()
    assert [warning.split(":")[0] for warning in request.warnings] == ["temperature", "top_p", "top_k"]
    assert encode("claude-opus-4-8", temperature=1).warnings == ()


def test_sampling_gives_way_to_thinking() -> None:
    body = sent(reasoning_effort="low", max_tokens=9000, temperature=0, top_p=0.97, top_k=5)
    assert body["thinking"]["type"] == "enabled"
    assert not {"temperature", "top_k"} & body.keys()
    assert body["top_p"] == 0.97


HINTS = {"seed": 7, "frequency_penalty": 0.5, "presence_penalty": 0.5, "logit_bias": {"1": 2}, "verbosity": "low"}


def test_hints_that_anthropic_lacks_are_declared() -> None:
    declared = {warning.split(":")[0] for warning in encode(**HINTS).warnings}
    assert declared == set(HINTS)


@pytest.mark.parametrize("name", sorted(HINTS))
def test_a_strict_caller_is_refused_instead(name: str) -> None:
    assert refused(strict=True, **{name: HINTS[name]}) == name


def test_a_strict_caller_of_what_anthropic_can_express_is_served() -> None:
    assert encode(strict=True, temperature=0.5, metadata={}).warnings == ()


def test_metadata_is_declared_and_to_keep_nothing_is_done_without_a_word() -> None:
    declared = [warning.partition(":")[0] for warning in encode(metadata={"tag": "x"}, store=False).warnings]
    assert declared == ["metadata"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"audio": {"voice": "x", "format": "wav"}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}
                ]
            },
            "messages.0.content.0",
        ),
    ],
)
def test_what_would_change_the_question_is_refused(body: dict[str, Any], field: str) -> None:
    assert refused(**body) == field


def test_a_warning_is_printable_ascii_whatever_a_field_is_called() -> None:
    (warning,) = encode(**{"x\r\nset-cookie: é": 1}).warnings
    assert warning.isascii()
    assert warning.isprintable()


# -- 13: reasoning --------------------------------------------------------------------------------------------------


def test_an_effort_is_a_budget_of_at_most_half_the_tokens() -> None:
    assert sent(reasoning_effort="high", max_tokens=64000)["thinking"] == {"type": "enabled", "budget_tokens": 16384}
    assert sent(reasoning_effort="high", max_tokens=6000)["thinking"]["budget_tokens"] == 3000
    free = sent(reasoning_effort="medium")
    assert free["max_tokens"] - free["thinking"]["budget_tokens"] == 4096
    small = encode(reasoning_effort="high", max_tokens=1500)
    assert "thinking" not in json.loads(small.body)
    assert small.warnings[0].startswith("reasoning_effort")


def test_an_effort_is_an_effort_on_adaptive_models() -> None:
    body = sent("claude-opus-4-8", reasoning_effort={"effort": "xhigh", "summary": "auto"})
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "xhigh"}
    older = encode("claude-opus-4-6", reasoning_effort="xhigh")
    assert json.loads(older.body)["output_config"] == {"effort": "high"}
    assert older.warnings[0].startswith("reasoning_effort")


def test_no_effort_switches_off_what_would_think_unasked() -> None:
    assert "thinking" not in sent(reasoning_effort="none")
    assert sent("claude-opus-5", reasoning_effort="none")["thinking"] == {"type": "disabled"}


def test_thinking_takes_the_form_of_the_model() -> None:
    adaptive = {"type": "adaptive"}
    assert sent(thinking=adaptive, max_tokens=9000)["thinking"] == {"type": "enabled", "budget_tokens": 4500}
    assert sent("claude-opus-5", thinking={"type": "enabled", "budget_tokens": 2000})["thinking"] == adaptive
    assert refused("claude-3-haiku-20240307", thinking=adaptive) == "thinking"


def test_an_effort_a_model_cannot_have_is_declared_or_refused() -> None:
    assert encode("claude-3-haiku-20240307", reasoning_effort="low").warnings[0].startswith("reasoning_effort")
    assert refused(reasoning_effort="enormous") == "reasoning_effort"


def test_the_version_of_an_alias_can_be_stated() -> None:
    deployment = a_deployment("our-claude", options={"claude_version": "4.5"})
    request = ADAPTER.encode(a_call(reasoning_effort="low"), deployment, CHAT, {})
    assert json.loads(request.body)["thinking"]["type"] == "enabled"


# -- 17: who asks ---------------------------------------------------------------------------------------------------


def test_an_opaque_user_is_passed_on_and_an_address_is_not() -> None:
    assert sent(user="u-17")["metadata"] == {"user_id": "u-17"}
    assert sent(safety_identifier="h4sh")["metadata"] == {"user_id": "h4sh"}
    for personal in ("jo@example.org", "+49 170 1234567", "x" * 257):
        request = encode(user=personal)
        assert "metadata" not in json.loads(request.body)
        assert request.warnings[0].startswith("user: ")
        assert personal not in request.warnings[0]


def test_the_service_tier_is_anthropics() -> None:
    assert sent(service_tier="default")["service_tier"] == "standard_only"
    assert sent(service_tier="priority")["service_tier"] == "auto"
    assert encode(service_tier="flex").warnings[0].startswith("service_tier")


def test_the_callers_betas_and_ours_are_one_header() -> None:
    request = encode(anthropic_beta="a-1, b-2", context_management={"edits": []}, betas=["c-3"])
    assert dict(request.headers)[b"anthropic-beta"] == b"a-1,b-2,c-3,context-management-2025-06-27"
    assert request.warnings == ()


def test_keys_and_oauth_tokens_are_told_apart() -> None:
    assert ADAPTER.authorize("sk-ant-api03-x") == ((b"x-api-key", b"sk-ant-api03-x"),)
    assert ADAPTER.authorize("sk-ant-oat01-x") == ((b"authorization", b"Bearer sk-ant-oat01-x"),)
    assert (b"anthropic-version", b"2023-06-01") in encode().headers


def test_the_path_has_its_version_once() -> None:
    call = a_call()
    assert ADAPTER.encode(call, a_deployment(), CHAT, {}).path == b"/v1/messages"
    for base in (b"", b"/", b"/proxy"):
        deployment = a_deployment()
        deployment = type(deployment)(
            **{**{f: getattr(deployment, f) for f in deployment.__struct_fields__}, "base_path": base}
        )
        assert ADAPTER.encode(call, deployment, CHAT, {}).path == base.rstrip(b"/") + b"/v1/messages"


# -- the oracle -----------------------------------------------------------------------------------------------------

REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("claude-sonnet-4-5", {"stop": "x", "user": "u", "service_tier": "auto", "stream": True}),
    "tools": (
        "claude-sonnet-4-5",
        {
            "tools": [
                {**SEARCH, "cache_control": MARKER},
                a_tool("a.b", parameters=CLOSED, strict=True, description="d"),
            ],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "messages": [
                {"role": "system", "content": "s"},
                asks(),
                calls("a.1"),
                answers("a.1", [text("x")], is_error=True),
            ],
        },
    ),
    "thinking": (
        "claude-sonnet-4-5",
        {
            "reasoning_effort": "high",
            "tools": [SEARCH],
            "messages": [
                asks(),
                calls("a", thinking_blocks=[THOUGHT, {"type": "redacted_thinking", "data": "x"}]),
                answers("a"),
            ],
        },
    ),
    "adaptive": (
        "claude-opus-4-8",
        {"reasoning_effort": {"effort": "max", "summary": "auto"}, "messages": LATER_SYSTEM},
    ),
    "form": ("claude-sonnet-4-5", {"response_format": FORM}),
    "forced form": ("claude-3-5-haiku-20241022", {"response_format": FORM}),
    "media": (
        "claude-sonnet-4-5",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        text("see"),
                        image(f"data:image/png;base64,{PNG}"),
                        image("https://x.org/a.png"),
                        {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                        {"type": "file", "file": {"file_id": "file_1"}},
                    ],
                }
            ]
        },
    ),
}


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_the_anthropic_sdks_own_types_accept_what_is_sent_and_know_every_field(name: str) -> None:
    model, asked = REQUESTS[name]
    body = sent(model, **asked)
    assert walked(ORACLE.validate_python(body)) == body


def walked(value: Any) -> Any:
    """Reads what the oracle reads lazily; what it does not know is not in it."""
    if isinstance(value, dict):
        return {name: walked(inner) for name, inner in value.items()}
    if value is None or isinstance(value, str | int | float):
        return value
    return [walked(inner) for inner in value]
