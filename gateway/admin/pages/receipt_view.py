"""What the page of one receipt shows, from what the API tells of it: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from gateway.accounting.receipts import Receipt
from gateway.core.money import INPUT_BUCKETS, usd
from gateway.routing import Decision

_TICKS: Final = 4
_WHO: Final = ("team", "key", "user", "model", "route", "deployment", "provider", "sensitivity")
_FORWARD: Final = {
    "cheapest": "expected",
    "fastest": "expected",
    "least_loaded": "in flight",
    "weighted": "weight",
}

Told = Mapping[str, Any]


class Considered(msgspec.Struct, frozen=True):
    """A deployment that was thought of. `place` counts candidates from 1; it is 0 where a rule removed it.

    `nano` is what the call was expected to cost there, `score` what else the pick compared, in words.
    """

    name: str
    place: int = 0
    chosen: bool = False
    failed: bool = False
    nano: int | None = None
    score: str = ""
    rule: str = ""
    why: str = ""


class Piece(msgspec.Struct, frozen=True):
    """A stretch on the line of time: where it begins and how long it is, in percent of the call, and what it is."""

    kind: str
    start: float
    width: float
    says: str


class Try(msgspec.Struct, frozen=True):
    """An attempt, or the gateway itself: its stretches, and what came of it."""

    name: str
    pieces: tuple[Piece, ...]
    ended: str
    failed: bool = False


class Choice(msgspec.Struct, frozen=True):
    """What the call would have cost otherwise: in percent of the dearest, and `more` nano-dollars than paid."""

    name: str
    nano: int
    usd: str
    share: float
    more: int = 0


class View(msgspec.Struct, frozen=True):
    """All that the page shows beside what the API tells."""

    sentence: str
    decision: Told | None
    receipt: Told
    cost: Told
    ok: bool
    tokens: int
    tokens_in: int
    speed: float | None
    considered: tuple[Considered, ...]
    tries: tuple[Try, ...]
    ticks: tuple[tuple[float, str], ...]
    choices: tuple[Choice, ...]
    facts: tuple[tuple[str, str, str], ...]
    warnings: tuple[tuple[str, str], ...]
    json: str


def view_of(told: Told) -> View:
    """Works a receipt out; `told` is as `/admin/receipts/{id}` tells it."""
    receipt = _whole(Receipt, told["receipt"])
    cost: Told = msgspec.to_builtins(told["cost"])
    tokens: Mapping[str, int] = receipt.get("tokens") or {}
    whole_us = receipt.get("e2e_us") or 0
    tpot_us = receipt.get("tpot_us")
    return View(
        sentence=told["sentence"],
        decision=_whole(Decision, told["decision"]) if told["decision"] is not None else None,
        receipt=receipt,
        cost=cost,
        ok=receipt["status"] < 400,
        tokens=sum(tokens.values()),
        tokens_in=sum(tokens.get(bucket, 0) for bucket in INPUT_BUCKETS),
        speed=1e6 / tpot_us if tpot_us else None,
        considered=_considered(told.get("decision"), receipt),
        tries=_tries(receipt, whole_us),
        ticks=tuple((100 * at / _TICKS, duration(whole_us * at // _TICKS)) for at in range(_TICKS + 1)),
        choices=_choices(receipt),
        facts=_facts(receipt),
        warnings=_warnings(receipt, cost),
        json=msgspec.json.format(msgspec.json.encode(dict(told, cost=cost)), indent=2).decode(),
    )


def _whole(struct: type[msgspec.Struct], told: Told) -> Told:
    """Returns what is told with None for what was left out of it."""
    return dict.fromkeys(struct.__struct_fields__) | dict(told)


def duration(us: int | None) -> str:
    """Writes microseconds in three digits, as `headgate.format.seconds` does."""
    if us is None:
        return "–"
    if us < 1000:
        return f"{us} µs" if us else "0"
    if us < 10_000:
        return f"{us / 1e3:.1f} ms"
    if us < 1_000_000:
        return f"{us / 1e3:.0f} ms"
    return f"{us / 1e6:.2f} s" if us < 10_000_000 else f"{us / 1e6:,.0f} s"


# -- the decision -------------------------------------------------------------------------------------------------


def _considered(decision: Told | None, receipt: Told) -> tuple[Considered, ...]:
    if decision is None:
        return ()
    failed = {line["deployment"] for line in receipt.get("attempts") or () if line.get("reason")}
    scores: Sequence[float] = decision.get("scores", ())
    found = []
    for place, name in enumerate(decision.get("candidates", ())):
        nano, score = _score(decision["pick"], scores[place]) if place < len(scores) else (None, "")
        chosen = name == decision.get("chosen")
        found.append(Considered(name, place + 1, chosen, name in failed and not chosen, nano, score))
    removed = (
        Considered(each["deployment"], rule=each["rule"], why=each["why"]) for each in decision.get("removed", ())
    )
    return (*found, *removed)


def _score(pick: str, score: float) -> tuple[int | None, str]:
    """Returns a score as nano-dollars, or in words with its unit."""
    if pick == "cheapest":
        return round(score), "expected"
    if pick == "fastest":
        return None, f"{duration(round(score * 1e6))} expected"
    said = _FORWARD.get(pick, "score")
    return None, f"{score:.3g} {said}"


# -- the line of time ---------------------------------------------------------------------------------------------


def _tries(receipt: Told, whole_us: int) -> tuple[Try, ...]:
    def piece(kind: str, start: int, length: int, says: str) -> Piece:
        whole = whole_us or 1
        begins = min(100.0, 100 * start / whole)
        return Piece(kind, round(begins, 3), round(min(100 - begins, max(0.4, 100 * length / whole)), 3), says)

    attempts: Sequence[Told] = receipt.get("attempts") or ()
    queue_us, overhead_us = receipt.get("queue_us") or 0, receipt.get("overhead_us") or 0
    before_us = attempts[0].get("started_us", 0) if attempts else whole_us
    own = [piece("own", 0, max(0, before_us - queue_us), f"{duration(overhead_us)} of the gateway's own")]
    if queue_us:
        own.append(piece("queue", max(0, before_us - queue_us), queue_us, f"{duration(queue_us)} in the queue"))
    said = f"{duration(overhead_us)} its own" + (f", {duration(queue_us)} in the queue" if queue_us else "")
    found = [Try("gateway", tuple(own), said if attempts else duration(whole_us))]
    for line in attempts:
        start, took, ttft = line.get("started_us", 0), line.get("e2e_us") or 0, line.get("ttft_us")
        if line.get("reason"):
            status = f" ({line['status']})" if line.get("status") else ""
            failed = piece("failed", start, took, f"failed after {duration(took)}")
            found.append(
                Try(line["endpoint"], (failed,), f"{line['reason']}{status} after {duration(took)}", failed=True)
            )
        elif ttft is None:
            answered = piece("answer", start, took, f"answered in {duration(took)}")
            found.append(Try(line["endpoint"], (answered,), f"answered in {duration(took)}"))
        else:
            waited = piece("wait", start, ttft, f"first token after {duration(ttft)}")
            streamed = piece("answer", start + ttft, took - ttft, f"streamed for {duration(took - ttft)}")
            ended = f"first token after {duration(ttft)}, all in {duration(took)}"
            found.append(Try(line["endpoint"], (waited, streamed), ended))
    return tuple(found)


# -- the money ----------------------------------------------------------------------------------------------------


def _choices(receipt: Told) -> tuple[Choice, ...]:
    """Returns what was paid and what it would have been, nothing where there is nothing to compare with."""
    hit = receipt.get("cache") == "hit"
    named = [
        ("Paid", receipt.get("cost_nano")),
        ("When the answer was made", receipt.get("saved_nano") if hit else None),
        ("At a hosted place's list price", receipt.get("list_nano")),
        ("At the dearest permitted place", receipt.get("dearest_nano")),
    ]
    known = [(name, nano) for name, nano in named if nano is not None]
    paid = receipt.get("cost_nano")
    if paid is None or len(known) < 2:
        return ()
    most = max(nano for _, nano in known) or 1
    return tuple(Choice(name, nano, usd(nano), round(100 * nano / most, 2), nano - paid) for name, nano in known)


def _facts(receipt: Told) -> tuple[tuple[str, str, str], ...]:
    """Returns (what, value, address of the receipts that share it)."""

    def same(name: str, value: str) -> str:
        return "/admin/ui/receipts?" + urlencode({"since": "30d", name: value})

    found = [(name, str(receipt[name]), same(name, receipt[name])) for name in _WHO if receipt.get(name)]
    tags = receipt.get("tags") or ()
    pairs = tags.items() if isinstance(tags, Mapping) else tags
    found += [(f"tag {name}", value, same(f"tag:{name}", value)) for name, value in pairs]
    rest = {
        "asked as": receipt.get("dialect"),
        "model there": receipt.get("upstream_model"),
        "streamed": "yes" if receipt.get("stream") else "no",
        "ended": receipt.get("finish"),
        "cache": {"hit": "answered from it", "miss": "asked, not there"}.get(receipt.get("cache") or "-"),
        "config revision": receipt.get("config_revision") or None,
    }
    return (*found, *((name, str(value), "") for name, value in rest.items() if value is not None))


def _warnings(receipt: Told, cost: Told) -> tuple[tuple[str, str], ...]:
    found = []
    if receipt["status"] >= 400:
        why = receipt.get("refusal") or str(receipt.get("reason") or "failed").replace("_", " ")
        found.append(("bad", f"{receipt['status']}: {why}"))
    if cost.get("agrees") is False:
        found.append(("bad", "the lines of its cost do not make up what was booked"))
    doubtful = receipt.get("estimated") or receipt.get("usage_suspect") or receipt.get("cost_nano") is None
    found += [("warn" if doubtful else "", note) for note in cost.get("notes", ())]
    if receipt.get("spilled"):
        found.append(("", "a hosted place answered although own GPUs were permitted"))
    if dropped := receipt.get("dropped_events"):
        found.append(("warn", f"{dropped} events of the stream were no JSON and were not passed on"))
    return tuple(found)
