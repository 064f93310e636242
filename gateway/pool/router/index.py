"""Which replica has seen which prefix of late: an approximation of their caches, bounded in memory, that can be wrong.

It mirrors what vLLM does with its blocks: the least recently used go first, a prompt's tail before its head, and what
an answer wrote takes room as well. Where a replica says that it had less (`cached_tokens`), it is believed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

LEAST_BLOCKS: Final = 16


class PrefixIndex:
    """Block hash -> the replicas that have it, as bits of a number; per replica the order of use."""

    def __init__(self) -> None:
        self._where: dict[int, int] = {}
        self._used: dict[int, OrderedDict[int, None]] = {}  # by bit number; the next to go first
        self._capacity: dict[int, int] = {}
        self._filler = 0

    def __len__(self) -> int:
        """Entries in all: what memory is bounded by."""
        return sum(map(len, self._used.values()))

    def add(self, bit: int, capacity: int) -> None:
        """Takes a replica in, whose cache holds about `capacity` blocks."""
        self._used.setdefault(bit, OrderedDict())
        self.resize(bit, capacity)

    def resize(self, bit: int, capacity: int) -> None:
        """Changes how much a replica is believed to keep."""
        self._capacity[bit] = max(LEAST_BLOCKS, capacity)
        self._trim(bit)

    def fill(self, bit: int) -> int:
        """Returns how many blocks a replica is believed to hold."""
        return len(self._used[bit])

    def discard(self, bit: int) -> None:
        """Forgets all that a replica had: it was started anew, slept, or is gone."""
        used = self._used.get(bit)
        if used is not None:
            self.forget(bit, tuple(used))

    def drop(self, bit: int) -> None:
        """Lets go of a replica."""
        self.discard(bit)
        self._used.pop(bit, None)
        self._capacity.pop(bit, None)

    def leading(self, blocks: Sequence[int]) -> dict[int, int]:
        """Returns how many leading blocks each replica has, by bit; those that have none are left out."""
        found: dict[int, int] = {}
        if not blocks:
            return found
        where = self._where
        mask = where.get(blocks[0], 0)
        length = 0
        for length, block in enumerate(blocks):
            still = mask & where.get(block, 0)
            if still != mask:
                for bit in _bits(mask & ~still):
                    found[bit] = length
                mask = still
                if not mask:
                    return found
        for bit in _bits(mask):
            found[bit] = length + 1
        return found

    def touch(self, bit: int, blocks: Sequence[int], beside: int = 0) -> None:
        """Notes that a replica has these blocks now, and `beside` more that nobody will ask for."""
        used, where, mark = self._used[bit], self._where, 1 << bit
        for _ in range(beside):
            self._filler -= 1
            used[self._filler] = None
        # The head last, for the tail goes first.
        for block in reversed(blocks):
            if block in used:
                used.move_to_end(block)
            else:
                used[block] = None
                where[block] = where.get(block, 0) | mark
        if len(used) > self._capacity[bit]:
            self._trim(bit)

    def forget(self, bit: int, blocks: Sequence[int]) -> None:
        """Notes that a replica does not have these blocks."""
        used = self._used[bit]
        for block in blocks:
            if block in used:
                del used[block]
                self._unmark(bit, block)

    def _trim(self, bit: int) -> None:
        used = self._used[bit]
        for _ in range(len(used) - self._capacity[bit]):
            block, _none = used.popitem(last=False)
            self._unmark(bit, block)

    def _unmark(self, bit: int, block: int) -> None:
        mask = self._where.get(block, 0) & ~(1 << bit)
        if mask:
            self._where[block] = mask
        else:
            self._where.pop(block, None)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
