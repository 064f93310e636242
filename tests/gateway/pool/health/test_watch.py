"""Replicas on real sockets, watched: who hangs is found, who is busy is left alone, and what follows is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import msgspec
import pytest

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Deployment, Endpoint, Origin, Outcome, Pooled, Timeouts
from gateway.pool.health import Settings, Watcher
from gateway.pool.router import Pools, PrefixRouter, Prompt
from gateway.pool.router.pools import RANK_HEADER
from gateway.pool.states import Phase, ReplicaView
from gateway.simulator import Fault, Simulator
from gateway.simulator.replica import Hardware
from gateway.upstream.http1 import Http1Transport
from gateway.wiring.pools import Replicas
from tests.gateway.simulator.test_vllm_process import Life, living
from tests.patience import until

QUICK = Settings(interval_s=0.05, timeout_s=0.2, misses=3, progress_s=1.0, canary_s=0.3)
HARDWARE = Hardware(prefill_tokens_per_s=1e6, weights_s=0.002, step_s=0.001, kv_tokens=64_000)


class Heard:
    """Events, as they were told."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str]] = []

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        self.all.append((replica, what, why))

    def of(self, replica: str) -> list[str]:
        return [what for name, what, _ in self.all if name == replica]


class Watched:
    """A watcher over some addresses, and everything around it."""

    def __init__(self, origins: list[Origin], settings: Settings, control: Launched | None = None) -> None:
        self.settings = settings
        self.endpoints = tuple(
            Endpoint(f"d#{at}", "d", "lab", origin, server=f"lab {origin}") for at, origin in enumerate(origins)
        )
        self.deployment = Deployment(
            "d", "lab", "vllm", "tiny", "vllm", b"/v1", self.endpoints, pooled=Pooled("prefix")
        )
        self.pools = Pools()
        self.pools.watch([self.deployment])
        self.heard = Heard()
        self.in_flight: dict[str, int] = {}
        self.transport = Http1Transport()
        self.watcher = Watcher(
            self.pools, Replicas({"http1": self.transport}), self.in_flight, self.heard, control, every_s=0.02
        )

    @property
    def keys(self) -> list[str]:
        return [str(endpoint.origin) for endpoint in self.endpoints]

    def barred(self) -> list[str]:
        return [str(endpoint.origin) for endpoint in self.endpoints if self.pools.barred(endpoint)]


@asynccontextmanager
async def watching(
    *at: Simulator | Life | str, settings: Settings = QUICK, control: Launched | None = None
) -> AsyncIterator[Watched]:
    origins = []
    for each in at:
        url = httpx.URL(each if isinstance(each, str) else each.url)
        origins.append(Origin("http", url.host, url.port or 80))
    watched = Watched(origins, settings, control)
    watched.watcher.watch([watched.deployment], {"lab": settings})
    try:
        yield watched
    finally:
        await watched.watcher.aclose()
        await watched.transport.aclose()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60, verify=False) as client:
        yield client


def asked(tokens: int = 5000, **more: object) -> dict[str, object]:
    return {
        "model": "tiny",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": tokens,
        "ignore_eos": True,
        **more,
    }


@asynccontextmanager
async def busy(http: httpx.AsyncClient, simulator: Simulator, streams: int = 1) -> AsyncIterator[None]:
    """Has answers under way as long as this lasts."""
    async with AsyncExitStack() as stack:
        tasks = []
        for _ in range(streams):
            answer = await stack.enter_async_context(
                http.stream("POST", f"{simulator.url}/v1/chat/completions", json=asked(30_000, stream=True))
            )
            tasks.append(asyncio.create_task(_read(answer)))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(answer: httpx.Response) -> None:
    async for _ in answer.aiter_bytes():
        pass


async def simulators(stack: AsyncExitStack, count: int) -> list[Simulator]:
    made = [Simulator(wire="vllm", models=("tiny",), hardware=HARDWARE) for _ in range(count)]
    return [await stack.enter_async_context(each) for each in made]


async def test_a_hung_engine_that_says_200_is_barred_and_admitted_again_when_it_answers(
    http: httpx.AsyncClient,
) -> None:
    async with AsyncExitStack() as stack:
        hangs, lives = await simulators(stack, 2)
        watched = await stack.enter_async_context(watching(hangs, lives))
        hung, well = watched.keys
        assert hangs.driver is not None
        async with busy(http, hangs):
            await until(lambda: hangs.driver.engine.steps > 3)  # type: ignore[union-attr]
            hangs.driver.frozen = True
            await until(lambda: "lost" in watched.heard.of(hung))
            assert (await http.get(f"{hangs.url}/health")).status_code == 200
            assert hung in watched.barred()
            assert watched.heard.of(hung)[0] == "suspect"
            hangs.driver.frozen = False
            await until(lambda: watched.heard.of(hung)[-1] == "cleared")
        await until(lambda: not watched.barred())
        assert "lost" not in watched.heard.of(well)


async def test_a_busy_engine_that_misses_every_probe_is_left_alone(http: httpx.AsyncClient) -> None:
    async with AsyncExitStack() as stack:
        (simulator,) = await simulators(stack, 1)
        simulator.faults["/health"] = [Fault("hang")] * 1000
        watched = await stack.enter_async_context(watching(simulator))
        async with busy(http, simulator):
            await until(lambda: len(simulator.faults["/health"]) <= 994)
        assert "lost" not in watched.heard.of(watched.keys[0])
        watched.heard.all.clear()
        # Once nothing moves, the same misses count; a canary shows that all is well.
        await until(lambda: watched.heard.of(watched.keys[0])[:2] == ["suspect", "cleared"])


async def test_calls_that_wait_for_a_lost_replica_are_told() -> None:
    async with AsyncExitStack() as stack:
        (simulator,) = await simulators(stack, 1)
        watched = await stack.enter_async_context(watching(simulator))
        assert simulator.driver is not None
        simulator.driver.frozen = True
        (endpoint,) = watched.endpoints
        waiting = asyncio.create_task(_ask(watched, endpoint))
        await until(lambda: "lost" in watched.heard.of(watched.keys[0]))
        with pytest.raises(UpstreamError, match="does not work any more") as told:
            await waiting
        assert told.value.reason is Reason.TIMEOUT


async def _ask(watched: Watched, endpoint: Endpoint) -> None:
    body = b'{"model":"tiny","prompt":"x","max_tokens":9}'
    exchange = await watched.transport.send(
        endpoint, UpstreamRequest(b"/v1/completions", body), Timeouts(), time.monotonic() + 600
    )
    await exchange.read()


async def test_an_address_that_is_gone_is_lost_as_soon_as_a_call_tells_of_it() -> None:
    async with AsyncExitStack() as stack:
        gone, lives = await simulators(stack, 2)
        patient = Settings(interval_s=600, progress_s=600)
        watched = await stack.enter_async_context(watching(gone, lives, settings=patient))
        await gone.close()
        watched.watcher.hear(watched.endpoints[0], Outcome(0.0, 0.0, Reason.CONNECT))
        await until(lambda: watched.heard.of(watched.keys[0]) == ["suspect", "lost"])
        assert watched.barred() == watched.keys[:1]
        await gone.listen()
        watched.watcher.hear(watched.endpoints[0], Outcome(0.0, 0.0))  # a call under way got through
        await until(lambda: not watched.barred())


async def test_who_is_only_flagged_gets_calls_all_the_same() -> None:
    async with AsyncExitStack() as stack:
        (gone,) = await simulators(stack, 1)
        await gone.close()
        settings = Settings(interval_s=0.05, timeout_s=0.2, on_hang="flag")
        watched = await stack.enter_async_context(watching(gone, settings=settings))
        await until(lambda: "lost" in watched.heard.of(watched.keys[0]))
        assert watched.barred() == []


async def test_another_process_at_the_address_makes_the_router_forget_its_cache() -> None:
    async with AsyncExitStack() as stack:
        both = await simulators(stack, 2)
        watched = await stack.enter_async_context(watching(*both))
        router = next(iter(watched.pools)).router
        assert isinstance(router, PrefixRouter)
        await until(lambda: all(each.gauges is not None for each in router.replicas.values()))
        prompt = Prompt(4096, (1, 2, 3, 4), b"mark")
        for key in watched.keys:
            ticket = router.reserve(key, prompt, 0.0)
            assert ticket is not None
            router.finished(ticket, 1.0)
        assert len(router.index) == 8
        both[0].born_at += 1000
        await until(lambda: len(router.index) == 4)
        await until(lambda: "restarted" in watched.heard.of(watched.keys[0]))


async def test_who_becomes_slow_is_found_and_drained_and_never_the_last_one(http: httpx.AsyncClient) -> None:
    settings = Settings(drift_factor=1.5, drift_samples=5, on_drift="drain")
    async with AsyncExitStack() as stack:
        slow, steady = await simulators(stack, 2)
        watched = await stack.enter_async_context(watching(slow, steady, settings=settings))
        assert slow.driver is not None
        assert steady.driver is not None
        async with busy(http, slow, 4), busy(http, steady, 4):
            await until(lambda: slow.metrics.itl_count > 800 and steady.metrics.itl_count > 800)
            slow.driver.engine.hardware = Hardware(weights_s=0.05, kv_tokens=64_000)
            await until(lambda: watched.barred() == watched.keys[:1])
            assert "drifts" in watched.heard.of(watched.keys[0])
            steady.driver.engine.hardware = Hardware(weights_s=0.05, kv_tokens=64_000)
            await until(lambda: "kept" in watched.heard.of(watched.keys[1]))
        assert watched.keys[1] not in watched.barred()


async def test_members_come_and_go_and_those_that_stay_are_watched_on() -> None:
    async with AsyncExitStack() as stack:
        first, second, third = await simulators(stack, 3)
        watched = await stack.enter_async_context(watching(first, second, third))
        await first.close()
        await until(lambda: watched.keys[0] in watched.barred())
        fewer = Deployment("d", "lab", "vllm", "tiny", "vllm", b"/v1", watched.endpoints[1:], pooled=Pooled("prefix"))
        watched.watcher.watch([fewer], {"lab": QUICK})
        assert watched.keys[0] not in watched.barred(), "who is gone is not barred for ever"
        assert [name for _, name, _, _ in watched.watcher.standings()] == watched.keys[1:]
        await second.close()
        await until(lambda: watched.keys[1] in watched.barred())


async def test_a_rank_that_there_is_no_more_holds_its_server_no_longer() -> None:
    async with AsyncExitStack() as stack:
        gone, other = await simulators(stack, 2)
        watched = await stack.enter_async_context(watching(gone, other))
        ranks = tuple(
            msgspec.structs.replace(watched.endpoints[0], id=f"d#{rank}", auth=((RANK_HEADER, b"%d" % rank),))
            for rank in range(2)
        )
        both = msgspec.structs.replace(watched.deployment, endpoints=ranks)
        watched.watcher.watch([both], {"lab": QUICK})
        assert [name for _, name, _, _ in watched.watcher.standings()] == [f"{watched.keys[0]}#{n}" for n in range(2)]
        await gone.close()
        await until(lambda: watched.heard.of(f"{watched.keys[0]}#1").count("lost"))
        await gone.listen()
        watched.watcher.watch([msgspec.structs.replace(both, endpoints=ranks[:1])], {"lab": QUICK})
        assert [name for _, name, _, _ in watched.watcher.standings()] == [f"{watched.keys[0]}#0"]
        watched.watcher.hear(ranks[0], Outcome(0.0, 0.0))
        await until(lambda: not watched.pools.bars)


# -- where replicas are launched -----------------------------------------------------------------------------------


class Launched:
    """A supervisor of one slot, over real processes: as much of `Control` as health asks for."""

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self.address = ""
        self.said: list[str] = []
        self.replaced = asyncio.Event()

    def pools(self) -> list[str]:
        return ["lab"]

    def status(self) -> list[ReplicaView]:
        return [ReplicaView("lab", "0", self.phase, "", 0.0, 1, self.address, (), None, None, 0, 0, "", False)]

    def logs(self, pool: str, replica: str, lines: int) -> list[str]:
        return []

    async def drain(self, pool: str, replica: str) -> None:
        self.said.append(f"drain {replica}")

    async def restart(self, pool: str, replica: str | None) -> None: ...

    async def scale(self, pool: str, replicas: int) -> None: ...

    def suspect(self, pool: str, replica: str, why: str) -> None:
        self.phase = Phase.SUSPECT
        self.said.append(f"suspect {replica}")

    def cleared(self, pool: str, replica: str) -> None:
        self.phase = Phase.READY
        self.said.append(f"cleared {replica}")

    async def replace(self, pool: str, replica: str, why: str) -> None:
        self.phase = Phase.STOPPING
        self.said.append(f"replace {replica}")
        self.replaced.set()


async def test_a_launched_replica_that_hangs_is_replaced_and_the_next_process_is_judged_anew(
    http: httpx.AsyncClient,
) -> None:
    control = Launched()
    async with living("hang") as life, AsyncExitStack() as stack:
        await life.ready(http)
        control.address = life.url
        control.phase = Phase.READY
        watched = await stack.enter_async_context(watching(life, control=control))
        calling = asyncio.create_task(http.post(f"{life.url}/v1/chat/completions", json=asked()))
        async with asyncio.timeout(30):
            await control.replaced.wait()
        assert (control.said[0], control.said[-1]) == ("suspect 0", "replace 0")
        assert watched.heard.all == [], "its supervisor tells of it"
        assert watched.barred() == [], "its supervisor keeps calls from it"
        life.process.kill()
        with suppress(httpx.TransportError):
            await calling
        await life.ended()
        async with living("", f"--port={httpx.URL(life.url).port}") as next_life:
            next_life.url = life.url
            await next_life.ready(http)
            control.phase = Phase.READY
            got = await http.post(f"{life.url}/v1/chat/completions", json=asked(4))
            assert got.status_code == 200
            await until(lambda: [s.value for _, _, s, _ in watched.watcher.standings()] == ["good"])
            assert control.said.count("replace 0") == 1


@pytest.mark.parametrize("phase", [Phase.LOADING, Phase.DRAINING, Phase.STOPPED, Phase.FAILED])
async def test_a_launched_replica_is_not_judged_while_it_shall_not_answer(phase: Phase) -> None:
    control = Launched()
    async with AsyncExitStack() as stack:
        gone, other = await simulators(stack, 2)
        await gone.close()
        control.address, control.phase = gone.url, phase
        watched = await stack.enter_async_context(watching(gone, other, control=control))
        seen = iter(range(100))
        await until(lambda: next(seen) == 60)
        assert watched.heard.all == []
