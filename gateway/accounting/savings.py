"""What was spared, and what a unit costs: by the cache, by choosing, by a pool of one's own. Pure.

Nothing is guessed: calls whose usage or price is unknown are compared with nothing, and `compared` says how many were.
"""

from __future__ import annotations

import msgspec

from gateway.accounting.costs import share
from gateway.core.money import BUCKETS, INPUT_BUCKETS, OUTPUT_BUCKETS, usd
from gateway.state.books import Sums


class Spared(msgspec.Struct, frozen=True):
    """What calls cost, what they would have cost otherwise, and the difference, which may be below zero.

    `share` is how much of what it would have cost was spared; `compared` are the calls that this is of.
    """

    compared: int
    paid_usd: str
    otherwise_usd: str
    nano_usd: int
    usd: str
    share: float


class Savings(msgspec.Struct, frozen=True):
    """`cache`: hits at what their answers had cost. `dearest`: against the dearest place that each call was permitted.

    `hosted_list`: against hosted places at list price. `pool`: the part of `hosted_list` that pools of one's own
    answered, by the price that their receipts were charged at.
    """

    cache: Spared
    dearest: Spared
    hosted_list: Spared
    pool: Spared


class Units(msgspec.Struct, frozen=True):
    """Dollars per unit, exact to the nano-dollar (rounded half up); None where there was no such unit.

    A million tokens is of all that went in and came out. `users` are those that calls named, `usd_per_user` what their
    calls cost each.
    """

    usd_per_1000_calls: str | None
    usd_per_million_tokens: str | None
    input_tokens: int
    output_tokens: int
    users: int
    usd_per_user: str | None


def savings_of(whole: Sums, pools: Sums) -> Savings:
    """Compares; `pools` are the sums of calls that pools of one's own answered."""
    return Savings(
        _spared(whole.cached, 0, whole.saved_nano),
        _spared(whole.compared, whole.dearest_paid_nano, whole.dearest_nano),
        _spared(whole.listed, whole.list_paid_nano, whole.list_nano),
        _spared(pools.listed, pools.list_paid_nano, pools.list_nano),
    )


def _spared(calls: int, paid: int, otherwise: int) -> Spared:
    spared = otherwise - paid
    return Spared(calls, usd(paid), usd(otherwise), spared, usd(spared), share(spared, otherwise))


def units_of(whole: Sums, users: int, users_nano: int) -> Units:
    """Divides."""
    tokens_in, tokens_out = tokens_of(whole)
    return Units(
        per(whole.nano_usd * 1000, whole.calls),
        per(whole.nano_usd * 1_000_000, tokens_in + tokens_out),
        tokens_in,
        tokens_out,
        users,
        per(users_nano, users),
    )


def tokens_of(sums: Sums) -> tuple[int, int]:
    """Returns the tokens that went in and came out."""
    counts = {bucket: int(getattr(sums, bucket)) for bucket in BUCKETS}
    return sum(counts[bucket] for bucket in INPUT_BUCKETS), sum(counts[bucket] for bucket in OUTPUT_BUCKETS)


def per(nano: int, units: int) -> str | None:
    """Returns nano-dollars per unit as dollars, rounded half up; None for no unit."""
    return usd((2 * nano + units) // (2 * units)) if units else None
