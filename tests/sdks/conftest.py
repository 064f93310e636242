"""The clients: each a program in an environment of its own, which tests command over its stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stories.house import ROOT, World

HERE = Path(__file__).parent
NODE = HERE / "node"
BUILT = ROOT / "build" / "sdks"
GENERATIONS = {  # which of OpenAI's SDKs a client is for; they cannot stand in one environment
    "langchain": "openai-3",
    "pydantic_ai": "openai-3",
    "llama_index": "openai-2",
    "instructor": "openai-2",
    "anthropic": "openai-3",
}
NODES = {  # the programs of those for Node
    "node": ["by_node.mjs"],
    "anthropic_node": ["by_anthropic.mjs"],
    "ai_openai": ["by_ai.mjs", "openai"],
    "ai_anthropic": ["by_ai.mjs", "anthropic"],
    "ai_compatible": ["by_ai.mjs", "compatible"],
}
WITHIN_S = 60.0  # importing some of them takes seconds, on a busy machine many


def python_of(generation: str) -> Path:
    """Returns the interpreter of an environment; skips where there is none."""
    if not (BUILT / generation / ".installed").exists():
        pytest.skip(f"build/sdks/{generation} is not installed: make sdks")
    return BUILT / generation / "bin" / "python"


def node() -> str:
    """Returns the command of Node; skips where there is none, or not the SDKs for it."""
    if not (NODE / "node_modules" / ".installed").exists():
        pytest.skip("the SDKs for Node are not installed: make sdks, where there is Node")
    return "node"


def environment(**more: str) -> dict[str, str]:
    """Returns what a client may know of this one's environment: no keys, no proxies, nobody to send traces to."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | more


class Client:
    """A running client."""

    def __init__(self, name: str) -> None:
        self.name = name
        if name in NODES:
            program, *arguments = NODES[name]
            command = [node(), str(NODE / program), *arguments]
        else:
            command = [str(python_of(GENERATIONS[name])), str(HERE / "clients" / f"by_{name}.py")]
        self._process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    async def ask(self, world: World, do: str, **asked: Any) -> dict[str, Any]:
        """Has the client do something at the story's gateway; returns what it got, or its `error`."""
        line = json.dumps({"do": do, "url": f"{world.house.url}/v1", **asked})
        exchange = asyncio.create_task(asyncio.to_thread(self._exchange, line))
        await asyncio.wait([exchange], timeout=WITHIN_S)
        if not exchange.done():
            self._process.kill()
        told = await exchange
        assert told, f"{self.name} has ended, or did not answer within {WITHIN_S:.0f} s"
        got: dict[str, Any] = json.loads(told)
        return got

    def _exchange(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    @property
    def ended(self) -> bool:
        """Whether its program has ended, by an error that was none of the client's."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the client."""
        self._process.kill()
        self._process.communicate()


Clients = Callable[[str], Client]


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    """Starts each client when it is first asked for; they run on, since starting one takes seconds."""
    running: dict[str, Client] = {}

    def of(name: str) -> Client:
        if name in running and running[name].ended:
            running.pop(name).close()
        if name not in running:
            running[name] = Client(name)
        return running[name]

    yield of
    for client in running.values():
        client.close()
