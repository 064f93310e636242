"""A flight that has landed and not yet ended: who may still board it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.cache import Entry, Flight, Flights, Head
from gateway.core.money import Usage
from gateway.core.types import Call


@pytest.mark.parametrize(("finish", "flown"), [("stop", 1), (None, 1), ("content_filter", 2), ("error", 2)])
async def test_only_an_answer_worth_sharing_is_boarded_after_it_landed(finish: str | None, flown: int) -> None:
    flights, leads, over = Flights(), [], asyncio.Event()

    async def lead(flight: Flight) -> None:
        leads.append(flight)
        flight.begin(Head("only", streamed=False))
        await flight.publish(b"answer")
        flight.land(Entry(b"key", b"answer", False, "only", Usage(), 0, finish, 0.0))
        await over.wait()  # as while the upstream's HTTP end is awaited

    for _ in range(2):
        async with flights.board(b"key", frozenset({"only"}), lead) as passenger:
            await passenger.begun(Call("call", "chat", "chat", b""))
            assert [piece async for piece in passenger.pieces()] == [b"answer"]
    assert len(leads) == flown
    over.set()
    await flights.close()
