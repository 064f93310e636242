"""What an answer would have cost elsewhere: compiled once per config, asked once per answered call. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.core.money import Cost, Price, Usage, charge, knows
from gateway.core.types import Deployment, Plan

SELF_HOSTED = "self_hosted"


class Elsewhere(msgspec.Struct, frozen=True):
    """By route: its deployments that have a price, the dearest first; its hosted ones, cheapest at list price first.

    `lists` are the list prices of hosted deployments by name: their provider's public one, or, where none is known,
    their own. `own` are the names of those on one's own machines.
    """

    dearest_first: Mapping[str, tuple[Deployment, ...]] = {}
    hosted_first: Mapping[str, tuple[str, ...]] = {}
    lists: Mapping[str, Price] = {}
    own: frozenset[str] = frozenset()

    def dearest_nano(self, plan: Plan, usage: Usage) -> int | None:
        """Returns what the dearest permitted place of the route would have charged; None where nobody's price says."""
        for deployment in self.dearest_first.get(plan.route, ()):
            price = deployment.price
            if deployment.name in plan.permitted and price is not None and knows(price, usage):
                return charge(usage, price).nano_usd
        return None

    def list_nano(self, plan: Plan, answered: Deployment, usage: Usage, cost: Cost | None) -> int | None:
        """Returns what the answer costs at list price where it is hosted, or else at the cheapest permitted that is."""
        hosted = self.hosted_first.get(plan.route, ()) if answered.name in self.own else (answered.name,)
        for name in hosted:
            price = self.lists.get(name)
            if price is None or name not in plan.permitted:
                continue
            if cost is not None and price is answered.price:  # the usual case
                return cost.nano_usd
            if knows(price, usage):
                return charge(usage, price).nano_usd
        return None

    def spilled(self, plan: Plan, answered: Deployment) -> bool:
        """Says whether a hosted place answered though one of one's own was permitted."""
        return bool(self.own) and answered.name not in self.own and not self.own.isdisjoint(plan.permitted)


def elsewhere_of(
    routes: Iterable[tuple[str, Sequence[Deployment]]],
    deployments: Iterable[Deployment],
    listed: Mapping[str, Price],
) -> Elsewhere:
    """Compiles; `listed` are the public prices that are known, by deployment."""
    every = list(deployments)
    own = frozenset(each.name for each in every if each.pooled is not None or each.location == SELF_HOSTED)
    lists: dict[str, Price] = {}
    for each in every:
        price = listed.get(each.name, each.price)
        if each.name not in own and price is not None and price.source != "ceiling":  # a ceiling is nobody's price
            same = each.price is not None and each.price.version == price.version
            lists[each.name] = each.price if same and each.price is not None else price
    dearest, hosted = {}, {}
    for route, among in routes:
        priced = [each for each in among if each.price is not None]
        dearest[route] = tuple(sorted(priced, key=lambda each: -_usual(each.price)))
        hosted[route] = tuple(
            sorted((each.name for each in among if each.name in lists), key=lambda name: _usual(lists[name]))
        )
    return Elsewhere(dearest, hosted, lists, own)


def _usual(price: Price | None) -> int:
    """Weighs a price: three tokens in for one out, the usual mix of chats."""
    assert price is not None
    rates = price.tiers[0][1]
    return 3 * rates.fresh_input + rates.output_text
