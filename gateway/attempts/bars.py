"""The gate of a process some of whose replicas are barred: the breakers', and nobody who is barred."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from gateway.attempts.course import Gate
from gateway.core.types import Endpoint


class Unbarred:
    """Asks the breakers of those alone who are not barred; implements `Gate`."""

    __slots__ = ("_barred", "_gate")

    def __init__(self, gate: Gate, barred: Callable[[Endpoint], str | None]) -> None:
        self._gate = gate
        self._barred = barred

    def admits(self, endpoint: Endpoint, now: float) -> bool:
        return self._barred(endpoint) is None and self._gate.admits(endpoint, now)

    def least_bad(self, endpoints: Iterable[Endpoint], now: float) -> Endpoint | None:
        return self._gate.least_bad([each for each in endpoints if self._barred(each) is None], now)

    def ready_at(self, endpoint: Endpoint, now: float) -> float:
        return math.inf if self._barred(endpoint) is not None else self._gate.ready_at(endpoint, now)
