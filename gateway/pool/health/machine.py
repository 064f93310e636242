"""What is known of one replica's health: fed with facts and the time, it answers with verdicts. No I/O, no clock.

    good ──no step while there is work, probes missed, /health 503, a canary that failed──▶ suspect   (no new calls)
    suspect ──a step, an answer, a canary that sang──▶ good
    suspect ──gone twice, or silent as long as it may stand still──▶ lost          (replaced; or barred, and tried)
    lost ──a canary that sang──▶ good

`/health` of vLLM is wrong both ways: a hung engine goes on saying 200, for it only reads a flag (vllm#39863, #36451),
and a busy one misses probes and is killed for it. What does not lie is the count of the engine's steps: where there
is work and no step is taken, nothing is being computed. So nobody is lost for a missed probe alone: the steps must
have stood still as long as they may, or the address be gone.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final, Literal

import msgspec

from gateway.core.errors import Reason
from gateway.pool.router.replicas import Gauges

FIRST_RETRY_S: Final = 5.0  # of canaries to a lost one; each further one waits twice as long
LONGEST_RETRY_S: Final = 30.0
_SOON_S: Final = 1.0  # between two canaries to one that is suspect, and between two that traffic asks for

# What of a call's end says that something may be the matter with its replica; the others speak of the call.
TELLING: Final = frozenset({Reason.CONNECT, Reason.TIMEOUT, Reason.STREAM_CUT, Reason.SERVER_ERROR, Reason.ABORTED})


class Settings(msgspec.Struct, frozen=True):
    """When a replica is doubted, and what follows. Times in seconds; `misses` are probes in a row.

    `progress_s` must be longer than the longest step, which is that of a full batch of prompts.
    """

    interval_s: float = 5.0
    timeout_s: float = 5.0
    misses: int = 3
    progress_s: float = 60.0
    canary_s: float = 30.0
    on_hang: Literal["replace", "bar", "flag"] = "replace"
    drift_factor: float = 1.5
    drift_samples: int = 60
    on_drift: Literal["flag", "drain"] = "flag"
    on_device_error: Literal["show", "drain"] = "show"


class Probe(StrEnum):
    """What became of a look at `/health`."""

    WELL = "well"
    MISSED = "missed"
    DEAD = "dead"  # 503: the engine has told its server that it is no more
    ABSENT = "absent"  # there is no such page: nothing is known


class Canary(StrEnum):
    """What became of a call for one token."""

    SANG = "sang"
    SILENT = "silent"  # no answer in time, or no room for it
    GONE = "gone"  # refused, reset, 5xx
    REFUSED = "refused"  # 4xx: its server answers, and the model cannot be tried this way


class Standing(StrEnum):
    """What a replica is taken for."""

    GOOD = "good"
    SUSPECT = "suspect"
    LOST = "lost"


class What(StrEnum):
    """What a verdict says."""

    SUSPECT = "suspect"
    CLEARED = "cleared"
    LOST = "lost"
    RESTARTED = "restarted"  # its cache is empty
    ASLEEP = "asleep"
    AWAKE = "awake"


class Verdict(msgspec.Struct, frozen=True):
    """One finding, and why."""

    what: What
    why: str


class Health:
    """One replica's. Times are monotonic seconds, passed in."""

    def __init__(self, settings: Settings, now: float) -> None:
        self.settings = settings
        self.renew(now)

    def renew(self, now: float) -> None:
        """Begins anew: another process stands there."""
        self.standing = Standing.GOOD
        self.asleep = False
        self._steps = -1
        self._born_at = 0.0
        self._worked_at = -math.inf  # a step was taken, or a call answered
        self._alive_at = now  # that, or there was nothing to do
        self._misses = 0
        self._missed_at = 0.0
        self._canary_at = math.inf  # when the next one is due
        self._sent_at = -math.inf
        self._canary_out = False
        self._failed = 0  # canaries in a row
        self._by_progress = False

    # -- facts -------------------------------------------------------------------------------------------------------

    def seen(self, gauges: Gauges, in_flight: int, now: float) -> list[Verdict]:
        """Takes what `/metrics` tells, beside our own calls in flight."""
        verdicts = self._lives(gauges, now)
        steps, before = gauges.steps, self._steps
        self._steps = steps
        if steps < 0 or gauges.asleep:  # it does not tell, or shall do nothing
            self._alive_at = now
        elif steps != before:
            if before >= 0:
                verdicts += self._works(now, "it takes steps")
            else:
                self._alive_at = max(self._alive_at, now)
        elif not (in_flight or gauges.running or gauges.waiting or self._canary_out):
            if self.standing is Standing.GOOD:  # else only work says that it works
                self._alive_at = now
        elif self.standing is Standing.GOOD and now - self._alive_at >= self.settings.progress_s:
            self._by_progress = True
            work = max(in_flight, gauges.running + gauges.waiting)
            verdicts.append(self._suspect(f"no step for {now - self._alive_at:.0f} s with {work} calls in flight", now))
        return verdicts

    def probed(self, probe: Probe, now: float) -> list[Verdict]:
        """Takes what became of a look at `/health`."""
        if probe in (Probe.WELL, Probe.ABSENT):
            self._misses = 0
            return []
        if not self._misses:
            self._missed_at = now
        self._misses += 1
        if self.standing is not Standing.GOOD:
            return []
        if probe is Probe.DEAD:
            return [self._suspect("/health says 503", now)]
        if self._misses < self.settings.misses:
            return []
        if self._worked_at >= self._missed_at:  # busy, and at work
            self._misses = 0
            return []
        return [self._suspect(f"/health missed {self._misses} times", now)]

    def heard(self, reason: Reason | None, now: float) -> list[Verdict]:
        """Takes how a call ended there: an answer shows that it works, some failures make a canary due at once."""
        if reason is None:
            return self._works(now, "it answers")
        if reason in TELLING and self.standing is Standing.GOOD and now - self._sent_at >= _SOON_S:
            self._canary_at = min(self._canary_at, now)
        return []

    def tried(self, canary: Canary, now: float) -> list[Verdict]:
        """Takes what became of the canary that was sent."""
        self._canary_out = False
        if canary is Canary.SANG or (canary is Canary.REFUSED and not self._by_progress):
            self._misses = self._failed = 0
            self._worked_at = self._alive_at = now
            return self._clear("a canary sang" if canary is Canary.SANG else "it answers, and cannot be tried")
        if self._worked_at > self._sent_at:
            return self._clear("it takes steps")  # busy: only the canary waits
        self._failed += 1
        if self.standing is Standing.GOOD:
            return [self._suspect(f"a canary failed: {canary.value}", now)]
        still_s = now - self._alive_at
        gone = canary is Canary.GONE and self._failed >= 2
        if self.standing is Standing.SUSPECT and (gone or still_s >= self.settings.progress_s):
            self.standing, self._failed = Standing.LOST, 0
            self._canary_at = now + FIRST_RETRY_S
            return [Verdict(What.LOST, f"{canary.value}: has not worked for {still_s:.0f} s")]
        retry_s = _SOON_S
        if self.standing is Standing.LOST:
            retry_s = min(FIRST_RETRY_S * 2.0 ** min(self._failed, 8), LONGEST_RETRY_S)
        self._canary_at = now + retry_s
        return []

    # -- what is wanted ----------------------------------------------------------------------------------------------

    def send(self, now: float) -> bool:
        """Says whether a canary is to be sent now, and takes it as sent."""
        if self._canary_out or now < self._canary_at:
            return False
        self._canary_at = math.inf
        self._canary_out = True
        self._sent_at = now
        return True

    # ----------------------------------------------------------------------------------------------------------------

    def _lives(self, gauges: Gauges, now: float) -> list[Verdict]:
        """Notices another process at the address, and one that sleeps."""
        verdicts: list[Verdict] = []
        born_at, before = gauges.born_at, self._born_at
        self._born_at = born_at
        # Where vLLM does not tell of its start (several API processes share a page), its counts begin anew.
        if (born_at and before and born_at != before) or 0 <= gauges.steps < self._steps:
            self._alive_at = now
            self._steps = -1
            if self.standing is Standing.LOST:
                self._canary_at = now
            verdicts.append(Verdict(What.RESTARTED, "another process answers"))
        if gauges.asleep != self.asleep:
            self.asleep = gauges.asleep
            verdicts.append(Verdict(What.ASLEEP, "asleep") if self.asleep else Verdict(What.AWAKE, "awake"))
        return verdicts

    def _works(self, now: float, why: str) -> list[Verdict]:
        self._worked_at = self._alive_at = now
        if self.standing is Standing.LOST:  # it takes more than a sign of life to be trusted again
            self._canary_at = min(self._canary_at, now)
            return []
        return self._clear(why)

    def _suspect(self, why: str, now: float) -> Verdict:
        self.standing = Standing.SUSPECT
        self._canary_at = now
        return Verdict(What.SUSPECT, why)

    def _clear(self, why: str) -> list[Verdict]:
        was, self.standing = self.standing, Standing.GOOD
        self._by_progress = False
        if was is Standing.GOOD:
            return []
        self._misses = self._failed = 0
        self._canary_at = math.inf
        return [Verdict(What.CLEARED, why)]
