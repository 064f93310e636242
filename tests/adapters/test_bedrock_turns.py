"""A history as Converse holds it: sides that alternate, results behind their calls, reasoning of this maker alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.anthropic_wire import LATER_SYSTEM, PNG, SEARCH, answers, asks, calls
from tests.adapters.bedrock_wire import LLAMA, NOVA, OLD_SONNET, SONNET, refused, sent, warned


def turns(*messages: Any, model: str = SONNET, **body: Any) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = sent(model, messages=list(messages), **body)["messages"]
    return written


def says(text: str = "ok", **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


def test_the_leading_system_messages_are_the_system() -> None:
    body = sent(messages=[{"role": "system", "content": "a"}, {"role": "developer", "content": "b"}, asks()])
    assert body["system"] == [{"text": "a"}, {"text": "b"}]
    assert body["messages"] == [{"role": "user", "content": [{"text": "hi"}]}]


def test_a_later_system_message_stays_in_its_place_as_the_users_words() -> None:
    written = turns(*LATER_SYSTEM)
    assert written[0]["content"] == [{"text": "a"}, {"text": "be brief"}]
    assert [turn["role"] for turn in written] == ["user", "assistant", "user"]


def test_a_model_without_a_system_prompt_hears_it_from_the_user() -> None:
    messages = [{"role": "system", "content": "be brief"}, asks()]
    body = sent("mistral.mistral-7b-instruct-v0:2", messages=messages)
    assert "system" not in body
    assert body["messages"][0]["content"] == [{"text": "be brief"}, {"text": "hi"}]
    assert "no system prompt" in warned("mistral.mistral-7b-instruct-v0:2", messages=messages)


def test_turns_of_one_side_become_one_and_empty_texts_go() -> None:
    written = turns(asks("a"), asks(""), asks("b"), says("x"), says(" "), says("y"), asks("c"))
    assert [[block["text"] for block in turn["content"]] for turn in written] == [["a", "b"], ["x", "y"], ["c"]]


def test_a_conversation_that_the_assistant_begins_has_a_turn_before_it() -> None:
    assert turns(says("hello"), asks())[0] == {"role": "user", "content": [{"text": "."}]}
    assert "begins with the user" in warned(messages=[says("hello"), asks()])


def test_a_conversation_without_content_is_refused() -> None:
    assert refused(messages=[{"role": "system", "content": "a"}, asks(" ")]) == "messages"


def test_all_results_of_a_turn_come_first_in_one_turn() -> None:
    written = turns(asks(), calls("c1", "c2"), answers("c2", "two"), asks("and?"), answers("c1", "one"), tools=[SEARCH])
    assert [turn["role"] for turn in written] == ["user", "assistant", "user"]
    results = [block["toolResult"] for block in written[2]["content"][:2]]
    assert [(result["toolUseId"], result["content"]) for result in results] == [
        ("c2", [{"text": "two"}]),
        ("c1", [{"text": "one"}]),
    ]
    assert written[2]["content"][2] == {"text": "and?"}


def test_a_result_may_hold_images_and_say_that_it_failed() -> None:
    shown = [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    written = turns(asks(), calls("c1"), answers("c1", shown, is_error=True), tools=[SEARCH])
    assert written[2]["content"][0]["toolResult"] == {
        "toolUseId": "c1",
        "content": [{"text": "see"}, {"image": {"format": "png", "source": {"bytes": PNG}}}],
        "status": "error",
    }
    failed = [asks(), calls("c1"), answers("c1", "no", is_error=True)]
    assert "status" not in turns(*failed, model=LLAMA, tools=[SEARCH])[2]["content"][0]["toolResult"]
    assert "is_error" in warned(LLAMA, messages=failed, tools=[SEARCH])


def test_an_empty_result_has_content_all_the_same() -> None:
    assert turns(asks(), calls("c1"), answers("c1", ""), tools=[SEARCH])[2]["content"][0]["toolResult"]["content"]


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([asks(), calls("c1"), asks()], "messages.1.tool_calls"),
        ([asks(), calls("c1", "c2"), answers("c1")], "messages.1.tool_calls"),
        ([asks(), calls("c1")], "messages.1.tool_calls"),
        ([asks(), answers("c1")], "messages.1.tool_call_id"),
        ([asks(), calls("c1", arguments="{"), answers("c1")], "messages.1.tool_calls.0.function.arguments"),
        ([asks(), calls("c1", arguments="[1]"), answers("c1")], "messages.1.tool_calls.0.function.arguments"),
    ],
)
def test_calls_and_results_that_do_not_fit_are_refused(messages: list[Any], field: str) -> None:
    assert refused(messages=messages, tools=[SEARCH]) == field


def test_ids_that_converse_does_not_take_are_changed_alike_on_both_sides() -> None:
    odd, long = "call/1 a", "x" * 70
    written = turns(
        *(asks(), calls(odd, long, arguments=""), answers(odd), answers(long)),
        *(calls(odd), answers(odd)),
        tools=[SEARCH],
    )
    used = [block["toolUse"]["toolUseId"] for turn in written for block in turn["content"] if "toolUse" in block]
    results = [
        block["toolResult"]["toolUseId"] for turn in written for block in turn["content"] if "toolResult" in block
    ]
    assert used == results == ["call_1_a", "x" * 60, "call_1_a_2"]
    assert written[1]["content"][0]["toolUse"]["input"] == {}


# -- reasoning ----------------------------------------------------------------------------------------------------


def thought(**fields: Any) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "hm", "signature": "sig", "provider": "bedrock_anthropic", **fields}


def test_reasoning_goes_back_signed_and_before_what_it_led_to() -> None:
    redacted = {"type": "redacted_thinking", "data": "AAAA", "provider": "bedrock_anthropic"}
    spoken = calls("c1", thinking_blocks=[thought(), redacted], content="so")
    written = turns(asks(), spoken, answers("c1"), tools=[SEARCH])
    assert written[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
        {"text": "so"},
        {"toolUse": {"toolUseId": "c1", "name": "search", "input": {}}},
    ]
    assert warned(messages=[asks(), spoken, answers("c1")], tools=[SEARCH]) == ""


@pytest.mark.parametrize(
    ("model", "block"),
    [
        (SONNET, thought(provider="vertex")),
        (SONNET, thought(provider="bedrock_openai")),
        (NOVA, thought()),
        (SONNET, {"type": "thinking", "thinking": "hm", "provider": "bedrock_anthropic"}),
    ],
)
def test_reasoning_that_this_maker_did_not_sign_stays_here(model: str, block: dict[str, Any]) -> None:
    messages = [asks(), says(thinking_blocks=[block]), asks()]
    assert turns(*messages, model=model)[1]["content"] == [{"text": "ok"}]
    assert "did not sign" in warned(model, messages=messages)


@pytest.mark.parametrize("provider", ["anthropic", None])
def test_reasoning_that_a_claude_signed_elsewhere_goes_on_and_its_encrypted_one_does_not(provider: str | None) -> None:
    redacted = {"type": "redacted_thinking", "data": "AAAA", "provider": "anthropic"}
    block = {name: value for name, value in thought(provider=provider).items() if value is not None}
    written = turns(asks(), says(thinking_blocks=[block, redacted]), asks())
    assert written[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"text": "ok"},
    ]


def test_a_thinking_loop_that_kept_its_reasoning_goes_on_thinking() -> None:
    loop = [asks(), calls("c1", thinking_blocks=[thought()]), answers("c1")]
    body = sent(OLD_SONNET, messages=loop, tools=[SEARCH], thinking={"type": "enabled", "budget_tokens": 1024})
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 1024


def test_blocks_of_bedrocks_own_tools_go_back_to_their_maker_alone() -> None:
    use = {"toolUse": {"toolUseId": "s1", "name": "nova_grounding", "type": "server_tool_use", "input": {"query": "q"}}}
    result = {"toolResult": {"toolUseId": "s1", "content": [{"text": "[HIDDEN]"}], "type": "nova_grounding_result"}}
    kept = [{"provider": "bedrock_amazon", "block": block} for block in (use, result, {"trace": {"guardrail": {}}})]
    grounding = [{"type": "systemTool", "systemTool": {"name": "nova_grounding"}}]
    written = turns(asks(), says(provider_blocks=kept), asks(), model=NOVA, tools=grounding)
    assert written[1]["content"] == [use, result, {"text": "ok"}]
    assert turns(asks(), says(provider_blocks=kept), asks())[1]["content"] == [{"text": "ok"}]


# -- the last word ------------------------------------------------------------------------------------------------


def test_a_prefill_ends_without_white_space_and_only_where_the_model_goes_on_from_it() -> None:
    assert turns(asks(), says("{ "), model=OLD_SONNET)[1]["content"] == [{"text": "{"}]
    assert refused("us.anthropic.claude-opus-4-8", messages=[asks(), says("{")]) == "messages.1"
