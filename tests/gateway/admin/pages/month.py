"""Receipts of a made-up month, written through the store: what pages of money are looked at with.

Everything is drawn from one seed and told from `now` backwards: the day before yesterday looks the same on every day.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from time import gmtime
from typing import Final, NamedTuple

import msgspec

from gateway.accounting.receipts import AttemptLine, Receipt, row_of, tokens_of
from gateway.core.money import Price, Usage, charge
from gateway.core.types import Removal
from gateway.prices import price_from
from gateway.routing import Decision
from gateway.state.sqlite import SqliteStore

DAY_S: Final = 86400.0
DEAREST_TEAM: Final = "research"  # of every month


class Place(NamedTuple):
    """Where calls go: a deployment, what it charges, and how fast it is (seconds, seconds per token)."""

    provider: str
    model: str
    price: Price
    ttft_s: float
    tpot_s: float


def _place(provider: str, model: str, input: str, cached: str, output: str, ttft_s: float, tpot_s: float) -> Place:
    price = price_from({"input": input, "cached_input": cached, "output": output})
    return Place(provider, model, price, ttft_s, tpot_s)


PLACES: Final = {
    "qwen": _place("lab", "qwen3-32b", "0.09", "0.02", "0.55", 0.18, 0.014),
    "gpt-mini": _place("openai", "gpt-5-mini", "0.25", "0.025", "2.00", 0.42, 0.011),
    "haiku": _place("anthropic", "claude-haiku-4-5", "1.00", "0.10", "5.00", 0.55, 0.009),
    "sonnet": _place("anthropic", "claude-sonnet-4-5", "3.00", "0.30", "15.00", 0.83, 0.017),
}
_LISTED: Final = ("gpt-mini", "haiku")  # hosted, in the order of their prices


class Caller(NamedTuple):
    """Who calls: a key, its team, its people, what it asks for and how often."""

    key: str
    team: str | None
    users: tuple[str, ...]
    model: str
    among: tuple[str, ...]
    share: float
    input: int
    output: int


CALLERS: Final = (
    Caller("evals", "research", ("yara", "zoe"), "smart", ("sonnet", "haiku"), 2.0, 5200, 1500),
    Caller("helpdesk", "support", (), "chat", ("qwen", "gpt-mini", "haiku"), 6.0, 1400, 260),
    Caller("assist", "support", ("ana", "bruno", "chiara"), "chat", ("qwen", "gpt-mini"), 2.5, 2100, 320),
    Caller("crm", "sales", ("hanna", "ivan", "julia"), "chat", ("gpt-mini", "haiku"), 3.0, 1700, 420),
    Caller("ide", "engineering", ("maya", "nils", "olga"), "code", ("haiku", "sonnet"), 2.0, 6400, 520),
    Caller("sandbox", None, (), "chat", ("gpt-mini",), 0.4, 600, 200),
)


def zone_of(now: float) -> str:
    """Returns a time zone in which the month is not so young that nothing was called in it."""
    return "UTC" if gmtime(now - 3600).tm_mon == gmtime(now).tm_mon else "Pacific/Honolulu"


def receipts(now: float, days: float = 45, count: int = 2400, seed: int = 7) -> Iterator[Receipt]:
    """Yields receipts from `days` before now (seconds since the epoch) until a minute before it, in their order.

    The last dozens are of the last minutes, of every caller in turn, one of them without a price: so they are of this
    month, on whichever day that is.
    """
    draw = random.Random(seed)
    recent = min(count, 4 * len(CALLERS))
    moments = sorted(now - 240 - (days * DAY_S - 300) * draw.random() ** 0.85 for _ in range(count - recent))
    moments += sorted(now - 60 - 180 * draw.random() for _ in range(recent))
    for number, time in enumerate(moments):
        is_recent = number >= count - recent
        (caller,) = draw.choices(CALLERS, [each.share for each in CALLERS])
        caller = CALLERS[number % len(CALLERS)] if is_recent else caller
        yield _receipt(draw, number, time, caller, unpriced=is_recent and number == count - 2)


def _receipt(draw: random.Random, number: int, time: float, caller: Caller, *, unpriced: bool) -> Receipt:
    chance, restricted = 0.079 if unpriced else draw.random(), draw.random() < 0.08 and "qwen" in caller.among
    among = [name for name in caller.among if not restricted or PLACES[name].provider == "lab"]
    removed = tuple(
        Removal(name, "clearance", "restricted > internal") for name in caller.among if name not in among
    ) + ((Removal("sonnet", "price-cap", "output 15.00 > 10.00"),) if caller.model == "chat" else ())
    spill = len(among) > 1 and draw.random() < 0.12
    chosen = among[1] if spill else among[0]
    place = PLACES[chosen]
    usage = Usage(
        fresh_input=int(draw.lognormvariate(math.log(caller.input), 0.5)),
        cached_input=int(caller.input * draw.random()) if draw.random() < 0.4 else 0,
        output_text=max(2, int(draw.lognormvariate(math.log(caller.output), 0.6))),
        reasoning=int(caller.output * draw.random()) if caller.model == "smart" else 0,
        estimated=chance > 0.985,
    )
    cost = charge(usage, place.price)
    at_others = sorted(charge(usage, PLACES[name].price).nano_usd for name in among)
    listed = next((charge(usage, PLACES[name].price).nano_usd for name in _LISTED if name in among), None)
    tokens = usage.output_text + usage.reasoning
    began_s = 0.0004 + draw.random() * 0.001
    failed_s = 0.9 + draw.random() * 2 if spill else 0.0
    ttft_s = place.ttft_s * draw.lognormvariate(0, 0.3)
    e2e_s = began_s + failed_s + ttft_s + tokens * place.tpot_s
    answered = _line(chosen, began_s + failed_s, e2e_s, ttft_s=ttft_s)
    failed = _line(among[0], began_s, began_s + failed_s, reason="overloaded", status=503)
    whole = Receipt(
        id=f"req_{number:012x}{draw.getrandbits(32):08x}",
        time=time,
        key=caller.key,
        status=200,
        team=caller.team,
        user=draw.choice(caller.users) if caller.users else None,
        tags=(("project", caller.key),) if caller.team else (),
        route=caller.model,
        deployment=chosen,
        provider=place.provider,
        model=caller.model,
        sensitivity="restricted" if restricted else "internal",
        tokens=tokens_of(usage),
        cost_nano=cost.nano_usd,
        price_version=place.price.version,
        estimated=usage.estimated,
        cache="miss",
        cost=cost.lines,
        dearest_nano=at_others[-1],
        list_nano=cost.nano_usd if place.provider != "lab" else listed,
        spilled=spill and among[0] == "qwen",
        ttft_us=_us(began_s + failed_s + ttft_s),
        tpot_us=_us(place.tpot_s),
        e2e_us=_us(e2e_s),
        upstream_model=place.model,
        dialect="chat",
        endpoint="chat",
        stream=True,
        finish="stop",
        queue_us=_us(draw.random() * 0.02) if draw.random() < 0.1 else None,
        overhead_us=_us(began_s),
        config_revision=12,
        raw_usage=msgspec.Raw(b'{"prompt_tokens": %d, "completion_tokens": %d}' % (usage.input_tokens, tokens)),
        attempts=(failed, answered) if spill else (answered,),
        decision=Decision(
            caller.model,
            "cheapest" if caller.model == "chat" else "in_order",
            chosen,
            tuple(among),
            tuple(float(nano) for nano in at_others) if caller.model == "chat" else (),
            removed,
            "that meet ttft p95 2s" if caller.model == "chat" and len(among) > 1 else "",
            "restricted" if restricted else "internal",
            ("detector pii: us_ssn",) if restricted else (),
        ),
    )
    if chance < 0.05:
        return msgspec.structs.replace(
            whole, cache="hit", cost_nano=0, cost={}, saved_nano=cost.nano_usd, attempts=(), dearest_nano=None,
            list_nano=None, spilled=False, ttft_us=_us(0.0006), tpot_us=None, e2e_us=_us(0.0011), queue_us=None,
        )  # fmt: skip
    if chance < 0.075:
        return _lost(whole, draw)
    if chance < 0.08:
        return msgspec.structs.replace(
            whole, cost_nano=None, cost={}, price_version=None, dearest_nano=None, list_nano=None
        )
    return whole


def _line(
    name: str, began_s: float, ended_s: float, ttft_s: float | None = None, reason: str | None = None, status: int = 200
) -> AttemptLine:
    return AttemptLine(
        endpoint=f"{name}#0",
        deployment=name,
        provider=PLACES[name].provider,
        started_us=_us(began_s),
        reason=reason,
        status=status,
        ttft_us=None if ttft_s is None else _us(ttft_s),
        e2e_us=_us(ended_s - began_s),
    )


def _lost(whole: Receipt, draw: random.Random) -> Receipt:
    """Returns the receipt of a call that nobody answered."""
    reason, status = draw.choice((("timeout", 504), ("rate_limited", 429), ("server_error", 502)))
    took = _us(0.2 + draw.random() * 4)
    last = msgspec.structs.replace(whole.attempts[-1], reason=reason, status=status, ttft_us=None, e2e_us=took)
    decision = msgspec.structs.replace(whole.decision, chosen=None)
    return msgspec.structs.replace(
        whole, status=status, reason=reason, attempts=(last,), decision=decision, tokens={}, cost={}, cost_nano=0,
        deployment=None, provider=None, dearest_nano=None, list_nano=None, spilled=False, ttft_us=None, tpot_us=None,
        e2e_us=took + 1200, finish=None, estimated=False, price_version=None, raw_usage=msgspec.Raw(b"null"),
    )  # fmt: skip


def _us(seconds: float) -> int:
    return int(seconds * 1e6)


def write_month(database: Path, now: float, count: int = 2400) -> None:
    """Writes the month into a database that nobody has open."""
    store = SqliteStore(database)
    try:
        store.keep_prices([place.price for place in PLACES.values()])
        store.add_receipts([row_of(msgspec.json.encode(each)) for each in receipts(now, count=count)])
        store.fold_rollups(now)
    finally:
        store.close()
