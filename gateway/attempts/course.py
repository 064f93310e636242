"""The course of a call that met a failure: what it has tried, what it may still try, and when it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final, Protocol

import tenacity

from gateway.attempts.budget import RetryBudget
from gateway.attempts.table import TABLE, Again, Differs, Follows, Row
from gateway.core.errors import Reason
from gateway.core.types import Attempt, Deployment, Endpoint, Outcome, Plan

POOL_TRIES: Final = 2  # of a pool's replicas, before the next deployment has its turn

# Full jitter: uniform between nothing and a window that doubles. tenacity gives the window, the outcome the dice.
_WINDOW: Final = tenacity.wait_exponential(multiplier=0.25, max=2.0)
_RETRYING: Final = tenacity.Retrying()


class Stopped(StrEnum):
    """Why there is no further attempt."""

    ANSWERED = "answered"
    CALLERS_FAULT = "the caller's fault"
    CONTENT_LEFT = "content had left"
    CANCELLED = "the caller left"
    NOT_REPEATABLE = "the call has side effects and may have run"
    ROUTE = "the route retries no such error"
    ATTEMPTS = "attempts used up"
    DEADLINE = "deadline reached"
    BUDGET = "retry budget spent"
    NOBODY = "nobody else may be asked"


class Gate(Protocol):
    """What the attempt loop asks of the breakers."""

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        """Says whether an attempt may begin there at `now`."""
        ...

    def least_bad(self, endpoints: Iterable[Endpoint], now: float) -> Endpoint | None:
        """Returns whom to ask although it is not admitted, or None."""
        ...

    def ready_at(self, endpoint: Endpoint, now: float) -> float:
        """Returns when an endpoint that rests by its provider's word takes calls again; infinity if unknown."""
        ...


# Returns those of a deployment's endpoints that may be asked, best first, or None where it has no say; asked anew after
# each failure.
Order = Callable[[Deployment, float], "tuple[Endpoint, ...] | None"]
Step = tuple[Deployment, Endpoint, float]  # whom to ask, after how many seconds


def in_order(endpoints: tuple[Endpoint, ...], turn: int, in_flight: Mapping[str, int]) -> tuple[Endpoint, ...]:
    """Returns a deployment's endpoints as a call asks them: of two that are drawn the less busy, then the others.

    All pairs have their turn. Two choices spread the work nearly as evenly as looking at all, and one that is idle
    because it fails at once, or has just come back, draws no more than the calls of its pairs.
    """
    count = len(endpoints)
    if count == 1:
        return endpoints
    start = turn % count
    endpoints = endpoints[start:] + endpoints[:start]
    other = turn // count % (count - 1) + 1
    if in_flight.get(endpoints[other].id, 0) < in_flight.get(endpoints[0].id, 0):
        return (endpoints[other], *endpoints[:other], *endpoints[other + 1 :])
    return endpoints


class Course:
    """One call's way through failures; `after` is told each of them."""

    __slots__ = (
        "_again",
        "_asked",
        "_budget",
        "_closed",
        "_gate",
        "_in_flight",
        "_order",
        "_patience_s",
        "_plan",
        "_repeatable",
        "_resting",
        "_state",
        "_stop",
        "_tries",
        "_turn",
        "_window",
    )

    def __init__(
        self,
        plan: Plan,
        gate: Gate,
        budget: RetryBudget,
        now: float,
        deadline: float,
        turn: int,
        in_flight: Mapping[str, int],
        repeatable: bool,
        order: Order | None = None,
    ) -> None:
        self._plan = plan
        self._gate = gate
        self._budget = budget
        self._turn = turn
        self._in_flight = in_flight
        self._repeatable = repeatable
        self._order = order
        self._patience_s = plan.on_failure.patience_s
        self._stop = tenacity.stop_before_delay(deadline - now)
        self._state = tenacity.RetryCallState(_RETRYING, None, (), {})
        self._state.start_time = now
        self._state.attempt_number = 0
        self._again: set[str] = set()  # endpoints asked a second time
        self._asked: set[str] = set()  # providers, or servers of a pool
        self._closed: set[str] = set()  # endpoints not worth asking any more
        self._resting: dict[str, tuple[float, Deployment, Endpoint]] = {}
        self._tries: dict[str, int] = {}  # of pools, by deployment
        self._window: float = -1  # tokens; what a candidate's context window must pass

    def after(self, attempt: Attempt, outcome: Outcome) -> Step | Stopped:
        """Returns the step that follows a failed attempt, or why none does."""
        reason = outcome.reason
        assert reason is not None
        row = TABLE[reason]
        self._asked.add(_counted(attempt.endpoint))
        if attempt.deployment.pooled is not None:
            self._tries[attempt.deployment.name] = self._tries.get(attempt.deployment.name, 0) + 1
        if reason is Reason.CANCELLED:
            return Stopped.CANCELLED
        if outcome.content_left:
            return Stopped.CONTENT_LEFT
        if row.follows is Follows.STOP or (reason is Reason.NOT_FOUND and outcome.named_by_caller):
            return Stopped.CALLERS_FAULT
        errors = self._plan.on_failure.errors
        if errors is not None and reason not in errors:
            return Stopped.ROUTE
        if outcome.spent or (not self._repeatable and outcome.sent and row.may_have_run):
            return Stopped.NOT_REPEATABLE
        self._state.attempt_number = attempt.number
        if attempt.number >= self._plan.on_failure.attempts:
            return Stopped.ATTEMPTS
        wait_s = self._wait(row, attempt, outcome)
        self._close(row, attempt, outcome)
        endpoint = attempt.endpoint
        unpaid = False
        if wait_s is not None and self._has_other(attempt, outcome.now):
            self._resting[endpoint.id] = (outcome.now + wait_s, attempt.deployment, endpoint)
        elif wait_s is not None and self._takes(endpoint, outcome.now, wait_s):
            if self._pays(endpoint, outcome.now):
                self._again.add(endpoint.id)
                if self._resting.pop(endpoint.id, None) is not None:
                    self._patience_s -= wait_s
                return attempt.deployment, endpoint, wait_s
            unpaid = True
        return self.onward(outcome.now, unpaid)

    def onward(self, now: float, unpaid: bool = False) -> Step | Stopped:
        """Returns the next step to somebody who is not closed to this call, or why there is none.

        `unpaid`: the retry budget has already refused one.
        """
        if not self._fits(now, 0.0):
            return Stopped.DEADLINE
        left: list[tuple[Deployment, Endpoint]] = []
        for deployment, endpoint in self._fresh(now):
            if not self._gate.admits(endpoint, now):
                left.append((deployment, endpoint))
            elif self._pays(endpoint, now):
                return deployment, endpoint, 0.0
            else:
                unpaid = True
        least = self._gate.least_bad([endpoint for _, endpoint in left], now)
        if least is not None:
            if self._pays(least, now):
                return next((deployment, endpoint, 0.0) for deployment, endpoint in left if endpoint is least)
            unpaid = True
        resting = [(self._gate.ready_at(endpoint, now), deployment, endpoint) for deployment, endpoint in left]
        resting += [rest for rest in self._resting.values() if self._suits(rest[1])]
        late = False
        for ready_at, deployment, endpoint in sorted(resting, key=_by_readiness):
            wait_s = max(0.0, ready_at - now)
            if not self._fits(now, wait_s):
                late = late or wait_s < math.inf
            elif self._gate.admits(endpoint, now + wait_s):
                if self._pays(endpoint, now):
                    self._again.add(endpoint.id)
                    self._resting.pop(endpoint.id, None)
                    return deployment, endpoint, wait_s
                unpaid = True
        return Stopped.BUDGET if unpaid else Stopped.DEADLINE if late else Stopped.NOBODY

    # ------------------------------------------------------------------------------------------------------------

    def _fresh(self, now: float) -> Iterator[tuple[Deployment, Endpoint]]:
        tries = self._tries
        for deployment in sorted(self._plan.candidates, key=lambda each: tries.get(each.name, 0) >= POOL_TRIES):
            if not self._suits(deployment):
                continue
            endpoints = self._order(deployment, now) if self._order is not None else None
            if endpoints is None:
                endpoints = in_order(deployment.endpoints, self._turn, self._in_flight)
            for endpoint in endpoints:
                if endpoint.id not in self._closed:
                    yield deployment, endpoint

    def _suits(self, deployment: Deployment) -> bool:
        return self._window < 0 or (deployment.context_window or 0) > self._window

    def _has_other(self, attempt: Attempt, now: float) -> bool:
        """Says whether another replica of the pool is left: the same is not asked twice while there is."""
        return attempt.deployment.pooled is not None and any(
            deployment is attempt.deployment and self._gate.admits(endpoint, now)
            for deployment, endpoint in self._fresh(now)
        )

    def _wait(self, row: Row, attempt: Attempt, outcome: Outcome) -> float | None:
        """Returns after how many seconds the same endpoint may be asked again now, or None."""
        if outcome.should_retry is False:
            return None
        endpoint = attempt.endpoint
        named_s = outcome.retry_after_s
        match row.again:
            case Again.IF_STALE if outcome.stale_connection and endpoint.id not in self._again:
                return 0.0
            case Again.AFTER_BACK_OFF if endpoint.id not in self._again:
                wait_s = self._jittered(outcome.draw) if named_s is None else max(0.0, named_s)
                if named_s is None:
                    return wait_s
            case Again.LAST if endpoint.id not in self._again:
                wait_s = self._jittered(outcome.draw) if named_s is None else max(0.0, named_s)
                self._resting[endpoint.id] = (outcome.now + wait_s, attempt.deployment, endpoint)
                return None
            case Again.AFTER_WAIT:
                wait_s = self._jittered(outcome.draw) if named_s is None else max(0.0, named_s)
            case _:
                return None
        self._resting[endpoint.id] = (outcome.now + wait_s, attempt.deployment, endpoint)
        return wait_s if wait_s <= self._patience_s else None

    def _jittered(self, draw: float) -> float:
        return draw * _WINDOW(self._state)

    def _close(self, row: Row, attempt: Attempt, outcome: Outcome) -> None:
        """Closes what a failure has shown to be not worth asking: the endpoint, and those that share its trouble."""
        endpoint = attempt.endpoint
        differs = Differs.NONE if outcome.should_retry is False else row.siblings
        closed = {
            sibling.id
            for sibling in attempt.deployment.endpoints
            if differs is Differs.NONE
            or (differs is Differs.ORIGIN and sibling.origin == endpoint.origin)
            or (differs is Differs.CREDENTIAL and sibling.credential == endpoint.credential)
        }
        if outcome.reason is Reason.UNAUTHENTICATED and endpoint.credential:
            closed.update(
                other.id
                for deployment in self._plan.candidates
                for other in deployment.endpoints
                if other.provider == endpoint.provider and other.credential == endpoint.credential
            )
        for other in closed - {endpoint.id}:
            self._resting.pop(other, None)
        self._closed |= closed
        self._closed.add(endpoint.id)
        if row.follows is Follows.LARGER_WINDOW:
            self._window = max(self._window, attempt.deployment.context_window or math.inf)

    def _fits(self, now: float, wait_s: float) -> bool:
        self._state.outcome_timestamp = now
        self._state.upcoming_sleep = wait_s
        return not self._stop(self._state)

    def _takes(self, endpoint: Endpoint, now: float, wait_s: float) -> bool:
        return self._fits(now, wait_s) and self._gate.admits(endpoint, now + wait_s)

    def _pays(self, endpoint: Endpoint, now: float) -> bool:
        """Counts the first time that this call asks a server, and takes any further time out of its budget."""
        server = _counted(endpoint)
        if server in self._asked:
            return self._budget.spend(server, now)
        self._budget.count(server, now)
        return True


def _counted(endpoint: Endpoint) -> str:
    return endpoint.server or endpoint.provider


def _by_readiness(resting: tuple[float, Deployment, Endpoint]) -> float:
    return resting[0]
