"""The retry budget: an outage of a provider is not multiplied by asking it again."""

from __future__ import annotations

from gateway.breakers.window import Window

_CALLS, _RETRIES = range(2)


class RetryBudget:
    """Counts, per provider and over the last ten seconds, the calls that reached it and the retries among them.

    Each server of a pool counts as a provider of its own: one that dies must not spend the budget of the others. The
    first time a call asks a provider is a call to it; each further time is a retry, also at another endpoint or
    deployment. Retries may be a fifth of the calls, and three where that is less, so that a quiet gateway still
    retries. Going on to another provider is not a retry: one that fails must not spend the budget of its stand-in.
    """

    SPAN_S = 10.0
    SHARE = 0.2
    AT_LEAST = 3

    __slots__ = ("_windows",)

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def count(self, provider: str, now: float) -> None:
        """Notes that a call asks this provider for the first time."""
        window = self._windows.get(provider)
        if window is None:
            window = self._windows[provider] = Window(self.SPAN_S, 2)
        window.add(_CALLS, now)

    def spend(self, provider: str, now: float) -> bool:
        """Takes one retry out of the provider's budget, or returns False where none is left."""
        window = self._windows.get(provider)
        if window is None:
            window = self._windows[provider] = Window(self.SPAN_S, 2)
        calls, retries = window.totals(now)
        if retries + 1 > max(self.AT_LEAST, int(calls * self.SHARE)):
            return False
        window.add(_RETRIES, now)
        return True
