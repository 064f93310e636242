"""When a replica that ended is started again, and when that is given up. Times and the dice are passed in."""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.pool.supervisor.endings import Kind

LONGEST_WAIT_S: Final = 60.0
CRASHES: Final = 5  # more than this many within the window is a loop
WINDOW_S: Final = 600.0
CALM_S: Final = 600.0  # after so long in service the past is forgotten


class Restarts:
    """One replica's past; `unit_s` is the first wait."""

    def __init__(self, unit_s: float = 1.0) -> None:
        self.count = 0  # ever
        self._unit_s = unit_s
        self._in_a_row = 0
        self._crashes: deque[float] = deque()
        self._out_of_memory = False

    def after(self, kind: Kind, now: float, draw: float) -> float | None:
        """Returns after how many seconds to start again, or None where that is of no use."""
        if kind is Kind.CONFIG or (kind is Kind.MEMORY and self._out_of_memory):
            return None
        if kind is not Kind.PASSING:
            self._crashes.append(now)
            while self._crashes[0] <= now - WINDOW_S:
                self._crashes.popleft()
            if len(self._crashes) > CRASHES:
                return None
        self._out_of_memory = kind is Kind.MEMORY
        self.count += 1
        if kind is Kind.ASKED:
            return 0.0
        wait_s = min(LONGEST_WAIT_S, self._unit_s * 2.0**self._in_a_row)
        self._in_a_row = min(self._in_a_row + 1, 10)
        return wait_s * (0.75 + 0.25 * draw)

    def served(self, for_s: float) -> None:
        """Forgets the past of a replica that has been in service for so long."""
        if for_s >= CALM_S:
            self._in_a_row = 0
            self._out_of_memory = False
            self._crashes.clear()
