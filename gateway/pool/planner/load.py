"""A load, and how many replicas carry it."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from gateway.pool.planner.quantisation import UnknownWord

DAY_S: Final = 86_400.0


class Load(msgspec.Struct, frozen=True):
    """Calls: mean tokens in and out, calls a second when it is busiest, and the share of input found in prefix caches.

    `tokens_per_day` is what money is reckoned by; a day is rarely as busy as its busiest hour.
    """

    input_tokens: float
    output_tokens: float
    per_second: float
    hit: float = 0.0
    tokens_per_day: float = 0.0
    source: str = "as given"

    @property
    def output_share(self) -> float:
        """Which part of all tokens comes out."""
        return self.output_tokens / (self.input_tokens + self.output_tokens)

    @property
    def context(self) -> float:
        """Mean length of a sequence while it is answered: its prompt and half of its answer."""
        return self.input_tokens + self.output_tokens / 2


def load_of(text: str) -> Load:
    """Reads `in:out:per-second`, such as `2000:300:5`; a fourth part is the hit rate (`2000:300:5:0.4`)."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    hit = numbers[3] if len(numbers) == 4 else 0.0
    if len(numbers) not in (3, 4) or not all(0 < each < 1e12 for each in numbers[:3]) or not 0 <= hit < 1:
        raise UnknownWord(
            f"{text!r} is no load: write tokens in, tokens out and calls a second, such as 2000:300:5, or `ledger`"
        )
    tokens = (numbers[0] + numbers[1]) * numbers[2] * DAY_S
    return Load(numbers[0], numbers[1], numbers[2], hit, tokens)


class Hour(msgspec.Struct, frozen=True):
    """What the ledger has of one hour."""

    calls: int
    fresh_input: int
    cached_input: int
    output: int


def load_from(hours: list[Hour], span_s: float, source: str) -> Load:
    """Makes a load of a ledger's hours: means of all, rate of the busiest; raises UnknownWord if there are none."""
    calls = sum(hour.calls for hour in hours)
    fresh, cached = sum(hour.fresh_input for hour in hours), sum(hour.cached_input for hour in hours)
    output = sum(hour.output for hour in hours)
    if not calls or not fresh + cached or not output or span_s <= 0:
        raise UnknownWord("the ledger has no call with tokens in that time: give --load in:out:per-second, or --since")
    busiest = max(hour.calls for hour in hours) / 3600
    tokens = (fresh + cached + output) / span_s * DAY_S
    return Load((fresh + cached) / calls, output / calls, busiest, cached / (fresh + cached), tokens, source)


class Capacity(msgspec.Struct, frozen=True):
    """What one replica does: prompt tokens a second, output tokens a second and time per one, sequences at once."""

    prefill: float
    decode: float
    tpot_s: float
    ttft_s: float
    sequences: float


class Demand(msgspec.Struct, frozen=True):
    """A load in replicas: the share of one that prefill and decode take, and that its sequences' KV takes."""

    prefill: float
    decode: float
    cache: float
    replicas: int
    utilisation: float

    @property
    def bottleneck(self) -> str:
        """What decides the number of replicas."""
        if self.cache > self.prefill + self.decode:
            return "KV memory"
        return "prefill (arithmetic)" if self.prefill > self.decode else "decode (memory bandwidth)"


def demand_of(load: Load, capacity: Capacity, target: float) -> Demand:
    """replicas = ⌈max(λ·in·(1−hit)/prefill + λ·out/decode, λ·residence/sequences) / target⌉.

    A target below 1 leaves room to queue.
    """
    prefill = load.per_second * load.input_tokens * (1 - load.hit) / capacity.prefill
    decode = load.per_second * load.output_tokens / capacity.decode
    residence = capacity.ttft_s + load.output_tokens * capacity.tpot_s
    cache = load.per_second * residence / capacity.sequences if capacity.sequences else math.inf
    busy = max(prefill + decode, cache)
    replicas = max(1, math.ceil(busy / target)) if math.isfinite(busy) else 0
    return Demand(prefill, decode, cache, replicas, busy / replicas if replicas else math.inf)
