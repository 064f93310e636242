"""How far a router's estimate of the time to first token came true."""

from __future__ import annotations

from collections import deque
from typing import Final

KEPT: Final = 128  # streams
GRAIN_S: Final = 0.02  # a step of the engine and the network: what even an empty replica takes
_AGAIN: Final = 8  # streams after which the quantiles are worked out anew


class Forecast:
    """Keeps how many times longer than expected the last streams waited, and tells the usual and the unlucky."""

    __slots__ = ("_fresh", "_ratios", "late", "middle")

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=KEPT)
        self._fresh = 0
        self.middle = self.late = 1.0

    @property
    def samples(self) -> int:
        """Streams that it rests on."""
        return len(self._ratios)

    def learn(self, expected_s: float, took_s: float) -> None:
        """Takes one stream; `expected_s` is what the router's own reckoning said, without the grain."""
        self._ratios.append(took_s / (expected_s + GRAIN_S))
        self._fresh += 1
        if self._fresh >= _AGAIN or self.samples == 1:
            self._fresh = 0
            ratios = sorted(self._ratios)
            last = len(ratios) - 1
            self.middle, self.late = ratios[round(0.5 * last)], ratios[round(0.95 * last)]
