"""Where the replicas of a pool stand that is named rather than listed: asked again and again, off the path of calls.

A name whose answers fail keeps the last one: a resolver that is away must not take a pool with it, and health finds
who is gone. An address leaves once two answers in a row are without it, for some resolvers tell of a few of many at a
time; calls under way there go on, new ones do not come.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol

from gateway.pool.states import Events

EVERY_S: Final = 5.0
_WITHIN_S: Final = 2.0
_MISSES: Final = 2  # answers in a row without an address before it leaves

Name = tuple[str, int]  # host and port


class Unresolved(Exception):
    """A name has no answer now; says why."""


class Discovery(Protocol):
    """Says who stands behind a name now. DNS does; a watch of Kubernetes' EndpointSlices can."""

    async def find(self, host: str, port: int) -> tuple[str, ...]:
        """Returns the addresses that take new calls; raises Unresolved where nobody can say."""
        ...


class Dns:
    """Asks the system's resolver, in its own threads."""

    async def find(self, host: str, port: int) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(_WITHIN_S):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except TimeoutError:
            raise Unresolved(f"no answer within {_WITHIN_S:.0f} s") from None
        except OSError as error:
            raise Unresolved(error.strerror or str(error)) from None
        return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Members:
    """What is known of every name, over configs. `addresses` of a name without an answer yet are none."""

    def __init__(self, discovery: Discovery, events: Events, every_s: float = EVERY_S) -> None:
        self._discovery = discovery
        self._events = events
        self._every_s = every_s
        self._known: dict[Name, tuple[str, ...]] = {}
        self._missed: dict[Name, dict[str, int]] = {}
        self._troubled: set[Name] = set()

    def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Returns who stands behind a name, sorted; nothing where that is not known."""
        return self._known.get((host, port), ())

    async def learn(self, names: Mapping[Name, str]) -> None:
        """Asks for names, by the pool that has them, that nothing is known of."""
        await self._ask({name: pool for name, pool in names.items() if name not in self._known})

    async def follow(self, names: Callable[[], Mapping[Name, str]], changed: Callable[[], Awaitable[None]]) -> None:
        """Asks for all names every few seconds, and says when members have changed, until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            wanted = names()
            for gone in self._known.keys() - wanted.keys():
                del self._known[gone]
            if await self._ask(wanted):
                await changed()

    async def _ask(self, names: Mapping[Name, str]) -> bool:
        """Takes answers; returns whether any of them changed what is known."""
        return any(await asyncio.gather(*[self._find(name, pool) for name, pool in names.items()]))

    async def _find(self, name: Name, pool: str) -> bool:
        try:
            found = await self._discovery.find(*name)
            if not found:
                raise Unresolved("it has no address")
        except Unresolved as error:
            if name not in self._troubled:
                self._troubled.add(name)
                self._events.tell(pool, name[0], "unresolved", f"{error}; what was known before holds")
            return False
        self._troubled.discard(name)
        before = self._known.get(name, ())
        now = tuple(sorted({*found, *self._still(name, before, found)}))
        self._known[name] = now
        for address in sorted({*now} ^ {*before}):
            self._events.tell(pool, address, "joined" if address in now else "left", f"by the answer for {name[0]}")
        return now != before

    def _still(self, name: Name, before: Iterable[str], found: Iterable[str]) -> list[str]:
        """Returns who was there and is missing for the first time."""
        missed = self._missed.get(name, {})
        self._missed[name] = now = {each: missed.get(each, 0) + 1 for each in {*before} - {*found}}
        return [each for each, times in now.items() if times < _MISSES]
