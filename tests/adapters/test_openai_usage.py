"""Usage in disjoint buckets: each provider's arithmetic, and the laws that hold for all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._openai_usage import read_usage, usage_in
from gateway.core.money import BUCKETS, Usage


def buckets(usage: Usage | None) -> dict[str, int]:
    assert usage is not None
    return {bucket: getattr(usage, bucket) for bucket in BUCKETS if getattr(usage, bucket)}


def read(**fields: Any) -> Usage | None:
    return read_usage(json.dumps(fields).encode(), None)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (  # OpenAI
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 30, "audio_tokens": 5},
            },
            {"fresh_input": 26, "cached_input": 64, "audio_input": 10}
            | {"output_text": 15, "reasoning": 30, "audio_output": 5},
        ),
        (  # OpenAI and OpenRouter with cache writes
            {"prompt_tokens": 100, "total_tokens": 100, "prompt_tokens_details": {"cache_write_tokens": 90}},
            {"fresh_input": 10, "cache_write_5m": 90},
        ),
        (  # DeepSeek
            {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "prompt_cache_hit_tokens": 8},
            {"fresh_input": 2, "cached_input": 8, "output_text": 1},
        ),
        (  # Together
            {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11, "cached_tokens": 8},
            {"fresh_input": 2, "cached_input": 8, "output_text": 1},
        ),
        (  # xAI: reasoning outside of completion_tokens, inside of the total
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            {"fresh_input": 10, "output_text": 5, "reasoning": 20},
        ),
        (  # Mistral: audio outside of prompt_tokens, inside of the total
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 389,
                "prompt_tokens_details": {"audio_tokens": 375},
            },
            {"fresh_input": 9, "audio_input": 375, "output_text": 5},
        ),
        (  # images that were cached as well count as cached
            {
                "prompt_tokens": 504,
                "completion_tokens": 91,
                "total_tokens": 595,
                "prompt_tokens_details": {"cached_tokens": 370, "image_tokens": 256},
            },
            {"cached_input": 370, "image_input": 134, "output_text": 91},
        ),
        ({"total_tokens": 18}, {"fresh_input": 18}),  # Voyage
        ({"prompt_tokens": 469, "completion_tokens": None, "total_tokens": None}, {"fresh_input": 469}),  # Databricks
        ({"prompt_tokens": 3.0, "completion_tokens": "4"}, {"fresh_input": 3, "output_text": 4}),
    ],
)
def test_each_providers_arithmetic_lands_in_disjoint_buckets(usage: dict[str, Any], expected: dict[str, int]) -> None:
    normalised = read(**usage)
    assert buckets(normalised) == expected
    assert normalised is not None
    assert not normalised.suspect


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 29, "total_tokens": 29, "prompt_tokens_details": {"cached_tokens": 157}},
        {"prompt_tokens": 1, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 61}},
        {"prompt_tokens": 66, "completion_tokens": 6, "total_tokens": 100},
        {"prompt_tokens": -1, "completion_tokens": 6},
        {"prompt_tokens": "many"},
        {"prompt_tokens": [1]},
    ],
)
def test_a_usage_that_contradicts_itself_is_marked_and_kept_raw(usage: dict[str, Any]) -> None:
    normalised = read(**usage)
    assert normalised is not None
    assert normalised.suspect
    assert json.loads(normalised.raw) == usage


def test_no_usage_is_no_number() -> None:
    assert read() is None
    assert read_usage(b"null", None) is None
    assert usage_in(b'{"choices":[]}') is None
    assert usage_in(b"not json") is None


def test_groqs_extension_is_read_where_the_usual_place_is_empty() -> None:
    document = b'{"usage":null,"x_groq":{"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}}'
    assert buckets(usage_in(document)) == {"fresh_input": 4, "output_text": 2}


def test_the_service_tier_is_kept() -> None:
    found = usage_in(b'{"usage":{"prompt_tokens":4},"service_tier":"priority"}')
    assert found is not None
    assert found.service_tier == "priority"


_COUNT = st.none() | st.integers(-5, 300)


@given(
    prompt=_COUNT,
    completion=_COUNT,
    total=_COUNT,
    into=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens"), _COUNT)
    ),
    out_of=st.fixed_dictionaries({}, optional=dict.fromkeys(("reasoning_tokens", "audio_tokens"), _COUNT)),
)
def test_buckets_are_never_negative_and_sum_to_the_total_unless_suspect(
    prompt: int | None, completion: int | None, total: int | None, into: dict[str, Any], out_of: dict[str, Any]
) -> None:
    usage = read(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total,
        prompt_tokens_details=into,
        completion_tokens_details=out_of,
    )
    if usage is None:
        assert prompt is None
        assert total is None
        return
    assert all(getattr(usage, bucket) >= 0 for bucket in BUCKETS)
    if not usage.suspect and total is not None:
        assert usage.input_tokens + usage.output_tokens == total
