"""The straight line of a call, readable from top to bottom.

    authenticate -> parse -> limits -> classify -> plan -> cache -> reserve -> attempt (admit, encode, send, relay) …
    -> receipt, settle -> last byte

Three rules hold it: nothing is tried again once a content byte has left for the caller; the receipt is in the journal
before the last byte is sent; every attempt is aimed at a deployment of `plan.permitted`.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Mapping
from functools import partial

import msgspec
import structlog

from gateway.accounting.budgets import Budgets
from gateway.accounting.ledger import Ledger
from gateway.accounting.limits import Limits
from gateway.accounting.trace import Trace
from gateway.admission import Admission
from gateway.attempts import RetryBudget, Unbarred, attempts, in_order
from gateway.booking import Booking
from gateway.breakers import Breakers
from gateway.cache import Flights
from gateway.cached import CachedAnswers
from gateway.core.blocks import Metered
from gateway.core.dialect import Dialect
from gateway.core.errors import (
    CALLER_GONE,
    BadRequest,
    CallError,
    ClientGone,
    Forbidden,
    Overloaded,
    Reason,
    UpstreamError,
)
from gateway.core.forms import Form
from gateway.core.money import Usage
from gateway.core.policy import View
from gateway.core.types import Attempt, Call, Headers, Outcome, Plan, Principal, Request
from gateway.encode import encoded
from gateway.ending import Ending, spent
from gateway.kept import KeptAnswers, Standing
from gateway.measure import Measurements
from gateway.pool.router import Pools, Routed
from gateway.relay import Reply, Run, answer_headers, relay
from gateway.snapshot import Snapshot
from gateway.telemetry import Telemetry, TraceContext, names
from gateway.upstream import Transport
from gateway.upstream.signing import Signer

_log = structlog.get_logger("headgate")

# What a breaker learns of an attempt whose caller left, or that never reached its upstream: nothing.
ABANDONED = Outcome(0.0, 0.0, Reason.CANCELLED)


class Ask(msgspec.Struct, frozen=True, gc=False):
    """What the door hands over: a request read whole, from a caller it knows. Times are monotonic seconds."""

    id: str
    dialect: Dialect
    headers: Headers
    body: bytes
    principal: Principal
    arrived_at: float


class Services(msgspec.Struct, frozen=True):
    """What outlives a config: made once per process by `wiring`, and handed down."""

    transports: Mapping[str, Transport]
    signers: Mapping[str, Signer]
    breakers: Breakers
    retries: RetryBudget
    measurements: Measurements
    admission: Admission
    flights: Flights
    ledger: Ledger
    budgets: Budgets
    limits: Limits
    telemetry: Telemetry
    kept: KeptAnswers
    pools: Pools = msgspec.field(default_factory=Pools)


class Pipeline:
    """Answers calls by the snapshot that is current when they begin; `apply` puts a new one in its place."""

    def __init__(self, services: Services, snapshot: Snapshot) -> None:
        self.services = services
        self._draw = random.Random(secrets.randbits(64)).random
        self._boot = secrets.token_hex(6)
        self._serial = 0
        self._booking = Booking(services.ledger, services.budgets, services.telemetry, services.measurements)
        self._ending = Ending(self._booking, services.breakers, services.kept, self._draw)
        self._cached = CachedAnswers(services.flights, self._reserve, self._answer, self._booking.book)
        self.apply(snapshot)

    def apply(self, snapshot: Snapshot) -> None:
        """Serves the next calls by this snapshot; those under way keep theirs."""
        self.services.breakers.watch(snapshot.endpoints)
        self.services.pools.watch(snapshot.deployments)
        self._ending.tell_again()
        self.snapshot = snapshot

    def next_id(self) -> str:
        """Returns the id of a new call: unguessable by boot, ordered within it."""
        self._serial += 1
        return f"req_{self._boot}{self._serial:08x}"

    def authenticate(self, headers: Headers) -> Principal:
        """Returns whose key the request carries (`Authorization: Bearer`, or `x-api-key`); raises Unauthorized."""
        fields = dict(headers)
        credential = fields.get(b"authorization")
        if credential is None and b"x-api-key" in fields:
            credential = b"Bearer " + fields[b"x-api-key"]
        return self.snapshot.keys.authenticate(credential, time.time())

    def _context(self, headers: Headers) -> TraceContext | None:
        fields = dict(headers)
        return self.services.telemetry.traces.begin(fields.get(b"traceparent"), fields.get(b"tracestate"))

    # -- the straight line -------------------------------------------------------------------------------------------

    async def answer(self, ask: Ask, reply: Reply) -> None:
        """Answers one call. Raises CallError where the door shall say so, ClientGone where nobody is left to tell."""
        snapshot = self.snapshot
        blank = Call(ask.id, ask.dialect.endpoint, ask.dialect.name, b"")
        trace = Trace(blank, ask.principal, ask.arrived_at, snapshot.pairings, time.time(), self._context(ask.headers))
        try:
            trace.call = ask.dialect.parse(ask.id, ask.body, ask.headers, int(trace.time))
            if snapshot.classifier.own_headers:
                trace.call = _labelled(trace.call, ask.headers, snapshot.classifier.own_headers)
            trace.parsed_at = time.monotonic()
            if self.services.limits.active:
                self._enter(trace)
            standing = None
            if trace.call.kept or trace.call.references:
                standing = await self._stand(snapshot, ask, trace)
            run = self._plan(snapshot, ask, trace, standing)
            if trace.call.counting:
                await self._count(run, reply)
                return
            terms = snapshot.cache.terms(trace.call, run.plan.candidates)
            if terms is None:
                self._reserve(run)
                await self._answer(run, reply)
            else:
                await self._cached.answer(run, terms, reply)
        except CallError as error:
            if not trace.booked:
                trace.status, trace.reason = error.status, trace.reason or error.word
                if isinstance(error, Forbidden | Overloaded):  # of rules and limits: never of what was asked
                    trace.refusal = error.message
                self._booking.book(trace)
            raise
        finally:
            if trace.turn is not None:
                trace.turn.leave()

    def _enter(self, trace: Trace) -> None:
        """Lets a call past its rate limits, by what it is expected to take."""
        call, measurements = trace.call, self.services.measurements
        tokens = 0
        if not call.counting:
            tokens = measurements.input_tokens(call.model, len(call.body))
            tokens += measurements.expected_output(call.model, call.max_tokens)
        trace.turn = self.services.limits.enter(trace.principal, call.model or "auto", tokens, trace.parsed_at)

    def _reserve(self, run: Run) -> None:
        """Holds what a call may cost at its budgets; places there is no room for are left out of its plan."""
        if self.services.budgets.active:
            request = run.request
            run.plan = run.trace.plan = self.services.budgets.reserve(
                run.trace, run.plan, request.input_tokens, request.output_tokens, run.deadline
            )

    async def _stand(self, snapshot: Snapshot, ask: Ask, trace: Trace) -> Standing | None:
        """Finds what a call goes on from: what is kept here is spliced into it, as if its caller had sent it."""
        kept, call = self.services.kept, trace.call
        resumed = kept.content.resume(call, ask.principal) if call.references else None
        if resumed is not None:
            whole = ask.dialect.parse(ask.id, resumed.body, ask.headers, call.received_at)
            call = msgspec.structs.replace(whole, labels=call.labels)
        keeping = kept.content.keeping(call, resumed)
        if keeping is not None:
            call = msgspec.structs.replace(call, keeping=keeping)
        trace.call = call
        if resumed is None and not call.references:
            return None
        standing = await kept.stand(call, ask.principal, snapshot.levels, resumed)
        trace.call = standing.call
        return standing

    def _plan(self, snapshot: Snapshot, ask: Ask, trace: Trace, standing: Standing | None) -> Run:
        services, call, principal = self.services, trace.call, ask.principal
        measurements = services.measurements
        sensitivity = snapshot.classifier.classify(call, principal)
        if standing is not None:
            sensitivity = standing.raised(sensitivity)
        trace.sensitivity = sensitivity
        trace.level_name = snapshot.levels[sensitivity.level]
        now = time.monotonic()
        trace.input_tokens = measurements.input_tokens(call.model, len(call.body))
        request = Request(
            call,
            principal,
            sensitivity,
            input_tokens=trace.input_tokens,
            output_tokens=measurements.expected_output(call.model, call.max_tokens),
            tags=principal.tags,
        )
        view = measurements.view(now, self._draw())
        away = services.breakers.unavailable(snapshot.deployments, now)
        if standing is not None and standing.deployment is not None:
            away = {}  # there is one place to ask: resting or not, it is tried
        plan = self._choose(snapshot, request, view, away)
        if standing is not None:
            plan = standing.pinned(plan)
        trace.plan = plan
        trace.planned_at = now = time.monotonic()
        total_s = plan.candidates[0].timeouts.total_s
        asked_s = call.timeout_s or plan.on_failure.deadline_s or total_s
        run = Run(snapshot, ask.dialect, request, plan, trace, deadline=trace.arrived_at + min(asked_s, total_s))
        run.given = ask.headers
        if call.form is not None:
            _hold_to(call.form, run)
        return run

    def _choose(self, snapshot: Snapshot, request: Request, view: View, resting: Mapping[str, str]) -> Plan:
        unready = self.services.pools.standing.away
        try:
            return snapshot.routing.plan(request, view, {**resting, **unready} if unready else resting)
        except Overloaded as error:
            if resting:
                # Everybody rests: the one that has rested longest is tried rather than fail at once (`least_bad`).
                return self._choose(snapshot, request, view, {})
            if unready:
                error.retry_after_s = self.services.pools.standing.retry_after_s(view.now)
            raise

    async def _answer(self, run: Run, reply: Reply) -> None:
        """Tries candidates until one has answered; a call that is cancelled on the way is booked all the same."""
        try:
            await self._attempt_all(run, reply)
        except asyncio.CancelledError as cancelled:
            await self._ending.cancelled(run, reply, caller_left=cancelled.args == (CALLER_GONE,))
            raise ClientGone from None
        except ClientGone:  # found out by whoever read the rest of its request
            await self._ending.cancelled(run, reply, caller_left=True)
            raise

    async def _count(self, run: Run, reply: Reply) -> None:
        """Has a prompt's tokens counted by the place that would answer it, or estimates them; nothing is paid."""
        plan, trace = run.plan, run.trace
        place = plan.candidates[0]
        if place.counts:
            able = tuple(each for each in plan.candidates if each.counts)
            note = f"{plan.note}, for a count of its tokens".removeprefix(", ")
            run.plan = trace.plan = msgspec.structs.replace(plan, candidates=able, scores=(), note=note)
            trace.input_tokens = 0  # nothing is used, also where this process ends meanwhile
            await self._answer(run, reply)
            return
        if run.call.strict:
            raise BadRequest(f"deployment {place.name!r} counts no tokens, and strict is set", param="model")
        writer = run.dialect.writer(run.call, place.model)
        writer.write(Metered(Usage(fresh_input=trace.input_tokens, estimated=True)))
        body = writer.end()
        trace.warnings = ("input_tokens: estimated from the size of the request",)
        trace.status = 200  # answered by nobody: it would go to the first
        trace.sent_at = time.monotonic()
        self._booking.book(trace)
        headers = [header for header in answer_headers(run, "") if header[0] != b"x-headgate-deployment"]
        await reply.start(200, [*headers, (b"content-length", b"%d" % len(body))])
        await reply.finish(body)

    async def _attempt_all(self, run: Run, reply: Reply) -> None:
        services, trace = self.services, run.trace
        self._route(run)
        breakers, pools = services.breakers, services.pools
        steps = attempts(
            run.plan,
            Unbarred(breakers, pools.barred) if pools.bars else breakers,
            services.retries,
            now=trace.planned_at,
            deadline=run.deadline,
            turn=self._serial,
            in_flight=services.measurements.at_endpoints,
            repeatable=run.call.repeatable,
            order=run.routed.order if run.routed is not None else None,
        )
        error: UpstreamError | None = None
        attempt = next(steps, None)
        while attempt is not None:
            if run.routed is not None:  # before anything is awaited
                run.outcome = ABANDONED
                run.routed.begin(attempt.deployment, attempt.endpoint)
            try:
                if attempt.wait_s:
                    await asyncio.sleep(attempt.wait_s)
                    trace.waited_s += attempt.wait_s
                error = await self._try(run, attempt, reply)
            finally:
                if run.routed is not None:
                    run.routed.end(run.outcome, run.decoder.usage if run.decoder is not None else None)
            try:
                attempt = steps.send(run.outcome)
            except StopIteration:
                break
        if error is None and attempt is not None:
            return
        await self._ending.given_up(run, attempt, error, reply)

    def _route(self, run: Run) -> None:
        """Readies a call that may go to a pool: whose it is, and its way through the replicas."""
        for deployment in run.plan.candidates:
            if deployment.pooled is not None:
                principal = run.trace.principal
                run.call = msgspec.structs.replace(run.call, tenant=principal.team or principal.key)
                spread = partial(in_order, turn=self._serial, in_flight=self.services.measurements.at_endpoints)
                run.routed = Routed(self.services.pools, run.call, _session(run.given), spread)
                return

    async def _try(self, run: Run, attempt: Attempt, reply: Reply) -> UpstreamError | None:
        """Makes one attempt; returns why it failed, or None once the answer has gone out whole."""
        services, trace, deployment = self.services, run.trace, attempt.deployment
        admission, breakers, measurements = services.admission, services.breakers, services.measurements
        adapter = run.snapshot.adapters[deployment.name]
        if wanted := adapter.needs(run.call, deployment):  # before a slot is taken: a slow host holds none
            asked_at = time.monotonic()
            run.fetched = await run.snapshot.media.fetch(wanted, run.fetched, run.deadline)
            trace.waited_s += time.monotonic() - asked_at
        if not admission.try_enter(deployment.name):
            asked_at = time.monotonic()
            tenant = trace.principal.team or trace.principal.key
            try:
                await admission.enter(deployment.name, tenant=tenant, deadline=run.deadline)
            except Overloaded:
                services.telemetry.metrics.count(names.SHED)
                raise
            trace.queued_s += time.monotonic() - asked_at
        began_at = trace.begin(attempt)
        measurements.begin(attempt.endpoint)
        probe = breakers.begin(attempt.endpoint, began_at)
        exchange, error = None, None
        run.outcome = ABANDONED
        try:
            request = encoded(adapter, run.call, deployment, run.dialect, run.fetched)
            if trace.context is not None:
                request = msgspec.structs.replace(request, headers=request.headers + trace.context.headers)
            if attempt.endpoint.signer:
                signed = await services.signers[attempt.endpoint.signer].sign(attempt.endpoint, request)
                request = msgspec.structs.replace(request, headers=request.headers + signed)
            trace.warnings = request.warnings
            if not trace.opened:
                services.ledger.open(trace.opening(attempt), trace.paired(deployment).json)
                trace.opened = True
            # An answer in one piece has no first token to wait for.
            wait_s = attempt.first_token_s if run.call.stream else deployment.timeouts.answer_s
            expires_at = min(began_at + wait_s, run.deadline)
            exchange = await services.transports[attempt.endpoint.transport].send(
                attempt.endpoint, request, deployment.timeouts, expires_at
            )
            if not 200 <= exchange.status < 300:
                raise adapter.fault(exchange.status, exchange.headers, await exchange.read())
            if run.call.opaque:
                run.content_type = _content_type(exchange.headers)
            run.decoder = adapter.decoder(run.call, deployment, run.dialect)
            await relay(run, attempt, exchange, reply, self._ending.whole)
        except UpstreamError as failure:
            error = failure
            self._ending.failed(run, attempt, failure, reply)
        except CallError:
            if spent(run.call):  # a body that broke its own rules when some of it had gone out already
                trace.abandoned(attempt, time.monotonic())
            raise
        finally:
            if exchange is not None:
                exchange.abort()
            admission.leave(deployment.name)
            measurements.end(attempt.endpoint)
            breakers.record(attempt.endpoint, run.outcome, probe)
        return error


def _hold_to(form: Form, run: Run) -> None:
    """Holds the rest of a form to the call's deadline, and to the level that it was placed by."""

    def judge(text: bytes) -> None:
        call = msgspec.structs.replace(run.call, body=text)
        level = run.snapshot.classifier.classify(call, run.trace.principal).level
        if level > run.request.sensitivity.level:
            raise Forbidden(
                f"a field behind the file makes this call {run.snapshot.levels[level]!r}, and it was placed as "
                f"{run.trace.level_name!r}: write the fields before the file"
            )

    form.watch(judge)
    if form.upload is not None:
        form.upload.expires_at = run.deadline


def _session(headers: Headers) -> bytes:
    """Returns what names the conversation, where a header does: vLLM's own."""
    return next((value for name, value in headers if name == b"x-session-id"), b"")


def _content_type(headers: Headers) -> bytes:
    return next((value for name, value in headers if name == b"content-type"), b"application/octet-stream")


def _labelled(call: Call, headers: Headers, names: frozenset[bytes]) -> Call:
    """Adds the headers that this config reads labels from."""
    labels = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers if name in names]
    return msgspec.structs.replace(call, labels=(*call.labels, *labels)) if labels else call
