"""What befell replicas, told once: in a bounded ring for those who ask, in the log, and as a count."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import structlog

KEPT: Final = 1000

_log = structlog.get_logger("headgate")


class Event(msgspec.Struct, frozen=True):
    """One event; `at` is in seconds since the epoch, `serial` counts from 1 in this process's life."""

    serial: int
    at: float
    pool: str
    replica: str
    what: str
    why: str = ""
    facts: dict[str, Any] = {}


class EventRing:
    """Keeps the last events; `counted` is told of each one's pool and word. Implements `states.Events`."""

    def __init__(self, counted: Callable[[str, str], None] | None = None, kept: int = KEPT) -> None:
        self.counted = counted
        self._ring: deque[Event] = deque(maxlen=kept)
        self._serial = 0

    def tell(self, pool: str, replica: str, what: str, why: str = "", **facts: object) -> None:
        """Notes one event; `what` is one word of a closed list, `facts` are values that JSON can hold."""
        self._serial += 1
        self._ring.append(Event(self._serial, time.time(), pool, replica, what, why, dict(facts)))
        if self.counted is not None:
            self.counted(pool, what)
        said = {"pool": pool, "replica": replica, "what": what} | ({"why": why} if why else {})
        # A fact may have any name; those of the log's own stay theirs.
        _log.info("pool_event", **{name: value for name, value in facts.items() if name != "event"} | said)

    def after(self, serial: int = 0, pool: str | None = None) -> Iterator[Event]:
        """Yields the events that came after one, oldest first; of one pool, or of all."""
        for event in list(self._ring):
            if event.serial > serial and (pool is None or event.pool == pool):
                yield event
