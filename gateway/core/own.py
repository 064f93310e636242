"""What a token costs on one's own GPUs: in full, and what one more costs while there is room.

GPUs are paid for whether they work or not. While a pool has room, a further token costs power and egress alone; once a
further replica would have to start for it, it costs what that replica does. Receipts charge the full price; the price
that ranks a pool among other places rises from one to the other with its load.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.core.money import Price, Rates, Usage, charge, rate_of

# The share of the target from which the price rises: below it a pool takes whatever comes.
ROOM: Final = 0.5


class OwnPrice(msgspec.Struct, frozen=True):
    """Beside the full price of a deployment on one's own GPUs: the rates of one more token while there is room.

    `target` is the load (0 to 1) from which on a further replica would have to start.
    """

    spare: Rates
    target: float


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What a pool's tokens cost when a call was planned, in nano-dollars per million tokens.

    `load` is 0 to 1. `input`, `cached_input` and `output` are what it was ranked by; `full_input` and `full_output`
    what its receipt charges.
    """

    deployment: str
    load: float
    input: int
    cached_input: int
    output: int
    full_input: int
    full_output: int


def risen(load: float, target: float) -> float:
    """Returns how far a price has risen from spare (0) to full (1): from half of the target on, in a straight line."""
    begins = target * ROOM
    if load <= begins:
        return 0.0
    return min(1.0, (load - begins) / (target - begins))


def standing_of(deployment: str, full: Price, own: OwnPrice, load: float) -> Standing:
    """Returns a pool's prices at a load, each rounded to the nano-dollar."""
    rates, share = full.tiers[0][1], risen(load, own.target)

    def at(bucket: str) -> int:
        spare = rate_of(own.spare, bucket)
        return spare + round(share * (rate_of(rates, bucket) - spare))

    return Standing(
        deployment,
        round(load, 3),
        at("fresh_input"),
        at("cached_input"),
        at("output_text"),
        rates.fresh_input,
        rates.output_text,
    )


def marginal_nano(usage: Usage, standing: Standing) -> int:
    """Returns the nano-dollars of an answer at the price that its call was ranked by."""
    rates = Rates(fresh_input=standing.input, cached_input=standing.cached_input, output_text=standing.output)
    return charge(usage, Price("", ((0, rates),))).nano_usd
