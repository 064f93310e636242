"""What one connection may cost: bytes and lines of a head, bytes of a body, and the time for either."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import resource
import time

import pytest

from gateway.door import protocol
from tests.patience import until

from .conftest import LINGER_S, MAX_BODY_BYTES, get, post

CHUNKED = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 16 * 1024


def padded(size: int, lines: int = 1) -> bytes:
    """Returns a GET whose head has that many bytes, in that many more header lines."""
    head = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n"
    room = size - len(head) - 2
    line = room // lines
    rest = room - line * (lines - 1)
    sizes = [line] * (lines - 1) + [rest]
    return head + b"".join(b"A: " + b"a" * (each - 5) + b"\r\n" for each in sizes) + b"\r\n"


# -- heads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 90])
async def test_a_head_of_ten_thousand_bytes_is_taken(door, lines):
    head = padded(10_000, lines)
    assert len(head) == 10_000
    caller = await door.call(head)
    assert (await caller.answer()).status == 200


@pytest.mark.parametrize("lines", [1, 90])
@pytest.mark.parametrize("piece", [LIMIT * 2, 1000, 7])
async def test_a_head_at_the_limit_is_taken_and_a_byte_more_is_not(open_door, lines, piece):
    door = await open_door(head_bytes=LIMIT)
    for size, status in ((LIMIT, 200), (LIMIT + 1, 431)):
        head = padded(size, lines)
        caller = await door.call()
        for start in range(0, len(head), piece):
            await caller.send(head[start : start + piece])
            await asyncio.sleep(0)
        answer = await caller.answer()
        assert answer.status == status
        caller.close()
    assert answer.error["code"] == "headers_too_large"
    assert answer.headers["connection"] == "close"
    await door.emptied()


async def test_a_head_at_the_limit_may_have_a_body_in_the_same_segment(open_door):
    door = await open_door(head_bytes=LIMIT)
    head = padded(LIMIT - 24).replace(b"GET", b"POST")[:-2] + b"Content-Length: 50000\r\n\r\n"
    assert len(head) == LIMIT
    caller = await door.call(head + b"a" * 50_000 + get("/echo"))
    assert (await caller.answer()).status == 200
    assert (await caller.answer()).status == 200
    assert [len(body) for body in door.bodies] == [50_000, 0]


async def test_a_head_behind_other_requests_is_counted_from_its_own_beginning(open_door):
    door = await open_door(head_bytes=LIMIT)
    caller = await door.call()
    for before in (
        post("/echo", b"a" * (LIMIT - 100)),
        get("/echo") * 10,
        CHUNKED + b"0\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
    ):
        head = padded(LIMIT)
        for cut in (1, 100, LIMIT - 1):
            await caller.send(before + head[:cut])
            await asyncio.sleep(0.02)
            await caller.send(head[cut:])
            for _ in range(11 if before.startswith(b"GET") else 2):
                assert (await caller.answer()).status == 200


async def test_a_header_that_never_ends_is_refused_at_the_limit(open_door):
    door = await open_door(head_bytes=LIMIT)
    caller = await door.call(b"GET /echo HTTP/1.1\r\nA: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            await caller.send(b"a" * 1000)
    answers = await caller.answers()
    assert [answer.status for answer in answers] == [431]
    await door.emptied()


@pytest.mark.parametrize(("lines", "status"), [(99, 200), (100, 431), (4000, 431)])
async def test_the_lines_of_a_head_are_bounded(door, lines, status):
    caller = await door.call(get("/echo", *["A: b"] * lines))
    assert (await caller.answer()).status == status


async def test_a_target_that_is_too_long_is_told_so(open_door):
    door = await open_door(head_bytes=LIMIT)
    caller = await door.call(get("/" + "a" * LIMIT))
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (414, "uri_too_long")
    caller = await door.call(get("/" + "a" * (LIMIT - 100)))
    answer = await caller.answer()
    assert answer.status == 404
    assert len(answer.body) < 1000


@pytest.mark.parametrize(
    "flood",
    [b"1;" + b"a" * 1000, b"0\r\n" + b"A: b\r\n" * 200, b"0\r\nA: " + b"a" * 1000],
    ids=["a chunk extension", "trailers", "a trailer"],
)
async def test_what_is_neither_head_nor_body_is_bounded(open_door, flood):
    door = await open_door(head_bytes=LIMIT)
    caller = await door.call(CHUNKED + flood)
    more = flood[-6:] * 200
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            await caller.send(more)
    answers = await caller.answers()
    assert [answer.status for answer in answers] == [431]
    assert door.bodies == []
    await door.emptied()


async def test_many_small_chunks_are_a_body_like_another(open_door):
    door = await open_door(head_bytes=LIMIT)
    body = bytes(range(256)) * 400
    began = time.process_time()
    caller = await door.call(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    assert (await caller.answer()).status == 200
    assert door.bodies == [body]
    # Quadratic work on its pieces took minutes.
    assert time.process_time() - began < 5


# -- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, MAX_BODY_BYTES - 1, MAX_BODY_BYTES])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_up_to_the_limit_is_taken(door, size, chunked):
    body = bytes(index % 251 for index in range(size))
    if chunked:
        pieces = (body[start : start + 5000] for start in range(0, size, 5000))
        data = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        data = post("/echo", body)
    caller = await door.call(data)
    answer = await caller.answer()
    assert answer.status == 200
    assert hashlib.sha256(body).hexdigest().encode() in answer.body


async def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(door):
    caller = await door.call(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n")
    answer = await caller.answer()
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert answer.headers["connection"] == "close"


async def test_a_caller_that_expects_to_be_asked_is_told_at_once_that_its_body_is_too_large(door):
    caller = await door.call(
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 104857600\r\n\r\n"
    )
    assert (await caller.answer()).status == 413


@pytest.mark.parametrize("length", [b"Content-Length: 104857600\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_body_of_a_hundred_megabytes_is_refused_and_the_answer_can_be_read(door, length, monkeypatch):
    monkeypatch.setattr(protocol, "LINGER_S", 30)
    caller = await door.call(b"POST /echo HTTP/1.1\r\nHost: localhost\r\n" + length)
    piece = b"a" * 2**20 if b"Length" in length else b"100000\r\n" + b"a" * 2**20 + b"\r\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # As an HTTP client does that reads the answer only when its request has left.
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            await caller.send(piece)
    assert (await caller.answer()).status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # kilobytes
    caller.close()
    await door.emptied()


async def test_an_early_answer_ends_the_connection_even_if_the_caller_goes_on_for_ever(open_door):
    door = await open_door()
    caller = await door.call(b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n")
    assert (await caller.answer()).body == b"early"
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        await caller.drip(b"a" * 100_000, 0.01)
    assert time.monotonic() - began < LINGER_S + 15  # of a thousand seconds
    await door.emptied()


async def test_a_body_shorter_than_it_says_is_waited_for_and_then_refused(open_door):
    door = await open_door(body_timeout_s=0.2)
    caller = await door.call(post("/echo", b"hello").replace(b": 5", b": 50"))
    answer = await caller.answer()
    assert answer.status == 408
    assert answer.error["code"] == "request_timeout"


async def test_a_body_longer_than_it_says_is_another_request_that_is_none(door):
    caller = await door.call(post("/echo", b"hello, and more").replace(b": 15", b": 5"))
    assert [answer.status for answer in await caller.answers()] in ([200], [200, 400])
    assert door.bodies == [b"hello"]


async def test_a_caller_that_expects_to_be_asked_for_its_body_is_asked_once(door):
    caller = await door.call(post("/echo", b"hello", "Expect: 100-Continue")[:-5])
    assert await caller.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await caller.drip(b"hello")
    assert (await caller.answer()).status == 200
    # One that sends its body all the same needs no asking.
    await caller.send(post("/echo", b"hello", "Expect: 100-continue"))
    assert (await caller.answer()).status == 200


# -- time ------------------------------------------------------------------------------------------------------------


async def drip_until_answered(caller, data: bytes, every_s: float) -> tuple[int, float]:
    """Sends byte by byte until an answer comes; returns its status and when it came."""
    began = time.monotonic()
    dripping = asyncio.create_task(caller.drip(data, every_s))
    answer = await caller.answer()
    took = time.monotonic() - began
    dripping.cancel()
    with contextlib.suppress(asyncio.CancelledError, ConnectionError):
        await dripping
    assert answer.error["code"] == "request_timeout"
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"
    return answer.status, took


async def test_a_head_that_drips_has_its_time_and_no_more(open_door):
    door = await open_door(head_timeout_s=0.3)
    status, took = await drip_until_answered(await door.call(), padded(5000), 0.01)
    assert status == 408
    assert 0.25 < took < 15
    await door.emptied()


async def test_a_second_head_has_as_long_as_the_first(open_door):
    door = await open_door(head_timeout_s=0.3, idle_timeout_s=30)
    caller = await door.call(get("/echo"))
    await caller.answer()
    await asyncio.sleep(0.35)
    status, took = await drip_until_answered(caller, padded(5000), 0.01)
    assert status == 408
    assert 0.25 < took < 15


async def test_a_head_that_begins_while_another_is_answered_has_its_time_from_then_on(open_door):
    door = await open_door(head_timeout_s=0.5)
    caller = await door.call(get("/begin") + b"GET /echo HT")
    await caller.head()
    await asyncio.sleep(0.7)
    door.wake.set()
    assert [piece async for piece in caller.chunks()] == [b"one", b"two"]
    await caller.send(b"TP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await caller.answer()).status == 200
    await caller.send(get("/echo")[:-1])
    assert (await caller.answer()).status == 408


async def test_a_body_that_drips_has_its_time_and_no_more(open_door):
    door = await open_door(body_timeout_s=0.3)
    caller = await door.call(post("/echo", b"a" * 5000)[:-5000])
    status, took = await drip_until_answered(caller, b"a" * 5000, 0.01)
    assert status == 408
    assert 0.25 < took < 15
    assert door.bodies == []
    await door.emptied()


async def test_a_large_body_that_comes_steadily_has_the_time_it_needs(open_door):
    door = await open_door(body_timeout_s=0.2)
    caller = await door.call(post("/echo", b"a" * 100_000)[:-100_000])
    for _ in range(10):
        await caller.send(b"a" * 10_000)
        await asyncio.sleep(0.06)
    assert (await caller.answer()).status == 200


async def test_empty_lines_for_ever_are_no_way_to_stay(open_door):
    door = await open_door(head_timeout_s=0.3)
    caller = await door.call()
    dripping = asyncio.create_task(caller.drip(b"\r\n" * 5000, 0.005))
    assert await caller.rest() == b""
    dripping.cancel()
    await door.emptied()


async def test_an_idle_connection_is_closed_without_a_word(open_door):
    door = await open_door(head_timeout_s=0.2, idle_timeout_s=0.8)
    fresh, used = await door.call(), await door.call(get("/echo"))
    await used.answer()
    began = time.monotonic()
    assert await fresh.rest() == b""
    assert not used.reader.at_eof()
    assert await used.rest() == b""
    assert 0.7 < time.monotonic() - began < 15
    await door.emptied()


async def test_an_answer_may_take_longer_than_any_of_a_callers_deadlines(open_door):
    door = await open_door(head_timeout_s=0.1, body_timeout_s=0.1, idle_timeout_s=0.1, write_timeout_s=0.1)
    caller = await door.call(get("/begin"))
    await caller.head()
    await asyncio.sleep(0.5)
    door.wake.set()
    assert [piece async for piece in caller.chunks()] == [b"one", b"two"]


async def test_connections_beyond_the_bound_are_refused_and_the_others_served(open_door, monkeypatch):
    monkeypatch.setattr("gateway.door.server._raise_file_limit", lambda: 8)
    door = await open_door()
    taken = [await door.call() for _ in range(4)]
    refused = await door.call()
    answer = await refused.answer()
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.error["code"] == "overloaded"
    await taken[0].send(get("/echo"))
    assert (await taken[0].answer()).status == 200
    taken[1].close()
    await until(lambda: len(door.server.server_state.connections) == 3)
    late = await door.call(get("/echo"))
    assert (await late.answer()).status == 200
