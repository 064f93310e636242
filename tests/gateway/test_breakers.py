"""Breakers, taught outcomes: no clock, no I/O, no dice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attempts import LESSONS
from gateway.breakers import Breakers, Change, Settings
from gateway.breakers.window import Window
from gateway.core.errors import Reason
from gateway.core.types import Deployment, Endpoint, Origin, Outcome

HOST = Origin("https", "host.test", 443)
ONE = Endpoint("one#0", "one", "p", HOST, credential="p/0")
TWIN = Endpoint("one#1", "one", "p", HOST, credential="p/1")
TWO = Endpoint("two#0", "two", "p", HOST, credential="p/0")


def deployment(name: str, *endpoints: Endpoint) -> Deployment:
    return Deployment(name, "p", "openai", name, "openai", b"/v1", endpoints)


def breakers(*endpoints: Endpoint, **settings: float) -> Breakers:
    made = Breakers(LESSONS, Settings(**settings))  # type: ignore[arg-type]
    made.watch(endpoints or (ONE, TWIN, TWO))
    return made


def answer(now: float, slow: bool = False) -> Outcome:
    return Outcome(now, 0.5, slow=slow)


def failure(now: float, reason: Reason = Reason.SERVER_ERROR, retry_after_s: float | None = None) -> Outcome:
    return Outcome(now, 0.5, reason, retry_after_s=retry_after_s)


def fail(made: Breakers, times: int = 5, now: float = 1.0, endpoint: Endpoint = ONE) -> None:
    for _ in range(times):
        made.record(endpoint, failure(now))


def probe(made: Breakers, now: float, outcome: Outcome, endpoint: Endpoint = ONE) -> None:
    assert made.admits(endpoint, now)
    assert made.begin(endpoint, now)
    made.record(endpoint, outcome, probe=True)


def test_a_failure_rate_over_the_minimum_of_calls_opens() -> None:
    made = breakers()
    fail(made, 4)
    assert made.admits(ONE, 1.0)
    fail(made, 1)
    assert not made.admits(ONE, 1.0)
    assert made.admits(TWIN, 1.0)
    assert made.condition(ONE.id, 1.0).why == "breaker open for 5.0 s: server_error"


def test_answers_keep_the_rate_down() -> None:
    made = breakers()
    for _ in range(6):
        made.record(ONE, answer(1.0))
    fail(made, 4)
    made.record(ONE, answer(1.0))
    fail(made, 2)
    assert made.admits(ONE, 1.0)
    fail(made, 1)
    assert not made.admits(ONE, 1.0)


@pytest.mark.parametrize("reason", [Reason.CONNECT, Reason.TIMEOUT])
def test_failures_in_a_row_open_however_well_it_went_before(reason: Reason) -> None:
    made = breakers()
    for _ in range(1000):
        made.record(ONE, answer(1.0))
    for _ in range(4):
        made.record(ONE, failure(1.0, reason))
    made.record(ONE, failure(1.0, Reason.BAD_REQUEST))
    assert made.admits(ONE, 1.0)
    made.record(ONE, failure(1.0, reason))
    assert not made.admits(ONE, 1.0)


def test_failures_leave_the_window() -> None:
    made = breakers()
    fail(made, 4, now=1.0)
    fail(made, 4, now=40.0)
    assert made.admits(ONE, 40.0)
    assert made.condition(ONE.id, 40.0).failures == 4


def test_slow_answers_and_timeouts_open() -> None:
    made = breakers()
    for _ in range(3):
        made.record(ONE, answer(1.0, slow=True))
    for _ in range(2):
        made.record(ONE, failure(1.0, Reason.TIMEOUT))
    assert not made.admits(ONE, 1.0)
    assert made.condition(ONE.id, 1.0).slow == 5


@pytest.mark.parametrize(
    "reason",
    [Reason.CANCELLED, Reason.BAD_REQUEST, Reason.CONTEXT_TOO_LONG, Reason.CONTENT_FILTERED, Reason.NOT_FOUND],
)
def test_what_is_not_the_endpoints_fault_teaches_nothing(reason: Reason) -> None:
    made = breakers()
    for _ in range(50):
        made.record(ONE, failure(1.0, reason))
    assert made.admits(ONE, 1.0)
    assert made.condition(ONE.id, 1.0).calls == 0


def test_a_cancelled_client_does_not_open_the_breaker_nor_dilute_its_window() -> None:
    made = breakers()
    fail(made, 4)
    for _ in range(50):
        made.record(ONE, failure(1.0, Reason.CANCELLED))
    assert made.admits(ONE, 1.0)
    fail(made, 1)
    assert not made.admits(ONE, 1.0)


def test_a_rest_doubles_up_to_its_bound_and_starts_small_after_a_full_return() -> None:
    made = breakers()
    fail(made)
    now, rests = 1.0, []
    for _ in range(4):
        until = made.condition(ONE.id, now).until
        assert until is not None
        rests.append(until - now)
        assert not made.admits(ONE, until - 0.001)
        now = until
        probe(made, now, failure(now))
    assert rests == pytest.approx([5.0, 10.0, 20.0, 20.0])
    now += 20.0
    probe(made, now, answer(now))
    probe(made, now, answer(now))
    for _ in range(10):
        made.record(ONE, answer(now))
    for _ in range(11):
        made.record(ONE, failure(now))
    assert made.condition(ONE.id, now).until == pytest.approx(now + 5.0)


def test_half_open_admits_one_live_call_at_a_time() -> None:
    made = breakers()
    fail(made)
    assert made.begin(ONE, 6.0)
    assert not made.admits(ONE, 6.0)
    assert not made.begin(ONE, 6.0)
    made.record(ONE, answer(7.0), probe=True)
    assert made.admits(ONE, 7.0)
    assert made.condition(ONE.id, 7.0).state == "half-open"


def test_a_straggler_from_before_the_outage_neither_frees_the_probes_place_nor_closes() -> None:
    made = breakers()
    fail(made)
    assert made.begin(ONE, 6.0)
    for _ in range(5):
        made.record(ONE, answer(6.0))
        made.record(ONE, failure(6.0))
    assert not made.admits(ONE, 6.0)
    assert made.condition(ONE.id, 6.0).state == "half-open"


def test_a_cancelled_probe_frees_the_place_and_teaches_nothing() -> None:
    made = breakers(probes=1)
    fail(made)
    probe(made, 6.0, failure(6.5, Reason.CANCELLED))
    assert made.condition(ONE.id, 6.5).state == "half-open"
    assert made.admits(ONE, 6.5)


def test_it_returns_with_a_tenth_then_three_tenths_then_all_of_its_calls() -> None:
    made = breakers()
    fail(made)
    probe(made, 6.0, answer(6.0))
    probe(made, 6.0, answer(6.0))
    shares = []
    for _ in range(3):
        shares.append(sum(made.admits(ONE, 6.0) for _ in range(100)))
        for _ in range(5):
            made.record(ONE, answer(6.0))
    assert shares == [10, 30, 100]
    assert made.unavailable([deployment("one", ONE)], 6.0) == {}


def test_failures_from_before_the_return_do_not_count_after_it() -> None:
    made = breakers()
    fail(made)
    probe(made, 6.0, answer(6.0))
    probe(made, 6.0, answer(6.0))
    fail(made, 4, now=6.0)
    assert made.condition(ONE.id, 6.0).state == "closed"


def test_a_slow_probe_opens_again() -> None:
    made = breakers()
    fail(made)
    probe(made, 6.0, answer(9.0, slow=True))
    assert not made.admits(ONE, 9.0)


def test_out_of_credit_opens_at_once_until_the_reset_or_ten_minutes() -> None:
    made = breakers()
    made.record(ONE, failure(1.0, Reason.OUT_OF_CREDIT))
    made.record(TWO, failure(1.0, Reason.OUT_OF_CREDIT, retry_after_s=30.0))
    assert made.condition(ONE.id, 1.0).until == 601.0
    assert made.condition(TWO.id, 1.0).until == 31.0
    assert not made.admits(TWO, 30.9)
    assert made.admits(TWO, 31.0)


def test_a_rate_limit_rests_the_endpoint_and_counts_nothing() -> None:
    made = breakers()
    made.record(ONE, failure(1.0, Reason.RATE_LIMITED, retry_after_s=4.0))
    made.record(ONE, failure(1.0, Reason.RATE_LIMITED, retry_after_s=2.0))
    assert not made.admits(ONE, 4.9)
    assert made.ready_at(ONE, 1.0) == 5.0
    assert made.admits(TWIN, 1.0)
    assert made.admits(ONE, 5.0)
    for _ in range(20):
        made.record(ONE, failure(6.0, Reason.RATE_LIMITED))
    assert made.admits(ONE, 6.0)


def test_a_refused_credential_is_dead_wherever_it_is_used_until_the_config_changes() -> None:
    made = breakers()
    made.record(ONE, failure(1.0, Reason.UNAUTHENTICATED))
    assert not made.admits(ONE, 9999.0)
    assert not made.admits(TWO, 9999.0)
    assert made.admits(TWIN, 1.0)
    assert made.ready_at(ONE, 1.0) == math.inf
    made.watch((ONE, TWIN, TWO))
    assert made.admits(ONE, 1.0)
    assert made.admits(TWO, 1.0)


def test_a_refusal_without_a_credential_condemns_that_endpoint_alone() -> None:
    mine, other = Endpoint("m#0", "m", "p", HOST), Endpoint("o#0", "o", "p", HOST)
    made = breakers(mine, other)
    made.record(mine, failure(1.0, Reason.UNAUTHENTICATED))
    assert not made.admits(mine, 1.0)
    assert made.admits(other, 1.0)


def test_a_deployment_is_unavailable_when_none_of_its_endpoints_takes_calls() -> None:
    made = breakers()
    both, two = deployment("one", ONE, TWIN), deployment("two", TWO)
    assert made.unavailable((both, two), 1.0) is made.unavailable((), 2.0)
    fail(made)
    assert made.unavailable((both, two), 1.0) == {}
    fail(made, endpoint=TWIN)
    assert made.unavailable((both, two), 1.0) == {"one": "breaker open for 5.0 s: server_error"}
    assert made.unavailable((both, two), 6.0) == {}


def test_the_least_bad_is_one_that_returns_else_the_one_that_rested_longest() -> None:
    made = breakers()
    assert made.least_bad((ONE, TWIN), 1.0) is None
    fail(made, now=2.0)
    fail(made, now=1.0, endpoint=TWIN)
    assert made.least_bad((ONE, TWIN), 3.0) is TWIN
    made.begin(TWIN, 3.0)
    assert made.least_bad((ONE, TWIN), 3.0) is ONE
    made.record(TWIN, answer(3.0), probe=True)
    made.begin(TWIN, 3.0)
    made.record(TWIN, answer(3.0), probe=True)
    assert made.least_bad((ONE, TWIN), 3.0) is TWIN


def test_the_least_bad_is_never_dead_nor_forced_nor_at_rest_and_out_of_credit_comes_last() -> None:
    made = breakers()
    made.record(ONE, failure(1.0, Reason.UNAUTHENTICATED))
    made.force_open(TWIN.id, 1.0)
    assert made.least_bad((ONE, TWIN, TWO), 1.0) is None
    made = breakers()
    made.record(ONE, failure(1.0, Reason.RATE_LIMITED, retry_after_s=5.0))
    made.record(TWIN, failure(1.0, Reason.OUT_OF_CREDIT))
    assert made.least_bad((ONE, TWIN), 2.0) is TWIN
    fail(made, now=3.0, endpoint=TWO)
    assert made.least_bad((ONE, TWIN, TWO), 3.0) is TWO


def test_the_wait_until_one_may_be_asked_again() -> None:
    made = breakers()
    both = deployment("one", ONE, TWIN)
    fail(made, now=1.0)
    made.record(TWIN, failure(1.0, Reason.RATE_LIMITED, retry_after_s=3.0))
    assert made.retry_after_s((both,), 1.5) == pytest.approx(2.5)
    assert made.retry_after_s((), 1.5) == 1.0


def test_a_person_can_force_it_open_and_closed() -> None:
    made = breakers()
    made.force_open(ONE.id, 1.0)
    made.record(ONE, answer(2.0))
    assert not made.admits(ONE, 1e9)
    assert made.condition(ONE.id, 2.0).why == "breaker forced open"
    made.force_close(ONE.id, 3.0)
    assert made.admits(ONE, 3.0)
    fail(made, now=3.0)
    made.force_close(ONE.id, 3.0)
    assert made.admits(ONE, 3.0)
    with pytest.raises(KeyError):
        made.force_open("nobody#0", 1.0)


def test_a_reload_keeps_survivors_and_forgets_the_rest() -> None:
    made = breakers()
    fail(made)
    fail(made, endpoint=TWO)
    moved = Endpoint(TWO.id, "two", "p", Origin("https", "elsewhere.test", 443), credential="p/0")
    made.watch((Endpoint("one#0", "one", "p", HOST, credential="p/0"), moved))
    assert not made.admits(ONE, 1.0)
    assert made.admits(moved, 1.0)
    fail(made, endpoint=TWO)
    assert made.admits(moved, 1.0), "an outcome of the old endpoint must not teach the new one"
    fail(made, endpoint=TWIN)
    assert made.admits(TWIN, 1.0)
    assert [condition.endpoint for condition in made.conditions(1.0)] == ["one#0", "two#0"]


def test_every_change_is_heard_and_kept() -> None:
    heard: list[tuple[str, Change]] = []
    made = Breakers(LESSONS, Settings(probes=1), lambda endpoint, change: heard.append((endpoint.id, change)))
    made.watch((ONE,))
    fail(made)
    probe(made, 6.0, answer(7.0))
    made.record(ONE, failure(8.0, Reason.UNAUTHENTICATED))
    assert [(change.state, change.why) for _, change in heard] == [
        ("open", "server_error"),
        ("half-open", "server_error"),
        ("closed", "answers again"),
        ("dead", "unauthenticated"),
    ]
    assert tuple(change for _, change in heard) == made.condition(ONE.id, 8.0).history


def test_the_history_is_bounded() -> None:
    made = breakers()
    for _ in range(200):
        made.force_open(ONE.id, 1.0)
    assert len(made.condition(ONE.id, 1.0).history) == 50


@given(
    events=st.lists(
        st.tuples(st.floats(0, 8), st.sampled_from([None, *Reason]), st.booleans(), st.booleans()), max_size=60
    )
)
def test_whatever_happens_one_probe_is_out_at_most_and_the_way_back_stays_open(
    events: list[tuple[float, Reason | None, bool, bool]],
) -> None:
    made = breakers(ONE)
    now, out, doomed = 0.0, 0, False
    for gap, reason, slow, ends in events:
        now += gap
        if made.admits(ONE, now) and made.begin(ONE, now):
            out += 1
        assert out <= 1
        if ends:
            made.record(ONE, Outcome(now, 0.5, reason, slow=slow), probe=out == 1)
            out = 0
            doomed = doomed or reason is Reason.UNAUTHENTICATED
    if out:
        made.record(ONE, Outcome(now, 0.5, Reason.CANCELLED), probe=True)
    later = now + 700.0
    assert any(made.admits(ONE, later) for _ in range(10)) is not doomed


@given(
    steps=st.lists(st.floats(0, 5), max_size=60),
    span=st.sampled_from([1.0, 10.0, 30.0]),
)
def test_a_window_counts_what_is_recent_and_forgets_what_is_old(steps: list[float], span: float) -> None:
    window, now, times = Window(span, 1), 0.0, []
    for step in steps:
        now += step
        window.add(0, now)
        times.append(now)
    (total,) = window.totals(now)
    assert sum(now - at < span * 0.9 - 1e-6 for at in times) <= total
    assert total <= sum(now - at <= span + 1e-6 for at in times)
