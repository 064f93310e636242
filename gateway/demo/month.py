"""The made-up month, call by call.

Drawn is who asks, how long things take and what fails. Everything else is the house's own: who may go where
(`routing`), whom to ask next (`attempts`, `breakers`), what it costs (`Trace.meter`) and how a receipt is written
(`Trace.receipt`). So what the demo shows is what a gateway would have booked.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from gateway.accounting.receipts import CLOSED, line_of, row_of
from gateway.accounting.trace import Trace
from gateway.attempts import LESSONS, RetryBudget, attempts
from gateway.breakers import Breakers
from gateway.core.errors import CallError, Forbidden, Overloaded, Reason, UpstreamError, unanswered
from gateway.core.money import NANO_PER_USD, Usage, usd
from gateway.core.policy import View
from gateway.core.types import Attempt, Call, Outcome, Plan, Principal, Request, Sensitivity
from gateway.demo.chance import Chance, Failure, view_at
from gateway.demo.rhythm import HOUR_S, moments
from gateway.demo.world import WORKLOADS, Workload
from gateway.snapshot import Snapshot
from gateway.state.protocols import ReceiptRow

BUDGET_TEAM: Final = "growth"
_TOTAL_S: Final = 600.0
_LEFT: Final = 0.013  # of streams: their callers leave before the end
_CUT: Final = 0.0015  # of streams: the provider breaks off
_SILENT: Final = 0.004  # of answers: the provider tells no usage

_PLAIN: Final = b'{"messages":[{"role":"user","content":"Where is my order?"}]}'
_PERSONAL: Final = b'{"messages":[{"role":"user","content":"my SSN is 536-90-4399"}]}'
_LABEL: Final = (("x-data-sensitivity", "restricted"),)


class Answered(NamedTuple):
    """What a cache would have kept of an answer."""

    deployment: str
    cost_nano: int
    finish: str | None


class Month:
    """Thirty days of calls that end at `until` (seconds since the epoch); the same for the same arguments.

    `eras` are the configs that served, each from a moment on; a price that changed is another one. `principals` are by
    key. `daily_usd` is what the growth team may spend in a day.
    """

    def __init__(
        self,
        eras: Sequence[tuple[float, Snapshot]],
        principals: Mapping[str, Principal],
        until: float,
        *,
        seed: int = 1,
        calls: int = 60_000,
        daily_usd: float = 4.0,
    ) -> None:
        self._eras = eras
        self._principals = principals
        self._until = until
        self._calls = calls
        self._daily_nano = round(daily_usd * NANO_PER_USD)
        self._random = random.Random(seed)
        self._chance = Chance(self._random, until)
        self._boot = hashlib.sha256(f"{seed} {until}".encode()).hexdigest()[:12]
        self._breakers = Breakers(LESSONS)
        self._retries = RetryBudget()
        self._kept: dict[tuple[str, str], Answered] = {}
        self._classified: dict[tuple[str, bytes, bool, bool], Sensitivity] = {}
        self._spent: dict[str, int] = {}  # by day, by the budget's team
        self._serial = 0

    def rows(self) -> Iterator[ReceiptRow]:
        """Yields every receipt, in the order of their calls."""
        for trace, ended_at in self.traces():
            line = line_of(CLOSED, trace.receipt(ended_at), trace.paired(trace.answered_by).json)
            yield row_of(line[1:-1])

    def traces(self) -> Iterator[tuple[Trace, float]]:
        """Yields every call as it was booked, and when it ended."""
        hour, view, snapshot = -1, None, None
        for at, index in moments(self._random, WORKLOADS, self._until, self._calls):
            serving = next(each for since, each in reversed(self._eras) if at >= since)
            if serving is not snapshot:
                snapshot = serving
                self._breakers.watch(snapshot.endpoints)
            if view is None or int(at // HOUR_S) != hour:
                hour, view = int(at // HOUR_S), view_at(at, snapshot.deployments)
            self._serial += 1
            yield self._call(snapshot, WORKLOADS[index], at, msgspec.structs.replace(view, draw=self._random.random()))

    # -- one call --------------------------------------------------------------------------------------------------

    def _call(self, snapshot: Snapshot, workload: Workload, at: float, view: View) -> tuple[Trace, float]:
        chance, principal = self._chance, self._principals[workload.key]
        call = self._asked(workload, at)
        trace = Trace(call, principal, at, snapshot.pairings, at, attempts=[])
        trace.parsed_at = at + 0.0002
        trace.sensitivity = sensitivity = self._sensitivity(snapshot, call, principal)
        trace.level_name = snapshot.levels[sensitivity.level]
        trace.planned_at = at + 0.0005 + 0.001 * chance.share() ** 4
        usage = chance.usage(workload)
        trace.input_tokens = usage.input_tokens
        request = Request(
            call, principal, sensitivity, usage.input_tokens, max(1, workload.output), tags=principal.tags
        )
        trace.refusal = self._over_budget(principal, at)
        if trace.refusal is not None:
            trace.status, trace.reason = 429, "budget_exceeded"
            return trace, trace.planned_at
        try:
            trace.plan = plan = self._plan(snapshot, request, view, at)
        except CallError as error:
            trace.status, trace.reason = error.status, error.word
            if isinstance(error, Forbidden | Overloaded):
                trace.refusal = error.message
            return trace, trace.planned_at
        if workload.repeated and (ended_at := self._replayed(snapshot, trace, plan, workload)) is not None:
            return trace, ended_at
        ended_at = self._attempted(snapshot, trace, plan, workload, usage)
        self._note(trace, at)
        return trace, ended_at

    def _asked(self, workload: Workload, at: float) -> Call:
        random, chance = self._random, self._chance
        personal = chance.share() < workload.personal
        return Call(
            id=f"req_{self._boot}{self._serial:08x}",
            endpoint=workload.endpoint,
            dialect=workload.dialect,
            body=_PERSONAL if personal else _PLAIN,
            model=workload.model,
            stream=workload.stream,
            temperature=0.0 if workload.repeated else None,
            user=random.choice(workload.users) if workload.users else None,
            has_media=workload.endpoint == "transcriptions",
            labels=_LABEL if chance.share() < workload.labelled else (),
            received_at=int(at),
        )

    def _sensitivity(self, snapshot: Snapshot, call: Call, principal: Principal) -> Sensitivity:
        key = (principal.key, call.body, bool(call.labels), call.has_media)
        found = self._classified.get(key)
        if found is None:
            found = self._classified[key] = snapshot.classifier.classify(call, principal)
        return found

    def _plan(self, snapshot: Snapshot, request: Request, view: View, at: float) -> Plan:
        away = self._breakers.unavailable(snapshot.deployments, at)
        try:
            return snapshot.routing.plan(request, view, away)
        except Overloaded:
            if not away:
                raise
            return snapshot.routing.plan(request, view)

    def _replayed(self, snapshot: Snapshot, trace: Trace, plan: Plan, workload: Workload) -> float | None:
        """Answers out of the cache, now and then, where somebody was answered so before."""
        trace.cache = "miss"
        kept = self._kept.get((workload.key, workload.model))
        if kept is None or kept.deployment not in plan.permitted or self._chance.share() >= workload.repeated:
            return None
        trace.cache, trace.saved_nano, trace.finish, trace.status = "hit", kept.cost_nano, kept.finish, 200
        trace.answered_by = next(each for each in snapshot.deployments if each.name == kept.deployment)
        trace.sent_at = trace.first_at = trace.last_at = ended_at = trace.planned_at + 0.0004
        return ended_at

    def _attempted(self, snapshot: Snapshot, trace: Trace, plan: Plan, workload: Workload, usage: Usage) -> float:
        """Makes attempts until one has answered; returns when the call ended."""
        chance, breakers = self._chance, self._breakers
        steps = attempts(
            plan,
            breakers,
            self._retries,
            now=trace.planned_at,
            deadline=trace.planned_at + _TOTAL_S,
            turn=self._serial,
        )
        now, last, failure = trace.planned_at, None, None
        attempt = next(steps, None)
        while attempt is not None:
            last = attempt
            now += attempt.wait_s
            trace.waited_s += attempt.wait_s
            trace.queued_s += (queued_s := chance.queued_s(attempt.deployment, now))
            now += queued_s
            trace.attempting, trace.first_at, trace.last_at, trace.sent_at = attempt, 0.0, 0.0, now
            probe = breakers.begin(attempt.endpoint, now)
            failure = chance.failure(attempt.deployment, now)
            if failure is None:
                now, outcome = self._answer(snapshot, trace, plan, workload, usage, attempt)
            else:
                now += failure.after_s
                trace.failed(attempt, now, failure.reason.value, failure.status)
                outcome = Outcome(now, chance.share(), failure.reason, retry_after_s=failure.retry_after_s)
            breakers.record(attempt.endpoint, outcome, probe)
            if failure is None:
                return now
            try:
                attempt = steps.send(outcome)
            except StopIteration:
                break
        self._give_up(trace, plan, last, failure)
        return now

    def _answer(
        self, snapshot: Snapshot, trace: Trace, plan: Plan, workload: Workload, usage: Usage, attempt: Attempt
    ) -> tuple[float, Outcome]:
        """Answers, most often whole; returns when, and what the breaker learns."""
        chance, deployment, call = self._chance, attempt.deployment, trace.call
        first_s, each_s = chance.pace(deployment, usage.input_tokens, trace.sent_at)
        luck = chance.share() if call.stream else 1.0
        broken = luck < _LEFT + _CUT
        if broken:
            usage = chance.cut_short(usage)
        elif chance.share() < _SILENT and not usage.uncounted:
            usage = msgspec.structs.replace(usage, estimated=True, raw=b"")
        trace.first_at = trace.sent_at + first_s if call.stream else 0.0
        trace.last_at = now = trace.sent_at + first_s + usage.output_tokens * each_s
        trace.answered_by = deployment
        trace.meter(deployment, usage)
        if luck < _LEFT:
            trace.status, trace.reason = 499, Reason.CANCELLED.value
            trace.abandoned(attempt, now)
            return now, Outcome(now, 0.0, Reason.CANCELLED)
        if broken:
            trace.status, trace.reason = 200, Reason.STREAM_CUT.value
            trace.failed(attempt, now, Reason.STREAM_CUT.value, None)
            return now, Outcome(now, 0.0, Reason.STREAM_CUT, content_left=True)
        trace.status, trace.finish = 200, chance.finish(workload)
        trace.compare(snapshot.elsewhere, deployment, usage)
        trace.answered(attempt, now, 200)
        if trace.cost is not None and workload.repeated:
            self._kept[workload.key, workload.model] = Answered(deployment.name, trace.cost.nano_usd, trace.finish)
        return now, Outcome(now, 0.0)

    def _give_up(self, trace: Trace, plan: Plan, last: Attempt | None, failure: Failure | None) -> None:
        """Ends a call that nobody answered."""
        if last is None or failure is None:
            trace.status, trace.reason = 503, "no_permitted_deployment"
            trace.refusal = f"every deployment that route {plan.route!r} may use rests"
            return
        error = unanswered(UpstreamError(failure.reason, "", status=failure.status), last.deployment.name)
        trace.status, trace.reason, trace.answered_by = error.status, failure.reason.value, last.deployment

    # -- the budget ------------------------------------------------------------------------------------------------

    def _over_budget(self, principal: Principal, at: float) -> str | None:
        """Says in the words of a refusal that the team has spent what it may in a day, or nothing."""
        spent = self._spent.get(_day(at), 0)
        if principal.team != BUDGET_TEAM or spent < self._daily_nano:
            return None
        told = f"${usd(spent)} of ${usd(self._daily_nano)} a day"
        return f"the budget of team {BUDGET_TEAM!r} is spent: {told}; it begins anew at midnight (UTC)"

    def _note(self, trace: Trace, at: float) -> None:
        if trace.principal.team == BUDGET_TEAM:
            spent = (trace.cost.nano_usd if trace.cost is not None else 0) + trace.spent_nano
            self._spent[_day(at)] = self._spent.get(_day(at), 0) + spent


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
