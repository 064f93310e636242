"""A process that lives as vLLM does: its phases, its port, its health, and the ways in which it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.patience import WITHIN_S, until
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "gateway.simulator.vllm_process"]


class Life:
    """A process under test, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.said = ""

    async def listen(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.said += line.decode()

    async def ready(self, http: httpx.AsyncClient) -> None:
        await until(lambda: "Application startup complete." in self.said)
        assert (await http.get(f"{self.url}/health")).status_code == 200

    async def ended(self) -> int:
        async with asyncio.timeout(WITHIN_S):
            return await self.process.wait()


@asynccontextmanager
async def living(fault: str = "", *flags: str) -> AsyncIterator[Life]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        "tiny/llama",
        "--port",
        str(port),
        "--served-model-name",
        "tiny",
        "--enforce-eager",
        *flags,
        cwd=ROOT,
        env={**os.environ, "HEADGATE_SIMULATE": fault},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    life = Life(process, port)
    listening = asyncio.create_task(life.listen())
    try:
        yield life
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=WITHIN_S, verify=False) as client:
        yield client


def asked(tokens: int = 4, **more: object) -> dict[str, object]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": tokens,
        "ignore_eos": True,
        **more,
    }


async def test_it_says_the_phases_of_a_start_in_order_and_answers(http: httpx.AsyncClient) -> None:
    async with living() as life:
        await life.ready(http)
        marks = [
            "Starting to load model",
            "Loading weights took",
            "Model loading took",
            "Available KV cache memory",
            "GPU KV cache size: 308,224 tokens, Maximum concurrency",
            "Graph capturing finished",
            "init engine (profile, create kv cache, warmup model) took",
            "Starting vLLM server on",
            "Application startup complete.",
        ]
        places = [life.said.index(mark) for mark in marks]
        assert places == sorted(places)
        models = (await http.get(f"{life.url}/v1/models")).json()
        assert [model["id"] for model in models["data"]] == ["tiny"]
        answer = (await http.post(f"{life.url}/v1/chat/completions", json=asked())).json()
        assert answer["usage"]["completion_tokens"] == 4


async def test_its_port_takes_connections_before_there_is_an_engine_and_nobody_answers(http: httpx.AsyncClient) -> None:
    async with living("stuck=load") as life:
        await until(lambda: "Starting to load model" in life.said)
        with pytest.raises(httpx.ReadTimeout):
            await http.get(f"{life.url}/health", timeout=0.2)
        life.process.send_signal(signal.SIGTERM)
        assert await life.ended() == 0


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("oom=load", "torch.OutOfMemoryError: CUDA out of memory"),
        ("no-memory", "No available memory for the cache blocks"),
        ("max-len=4096", "the estimated maximum model length is 4096"),
        ("busy-gpu", "on startup is less than desired GPU memory utilization"),
    ],
)
async def test_a_start_that_fails_says_why(fault: str, line: str) -> None:
    async with living(fault) as life:
        assert await life.ended() == 1
        await until(lambda: line in life.said)
        assert "Engine core initialization failed." in life.said


async def test_a_length_that_fits_starts(http: httpx.AsyncClient) -> None:
    async with living("max-len=4096", "--max-model-len=4096") as life:
        await life.ready(http)


async def test_a_hung_engine_stays_healthy_and_its_steps_stand_still(http: httpx.AsyncClient) -> None:
    async with living("hang") as life:
        await life.ready(http)
        with pytest.raises(httpx.ReadTimeout):
            await http.post(f"{life.url}/v1/chat/completions", json=asked(), timeout=0.3)
        assert (await http.get(f"{life.url}/health")).status_code == 200
        assert await steps(http, life) == await steps(http, life)


async def steps(http: httpx.AsyncClient, life: Life) -> str:
    page = (await http.get(f"{life.url}/metrics")).text
    return next(line for line in page.splitlines() if line.startswith("vllm:iteration_tokens_total_count"))


async def stream(http: httpx.AsyncClient, life: Life, then: Callable[[], object], tokens: int = 5000) -> list[str]:
    """Reads a stream to its end, doing something once content has come; returns the events' data."""
    heard: list[str] = []
    body = asked(tokens, stream=True)
    async with http.stream("POST", f"{life.url}/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                heard.append(line[6:])
                if len(heard) == 4:
                    then()
    return heard


async def test_a_stop_without_a_timeout_gives_up_what_is_running(http: httpx.AsyncClient) -> None:
    async with living() as life:
        await life.ready(http)
        heard = await stream(http, life, life.process.terminate)
        assert heard[-1] == "[DONE]"
        assert json.loads(heard[-2])["choices"][0]["finish_reason"] == "abort"
        assert await life.ended() == 0
        await until(lambda: "[shutdown] API server: shutdown triggered" in life.said)


async def test_a_stop_with_a_timeout_drains_and_answers_newcomers_with_abort(http: httpx.AsyncClient) -> None:
    async with living("", "--shutdown-timeout", "30") as life:
        await life.ready(http)
        newcomer: list[asyncio.Task[httpx.Response]] = []

        def stop() -> None:
            life.process.terminate()

        async def come() -> httpx.Response:
            await until(lambda: "draining in-flight requests count=1" in life.said)
            return await http.post(f"{life.url}/v1/chat/completions", json=asked())

        newcomer.append(asyncio.create_task(come()))
        heard = await stream(http, life, stop, tokens=60)
        assert json.loads(heard[-2])["choices"][0]["finish_reason"] == "stop"
        assert (await newcomer[0]).json()["choices"][0]["finish_reason"] == "abort"
        assert await life.ended() == 0


async def test_it_can_die_in_mid_stream(http: httpx.AsyncClient) -> None:
    async with living("killed=300ms") as life:
        await until(lambda: "Application startup complete." in life.said)
        with pytest.raises(httpx.TransportError):
            await stream(http, life, lambda: None, tokens=20_000)
        assert await life.ended() == -signal.SIGKILL


async def test_a_dead_engine_is_told_in_the_stream_and_by_health(http: httpx.AsyncClient) -> None:
    async with living("dead-engine=300ms") as life:
        await until(lambda: "Application startup complete." in life.said)
        heard = await stream(http, life, lambda: None)
        assert "error" in json.loads(heard[-1])
        assert (await http.get(f"{life.url}/health")).status_code == 503
        refused = await http.post(f"{life.url}/v1/chat/completions", json=asked())
        assert (refused.status_code, refused.json()["error"]["type"]) == (500, "InternalServerError")


async def test_memory_that_runs_out_ends_it(http: httpx.AsyncClient) -> None:
    async with living("oom=run") as life:
        await life.ready(http)
        with pytest.raises(httpx.TransportError):
            await http.post(f"{life.url}/v1/chat/completions", json=asked(5000))
        assert await life.ended() == 1
        await until(lambda: "EngineCore encountered a fatal error" in life.said)


async def test_a_taken_port_ends_it() -> None:
    async with living() as life:
        await until(lambda: "Starting to load" in life.said)
        other = await asyncio.create_subprocess_exec(
            *COMMAND, "serve", "m", "--port", life.url.rpartition(":")[2], cwd=ROOT, stdout=-3, stderr=-3
        )
        assert await other.wait() == 1


@pytest.mark.parametrize(("flag", "says"), [("--version", "0.33.0"), ("--help", "--shutdown-timeout")])
def test_it_says_what_it_is(flag: str, says: str) -> None:
    told = subprocess.run([*COMMAND, flag], cwd=ROOT, capture_output=True, text=True, check=True)
    assert says in told.stdout


async def test_an_engine_of_its_own_takes_its_server_with_it(http: httpx.AsyncClient) -> None:
    async with living("split") as life:
        await life.ready(http)
        (engine,) = children(life)
        assert os.getsid(engine) == os.getsid(life.process.pid)
        os.kill(engine, signal.SIGKILL)
        assert await life.ended() == 1
        assert "EngineCore encountered a fatal error" in life.said


async def test_an_engine_that_strayed_outlives_a_killed_server(http: httpx.AsyncClient) -> None:
    async with living("split=stray") as life:
        await life.ready(http)
        (engine,) = children(life)
        assert os.getsid(engine) == engine
        life.process.kill()
        await until(lambda: f"PPid:\t{life.process.pid}\n" not in Path(f"/proc/{engine}/status").read_text())
        os.kill(engine, signal.SIGKILL)  # it holds the output of both
        assert await life.ended() == -signal.SIGKILL


def children(life: Life) -> list[int]:
    pid = life.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_server_can_fail_to_notice_that_its_engine_failed() -> None:
    async with living("unnoticed=load") as life:
        await until(lambda: "EngineCore failed to start." in life.said)
        assert life.process.returncode is None
