"""How often somebody may try a key: a bucket of tries for each address, and one for all of them together."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Final

from gateway.core.errors import CallError

_MOST: Final = 4096  # addresses that are remembered; the one that tried longest ago goes first


class TooManyTries(CallError):
    """Wrong keys were tried too often from an address, or from everywhere."""

    status = 429
    type = "rate_limit_error"
    code = "too_many_tries"


class Throttle:
    """Takes a try from an address's bucket and from everybody's; a right key gives it back.

    `burst` tries at once and one more each `every_s`; for all addresses together `everybody` times that. An address of
    IPv6 stands for its /64, which one subscriber has as a whole (RFC 6177).
    """

    def __init__(self, burst: int, every_s: float, everybody: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst, self._every_s, self._everybody = burst, every_s, everybody
        self._clock = clock
        self._empty_at: OrderedDict[str, float] = OrderedDict()  # when a bucket is as if nobody had ever tried

    def take(self, address: str) -> None:
        """Counts a try; raises TooManyTries where there is none left."""
        now = self._clock()
        buckets = [(_network(address), self._every_s), ("", self._every_s / self._everybody)]
        for name, every_s in buckets:
            burst = self._burst if name else self._burst * self._everybody
            wait_s = max(self._empty_at.get(name, now), now) + every_s - now - burst * every_s
            if wait_s > 0:
                raise TooManyTries("too many wrong keys were tried: wait, and try again", retry_after_s=wait_s)
        for name, every_s in buckets:
            self._empty_at[name] = max(self._empty_at.get(name, now), now) + every_s
            self._empty_at.move_to_end(name)
        while len(self._empty_at) > _MOST:
            self._empty_at.popitem(last=False)

    def give_back(self, address: str) -> None:
        """Takes a try back that was none: the key was right."""
        for name, every_s in ((_network(address), self._every_s), ("", self._every_s / self._everybody)):
            if name in self._empty_at:
                self._empty_at[name] -= every_s


def _network(address: str) -> str:
    try:
        read = ip_address(address.partition("%")[0])
    except ValueError:
        return address or "unknown"
    if isinstance(read, IPv6Address) and read.ipv4_mapped is None:
        return str(IPv6Address(int(read) >> 64 << 64))
    return str(read)
