"""Load on a gateway that is a process of its own, while worse befalls it than it can be told in-process."""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random
from typing import Final

from gateway.simulator import Fault
from tests.storms.callers import Leave
from tests.storms.calls import Asked, Past
from tests.storms.places import TEAMS, Sky, Trouble
from tests.storms.steps import Ask

CALLERS: Final = 8
UNHURRIED_S: Final = 2.0  # for a first token: what ends these calls is no deadline
ANY_REVISION: Final = 1 << 30

_KINDS: Final = ("cut", "reset", "500", "429", "error", "malformed", "torn", "abort", "no-done", "early")
_SLOWLY: Final = Trouble(Fault("ok", ttft_s=0.004, tpot_s=0.001))


class Load:
    """Callers of one run of the gateway, and what they were answered."""

    def __init__(self, sky: Sky, host: str, port: int, first: int, draw: Random) -> None:
        sky.begin()
        self.past = Past(sky.heard, sky.answers)
        self.ended = False
        self.why = ""  # it has ended by itself
        self.whole = 0
        self._sky = sky
        self._address = host, port
        self._first = first
        self._draw = draw
        self._callers = [asyncio.create_task(self._run()) for _ in range(CALLERS)]

    async def end(self) -> None:
        """Lets what is under way come to its end, and asks no more."""
        self.ended = True
        await asyncio.gather(*self._callers)

    @property
    def next(self) -> int:
        """The number of the next call."""
        return self._first + len(self.past.calls)

    async def _run(self) -> None:
        while not self.ended:
            ask = _drawn(self._draw)
            asked = Asked(self.next, ask, 0)
            asked.last_revision = ANY_REVISION
            self.past.calls.append(asked)
            self._sky.troubles[asked.number] = deque(ask.troubles)
            try:
                await asked.caller.call(
                    *self._address, asked.request(asked.number if ask.twin is None else self._first)
                )
            except ConnectionError as error:
                self.ended, self.why = True, f"{asked.number} {ask} could not connect: {error}"
            else:
                if not asked.caller.complete and not asked.caller.left:
                    self.ended, self.why = True, f"{asked.number} {ask} was broken off: {asked.caller}"
            self.whole += asked.caller.complete


def _drawn(draw: Random) -> Ask:
    """Draws a call: some have twins, most fare well, a few callers leave."""
    twin = draw.choice((None, None, None, 0, 1))
    troubles = [
        Trouble(Fault(draw.choice(_KINDS), after=draw.randint(0, 3), tpot_s=0.001)) if draw.random() < 0.3 else _SLOWLY
        for _ in range(2)
    ]
    return Ask(
        model="own" if twin is not None else draw.choice(("chat", "chat", "spread", "own")),
        key=draw.choice(tuple(TEAMS)),
        level=draw.choice(("", "", "restricted")),
        stream=draw.random() < 0.6,
        twin=twin,
        tokens=8 if twin is not None else draw.randint(1, 12),
        troubles=tuple(troubles),
        leave=Leave(draw.choice((0, 300, 900)), draw.random() < 0.5) if draw.random() < 0.1 else None,
    )
