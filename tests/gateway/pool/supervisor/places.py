"""A pool of the simulator's vLLM processes behind a gateway of its own, and what there is to see of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from gateway.pool.supervisor.processes import Known, Mark, lives, marked
from gateway.wiring.launched import specs_of
from gateway.wiring.runtime import read_config
from tests.patience import until
from tests.stories.house import House, Place, config_of

COMMAND: Final = [sys.executable, "-m", "gateway.simulator.vllm_process"]
PRICE: Final = {"input": "1.00", "output": "4.00"}
BREAKERS: Final = {"rest": "300ms", "longest_rest": "1s"}
WITHIN_S: Final = 60.0


class Pool:
    """A config with one launched pool, its gateway, and its processes."""

    def __init__(self, house: House, name: str = "gpus", within_s: float = WITHIN_S) -> None:
        self.house = house
        self.within_s = within_s
        self.folder = house.folder / "pool" / name
        self.name = name
        self.settings: dict[str, Any] = {
            "model": "tiny/llama",
            "replicas": 2,
            "command": COMMAND,
            "state_dir": str(house.folder / "pool"),
            "drain_grace": "20s",
        }

    def config(self, model: str = "tiny", **settings: Any) -> dict[str, Any]:
        """Returns the config; settings stay as they were last said."""
        self.settings |= settings
        place = Place({"kind": "vllm", "pool": self.settings}, {"model": model, "price": PRICE})
        config = config_of({"local": place}, breakers=BREAKERS)
        # `config_of` gives providers a new name each time; a pool keeps its own.
        (provider,) = config["providers"].values()
        config["providers"] = {self.name: provider}
        config["deployments"]["local"]["provider"] = self.name
        return config

    def slots(self) -> dict[str, dict[str, Any]]:
        """Returns what the state file says of each slot in which a process stands."""
        slots = json.loads((self.folder / "state.json").read_text())["slots"]
        return {name: slot for name, slot in slots.items() if slot["pid"]}

    def pids(self) -> list[int]:
        """Returns the servers' process ids."""
        return sorted(slot["pid"] for slot in self.slots().values())

    def told(self) -> str:
        """Returns how the pool stands, in the words of /readyz."""
        page = httpx.get(f"{self.house.url}/readyz", verify=False).json()
        return str(page.get("pools", {}).get(self.name, ""))

    async def ready(self, count: int, *, by_config: bool = True) -> None:
        """Waits until so many replicas are ready, and no more are there; all of them as the config says."""
        (spec,) = specs_of(read_config(self.house.path, {})).values()

        def is_so() -> bool:
            hashes = {slot["config_hash"] for slot in self.slots().values()}
            return self.told() == f"{count} of {count} replicas ready" and (not by_config or hashes == {spec.hash})

        await until(is_so, self.within_s)

    def events(self, what: str, since: int = 0) -> list[dict[str, Any]]:
        """Returns what befell replicas, by its word."""
        return [event for event in self.house.events("pool_event", since) if event["what"] == what]

    def alive(self) -> dict[Known, str]:
        """Returns all processes of this pool that live, whoever began them, each with its slot."""
        return marked(Mark.of(self.folder))


@contextmanager
def swept(pool: Pool) -> Iterator[Pool]:
    """Ends what a test has left of a pool."""
    try:
        yield pool
    finally:
        pool.house.kill()
        for process in pool.alive():
            if lives(process):
                os.kill(process.pid, 9)
