"""Callers that leave, half leave, or stop reading: nothing of theirs stays."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from gateway.core.errors import CALLER_GONE
from gateway.door.exchange import Exchange
from gateway.door.protocol import DoorProtocol
from tests.patience import promptly, until

from .conftest import get, post

WAYS = ["half_close", "reset", "close"]
GONE = f"cancelled: {CALLER_GONE}"


def leave(caller, way: str) -> None:
    getattr(caller, way)()


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_that_leaves_while_it_waits_cancels_its_call(door, way):
    async def go() -> float:
        caller = await door.call(post("/hang", b"hello"))
        await until(lambda: door.counts["hanging"] > door.counts[GONE])
        leave(caller, way)
        began = time.monotonic()
        await until(lambda: door.counts["hanging"] == door.counts[GONE])
        return time.monotonic() - began

    await promptly(go, 0.1)
    await door.emptied()


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_that_leaves_in_the_middle_of_its_answer_cancels_its_call(door, way):
    caller = await door.call(get("/stream?1000000x1000"))
    await caller.head()
    leave(caller, way)
    await until(lambda: door.counts["stream cancelled"] == 1)
    await door.emptied()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "data",
    [b"", b"\r\n", b"PO", post("/echo", b"hello")[:30], post("/echo", b"hello")[:-5], post("/echo", b"hello")[:-1]],
    ids=["nothing", "an empty line", "a method", "a head", "between head and body", "a body"],
)
async def test_a_caller_that_leaves_before_its_request_is_whole_leaves_nothing(door, way, data):
    caller = await door.call(data)
    await asyncio.sleep(0.01)
    leave(caller, way)
    await door.emptied()
    assert door.bodies == []


@pytest.mark.parametrize("way", WAYS)
async def test_a_caller_that_leaves_right_behind_its_request_may_be_too_late_but_leaves_nothing(door, way):
    for _ in range(50):
        leave(await door.call(post("/echo", b"hello")), way)
        leave(await door.call(post("/hang", b"hello")), way)
    await door.emptied()
    assert door.counts[GONE] == door.counts["hanging"]


@pytest.mark.parametrize("way", WAYS)
async def test_requests_that_wait_behind_the_one_being_answered_go_with_their_caller(door, way):
    caller = await door.call(get("/hang") + get("/echo") * 5)
    await until(lambda: door.counts["hanging"] == 1)
    await asyncio.sleep(0.02)
    leave(caller, way)
    await until(lambda: door.counts[GONE] == 1)
    await door.emptied()
    assert door.scopes == []


async def test_a_call_that_is_cancelled_before_its_first_step_is_not_kept(door):
    """Data and end can come in one turn of the loop: then the task never runs, nor anything within it."""
    state = door.server.server_state
    connections = state.connections
    caller = await door.call()
    await until(lambda: len(connections) == 1)
    (connection,) = connections
    connection.data_received(get("/hang"))
    assert len(state.tasks) == 1
    connection.connection_lost(None)
    assert not state.tasks
    caller.close()
    await asyncio.sleep(0.05)
    assert door.counts["hanging"] == 0
    connections.discard(connection)


async def test_rounds_of_every_way_to_leave_leave_no_object_behind(door):
    async def round() -> None:
        for way in WAYS:
            for data in (b"", b"GET /e", post("/hang", b"a"), post("/hang", b"a" * 9)[:-3], get("/stream?9x9") * 3):
                caller = await door.call(data)
                await asyncio.sleep(0)
                leave(caller, way)
        await door.emptied()
        for caller in door.callers:
            caller.close()
        door.callers.clear()

    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, DoorProtocol | Exchange | asyncio.Task) for each in gc.get_objects())

    await round()
    before = alive()
    for _ in range(10):
        await round()
    assert alive() <= before


async def test_a_connection_that_is_lost_is_freed_without_the_collector(door):
    gc.collect()
    gc.disable()
    try:
        caller = await door.call(get("/echo"))
        await caller.answer()
        assert sum(isinstance(each, DoorProtocol) for each in gc.get_objects()) == 1
        caller.reset()
        await door.emptied()
        await until(lambda: not any(isinstance(each, DoorProtocol | Exchange) for each in gc.get_objects()))
    finally:
        gc.enable()


async def test_a_caller_that_stops_reading_stops_the_writer_and_is_cut_off(open_door):
    door = await open_door(write_timeout_s=0.4)
    caller = await door.call(get("/stream?100000x10000"), receive_bytes=4096)
    await until(lambda: door.counts["pieces"] > 0)
    await asyncio.sleep(0.15)
    pieces = door.counts["pieces"]
    await asyncio.sleep(0.1)
    assert door.counts["pieces"] == pieces
    assert pieces <= 30  # 300 KB: 64 KiB of ours, as much unsent in the kernel, and what is on its way
    await until(lambda: door.counts["stream cancelled"] == 1)
    await door.emptied()
    caller.close()


async def test_a_caller_that_reads_slowly_but_reads_is_waited_for(open_door):
    door = await open_door(write_timeout_s=0.6)
    caller = await door.call(get("/stream?40x100000"), receive_bytes=65536)
    await caller.head()
    got = 0
    async for piece in caller.chunks():
        got += len(piece)
        await asyncio.sleep(0.03)
    assert got == 4_000_000


async def test_an_answer_that_nobody_reads_does_not_hold_a_closing_connection(open_door):
    door = await open_door(write_timeout_s=0.3, idle_timeout_s=0.2)
    # One write, larger than what the kernel takes: the answer is done for its handler, not for its caller.
    callers = [
        await door.call(get("/stream?1x9000000"), receive_bytes=4096),
        await door.call(get("/stream?1x9000000", "Connection: close"), receive_bytes=4096),
    ]
    await until(lambda: door.counts["pieces"] == 2)
    await door.emptied()
    for caller in callers:
        caller.close()


async def test_an_application_that_waits_for_the_caller_to_leave_is_told(door):
    caller = await door.call(post("/listen", b"hello"))
    await until(lambda: door.counts["messages"] == 1)
    caller.close()
    await door.emptied()
    assert door.counts["messages"] == 1


async def test_two_thousand_idle_connections_are_reaped_while_others_are_served(open_door):
    door = await open_door(head_timeout_s=60)
    begins = [b"", b"GET /echo HTTP/1.1\r\nHost: lo", post("/echo", b"hello")[:-3]]
    for index in range(2000):
        await door.call(begins[index % 3])
    connections = door.server.server_state.connections
    await until(lambda: len(connections) == 2000)
    for index, each in enumerate(connections):
        each.read_by = time.monotonic() + index / 4000  # as if they had come a minute ago, one after the other
    served = await door.call()
    while len(connections) > 700:
        await served.send(get("/echo"))
        assert (await served.answer()).status == 200
        await asyncio.sleep(0.02)
    for caller in door.callers:
        caller.close()
    await door.emptied()
