"""The end of a call, told once: its receipt into the journal, its numbers into the metrics, its span if it is traced."""

from __future__ import annotations

import time

from gateway.accounting.journal import JournalFull
from gateway.accounting.ledger import Ledger
from gateway.accounting.receipts import Receipt
from gateway.accounting.trace import Trace
from gateway.telemetry import CallFacts, FailedAttempt, Telemetry, names


class Booking:
    """Books calls; `book` returns once the receipt is safe, so that the answer's last byte may leave."""

    def __init__(self, ledger: Ledger, telemetry: Telemetry) -> None:
        self._ledger = ledger
        self._metrics = telemetry.metrics
        self._traces = telemetry.traces

    def book(self, trace: Trace) -> None:
        """Writes the receipt of a call that has ended; called exactly once per call."""
        trace.booked = True
        now = time.monotonic()
        receipt = trace.receipt(now)
        try:
            self._ledger.close(receipt)
        except JournalFull:
            pass  # kept until the disk has room again; meanwhile no new call is let in
        e2e_s = now - trace.arrived_at
        self._metrics.record_call(
            receipt.route or "",
            receipt.deployment or "",
            receipt.team or "",
            receipt.status,
            receipt.reason or "",
            usage=trace.usage,
            nano_usd=receipt.cost_nano,
            saved_nano=receipt.saved_nano or 0,
            cache=receipt.cache,
            ttft_s=None if receipt.ttft_us is None else receipt.ttft_us / 1e6,
            tpot_s=None if receipt.tpot_us is None else receipt.tpot_us / 1e6,
            e2e_s=e2e_s,
            overhead_s=(receipt.overhead_us or 0) / 1e6,
        )
        if len(receipt.attempts) > 1 or receipt.reason is not None:
            for line in receipt.attempts:
                if line.reason is not None:
                    self._metrics.count(names.FAILED_ATTEMPTS, (line.deployment, line.reason))
        if trace.context is not None and trace.context.sampled:
            self._traces.end(trace.context, _facts(trace, receipt, e2e_s))


def _facts(trace: Trace, receipt: Receipt, e2e_s: float) -> CallFacts:
    began_ns = int(receipt.time * 1e9)
    deployment = trace.answered_by
    return CallFacts(
        began_ns=began_ns,
        ended_ns=began_ns + int(e2e_s * 1e9),
        endpoint=trace.call.endpoint,
        status=receipt.status,
        request_model=receipt.model,
        response_model=receipt.upstream_model,
        kind=deployment.kind if deployment is not None else None,
        origin=deployment.endpoints[0].origin if deployment is not None and deployment.endpoints else None,
        stream=receipt.stream,
        max_tokens=trace.call.max_tokens,
        temperature=trace.call.temperature,
        finish=receipt.finish,
        usage=trace.usage,
        ttft_s=None if receipt.ttft_us is None else receipt.ttft_us / 1e6,
        reason=receipt.reason,
        route=receipt.route,
        deployment=receipt.deployment,
        team=receipt.team,
        cache=receipt.cache,
        nano_usd=receipt.cost_nano,
        failed=tuple(
            FailedAttempt(line.deployment, line.reason, began_ns + (line.started_us + (line.e2e_us or 0)) * 1000)
            for line in receipt.attempts
            if line.reason is not None
        ),
    )
