"""Sends a call to the less busy of two deployments drawn at random: the power of two choices.

Two choices spread load nearly as evenly as looking at all, and do not stampede onto whichever was idle a moment ago
(Mitzenmacher, The Power of Two Choices in Randomized Load Balancing, 2001).
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request


class LeastLoaded:
    """Puts the less busy of two drawn candidates first, then all others by calls in flight; `load` breaks ties."""

    name = "least_loaded"

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        count = len(candidates)
        in_flight, load = view.in_flight, view.load
        busy = [(in_flight.get(deployment.name, 0), load.get(deployment.name, 0.0)) for deployment in candidates]
        order = sorted(range(count), key=busy.__getitem__)
        if count > 2:
            one, other = divmod(int(view.draw * count * (count - 1)), count - 1)
            other += other >= one
            best = min(one, other, key=lambda index: (busy[index], index))
            order.remove(best)
            order.insert(0, best)
        return Ranking([candidates[index] for index in order], (), [float(busy[index][0]) for index in order])
