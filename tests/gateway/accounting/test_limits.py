"""Rate limits: what a minute holds, what a call leaves behind, what its caller is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.accounting.limits import LimitRule, Limits, RateLimited, Turn, _spoken
from gateway.core.allowances import RateLimits
from gateway.core.types import Principal

ADA = Principal("ada", team="red")
BOB = Principal("bob", team="red")


def limits(*rules: LimitRule) -> Limits:
    made = Limits()
    made.apply(rules, 0.0)
    return made


def enter(of: Limits, now: float = 0.0, tokens: int = 10, who: Principal = ADA, model: str = "chat") -> Turn:
    turn = of.enter(who, model, tokens, now)
    assert turn is not None
    return turn


def refused(of: Limits, now: float = 0.0, tokens: int = 10, who: Principal = ADA, model: str = "chat") -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        of.enter(who, model, tokens, now)
    return caught.value


def test_who_has_no_limit_takes_no_turn() -> None:
    assert not Limits().active
    assert limits(LimitRule("key", "bob", RateLimits(calls_per_minute=1))).enter(ADA, "chat", 10, 0.0) is None


def test_a_minute_holds_so_many_calls_and_fills_again_at_their_pace() -> None:
    of = limits(LimitRule("key", "*", RateLimits(calls_per_minute=6)))
    for _ in range(6):
        enter(of)
    error = refused(of, 1.0)
    assert (error.status, error.code, error.type) == (429, "rate_limit_exceeded", "rate_limit_error")
    assert error.retry_after_s == pytest.approx(9.0)
    assert error.message == "key ada may have 6 calls a minute: try again in 9s"
    enter(of, 10.0)
    refused(of, 10.0)
    enter(of, 10.0, who=BOB)


def test_tokens_are_put_right_when_the_call_ends() -> None:
    of = limits(LimitRule("key", "*", RateLimits(tokens_per_minute=600)))
    turn = enter(of, tokens=500)
    assert refused(of, tokens=200).retry_after_s == pytest.approx(10.0)
    turn.used(100)
    enter(of, tokens=500)
    more = enter(of, 60.0, tokens=10)
    more.used(900)
    assert refused(of, 60.0, tokens=1).retry_after_s == pytest.approx(30.1)


def test_a_call_larger_than_a_minute_needs_it_whole_and_leaves_a_debt() -> None:
    of = limits(LimitRule("key", "*", RateLimits(tokens_per_minute=60)))
    enter(of, tokens=600)
    assert refused(of, tokens=1).retry_after_s == pytest.approx(541)
    enter(of, 600.0, tokens=600)


def test_calls_in_flight_are_bounded_until_they_leave() -> None:
    of = limits(LimitRule("team", "red", RateLimits(in_flight=2), own=True))
    first, _ = enter(of), enter(of, who=BOB)
    assert refused(of).message == "team red may have 2 calls in flight: try again in 1s"
    first.leave()
    first.leave()
    enter(of)
    refused(of, who=BOB)


def test_a_call_that_one_limit_refuses_takes_of_no_other() -> None:
    of = limits(
        LimitRule("key", "*", RateLimits(calls_per_minute=10)), LimitRule("team", "red", RateLimits(in_flight=1))
    )
    turn = enter(of)
    for _ in range(20):
        refused(of)
    turn.leave()
    for _ in range(9):
        enter(of).leave()
    assert "10 calls" in refused(of).message


def test_a_limit_for_a_model_holds_for_that_alone() -> None:
    of = limits(
        LimitRule("key", "*", RateLimits(calls_per_minute=1), model="smart"),
        LimitRule("model", "big", RateLimits(in_flight=1)),
    )
    enter(of, model="smart")
    assert "key ada for smart" in refused(of, model="smart").message
    assert of.enter(ADA, "chat", 1, 0.0) is None
    enter(of, model="big")
    assert "model big" in refused(of, model="big", who=BOB).message


def test_one_that_is_named_has_its_own_in_the_place_of_the_one_for_each() -> None:
    of = limits(
        LimitRule("key", "*", RateLimits(calls_per_minute=1)), LimitRule("key", "ada", RateLimits(calls_per_minute=3))
    )
    for _ in range(3):
        enter(of)
    refused(of)
    enter(of, who=BOB)
    refused(of, who=BOB)


def test_a_new_config_forgets_nothing_that_was_used() -> None:
    of = limits(LimitRule("key", "*", RateLimits(calls_per_minute=2)))
    turn = enter(of)
    enter(of)
    of.apply([LimitRule("key", "*", RateLimits(calls_per_minute=3, in_flight=3))], 0.0)
    enter(of)
    assert "3 calls a minute" in str(refused(of)) or "3 calls in flight" in str(refused(of))
    turn.leave()
    of.apply([], 0.0)
    assert not of.active


def test_callers_are_told_what_is_left_in_openais_words() -> None:
    of = limits(
        LimitRule("key", "*", RateLimits(calls_per_minute=60, tokens_per_minute=6000)),
        LimitRule("team", "*", RateLimits(calls_per_minute=30)),
    )
    turn = enter(of, tokens=1500)
    assert dict(turn.headers(0.0)) == {
        b"x-ratelimit-limit-requests": b"30",
        b"x-ratelimit-remaining-requests": b"29",
        b"x-ratelimit-reset-requests": b"2s",
        b"x-ratelimit-limit-tokens": b"6000",
        b"x-ratelimit-remaining-tokens": b"4500",
        b"x-ratelimit-reset-tokens": b"15s",
    }
    for _ in range(29):
        enter(of, tokens=0)
    assert dict(refused(of).headers)[b"x-ratelimit-remaining-requests"] == b"0"


@pytest.mark.parametrize(
    ("seconds", "spoken"), [(0.0, "0ms"), (0.0121, "13ms"), (1.0, "1s"), (59.2, "1m0s"), (360, "6m0s"), (75.5, "1m16s")]
)
def test_durations_are_written_as_openai_does(seconds: float, spoken: str) -> None:
    assert _spoken(seconds) == spoken


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40), st.integers(0, 80)), max_size=60))
def test_no_minute_lets_in_more_than_two_fills_and_waiting_as_told_is_enough(
    calls: list[tuple[float, int, int]],
) -> None:
    of = limits(LimitRule("key", "*", RateLimits(calls_per_minute=5, tokens_per_minute=100)))
    now, let_in = 0.0, []
    for gap, expected, true in calls:
        now += gap
        turn = None
        while turn is None:  # one limit's wait may be longer than another's
            try:
                turn = enter(of, now, expected)
            except RateLimited as error:
                now += error.retry_after_s or 0.0
        let_in.append(now)
        turn.used(true)
        turn.leave()
    for start in let_in:
        assert sum(start <= each < start + 60 for each in let_in) <= 10
