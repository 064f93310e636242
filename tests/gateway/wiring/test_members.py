"""A pool behind a name, served: members come and go under load, and no call is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.core.errors import ConfigError
from gateway.door.protocol import DoorLimits
from gateway.door.server import Server
from gateway.pool.discovery import Unresolved
from gateway.simulator import Simulator
from gateway.wiring.runtime import Runtime, dry_compile, read_config
from gateway.wiring.serve import _door
from tests.patience import until
from tests.ports import free_port


class Resolver:
    """Says what it is told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: tuple[str, ...] | None = addresses

    async def find(self, host: str, port: int) -> tuple[str, ...]:
        if self.addresses is None:
            raise Unresolved("away")
        return self.addresses


def write(folder: Path, port: int, **provider: object) -> Path:
    path = folder / "config.yaml"
    config = {
        "auth": "open",
        "providers": {"lab": {"kind": "vllm", "endpoints": [f"http://vllm.lab:{port}"], "discover": "dns", **provider}},
        "deployments": {"pool": {"provider": "lab", "model": "demo", "price": "free"}},
        "policies": {"routes": [{"name": "chat", "when": {"model": ["chat"]}, "among": "all", "pick": "in_order"}]},
        "store": {"url": f"sqlite:///{folder}/headgate.db", "journal": f"{folder}/journal"},
        "cache": {"at": "never"},
    }
    path.write_text(json.dumps(config))
    return path


@asynccontextmanager
async def serving(path: Path, resolver: Resolver) -> AsyncIterator[tuple[Runtime, httpx.AsyncClient]]:
    runtime = Runtime(path, {}, ("127.0.0.1", 0), resolver)
    runtime._members._every_s = 0.02
    await runtime.start()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    server = Server(_door(runtime, "127.0.0.1", "", lambda: False), "127.0.0.1", 0, DoorLimits(), 1.0, ready.set_result)
    task = asyncio.create_task(server.serve())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{await ready}", timeout=30, verify=False) as http:
        yield runtime, http
    server.drain()
    await task
    await runtime.stop()


def ids(runtime: Runtime) -> list[str]:
    return [endpoint.id for endpoint in runtime.pipeline.snapshot.endpoints]


@pytest.mark.parametrize("routing", ["two_choices", "prefix"])
async def test_members_come_and_go_under_load_and_nothing_is_lost(tmp_path: Path, routing: str) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        one, two, three = [
            await stack.enter_async_context(Simulator(f"127.0.0.{last}", port, wire="vllm", tpot_s=0.002))
            for last in (1, 2, 3)
        ]
        resolver = Resolver("127.0.0.1", "127.0.0.2")
        path = write(tmp_path, port, routing=routing)
        runtime, http = await stack.enter_async_context(serving(path, resolver))
        assert ids(runtime) == [f"pool#127.0.0.1:{port}", f"pool#127.0.0.2:{port}"]
        stays = runtime.services.breakers._guards[f"pool#127.0.0.2:{port}"]
        ended = False
        statuses: list[int] = []

        async def load() -> None:
            body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
            while not ended:
                got = await http.post("/v1/chat/completions", json={**body, "stream": len(statuses) % 2 == 0})
                statuses.append(got.status_code)
                assert "error" not in got.text

        tasks = [asyncio.create_task(load()) for _ in range(6)]
        await until(lambda: one.requests and two.requests)
        resolver.addresses = ("127.0.0.2", "127.0.0.3")
        await until(lambda: ids(runtime) == [f"pool#127.0.0.2:{port}", f"pool#127.0.0.3:{port}"])
        await until(lambda: three.requests and not one.in_flight)
        one.requests.clear()
        resolver.addresses = None
        more = len(statuses) + 40
        await until(lambda: len(statuses) > more)
        assert not one.requests
        ended = True
        await asyncio.gather(*tasks)
        assert set(statuses) == {200}
        assert ids(runtime) == [f"pool#127.0.0.2:{port}", f"pool#127.0.0.3:{port}"]
        assert runtime.services.breakers._guards[f"pool#127.0.0.2:{port}"] is stays, "who stays keeps what was learned"
        assert runtime.pipeline.snapshot.revision == 1, "members are no revision"


async def test_a_reload_keeps_the_members(tmp_path: Path) -> None:
    port = free_port()
    resolver = Resolver("127.0.0.1", "::1")
    async with serving(write(tmp_path, port), resolver) as (runtime, _):
        resolver.addresses = None
        write(tmp_path, port, prefix_cache="shared")
        await runtime.reload()
        assert ids(runtime) == [f"pool#127.0.0.1:{port}", f"pool#::1:{port}"]
        assert [str(each.origin.host) for each in runtime.pipeline.snapshot.endpoints] == ["127.0.0.1", "::1"]
        assert runtime.pipeline.snapshot.revision == 2


async def test_a_name_that_nobody_knows_yet_is_left_to_the_transport(tmp_path: Path) -> None:
    resolver = Resolver()
    resolver.addresses = None
    async with serving(write(tmp_path, 8000), resolver) as (runtime, _):
        assert ids(runtime) == ["pool#vllm.lab:8000"]
        resolver.addresses = ("127.0.0.1",)
        await until(lambda: ids(runtime) == ["pool#127.0.0.1:8000"])


@pytest.mark.parametrize(
    ("provider", "says"),
    [
        ({"endpoints": ["http://10.0.0.5:8000"]}, "10.0.0.5 is an address: `discover` looks up names"),
        ({"endpoints": ["https://vllm.lab"]}, "with `discover`, write http://"),
        ({"endpoints": [], "base_url": "http://vllm.lab:8000"}, "write the names to look up as endpoints"),
        ({"kind": "openai", "endpoints": [], "base_url": "http://x"}, "only the kind vllm takes discover"),
    ],
)
def test_what_cannot_be_discovered_is_refused_with_its_place(
    tmp_path: Path, provider: dict[str, object], says: str
) -> None:
    path = write(tmp_path, 8000, **provider)
    with pytest.raises(ConfigError, match=r"config\.yaml:1:") as refused:
        dry_compile(read_config(path, {}))
    assert says in str(refused.value)
