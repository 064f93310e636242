"""What somebody may spend and how fast: budgets and rate limits as configs, keys and the store hold them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Per = Literal["hour", "day", "week", "month"]
PERIODS: Final[tuple[Per, ...]] = ("hour", "day", "week", "month")


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """So many nano-dollars a period; periods are the calendar's in a time zone (IANA), a week begins on Monday.

    `notify_at` and `reject_at` are percent of it: the first in ascending order; `reject_at` of None never rejects.
    """

    nano_usd: int
    per: Per
    zone: str = "UTC"
    notify_at: tuple[int, ...] = ()
    reject_at: int | None = 100

    @property
    def ceiling_nano(self) -> int | None:
        """What may be spent and reserved together, or None where nothing is rejected."""
        return None if self.reject_at is None else self.nano_usd * self.reject_at // 100


class RateLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How fast, and how much at a time; None bounds nothing."""

    calls_per_minute: int | None = None
    tokens_per_minute: int | None = None
    in_flight: int | None = None

    def __bool__(self) -> bool:
        """Says whether anything is bounded."""
        return not (self.calls_per_minute is None and self.tokens_per_minute is None and self.in_flight is None)
