"""What a draft would have done to calls that were made: from their receipts, by the engine that serves.

Receipts hold no prompts, so some of what decided then is taken as it was; `ASSUMED` says what. The config that serves
is put through the same, so that what the two differ in is the draft's doing and not the method's.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median, quantiles
from typing import Final
from zlib import crc32

import msgspec

from gateway.auth import principal_of
from gateway.config import Loaded
from gateway.core.errors import CallError, Overloaded
from gateway.core.money import Usage, charge, knows, usd
from gateway.core.policy import Measured, View, bucket_of
from gateway.core.types import Call, Deployment, Principal, Request, Sensitivity, Tags
from gateway.routing import Routing
from gateway.snapshot import Snapshot
from gateway.state.protocols import KeyRow
from gateway.wiring.compile import teams_of, written_keys

ASSUMED: Final = (
    "A call is as sensitive as it was found to be: detectors, terms and labels of the draft see no prompt. A floor of "
    "the draft's keys and teams does hold.",
    "The first place answers. What was down at the time, or could not do the call, is so again; what is new can do "
    "every call and is never down.",
    "Answers have the tokens that they had, cached ones included, wherever they come from; failed calls have none.",
    "Latency of a place is what its calls show over the whole span; one without calls is unmeasured. Nobody is busy: "
    "`least_loaded` takes what comes first.",
    "Kept answers are kept as they were, and cost nothing.",
)
_PAUSE_EVERY: Final = 50  # calls, after which other threads of the process get their turn
_MOVES: Final = 50
_EXAMPLES: Final = 3
_CACHED: Final = "cache"

Bucketed = tuple[str, int]


class World(msgspec.Struct, frozen=True):
    """A compiled config, as far as it decides: the engine, and who the callers are by their keys' names."""

    routing: Routing
    deployments: Mapping[str, Deployment]
    principals: Mapping[str, Principal]


class Side(msgspec.Struct, frozen=True):
    """What became, or would have become, of the calls looked at.

    `rejected` counts calls by the code that they were refused with. `nano_usd` is what those cost whose price is known;
    `unpriced` counts the others. Medians are in seconds, over the calls that have a figure (`timed`).
    """

    calls: int
    by_deployment: dict[str, int]
    rejected: dict[str, int]
    nano_usd: int
    usd: str
    unpriced: int
    timed: int
    ttft_p50_s: float | None
    e2e_p50_s: float | None


class Move(msgspec.Struct, frozen=True):
    """Calls that the draft sends elsewhere: from where to where (or `refused: CODE`), and what they cost by list."""

    origin: str
    to: str
    calls: int
    nano_usd_before: int
    nano_usd_after: int
    examples: tuple[str, ...]


class Replay(msgspec.Struct, frozen=True):
    """The answer. `calls` are in the span, `examined` were looked at; `skipped` of those never came to a decision."""

    since: float
    until: float
    calls: int
    examined: int
    skipped: int
    sampled: bool
    changed: int
    actual: Side
    serving: Side | None
    draft: Side
    moves: tuple[Move, ...]
    assumptions: tuple[str, ...] = ASSUMED


class _Removed(msgspec.Struct, frozen=True):
    deployment: str
    rule: str
    why: str = ""


class _Decision(msgspec.Struct, frozen=True):
    removed: tuple[_Removed, ...] = ()


class _Attempt(msgspec.Struct, frozen=True):
    ttft_us: int | None = None
    e2e_us: int | None = None


class Past(msgspec.Struct, frozen=True):
    """What of a receipt is looked at; the names are the receipt's."""

    id: str
    key: str
    status: int
    team: str | None = None
    user: str | None = None
    tags: Tags = ()
    model: str | None = None
    dialect: str | None = None
    endpoint: str | None = None
    stream: bool = False
    sensitivity: str | None = None
    deployment: str | None = None
    tokens: dict[str, int] = {}
    cost_nano: int | None = None
    cache: str = "-"
    reason: str | None = None
    ttft_us: int | None = None
    tpot_us: int | None = None
    e2e_us: int | None = None
    attempts: tuple[_Attempt, ...] = ()
    decision: _Decision | None = None

    @property
    def answered(self) -> bool:
        """Whether it was answered whole."""
        return self.status == 200 and self.reason is None

    @property
    def usage(self) -> Usage:
        """Its tokens."""
        return msgspec.convert(self.tokens, Usage)


_past: Final = msgspec.json.Decoder(Past)


def world_of(loaded: Loaded, snapshot: Snapshot, stored: Sequence[KeyRow]) -> World:
    """Returns what of a compiled config decides; `stored` are the store's keys."""
    levels, teams = snapshot.levels, teams_of(loaded.config)
    rows = [*stored, *written_keys(loaded.config)]
    return World(
        snapshot.routing,
        {deployment.name: deployment for deployment in snapshot.deployments},
        {row.name: principal_of(row, levels, teams) for row in rows},
    )


def replay(
    draft: World, serving: World | None, bodies: Iterable[bytes], calls: int, since: float, until: float
) -> Replay:
    """Puts calls, as the JSON of their receipts, through both configs; `calls` is how many the span has."""
    looked_at = [_read(body) for body in bodies]
    pasts = [past for past in looked_at if past is not None]
    view = _view(pasts)
    books, then = _Books(view), _Books(view)
    now = _Books(view) if serving is not None else None
    moved: dict[tuple[str, str], list[tuple[int, int, str]]] = defaultdict(list)
    for number, past in enumerate(pasts):
        then.book_actual(past)
        to, after = books.book(past, *_fate(draft, past, view))
        if serving is not None and now is not None:
            origin, before = now.book(past, *_fate(serving, past, view))
        else:
            origin, before = then.where(past), past.cost_nano or 0
        if origin != to:
            moved[origin, to].append((before, after, past.id))
        if number % _PAUSE_EVERY == 0:
            time.sleep(0)
    moves = [
        Move(
            origin,
            to,
            len(each),
            sum(before for before, _, _ in each),
            sum(after for _, after, _ in each),
            tuple(id for _, _, id in each[:_EXAMPLES]),
        )
        for (origin, to), each in sorted(moved.items(), key=lambda pair: -len(pair[1]))
    ]
    return Replay(
        since,
        until,
        calls,
        len(looked_at),
        len(looked_at) - len(pasts),
        len(looked_at) < calls,
        sum(move.calls for move in moves),
        then.side(),
        now.side() if now is not None else None,
        books.side(),
        tuple(moves[:_MOVES]),
    )


def _read(body: bytes) -> Past | None:
    """Reads a receipt; None of a call that was refused before it was understood, or of another version's."""
    try:
        past = _past.decode(body)
    except msgspec.DecodeError:
        return None
    return past if past.endpoint is not None and past.sensitivity is not None else None


# -- one call -----------------------------------------------------------------------------------------------------


def _fate(world: World, past: Past, view: View) -> tuple[Deployment | None, str]:
    """Returns where a call would go first, or the code that it would be refused with."""
    request = _request(world, past)
    still = msgspec.structs.replace(view, draw=crc32(past.id.encode()) / 2**32)
    removed = past.decision.removed if past.decision is not None else ()
    unable = {each.deployment: "capable" for each in removed if each.rule == "capable"}
    down = {each.deployment: each.rule for each in removed if each.rule == each.why}  # a breaker's word is both
    try:
        try:
            plan = world.routing.plan(request, still, down | unable)
        except Overloaded:
            plan = world.routing.plan(request, still, unable)
    except CallError as error:
        return None, error.word
    return plan.candidates[0], ""


def _request(world: World, past: Past) -> Request:
    levels = world.routing.levels
    level = levels.index(past.sensitivity) if past.sensitivity in levels else len(levels) - 1
    principal = world.principals.get(past.key) or Principal(past.key, past.team, past.user, past.tags)
    usage = past.usage
    call = Call(
        past.id, past.endpoint or "", past.dialect or "", b"", model=past.model, stream=past.stream, user=past.user
    )
    output = {"output_tokens": usage.output_tokens} if usage.output_tokens else {}
    return Request(
        call,
        principal,
        Sensitivity(max(level, principal.sensitivity)),
        usage.input_tokens,
        tags=past.tags or principal.tags,
        **output,
    )


class _Books:
    """Sums what became of calls."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._calls = 0
        self._to: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._nano = 0
        self._unpriced = 0
        self._ttft: list[float] = []
        self._e2e: list[float] = []

    def where(self, past: Past) -> str:
        """Returns where a call went."""
        if past.cache == "hit":
            return _CACHED
        return past.deployment if past.deployment is not None else f"refused: {past.reason or past.status}"

    def book_actual(self, past: Past) -> None:
        """Counts a call as it was."""
        self._calls += 1
        if past.cache != "hit" and past.deployment is None:
            self._rejected[past.reason or str(past.status)] += 1
            return
        self._to[self.where(past)] += 1
        self._nano += past.cost_nano or 0
        self._unpriced += past.cost_nano is None
        if past.answered and past.cache != "hit":
            self._time(past.ttft_us / 1e6 if past.ttft_us else None, past.e2e_us / 1e6 if past.e2e_us else None)

    def book(self, past: Past, place: Deployment | None, code: str) -> tuple[str, int]:
        """Counts a call as it would be; returns where it goes and what it costs."""
        self._calls += 1
        if place is None:
            self._rejected[code] += 1
            return f"refused: {code}", 0
        if past.cache == "hit":
            self._to[_CACHED] += 1
            return _CACHED, 0
        self._to[place.name] += 1
        usage = past.usage
        cost = 0
        if place.price is not None and knows(place.price, usage):
            cost = charge(usage, place.price).nano_usd if past.tokens else 0
            self._nano += cost
        else:
            self._unpriced += 1
        seen = self._view.measured.get((place.name, bucket_of(usage.input_tokens)))
        if seen is not None and past.answered:
            ttft = seen.ttft_p50_s if past.stream and seen.ttft_p50_s == seen.ttft_p50_s else None
            whole = seen.tpot_p50_s * usage.output_tokens if seen.tpot_p50_s == seen.tpot_p50_s else None
            self._time(ttft, None if whole is None else whole + (ttft or 0.0))
        return place.name, cost

    def side(self) -> Side:
        """Returns the sums."""
        return Side(
            self._calls,
            dict(self._to.most_common()),
            dict(self._rejected.most_common()),
            self._nano,
            usd(self._nano),
            self._unpriced,
            len(self._e2e),
            round(median(self._ttft), 4) if self._ttft else None,
            round(median(self._e2e), 4) if self._e2e else None,
        )

    def _time(self, ttft_s: float | None, e2e_s: float | None) -> None:
        if ttft_s is not None:
            self._ttft.append(ttft_s)
        if e2e_s is not None:
            self._e2e.append(e2e_s)


# -- what the calls themselves show of their places -----------------------------------------------------------------


def _view(pasts: Iterable[Past]) -> View:
    """Returns the measurements that receipts amount to, over all of them."""
    ttft: dict[Bucketed, list[float]] = defaultdict(list)
    tpot: dict[Bucketed, list[float]] = defaultdict(list)
    samples: Counter[Bucketed] = Counter()
    went_in: Counter[str] = Counter()
    cached: Counter[str] = Counter()
    for past in pasts:
        if not past.answered or past.cache == "hit" or past.deployment is None:
            continue
        usage = past.usage
        key = past.deployment, bucket_of(usage.input_tokens)
        samples[key] += 1
        went_in[past.deployment] += usage.input_tokens
        cached[past.deployment] += usage.cached_input
        first = past.attempts[-1].ttft_us if past.attempts else past.ttft_us
        if past.stream and first:
            ttft[key].append(first / 1e6)
            if past.tpot_us:
                tpot[key].append(past.tpot_us / 1e6)
        elif not past.stream and past.e2e_us:
            tpot[key].append(past.e2e_us / 1e6 / max(1, usage.output_tokens))
    measured = {
        key: Measured(count, *_quantiles(ttft.get(key, ())), *_quantiles(tpot.get(key, ())))
        for key, count in samples.items()
    }
    shares = {name: cached[name] / count for name, count in went_in.items() if count}
    return View(0.0, 0.5, measured, cached_share=shares)


def _quantiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return (values[0], values[0]) if values else (float("nan"), float("nan"))
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]
