"""A supervisor in the test's own loop, over real processes, sockets and routers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core.types import Deployment, Endpoint, Origin, Pooled
from gateway.pool.router import Pools
from gateway.pool.states import Phase, ReplicaView
from gateway.pool.supervisor import Gpus, Pace, Spec, Supervisor
from gateway.pool.supervisor.gpus import Facts
from gateway.upstream.http1 import Http1Transport
from gateway.wiring.launched import surroundings
from tests.gateway.pool.supervisor.places import COMMAND, WITHIN_S
from tests.patience import until


class Told:
    """Implements `Events`, and keeps them all."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str]] = []

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        self.all.append((replica, what, why))

    def of(self, what: str) -> list[str]:
        """Returns the reasons of one kind of event."""
        return [why for _, told, why in self.all if told == what]


class Given(Gpus):
    """GPUs of a machine that is not there."""

    facts = Facts()

    async def _facts(self) -> Facts:
        return self.facts


class Bench:
    """A supervisor and what it works with. `simulate` says what goes wrong with the next process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pools = Pools()
        self.events = Told()
        self.gpus = Given()
        self.environ = {**os.environ, "HEADGATE_SIMULATE": ""}
        self._transport = Http1Transport()
        around = surroundings(self.pools, self._transport, self.events, self.environ)
        self.around = msgspec.structs.replace(
            around, gpus=self.gpus, pace=Pace(back_off_s=0.02, gently_s=1.0, death_s=0.3)
        )
        self.spec = self.said()
        self.supervisor = Supervisor(self.around, self.resized)

    def said(self, **settings: Any) -> Spec:
        settings = {"replicas": 1, "drain_s": 5.0, "command": tuple(COMMAND), **settings}
        return Spec("gpus", "tiny/llama", ("tiny",), self.folder, **settings)

    def simulate(self, fault: str) -> None:
        self.environ["HEADGATE_SIMULATE"] = fault

    async def resized(self) -> None:
        self.apply(self.spec)

    def apply(self, spec: Spec) -> None:
        """Does as the runtime does with a config."""
        self.spec = spec
        self.supervisor.prepare({"gpus": spec})
        self.pools.watch([self.deployment])
        self.supervisor.apply({"gpus": spec})

    def launch(self, **settings: Any) -> None:
        self.apply(self.said(**settings))

    @property
    def deployment(self) -> Deployment:
        origins = self.supervisor.origins(self.spec)
        endpoints = [Endpoint(f"local#{at}", "local", "gpus", origin) for at, origin in enumerate(origins)]
        return Deployment(
            "local", "gpus", "vllm", "tiny", "vllm", b"/v1", tuple(endpoints), pooled=Pooled("two_choices")
        )

    @property
    def standing(self) -> list[str]:
        """The slots that get calls."""
        return [endpoint.id.rpartition("#")[2] for endpoint in self.pools.standing.endpoints(self.deployment)]

    def view(self, name: str = "0") -> ReplicaView:
        return next(view for view in self.supervisor.status() if view.name == name)

    def origin(self, name: str = "0") -> Origin:
        return self.supervisor.origins(self.spec)[int(name)]

    def phases(self) -> dict[str, Phase]:
        return {view.name: view.phase for view in self.supervisor.status()}

    async def reach(self, phase: Phase, name: str = "0") -> ReplicaView:
        """Waits until a replica is so far."""
        await until(lambda: self.phases().get(name) is phase, WITHIN_S)
        return self.view(name)

    async def close(self) -> None:
        await self.supervisor.stop()
        await self._transport.aclose()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A supervisor without a pool yet."""
    bench = Bench(tmp_path / "pool" / "gpus")
    yield bench
    await bench.close()
