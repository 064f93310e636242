"""One answer on its way from an upstream to its caller: held until it has begun, booked before its last byte."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from gateway.accounting.trace import Trace
from gateway.core.adapter import Decoder, Fetched
from gateway.core.dialect import Dialect
from gateway.core.errors import CallError, Overloaded, UpstreamError
from gateway.core.money import Usage
from gateway.core.types import Attempt, Call, Deployment, Headers, Outcome, Plan, Request
from gateway.pool.router import Routed
from gateway.snapshot import Snapshot
from gateway.upstream import Exchange

DRAIN_S: Final = 0.5  # how long a whole answer's HTTP end is awaited, so that its connection can be used again
NOTICED_S: Final = 0.01  # a write that takes longer waited for its caller
BYTES_PER_TOKEN: Final = 4  # of output, where no usage came

_EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")
_NOTHING: Final = Outcome(0.0, 0.0)
_NO_MEDIA: Final[Fetched] = {}


class Reply(Protocol):
    """Where an answer goes: a caller's connection, or a flight that several callers follow."""

    started: bool

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None: ...

    @property
    def push(self) -> Callable[[bytes], bool] | None:
        """Writes a piece at once; says False where the next had better be `write`n, which waits for the caller.

        None where nothing can be written without waiting.
        """
        ...

    def write(self, data: bytes) -> Awaitable[None]: ...

    def finish(self, data: bytes) -> Awaitable[None]: ...

    async def break_off(self, error: CallError) -> None:
        """Ends what has begun with an error, in-band."""
        ...


class Run:
    """One call under way: what it is, where it may go, and how its newest attempt stands."""

    __slots__ = (
        "call",
        "content_type",
        "deadline",
        "decoder",
        "dialect",
        "fetched",
        "given",
        "headers",
        "outcome",
        "plan",
        "request",
        "routed",
        "snapshot",
        "trace",
    )

    def __init__(
        self, snapshot: Snapshot, dialect: Dialect, request: Request, plan: Plan, trace: Trace, deadline: float
    ) -> None:
        self.snapshot = snapshot
        self.dialect = dialect
        self.call: Call = request.call
        self.request = request
        self.plan = plan
        self.trace = trace
        self.deadline = deadline  # monotonic seconds
        self.decoder: Decoder | None = None
        self.outcome = _NOTHING
        self.routed: Routed | None = None  # its way through a pool of replicas, where it may go to one
        self.headers: list[tuple[bytes, bytes]] | None = None  # of an answer that goes out through a flight
        self.fetched = _NO_MEDIA
        self.given: Headers = ()  # the headers that its caller sent
        self.content_type: bytes | None = None  # the provider's own, where the answer may be anything

    def deployment(self, name: str) -> Deployment | None:
        """Returns a deployment of this call's config."""
        return next((each for each in self.snapshot.deployments if each.name == name), None)

    def estimated(self) -> Usage:
        """Returns what the call used so far as well as we know it: no provider has said."""
        said = self.decoder.output_bytes if self.decoder is not None else 0
        return Usage(fresh_input=self.request.input_tokens, output_text=-(-said // BYTES_PER_TOKEN), estimated=True)


async def relay(
    run: Run, attempt: Attempt, exchange: Exchange, reply: Reply, whole: Callable[[Run, Attempt], None]
) -> None:
    """Hands an answer on; `whole` is called once it is proven whole, before its last byte leaves.

    Nothing leaves before the first content: an error inside a 200, or an empty stream, can still go elsewhere.
    Raises UpstreamError (StreamCut among them); `reply.started` then says whether content has left.
    """
    flow = _Flow(run, attempt, exchange, reply)
    decoder, trace, held = flow.decoder, run.trace, flow.held
    take: Callable[[bytes], bool] | None = None
    while True:
        data = await exchange.next(take)
        if data is None:
            held += decoder.end()
            break
        if data:
            flow.hear(data)
        if decoder.complete:
            break
        if (held and decoder.started) or not data:
            if not reply.started:
                await reply.start(200, answer_headers(run, attempt.deployment.name))
            began_at = time.monotonic()
            await reply.write(flow.piece())
            taken_s = time.monotonic() - began_at
            if taken_s > NOTICED_S:  # a slow caller is no fault of the upstream's: what it takes is not counted
                exchange.expires_at = min(exchange.expires_at + taken_s, run.deadline)
            if reply.push is not None:
                take = flow.pass_on
    if not trace.first_at:
        trace.first_at = trace.last_at = time.monotonic()
    whole(run, attempt)
    last = flow.piece()
    if not reply.started:
        headers = answer_headers(run, attempt.deployment.name)
        if not run.call.stream:
            headers.append((b"content-length", b"%d" % len(last)))
        await reply.start(200, headers)
    await reply.finish(last)
    if data is not None:
        await _drain(exchange)


class _Flow:
    """What has come of one answer and has not left, and how far the answer has got."""

    __slots__ = (
        "_deadline",
        "_exchange",
        "_idle_s",
        "_progress",
        "_push",
        "_routed",
        "_stream",
        "_trace",
        "decoder",
        "held",
    )

    def __init__(self, run: Run, attempt: Attempt, exchange: Exchange, reply: Reply) -> None:
        assert run.decoder is not None
        self.decoder = run.decoder
        self.held: list[bytes] = []
        self._trace = run.trace
        self._routed = run.routed
        self._exchange = exchange
        self._push = reply.push
        self._idle_s = attempt.deployment.timeouts.idle_s
        self._deadline = run.deadline
        self._stream = run.call.stream
        self._progress = 0

    def hear(self, data: bytes) -> None:
        """Reads what came; content moves the deadline, for the upstream is not silent."""
        decoder, trace, deadline = self.decoder, self._trace, self._deadline
        self.held += decoder.feed(data)
        now = time.monotonic()
        if decoder.progress != self._progress:
            self._progress = decoder.progress
            trace.last_at = now
            if not trace.first_at:
                trace.first_at = now
                if self._routed is not None:
                    self._routed.first_token(now)
        elif self._stream:  # an answer in one piece is silent until it is there, and then comes at once
            return
        expires_at = now + self._idle_s
        self._exchange.expires_at = expires_at if expires_at < deadline else deadline

    def pass_on(self, data: bytes) -> bool:
        """Reads what came and writes it on at once: a chunk goes from socket to socket without waking the task.

        Returns False where the task has to look: the answer is whole, or the caller reads too slowly.
        """
        self.hear(data)
        if self.decoder.complete:
            return False
        return not self.held or (self._push is not None and self._push(self.piece()))

    def piece(self) -> bytes:
        """Returns what is held, which it then is no more."""
        held = self.held
        piece = held[0] if len(held) == 1 else b"".join(held)
        held.clear()
        return piece


async def _drain(exchange: Exchange) -> None:
    """Reads on to the HTTP end of an answer that is whole; what comes late or broken now concerns nobody."""
    exchange.expires_at = time.monotonic() + DRAIN_S
    try:
        while await exchange.next() is not None:
            pass
    except UpstreamError:
        exchange.abort()


def stopping() -> Overloaded:
    """Returns what a caller is told whom a stop of the gateway overtook."""
    return Overloaded("the gateway is stopping", code="stopping", retry_after_s=1.0)


def answer_headers(run: Run, deployment: str, kept: str = "") -> list[tuple[bytes, bytes]]:
    """Returns the head of an answer: its type, who gave it, where the time went (milliseconds), how it was `kept`."""
    trace, now = run.trace, time.monotonic()
    headers = [
        (_EVENTS if run.call.stream else _JSON) if run.content_type is None else (b"content-type", run.content_type),
        (b"x-request-id", run.call.id.encode()),
        (b"x-headgate-decision", run.call.id.encode()),
        (b"x-headgate-deployment", deployment.encode()),
        (
            b"server-timing",
            b"parse;dur=%.2f, policy;dur=%.2f, queue;dur=%.2f, upstream;dur=%.2f, total;dur=%.2f"
            % (
                (trace.parsed_at - trace.arrived_at) * 1e3,
                (trace.planned_at - trace.parsed_at) * 1e3,
                trace.queued_s * 1e3,
                (now - trace.sent_at) * 1e3,
                (now - trace.arrived_at) * 1e3,
            ),
        ),
    ]
    if run.call.stream:
        headers.append((b"cache-control", b"no-cache"))
    if trace.turn is not None:
        headers += trace.turn.headers(now)
    if trace.cache != "-":
        headers.append((b"x-headgate-cache", (kept or trace.cache).encode()))
    if trace.warnings:
        headers.append((b"x-headgate-warnings", "; ".join(trace.warnings).encode("ascii", "replace")))
    return headers
