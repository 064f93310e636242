"""Anthropic's usage object in disjoint buckets, of whole answers and of streams."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.errors import StreamCut
from gateway.core.money import Usage
from tests.adapters.anthropic_wire import a_call, decoder, event, fed, said, stream


def usage_of(usage: dict[str, Any], **message: Any) -> Usage:
    reader = decoder()
    body = {"id": "m", "model": "claude-x", "content": [], "stop_reason": "end_turn", "usage": usage, **message}
    fed(reader, [json.dumps(body).encode()])
    assert reader.usage is not None
    assert json.loads(reader.usage.raw) == usage
    return reader.usage


def test_usage_is_in_disjoint_buckets() -> None:
    usage = usage_of(
        {
            "input_tokens": 3,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 40},
            "output_tokens": 9,
            "output_tokens_details": {"thinking_tokens": 4},
            "service_tier": "priority",
        }
    )
    assert (usage.fresh_input, usage.cached_input, usage.cache_write_5m, usage.cache_write_1h) == (3, 20, 10, 40)
    assert (usage.output_text, usage.reasoning) == (5, 4)
    assert (usage.input_tokens, usage.output_tokens) == (73, 9)
    assert usage.service_tier == "priority"
    assert not usage.suspect


def test_cache_writes_without_a_split_are_of_five_minutes() -> None:
    usage = usage_of({"input_tokens": 3, "cache_creation_input_tokens": 50, "output_tokens": 9})
    assert (usage.cache_write_5m, usage.cache_write_1h, usage.suspect) == (50, 0, False)


def test_what_the_top_level_leaves_out_is_counted_by_iteration() -> None:
    compacted = {"type": "compaction", "input_tokens": 100, "output_tokens": 30}
    usage = usage_of(
        {
            "input_tokens": 5,
            "output_tokens": 7,
            "iterations": [compacted, {"type": "message", "input_tokens": 5, "output_tokens": 7}],
        }
    )
    assert (usage.fresh_input, usage.output_text, usage.suspect) == (105, 37, False)


def test_tokens_of_another_model_are_counted_and_marked() -> None:
    advised = {"type": "advisor_message", "model": "claude-y", "input_tokens": 100, "output_tokens": 30}
    usage = usage_of(
        {
            "input_tokens": 5,
            "output_tokens": 7,
            "iterations": [{"type": "message", "input_tokens": 5, "output_tokens": 7}, advised],
        }
    )
    assert (usage.fresh_input, usage.output_text, usage.suspect) == (105, 37, True)


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1, "output_tokens": 7},
        {"input_tokens": 1, "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 8}},
        {
            "input_tokens": 1,
            "output_tokens": 7,
            "cache_creation_input_tokens": 5,
            "cache_creation": {"ephemeral_1h_input_tokens": 9},
        },
        {"input_tokens": "many", "output_tokens": 7},
    ],
)
def test_usage_that_breaks_a_law_is_marked_and_no_bucket_is_negative(usage: dict[str, Any]) -> None:
    read = usage_of(usage)
    assert read.suspect
    assert min(read.fresh_input, read.cache_write_5m, read.cache_write_1h, read.output_text, read.reasoning) >= 0
    assert read.output_tokens == 7


def test_the_last_usage_of_a_stream_overrides_the_first() -> None:
    reader = decoder(a_call(stream=True))
    first = {"input_tokens": 10, "cache_creation_input_tokens": 8, "cache_creation": {"ephemeral_1h_input_tokens": 8}}
    events = list(stream([said("a")], usage=first))
    last = {"input_tokens": 12, "output_tokens": 40, "cache_creation_input_tokens": 8, "cache_read_input_tokens": None}
    events[-2] = event("message_delta", delta={"stop_reason": "end_turn"}, usage=last)
    fed(reader, events)
    assert reader.usage is not None
    assert (reader.usage.fresh_input, reader.usage.cache_write_1h, reader.usage.output_text) == (12, 8, 40)


def test_a_cut_stream_still_has_the_usage_that_came() -> None:
    reader = decoder(a_call(stream=True))
    list(reader.feed(next(iter(stream([])))))
    with pytest.raises(StreamCut):
        reader.end()
    assert reader.usage is not None
    assert reader.usage.fresh_input == 10
