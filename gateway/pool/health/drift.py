"""Which replica has become slow: its time per token against its own past and its siblings' present, at the same load.

Thermal throttling, a link that lost lanes, a neighbour on the same host: nothing fails, and every answer takes longer.
A batch of forty takes longer per token than one of two, so figures are compared within buckets of load alone
(powers of two of the requests that run). Medians, since a single long prompt stretches a second's figure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Final

_PAST: Final = 600  # figures of a bucket that make up its past: ten minutes of seconds at that load


class _Track:
    """One replica at one load: the newest figures (seconds per token), and those before them."""

    def __init__(self, samples: int) -> None:
        self.recent: deque[float] = deque(maxlen=samples)
        self.past: deque[float] = deque(maxlen=_PAST)
        self.slow = False

    def add(self, tpot_s: float) -> None:
        recent = self.recent
        if len(recent) == recent.maxlen and not self.slow:  # a slow spell does not become what is usual
            self.past.append(recent[0])
        recent.append(tpot_s)


class Drift:
    """The replicas of one pool. A figure is over a second or so; `samples` of them make a judgement."""

    def __init__(self, factor: float, samples: int) -> None:
        self.factor = factor
        self.samples = samples
        self._tracks: dict[tuple[str, int], _Track] = {}
        self.drifting: dict[str, float] = {}  # replica -> how many times its own past

    def keep(self, replicas: Iterable[str]) -> None:
        """Forgets replicas that are not named."""
        kept = set(replicas)
        self._tracks = {key: track for key, track in self._tracks.items() if key[0] in kept}
        self.drifting = {replica: times for replica, times in self.drifting.items() if replica in kept}

    def forget(self, replica: str) -> None:
        """Begins anew with a replica: another process, or a second chance."""
        self.keep({key[0] for key in self._tracks} - {replica})

    def observe(self, replica: str, running: int, tpot_s: float) -> bool:
        """Takes a figure at a load; returns whether the replica's standing changed (`drifting` has it)."""
        bucket = running.bit_length()
        track = self._tracks.get((replica, bucket))
        if track is None:
            track = self._tracks[replica, bucket] = _Track(self.samples)
        track.add(tpot_s)
        if len(track.recent) < self.samples or len(track.past) < self.samples:
            return False
        now_s, past_s = median(track.recent), median(track.past)
        siblings = [
            median(other.recent)
            for (name, at), other in self._tracks.items()
            if at == bucket and name != replica and len(other.recent) >= self.samples and not other.slow
        ]
        # It returns half-way, so that one at the border does not flap.
        limit = 1.0 + (self.factor - 1.0) / 2 if track.slow else self.factor
        track.slow = now_s > limit * past_s and (not siblings or now_s > limit * median(siblings))
        was = replica in self.drifting
        if track.slow:
            self.drifting[replica] = now_s / past_s
        elif was and not any(other.slow for (name, _), other in self._tracks.items() if name == replica):
            del self.drifting[replica]
        return was is not (replica in self.drifting)
