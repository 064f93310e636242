"""Usage in disjoint buckets: what Google counts within what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters._gemini_usage import read_usage


def usage(prompt: int = 0, out: int = 0, total: int | None = None, **more: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "candidatesTokenCount": out, **more}
    return {**counts, "totalTokenCount": total} if total is not None else counts


def detail(modality: Any, count: int | None = None) -> dict[str, Any]:
    return {"modality": modality} | ({} if count is None else {"tokenCount": count})


def test_thoughts_are_beside_the_candidates_or_within_them_as_the_total_says() -> None:
    beside = read_usage(usage(10, 20, 35, thoughtsTokenCount=5))
    within = read_usage(usage(10, 20, 30, thoughtsTokenCount=5))
    assert (beside.output_text, beside.reasoning, beside.suspect) == (20, 5, False)
    assert (within.output_text, within.reasoning, within.suspect) == (15, 5, False)
    assert read_usage(usage(10, 20, 99, thoughtsTokenCount=5)).suspect


def test_the_prompts_of_tools_are_input() -> None:
    found = read_usage(usage(10, 20, 37, toolUsePromptTokenCount=7))
    assert (found.fresh_input, found.output_text, found.suspect) == (17, 20, False)


def test_cached_tokens_are_of_the_prompt_and_of_no_other_bucket() -> None:
    found = read_usage(
        usage(
            3284,
            84,
            3406,
            thoughtsTokenCount=38,
            cachedContentTokenCount=2917,
            promptTokensDetails=[detail("TEXT", 70), detail("VIDEO", 2893), detail("AUDIO", 321)],
            cacheTokensDetails=[detail("VIDEO", 2570), detail("TEXT", 62), detail("AUDIO", 285)],
        )
    )
    assert (found.cached_input, found.audio_input, found.fresh_input) == (2917, 36, 331)
    assert read_usage(usage(5, 0, 5, cachedContentTokenCount=6)).suspect


def test_audio_and_images_have_their_own_buckets_and_a_count_may_be_missing() -> None:
    listed = [detail("AUDIO", 4), detail("IMAGE", 3), detail("TEXT"), detail(4, 1)]
    found = read_usage(usage(10, 6, 16, promptTokensDetails=listed, candidatesTokensDetails=[detail("AUDIO", 5)]))
    assert (found.fresh_input, found.audio_input, found.image_input) == (2, 5, 3)
    assert (found.output_text, found.audio_output) == (1, 5)


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"serviceTier": "flex"}, "flex"),
        ({"trafficType": "ON_DEMAND"}, "standard"),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "provisioned_throughput"),
        ({"trafficType": 1}, None),
        ({}, None),
    ],
)
def test_the_tier_is_the_one_that_was_billed(told: dict[str, Any], tier: str | None) -> None:
    assert read_usage({**usage(1, 1, 2), **told}).service_tier == tier


COUNTS = st.one_of(st.integers(-5, 10**6), st.none(), st.text(max_size=2))
DETAILS = st.lists(
    st.fixed_dictionaries({"modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", 2, 4, None]), "tokenCount": COUNTS}),
    max_size=4,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(
                (
                    "promptTokenCount",
                    "candidatesTokenCount",
                    "thoughtsTokenCount",
                    "totalTokenCount",
                    "toolUsePromptTokenCount",
                    "cachedContentTokenCount",
                ),
                COUNTS,
            ),
            **dict.fromkeys(("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails"), DETAILS),
        },
    )
)
def test_no_bucket_is_negative_whatever_a_usage_object_says(told: dict[str, Any]) -> None:
    found = read_usage(told)
    buckets = (
        found.fresh_input,
        found.cached_input,
        found.audio_input,
        found.image_input,
        found.output_text,
        found.reasoning,
        found.audio_output,
    )
    assert min(buckets) >= 0
    total = told.get("totalTokenCount")
    if isinstance(total, int) and total > 0 and not found.suspect:
        assert found.input_tokens + found.output_tokens == total
