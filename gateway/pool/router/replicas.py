"""What is known of one replica: our own calls there, what it last told of itself, and what was learned of it."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

STALE_S: Final = 5.0  # gauges that are older count for nothing; our own counts always hold
PREFILL_TOKENS_PER_S: Final = 8_000.0  # until learned: an 8B model on a small card, a 70B on four large ones
KV_TOKENS: Final = 262_144  # until /metrics tells


class Gauges(msgspec.Struct, frozen=True, gc=False):
    """What /metrics said at `at` (the router's seconds): summed over the engines of one replica.

    `running` and `waiting` hold everybody's requests, those of other gateways too; `kv_usage` is 0 to 1; `kv_tokens` of
    0 is unknown. `born_at` is the process's start (`process_start_time_seconds`), 0 where it is not told. `steps` are
    those of the engines since then (-1: not told); `itl_s` is the time between tokens, summed over `itl_count` of them.
    An engine that is `asleep` has given its memory back.
    """

    at: float
    running: int = 0
    waiting: int = 0
    kv_usage: float = 0.0
    kv_tokens: int = 0
    born_at: float = 0.0
    steps: int = -1
    itl_s: float = 0.0
    itl_count: int = 0
    asleep: bool = False


class Replica:
    """One server of a pool, or one data-parallel rank of it; `bit` is its place in the index."""

    __slots__ = (
        "bit",
        "confidence",
        "gauges",
        "in_flight",
        "key",
        "ours_when_told",
        "pending_tokens",
        "prefill_rate",
        "promised",
        "serial",
        "stretch",
    )

    def __init__(self, key: str, bit: int, serial: int) -> None:
        self.key = key
        self.bit = bit
        self.serial = serial  # the order of config, by which ties rotate
        self.in_flight = 0
        self.pending_tokens = 0.0  # of prompts that have had no first token yet, cache hits taken off
        self.promised: deque[tuple[float, float]] = deque()  # answers in one piece: (read by, tokens)
        self.prefill_rate = PREFILL_TOKENS_PER_S
        self.confidence = 1.0  # what share of a predicted hit comes true
        self.stretch = 1.0  # of the cache's size, learned from what was kept longer or shorter than believed
        self.gauges: Gauges | None = None
        self.ours_when_told = 0  # our calls there when the gauges were taken

    def fresh_gauges(self, now: float) -> Gauges | None:
        """Returns what it told of itself, unless that is too long ago."""
        gauges = self.gauges
        return gauges if gauges is not None and now - gauges.at <= STALE_S else None

    def crowd(self, now: float) -> int:
        """Returns the calls in flight there, those of others too as far as it told of them."""
        gauges = self.fresh_gauges(now)
        others = 0 if gauges is None else gauges.running + gauges.waiting - self.ours_when_told
        return self.in_flight + (others if others > 0 else 0)

    def pending(self, now: float) -> float:
        """Returns the prompt tokens that must be read there before a new one is."""
        promised = self.promised
        while promised and promised[0][0] <= now:
            self.pending_tokens -= promised.popleft()[1]
        if self.pending_tokens < 0 or not self.in_flight:
            promised.clear()
            self.pending_tokens = 0.0
        return self.pending_tokens
