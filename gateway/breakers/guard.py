"""What is known of one endpoint: pybreaker's state, the window that moves it, rests, and the way back.

    closed ──too many failures or slow calls, or one that is certain──▶ open
    open ──the rest is over, and a live call begins──▶ half-open        (one call at a time)
    half-open ──enough answers──▶ closed, at a tenth, then a third, then all of its share
    half-open ──a failure──▶ open, for twice as long

pybreaker is told what to do and never asked to time or wrap anything: its own clock is not read, its `call` and
`calling` are not used, since they miss a coroutine's failure and take a cancelled caller for one.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import msgspec
import pybreaker

from gateway.breakers.window import Window
from gateway.core.types import Endpoint

CALLS, FAILURES, SLOW = range(3)

FORCED: Final = "forced"
OUT_OF_CREDIT_S: Final = 600.0  # where the provider names no time at which the account works again


class Settings(msgspec.Struct, frozen=True):
    """When a breaker opens and how it returns; seconds, and shares between 0 and 1.

    `probes` are the answers that close a half-open breaker; `ramp` the shares it returns at, each until
    `ramp_answers` answers have come.
    """

    window_s: float = 30.0
    minimum_calls: int = 5
    failure_rate: float = 0.5
    slow_rate: float = 0.5
    rest_s: float = 5.0
    longest_rest_s: float = 20.0
    probes: int = 2
    ramp: tuple[float, ...] = (0.1, 0.3)
    ramp_answers: int = 5


DEFAULTS: Final = Settings()


class Change(msgspec.Struct, frozen=True):
    """One change of an endpoint's state: when (monotonic seconds), to what, and why."""

    at: float
    state: str  # closed | open | half-open | resting | dead
    why: str
    until: float | None = None


class Condition(msgspec.Struct, frozen=True):
    """An endpoint as an operator sees it; `why` is None while it takes calls, `share` is below 1 while it returns."""

    endpoint: str
    state: str
    why: str | None
    until: float | None
    share: float
    calls: int
    failures: int
    slow: int
    history: tuple[Change, ...]


class Guard:
    """One endpoint's breaker. Times are monotonic seconds, passed in."""

    __slots__ = (
        "_answers",
        "_asked",
        "_breaker",
        "_in_a_row",
        "_opens",
        "_settings",
        "_stage",
        "_window",
        "dead",
        "endpoint",
        "forced",
        "history",
        "open_until",
        "opened_at",
        "probing",
        "rests_until",
        "why",
    )

    HISTORY = 50

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self.endpoint = endpoint
        self.history: deque[Change] = deque(maxlen=self.HISTORY)
        self.dead = False
        self.forced = False
        self.probing = False
        self.rests_until = -math.inf
        self.opened_at = -math.inf
        self.open_until = -math.inf
        self._settings = settings
        self._breaker = pybreaker.CircuitBreaker(name=endpoint.id, success_threshold=settings.probes)
        self._window = Window(settings.window_s, 3)
        self._opens = 0
        self._in_a_row = 0  # failures since the last answer
        self._stage = len(settings.ramp)
        self._answers = 0
        self._asked = 0
        self.why = ""

    def apply(self, settings: Settings) -> None:
        """Goes on by new settings; what was counted over a window of another length is forgotten."""
        if settings.window_s != self._settings.window_s:
            self._window = Window(settings.window_s, 3)
        self._breaker.success_threshold = settings.probes
        self._settings = settings

    # -- questions, which change nothing -------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """Returns pybreaker's word: closed, open or half-open."""
        return self._breaker.current_state

    @property
    def closed(self) -> bool:
        """Says whether the breaker is closed; it may still rest, or return step by step."""
        return self._breaker.current_state == pybreaker.STATE_CLOSED

    @property
    def share(self) -> float:
        """Returns the share of its calls that the endpoint is given: below 1 while it returns from an outage."""
        ramp = self._settings.ramp
        return ramp[self._stage] if self._stage < len(ramp) else 1.0

    def calm(self, now: float) -> bool:
        """Says whether nothing at all is the matter, so that the endpoint needs no looking after."""
        return (
            not self.dead
            and now >= self.rests_until
            and self._stage == len(self._settings.ramp)
            and self._breaker.current_state == pybreaker.STATE_CLOSED
        )

    def refusal(self, now: float) -> str | None:
        """Returns why the endpoint takes no call now, or None."""
        if self.dead:
            return "credential refused by the provider"
        if self.forced:
            return "breaker forced open"
        if now < self.rests_until:
            return f"rests for {self.rests_until - now:.1f} s: rate_limited"
        if self.closed:
            return None
        if self.probing:
            return "breaker half-open: one call is trying it"
        if now < self.open_until:
            return f"breaker open for {self.open_until - now:.1f} s: {self.why}"
        return None

    def condition(self, now: float) -> Condition:
        """Returns a picture for people and metrics."""
        calls, failures, slow = self._window.totals(now)
        until = max(self.rests_until, -math.inf if self.closed else self.open_until)
        return Condition(
            endpoint=self.endpoint.id,
            state=self.state,
            why=self.refusal(now),
            until=until if until > now and not self.forced else None,
            share=self.share,
            calls=calls,
            failures=failures,
            slow=slow,
            history=tuple(self.history),
        )

    # -- a call begins -------------------------------------------------------------------------------------------

    def takes_its_turn(self) -> bool:
        """Counts one question while the endpoint returns, and says yes to its share of them, evenly spread."""
        share = self.share
        self._asked += 1
        return int(self._asked * share) > int((self._asked - 1) * share)

    def begin(self, now: float) -> bool:
        """Marks the start of a call; returns whether it is the one that tries a half-open breaker."""
        if self.closed or self.forced:
            return False
        if self.state == pybreaker.STATE_OPEN:
            self._breaker.half_open()
            self._note(Change(now, self.state, self.why))
        elif self.probing:
            return False
        self.probing = True
        return True

    # -- a call ended --------------------------------------------------------------------------------------------

    def answered(self, now: float, slow: bool, probe: bool) -> Change | None:
        """Learns from an answer; a straggler that began before the breaker opened teaches nothing."""
        if self.closed:
            self._in_a_row = 0
            self._window.add(CALLS, now)
            if slow:
                self._window.add(SLOW, now)
                return self._judge(now, "slow")
            if self._stage < len(self._settings.ramp):
                self._climb(now)
            return None
        if not probe:
            return None
        if slow:
            return self.open(now, "slow")
        self._breaker.state.on_success()
        if self.state != pybreaker.STATE_CLOSED:
            return None
        self._window.clear()
        self._stage = self._answers = self._asked = 0
        return self._note(Change(now, self.state, "answers again"))

    def failed(self, now: float, why: str, slow: bool, probe: bool) -> Change | None:
        """Learns from a failure that counts (`slow`: as a slow call)."""
        if self.closed:
            self._in_a_row += 1
            self._window.add(CALLS, now)
            self._window.add(SLOW if slow else FAILURES, now)
            return self._judge(now, why)
        return self.open(now, why) if probe else None

    def open(self, now: float, why: str, rest_s: float | None = None) -> Change:
        """Opens: for `rest_s` where that is known, else for a rest that doubles each time it was in vain."""
        settings = self._settings
        if rest_s is None:
            rest_s = min(settings.rest_s * 2**self._opens, settings.longest_rest_s)
            self._opens += 1
        self._breaker.open()
        self.why = why
        self._in_a_row = 0
        self._stage = len(settings.ramp)
        self.probing = False
        self.opened_at = now
        self.open_until = now + rest_s
        return self._note(Change(now, self.state, why, self.open_until))

    def rest(self, now: float, until: float) -> Change | None:
        """Leaves the endpoint alone until then, as its provider asked; a shorter rest does not end a longer one."""
        if until <= self.rests_until:
            return None
        self.rests_until = until
        return self._note(Change(now, "resting", "rate_limited", until))

    def bury(self, now: float) -> Change:
        """Takes the endpoint's credential for dead."""
        self.dead = True
        return self._note(Change(now, "dead", "unauthenticated"))

    def revive(self) -> None:
        """Gives the endpoint's credential another chance."""
        self.dead = False

    # -- a person decides ----------------------------------------------------------------------------------------

    def force_open(self, now: float) -> Change:
        """Keeps every call away until it is forced closed."""
        self.forced = True
        return self.open(now, FORCED, math.inf)

    def force_close(self, now: float) -> Change:
        """Lets every call through at once, whatever was learned; it goes on learning."""
        self.forced = self.dead = self.probing = False
        self.rests_until = self.open_until = -math.inf
        self._opens = self._in_a_row = 0
        self._stage = len(self._settings.ramp)
        self._window.clear()
        self._breaker.close()
        return self._note(Change(now, self.state, FORCED))

    # ------------------------------------------------------------------------------------------------------------

    def _judge(self, now: float, why: str) -> Change | None:
        settings = self._settings
        calls, failures, slow = self._window.totals(now)
        if calls >= settings.minimum_calls and (
            self._in_a_row >= settings.minimum_calls
            or failures >= calls * settings.failure_rate
            or slow >= calls * settings.slow_rate
        ):
            return self.open(now, why)
        return None

    def _climb(self, now: float) -> None:
        self._answers += 1
        if self._answers >= self._settings.ramp_answers:
            self._answers = self._asked = 0
            self._stage += 1
            if self._stage == len(self._settings.ramp):
                self._opens = 0

    def _note(self, change: Change) -> Change:
        self.history.append(change)
        return change
