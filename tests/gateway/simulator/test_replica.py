"""The modelled engine: batching, paged memory, the prefix cache, preemption; in simulated time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.replica import Engine, Event, Hardware, Sequence

SMALL = Hardware(kv_tokens=1600, block_tokens=16, prefill_tokens_per_s=10_000, weights_s=0.01, kv_s_per_token=0.0)


def ask(name: int, tokens: int = 160, output: int = 10, shared: int = 0) -> Sequence:
    """A prompt whose first `shared` blocks are the same for all."""
    blocks = tuple((0 if at < shared else name * 1000) + at for at in range(tokens // 16))
    return Sequence(name, blocks, tokens, output)


def finish(engine: Engine) -> list[Event]:
    return engine.advance(1e9)


def test_an_answer_takes_a_prompt_and_a_step_a_token() -> None:
    engine = Engine(SMALL)
    one = ask(1, tokens=1000, output=10)
    engine.add(one, 5.0)
    finish(engine)
    assert one.first_at == pytest.approx(5.0 + 0.002 + 0.1)
    assert one.finished_at == pytest.approx(one.first_at + 9 * 0.012)
    assert (engine.running, engine.ends_at, engine.generated_tokens) == (0, None, 10)


def test_a_prefix_that_was_read_is_found_again_but_never_the_last_token() -> None:
    engine = Engine(SMALL)
    engine.add(ask(1, shared=4), 0.0)
    finish(engine)
    again, other = ask(1, shared=4), ask(2, shared=4)
    for one in (again, other):
        engine.add(one, engine.now)
        finish(engine)
    assert (again.cached_tokens, other.cached_tokens) == (144, 64)
    assert engine.hit_tokens(ask(1, shared=4).blocks, 160) == 144


def test_prompts_that_wait_are_read_first_come_first_served_within_the_budget() -> None:
    engine = Engine(Hardware(max_batched_tokens=100, block_tokens=16))
    sequences = [ask(name, tokens=160, output=2) for name in range(1, 4)]
    for one in sequences:
        engine.add(one, 0.0)
    firsts = [event.sequence.key for event in finish(engine) if event.what == "first"]
    assert firsts == [1, 2, 3]
    assert sequences[0].first_at < sequences[1].first_at < sequences[2].first_at


def test_reading_holds_up_those_who_write() -> None:
    alone, disturbed = Engine(SMALL), Engine(SMALL)
    ends = []
    for engine in (alone, disturbed):
        one = ask(1, tokens=16, output=20)
        engine.add(one, 0.0)
        engine.advance(0.05)
        if engine is disturbed:
            engine.add(ask(2, tokens=1000, output=2), 0.05)
        finish(engine)
        ends.append(one.finished_at)
    assert ends[1] - ends[0] > 0.08


def test_unused_blocks_go_by_least_recent_use() -> None:
    engine = Engine(SMALL)
    for name in (1, 2, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11):
        engine.add(ask(name, output=1), engine.now)
        finish(engine)
    assert engine.hit_tokens(ask(11).blocks, 160) == 144
    assert engine.hit_tokens(ask(2).blocks, 160) == 0


def test_who_finds_no_block_preempts_the_youngest_and_nobody_is_lost() -> None:
    engine = Engine(SMALL)
    sequences = [ask(name, tokens=320, output=200) for name in range(1, 5)]
    for one in sequences:
        engine.add(one, 0.0)
    events = finish(engine)
    preempted = [event.sequence.key for event in events if event.what == "preempted"]
    assert preempted[0] == 4
    assert engine.preemptions == len(preempted)
    assert sorted(event.sequence.key for event in events if event.what == "finished") == [1, 2, 3, 4]
    assert engine.generated_tokens == 800
    assert [event.what for event in events].count("first") == 4


def test_a_reader_who_leaves_frees_the_memory_at_once() -> None:
    engine = Engine(SMALL)
    reading, writing, waiting = ask(1, tokens=1120, output=9), ask(2, output=400), ask(3, tokens=1120, output=5)
    engine.add(writing, 0.0)
    engine.advance(0.1)
    engine.add(reading, 0.1)
    engine.add(waiting, 0.1)
    engine.advance(0.15)
    assert (engine.running, len(engine.waiting)) == (2, 1)
    engine.abort(reading)
    engine.abort(reading)
    engine.abort(writing)
    finish(engine)
    assert waiting.finished_at > 0
    assert engine.kv_usage == 0.0


def test_steps_taken_at_once_are_those_taken_one_by_one() -> None:
    hardware = Hardware(kv_tokens=3200, block_tokens=16)
    at_once, stepwise = Engine(hardware), Engine(hardware)
    ends: list[list[float]] = []
    for engine, tick in ((at_once, 1e9), (stepwise, 0.004)):
        sequences = [ask(name, output=30 * name) for name in range(1, 6)]
        for one in sequences:
            engine.add(one, 0.0)
        now = 0.0
        while engine.ends_at is not None:
            now += tick
            engine.advance(now)
        ends.append([one.finished_at for one in sequences])
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert at_once.steps == stepwise.steps


Calls = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 60), st.integers(1, 120), st.integers(0, 4), st.booleans()), max_size=30
)


@given(Calls, st.floats(0.0, 0.2))
def test_memory_is_never_overdrawn_and_all_of_it_comes_back(
    calls: list[tuple[int, int, int, int, bool]], gap: float
) -> None:
    engine = Engine(SMALL)
    now, sequences = 0.0, []
    for name, blocks, output, shared, leaves in calls:
        now += gap
        engine.advance(now)
        sequences.append(ask(name, tokens=blocks * 16 + 3, output=output, shared=shared))
        engine.add(sequences[-1], now)
        if leaves:
            engine.abort(sequences[len(sequences) // 2])
        assert engine._taken <= engine._capacity + engine.running
    finish(engine)
    assert all(one.finished_at >= 0 for one in sequences)
    assert (engine.running, len(engine.waiting), engine._taken, engine._context) == (0, 0, 0, 0)
    assert len(engine._idle) <= engine._capacity
