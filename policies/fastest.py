"""Takes the candidate that is predicted to finish the call first."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Request
from policies._expected import seconds
from policies._exploring import MIN_SAMPLES, explored


class Fastest:
    """Sorts by predicted seconds to finish; unproven candidates come last, save for calls they get to be measured."""

    name = "fastest"

    def __init__(self, min_samples: int = MIN_SAMPLES) -> None:
        self._min_samples = min_samples

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        times = seconds(request, candidates, view, self._min_samples)
        order = sorted(range(len(times)), key=times.__getitem__)  # stable: ties keep the order of `among`
        note = ""
        if order and times[order[-1]] == inf:
            note = "unproven last"
            unproven = [index for index in order if times[index] == inf]
            chosen = explored(view.draw, len(unproven))
            if chosen is not None:
                index = unproven[chosen]
                order.remove(index)
                order.insert(0, index)
                note = f"{candidates[index].name} first to be measured"
        return Ranking([candidates[index] for index in order], (), [times[index] for index in order], note)
