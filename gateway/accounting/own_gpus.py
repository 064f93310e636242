"""What one's own GPUs cost in a time, and what for: pure, from sums by hour and the price of the hardware."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.accounting.costs import share
from gateway.accounting.savings import per, tokens_of
from gateway.core.money import usd
from gateway.state.books import Sums


class Hardware(msgspec.Struct, frozen=True):
    """A pool: its provider's name in the config, how many GPUs it has, and nano-dollars that one costs an hour."""

    provider: str
    gpus: int
    gpu_hour_nano: int


class OwnGpus(msgspec.Struct, frozen=True):
    """A pool's money over a time, of as many GPUs as it has now.

    `usd_per_million_tokens` is its money over the tokens that it answered with: what they cost at the present
    utilisation. `utilisation` is a share of what it can do, and `basis` says what that is: "full price" (its receipts
    charge what a token costs on a pool that is fully used, so the rest was idle), or, where they charge nothing,
    "busiest hour". `idle_usd` is the rest of the money; `unused_hours` those in which nobody asked it.
    `break_even_tokens_per_hour` is from where on it is cheaper than hosted places at list price for the same tokens;
    None where no call could have gone to one. `spilled` counts calls that a hosted place answered though the pool (or
    another) was permitted; `spilled_share` is of all calls that might have been a pool's.
    """

    provider: str
    gpus: int
    usd_per_gpu_hour: str
    hours: float
    usd: str
    booked_usd: str
    input_tokens: int
    output_tokens: int
    tokens_per_hour: int
    usd_per_million_tokens: str | None
    utilisation: float
    basis: str
    idle_usd: str
    unused_hours: int
    hosted_usd: str
    saved_usd: str
    break_even_tokens_per_hour: int | None
    spilled: int
    spilled_share: float


def own_gpus(hardware: Hardware, hours: float, by_hour: Sequence[Sums], whole: Sums, spilled: int) -> OwnGpus:
    """Works it out; `by_hour` are the sums of the hours in which it answered, `whole` their sum.

    `hours` is how long the time was, `spilled` the calls of everybody that hosted places took over.
    """
    money = round(hardware.gpu_hour_nano * hardware.gpus * hours)
    tokens_in, tokens_out = tokens_of(whole)
    tokens = tokens_in + tokens_out
    if whole.nano_usd:
        basis, utilisation = "full price", share(whole.nano_usd, money)
        idle = max(0, money - whole.nano_usd)
    else:
        most = max((sum(tokens_of(each)) for each in by_hour), default=0)
        basis, utilisation = "busiest hour", share(tokens, round(most * hours)) if most else 0.0
        idle = round(money * (1 - min(1.0, utilisation)))
    answered = whole.calls - whole.cached
    listed = whole.list_nano
    return OwnGpus(
        provider=hardware.provider,
        gpus=hardware.gpus,
        usd_per_gpu_hour=usd(hardware.gpu_hour_nano),
        hours=round(hours, 2),
        usd=usd(money),
        booked_usd=usd(whole.nano_usd),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        tokens_per_hour=round(tokens / hours) if hours else 0,
        usd_per_million_tokens=per(money * 1_000_000, tokens),
        utilisation=utilisation,
        basis=basis,
        idle_usd=usd(idle),
        unused_hours=max(0, int(hours) - len(by_hour)),
        hosted_usd=usd(listed),
        saved_usd=usd(listed - money),
        break_even_tokens_per_hour=_break_even(hardware, tokens, listed),
        spilled=spilled,
        spilled_share=share(spilled, spilled + answered),
    )


def _break_even(hardware: Hardware, tokens: int, listed: int) -> int | None:
    """The pool's money an hour over what a hosted token of the same mix costs."""
    return round(hardware.gpu_hour_nano * hardware.gpus * tokens / listed) if listed else None
