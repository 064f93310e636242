"""The generator of streams counts right however its bytes are cut: a chunk is lost or merged only where it was."""

from __future__ import annotations

import asyncio

import pytest

from tests.bench.streams import OPENAI, Client, Tally, Wire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Connection(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert data == b"GET"

    def close(self) -> None:
        self.closed = True


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunks(count: int, wire: Wire = OPENAI) -> list[bytes]:
    return [framed(wire.chunk % (1000 + index)) for index in range(count)]


def asked(tally: Tally, expected: int, leave_after: int | None = None) -> tuple[Client, asyncio.Future[None]]:
    client = Client(tally, expected)
    client.connection_made(Connection())
    return client, client.ask(b"GET", leave_after)


async def test_chunks_that_come_one_by_one_are_neither_merged_nor_lost() -> None:
    tally = Tally(counting=True)
    client, done = asked(tally, 3)
    for piece in (HEAD, *chunks(3), framed(OPENAI.last) + END):
        client.data_received(piece)
    assert done.done()
    assert (tally.chunks, tally.merged, tally.lost, tally.failed, tally.streams) == (3, 0, 0, 0, 1)
    assert (len(tally.latencies_ms), len(tally.first_ms), tally.open) == (3, 1, 0)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
async def test_a_cut_anywhere_changes_no_count(size: int) -> None:
    tally = Tally(counting=True)
    client, done = asked(tally, 5)
    client.data_received(HEAD)
    stream = b"".join(chunks(5)) + framed(OPENAI.last) + END
    for start in range(0, len(stream), size):
        client.data_received(stream[start : start + size])
    assert done.done()
    assert (tally.chunks, tally.lost, tally.failed) == (5, 0, 0)


async def test_chunks_that_come_together_are_merged() -> None:
    tally = Tally(counting=True)
    client, _ = asked(tally, 3)
    client.data_received(HEAD + b"".join(chunks(3)))
    assert (tally.chunks, tally.merged, tally.open) == (3, 2, 1)


async def test_a_chunk_that_never_came_is_lost() -> None:
    tally = Tally(counting=True)
    client, done = asked(tally, 3)
    client.data_received(HEAD + b"".join(chunks(2)) + framed(OPENAI.last) + END)
    assert done.done()
    assert (tally.lost, tally.failed) == (1, 0)


async def test_a_stream_that_is_cut_or_refused_or_has_no_end_of_its_own_has_failed() -> None:
    for pieces, lost in (((HEAD, *chunks(1)), True), ((b"HTTP/1.1 503 ", b"no"), True), ((HEAD, END), False)):
        tally = Tally()
        client, done = asked(tally, 1)
        for piece in pieces:
            client.data_received(piece)
        if lost:
            client.connection_lost(None)
        assert done.done()
        assert (tally.failed, tally.open) == (1, 0)


async def test_a_client_that_hangs_up_has_not_failed() -> None:
    tally = Tally()
    client, done = asked(tally, 9, leave_after=2)
    client.data_received(HEAD + b"".join(chunks(2)))
    client.connection_lost(None)
    assert done.done()
    assert client.transport.closed
    assert (tally.failed, tally.streams, tally.lost) == (0, 0, 0)
