"""The end of a call, told once: its receipt into the journal, its numbers into metrics and measurements, its span."""

from __future__ import annotations

import time

from gateway.accounting.budgets import Budgets
from gateway.accounting.journal import JournalFull
from gateway.accounting.ledger import Ledger
from gateway.accounting.pairings import Pairing
from gateway.accounting.receipts import Settled
from gateway.accounting.trace import Trace
from gateway.measure import Measurements
from gateway.telemetry import CallFacts, FailedAttempt, Telemetry, names


class Booking:
    """Books calls; once `book` returns the receipt is safe, and the answer's last byte may leave."""

    def __init__(self, ledger: Ledger, budgets: Budgets, telemetry: Telemetry, measurements: Measurements) -> None:
        self._ledger = ledger
        self._budgets = budgets
        self._metrics = telemetry.metrics
        self._traces = telemetry.traces
        self._measurements = measurements

    def book(self, trace: Trace) -> None:
        """Writes the receipt of a call that has ended, and tells who learns of it; called exactly once per call."""
        trace.booked = True
        now = time.monotonic()
        receipt, paired = trace.receipt(now), trace.paired(trace.answered_by)
        try:
            self._ledger.close(receipt, paired.json)
        except JournalFull:
            pass  # kept until the disk has room again; meanwhile no new call is let in
        if self._budgets.active or trace.reservation is not None:
            self._budgets.settle(trace, receipt.cost_nano or 0, trace.answered_by)
        if trace.turn is not None:
            trace.turn.used(trace.usage.input_tokens + trace.usage.output_tokens if trace.usage is not None else 0)
        self._count(trace, receipt, paired.facts, now)
        if receipt.status == 200 and receipt.reason is None and receipt.cache != "hit":
            self._learn(trace, now)
        if trace.context is not None and trace.context.sampled:
            self._traces.end(trace.context, _facts(trace, receipt, paired.facts, now))

    def _count(self, trace: Trace, receipt: Settled, pairing: Pairing, ended_at: float) -> None:
        metrics = self._metrics
        metrics.record_call(
            pairing.route or "",
            pairing.deployment or "",
            pairing.team or "",
            receipt.status,
            receipt.reason or "",
            usage=trace.usage,
            nano_usd=receipt.cost_nano,
            saved_nano=receipt.saved_nano or 0,
            cache=receipt.cache,
            ttft_s=None if receipt.ttft_us is None else receipt.ttft_us / 1e6,
            tpot_s=None if receipt.tpot_us is None else receipt.tpot_us / 1e6,
            e2e_s=ended_at - trace.arrived_at,
            overhead_s=(receipt.overhead_us or 0) / 1e6,
        )
        if receipt.dropped_events:
            metrics.count(names.DROPPED_EVENTS, (pairing.deployment or "",), receipt.dropped_events)
        if len(receipt.attempts) > 1 or receipt.reason is not None:
            for line in receipt.attempts:
                if line.reason is not None:
                    metrics.count(names.FAILED_ATTEMPTS, (line.deployment, line.reason))

    def _learn(self, trace: Trace, ended_at: float) -> None:
        deployment, usage = trace.answered_by, trace.usage
        if deployment is None or usage is None:
            return
        self._measurements.learn(trace.call, deployment.name, usage)
        self._measurements.record(
            deployment.name,
            trace.input_tokens,
            ended_at,
            ttft_s=trace.first_at - trace.sent_at if trace.call.stream else None,
            total_s=ended_at - trace.sent_at,
            output_tokens=usage.output_tokens,
        )


def _facts(trace: Trace, receipt: Settled, pairing: Pairing, ended_at: float) -> CallFacts:
    began_ns = int(receipt.time * 1e9)
    deployment = trace.answered_by
    return CallFacts(
        began_ns=began_ns,
        ended_ns=began_ns + int((ended_at - trace.arrived_at) * 1e9),
        endpoint=trace.call.endpoint,
        status=receipt.status,
        request_model=pairing.model,
        response_model=pairing.upstream_model,
        kind=deployment.kind if deployment is not None else None,
        origin=deployment.endpoints[0].origin if deployment is not None and deployment.endpoints else None,
        stream=pairing.stream,
        max_tokens=trace.call.max_tokens,
        temperature=trace.call.temperature,
        finish=receipt.finish,
        usage=trace.usage,
        ttft_s=None if receipt.ttft_us is None else receipt.ttft_us / 1e6,
        reason=receipt.reason,
        route=pairing.route,
        deployment=pairing.deployment,
        team=pairing.team,
        cache=receipt.cache,
        nano_usd=receipt.cost_nano,
        failed=tuple(
            FailedAttempt(line.deployment, line.reason, began_ns + (line.started_us + (line.e2e_us or 0)) * 1000)
            for line in receipt.attempts
            if line.reason is not None
        ),
    )
