"""Counts over the last seconds: a ring of slots, so that adding costs the same however many calls there are."""

from __future__ import annotations

from collections import deque


class Window:
    """Counts several kinds of event over the last `span_s` seconds, one slot (a tenth) at a time."""

    __slots__ = ("_current", "_kinds", "_per_s", "_ring", "_tick")

    SLOTS = 10

    def __init__(self, span_s: float, kinds: int) -> None:
        self._per_s = self.SLOTS / span_s
        self._kinds = kinds
        self._tick = 0
        self.clear()

    def clear(self) -> None:
        """Forgets everything counted so far."""
        self._current = [0] * self._kinds
        self._ring = deque([self._current], maxlen=self.SLOTS)

    def add(self, kind: int, now: float) -> None:
        """Counts one event at `now`; a `now` that lies a little behind an earlier one is taken as that."""
        tick = int(now * self._per_s)
        if tick > self._tick:
            self._turn(tick)
        self._current[kind] += 1

    def totals(self, now: float) -> list[int]:
        """Returns how many of each kind the window holds at `now`."""
        tick = int(now * self._per_s)
        if tick > self._tick:
            self._turn(tick)
        return [sum(slot[kind] for slot in self._ring) for kind in range(self._kinds)]

    def _turn(self, tick: int) -> None:
        for _ in range(min(tick - self._tick, self.SLOTS)):
            self._current = [0] * self._kinds
            self._ring.append(self._current)
        self._tick = tick
