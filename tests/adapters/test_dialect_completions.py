"""The legacy dialects: completions and embeddings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.dialects.completions import CompletionsDialect
from adapters.dialects.embeddings import EmbeddingsDialect
from gateway.core.errors import BadRequest
from gateway.core.types import Call

COMPLETIONS = CompletionsDialect()
EMBEDDINGS = EmbeddingsDialect()


def parse(**fields: Any) -> Call:
    return COMPLETIONS.parse("c", json.dumps({"prompt": "a", **fields}).encode(), ())


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_every_form_of_a_prompt_is_taken(prompt: Any) -> None:
    call = parse(prompt=prompt, model="m", n=2, logprobs=0, max_tokens=0, stream=True)
    assert (call.endpoint, call.model, call.n, call.max_tokens, call.stream) == ("completions", "m", 2, 0, True)
    assert call.needs == {"n", "logprobs"}


@pytest.mark.parametrize("entered", ["a", ["a", "b"], [1, 2], [[1], [2]]])
def test_every_form_of_an_input_is_taken(entered: Any) -> None:
    call = EMBEDDINGS.parse("c", json.dumps({"input": entered, "model": "m", "user": "u"}).encode(), ())
    assert (call.endpoint, call.dialect, call.model, call.user, call.stream) == (
        "embeddings",
        "embeddings",
        "m",
        "u",
        False,
    )


@pytest.mark.parametrize(
    ("dialect", "body", "param"),
    [
        (COMPLETIONS, b"{}", "prompt"),
        (COMPLETIONS, b'{"prompt":5}', "prompt"),
        (COMPLETIONS, b'{"prompt":"a","logprobs":true}', "logprobs"),
        (EMBEDDINGS, b"{}", "input"),
        (EMBEDDINGS, b'{"input":[]}', "input"),
        (EMBEDDINGS, b'{"input":""}', "input"),
        (EMBEDDINGS, b'{"input":{}}', "input"),
        (EMBEDDINGS, b'{"input":"a","dimensions":0}', "dimensions"),
    ],
)
def test_a_wrong_field_is_named(dialect: Any, body: bytes, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        dialect.parse("c", body, ())
    assert caught.value.param == param


def test_neither_is_a_conversation() -> None:
    for dialect in (COMPLETIONS, EMBEDDINGS):
        with pytest.raises(BadRequest):
            dialect.conversation(parse())


def test_completions_are_not_translated() -> None:
    with pytest.raises(BadRequest):
        COMPLETIONS.embedding_request(parse())
    with pytest.raises(BadRequest):
        COMPLETIONS.writer(parse(), "m")


def test_a_completion_told_as_a_stream_and_merged_again_is_the_completion() -> None:
    answer = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "logprobs": {"tokens": ["a"], "token_logprobs": [-1.5]},
                "finish_reason": "stop",
                "text": "ab",
            },
            {"index": 1, "logprobs": None, "finish_reason": "length", "text": "c"},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    asked = parse(stream=True, stream_options={"include_usage": True})
    stream = COMPLETIONS.replay(json.dumps(answer).encode(), False, asked)
    assert json.loads(COMPLETIONS.replay(stream, True, parse())) == answer


def test_an_embedding_is_kept_in_its_one_form() -> None:
    assert EMBEDDINGS.replay(b"{kept}", False, EMBEDDINGS.parse("c", b'{"input":"a"}', ())) == b"{kept}"
