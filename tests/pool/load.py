"""Callers that ask without a pause, half of them for streams, and how each of their calls ended."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from types import TracebackType
from typing import Final, NamedTuple, Self

import httpx

from tests.patience import until
from tests.pool.places import ENDLESS, WITHIN_S
from tests.stories.house import CHAT, DONE, NO_TLS, World, body_of
from tests.stories.test_stop import receipts

CALLERS: Final = 8


class Ended(NamedTuple):
    """How one call ended: `whole`, `broken` (said in-band), `refused` (said instead of an answer), or `false`."""

    id: str
    how: str
    stream: bool
    content: bool
    told: str


class Load:
    """Callers at work while the context lasts."""

    def __init__(self, world: World) -> None:
        self.ended: list[Ended] = []
        self._world = world
        self._http = httpx.AsyncClient(base_url=world.house.url, timeout=WITHIN_S, verify=NO_TLS)
        self._stopping = False
        self._callers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._callers = [asyncio.create_task(self._ask_on(number)) for number in range(CALLERS)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*self._callers)
        await self._http.aclose()

    async def goes_on(self, calls: int) -> None:
        """Returns once so many more calls have been answered whole."""
        wanted = self.whole + calls
        await until(lambda: self.whole >= wanted, WITHIN_S)

    @property
    def whole(self) -> int:
        """Calls that were answered whole."""
        return sum(each.how == "whole" for each in self.ended)

    async def account(self) -> dict[str, list[str | None]]:
        """Holds every ending against the laws and the books; returns the reasons of each call's attempts, by its id."""
        wrong = Counter((each.how, each.told) for each in self.ended if each.how in ("refused", "false"))
        assert not wrong, f"of {len(self.ended)} calls"
        assert all(each.stream and each.content for each in self.ended if each.how == "broken")
        asked = {each.id: each for each in self.ended}
        assert len(asked) == len(self.ended)
        house = self._world.house
        await until(lambda: asked.keys() <= receipts(house).keys(), WITHIN_S)
        books = receipts(house)
        tried = {}
        for id, each in asked.items():
            receipt = books[id]
            reasons = tried[id] = [attempt.get("reason") for attempt in receipt["attempts"]]
            assert 1 <= len(reasons) <= 3
            assert None not in reasons[:-1]
            assert (reasons[-1] is None) == (each.how == "whole") == (receipt.get("reason") is None)
            assert (receipt["status"], receipt["cost_nano"] > 0) == (200, True)
        return tried

    async def _ask_on(self, number: int) -> None:
        draw = random.Random(number)
        stream = number % 2 == 0
        while not self._stopping:
            body = body_of(f"{number}", stream=stream, max_tokens=draw.randint(5, 60), **ENDLESS)
            self.ended.append(await self._ask(body, stream))

    async def _ask(self, body: object, stream: bool) -> Ended:
        id, text, status = "", "", 0
        try:
            async with self._http.stream("POST", CHAT, json=body) as response:
                id, status = response.headers["x-request-id"], response.status_code
                async for piece in response.aiter_text():
                    text += piece
        except httpx.TransportError as error:
            return Ended(id, "false", stream, False, repr(error))
        if status != 200:
            return Ended(id, "refused", stream, False, text)
        if not stream:
            answer = json.loads(text)
            return Ended(id, "whole", stream, bool(answer["choices"][0]["message"]["content"]), "")
        events = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
        last = events[-1] if events else ""
        if last == DONE:
            return Ended(id, "whole", stream, True, "")
        return Ended(id, "broken" if last.startswith('{"error"') else "false", stream, len(events) > 1, last)
