"""How far a start is: read from what vLLM says, measured against how long it took the last time.

The lines are those of vLLM 0.32 and 0.33. Where a version says them otherwise, a phase is passed over, and its time
counts to the one before: whether a replica is ready is asked, not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.pool.states import Phase

ORDER: Final = (Phase.STARTING, Phase.LOADING, Phase.PROFILING, Phase.CAPTURING, Phase.WARMING)
_MARKS: Final = (
    ("Starting to load model", Phase.LOADING),
    ("Loading weights took", Phase.PROFILING),
    ("Model loading took", Phase.PROFILING),
    (" KV cache size: ", Phase.CAPTURING),
    ("Starting vLLM server on", Phase.WARMING),
    ("Application startup complete", Phase.WARMING),
)
# The engine is dead, or will never be alive; the server that waits for it may not have heard of it yet.
_DEATHS: Final = (
    "EngineCore failed to start",
    "Engine core initialization failed",
    "EngineCore encountered a fatal error",
    "died unexpectedly",
)


def phase_of(line: str) -> Phase | None:
    """Returns the phase that a line says has begun, or None."""
    return next((phase for mark, phase in _MARKS if mark in line), None)


def tells_of_death(line: str) -> bool:
    """Says whether a line tells that the engine is dead."""
    return any(mark in line for mark in _DEATHS)


class Start:
    """One start, phase by phase; times are monotonic seconds."""

    def __init__(self, began_at: float) -> None:
        self.phase = Phase.STARTING
        self._began = {Phase.STARTING: began_at}

    def reach(self, phase: Phase, now: float) -> bool:
        """Goes on to a phase; returns whether it is news. No start goes back."""
        if ORDER.index(phase) <= ORDER.index(self.phase):
            return False
        self.phase = phase
        self._began[phase] = now
        return True

    def in_phase_s(self, now: float) -> float:
        """Returns how long the phase has lasted."""
        return now - self._began[self.phase]

    def lasted(self, now: float) -> dict[str, float]:
        """Returns how long each phase took, up to now."""
        ends = [*list(self._began.values())[1:], now]
        return {phase.value: end - began for (phase, began), end in zip(self._began.items(), ends, strict=True)}

    def left_s(self, last: Mapping[str, float], now: float) -> float | None:
        """Returns how long it may still take, going by the last one; None where there was none."""
        if not last:
            return None
        at = ORDER.index(self.phase)
        here = last.get(self.phase.value, 0.0) - self.in_phase_s(now)
        return max(0.0, here) + sum(last.get(phase.value, 0.0) for phase in ORDER[at + 1 :])

    def progress(self, last: Mapping[str, float], now: float) -> float:
        """Returns the share of it that is done, 0 to 1: of the time it took last, or of its phases."""
        left_s = self.left_s(last, now)
        if left_s is None:
            return ORDER.index(self.phase) / len(ORDER)
        spent_s = now - self._began[Phase.STARTING]
        return spent_s / (spent_s + left_s) if spent_s + left_s > 0 else 0.0
