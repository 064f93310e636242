"""Single flight: one goes upstream, all are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from gateway.cache import Entry, Flight, Flights, Head, Passenger
from gateway.core.errors import BadRequest, CallError, Overloaded, Unanswered
from gateway.core.money import Usage
from gateway.core.types import Call

PERMITTED = frozenset({"here"})
STREAM = Call("c", "chat", "chat", b"", stream=True)
UNARY = Call("c", "chat", "chat", b"")


def landing(flight: Flight) -> Entry:
    return Entry(b"k", flight.gathered() or b"", True, "here", Usage(fresh_input=3), 7, "stop", 1000.0)


class Upstream:
    """Flies answers of a few pieces; each step waits for `go`, each start is counted."""

    def __init__(self, *pieces: bytes, error: BaseException | None = None, failing: int = 0) -> None:
        self.pieces = pieces or (b"one ", b"two ", b"three")
        self.error = error
        self.failing = failing
        self.started = 0
        self.cancelled = 0
        self.finished = 0
        self.steps = asyncio.Semaphore(0)

    def go(self, steps: int = 100) -> None:
        for _ in range(steps):
            self.steps.release()

    async def lead(self, flight: Flight) -> None:
        self.started += 1
        try:
            await self.steps.acquire()
            if self.error is not None and self.started <= self.failing:
                raise self.error
            flight.begin(Head("here", True))
            for piece in self.pieces:
                await self.steps.acquire()
                await flight.publish(piece)
            flight.land(landing(flight))
            await self.steps.acquire()
            self.finished += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def fly(flights: Flights, lead: Callable[[Flight], Coroutine[None, None, None]], call: Call = STREAM) -> bytes:
    async with flights.board(b"k", PERMITTED, lead) as passenger:
        return await read(passenger, call)


async def read(passenger: Passenger, call: Call) -> bytes:
    _, body = await passenger.begun(call)
    if body is None:
        body = b"".join([piece async for piece in passenger.pieces()])
    assert passenger.entry is not None
    assert passenger.entry.cost_nano == 7
    return body


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_identical_calls_in_flight_go_upstream_once() -> None:
    flights, upstream = Flights(), Upstream()
    tasks = [asyncio.create_task(fly(flights, upstream.lead)) for _ in range(20)]
    await settle()
    upstream.go()
    assert set(await asyncio.gather(*tasks)) == {b"one two three"}
    assert upstream.started == 1
    await settle()
    assert len(flights) == 0


async def test_a_late_follower_gets_the_beginning_at_once_and_the_rest_as_it_comes() -> None:
    flights, upstream = Flights(), Upstream()
    first = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    upstream.go(3)
    await settle()
    async with flights.board(b"k", PERMITTED, upstream.lead) as late:
        assert not late.leads
        assert await late.begun(STREAM) == (Head("here", True), None)
        pieces = late.pieces()
        assert await anext(pieces) == b"one two "
        upstream.go()
        assert await anext(pieces) == b"three"
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
    assert await first == b"one two three"


async def test_each_piece_arrives_by_itself_while_the_reader_keeps_up() -> None:
    flights, upstream = Flights(), Upstream()
    async with flights.board(b"k", PERMITTED, upstream.lead) as passenger:
        assert passenger.leads
        got = []
        upstream.go(1)
        await passenger.begun(STREAM)
        pieces = passenger.pieces()
        for _ in range(3):
            upstream.go(1)
            got.append(await anext(pieces))
    assert got == [b"one ", b"two ", b"three"]


async def test_a_caller_that_wants_another_form_waits_for_the_whole() -> None:
    flights, upstream = Flights(), Upstream()
    first = asyncio.create_task(fly(flights, upstream.lead))
    other = asyncio.create_task(fly(flights, upstream.lead, UNARY))
    usage = asyncio.create_task(
        fly(flights, upstream.lead, Call("c", "chat", "chat", b"", stream=True, include_usage=True))
    )
    await settle()
    upstream.go(3)
    await settle()
    assert not other.done()
    upstream.go()
    assert {await first, await other, await usage} == {b"one two three"}
    assert upstream.started == 1


async def test_a_cancelled_leader_with_followers_goes_on() -> None:
    flights, upstream = Flights(), Upstream()
    leader = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    follower = asyncio.create_task(fly(flights, upstream.lead))
    upstream.go(2)
    await settle()
    leader.cancel()
    await settle()
    upstream.go()
    assert await follower == b"one two three"
    assert (upstream.started, upstream.cancelled, upstream.finished) == (1, 0, 1)


async def test_when_the_last_passenger_leaves_the_upstream_is_cancelled() -> None:
    flights, upstream = Flights(), Upstream()
    both = [asyncio.create_task(fly(flights, upstream.lead)) for _ in range(2)]
    await settle()
    upstream.go(2)
    await settle()
    both[0].cancel()
    await settle()
    assert upstream.cancelled == 0
    both[1].cancel()
    await settle()
    assert upstream.cancelled == 1
    assert len(flights) == 0


async def test_who_comes_as_the_last_passenger_leaves_is_flown_anew() -> None:
    flights, upstream = Flights(), Upstream()
    alone = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    upstream.go(2)
    await settle()  # the first piece is out
    alone.cancel()
    await asyncio.sleep(0)  # it has left; its flight is cancelled, and has not come to hear of it
    assert upstream.cancelled == 0
    late = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    upstream.go()
    assert await late == b"one two three"
    assert (upstream.started, upstream.cancelled) == (2, 1)


async def test_what_follows_the_landing_outlives_the_passengers_and_is_still_boarded() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.go(4)
    assert await fly(flights, upstream.lead) == b"one two three"
    assert (upstream.finished, upstream.cancelled) == (0, 0)
    assert await fly(flights, upstream.lead) == b"one two three"
    assert upstream.started == 1
    upstream.go()
    await settle()
    assert upstream.finished == 1
    upstream.go()
    assert await fly(flights, upstream.lead) == b"one two three"
    assert upstream.started == 2


async def test_if_the_leader_fails_one_follower_takes_over() -> None:
    flights, upstream = Flights(), Upstream(error=Unanswered("all failed", status=504), failing=1)
    leader = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    followers = [asyncio.create_task(fly(flights, upstream.lead)) for _ in range(10)]
    await settle()
    upstream.go()
    with pytest.raises(Unanswered):
        await leader
    assert set(await asyncio.gather(*followers)) == {b"one two three"}
    assert upstream.started == 2


async def test_a_second_failure_is_told_to_all_rather_than_tried_by_each() -> None:
    flights, upstream = Flights(), Upstream(error=Unanswered("all failed", status=502), failing=99)
    tasks = [asyncio.create_task(fly(flights, upstream.lead)) for _ in range(10)]
    await settle()
    upstream.go()
    assert all(isinstance(told, Unanswered) for told in await asyncio.gather(*tasks, return_exceptions=True))
    assert upstream.started == 2


@pytest.mark.parametrize("error", [BadRequest("no"), Unanswered("too long", status=400)])
async def test_the_callers_own_fault_is_told_to_all_at_once(error: CallError) -> None:
    flights, upstream = Flights(), Upstream(error=error, failing=99)
    tasks = [asyncio.create_task(fly(flights, upstream.lead)) for _ in range(5)]
    await settle()
    upstream.go()
    assert set(await asyncio.gather(*tasks, return_exceptions=True)) == {error}
    assert upstream.started == 1


async def test_a_cut_after_the_beginning_is_told_to_those_who_have_read_it_and_flown_again_for_who_has_not() -> None:
    flights, starts = Flights(), 0

    async def cut_at_first(flight: Flight) -> None:
        nonlocal starts
        starts += 1
        flight.begin(Head("here", starts == 1))
        await flight.publish(b"half")
        await asyncio.sleep(0.01)
        if starts == 1:
            raise Unanswered("cut")
        flight.land(landing(flight))

    live = [asyncio.create_task(fly(flights, cut_at_first)) for _ in range(2)]
    whole = asyncio.create_task(fly(flights, cut_at_first, UNARY))
    told = await asyncio.gather(*live, return_exceptions=True)
    assert [str(error) for error in told] == ["cut", "cut"]
    assert await whole == b"half"


async def test_who_may_not_go_there_does_not_fly_along() -> None:
    flights, upstream = Flights(), Upstream()
    upstream.go()
    async with (
        flights.board(b"k", PERMITTED, upstream.lead) as one,
        flights.board(b"k", frozenset({"there"}), upstream.lead) as two,
        flights.board(b"other", PERMITTED, upstream.lead) as three,
    ):
        assert one.leads
        assert two.leads
        assert three.leads


async def test_memory_is_bounded_and_the_slowest_reader_slows_the_upstream() -> None:
    flights, upstream = Flights(max_bytes=1000), Upstream(*[b"x" * 400] * 50)
    upstream.go(1000)
    async with flights.board(b"k", PERMITTED, upstream.lead) as slow:
        await slow.begun(STREAM)
        await settle()
        flight = slow._flight
        assert flight.published == 3
        async with flights.board(b"k", PERMITTED, upstream.lead) as other:
            assert other.leads, "a flight past its bound takes no new passengers"
        got = 0
        async for piece in slow.pieces():
            got += len(piece)
            await settle()
            assert flight.published * 400 - got <= 1000 + 400
        assert got == 50 * 400
        assert flight.gathered() is None
        assert slow.entry is not None
        assert slow.entry.body == b""


async def test_who_waits_for_a_whole_that_passes_the_bound_flies_alone() -> None:
    flights, starts = Flights(max_bytes=100), []

    def lead_in(streamed: bool) -> Callable[[Flight], Coroutine[None, None, None]]:
        async def lead(flight: Flight) -> None:
            starts.append(streamed)
            flight.begin(Head("here", streamed))
            for _ in range(4):
                await flight.publish(b"x" * 60)
                await asyncio.sleep(0)
            flight.land(landing(flight))

        return lead

    live = asyncio.create_task(fly(flights, lead_in(True)))
    await asyncio.sleep(0)
    whole = asyncio.create_task(fly(flights, lead_in(False), UNARY))
    assert await live == b"x" * 240
    assert await whole == b"x" * 240
    assert starts == [True, False]


async def test_an_unforeseen_error_reaches_the_caller_and_a_lead_must_land() -> None:
    async def breaks(flight: Flight) -> None:
        raise ZeroDivisionError

    async def forgets(flight: Flight) -> None:
        flight.begin(Head("here", True))

    with pytest.raises(ZeroDivisionError):
        await fly(Flights(), breaks)
    with pytest.raises(RuntimeError, match="without landing"):
        await fly(Flights(), forgets)


async def test_closing_ends_every_flight_and_tells_its_passengers() -> None:
    flights, upstream = Flights(), Upstream()
    task = asyncio.create_task(fly(flights, upstream.lead))
    await settle()
    await flights.close()
    with pytest.raises(Overloaded, match="stopping"):
        await task
    assert upstream.cancelled == 1
