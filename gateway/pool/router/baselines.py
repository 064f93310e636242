"""Routing by counts alone: what a pool can be told to do instead, and what the router by prefix is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.pool.router.prompts import Prompt
from gateway.pool.router.replicas import Gauges


class Place:
    """One call's place at a replica."""

    __slots__ = ("key", "open")

    def __init__(self, key: str) -> None:
        self.key = key
        self.open = True


class LeastLoaded:
    """Whoever has the fewest of our calls in flight; of equals each in turn."""

    def __init__(self, replicas: Iterable[str] = ()) -> None:
        self.in_flight: dict[str, int] = {}
        self._turn = 0
        self.watch(replicas)

    def watch(self, replicas: Iterable[str]) -> None:
        """Routes over these from now on."""
        self.in_flight = {key: self.in_flight.get(key, 0) for key in replicas}

    def tell(self, key: str, gauges: Gauges) -> None:
        """Gauges are not heeded: our own counts are fresher."""

    def restarted(self, key: str) -> None:
        """An empty cache is not heeded either."""

    def order(self, prompt: Prompt, among: Sequence[str], now: float) -> list[str]:
        """Returns the replicas as a call should try them, best first."""
        self._turn += 1
        start = self._turn % len(among) if among else 0
        return self._sorted([*among[start:], *among[:start]])

    def _sorted(self, turned: list[str]) -> list[str]:
        return sorted(turned, key=lambda key: self.in_flight.get(key, 0))

    def reserve(self, key: str, prompt: Prompt, now: float) -> Place | None:
        """Counts a call in."""
        if key not in self.in_flight:
            return None
        self.in_flight[key] += 1
        return Place(key)

    def first_token(self, ticket: Place, now: float) -> None:
        """Teaches nothing."""

    def finished(
        self,
        ticket: Place,
        now: float,
        prompt_tokens: int = 0,
        cached_tokens: int | None = None,
        output_tokens: int = 0,
    ) -> None:
        """Counts a call out."""
        self.failed(ticket, now)

    def failed(self, ticket: Place, now: float) -> None:
        """Counts a call out."""
        if ticket.open:
            ticket.open = False
            if self.in_flight.get(ticket.key):
                self.in_flight[ticket.key] -= 1


class RoundRobin(LeastLoaded):
    """Each in turn, however busy."""

    def _sorted(self, turned: list[str]) -> list[str]:
        return turned
