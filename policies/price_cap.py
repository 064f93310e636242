"""Keeps deployments whose list price is within a ceiling."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.money import Price, usd
from gateway.core.policy import Ranking, View
from gateway.core.types import Deployment, Removal, Request


class PriceCap:
    """Keeps deployments at or under the rates given, in nano-dollars per million tokens; None sets no ceiling.

    Every tier of a price counts, so that the ceiling holds for a prompt of any size. An unknown price is over it.
    """

    name = "max_price"

    def __init__(self, input_nano: int | None = None, output_nano: int | None = None) -> None:
        self._input = input_nano
        self._output = output_nano

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking:
        kept: list[Deployment] = []
        removed: list[Removal] = []
        for deployment in candidates:
            why = self._over(deployment.price)
            if why is None:
                kept.append(deployment)
            else:
                removed.append(Removal(deployment.name, self.name, why))
        return Ranking(kept, removed)

    def _over(self, price: Price | None) -> str | None:
        if price is None:
            return "its price is unknown"
        for _, rates in price.tiers:
            if self._input is not None and rates.fresh_input > self._input:
                return f"input {usd(rates.fresh_input)} > {usd(self._input)}"
            if self._output is not None and rates.output_text > self._output:
                return f"output {usd(rates.output_text)} > {usd(self._output)}"
        return None
