"""A few calls a second to the demo's gateway, so that what is live moves: through its door, by its keys."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from itertools import count
from typing import Final

import msgspec

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import UpstreamError
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.demo.world import WORKLOADS, Workload
from gateway.upstream.http1 import Http1Transport

_PER_SECOND: Final = 3.0
_AT_ONCE: Final = 40
_TIMEOUTS: Final = Timeouts(total_s=120.0)
_PATHS: Final = {"chat": b"/v1/chat/completions", "messages": b"/v1/messages", "embeddings": b"/v1/embeddings"}
_QUESTIONS: Final = (
    "Where is my order?",
    "Summarise the meeting in three points.",
    "Write a test for a function that parses dates.",
    "What does our contract say about notice?",
    "Draft a friendly reminder about an open invoice.",
)
_PERSONAL: Final = "my SSN is 536-90-4399, please update my record"


class Traffic:
    """Asks until it is cancelled; `keys` are in plain, by name. What is answered is read to its end and dropped."""

    def __init__(self, origin: Origin, keys: Mapping[str, str], source: random.Random) -> None:
        self._origin = origin
        self._keys = keys
        self._random = source
        self._transport = Http1Transport()
        self._workloads = [each for each in WORKLOADS if each.dialect in _PATHS and each.key in keys]
        self._numbers = count(1)

    async def run(self) -> None:
        """Begins a call every now and then, at most forty at once."""
        shares = [each.share for each in self._workloads]
        slots = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await asyncio.sleep(self._random.expovariate(_PER_SECOND))
                    await slots.acquire()
                    workload = self._random.choices(self._workloads, shares)[0]
                    tasks.create_task(self._ask(workload)).add_done_callback(lambda _: slots.release())
        finally:
            await self._transport.aclose()

    async def _ask(self, workload: Workload) -> None:
        auth: Headers = ((b"authorization", f"Bearer {self._keys[workload.key]}".encode()),)
        endpoint = Endpoint("traffic", "traffic", "traffic", self._origin, auth)
        request = UpstreamRequest(_PATHS[workload.dialect], msgspec.json.encode(self._body(workload)))
        expires_at = asyncio.get_running_loop().time() + _TIMEOUTS.total_s
        try:
            exchange = await self._transport.send(endpoint, request, _TIMEOUTS, expires_at)
            await exchange.read()
        except UpstreamError:
            pass  # the gateway stops, or sheds: what it had to say of it is in its own books

    def _body(self, workload: Workload) -> dict[str, object]:
        personal = self._random.random() < workload.personal
        words = _PERSONAL if personal else self._random.choice(_QUESTIONS)
        if not (workload.repeated and self._random.random() < workload.repeated):
            words += f" ({next(self._numbers)})"  # else somebody has asked so before, and the cache may know
        body: dict[str, object] = {"model": workload.model}
        if workload.endpoint == "embeddings":
            return body | {"input": words}
        body |= {"messages": [{"role": "user", "content": words}], "stream": workload.stream, "max_tokens": 400}
        if workload.repeated:
            body["temperature"] = 0
        if workload.users and workload.dialect == "chat":
            body["user"] = self._random.choice(workload.users)
        return body
