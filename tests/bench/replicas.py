"""Measures replica routing in simulated time: `python tests/bench/replicas.py --write docs/replica-routing.md`.

Eight modelled engines (gateway.simulator.replica) get the same calls at the same times under each way of routing.
Nothing here reads a clock: the table is the same on every machine.
"""

from __future__ import annotations

import hashlib
import random
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Protocol

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from gateway.pool.router import Gauges, LeastLoaded, PrefixRouter, Prompt, RoundRobin, Ticket
from gateway.pool.router.baselines import Place
from gateway.pool.router.prompts import chained
from gateway.simulator.replica import Engine, Hardware
from gateway.simulator.replica import Sequence as Running

REPLICAS: Final = 8
HARDWARE: Final = Hardware(block_tokens=64)
BYTES_PER_TOKEN: Final = 4
WARM_S: Final = 60.0
SCRAPE_S: Final = 1.0
SEEDS: Final = (2, 3, 4)  # the router's weights were chosen on seed 1


class Load(NamedTuple):
    """A stream of calls: tenants share a prefix, their users one of their own, and each call asks something new."""

    name: str
    tenants: int
    users: int
    tenant_tokens: int
    user_tokens: int
    question_tokens: int
    output_tokens: int  # on average: uniform from half to one and a half times as many
    calls_per_s: float
    lasts_s: float = 300.0
    skew: float = 0.0  # of tenants' shares of the calls: Zipf's exponent


# 150 prefixes of 6,000 tokens and 750 of 1,200: 1.8 million tokens, 73 % of what eight replicas hold.
LONG: Final = Load("long prefixes", 150, 5, 6000, 1200, 128, 256, 28.0)
SHORT: Final = Load("one short prefix", 1, 1, 1500, 0, 500, 256, 30.0)
NONE: Final = Load("no prefix", 1, 1, 0, 0, 2000, 256, 24.0)
LOADS: Final = (LONG, SHORT, NONE)


class Ask(NamedTuple):
    """One call of a load."""

    at: float
    prompt: Prompt
    blocks: tuple[int, ...]  # as the engine cuts them
    prompt_tokens: int
    output_tokens: int


class Way(Protocol):
    """A way of routing: picks an engine, and is told what became of the call."""

    def choose(self, ask: Ask, now: float) -> int: ...

    def first(self, ask: Ask, now: float) -> None: ...

    def finished(self, ask: Ask, now: float, cached_tokens: int) -> None: ...

    def scraped(self, at: int, engine: Engine, now: float) -> None: ...


def asks(load: Load, seed: int) -> list[Ask]:
    """Returns a load's calls, the same for the same seed."""
    draw = random.Random(f"{load.name} {seed}")
    prefixes = [_text(draw, load.tenant_tokens) for _ in range(load.tenants)]
    users = [[_text(draw, load.user_tokens) for _ in range(load.users)] for _ in prefixes]
    shares = list(accumulate(1 / (rank + 1) ** load.skew for rank in range(load.tenants)))
    return list(_asks(load, draw, prefixes, users, shares))


def _asks(
    load: Load, draw: random.Random, prefixes: list[bytes], users: list[list[bytes]], shares: list[float]
) -> Iterator[Ask]:
    size = HARDWARE.block_tokens * BYTES_PER_TOKEN
    now = 0.0
    while (now := now + draw.expovariate(load.calls_per_s)) <= load.lasts_s:
        tenant = draw.choices(range(load.tenants), cum_weights=shares)[0]
        text = prefixes[tenant] + draw.choice(users[tenant]) + _text(draw, load.question_tokens)
        output = draw.randint(load.output_tokens // 2, load.output_tokens * 3 // 2)
        blocks, parent = [], 0
        for at in range(0, len(text) - size + 1, size):
            parent = hash((parent, text[at : at + size]))
            blocks.append(parent)
        mark = hashlib.blake2b(text[:1024], digest_size=8).digest()
        prompt = Prompt(len(text), chained(text, b""), mark)
        yield Ask(now, prompt, tuple(blocks), len(text) // BYTES_PER_TOKEN, output)


def _text(draw: random.Random, tokens: int) -> bytes:
    """Returns text that is unlike any other: what it says does not matter."""
    return draw.randbytes(tokens * BYTES_PER_TOKEN // 2).hex().encode()


class Result(NamedTuple):
    """What a way of routing made of a load, its first minute aside; times in seconds."""

    tokens_per_s: float
    ttft_p50: float
    ttft_p90: float
    tpot_p50: float
    cached: float  # share of prompt tokens
    preempted: int


def run(load: Load, calls: Sequence[Ask], way: Callable[[list[Engine]], Way]) -> Result:
    """Plays a load over eight engines: tokens of the time in which calls came, waits of the calls that came then."""
    engines = [Engine(HARDWARE) for _ in range(REPLICAS)]
    routing = way(engines)
    sequences: list[Running] = []

    def advance(until: float) -> None:
        events = [event for engine in engines for event in engine.advance(until)]
        events.sort(key=lambda event: event.at)
        for event in events:
            ask = event.sequence.key
            assert isinstance(ask, Ask)
            if event.what == "first":
                routing.first(ask, event.at)
            elif event.what == "finished":
                routing.finished(ask, event.at, event.sequence.cached_tokens)

    next_scrape, written_when_warm = 0.0, 0
    for ask in calls:
        while next_scrape <= ask.at:
            advance(next_scrape)
            for at, engine in enumerate(engines):
                routing.scraped(at, engine, next_scrape)
            if next_scrape == WARM_S:
                written_when_warm = sum(engine.generated_tokens for engine in engines)
            next_scrape += SCRAPE_S
        advance(ask.at)
        chosen = routing.choose(ask, ask.at)
        sequences.append(Running(ask, ask.blocks, ask.prompt_tokens, ask.output_tokens))
        engines[chosen].add(sequences[-1], ask.at)
    advance(load.lasts_s)
    written = sum(engine.generated_tokens for engine in engines) - written_when_warm
    while (busy := [engine.ends_at for engine in engines if engine.ends_at is not None]) != []:
        advance(max(busy) + 60.0)
    counted = [each for each in sequences if each.arrived_at >= WARM_S]
    waits = sorted(each.first_at - each.arrived_at for each in counted)
    return Result(
        written / (load.lasts_s - WARM_S),
        waits[len(waits) // 2],
        waits[len(waits) * 9 // 10],
        median((each.finished_at - each.first_at) / (each.output_tokens - 1) for each in counted),
        sum(each.cached_tokens for each in counted) / sum(each.prompt_tokens for each in counted),
        sum(engine.preemptions for engine in engines),
    )


# -- ways of routing ----------------------------------------------------------------------------------------------


class Gateways:
    """Routers of the gateway: one, or several that share the pool in turn and do not talk."""

    def __init__(
        self, engines: list[Engine], routers: list[PrefixRouter] | list[LeastLoaded], told: bool = True
    ) -> None:
        self.routers = routers
        self.keys = [str(at) for at in range(len(engines))]
        self.told = told
        self.turn = 0
        self.tickets: dict[int, tuple[PrefixRouter | LeastLoaded, Ticket | Place]] = {}
        for router in routers:
            router.watch(self.keys)

    def choose(self, ask: Ask, now: float) -> int:
        self.turn += 1
        router = self.routers[self.turn % len(self.routers)]
        key = router.order(ask.prompt, self.keys, now)[0]
        ticket = router.reserve(key, ask.prompt, now)
        assert ticket is not None
        self.tickets[id(ask)] = router, ticket
        return int(key)

    def first(self, ask: Ask, now: float) -> None:
        router, ticket = self.tickets[id(ask)]
        router.first_token(ticket, now)  # type: ignore[arg-type]

    def finished(self, ask: Ask, now: float, cached_tokens: int) -> None:
        router, ticket = self.tickets.pop(id(ask))
        cached = cached_tokens if self.told else None
        router.finished(ticket, now, ask.prompt_tokens, cached, ask.output_tokens)  # type: ignore[arg-type]

    def scraped(self, at: int, engine: Engine, now: float) -> None:
        if self.told:
            gauges = Gauges(now, engine.running, len(engine.waiting), engine.kv_usage, engine.hardware.kv_tokens)
            for router in self.routers:
                router.tell(str(at), gauges)


class _Counting:
    """Knows how many calls are in flight at each engine."""

    def __init__(self, engines: list[Engine]) -> None:
        self.engines = engines
        self.in_flight = [0] * len(engines)
        self.placed: dict[int, int] = {}

    def choose(self, ask: Ask, now: float) -> int:
        self.placed[id(ask)] = chosen = self.pick(ask)
        self.in_flight[chosen] += 1
        return chosen

    def pick(self, ask: Ask) -> int:
        raise NotImplementedError

    def first(self, ask: Ask, now: float) -> None: ...

    def finished(self, ask: Ask, now: float, cached_tokens: int) -> None:
        self.in_flight[self.placed.pop(id(ask))] -= 1

    def scraped(self, at: int, engine: Engine, now: float) -> None: ...


class TwoChoices(_Counting):
    """The less busy of two that are drawn."""

    def __init__(self, engines: list[Engine]) -> None:
        super().__init__(engines)
        self.draw = random.Random(0)

    def pick(self, ask: Ask) -> int:
        one, other = self.draw.sample(range(len(self.in_flight)), 2)
        return one if self.in_flight[one] <= self.in_flight[other] else other


class ConsistentHashing(_Counting):
    """By the first block on a ring with 100 points a replica; who has over 1.25 of the mean is passed over."""

    def __init__(self, engines: list[Engine]) -> None:
        super().__init__(engines)
        self.ring = sorted(
            (int.from_bytes(hashlib.blake2b(b"%d/%d" % (at, point), digest_size=8).digest(), "big"), at)
            for at in range(len(engines))
            for point in range(100)
        )

    def pick(self, ask: Ask) -> int:
        start = bisect_left(self.ring, (int.from_bytes(ask.prompt.mark, "big"), 0))
        bound = 1.25 * (sum(self.in_flight) + 1) / len(self.in_flight)
        for step in range(len(self.ring)):
            at = self.ring[(start + step) % len(self.ring)][1]
            if self.in_flight[at] + 1 <= bound:
                return at
        return min(range(len(self.in_flight)), key=self.in_flight.__getitem__)


class Oracle(_Counting):
    """Looks into every cache and every queue: the router's own cost, with the truth in place of what is believed."""

    def pick(self, ask: Ask) -> int:
        def cost(at: int) -> tuple[float, int]:
            engine, crowd = self.engines[at], self.in_flight[at]
            fresh = ask.prompt_tokens - engine.hit_tokens(ask.blocks, ask.prompt_tokens)
            return engine.pending_fresh + fresh * (1 + crowd) + 0.2 * ask.prompt_tokens * crowd, crowd

        return min(range(len(self.engines)), key=cost)


WAYS: Final[dict[str, Callable[[list[Engine]], Way]]] = {
    "round robin": lambda engines: Gateways(engines, [RoundRobin()]),
    "least loaded": lambda engines: Gateways(engines, [LeastLoaded()]),
    "two choices": TwoChoices,
    "consistent hashing, bounded": ConsistentHashing,
    "ours": lambda engines: Gateways(engines, [PrefixRouter()]),
    "ours, four gateways": lambda engines: Gateways(engines, [PrefixRouter() for _ in range(4)]),
    "ours, told of nothing": lambda engines: Gateways(engines, [PrefixRouter()], told=False),
    "an oracle": Oracle,
}


# -- the page -----------------------------------------------------------------------------------------------------


def measure(load: Load, seeds: Sequence[int] = SEEDS, ways: Sequence[str] = tuple(WAYS)) -> dict[str, Result]:
    """Returns the medians over seeds, by way of routing."""
    found: dict[str, list[Result]] = {name: [] for name in ways}
    for seed in seeds:
        calls = asks(load, seed)
        for name in ways:
            found[name].append(run(load, calls, WAYS[name]))
    return {name: Result(*(median(column) for column in zip(*each, strict=True))) for name, each in found.items()}  # type: ignore[arg-type]


def table(load: Load, results: dict[str, Result]) -> str:
    """Writes one load's table."""
    lines = [
        f"**{load.name[0].upper()}{load.name[1:]}**: {load.calls_per_s:g} calls/s",
        "",
        "| routing | tokens/s | TTFT p50 | TTFT p90 | time per token p50 | cached |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        lines.append(
            f"| {name} | {result.tokens_per_s:,.0f} | {_time(result.ttft_p50)} | {_time(result.ttft_p90)}"
            f" | {_time(result.tpot_p50)} | {result.cached:.0%} |"
        )
    return "\n".join(lines)


def claims(found: dict[str, dict[str, Result]]) -> str:
    """Writes what was to be shown beside what was found."""
    long = found[LONG.name]
    ours, least, oracle = long["ours"], long["least loaded"], long["an oracle"]
    rows = [
        ("long prefixes: throughput ÷ least loaded's", "≥ 1.4", ours.tokens_per_s / least.tokens_per_s, 1.4, False),
        ("long prefixes: TTFT p90 ÷ least loaded's", "≤ 1/3", ours.ttft_p90 / least.ttft_p90, 1 / 3, True),
        ("long prefixes: throughput ÷ the oracle's", "≥ 0.9", ours.tokens_per_s / oracle.tokens_per_s, 0.9, False),
        ("long prefixes: TTFT p90 ÷ the oracle's", "≤ 1.1", ours.ttft_p90 / oracle.ttft_p90, 1.1, True),
    ]
    for load in LOADS[1:]:
        ours, least = found[load.name]["ours"], found[load.name]["least loaded"]
        rows += [
            (
                f"{load.name}: throughput ÷ least loaded's",
                "≥ 0.98",
                ours.tokens_per_s / least.tokens_per_s,
                0.98,
                False,
            ),
            (f"{load.name}: TTFT p90 ÷ least loaded's", "≤ 1.02", ours.ttft_p90 / least.ttft_p90, 1.02, True),
        ]
    lines = ["| what | target | found | |", "|---|---|---|---|"]
    for what, target, value, bound, below in rows:
        met = value <= bound if below else value >= bound
        shown = f"{value:.4f}" if value < 0.01 else f"{value:.2f}"
        lines.append(f"| {what} | {target} | {shown} | {'met' if met else '**missed**'} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds:,.1f} s" if seconds >= 1 else f"{seconds * 1e3:,.0f} ms"


def main() -> None:
    """Prints the tables; `--write PAGE` puts them between the page's marks."""
    found = {}
    pieces = []
    for load in LOADS:
        found[load.name] = measure(load)
        pieces.append(table(load, found[load.name]))
        print(pieces[-1], flush=True)
    pieces.insert(0, claims(found))
    print(pieces[0])
    if sys.argv[1:2] == ["--write"]:
        page = Path(sys.argv[2])
        marked = re.compile(r"(<!-- measured -->\n).*?(<!-- measured until here -->)", re.DOTALL)
        page.write_text(marked.sub(lambda found: found[1] + "\n\n".join(pieces) + "\n" + found[2], page.read_text()))


if __name__ == "__main__":
    main()
