"""Rate limits: calls and tokens a minute, and calls in flight; of a key, of a team, of a model.

A minute is a bucket that fills at the limit's pace and holds a minute's worth: a caller who was quiet may spend that at
once. Tokens are taken by estimate as a call begins, and put right when it ends. A call that is larger than the whole
bucket needs it full, and leaves a debt; else it could never be made.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, inf
from typing import Final

import msgspec

from gateway.core.allowances import RateLimits
from gateway.core.errors import Overloaded
from gateway.core.types import Principal

EACH: Final = "*"
_MINUTE_S: Final = 60.0
_FREED_S: Final = 1.0  # when to ask again where calls in flight are too many: nobody knows when one ends
_REMEMBERED: Final = 8192
_ROUNDING: Final = 1e-9  # of sums of fractions: less than this is not missing
_Caller = tuple[str, str | None, str]
_Kept = tuple[str, str, str | None, bool]


class RateLimited(Overloaded):
    """The caller is too fast, or has too much under way; the message names the limit."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class LimitRule(msgspec.Struct, frozen=True):
    """Limits and whom they are for: `name` is one `scope` (key, team, or model), or EACH of them on its own.

    With `model` they are for calls that ask for that name alone. Where one is named, the limits for EACH step back;
    those that stand on the key or the team itself (`own`) hold beside all others.
    """

    scope: str
    name: str
    limits: RateLimits
    model: str | None = None
    own: bool = False


class _Bucket:
    """So many a minute. Times are monotonic seconds."""

    __slots__ = ("_at", "_left", "per_minute")

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def left(self, now: float) -> float:
        """Returns what is in it; less than nothing after a call that was larger than foreseen."""
        if now > self._at:
            self._left = min(float(self.per_minute), self._left + (now - self._at) * self.per_minute / _MINUTE_S)
            self._at = now
        return self._left

    def take(self, amount: float) -> None:
        """Takes out, or with a negative amount puts back."""
        self._left = min(float(self.per_minute), self._left - amount)

    def wait_s(self, amount: float, now: float) -> float:
        """Returns the seconds until an amount is there; of one that is larger than the bucket, until it is full."""
        missing = min(amount, self.per_minute) - self.left(now)
        return missing * _MINUTE_S / self.per_minute if missing > _ROUNDING else 0.0

    def resize(self, per_minute: int) -> None:
        """Changes the limit; what was taken stays taken."""
        self._left += per_minute - self.per_minute
        self.per_minute = per_minute


class _Meter:
    """What one limit has been used of."""

    __slots__ = ("_in_flight_limit", "calls", "in_flight", "label", "scope", "tokens")

    def __init__(self, rule: LimitRule, name: str) -> None:
        self.scope = rule.scope
        self.label = f"{rule.scope} {name}" + (f" for {rule.model}" if rule.model is not None else "")
        self.calls: _Bucket | None = None
        self.tokens: _Bucket | None = None
        self.in_flight = 0
        self._in_flight_limit: float = inf

    def bind(self, limits: RateLimits, now: float) -> None:
        """Takes over limits."""
        self.calls = _bound(self.calls, limits.calls_per_minute, now)
        self.tokens = _bound(self.tokens, limits.tokens_per_minute, now)
        self._in_flight_limit = inf if limits.in_flight is None else limits.in_flight

    def usage(self, kept: _Kept, now: float) -> Usage:
        """Returns how it stands."""
        calls, tokens = self.calls, self.tokens
        return Usage(
            *kept,
            calls.per_minute if calls is not None else None,
            max(0, int(calls.left(now))) if calls is not None else None,
            tokens.per_minute if tokens is not None else None,
            max(0, int(tokens.left(now))) if tokens is not None else None,
            None if self._in_flight_limit == inf else int(self._in_flight_limit),
            self.in_flight,
        )

    def refusal(self, tokens: int, now: float) -> RateLimited | None:
        """Says why a call may not begin now, or None."""
        if self.in_flight >= self._in_flight_limit:
            what, wait_s = f"{self._in_flight_limit} calls in flight", _FREED_S
        elif self.calls is not None and (wait_s := self.calls.wait_s(1, now)) > 0:
            what = f"{self.calls.per_minute} calls a minute"
        elif self.tokens is not None and (wait_s := self.tokens.wait_s(tokens, now)) > 0:
            what = f"{self.tokens.per_minute} tokens a minute, and this call is expected to take {tokens}"
        else:
            return None
        return RateLimited(f"{self.label} may have {what}: try again in {_spoken(wait_s)}", retry_after_s=wait_s)


class Usage(msgspec.Struct, frozen=True):
    """How a limit stands: of each bound what it is and what is left of it (None where there is none)."""

    scope: str
    name: str
    model: str | None
    own: bool
    calls_per_minute: int | None
    calls_left: int | None
    tokens_per_minute: int | None
    tokens_left: int | None
    in_flight_limit: int | None
    in_flight: int


class Turn:
    """One call that was let in: what it holds of each meter."""

    __slots__ = ("_left", "_meters", "_tokens")

    def __init__(self, meters: tuple[_Meter, ...], tokens: int) -> None:
        self._meters = meters
        self._tokens = tokens
        self._left = False

    def used(self, tokens: int) -> None:
        """Puts the estimate right; called once, when it is known what the call took."""
        more, self._tokens = tokens - self._tokens, tokens
        for meter in self._meters:
            if meter.tokens is not None:
                meter.tokens.take(more)

    def leave(self) -> None:
        """Ends the call's time in flight; a second time it does nothing."""
        if not self._left:
            self._left = True
            for meter in self._meters:
                meter.in_flight -= 1

    def headers(self, now: float) -> list[tuple[bytes, bytes]]:
        """Returns what the caller has left, in OpenAI's headers: of several limits, the one with the least."""
        return _headers(self._meters, now)


class Limits:
    """All rate limits of this process."""

    def __init__(self) -> None:
        self.active = False
        self.refused: dict[str, int] = {}  # by scope
        self._rules: dict[tuple[str, str], list[LimitRule]] = {}  # by scope and name
        self._meters: dict[_Kept, _Meter] = {}
        self._by_caller: dict[_Caller, tuple[_Meter, ...]] = {}

    def apply(self, rules: Iterable[LimitRule], now: float) -> None:
        """Takes over the limits of a config; what was used of those that stay stays used."""
        self._rules = {}
        for rule in rules:
            self._rules.setdefault((rule.scope, rule.name), []).append(rule)
        self._by_caller.clear()
        before, self._meters = self._meters, {}
        for kept, meter in before.items():
            scope, name, model, own = kept
            for rule in self._rules_for(scope, name, model):
                if (rule.model, rule.own) == (model, own):
                    meter.bind(rule.limits, now)
                    self._meters[kept] = meter
        self.active = bool(self._rules)

    def usage(self, now: float) -> list[Usage]:
        """Returns how every limit stands that a call has met, and every one that names somebody."""
        for rule in [rule for rules in self._rules.values() for rule in rules]:
            if rule.name != EACH:
                self._meter(rule, rule.name, now)
        return [meter.usage(kept, now) for kept, meter in self._meters.items()]

    def enter(self, principal: Principal, model: str, tokens: int, now: float) -> Turn | None:
        """Lets a call in that is expected to take so many tokens; None where no limit is for it. Raises RateLimited."""
        caller = (principal.key, principal.team, model)
        meters = self._by_caller.get(caller)
        if meters is None:
            meters = self._found(principal, model, now)
            if len(self._by_caller) >= _REMEMBERED:
                self._by_caller.clear()
            self._by_caller[caller] = meters
        if not meters:
            return None
        for meter in meters:
            refusal = meter.refusal(tokens, now)
            if refusal is not None:
                self.refused[meter.scope] = self.refused.get(meter.scope, 0) + 1
                refusal.headers = tuple(_headers(meters, now))
                raise refusal
        for meter in meters:
            meter.in_flight += 1
            if meter.calls is not None:
                meter.calls.take(1)
            if meter.tokens is not None:
                meter.tokens.take(tokens)
        return Turn(meters, tokens)

    def _found(self, principal: Principal, model: str, now: float) -> tuple[_Meter, ...]:
        found: list[_Meter] = []
        for scope, name in (("key", principal.key), ("team", principal.team), ("model", model)):
            if name is not None:
                found += [self._meter(rule, name, now) for rule in self._rules_for(scope, name, model)]
        return tuple(found)

    def _rules_for(self, scope: str, name: str, model: str | None) -> list[LimitRule]:
        """Returns the limits that are for one name and a model: those that name it, else those for each."""
        named = [rule for rule in self._rules.get((scope, name), ()) if rule.model in (None, model)]
        replaced = {rule.model for rule in named if not rule.own}
        each = [rule for rule in self._rules.get((scope, EACH), ()) if rule.model in (None, model)]
        return named + [rule for rule in each if rule.model not in replaced]

    def _meter(self, rule: LimitRule, name: str, now: float) -> _Meter:
        kept = (rule.scope, name, rule.model, rule.own)
        meter = self._meters.get(kept)
        if meter is None:
            meter = self._meters[kept] = _Meter(rule, name)
            meter.bind(rule.limits, now)
        return meter


def _headers(meters: Iterable[_Meter], now: float) -> list[tuple[bytes, bytes]]:
    """Writes OpenAI's headers (https://platform.openai.com/docs/guides/rate-limits, 2026-11)."""
    headers: list[tuple[bytes, bytes]] = []
    for what, buckets in (
        (b"requests", [meter.calls for meter in meters if meter.calls is not None]),
        (b"tokens", [meter.tokens for meter in meters if meter.tokens is not None]),
    ):
        if buckets:
            bucket = buckets[0] if len(buckets) == 1 else min(buckets, key=lambda each: each.left(now))
            left = bucket.left(now)
            reset_s = (bucket.per_minute - left) * _MINUTE_S / bucket.per_minute
            headers += [
                (b"x-ratelimit-limit-" + what, b"%d" % bucket.per_minute),
                (b"x-ratelimit-remaining-" + what, b"%d" % left if left > 0 else b"0"),
                (b"x-ratelimit-reset-" + what, _spoken(reset_s).encode()),
            ]
    return headers


def _spoken(seconds: float) -> str:
    """Writes a duration as OpenAI does: 12ms, 1s, 6m0s."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    whole = ceil(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"


def _bound(bucket: _Bucket | None, per_minute: int | None, now: float) -> _Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return _Bucket(per_minute, now)
    bucket.left(now)
    bucket.resize(per_minute)
    return bucket
