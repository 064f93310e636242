"""The Responses dialect: what routing reads of a request, which ids stand for content, what is never sent twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.responses import ResponsesDialect
from gateway.core.errors import BadRequest
from gateway.core.types import Reference
from tests.adapters.responses_wire import CUSTOM, FUNCTION, a_call

IMAGE = {"type": "input_image", "image_url": "https://x.org/a.png"}


def test_what_routing_needs_is_read() -> None:
    call = a_call(
        headers=((b"x-data-sensitivity", b"restricted"), (b"cache-control", b"max-age=9"), (b"timeout", b"5")),
        model="fast",
        stream=True,
        temperature=0,
        max_output_tokens=32,
        user="u",
        unknown={"a": [1]},
    )
    assert (call.endpoint, call.dialect, call.model, call.stream) == ("chat", "responses", "fast", True)
    assert (call.temperature, call.max_tokens, call.user, call.n) == (0.0, 32, "u", 1)
    assert call.include_usage  # every answer tells its usage
    assert call.labels == (("x-data-sensitivity", "restricted"),)
    assert (call.cache_control, call.timeout_s, call.received_at) == ("max-age=9", 5.0, 1_790_000_000)
    assert json.loads(call.body)["unknown"] == {"a": [1]}


def test_nulls_and_absences_are_defaults() -> None:
    nulls = dict.fromkeys(("stream", "temperature", "max_output_tokens", "user", "tools", "text", "include"))
    for call in (a_call(), a_call(**nulls, store=None, background=None, conversation=None, prompt=None)):
        assert (call.stream, call.temperature, call.max_tokens, call.user) == (False, None, None, None)
        assert (call.needs, call.has_media, call.references, call.repeatable) == (frozenset(), False, (), True)
        assert call.kept  # which is what OpenAI does unless told otherwise


@pytest.mark.parametrize(
    ("fields", "needs", "has_media"),
    [
        ({"input": [{"role": "user", "content": [{"type": "input_text", "text": "t"}]}]}, set(), False),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, {"vision"}, True),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, {"file"}, True),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, {"audio"}, True),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": [IMAGE]}]}, {"vision"}, True),
        (
            {"input": [{"type": "computer_call_output", "output": {"type": "computer_screenshot"}}]},
            {"vision"},
            True,
        ),
        ({"input": [{"type": "image_generation_call", "id": "ig_1", "result": "aGk="}]}, set(), True),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, set(), True),
        ({"prompt": {"id": "pmpt_1"}}, set(), True),
        ({"tools": [FUNCTION]}, {"tools"}, False),
        ({"tools": [FUNCTION, {"type": "file_search", "vector_store_ids": ["vs_1"]}]}, {"tools"}, True),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, {"tools"}, True),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, {"tools"}, False),
        ({"text": {"format": {"type": "json_schema", "name": "f", "schema": {}}}}, {"json_schema"}, False),
        ({"text": {"format": {"type": "text"}}}, set(), False),
        ({"top_logprobs": 2}, {"logprobs"}, False),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs"}, False),
        ({"include": ["reasoning.encrypted_content"]}, set(), False),
    ],
)
def test_what_an_answer_takes_is_read(fields: dict[str, Any], needs: set[str], has_media: bool) -> None:
    call = a_call(**fields)
    assert call.needs == needs
    assert call.has_media is has_media


@pytest.mark.parametrize(
    ("fields", "references"),
    [
        ({"previous_response_id": "resp_1"}, [Reference("resp_1", "previous_response_id")]),
        ({"conversation": "conv_1"}, [Reference("conv_1", "conversation", required=False)]),
        ({"conversation": {"id": "conv_1"}}, [Reference("conv_1", "conversation", required=False)]),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, [Reference("msg_1", "input.0.id")]),
        (
            {"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]},
            [Reference("rs_1", "input.0.id", required=False)],
        ),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}]}, []),
        ({"input": [{"type": "reasoning", "id": "rs_headgate_1", "summary": []}]}, []),
        ({"input": [{"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}]}, []),
    ],
)
def test_ids_that_stand_for_content_are_gathered(fields: dict[str, Any], references: list[Reference]) -> None:
    call = a_call(**fields)
    assert list(call.references) == references
    assert not call.has_media  # which is found out of each


def test_ids_of_translated_answers_are_the_gateways_own() -> None:
    for fields, field in (
        ({"previous_response_id": "resp_headgate_0123"}, "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "msg_headgate_01230000"}]}, "input.0.id"),
    ):
        assert [(each.field, each.ours) for each in a_call(**fields).references] == [(field, True)]


@pytest.mark.parametrize(
    ("fields", "repeatable"),
    [
        ({}, True),
        ({"store": False}, True),
        ({"store": True}, False),
        ({"background": True}, False),
        ({"conversation": "conv_1"}, False),
        ({"previous_response_id": "resp_1"}, True),
        ({"tools": [FUNCTION, CUSTOM]}, True),
        ({"tools": [FUNCTION, {"type": "web_search"}]}, False),
    ],
)
def test_a_call_that_does_more_than_answer_is_not_repeated(fields: dict[str, Any], repeatable: bool) -> None:
    assert a_call(**fields).repeatable is repeatable


def test_only_what_is_not_to_be_stored_is_not_kept() -> None:
    assert [a_call(store=store).kept for store in (None, True, False)] == [True, True, False]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": 7}, "input"),
        ({"input": [7]}, "input[0]"),
        ({"stream": "yes"}, "stream"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"previous_response_id": 7}, "previous_response_id"),
        ({"store": "no"}, "store"),
        ({"include": ["a", 7]}, "include[1]"),
    ],
)
def test_a_field_of_a_wrong_type_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        a_call(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        ResponsesDialect().parse("c", body, ())
