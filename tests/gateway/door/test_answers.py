"""How answers leave: framing by version and method, keep-alive, defects, what ASGI promises."""

from __future__ import annotations

import asyncio

import pytest

from tests.patience import WITHIN_S, until

from .conftest import get, post


async def test_a_connection_serves_many_requests(door):
    caller = await door.call()
    for size in range(20):
        await caller.send(post("/echo", b"a" * size))
        answer = await caller.answer()
        assert answer.status == 200
        assert "connection" not in answer.headers
    assert len(door.server.server_state.connections) == 1


async def test_head_and_body_leave_in_one_segment(door):
    caller = await door.call(get("/echo"))
    data = await caller.reader.read(65536)
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"}")


async def test_an_answer_without_length_is_chunked(door):
    caller = await door.call(get("/stream?3x5"))
    head = await caller.head()
    assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert await caller.reader.readexactly(35) == b"5\r\nxxxxx\r\n" * 3 + b"0\r\n\r\n"


async def test_connection_close_is_heeded(door):
    for data in (get("/echo", "Connection: close"), get("/echo", "Connection: keep-alive, Close")):
        caller = await door.call(data)
        answer = await caller.answer()
        assert answer.headers["connection"] == "close"
        assert await caller.rest() == b""


@pytest.mark.parametrize("path", ["/echo", "/stream?3x5", "/headers", "/empty"])
async def test_head_is_answered_like_get_without_a_body(door, path):
    caller = await door.call(get(path) + get(path, method="HEAD") + get(path))
    first = await caller.answer()
    assert (await caller.answer(bodiless=True)).headers == first.headers
    assert await caller.answer() == first


async def test_head_of_an_error_has_its_length_and_no_body(door):
    caller = await door.call(get("/nowhere", method="HEAD") + get("/early", method="HEAD") + get("/echo"))
    answer = await caller.answer(bodiless=True)
    assert answer.status == 404
    assert int(answer.headers["content-length"]) > 0
    assert (await caller.answer(bodiless=True)).status == 405
    assert (await caller.answer()).status == 200


async def test_no_content_has_neither_length_nor_chunks(door):
    caller = await door.call(get("/empty") + get("/echo"))
    assert await caller.head() == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert (await caller.answer()).status == 200


async def test_http_1_0_is_answered_and_closed(door):
    caller = await door.call(b"GET /echo HTTP/1.0\r\n\r\n")
    answer = await caller.answer()
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert await caller.rest() == b""


async def test_http_1_0_may_ask_to_stay(door):
    caller = await door.call()
    for _ in range(2):
        await caller.send(get("/echo", "Connection: keep-alive", version="1.0"))
        answer = await caller.answer()
        assert answer.headers["connection"] == "keep-alive"
        assert "content-length" in answer.headers


async def test_a_stream_to_http_1_0_ends_with_its_connection(door):
    caller = await door.call(get("/stream?3x5", "Connection: keep-alive", version="1.0"))
    assert await caller.head() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
    assert await caller.rest() == b"x" * 15


async def test_line_ends_in_a_header_make_no_headers(door):
    caller = await door.call(get("/headers"))
    answer = await caller.answer()
    assert answer.headers["x-note"] == "aset-cookie: bc"
    assert answer.names == ["x-note", "content-length"]


@pytest.mark.parametrize("how", ["", "?headed", "?silent", "?short"])
async def test_a_defect_costs_one_answer_and_tells_nothing(door, how):
    caller = await door.call(get(f"/fail{how}"))
    answer = await caller.answer()
    assert answer.status == 500
    assert answer.error["code"] == "internal_error"
    assert answer.error["type"] == "server_error"
    assert answer.headers["x-request-id"].startswith("req_")
    assert b"secret" not in answer.body
    assert b"Zero" not in answer.body
    await caller.send(get("/echo"))
    assert (await caller.answer()).status == 200


async def test_a_defect_within_an_answer_never_looks_like_its_end(door):
    for version in ("1.1", "1.0"):
        caller = await door.call(get("/fail?late", version=version))
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(caller.reader.read(-1), WITHIN_S)
    await door.emptied()


async def test_a_defect_behind_an_answer_does_not_spoil_it(door):
    caller = await door.call(get("/fail?twice") + get("/echo"))
    assert (await caller.answer()).body == b"whole"
    assert (await caller.answer()).status == 200


async def test_a_defect_of_a_request_with_a_body_still_arriving_closes(door):
    caller = await door.call(post("/fail", b"a" * 100)[:-50])
    (answer,) = await caller.answers()
    assert answer.status == 405
    await door.emptied()


async def test_an_early_answer_ends_the_connection_once_its_body_was_not_read(door):
    caller = await door.call(post("/early", b"a" * 1000)[:-1])
    answer = await caller.answer()
    assert (answer.body, answer.headers["connection"]) == (b"early", "close")
    caller.close()
    # Read or not: a body that has come does not stand in the next request's way.
    caller = await door.call(post("/early", b"a" * 1000) + get("/echo"))
    assert "connection" not in (await caller.answer()).headers
    assert (await caller.answer()).status == 200


async def test_unknown_paths_are_told_what_they_may_have_meant(door):
    caller = await door.call(get("/strem"))
    answer = await caller.answer()
    assert answer.status == 404
    assert answer.error["code"] == "unknown_url"
    assert "did you mean /stream?" in answer.error["message"]
    assert answer.headers["x-request-id"]


async def test_a_wrong_method_is_told_the_right_ones(door):
    for path, allow in (("/echo", "POST, GET, HEAD"), ("/early", "POST")):
        caller = await door.call(get(path, method="DELETE"))
        answer = await caller.answer()
        assert answer.status == 405
        assert answer.error["code"] == "method_not_allowed"
        assert answer.headers["allow"] == allow


async def test_a_draining_server_ends_what_is_idle_and_finishes_what_is_not(open_door):
    door = await open_door(grace_s=5)
    idle, fresh, answering, waiting = [await door.call() for _ in range(4)]
    reading_head, reading_body = [await door.call() for _ in range(2)]
    await idle.send(get("/echo"))
    await idle.answer()
    await answering.send(get("/begin"))
    await answering.head()
    await waiting.send(get("/begin") + get("/echo"))
    await waiting.head()
    await reading_head.send(b"GET /echo HT")
    await reading_body.send(post("/echo", b"hello")[:-3])
    await until(lambda: len(door.scopes) == 1 + 1)
    door.server.drain()
    assert await idle.rest() == b""
    assert await fresh.rest() == b""
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", door.port)
    await reading_head.send(b"TP/1.1\r\nHost: localhost\r\n\r\n")
    await reading_body.send(b"llo")
    for caller in (reading_head, reading_body):
        answer = await caller.answer()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await caller.rest() == b""
    assert not door.serving.done()
    door.wake.set()
    assert [piece async for piece in answering.chunks()] == [b"one", b"two"]
    assert await answering.rest() == b""
    assert [piece async for piece in waiting.chunks()] == [b"one", b"two"]
    assert (await waiting.answer()).headers["connection"] == "close"
    assert await waiting.rest() == b""
    await asyncio.wait_for(door.serving, WITHIN_S)


async def test_what_does_not_finish_within_the_grace_period_ends_in_band(open_door):
    door = await open_door(grace_s=0.1)
    begun, hanging = await door.call(get("/begin")), await door.call(get("/hang"))
    await begun.head()
    await until(lambda: door.counts["hanging"] == 1)
    door.server.drain()
    assert [piece async for piece in begun.chunks()] == [b"one", b"cancelled"]
    answer = await hanging.answer()
    assert answer.status == 503
    assert answer.error["code"] == "stopping"
    assert answer.headers["retry-after"] == "1"
    await asyncio.wait_for(door.serving, WITHIN_S)
    await door.emptied()


async def test_asked_a_second_time_a_server_does_not_wait(open_door):
    door = await open_door(grace_s=60)
    begun = await door.call(get("/begin"))
    await begun.head()
    door.server.drain()
    await asyncio.sleep(0.3)
    assert not door.serving.done()
    door.server.drain()
    assert [piece async for piece in begun.chunks()] == [b"one", b"cancelled"]
    await asyncio.wait_for(door.serving, WITHIN_S)
    await door.emptied()


async def test_a_caller_that_reads_nothing_does_not_hold_up_a_stop(open_door):
    door = await open_door(grace_s=0.1)
    caller = await door.call(get("/stream?100000x10000"), receive_bytes=4096)
    await until(lambda: door.counts["pieces"] > 0)
    door.server.drain()
    await asyncio.wait_for(door.serving, WITHIN_S)
    await door.emptied()
    caller.close()
