"""What a call's receipt will say, gathered while the call goes on; private to that call's task."""

from __future__ import annotations

import time
from operator import attrgetter
from typing import Final

import msgspec

from gateway.accounting.elsewhere import Elsewhere
from gateway.accounting.limits import Turn
from gateway.accounting.pairings import Paired, Pairings
from gateway.accounting.receipts import NOTHING, AttemptLine, Opening, Settled, tokens_of
from gateway.accounting.reservation import Reservation
from gateway.core.errors import Reason
from gateway.core.money import Cost, Usage, charge, knows
from gateway.core.own import marginal_nano
from gateway.core.types import Attempt, Call, Deployment, Plan, Principal, Sensitivity
from gateway.routing import Decision
from gateway.telemetry import TraceContext


class Trace(msgspec.Struct):
    """One call's bookkeeping. `*_at` are monotonic seconds; the receipt's own time is the wall clock's."""

    call: Call
    principal: Principal
    arrived_at: float
    pairings: Pairings
    time: float
    context: TraceContext | None = None  # the distributed trace that the call is in
    parsed_at: float = 0.0
    planned_at: float = 0.0
    sent_at: float = 0.0
    first_at: float = 0.0
    last_at: float = 0.0
    queued_s: float = 0.0
    waited_s: float = 0.0  # for attempts that failed, and between them
    input_tokens: int = 0  # estimated
    plan: Plan | None = None
    sensitivity: Sensitivity | None = None
    level_name: str | None = None
    answered_by: Deployment | None = None
    attempting: Attempt | None = None
    booked: bool = False
    opened: bool = False  # its opening line is in the journal
    attempts: list[AttemptLine] = []
    usage: Usage | None = None
    cost: Cost | None = None
    marginal_nano: int | None = None  # of the answer, at what its pool was ranked by
    spent_nano: int = 0  # by failed attempts
    dearest: int | None = None
    list_nano: int | None = None
    spilled: bool = False
    saved_nano: int | None = None
    cache: str = "-"
    status: int = 0
    reason: str | None = None
    refusal: str | None = None  # why we refused it, in words of ours
    finish: str | None = None
    warnings: tuple[str, ...] = ()
    dropped_events: int = 0
    reservation: Reservation | None = None  # at the budgets that the call counts to
    turn: Turn | None = None  # at the rate limits that are for it

    def begin(self, attempt: Attempt) -> float:
        """Notes that an attempt begins; returns when."""
        self.attempting = attempt
        self.first_at = self.last_at = 0.0
        self.sent_at = now = time.monotonic()
        return now

    def meter(self, deployment: Deployment, usage: Usage) -> None:
        """Notes what the answer used, and prices it."""
        self.usage = usage
        if deployment.price is not None and (not usage.uncounted or knows(deployment.price, usage)):
            self.cost = charge(usage, deployment.price)
            if deployment.own is not None and self.plan is not None:
                standings = (each for each in self.plan.own if each.deployment == deployment.name)
                self.marginal_nano = next((marginal_nano(usage, each) for each in standings), None)

    def compare(self, elsewhere: Elsewhere, answered: Deployment, usage: Usage) -> None:
        """Prices the usage as other choices would have been charged."""
        plan = self.plan
        assert plan is not None
        self.dearest = elsewhere.dearest_nano(plan, usage)
        self.list_nano = elsewhere.list_nano(plan, answered, usage, self.cost)
        self.spilled = elsewhere.spilled(plan, answered)

    def failed(self, attempt: Attempt, now: float, reason: str, status: int | None) -> None:
        """Notes a failed attempt; what it used stands in its own line."""
        usage, cost = self.usage, self.cost
        self.attempting = self.usage = self.cost = self.marginal_nano = None
        self.waited_s += now - self.sent_at
        self.last_at = 0.0
        if cost is not None:
            self.spent_nano += cost.nano_usd
        self._note(attempt, now, status, reason, usage, cost)

    def answered(self, attempt: Attempt, now: float, status: int) -> None:
        """Notes the attempt that answered."""
        self._note(attempt, now, status)

    def abandoned(self, attempt: Attempt, now: float) -> None:
        """Notes the attempt that was under way when its caller left."""
        self._note(attempt, now, None, Reason.CANCELLED.value)

    def _note(
        self,
        attempt: Attempt,
        now: float,
        status: int | None,
        reason: str | None = None,
        usage: Usage | None = None,
        cost: Cost | None = None,
    ) -> None:
        began_at = self.sent_at
        self.attempts.append(
            AttemptLine(
                endpoint=attempt.endpoint.id,
                deployment=attempt.deployment.name,
                provider=attempt.deployment.provider,
                started_us=_us(began_at - self.arrived_at),
                reason=reason,
                status=status,
                ttft_us=_us(self.first_at - began_at) if self.first_at and self.call.stream else None,
                e2e_us=_us(now - began_at),
                tokens=tokens_of(usage) if usage is not None else {},
                cost=cost.lines if cost is not None else {},
                cost_nano=cost.nano_usd if cost is not None else 0,
            )
        )

    @property
    def tpot_s(self) -> float | None:
        """Seconds per output token after the first, where there were at least two and they came over time."""
        if self.usage is None or not self.call.stream or self.usage.output_tokens < 2 or not self.first_at:
            return None
        return (self.last_at - self.first_at) / (self.usage.output_tokens - 1)

    def paired(self, deployment: Deployment | None) -> Paired:
        """Returns what this call has in common with others that went to the same place."""
        route = self.plan.route if self.plan is not None else None
        return self.pairings.of(self.call, self.principal, route, deployment, self.level_name)

    def opening(self, attempt: Attempt) -> Opening:
        """Returns what stands, beside its pairing, for this call until its receipt does."""
        price = attempt.deployment.price
        return Opening(
            id=self.call.id,
            time=self.time,
            key=self.principal.key,
            user=self.call.user or self.principal.user,
            input_tokens=self.input_tokens,
            price_version=price.version if price is not None else None,
        )

    def receipt(self, now: float) -> Settled:
        """Returns the receipt as of `now` (monotonic), but for what its pairing says."""
        call, principal, plan, usage, cost = self.call, self.principal, self.plan, self.usage, self.cost
        tpot = self.tpot_s
        waited = self.waited_s + (self.last_at - self.sent_at if self.last_at and self.answered_by is not None else 0.0)
        if cost is not None:
            cost_nano: int | None = cost.nano_usd + self.spent_nano
        elif usage is not None:
            cost_nano = None  # priced at nothing we know
        else:
            cost_nano = self.spent_nano
        e2e_s = now - self.arrived_at
        attempts = self.attempts
        # By place: CPython compiles a call of more than fifteen keywords into one that builds a dict first.
        return Settled(
            call.id,
            self.time,
            principal.key,
            self.status,
            call.user or principal.user,
            tokens_of(usage) if usage is not None else {},
            cost_nano,
            self.saved_nano,
            cost.price_version if cost is not None else None,
            usage.estimated if usage is not None else False,
            self.cache,
            self.reason,
            self.refusal,
            self.finish,
            cost.lines if cost is not None else {},
            self.dearest,
            usage.suspect if usage is not None else False,
            self.dropped_events,
            _us(self.first_at - self.arrived_at) if self.first_at and call.stream else None,
            _us(tpot) if tpot is not None else None,
            _us(e2e_s),
            _us(self.queued_s) if self.queued_s else None,
            _us(e2e_s - self.queued_s - waited),
            msgspec.Raw(usage.raw) if usage is not None and usage.raw else NOTHING,
            (attempts[0],) if len(attempts) == 1 else tuple(attempts),
            self._decision(plan, self.sensitivity) if plan is not None and self.sensitivity is not None else None,
            self.marginal_nano,
            self.list_nano,
            self.spilled,
        )

    def _decision(self, plan: Plan, sensitivity: Sensitivity) -> Decision:
        return Decision(
            plan.route,
            plan.pick,
            self.answered_by.name if self.answered_by is not None and self.status == 200 else None,
            tuple(map(_name_of, plan.candidates)),
            plan.scores,
            plan.removed,
            plan.note,
            self.level_name or "",
            sensitivity.causes,
            plan.own,
        )


_name_of: Final = attrgetter("name")


def _us(seconds: float) -> int:
    return int(seconds * 1e6) if seconds > 0 else 0
