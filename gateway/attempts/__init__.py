"""The attempt loop: a pure generator that yields attempts and is sent their outcomes.

    loop = attempts(plan, breakers, budget, now=…, deadline=…)
    attempt = next(loop)
    while True:
        outcome = …                     # the caller of the generator does the I/O
        attempt = loop.send(outcome)    # StopIteration: over, and `value` says why

It opens no socket, waits for nothing and reads no clock. A call that is answered by its first attempt costs one
look at the breakers; everything that weighs failures is in `course` and entered only after one.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import Final

from gateway.attempts.bars import Unbarred
from gateway.attempts.budget import RetryBudget
from gateway.attempts.course import Course, Gate, Order, Stopped, in_order
from gateway.attempts.table import LESSONS, TABLE
from gateway.core.types import Attempt, Outcome, Plan

_NOTHING: Final[Mapping[str, int]] = MappingProxyType({})
_ANSWERED: Final = Stopped.ANSWERED  # a member of an enum, looked up on its class, costs ten times a name

__all__ = ["LESSONS", "TABLE", "Gate", "Order", "RetryBudget", "Stopped", "Unbarred", "attempts", "in_order"]


def attempts(
    plan: Plan,
    gate: Gate,
    budget: RetryBudget,
    *,
    now: float,
    deadline: float,
    turn: int = 0,
    in_flight: Mapping[str, int] = _NOTHING,
    repeatable: bool = True,
    order: Order | None = None,
) -> Generator[Attempt, Outcome, Stopped]:
    """Yields the attempts of one call, is sent how each ended, and returns why there are no more.

    `now` and `deadline` are monotonic seconds. `turn` grows from call to call and draws a deployment's endpoints in
    pairs, of which the one with fewer attempts `in_flight` (by its id) is asked, unless `order` knows better. A call
    that is not `repeatable` has side effects at the provider and is not sent again once it may have run there.
    `Outcome.now` is when the attempt ended; an attempt's `wait_s` counts from there.
    Raises AssertionError rather than yield an attempt outside of the plan's permitted set.
    """
    if now >= deadline:
        return Stopped.DEADLINE
    number, wait_s, course = 1, 0.0, None
    for deployment in plan.candidates:
        endpoints = order(deployment, now) if order is not None else None
        for endpoint in in_order(deployment.endpoints, turn, in_flight) if endpoints is None else endpoints:
            if gate.admits(endpoint, now):
                break
        else:
            continue
        budget.count(endpoint.server or endpoint.provider, now)
        break
    else:
        course = Course(plan, gate, budget, now, deadline, turn, in_flight, repeatable, order)
        step = course.onward(now)
        if isinstance(step, Stopped):
            return step
        deployment, endpoint, wait_s = step

    while True:
        if deployment.name not in plan.permitted or endpoint.deployment != deployment.name:
            raise AssertionError(f"{endpoint!r} of {deployment.name!r} is not permitted to this call")
        first_token_s = plan.on_failure.first_token_s
        if first_token_s is None:
            first_token_s = deployment.timeouts.first_token_s
        left_s = deadline - now - wait_s
        attempt = Attempt(number, deployment, endpoint, wait_s, first_token_s if first_token_s < left_s else left_s)
        outcome = yield attempt
        if outcome.reason is None:
            return _ANSWERED
        if course is None:
            course = Course(plan, gate, budget, now, deadline, turn, in_flight, repeatable, order)
        now = outcome.now
        step = course.after(attempt, outcome)
        if isinstance(step, Stopped):
            return step
        deployment, endpoint, wait_s = step
        number += 1
