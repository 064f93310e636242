"""Answers that are shared: kept ones replayed, and one flight for identical calls under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from gateway.accounting.trace import Trace
from gateway.cache import Entry, Flight, Flights, Head, Passenger, Terms
from gateway.core.errors import CALLER_GONE, CallError, ClientGone, Reason
from gateway.core.money import Usage
from gateway.relay import Reply, Run, answer_headers, stopping

Fresh = Callable[[Run, Reply], Awaitable[None]]
Reserve = Callable[[Run], None]
Book = Callable[[Trace], None]


class FlightReply:
    """The pipeline's side of a flight: what is written here, every passenger reads."""

    def __init__(self, run: Run, key: bytes, flight: Flight) -> None:
        self.started = False
        self.push = None  # whoever publishes waits for the slowest passenger
        self._run = run
        self._key = key
        self._flight = flight

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begins the answer; these headers are for the caller that flies, the others have their own."""
        self.started = True
        run = self._run
        run.headers = headers
        attempting = run.trace.attempting
        assert attempting is not None
        self._flight.begin(Head(attempting.deployment.name, run.call.stream, run.call.include_usage))

    async def write(self, data: bytes) -> None:
        """Publishes a piece."""
        await self._flight.publish(data)

    async def finish(self, data: bytes) -> None:
        """Publishes the last piece, and lands."""
        if data:
            await self._flight.publish(data)
        trace = self._run.trace
        assert trace.answered_by is not None
        self._flight.land(
            Entry(
                key=self._key,
                body=self._flight.gathered() or b"",
                streamed=self._run.call.stream,
                deployment=trace.answered_by.name,
                usage=trace.usage or Usage(),
                cost_nano=trace.cost.nano_usd if trace.cost is not None else 0,
                finish=trace.finish,
                created=time.time(),
            )
        )

    async def break_off(self, error: CallError) -> None:
        """Ends what has begun with an error, for every passenger."""
        self._flight.fail(error)


class CachedAnswers:
    """Answers cacheable calls: from what is kept, from a flight under way, or by a fresh flight of its own."""

    def __init__(self, flights: Flights, reserve: Reserve, fresh: Fresh, book: Book) -> None:
        self._flights = flights
        self._reserve = reserve
        self._fresh = fresh
        self._book = book

    async def answer(self, run: Run, terms: Terms, reply: Reply) -> None:
        """Answers one call; raises CallError, and ClientGone where its caller left."""
        cache = run.snapshot.cache
        key = cache.key(run.request, run.plan, run.snapshot.epoch)
        if key is None:
            self._reserve(run)
            await self._fresh(run, reply)
            return
        entry = await cache.lookup(key, run.plan, terms, time.time())
        if entry is not None:
            await self._replay(run, entry, reply)
            return
        run.trace.cache = "miss"
        self._reserve(run)  # who follows, too: it may be for him to fly yet, and what he holds is his own budgets'
        run.trace.sent_at = time.monotonic()

        async def lead(flight: Flight) -> None:
            try:
                await self._fresh(run, FlightReply(run, key, flight))
            except CallError as error:
                if not run.trace.booked:  # its caller may have left those who follow alone with it
                    run.trace.status, run.trace.reason = error.status, run.trace.reason or error.word
                    self._book(run.trace)
                raise
            if flight.entry is not None and flight.entry.body:
                await cache.keep(flight.entry, run.call.endpoint)

        async with self._flights.board(key, run.plan.permitted, lead) as passenger:
            try:
                await self._ride(run, passenger, reply)
            except CallError as error:
                if not reply.started:
                    raise
                self._book_ride(run, passenger, 200, error.word)
                await reply.break_off(error)
            except asyncio.CancelledError as cancelled:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                caller_left = cancelled.args == (CALLER_GONE,)
                self._book_ride(run, passenger, 499 if caller_left else 503, Reason.CANCELLED.value)
                if caller_left:
                    raise ClientGone from None
                if not reply.started:
                    raise stopping() from None
                await reply.break_off(stopping())

    async def _ride(self, run: Run, passenger: Passenger, reply: Reply) -> None:
        """Reads a flight to its end, live where its form is this caller's, replayed where it is not."""
        call = run.call
        head, body = await passenger.begun(call)
        if not passenger.leads:
            run.trace.cache = "hit"
            run.trace.answered_by = run.deployment(head.deployment)
            run.trace.first_at = time.monotonic()
        headers = run.headers if run.headers is not None else answer_headers(run, head.deployment, "hit; age=0")
        if body is not None:
            used = passenger.entry.usage if passenger.entry is not None else None
            body = run.dialect.replay(body, head.streamed, call, used)
        elif not call.stream:
            body = b"".join([piece async for piece in passenger.pieces()])
        if body is not None:
            self._book_ride(run, passenger, 200, None)
            await _send_whole(reply, headers, body, call.stream)
            return
        await reply.start(200, headers)
        async for piece in passenger.pieces():
            if passenger.entry is not None:  # it has landed, and this was the rest of it
                self._book_ride(run, passenger, 200, None)
                await reply.finish(piece)
                return
            await reply.write(piece)
        self._book_ride(run, passenger, 200, None)
        await reply.finish(b"")

    async def _replay(self, run: Run, entry: Entry, reply: Reply) -> None:
        """Answers with a kept answer, in the form that this caller asked for."""
        trace, call = run.trace, run.call
        body = entry.body
        if entry.streamed or call.stream:
            body = run.dialect.replay(body, entry.streamed, call, entry.usage)
        trace.cache, trace.saved_nano, trace.finish = "hit", entry.cost_nano, entry.finish
        trace.status, trace.answered_by = 200, run.deployment(entry.deployment)
        trace.sent_at = trace.first_at = trace.last_at = time.monotonic()
        self._book(trace)
        age_s = max(0, int(time.time() - entry.created))
        await _send_whole(reply, answer_headers(run, entry.deployment, f"hit; age={age_s}"), body, call.stream)

    def _book_ride(self, run: Run, passenger: Passenger, status: int, reason: str | None) -> None:
        """Books a follower's receipt; that of the caller that flies is booked by its flight."""
        trace, entry = run.trace, passenger.entry
        if trace.booked:
            return
        if passenger.leads:
            trace.status = status  # which the flight books where it ends with this
            return
        trace.status, trace.reason, trace.last_at = status, reason, time.monotonic()
        if entry is not None:
            trace.finish, trace.saved_nano = entry.finish, entry.cost_nano
        self._book(trace)


async def _send_whole(reply: Reply, headers: list[tuple[bytes, bytes]], body: bytes, streamed: bool) -> None:
    headers = [header for header in headers if header[0] != b"content-length"]
    if not streamed:
        headers.append((b"content-length", b"%d" % len(body)))
    await reply.start(200, headers)
    await reply.finish(body)
