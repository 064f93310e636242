"""The attempt loop, without asyncio, a network or a clock: plans and outcomes in, attempts out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.attempts import LESSONS, TABLE, RetryBudget, Stopped, Unbarred, attempts
from gateway.attempts.table import Follows, as_markdown
from gateway.breakers import Breakers
from gateway.core.errors import Reason
from gateway.core.types import Attempt, Deployment, Endpoint, FailurePolicy, Origin, Outcome, Plan, Pooled, Timeouts

DOCUMENT = Path(__file__).parents[2] / "docs" / "failures.md"


class Open:
    """Breakers to which nothing has happened."""

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        return True

    def least_bad(self, endpoints: Iterable[Endpoint], now: float) -> Endpoint | None:
        return None

    def ready_at(self, endpoint: Endpoint, now: float) -> float:
        return now


class Closed(Open):
    """Breakers that admit nobody, or nobody but some."""

    def __init__(self, *but: str, least_bad: str | None = None, resting: dict[str, float] | None = None) -> None:
        self.but = but
        self.least = least_bad
        self.resting = resting or {}

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        return endpoint.id in self.but or now >= self.resting.get(endpoint.id, math.inf)

    def least_bad(self, endpoints: Iterable[Endpoint], now: float) -> Endpoint | None:
        return next((endpoint for endpoint in endpoints if endpoint.id == self.least), None)

    def ready_at(self, endpoint: Endpoint, now: float) -> float:
        return self.resting.get(endpoint.id, math.inf)


def deployment(
    name: str,
    provider: str | None = None,
    *,
    credentials: int = 1,
    replicas: int = 1,
    window: int | None = None,
    first_token_s: float = 60.0,
) -> Deployment:
    provider = provider or f"provider of {name}"
    return Deployment(
        name=name,
        provider=provider,
        kind="openai",
        model=name,
        adapter="openai",
        base_path=b"/v1",
        endpoints=tuple(
            Endpoint(
                f"{name}#{replica * credentials + credential}",
                name,
                provider,
                Origin("https", f"{provider}-{replica}.test", 443),
                credential=f"{provider}/{credential}",
            )
            for replica in range(replicas)
            for credential in range(credentials)
        ),
        context_window=window,
        timeouts=Timeouts(first_token_s=first_token_s),
    )


def plan_of(*deployments: Deployment, permitted: frozenset[str] | None = None, **on_failure: object) -> Plan:
    names = frozenset(deployment.name for deployment in deployments)
    return Plan(
        "route",
        "in_order",
        names if permitted is None else permitted,
        deployments,
        on_failure=FailurePolicy(**on_failure),  # type: ignore[arg-type]
    )


def failure(reason: Reason, now: float = 1.0, draw: float = 0.5, **more: object) -> Outcome:
    return Outcome(now, draw, reason, **more)  # type: ignore[arg-type]


def play(
    plan: Plan,
    *outcomes: Outcome,
    gate: Open | None = None,
    budget: RetryBudget | None = None,
    now: float = 0.0,
    deadline: float = 600.0,
    turn: int = 0,
    in_flight: Mapping[str, int] | None = None,
    repeatable: bool = True,
) -> tuple[list[Attempt], Stopped | None]:
    """Sends the outcomes one after the other; returns the attempts and, where the loop ended, why."""
    loop = attempts(
        plan,
        gate or Open(),
        budget or RetryBudget(),
        now=now,
        deadline=deadline,
        turn=turn,
        in_flight=in_flight or {},
        repeatable=repeatable,
    )
    made: list[Attempt] = []
    try:
        made.append(next(loop))
        for outcome in outcomes:
            made.append(loop.send(outcome))  # noqa: PERF401  (in a comprehension, StopIteration would be lost)
    except StopIteration as stop:
        return made, stop.value
    return made, None


def asked(made: list[Attempt]) -> list[str]:
    return [attempt.endpoint.id for attempt in made]


def test_who_knows_better_orders_the_endpoints_and_is_asked_again_after_a_failure() -> None:
    pool, other = deployment("pool", replicas=3), deployment("other", replicas=2)
    asked_at: list[tuple[str, float]] = []

    def order(which: Deployment, now: float) -> tuple[Endpoint, ...] | None:
        asked_at.append((which.name, now))
        return which.endpoints[::-1] if which is pool else None

    loop = attempts(plan_of(pool, other, attempts=4), Open(), RetryBudget(), now=0.0, deadline=60.0, order=order)
    made = [next(loop)]
    made += [loop.send(failure(Reason.CONNECT, now)) for now in (1.0, 2.0, 3.0)]
    assert asked(made) == ["pool#2", "pool#1", "pool#0", "other#0"]
    assert asked_at[0] == ("pool", 0.0)
    assert ("pool", 1.0) in asked_at


A, B, C = deployment("a"), deployment("b"), deployment("c")
ANSWER = Outcome(1.0, 0.5)


def test_an_answer_ends_the_call() -> None:
    made, why = play(plan_of(A, B), ANSWER)
    assert asked(made) == ["a#0"]
    assert why is Stopped.ANSWERED
    assert made[0] == Attempt(1, A, A.endpoints[0], 0.0, 60.0)


@pytest.mark.parametrize(
    "reason",
    [
        Reason.CONNECT,
        Reason.TIMEOUT,
        Reason.RATE_LIMITED,
        Reason.OUT_OF_CREDIT,
        Reason.UNAUTHENTICATED,
        Reason.NOT_FOUND,
        Reason.STREAM_CUT,
        Reason.ABORTED,
    ],
)
def test_these_go_to_the_next_candidate_at_once(reason: Reason) -> None:
    made, why = play(plan_of(A, B), failure(reason))
    assert asked(made) == ["a#0", "b#0"]
    assert made[1].wait_s == 0.0
    assert why is None


@pytest.mark.parametrize("reason", [Reason.SERVER_ERROR, Reason.OVERLOADED])
def test_a_server_error_is_asked_again_once_after_a_jittered_back_off(reason: Reason) -> None:
    made, _ = play(plan_of(A, B), failure(reason, draw=0.4), failure(reason))
    assert asked(made) == ["a#0", "a#0", "b#0"]
    assert made[1].wait_s == pytest.approx(0.4 * 0.25)
    assert made[2].wait_s == 0.0
    assert play(plan_of(A, B), failure(reason, draw=0.0))[0][1].wait_s == 0.0


@pytest.mark.parametrize("reason", [Reason.BAD_REQUEST, Reason.CONTENT_FILTERED])
def test_the_callers_own_fault_is_not_tried_elsewhere(reason: Reason) -> None:
    made, why = play(plan_of(A, B), failure(reason))
    assert (asked(made), why) == (["a#0"], Stopped.CALLERS_FAULT)


def test_a_404_of_what_the_caller_named_is_the_callers_fault() -> None:
    made, why = play(plan_of(A, B), failure(Reason.NOT_FOUND, named_by_caller=True))
    assert (asked(made), why) == (["a#0"], Stopped.CALLERS_FAULT)


def test_a_stale_connection_is_asked_again_at_once_and_once() -> None:
    stale = failure(Reason.CONNECT, stale_connection=True)
    made, _ = play(plan_of(A, B), stale, stale)
    assert asked(made) == ["a#0", "a#0", "b#0"]
    assert made[1].wait_s == 0.0


def test_no_attempt_follows_content_that_has_left() -> None:
    for reason in Reason:
        made, why = play(plan_of(A, B, C), failure(reason, content_left=True))
        assert asked(made) == ["a#0"]
        assert why is (Stopped.CANCELLED if reason is Reason.CANCELLED else Stopped.CONTENT_LEFT)


def test_no_attempt_follows_a_caller_that_left() -> None:
    made, why = play(plan_of(A, B), failure(Reason.CANCELLED))
    assert (asked(made), why) == (["a#0"], Stopped.CANCELLED)


def test_a_long_prompt_goes_only_to_larger_windows() -> None:
    small, same, unknown, large = (
        deployment("small", window=8_000),
        deployment("same", window=8_000),
        deployment("unknown"),
        deployment("large", window=32_000),
    )
    too_long = failure(Reason.CONTEXT_TOO_LONG)
    made, _ = play(plan_of(small, same, unknown, large), too_long)
    assert asked(made) == ["small#0", "large#0"]
    made, why = play(plan_of(large, small, same), too_long)
    assert (asked(made), why) == (["large#0"], Stopped.NOBODY)


def test_an_unknown_window_has_none_larger() -> None:
    made, why = play(plan_of(A, deployment("large", window=1_000_000)), failure(Reason.CONTEXT_TOO_LONG))
    assert (asked(made), why) == (["a#0"], Stopped.NOBODY)


def test_who_rests_is_not_waited_for_once_it_is_known_not_to_serve() -> None:
    small, large = deployment("small", window=8_000), deployment("large", window=32_000)
    limited = failure(Reason.RATE_LIMITED, retry_after_s=3.0)
    made, why = play(plan_of(small, large, attempts=5), limited, failure(Reason.CONTEXT_TOO_LONG))
    assert (asked(made), why) == (["small#0", "large#0"], Stopped.NOBODY)
    one, two = deployment("one", "openai"), deployment("two", "openai")
    made, why = play(plan_of(one, two, attempts=5), limited, failure(Reason.UNAUTHENTICATED))
    assert (asked(made), why) == (["one#0", "two#0"], Stopped.NOBODY)


def test_a_refused_credential_is_dead_for_all_deployments_that_share_it() -> None:
    one = deployment("one", "openai", credentials=2)
    two = deployment("two", "openai", credentials=2)
    made, why = play(plan_of(one, two, attempts=5), *[failure(Reason.UNAUTHENTICATED)] * 2)
    assert asked(made) == ["one#0", "one#1"]
    assert why is Stopped.NOBODY


def test_a_rate_limited_credential_gives_way_to_the_next_one_of_the_deployment() -> None:
    made, _ = play(plan_of(deployment("one", credentials=2), B), failure(Reason.RATE_LIMITED, retry_after_s=9.0))
    assert asked(made) == ["one#0", "one#1"]


def test_an_unreachable_origin_is_not_tried_with_another_credential_but_another_replica_is() -> None:
    made, _ = play(plan_of(deployment("one", credentials=2), B), failure(Reason.CONNECT))
    assert asked(made) == ["one#0", "b#0"]
    made, _ = play(plan_of(deployment("pool", replicas=2), B), failure(Reason.CONNECT))
    assert asked(made) == ["pool#0", "pool#1"]


def test_the_turn_rotates_through_a_deployments_endpoints() -> None:
    pool = deployment("pool", replicas=3)
    assert [asked(play(plan_of(pool), turn=turn)[0])[0] for turn in range(4)] == [
        "pool#0",
        "pool#1",
        "pool#2",
        "pool#0",
    ]
    made, _ = play(plan_of(pool, attempts=3), *[failure(Reason.CONNECT)] * 2, turn=2)
    assert asked(made) == ["pool#2", "pool#0", "pool#1"]


def test_of_two_endpoints_the_less_busy_is_asked_and_every_pair_has_its_turn() -> None:
    pool, turns = deployment("pool", replicas=3), range(6)
    busy = {"pool#0": 2, "pool#1": 1}
    firsts = [asked(play(plan_of(pool), turn=turn, in_flight=busy)[0])[0] for turn in turns]
    assert [firsts.count(f"pool#{index}") for index in range(3)] == [0, 2, 4]
    made, _ = play(plan_of(pool, attempts=3), *[failure(Reason.CONNECT)] * 2, turn=0, in_flight=busy)
    assert asked(made) == ["pool#1", "pool#0", "pool#2"]


def test_a_wait_within_the_patience_is_waited_and_uses_it_up() -> None:
    limited = failure(Reason.RATE_LIMITED, retry_after_s=1.5)
    made, _ = play(plan_of(A, B, patience_s=2.0, attempts=4), limited, limited)
    assert asked(made) == ["a#0", "a#0", "b#0"]
    assert made[1].wait_s == 1.5


def test_a_wait_beyond_the_patience_is_waited_where_nobody_else_can_and_it_fits_the_deadline() -> None:
    limited = failure(Reason.RATE_LIMITED, retry_after_s=8.0)
    made, _ = play(plan_of(A), limited, deadline=20.0)
    assert asked(made) == ["a#0", "a#0"]
    assert made[1].wait_s == 8.0
    assert made[1].first_token_s == pytest.approx(20.0 - 1.0 - 8.0)
    made, why = play(plan_of(A), limited, deadline=9.0)
    assert (asked(made), why) == (["a#0"], Stopped.DEADLINE)


def test_of_several_waits_the_shortest_is_taken() -> None:
    made, _ = play(
        plan_of(A, B, attempts=3),
        failure(Reason.RATE_LIMITED, retry_after_s=8.0),
        failure(Reason.RATE_LIMITED, now=2.0, retry_after_s=3.0),
    )
    assert asked(made) == ["a#0", "b#0", "b#0"]
    assert made[2].wait_s == 3.0


def test_a_retry_after_on_an_overload_is_a_wait_and_not_a_back_off() -> None:
    made, _ = play(plan_of(A, B), failure(Reason.OVERLOADED, retry_after_s=5.0))
    assert asked(made) == ["a#0", "b#0"]
    made, _ = play(plan_of(A, B, patience_s=5.0), failure(Reason.OVERLOADED, retry_after_s=5.0))
    assert (asked(made), made[1].wait_s) == (["a#0", "a#0"], 5.0)


def test_a_provider_that_says_not_to_retry_is_not_asked_again() -> None:
    made, _ = play(plan_of(deployment("pool", replicas=2), B), failure(Reason.SERVER_ERROR, should_retry=False))
    assert asked(made) == ["pool#0", "b#0"]


def test_a_route_narrows_and_never_widens() -> None:
    route = plan_of(A, B, errors=frozenset({Reason.TIMEOUT, Reason.CONTENT_FILTERED}))
    assert play(route, failure(Reason.CONNECT))[1] is Stopped.ROUTE
    assert play(route, failure(Reason.CONTENT_FILTERED))[1] is Stopped.CALLERS_FAULT
    assert asked(play(route, failure(Reason.TIMEOUT))[0]) == ["a#0", "b#0"]


def test_a_call_with_side_effects_is_not_sent_again_once_it_may_have_run() -> None:
    for reason, row in TABLE.items():
        made, why = play(plan_of(A, B), failure(reason), repeatable=False)
        if row.may_have_run:
            assert (asked(made), why) == (["a#0"], Stopped.NOT_REPEATABLE)
    made, _ = play(plan_of(A, B), failure(Reason.CONNECT, sent=False), repeatable=False)
    assert asked(made) == ["a#0", "b#0"]


def test_a_body_that_was_passed_on_as_it_came_is_sent_to_nobody_else() -> None:
    for reason in TABLE:
        made, why = play(plan_of(A, B), failure(reason, spent=True, retry_after_s=0.0))
        assert asked(made) == ["a#0"]
        assert why is not Stopped.NOBODY
        assert why is Stopped.NOT_REPEATABLE or TABLE[reason].follows is Follows.STOP


def test_the_number_of_attempts_is_bounded() -> None:
    made, why = play(plan_of(A, B, C, attempts=2), *[failure(Reason.CONNECT)] * 3)
    assert (asked(made), why) == (["a#0", "b#0"], Stopped.ATTEMPTS)


def test_nothing_is_tried_after_the_deadline() -> None:
    assert play(plan_of(A), now=5.0, deadline=5.0) == ([], Stopped.DEADLINE)
    made, why = play(plan_of(A, B), failure(Reason.TIMEOUT, now=30.0), deadline=30.0)
    assert (asked(made), why) == (["a#0"], Stopped.DEADLINE)


def test_the_first_token_is_awaited_as_the_route_says_and_never_beyond_the_deadline() -> None:
    quick = deployment("quick", first_token_s=5.0)
    assert play(plan_of(quick))[0][0].first_token_s == 5.0
    assert play(plan_of(quick, first_token_s=4.0))[0][0].first_token_s == 4.0
    assert play(plan_of(quick), deadline=3.0)[0][0].first_token_s == 3.0


def test_who_is_not_admitted_is_passed_over() -> None:
    made, _ = play(plan_of(A, B, C), failure(Reason.CONNECT), gate=Closed("b#0", "c#0"))
    assert asked(made) == ["b#0", "c#0"]


def test_where_nobody_is_admitted_the_least_bad_is_tried_rather_than_nobody() -> None:
    made, _ = play(plan_of(A, B), gate=Closed(least_bad="b#0"))
    assert (asked(made), made[0].wait_s) == (["b#0"], 0.0)
    assert play(plan_of(A, B), gate=Closed()) == ([], Stopped.NOBODY)


def test_where_all_rest_the_first_to_be_ready_is_waited_for_if_the_deadline_allows() -> None:
    gate = Closed(resting={"a#0": 7.0, "b#0": 4.0})
    made, _ = play(plan_of(A, B), gate=gate)
    assert (asked(made), made[0].wait_s) == (["b#0"], 4.0)
    assert play(plan_of(A, B), gate=gate, deadline=3.0) == ([], Stopped.DEADLINE)


def test_the_retry_budget_lets_a_quiet_gateway_retry_three_times_in_ten_seconds() -> None:
    budget = RetryBudget()
    assert [budget.spend("p", 100.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.spend("p", 108.0)
    assert budget.spend("p", 111.0)


def test_the_retry_budget_is_a_fifth_of_recent_calls() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.count("p", 50.0)
    assert [budget.spend("p", 51.0) for _ in range(21)] == [True] * 20 + [False]
    assert budget.spend("q", 51.0)


def test_a_spent_budget_stops_retries_but_not_another_provider() -> None:
    budget = RetryBudget()
    while budget.spend(A.provider, 1.0):
        pass
    made, _ = play(plan_of(A, B), failure(Reason.SERVER_ERROR), budget=budget)
    assert asked(made) == ["a#0", "b#0"]
    made, why = play(plan_of(A), failure(Reason.SERVER_ERROR), budget=budget)
    assert asked(made) == ["a#0"]
    assert why is Stopped.BUDGET
    sibling = deployment("sibling", A.provider)
    assert play(plan_of(A, sibling), failure(Reason.CONNECT), budget=budget)[1] is Stopped.BUDGET


def test_an_attempt_outside_of_the_permitted_set_is_an_error_and_is_not_yielded() -> None:
    with pytest.raises(AssertionError, match="not permitted"):
        play(plan_of(A, B, permitted=frozenset({"b"})))
    with pytest.raises(AssertionError, match="not permitted"):
        play(plan_of(A, B, permitted=frozenset({"a"})), failure(Reason.CONNECT))


def test_every_reason_has_a_row() -> None:
    assert set(TABLE) == set(Reason) == set(LESSONS)


def test_the_documented_table_is_the_table() -> None:
    text = DOCUMENT.read_text()
    shown = text.partition("<!-- table: gateway.attempts.table.as_markdown() -->\n")[2].partition("<!-- end -->")[0]
    assert shown == as_markdown(), "docs/failures.md is stale: paste the output of as_markdown() between its markers"


# -- laws -------------------------------------------------------------------------------------------------------------

deployments = st.lists(
    st.builds(
        lambda index, provider, credentials, replicas, window: (index, provider, credentials, replicas, window),
        st.integers(0, 99),
        st.sampled_from(["p", "q", "r"]),
        st.integers(1, 2),
        st.integers(1, 2),
        st.sampled_from([None, 8_000, 32_000]),
    ),
    max_size=4,
    unique_by=lambda fields: fields[0],
).map(
    lambda rows: [
        deployment(f"d{index}", provider, credentials=credentials, replicas=replicas, window=window)
        for index, provider, credentials, replicas, window in rows
    ]
)
endings = st.lists(
    st.builds(
        lambda took, draw, reason, wait, left, stale, named, again: (
            took,
            draw,
            reason,
            wait,
            left,
            stale,
            named,
            again,
        ),
        st.floats(0, 40),
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(Reason),
        st.one_of(st.none(), st.floats(0, 100)),
        st.sampled_from([False] * 5 + [True]),
        st.booleans(),
        st.sampled_from([False] * 5 + [True]),
        st.sampled_from([None, True, False]),
    ),
    max_size=12,
)


@given(
    plans=deployments,
    sequence=endings,
    most=st.integers(1, 6),
    patience=st.sampled_from([0.0, 2.0, 50.0]),
    errors=st.one_of(st.none(), st.frozensets(st.sampled_from(Reason))),
    turn=st.integers(0, 7),
    repeatable=st.booleans(),
)
def test_no_sequence_of_failures_breaks_a_bound(
    plans: list[Deployment],
    sequence: list[tuple[float, float, Reason, float | None, bool, bool, bool, bool | None]],
    most: int,
    patience: float,
    errors: frozenset[Reason] | None,
    turn: int,
    repeatable: bool,
) -> None:
    plan = plan_of(*plans, attempts=most, patience_s=patience, errors=errors)
    breakers, budget, deadline = Breakers(LESSONS), RetryBudget(), 120.0
    breakers.watch(endpoint for deployment in plans for endpoint in deployment.endpoints)
    loop = attempts(plan, breakers, budget, now=0.0, deadline=deadline, turn=turn, repeatable=repeatable)
    now, made, last = 0.0, 0, None
    dead: set[str] = set()
    try:
        attempt = next(loop)
        for took, draw, reason, wait, left, stale, named, again in sequence:
            made += 1
            now += attempt.wait_s
            assert attempt.number == made <= most
            assert attempt.deployment.name in plan.permitted
            assert attempt.endpoint in attempt.deployment.endpoints
            assert attempt.endpoint.credential not in dead
            assert now < deadline
            assert 0 < attempt.first_token_s <= deadline - now + 1e-6
            probe = breakers.begin(attempt.endpoint, now)
            now += took
            last = Outcome(
                now,
                draw,
                reason,
                retry_after_s=wait,
                content_left=left,
                stale_connection=stale,
                named_by_caller=named,
                should_retry=again,
            )
            breakers.record(attempt.endpoint, last, probe)
            if reason is Reason.UNAUTHENTICATED:
                dead.add(attempt.endpoint.credential)
            before, attempt = attempt, loop.send(last)
            assert not left
            assert reason not in (Reason.CANCELLED, Reason.BAD_REQUEST, Reason.CONTENT_FILTERED)
            assert not (reason is Reason.NOT_FOUND and named)
            assert errors is None or reason in errors
            assert repeatable or not TABLE[reason].may_have_run
            if reason is Reason.CONTEXT_TOO_LONG:
                assert (attempt.deployment.context_window or 0) > (before.deployment.context_window or math.inf)
    except StopIteration as stop:
        why = stop.value
    else:
        why = None
    assert why is not Stopped.ANSWERED
    assert why is not None or len(sequence) < most
    assert why is None or last is not None or not plans


@given(
    gaps=st.lists(st.floats(0, 0.5), min_size=1, max_size=300),
    reason=st.sampled_from([Reason.SERVER_ERROR, Reason.OVERLOADED, Reason.CONNECT, Reason.RATE_LIMITED]),
)
def test_an_outage_is_multiplied_by_no_more_than_the_retry_budget(gaps: list[float], reason: Reason) -> None:
    """Breakers left out: the budget alone must hold."""
    pool = deployment("pool", "p", replicas=3, credentials=2)
    plan, budget, now = plan_of(pool, attempts=6, patience_s=1.0), RetryBudget(), 0.0
    firsts: list[float] = []
    retries: list[float] = []
    for gap in gaps:
        now += gap
        loop = attempts(plan, Open(), budget, now=now, deadline=now + 60)
        try:
            next(loop)
            firsts.append(now)
            while True:
                loop.send(failure(reason, now, retry_after_s=0.5 if reason is Reason.RATE_LIMITED else None))
                retries.append(now)
        except StopIteration:
            pass
    for start in retries:
        recent = sum(start <= at < start + 9.0 for at in retries)
        calls = sum(start - 10.0 <= at <= start + 9.0 for at in firsts)
        assert recent <= max(3, calls * 0.2)


# -- pools of replicas ---------------------------------------------------------------------------------------------


def pool(replicas: int, name: str = "pool") -> Deployment:
    return msgspec.structs.replace(deployment(name, replicas=replicas), pooled=Pooled("prefix"))


@pytest.mark.parametrize("reason", [Reason.SERVER_ERROR, Reason.OVERLOADED, Reason.QUEUE_FULL, Reason.ABORTED])
def test_another_replica_is_asked_at_once_and_never_the_same_while_one_is_left(reason: Reason) -> None:
    made, _ = play(plan_of(pool(4), attempts=4), *[failure(reason)] * 3)
    assert len(set(asked(made))) == 4
    assert [attempt.wait_s for attempt in made] == [0.0] * 4


@pytest.mark.parametrize("reason", [Reason.SERVER_ERROR, Reason.OVERLOADED, Reason.QUEUE_FULL])
def test_the_first_replica_is_asked_again_after_a_back_off_once_all_have_been(reason: Reason) -> None:
    made, _ = play(plan_of(pool(2), attempts=5), *[failure(reason, draw=0.5)] * 2)
    assert asked(made)[0] != asked(made)[1]
    assert len(made) == 3
    assert made[2].wait_s > 0


def test_a_pool_has_two_tries_before_the_next_deployment_has_its_turn() -> None:
    made, _ = play(plan_of(pool(8), A), *[failure(Reason.CONNECT)] * 2)
    assert [attempt.deployment.name for attempt in made] == ["pool", "pool", A.name]


def test_the_rest_of_a_pool_is_tried_after_the_others() -> None:
    made, _ = play(plan_of(pool(3), A, attempts=4), *[failure(Reason.CONNECT)] * 3)
    assert [attempt.deployment.name for attempt in made] == ["pool", "pool", A.name, "pool"]
    assert len(set(asked(made))) == 4


def test_a_full_queue_spills_over_at_once_and_is_waited_for_where_nobody_else_can() -> None:
    made, _ = play(plan_of(pool(1), A), failure(Reason.QUEUE_FULL))
    assert [(attempt.deployment.name, attempt.wait_s) for attempt in made] == [("pool", 0.0), (A.name, 0.0)]
    made, _ = play(plan_of(pool(1)), failure(Reason.QUEUE_FULL, draw=0.5))
    assert len(made) == 2
    assert 0 < made[1].wait_s <= 0.25


def test_who_is_barred_is_not_asked_and_not_the_last_resort_either() -> None:
    both = pool(2)
    barred = {both.endpoints[0].id}

    def why(endpoint: Endpoint) -> str | None:
        return "hangs" if endpoint.id in barred else None

    gate = Unbarred(Open(), why)
    for turn in range(4):
        made, _ = play(plan_of(both), gate=gate, turn=turn)  # type: ignore[arg-type]
        assert asked(made) == [both.endpoints[1].id]
    barred.add(both.endpoints[1].id)
    last = Unbarred(Closed(least_bad=both.endpoints[0].id), why)
    made, stopped = play(plan_of(both), gate=last)  # type: ignore[arg-type]
    assert (made, stopped) == ([], Stopped.NOBODY)
    assert last.ready_at(both.endpoints[0], 1.0) == math.inf
