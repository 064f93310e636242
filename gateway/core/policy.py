"""The interface of a policy, and the picture of the world it is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from gateway.core.types import Deployment, Removal, Request


class Measured(msgspec.Struct, frozen=True, gc=False):
    """What the sliding window says of one deployment and prompt-size bucket; seconds. `samples` counts calls.

    A quantile is NaN where no call in the window had that figure: a unary answer has no time to first token.
    """

    samples: int
    ttft_p50_s: float
    ttft_p95_s: float
    tpot_p50_s: float
    tpot_p95_s: float


class Outlook(msgspec.Struct, frozen=True, gc=False):
    """What the router of a pool expects of its best replica at this moment; seconds.

    A prompt waits `wait_s` and is read at `per_token_s`. `middle` and `late` are how much longer it took than expected,
    as factors: the median and the 95th percentile of `samples` streams.
    """

    samples: int
    wait_s: float
    per_token_s: float
    middle: float
    late: float

    def first_token_s(self, tokens: float) -> float:
        """Returns the likely time to first token of a prompt of which so many tokens are not cached."""
        return (self.wait_s + tokens * self.per_token_s) * self.middle

    def late_first_token_s(self, tokens: float) -> float:
        """Returns the time that 95 of 100 such prompts take at most."""
        return (self.wait_s + tokens * self.per_token_s) * self.late


class View(msgspec.Struct, frozen=True, gc=False):
    """A picture of the live measurements, true until the next await; policies read it and nothing else.

    `now` is monotonic seconds and `draw` a random number in [0, 1), so that policies need no clock and no dice.
    `measured` is keyed by (deployment, prompt-size bucket); `in_flight`, `load` (0..1) and `outlooks` by deployment,
    the last two of pools alone: they may be worked out when they are asked for.
    """

    now: float
    draw: float
    measured: Mapping[tuple[str, int], Measured] = {}
    in_flight: Mapping[str, int] = {}
    load: Mapping[str, float] = {}
    cached_share: Mapping[str, float] = {}  # learned share of input that providers serve from their caches
    output_tokens: Mapping[str, Mapping[str, float]] = {}  # learned, by the name asked for, then deployment
    windows: Mapping[float, Mapping[tuple[str, int], Measured]] = {}  # `measured` over other windows (seconds)
    outlooks: Mapping[str, Outlook] = {}


def bucket_of(input_tokens: int) -> int:
    """Returns the prompt-size bucket: 0 up to 1K tokens, then one more per factor of four."""
    bucket = 0
    above = 1024
    while input_tokens > above:
        bucket += 1
        above *= 4
    return bucket


class Ranking(msgspec.Struct, frozen=True, gc=False):
    """A policy's answer: some of the given candidates, best first; those removed, with why; what was compared."""

    kept: Sequence[Deployment]
    removed: Sequence[Removal] = ()
    scores: Sequence[float] = ()
    note: str = ""


class Policy(Protocol):
    """Filters or sorts candidates. Pure: same arguments, same answer. Never keeps one that it was not given."""

    name: str

    def rank(self, request: Request, candidates: Sequence[Deployment], view: View) -> Ranking: ...
