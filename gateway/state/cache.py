"""Where kept answers lie: the protocol, and the store of one process, an LRU bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import msgspec

from gateway.core.money import Usage


class Entry(msgspec.Struct, frozen=True):
    """A kept answer; `body` is what its caller was sent, in its dialect, as a stream or as one body.

    `key` is the cache key, so that a store which hands out the wrong entry is found out. `created` is in seconds
    since the epoch, since stores are shared by hosts. `cost_nano` is what the answer cost, and what a hit saves.
    """

    key: bytes
    body: bytes
    streamed: bool
    deployment: str
    usage: Usage
    cost_nano: int
    finish: str | None
    created: float
    status: int = 200


class ResponseCache(Protocol):
    """Keeps answers for their time to live. A store that is slow or gone answers None: its loss is no error."""

    async def get(self, key: bytes, now: float) -> Entry | None:
        """Returns what was kept under this key, if it is still alive at `now` (seconds since the epoch)."""
        ...

    async def put(self, entry: Entry) -> None:
        """Keeps an answer, in place of what its key held."""
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...


class MemoryResponseCache:
    """Keeps answers in this process; the ones not asked for longest make room."""

    OVERHEAD_BYTES = 600  # an entry without its body: struct, usage, key, slot of the dict (measured: 560)

    __slots__ = ("_entries", "_max_bytes", "_ttl_s", "size_bytes")

    def __init__(self, max_bytes: int, ttl_s: float) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: bytes, now: float) -> Entry | None:
        """Returns what was kept under this key; an entry past its time is dropped."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.created + self._ttl_s:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    async def put(self, entry: Entry) -> None:
        """Keeps an answer and drops the least asked-for until all fit; one that alone is too large is not kept."""
        self._drop(entry.key)
        size = self._size(entry)
        if size > self._max_bytes:
            return
        self._entries[entry.key] = entry
        self.size_bytes += size
        while self.size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def close(self) -> None:
        """Forgets everything."""
        self._entries.clear()
        self.size_bytes = 0

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= self._size(entry)

    def _size(self, entry: Entry) -> int:
        return len(entry.body) + len(entry.usage.raw) + self.OVERHEAD_BYTES
