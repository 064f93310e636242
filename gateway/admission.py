"""Who may go upstream now, and who waits: bounds on attempts in flight, overall and by deployment, and one queue.

While there is room, entering is two comparisons and nobody waits. A slot that becomes free goes at once to the first
waiter who can use it, so that a free slot is never one that a waiter wants, and nobody overtakes.

Order of the queue: higher priority first; within a priority, tenants take turns; within a tenant, the earliest
deadline. Bounds are fixed by config: they do not adapt to what upstreams show.
"""

from __future__ import annotations

import asyncio
import math
from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from gateway.core.errors import Overloaded

_SMOOTHING: Final = 0.2  # the weight of the newest departure in the learned pace


class Limits(msgspec.Struct, frozen=True):
    """Bounds as configured; a deployment not named is bound by the overall one alone. `queue_wait_s` in seconds."""

    in_flight: int = 2000
    queue: int = 500
    queue_wait_s: float = 20.0
    deployments: Mapping[str, int] = {}


class _Waiter:
    """One attempt in the queue."""

    __slots__ = ("deadline", "deployment", "future", "priority", "queued", "tenant")

    def __init__(
        self, deployment: str, tenant: str, priority: int, deadline: float, future: asyncio.Future[None]
    ) -> None:
        self.deployment = deployment
        self.tenant = tenant
        self.priority = priority
        self.deadline = deadline
        self.future = future
        self.queued = False


def _by_deadline(waiter: _Waiter) -> float:
    return waiter.deadline


class Admission:
    """Counts attempts in flight and holds the queue. Every entry is followed by exactly one `leave`."""

    __slots__ = ("_granted_at", "_lines", "_pace_s", "in_flight", "limits", "total", "waiting")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.in_flight: dict[str, int] = {}  # by deployment
        self.total = 0
        self.waiting = 0
        # priority -> tenant, in the order of their turns -> waiters by deadline
        self._lines: dict[int, OrderedDict[str, list[_Waiter]]] = {}
        # learned while the queue lasts: seconds between the slots that waiters of a deployment are given
        self._pace_s: dict[str, float] = {}
        self._granted_at: dict[str, float] = {}

    def try_enter(self, deployment: str) -> bool:
        """Takes a slot if there is room, and says whether it did."""
        if not self._has_room(deployment):
            return False
        self._take(deployment)
        return True

    async def enter(self, deployment: str, *, tenant: str = "", priority: int = 0, deadline: float = math.inf) -> None:
        """Takes a slot, waiting for it no longer than the queue's bound and the deadline (the loop's seconds).

        Raises Overloaded with a wait: at once where the queue is full or its pace says that the time will not do,
        else when the time is over.
        """
        if self.try_enter(deployment):
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = min(deadline, now + self.limits.queue_wait_s)
        pace_s = self._pace_s.get(deployment, 0.0)
        if until <= now or now + (self._ahead(deployment, tenant, priority) + 1) * pace_s > until:
            raise self._shed(deployment, "the queue is longer than the call can wait")
        if self.waiting >= self.limits.queue and not self._displace(priority):
            raise self._shed(deployment, "the queue is full")
        waiter = _Waiter(deployment, tenant, priority, deadline, loop.create_future())
        self._join(waiter)
        try:
            async with asyncio.timeout_at(until):
                await waiter.future
        except TimeoutError:
            self._give_up(waiter)
            raise self._shed(deployment, "no slot became free in time") from None
        except (asyncio.CancelledError, Overloaded):
            self._give_up(waiter)
            raise

    def leave(self, deployment: str) -> None:
        """Gives a slot back; it goes to whoever is next."""
        self.total -= 1
        self.in_flight[deployment] -= 1
        if self.waiting:
            self._dispatch()

    def apply(self, limits: Limits) -> None:
        """Takes over new bounds; attempts in flight stay, waiters whom the new bounds admit enter."""
        self.limits = limits
        self.in_flight = {deployment: count for deployment, count in self.in_flight.items() if count}
        self._dispatch()

    # ------------------------------------------------------------------------------------------------------------

    def _has_room(self, deployment: str) -> bool:
        limits = self.limits
        if self.total >= limits.in_flight:
            return False
        bound = limits.deployments.get(deployment)
        return bound is None or self.in_flight.get(deployment, 0) < bound

    def _take(self, deployment: str) -> None:
        self.total += 1
        self.in_flight[deployment] = self.in_flight.get(deployment, 0) + 1

    def _join(self, waiter: _Waiter) -> None:
        tenants = self._lines.setdefault(waiter.priority, OrderedDict())
        insort(tenants.setdefault(waiter.tenant, []), waiter, key=_by_deadline)
        self.waiting += 1
        waiter.queued = True

    def _part(self, waiter: _Waiter) -> None:
        """Takes a waiter out of its line; empty lines go, so that nothing grows with tenants that come and go."""
        tenants = self._lines[waiter.priority]
        line = tenants[waiter.tenant]
        line.remove(waiter)
        if not line:
            del tenants[waiter.tenant]
            if not tenants:
                del self._lines[waiter.priority]
        self.waiting -= 1
        waiter.queued = False
        if not self.waiting:
            self._pace_s.clear()
            self._granted_at.clear()

    def _give_up(self, waiter: _Waiter) -> None:
        """Ends a wait that was cut short, also in the moment between being given a slot and taking it."""
        if waiter.queued:
            self._part(waiter)
        elif waiter.future.exception() is None:
            self.leave(waiter.deployment)

    def _in_order(self) -> Iterator[_Waiter]:
        for priority in sorted(self._lines, reverse=True):
            for line in self._lines[priority].values():
                yield from line

    def _dispatch(self) -> None:
        """Gives free slots to waiters, first come by the order of the queue; costs at most one look at each."""
        while self.waiting and self.total < self.limits.in_flight:
            waiter = next((waiter for waiter in self._in_order() if self._may_take(waiter)), None)
            if waiter is None:
                return
            self._measure(waiter.deployment)
            self._part(waiter)
            tenants = self._lines.get(waiter.priority)
            if tenants is not None and waiter.tenant in tenants:
                tenants.move_to_end(waiter.tenant)
            self._take(waiter.deployment)
            waiter.future.set_result(None)

    def _displace(self, priority: int) -> bool:
        """Makes room in a full queue at the cost of a lower priority's latest deadline; says whether it did."""
        lowest = min(self._lines, default=priority)
        if lowest >= priority:
            return False
        last = max((line[-1] for line in self._lines[lowest].values()), key=_by_deadline)
        self._part(last)
        last.future.set_exception(self._shed(last.deployment, "the queue is full of calls with a higher priority"))
        return True

    def _may_take(self, waiter: _Waiter) -> bool:
        """Says whether a waiter can use a slot; one whose time ran out a moment ago cannot."""
        return self._has_room(waiter.deployment) and not waiter.future.done()

    def _ahead(self, deployment: str, tenant: str, priority: int) -> int:
        """Returns how many waiters for the deployment would be served before a newcomer of this tenant."""
        peers = self._lines.get(priority)
        own = len(peers[tenant]) if peers is not None and tenant in peers else 0
        ahead = 0
        for level, tenants in self._lines.items():
            if level < priority:
                continue
            for line in tenants.values():
                waiters = sum(waiter.deployment == deployment for waiter in line)
                ahead += waiters if level > priority else min(waiters, own + 1)
        return ahead

    def _measure(self, deployment: str) -> None:
        now = asyncio.get_running_loop().time()
        before = self._granted_at.get(deployment)
        if before is not None:
            gap_s = now - before
            pace_s = self._pace_s.get(deployment, gap_s)
            self._pace_s[deployment] = pace_s + _SMOOTHING * (gap_s - pace_s)
        self._granted_at[deployment] = now

    def _shed(self, deployment: str, why: str) -> Overloaded:
        wait_s = (self.waiting + 1) * self._pace_s.get(deployment, 0.0)
        return Overloaded(
            f"deployment {deployment!r}: {why}", retry_after_s=max(1.0, min(wait_s, self.limits.queue_wait_s))
        )
