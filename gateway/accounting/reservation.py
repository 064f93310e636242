"""What one call holds of budgets until it is settled."""

from __future__ import annotations

from gateway.accounting.accounts import Account


class Reservation:
    """Held by `owner` (a call's id) until `until` (monotonic seconds): what the call may cost, and the parts of it,
    (account, the start of the period it is held in, nano-dollars)."""

    __slots__ = ("nano", "owner", "parts", "until")

    def __init__(self, owner: str, nano: int, parts: list[tuple[Account, float, int]], until: float) -> None:
        self.owner = owner
        self.nano = nano
        self.parts = parts
        self.until = until
        for account, _, held in parts:
            account.reserved += held

    def release(self) -> None:
        """Gives everything back; called once. What was held in a period that is over went with it."""
        for account, start, held in self.parts:
            if account.start == start:
                account.reserved -= held
