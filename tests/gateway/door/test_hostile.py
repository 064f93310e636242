"""A whole gateway among callers that mean ill: it goes on serving, and neither memory nor files grow."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from tests.patience import WITHIN_S

from .conftest import ASK, KEY, STREAM, Gateway, Upstream, chat, config_for, get, post, read_answer, serving

MIB = 2**20


def until(true: Callable[[], bool], within_s: float = WITHIN_S) -> float:
    """Waits until something is true, and returns how long that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, "it did not come about in time"
        time.sleep(0.005)
    return time.monotonic() - began


def reset(raw: socket.socket) -> None:
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def close(raw: socket.socket) -> None:
    raw.close()


def half_close(raw: socket.socket) -> None:
    raw.shutdown(socket.SHUT_WR)


WAYS = [reset, close, half_close]


@pytest.fixture(autouse=True)
def _settled(gateway: Gateway) -> Iterator[None]:
    """Whatever a test did, everybody is served after it, and nothing of it is left upstream."""
    assert gateway.ask(chat(ASK)).status == 200
    yield
    until(lambda: gateway.upstream.in_flight == 0)
    answer = gateway.ask(chat(ASK))
    assert answer.status == 200, answer
    assert gateway.process.poll() is None


@pytest.mark.parametrize("leave", WAYS)
def test_a_caller_that_leaves_in_the_middle_of_a_stream_ends_it_upstream(gateway, leave):
    aborted = gateway.upstream.aborted
    with gateway.connect() as raw:
        raw.sendall(chat(STREAM))
        assert raw.recv(65536).startswith(b"HTTP/1.1 200 OK")
        leave(raw)
        # an answer that nobody reads would be broken off after 3 s (write_timeout)
        assert until(lambda: gateway.upstream.aborted == aborted + 1) < 2.5
    until(lambda: gateway.upstream.in_flight == 0)


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("model", ["hang", "slow"])
def test_a_caller_that_leaves_before_its_first_token_ends_it_upstream(gateway, leave, model):
    with gateway.connect() as raw:
        raw.sendall(chat(STREAM.replace(b"endless", model.encode())))
        connections = len(gateway.upstream.connections)
        time.sleep(0.1)
        leave(raw)
        until(lambda: gateway.upstream.in_flight == 0 and len(gateway.upstream.connections) <= connections)


@pytest.mark.parametrize("leave", WAYS)
def test_a_caller_that_leaves_right_behind_its_request_costs_nothing(gateway, leave):
    files = gateway.open_files
    for size in (len(chat(ASK)), len(chat(ASK)) - 1, 60, 1):
        for _ in range(50):
            with gateway.connect() as raw:
                raw.sendall(chat(ASK)[:size])
                leave(raw)
    until(lambda: gateway.open_files <= files + 4)


def test_hundreds_of_rounds_of_every_way_to_leave_do_not_grow(gateway):
    def round() -> None:
        for leave in WAYS:
            for data in (b"", b"POST", chat(ASK)[:-9], chat(ASK), chat(STREAM), chat(ASK) * 5, get("/v1/models") * 20):
                with gateway.connect() as raw:
                    raw.sendall(data)
                    leave(raw)

    for _ in range(40):
        round()
    until(lambda: gateway.upstream.in_flight == 0)
    before, files = gateway.rss_bytes, gateway.open_files
    for _ in range(60):
        round()
    until(lambda: gateway.upstream.in_flight == 0 and gateway.open_files <= files + 8)
    assert gateway.rss_bytes - before < 4 * MIB  # of 1,260 connections: 3 KiB each


def test_two_thousand_idle_connections_are_cheap_and_reaped_while_others_are_served(gateway):
    before, files = gateway.rss_bytes, gateway.open_files
    begins = [b"", b"\r\n", b"GET /v1/mod", post("/v1/chat/completions", ASK)[:50]]
    with contextlib.ExitStack() as stack:
        opened = []
        for index in range(2000):
            raw = stack.enter_context(gateway.connect())
            raw.sendall(begins[index % 4])
            opened.append(raw)
        until(lambda: gateway.open_files - files >= 2000)
        assert (gateway.rss_bytes - before) / 2000 < 6 * 1024
        while gateway.open_files - files > 1500:
            assert gateway.ask(chat(ASK)).status == 200
        # Those that had begun are told why they have to go.
        assert b"HTTP/1.1 408 " in opened[2].recv(1000)
        assert opened[0].recv(1000) == b""
    until(lambda: gateway.open_files <= files + 8)


def test_slow_loris_in_the_body_is_answered_and_let_go(gateway):
    request = chat(ASK)
    with gateway.connect() as raw:
        raw.sendall(request[: -len(ASK)])
        began = time.monotonic()
        raw.settimeout(0.05)
        answer = b""
        for byte in ASK * 2:
            raw.sendall(bytes([byte]))
            try:
                answer = raw.recv(65536)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b'"code":"request_timeout"' in answer
        assert 1.5 < time.monotonic() - began < 15


def test_a_caller_that_stops_reading_pauses_the_upstream_and_is_cut_off(gateway):
    aborted, before = gateway.upstream.aborted, gateway.rss_bytes
    flood = STREAM.replace(b"endless", b"flood")
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            raw = stack.enter_context(gateway.connect(receive_bytes=4096))
            raw.sendall(chat(flood))
        grown = 0
        began = time.monotonic()
        while gateway.upstream.aborted < aborted + 5:
            grown = max(grown, gateway.rss_bytes - before)
            assert gateway.ask(get("/healthz")).status == 200
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        # Each of them would have had 200 MB to come.
        assert grown < 5 * 2 * MIB


def test_random_bytes_never_get_more_than_an_error(gateway):
    chance = random.Random(20261120)
    valid = [chat(ASK), get("/v1/models", f"Authorization: Bearer {KEY}"), chat(ASK, "Transfer-Encoding: chunked")]
    files = gateway.open_files
    for _ in range(400):
        data = bytearray(chance.choice(valid) if chance.random() < 0.8 else chance.randbytes(200))
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                data[place:place] = chance.randbytes(chance.randrange(1, 9))
            else:
                del data[place : place + chance.randrange(1, 9)]
        with gateway.connect() as raw:
            raw.sendall(data)
            raw.shutdown(socket.SHUT_WR)
            pieces = []
            with contextlib.suppress(ConnectionError):
                while piece := raw.recv(65536):
                    pieces.append(piece)
        answer = b"".join(pieces)
        assert not answer or answer[:9] == b"HTTP/1.1 "
        assert b"Traceback" not in answer
        assert b" 500 " not in answer[:16]
    until(lambda: gateway.open_files <= files + 4)


def test_a_flood_of_connections_that_are_reset_at_once_is_survived(gateway):
    files = gateway.open_files
    for _ in range(2000):
        reset(gateway.connect())
    until(lambda: gateway.open_files <= files + 4)


def test_a_pipelined_flood_is_answered_in_part_and_ended(gateway):
    before = gateway.rss_bytes
    with gateway.connect() as raw:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                raw.sendall(get("/v1/models", f"Authorization: Bearer {KEY}") * 500)
        answers = 0
        with contextlib.suppress(ConnectionError):
            while data := raw.recv(65536):
                answers += data.count(b"HTTP/1.1 200 OK")
    assert 0 < answers < 200
    assert gateway.rss_bytes - before < 8 * MIB


def test_an_early_answer_reaches_a_caller_that_sends_everything_before_it_reads(gateway):
    with gateway.connect() as raw:
        raw.sendall(post("/v1/chat/completions", b"x" * 1000, "Authorization: Bearer hg-wrong")[:-1000])
        for _ in range(50):
            raw.sendall(b"x" * 20)
        assert read_answer(raw).status == 401
    with gateway.connect() as raw:
        raw.sendall(post("/v1/chat/completions", b"", "Authorization: Bearer hg-wrong").replace(b"h: 0", b"h: 9000000"))
        for _ in range(90):
            raw.sendall(b"x" * 100_000)
        assert read_answer(raw).status == 401


def test_more_connections_than_files_leave_those_that_are_served_their_upstreams(tmp_path):
    """The process asks for all the files it may have; half of them are not for callers."""
    with Upstream() as upstream, contextlib.ExitStack() as stack:
        started = stack.enter_context(serving(tmp_path, config_for(upstream, tmp_path), upstream.simulator, 200))
        raw = stack.enter_context(started.connect())
        flood = [stack.enter_context(started.connect()) for _ in range(500)]
        for _ in range(3):
            raw.sendall(chat(ASK))
            assert read_answer(raw).status == 200
        answer = read_answer(flood[-1])
        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        for each in flood:
            each.close()
        until(lambda: started.open_files < 60)
        assert started.ask(chat(ASK)).status == 200
