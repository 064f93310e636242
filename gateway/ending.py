"""How a call ends: with a whole answer, after a failed attempt, unanswered, or cancelled. Booked, and told.

A receipt is in the journal before the last byte leaves; what an attempt used is what its provider says or, once content
has left, an estimate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from gateway.attempts import TABLE
from gateway.booking import Booking
from gateway.breakers import Breakers
from gateway.core.errors import Overloaded, Reason, UpstreamError, unanswered
from gateway.core.types import Attempt, Call, Endpoint, Outcome
from gateway.kept import KeptAnswers
from gateway.relay import Reply, Run, stopping

_log = structlog.get_logger("headgate")

SLOW_SHARE = 0.5  # an attempt that took more of its time to the first token than this teaches its breaker "slow"


class Ending:
    """Ends attempts and calls; `draw` spreads what is tried again (0 to 1)."""

    def __init__(self, booking: Booking, breakers: Breakers, kept: KeptAnswers, draw: Callable[[], float]) -> None:
        self._booking = booking
        self._breakers = breakers
        self._kept = kept
        self._draw = draw
        self._told: set[tuple[str, Reason]] = set()

    def tell_again(self) -> None:
        """Logs once more what only people can mend: the config is another."""
        self._told = set()

    def whole(self, run: Run, attempt: Attempt) -> None:
        """Books a whole answer; called once, before its last byte leaves."""
        trace, decoder = run.trace, run.decoder
        assert decoder is not None
        deployment, now = attempt.deployment, time.monotonic()
        ttft_s = trace.first_at - trace.sent_at if run.call.stream else None
        slow = ttft_s is not None and ttft_s > attempt.first_token_s * SLOW_SHARE
        run.outcome = Outcome(now, 0.0, slow=slow and not spent(run.call))  # of an upload, that is its caller's time
        trace.status, trace.finish, trace.answered_by = 200, decoder.finish, deployment
        if not run.call.counting:
            usage = decoder.usage or run.estimated()
            trace.meter(deployment, usage)
            trace.compare(run.snapshot.elsewhere, deployment, usage)
        trace.answered(attempt, now, 200)
        trace.dropped_events += decoder.dropped
        self._keep(run, deployment.name)
        if run.call.keeping is not None:
            level = run.snapshot.levels[run.request.sensitivity.level]
            self._kept.content.put(run.call, trace.principal, level, deployment.name)
        self._booking.book(trace)

    def failed(self, run: Run, attempt: Attempt, failure: UpstreamError, reply: Reply) -> None:
        """Notes a failed attempt; what it used is known or, once content has left, estimated."""
        trace, decoder = run.trace, run.decoder
        if decoder is not None and (decoder.usage is not None or reply.started):
            trace.meter(attempt.deployment, decoder.usage or run.estimated())
        if decoder is not None:
            trace.dropped_events += decoder.dropped
        if reply.started:
            self._keep(run, attempt.deployment.name)
        run.decoder = None
        if TABLE[failure.reason].notify or failure.notify:
            self._tell(attempt, failure)
        now = time.monotonic()
        trace.failed(attempt, now, failure.reason.value, failure.status)
        run.outcome = Outcome(
            now,
            self._draw(),
            failure.reason,
            retry_after_s=failure.retry_after_s,
            content_left=reply.started,
            named_by_caller=failure.named_by_caller,
            should_retry=failure.should_retry,
            sent=failure.sent,
            spent=spent(run.call),
        )

    async def given_up(self, run: Run, attempt: Attempt | None, error: UpstreamError | None, reply: Reply) -> None:
        """Ends a call that no candidate has answered; raises why, or tells in-band where content has left."""
        if error is None and time.monotonic() >= run.deadline:
            late = UpstreamError(Reason.TIMEOUT, "the call's time was over before it was asked")
            raise unanswered(late, run.plan.candidates[0].name)
        if error is None:
            raise Overloaded(
                f"every deployment that route {run.plan.route!r} may use rests",
                code="no_permitted_deployment",
                retry_after_s=self._breakers.retry_after_s(run.plan.candidates, time.monotonic()),
            )
        assert attempt is not None
        answer = unanswered(error, attempt.deployment.name)
        answer.message = _scrubbed(answer.message, attempt.endpoint)
        trace = run.trace
        trace.reason = error.reason.value
        trace.answered_by = attempt.deployment
        if not reply.started:
            raise answer
        trace.status = 200
        self._booking.book(trace)
        await reply.break_off(answer)

    async def cancelled(self, run: Run, reply: Reply, caller_left: bool) -> None:
        """Ends a call whose caller left, or that a stop of the gateway overtook: booked, and told in-band."""
        trace, decoder = run.trace, run.decoder
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        if trace.booked:
            return
        trace.status = trace.status or (499 if caller_left else 503)
        trace.reason = Reason.CANCELLED.value
        if trace.attempting is not None:
            deployment = trace.attempting.deployment
            usage = decoder.usage if decoder is not None else None
            trace.answered_by = deployment
            if not run.call.counting:
                trace.meter(deployment, usage or run.estimated())
            trace.abandoned(trace.attempting, time.monotonic())
            self._keep(run, deployment.name)
        self._booking.book(trace)
        if not caller_left:
            if not reply.started:
                raise stopping()
            await reply.break_off(stopping())

    def _keep(self, run: Run, deployment: str) -> None:
        """Notes whose the answer is, where its provider keeps it: before the caller can go on from it."""
        made: tuple[str, ...] = getattr(run.decoder, "made", ())
        if made and run.call.kept:
            principal, level = run.trace.principal, run.request.sensitivity.level
            self._kept.note(made, principal, deployment, level, run.snapshot.levels)

    def _tell(self, attempt: Attempt, failure: UpstreamError) -> None:
        """Logs what only people can mend, once per config."""
        what = (attempt.endpoint.id, failure.reason)
        if what not in self._told:
            self._told.add(what)
            why = failure.message if failure.notify else None  # ours; what a provider said stays out of the log
            _log.error(
                "upstream_needs_attention", endpoint=what[0], reason=what[1].value, status=failure.status, why=why
            )


def spent(call: Call) -> bool:
    """Says whether a call's body has been passed on, so that it is not there to be sent again."""
    return call.form is not None and call.form.upload is not None and call.form.upload.spent


def _scrubbed(text: str, endpoint: Endpoint) -> str:
    """Takes our credential out of what a provider said of the caller's fault."""
    for _, value in endpoint.auth:
        secret = value.decode("latin-1").removeprefix("Bearer ")
        text = text.replace(secret, "<credential>") if secret else text
    return text
