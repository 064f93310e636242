"""Answers that are shared: kept ones replayed, and one flight for identical calls under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from gateway.accounting.trace import Trace
from gateway.cache import Entry, Flight, Flights, Head, Passenger, Terms
from gateway.core.errors import CallError, ClientGone, Reason
from gateway.core.money import Usage
from gateway.relay import Reply, Run, typed

Fresh = Callable[[Run, Reply], Awaitable[None]]
Book = Callable[[Trace], None]


class FlightReply:
    """The pipeline's side of a flight: what is written here, every passenger reads."""

    def __init__(self, run: Run, flight: Flight) -> None:
        self.started = False
        self._run = run
        self._flight = flight
        self._pieces: list[bytes] = []

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begins the answer; the head goes to the first caller alone, who asked for it."""
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
        self._flight.land()

    async def break_off(self, error: CallError) -> None:
        """Ends what has begun with an error, for every passenger."""
        self._flight.fail(error)


class CachedAnswers:
    """Answers cacheable calls: from what is kept, from a flight under way, or by a fresh flight of its own."""

    def __init__(self, flights: Flights, fresh: Fresh, book: Book) -> None:
        self._flights = flights
        self._fresh = fresh
        self._book = book

    async def answer(self, run: Run, terms: Terms, reply: Reply) -> None:
        """Answers one call; raises CallError, and ClientGone where its caller left."""
        cache = run.snapshot.cache
        key = cache.key(run.request, run.plan, run.snapshot.epoch)
        if key is None:
            await self._fresh(run, reply)
            return
        entry = await cache.lookup(key, run.plan, terms, time.time())
        if entry is not None:
            await self._replay(run, entry, reply)
            return
        run.trace.cache = "miss"

        async def lead(flight: Flight) -> None:
            await self._fresh(run, FlightReply(run, flight))
            await self._keep(run, key, flight)

        async with self._flights.board(key, run.plan.permitted, lead) as passenger:
            try:
                await self._ride(run, passenger, reply)
            except CallError as error:
                if not reply.started:
                    raise
                self._booked(run, passenger, 200, error.code)
                await reply.break_off(error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None:
                    task.uncancel()
                self._booked(run, passenger, 499, Reason.CANCELLED.value)
                raise ClientGone from None

    async def _ride(self, run: Run, passenger: Passenger, reply: Reply) -> None:
        head = await passenger.head()
        call = run.call
        if passenger.leads:
            assert run.headers is not None
            headers = run.headers
        else:
            run.trace.cache = "hit"
            headers = _headers(run, head.deployment, "hit; age=0")
        if not head.fits(call):
            _, body = await passenger.whole()
            body = run.dialect.replay(body, head.streamed, call)
            self._booked(run, passenger, 200, None)
            await _send_whole(reply, headers, body, call.stream)
            return
        if call.stream:
            await reply.start(200, headers)
            async for piece in passenger.pieces():
                if passenger.arrived:
                    self._booked(run, passenger, 200, None)
                    await reply.finish(piece)
                    return
                await reply.write(piece)
            self._booked(run, passenger, 200, None)
            await reply.finish(b"")
            return
        body = b"".join([piece async for piece in passenger.pieces()])
        self._booked(run, passenger, 200, None)
        await _send_whole(reply, headers, body, streamed=False)

    async def _replay(self, run: Run, entry: Entry, reply: Reply) -> None:
        """Answers with a kept answer, in the form that this caller asked for."""
        trace, call = run.trace, run.call
        body = entry.body
        if entry.streamed or call.stream:
            body = run.dialect.replay(body, entry.streamed, call)
        trace.cache, trace.saved_nano, trace.finish = "hit", entry.cost_nano, entry.finish
        trace.status, trace.answered_by = 200, run.deployment(entry.deployment)
        trace.first_at = trace.last_at = time.monotonic()
        self._book(trace)
        age_s = max(0, int(time.time() - entry.created))
        await _send_whole(reply, _headers(run, entry.deployment, f"hit; age={age_s}"), body, call.stream)

    async def _keep(self, run: Run, key: bytes, flight: Flight) -> None:
        trace = run.trace
        if trace.status != 200 or trace.reason is not None or flight.body is None or trace.answered_by is None:
            return
        entry = Entry(
            key=key,
            body=flight.body,
            streamed=run.call.stream,
            deployment=trace.answered_by.name,
            usage=trace.usage or Usage(),
            cost_nano=trace.cost.nano_usd if trace.cost is not None else 0,
            finish=trace.finish,
            created=time.time(),
        )
        await run.snapshot.cache.keep(entry, run.call.endpoint)

    def _booked(self, run: Run, passenger: Passenger, status: int, reason: str | None) -> None:
        """Books a follower's receipt; the first caller's is booked by the flight."""
        trace = run.trace
        if passenger.leads or trace.booked:
            return
        trace.status, trace.reason = status, reason
        self._book(trace)


def _headers(run: Run, deployment: str, cache: str) -> list[tuple[bytes, bytes]]:
    id = run.call.id.encode()
    return [
        typed(run.call),
        (b"x-request-id", id),
        (b"x-headgate-decision", id),
        (b"x-headgate-deployment", deployment.encode()),
        (b"x-headgate-cache", cache.encode()),
    ]


async def _send_whole(reply: Reply, headers: list[tuple[bytes, bytes]], body: bytes, streamed: bool) -> None:
    headers = [header for header in headers if header[0] != b"content-length"]
    if not streamed:
        headers.append((b"content-length", b"%d" % len(body)))
    await reply.start(200, headers)
    await reply.finish(body)
