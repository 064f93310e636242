"""The simulator's sockets: faults as a client meets them, clients as the simulator meets them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from gateway.simulator import Fault, Simulator
from tests.patience import WITHIN_S, promptly, until


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(ttft_s=0.0) as one:
        yield one


def request(
    model: str = "demo", *, stream: bool = False, headers: str = "", path: str = "/v1/chat/completions"
) -> bytes:
    asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    body = json.dumps(asked).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(simulator: Simulator, sent: bytes) -> bytes:
    """Sends one request and reads until the connection closes or nothing comes any more."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(sent)
    got = b""
    try:
        async with asyncio.timeout(WITHIN_S):
            while data := await reader.read(1 << 16):
                got += data
                if got.endswith((b"0\r\n\r\n", b"}")):
                    break
    finally:
        writer.close()
    return got


async def test_a_reset_is_a_reset(simulator: Simulator) -> None:
    with pytest.raises(ConnectionResetError):
        await answer(simulator, request("demo!reset"))


async def test_a_cut_by_reset_comes_after_content_has_been_read(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(request("demo!cut-reset;after=1", stream=True))
    assert b"I" in await reader.read(1 << 16)
    with pytest.raises(ConnectionResetError):
        await reader.read(1 << 16)
    writer.close()


async def test_a_cut_closes_without_the_last_chunk(simulator: Simulator) -> None:
    got = await answer(simulator, request("demo!cut;after=3", stream=True))
    assert got.count(b'"content":"') == 4  # the opening chunk carries an empty one
    assert not got.endswith(b"0\r\n\r\n")


async def test_a_refusing_simulator_refuses_and_listens_again(simulator: Simulator) -> None:
    port = simulator.port
    await simulator.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(simulator.host, port)
    await simulator.listen()
    assert simulator.port == port
    assert b"200 OK" in await answer(simulator, request())


async def test_garbage_is_not_http(simulator: Simulator) -> None:
    assert not (await answer(simulator, request("demo!garbage"))).startswith(b"HTTP")


async def test_a_script_is_played_in_order_and_then_all_is_fine(simulator: Simulator) -> None:
    simulator.script += [Fault("500", times=2), None, Fault("429", retry_after="3")]
    statuses = [(await answer(simulator, request()))[9:12] for _ in range(6)]
    assert statuses == [b"500", b"500", b"200", b"429", b"200", b"200"]


async def test_faults_are_kept_by_model(simulator: Simulator) -> None:
    simulator.faults["bad"] = [Fault("503", times=2)]
    assert (await answer(simulator, request("good")))[9:12] == b"200"
    assert [(await answer(simulator, request("bad")))[9:12] for _ in range(3)] == [b"503", b"503", b"200"]


async def test_a_fault_in_the_models_name_strikes_as_often_as_it_says(simulator: Simulator) -> None:
    statuses = [(await answer(simulator, request("demo!529;times=2")))[9:12] for _ in range(3)]
    assert statuses == [b"529", b"529", b"200"]
    assert b'"model":"demo"' in await answer(simulator, request("demo!ok"))


async def test_a_fault_can_come_in_a_header(simulator: Simulator) -> None:
    got = await answer(simulator, request(headers="x-simulate: 402\r\n"))
    assert got.startswith(b"HTTP/1.1 402")


async def test_an_unknown_fault_is_told(simulator: Simulator) -> None:
    got = await answer(simulator, request("demo!explode"))
    assert got.startswith(b"HTTP/1.1 400")
    assert b"is no fault" in got


async def test_tokens_can_be_ordered_in_the_models_name(simulator: Simulator) -> None:
    got = json.loads((await answer(simulator, request("demo!ok;tokens=120"))).partition(b"\r\n\r\n")[2])
    assert got["usage"]["completion_tokens"] == 120


async def test_an_early_answer_does_not_wait_for_the_body(simulator: Simulator) -> None:
    simulator.script.append(Fault("early"))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n"
    assert (await answer(simulator, head + b"{")).startswith(b"HTTP/1.1 413")
    assert not simulator.script


async def test_expect_is_answered_with_continue(simulator: Simulator) -> None:
    got = await answer(simulator, request(headers="expect: 100-continue\r\n"))
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize("fault", ["hang", "stall;after=1", "slow;wait=30s", "comments"])
async def test_a_client_that_leaves_is_noticed(simulator: Simulator, fault: str) -> None:
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(request(f"demo!{fault}", stream=True))
    await until(lambda: simulator.in_flight == 1)
    if fault.startswith("stall"):
        await reader.read(10)
    left = time.monotonic()
    writer.close()
    await until(lambda: simulator.aborted == 1)
    assert time.monotonic() - left < 15  # of thirty or more
    await until(lambda: not simulator.in_flight)
    assert (simulator.in_flight, simulator.answered) == (0, 0)
    await until(lambda: not simulator.connections)


async def test_a_waiting_client_that_leaves_gives_up_its_turn(simulator: Simulator) -> None:
    simulator.max_running = 1
    first = await asyncio.open_connection(simulator.host, simulator.port)
    first[1].write(request("demo!hang"))
    await until(lambda: simulator.in_flight == 1)
    second = await asyncio.open_connection(simulator.host, simulator.port)
    second[1].write(request())
    await until(lambda: simulator.in_flight == 2)
    second[1].close()
    await until(lambda: simulator.in_flight == 1)
    third = asyncio.create_task(answer(simulator, request()))
    await until(lambda: simulator.in_flight == 2)
    first[1].close()
    assert b"200 OK" in await third
    await until(lambda: not simulator.in_flight)


async def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(b"".join(request(f"model-{number}") for number in range(200)))
    got = b""
    async with asyncio.timeout(WITHIN_S):
        while got.count(b"HTTP/1.1 200") < 200 or not got.endswith(b"}"):
            got += await reader.read(1 << 16)
    writer.close()
    places = [got.index(b'"model":"model-%d"' % number) for number in range(200)]
    assert places == sorted(places)
    assert simulator.accepted == 1


async def test_an_idle_connection_is_closed_after_the_keep_alive(simulator: Simulator) -> None:
    simulator.keep_alive_s = 0.05
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(request())
    got = await asyncio.wait_for(reader.read(), WITHIN_S)
    writer.close()
    assert got.endswith(b"}")


async def test_requests_are_recorded_within_bounds(simulator: Simulator) -> None:
    await answer(simulator, request(headers="Authorization: Bearer k\r\n"))
    seen = simulator.requests[-1]
    assert (seen.method, seen.path, seen.header(b"authorization")) == ("POST", "/v1/chat/completions", b"Bearer k")
    assert seen.json()["model"] == "demo"
    assert simulator.requests.maxlen


async def test_what_is_not_http_is_answered_with_400(simulator: Simulator) -> None:
    assert (await answer(simulator, b"\x00\x01\x02 nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def test_health_can_stay_well_while_answers_hang(simulator: Simulator) -> None:
    simulator.faults["demo"] = [Fault("hang", times=1000)]
    task = asyncio.create_task(answer(simulator, request()))
    await until(lambda: simulator.in_flight == 1)
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.read(1 << 16)).startswith(b"HTTP/1.1 200 OK")
    simulator.faults["/health"] = [Fault("503")]
    writer.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.read(1 << 16)).startswith(b"HTTP/1.1 503")
    writer.close()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_slow_reader_slows_the_stream(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port, limit=1024)
    writer.write(request("demo!huge;after=1;size=8000000;tpot=1ms", stream=True))
    await until(lambda: simulator.in_flight == 1)
    await asyncio.sleep(0.1)
    assert simulator.answered == 0
    async with asyncio.timeout(WITHIN_S):
        while simulator.answered == 0:
            await reader.read(1 << 20)
    writer.close()


async def test_a_paced_stream_keeps_its_time(simulator: Simulator) -> None:
    async def listen() -> float:
        began = time.monotonic()
        await answer(simulator, request("demo!ok;tokens=51;ttft=10ms;tpot=2ms", stream=True))
        took = time.monotonic() - began
        assert took > 0.1
        return took

    await promptly(listen, 1.0)


async def test_closing_drops_connections(simulator: Simulator) -> None:
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    writer.write(request("demo!hang"))
    await until(lambda: simulator.in_flight == 1)
    await simulator.close()
    with suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    writer.close()
    assert not simulator.connections
