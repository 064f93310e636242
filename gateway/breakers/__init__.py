"""Which endpoints take calls now. Told how attempts ended; wraps no I/O, reads no clock, rolls no dice.

Only endpoints with which something is the matter are looked at: while all are well, every question is one look
into an empty dict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from gateway.breakers.guard import DEFAULTS, OUT_OF_CREDIT_S, Change, Condition, Guard, Settings
from gateway.core.errors import Reason
from gateway.core.types import Deployment, Endpoint, Outcome

__all__ = ["Breakers", "Change", "Condition", "Lesson", "Settings"]


class Lesson(Enum):
    """What a failure teaches about the endpoint that it came from."""

    NOTHING = "no"
    COUNTS = "counts"
    COUNTS_AS_SLOW = "counts as slow"
    OPENS = "opens until the reset time if that is known, else for 10 minutes"
    RESTS = "no; the endpoint rests until the wait is over"
    KILLS_CREDENTIAL = "that credential is dead until the config changes"


_NOBODY: Final[Mapping[str, str]] = MappingProxyType({})


def _unheard(endpoint: Endpoint, change: Change) -> None:
    """Hears of a change and does nothing."""


class Breakers:
    """The breakers of all endpoints of the serving config.

    `lessons` says what each reason teaches; `on_change` hears of every change, for the log and the metrics.
    """

    __slots__ = ("_guards", "_lessons", "_on_change", "_settings", "_troubled")

    def __init__(
        self,
        lessons: Mapping[Reason, Lesson],
        settings: Settings = DEFAULTS,
        on_change: Callable[[Endpoint, Change], None] = _unheard,
    ) -> None:
        self._lessons = lessons
        self._settings = settings
        self._on_change = on_change
        self._guards: dict[str, Guard] = {}
        self._troubled: dict[str, Guard] = {}

    def watch(self, endpoints: Iterable[Endpoint]) -> None:
        """Follows a new config: endpoints that stayed keep what was learned, changed and removed ones are forgotten.

        Every dead credential gets another chance.
        """
        guards: dict[str, Guard] = {}
        for endpoint in endpoints:
            guard = self._guards.get(endpoint.id)
            if guard is None or guard.endpoint != endpoint:
                guard = Guard(endpoint, self._settings)
            guard.endpoint = endpoint
            guard.revive()
            guards[endpoint.id] = guard
        self._guards = guards
        self._troubled = {id: guard for id, guard in self._troubled.items() if guards.get(id) is guard}

    def apply(self, settings: Settings) -> None:
        """Takes over new settings; every endpoint keeps its state."""
        if settings != self._settings:
            self._settings = settings
            for guard in self._guards.values():
                guard.apply(settings)

    # -- questions -----------------------------------------------------------------------------------------------

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        """Says whether a call may begin there at `now`; while an endpoint returns, only its share is told yes."""
        guard = self._troubled.get(endpoint.id)
        if guard is None:
            return True
        if guard.calm(now):
            del self._troubled[endpoint.id]
            return True
        return guard.refusal(now) is None and (guard.share == 1.0 or guard.takes_its_turn())

    def unavailable(self, deployments: Iterable[Deployment], now: float) -> Mapping[str, str]:
        """Returns the deployments of which no endpoint takes a call now, each with why."""
        if not self._troubled:
            return _NOBODY
        away: dict[str, str] = {}
        for deployment in deployments:
            why = None
            for endpoint in deployment.endpoints:
                guard = self._troubled.get(endpoint.id)
                refusal = None if guard is None else guard.refusal(now)
                if refusal is None:
                    break
                why = why or refusal
            else:
                if why is not None:
                    away[deployment.name] = why
        return away

    def least_bad(self, endpoints: Iterable[Endpoint], now: float) -> Endpoint | None:
        """Returns whom to try where nobody admits a call: one that is returning, else the one that rested longest.

        Never one whose credential is dead, that is forced open, rests by its provider's word, or is being tried.
        An account out of credit is the last resort.
        """
        best, best_rank = None, (2, math.inf)
        for endpoint in endpoints:
            guard = self._troubled.get(endpoint.id)
            if guard is None or guard.dead or guard.forced or guard.probing or now < guard.rests_until:
                continue
            closed = guard.closed
            in_vain = not closed and guard.why == Reason.OUT_OF_CREDIT
            rank = (int(in_vain), -math.inf if closed else guard.opened_at)
            if rank < best_rank:
                best, best_rank = endpoint, rank
        return best

    def ready_at(self, endpoint: Endpoint, now: float) -> float:
        """Returns when an endpoint that rests by its provider's word takes calls again; else infinity."""
        guard = self._troubled.get(endpoint.id)
        if guard is None:
            return now
        if guard.dead or guard.forced or guard.probing or not guard.closed:
            return math.inf
        return max(now, guard.rests_until)

    def retry_after_s(self, deployments: Iterable[Deployment], now: float) -> float:
        """Returns the shortest wait after which one of these may take a call again; a second where none is known."""
        waits = [
            max(guard.rests_until, guard.open_until) - now
            for deployment in deployments
            for endpoint in deployment.endpoints
            if (guard := self._troubled.get(endpoint.id)) is not None and not guard.dead and not guard.forced
        ]
        return max(1.0, min(waits, default=1.0))

    def condition(self, endpoint_id: str, now: float) -> Condition:
        """Returns what is known of an endpoint; raises KeyError for one that the config does not have."""
        return self._guards[endpoint_id].condition(now)

    def conditions(self, now: float) -> list[Condition]:
        """Returns what is known of every endpoint."""
        return [guard.condition(now) for guard in self._guards.values()]

    # -- what happens --------------------------------------------------------------------------------------------

    def begin(self, endpoint: Endpoint, now: float) -> bool:
        """Marks the start of an attempt; returns whether it is a probe, which `record` must be told."""
        guard = self._troubled.get(endpoint.id)
        if guard is None:
            return False
        before = guard.state
        probe = guard.begin(now)
        if probe and guard.state != before:
            self._on_change(endpoint, guard.history[-1])
        return probe

    def record(self, endpoint: Endpoint, outcome: Outcome, probe: bool = False) -> None:
        """Learns how an attempt ended; an endpoint that a reload has removed or changed teaches nothing."""
        guard = self._guards.get(endpoint.id)
        if guard is None or (guard.endpoint is not endpoint and guard.endpoint != endpoint):
            return
        now, reason = outcome.now, outcome.reason
        if probe:
            guard.probing = False
        if reason is None:
            change = guard.answered(now, outcome.slow, probe)
        else:
            change = self._learn(guard, outcome, reason, probe)
        if change is not None:
            self._changed(guard, change)

    def force_open(self, endpoint_id: str, now: float) -> None:
        """Keeps calls away from an endpoint until it is forced closed; raises KeyError for an unknown one."""
        guard = self._guards[endpoint_id]
        self._changed(guard, guard.force_open(now))

    def force_close(self, endpoint_id: str, now: float) -> None:
        """Lets calls through again, whatever was learned; raises KeyError for an unknown one."""
        guard = self._guards[endpoint_id]
        self._changed(guard, guard.force_close(now))

    # ------------------------------------------------------------------------------------------------------------

    def _learn(self, guard: Guard, outcome: Outcome, reason: Reason, probe: bool) -> Change | None:
        now = outcome.now
        match self._lessons[reason]:
            case Lesson.COUNTS:
                return guard.failed(now, reason.value, False, probe)
            case Lesson.COUNTS_AS_SLOW:
                return guard.failed(now, reason.value, True, probe)
            case Lesson.OPENS:
                if not guard.forced:
                    wait = OUT_OF_CREDIT_S if outcome.retry_after_s is None else outcome.retry_after_s
                    return guard.open(now, reason.value, wait)
            case Lesson.RESTS:
                if outcome.retry_after_s is not None:
                    return guard.rest(now, now + outcome.retry_after_s)
            case Lesson.KILLS_CREDENTIAL:
                self._bury(guard, now)
            case Lesson.NOTHING:
                pass
        return None

    def _bury(self, guard: Guard, now: float) -> None:
        """Buries every endpoint that shares the credential; one without a name is an endpoint's own."""
        provider, credential = guard.endpoint.provider, guard.endpoint.credential
        for other in self._guards.values():
            shares = credential and other.endpoint.credential == credential and other.endpoint.provider == provider
            if (other is guard or shares) and not other.dead:
                self._changed(other, other.bury(now))

    def _changed(self, guard: Guard, change: Change) -> None:
        self._troubled[guard.endpoint.id] = guard
        self._on_change(guard.endpoint, change)
