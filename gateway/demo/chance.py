"""What a call uses, how long it takes and what goes wrong: drawn, each from what is plausible of its place."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from math import exp
from typing import Final

import msgspec

from gateway.core.errors import Reason
from gateway.core.money import Usage
from gateway.core.policy import Measured, View
from gateway.core.types import Deployment
from gateway.demo.rhythm import DAY_S, HOUR_S
from gateway.demo.world import Workload

OUTAGE_DAYS: Final = 9  # before the end: Anthropic is away for an afternoon
_OUTAGE_HOURS: Final = (13.2, 15.7)  # UTC
_DOWN: Final = "anthropic"
_BUCKETS: Final = 7

# Time to first token and per token after it, in seconds, at rest; a place that is not here is as `_USUAL`.
_PACE: Final = {
    "qwen": (0.24, 0.011),
    "gpt-mini": (0.46, 0.009),
    "gpt": (1.1, 0.016),
    "haiku": (0.5, 0.008),
    "sonnet": (0.9, 0.015),
    "mistral-small": (0.34, 0.009),
    "mistral-medium": (0.55, 0.014),
    "embed": (0.08, 0.0),
    "ear": (0.6, 0.004),
}
_USUAL: Final = (0.5, 0.012)
_POOL: Final = "self_hosted"
# How busy one's own GPUs are, by the hour (UTC) of a working day.
_BUSY: Final = (
    0.25, 0.30, 0.30, 0.28, 0.20, 0.15, 0.20, 0.45, 0.80, 0.97, 0.93, 0.70,
    0.72, 0.95, 0.90, 0.60, 0.40, 0.30, 0.25, 0.20, 0.20, 0.20, 0.20, 0.22,
)  # fmt: skip


class Failure(msgspec.Struct, frozen=True):
    """How an attempt fails: why, with which status, after how many seconds."""

    reason: Reason
    status: int | None
    after_s: float
    retry_after_s: float | None = None


class Chance:
    """Draws, from one source of randomness."""

    def __init__(self, source: random.Random, until: float) -> None:
        self._source = source
        self._until = until
        self.share = source.random

    def usage(self, workload: Workload) -> Usage:
        """Draws what an answer uses; of the tokens of a prompt a part is cached, of an answer's a part reasoning."""
        whole = max(8, round(workload.input * exp(self._source.gauss(0.0, workload.spread))))
        cached = round(whole * workload.cached * self.share()) // 128 * 128
        written = round((whole - cached) * 0.3 * self.share()) if workload.dialect == "messages" else 0
        answer = round(workload.output * exp(self._source.gauss(0.0, 0.7))) if workload.output else 0
        reasoning = round(answer * workload.reasoning * self.share())
        if workload.endpoint == "transcriptions":
            if self.share() < 0.25:  # some servers count seconds, not tokens
                return Usage(uncounted=True, raw=b'{"seconds":%d}' % (whole // 25))
            return Usage(audio_input=whole, output_text=answer, raw=_raw(whole, answer))
        return Usage(
            fresh_input=whole - cached - written,
            cached_input=cached,
            cache_write_5m=written,
            output_text=answer - reasoning,
            reasoning=reasoning,
            raw=_raw(whole, answer),
            suspect=self.share() < 0.0004,
        )

    def cut_short(self, usage: Usage) -> Usage:
        """Draws what had been used when an answer broke off: nobody told, it is estimated."""
        told = round((usage.output_text + usage.reasoning) * self.share() * 0.8)
        return Usage(fresh_input=usage.input_tokens, output_text=told, estimated=True)

    def pace(self, deployment: Deployment, tokens: int, at: float) -> tuple[float, float]:
        """Draws the time to first token and per token, in seconds."""
        first, each = _PACE.get(deployment.name, _USUAL)
        slower = _strain(deployment, at)
        first *= exp(self._source.gauss(0.0, 0.3)) * (1 + tokens / 12_000) * slower
        return first, each * exp(self._source.gauss(0.0, 0.15)) * (1 + (slower - 1) / 4)

    def queued_s(self, deployment: Deployment, at: float) -> float:
        """Draws how long a call waits for its turn."""
        busy = busy_at(at) if deployment.location == _POOL else 0.0
        return self._source.expovariate(4.0) if self.share() < (busy - 0.85) * 2 else 0.0

    def failure(self, deployment: Deployment, at: float) -> Failure | None:
        """Draws whether an attempt fails, and how."""
        if deployment.provider == _DOWN and is_outage(at, self._until):
            if self.share() < 0.8:
                return Failure(Reason.OVERLOADED, 529, 0.3 + self.share())
            return Failure(Reason.TIMEOUT, None, 60.0)
        luck = self.share()
        if luck < 0.0012:
            return Failure(Reason.SERVER_ERROR, 500, 0.2 + self.share())
        if luck < 0.004 and deployment.location != _POOL and busy_at(at) > 0.6:
            return Failure(Reason.RATE_LIMITED, 429, 0.1, float(1 + round(self.share() * 5)))
        if luck > 0.9996:
            return Failure(Reason.CONNECT, None, 2.0)
        return None

    def finish(self, workload: Workload) -> str:
        """Draws the word that an answer ends with."""
        luck = self.share()
        if workload.model == "code" and luck < 0.45:
            return "tool_calls"
        return "length" if luck > 0.97 else "stop"


def view_at(at: float, deployments: tuple[Deployment, ...], draw: float = 0.5) -> View:
    """Returns what would have been measured in the minutes before: the hour's usual times, and loads."""
    measured = {}
    for deployment in deployments:
        first, each = _PACE.get(deployment.name, _USUAL)
        slower = _strain(deployment, at)
        for bucket in range(_BUCKETS):
            longer = slower * (1 + 4.0**bucket / 24)
            measured[deployment.name, bucket] = Measured(200, first * longer, first * longer * 1.7, each, each * 1.4)
    load = {each.name: busy_at(at) for each in deployments if each.location == _POOL}
    return View(at, draw, measured, load=load)


def busy_at(at: float) -> float:
    """Returns how busy one's own GPUs are, from 0 to 1."""
    moment = datetime.fromtimestamp(at, UTC)
    return _BUSY[moment.hour] * (0.35 if moment.weekday() >= 5 else 1.0)


def is_outage(at: float, until: float) -> bool:
    """Says whether Anthropic is away: an afternoon of the last working day that is nine days back or more."""
    day = until // DAY_S * DAY_S - OUTAGE_DAYS * DAY_S
    while datetime.fromtimestamp(day, UTC).weekday() >= 5:
        day -= DAY_S
    first, last = _OUTAGE_HOURS
    return day + first * HOUR_S <= at < day + last * HOUR_S


def _strain(deployment: Deployment, at: float) -> float:
    """Returns by which factor a place is slower now: one's own GPUs queue as they fill, others hardly notice."""
    busy = busy_at(at)
    return 1 / (1.06 - busy) if deployment.location == _POOL else 1 + 0.25 * busy


def _raw(prompt: int, answer: int) -> bytes:
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (prompt, answer, prompt + answer)
