"""What a storm is made of, drawn by hypothesis: calls and what befalls them, reloads, outages, levers, rests."""

from __future__ import annotations

from typing import Final, NamedTuple

from hypothesis import strategies as st

from gateway.simulator import KINDS, Fault
from tests.storms.callers import Leave, Pace
from tests.storms.places import MISTAKES, STANDS, TEAMS, VARIANTS, Trouble


class Ask(NamedTuple):
    """A call: who asks whom for what, how its answer fares on the way, and how its caller behaves.

    `twin` names what others ask too, word for word and at temperature 0. `troubles` befall its requests in turn.
    """

    model: str = "chat"
    key: str = "ada"
    level: str = ""  # of its label, or what in its words raises it
    stream: bool = False
    usage: bool = False
    twin: int | None = None
    tokens: int = 4
    filler_bytes: int = 0
    timeout_s: float | None = None
    troubles: tuple[Trouble, ...] = ()
    pace: Pace = "fast"
    leave: Leave | None = None

    def __repr__(self) -> str:
        """Says what is not as usual."""
        unusual = {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}
        return f"Ask({', '.join(f'{name}={value!r}' for name, value in unusual.items())})"


class Rest(NamedTuple):
    """Lets what goes on go on."""

    seconds: float


class Calm(NamedTuple):
    """Waits until every call so far is over."""


class Reload(NamedTuple):
    """Has the gateway take over a variant of its config, with a mistake in it or without, while others go on."""

    variant: str
    mistake: str | None = None


class Outage(NamedTuple):
    """A place is gone, with all its connections; or is there again."""

    place: str
    over: bool = False


class Lever(NamedTuple):
    """A person forces a breaker."""

    place: str
    shut: bool


Step = Ask | Rest | Calm | Reload | Outage | Lever

# Statuses that the table of reasons tells apart, and every other way to fail that is over in milliseconds.
_STATUSES: Final = ("400", "401", "402", "404", "408", "429", "500", "501", "503", "529")
_SLOW: Final = ("comments", "drip", "hang", "huge", "slow", "stall")
_QUICK: Final = tuple(sorted(KINDS.keys() - set(_SLOW) - {"ok"})) + _STATUSES
FAULTS: Final = frozenset(_SLOW + _QUICK)


def _mostly(usual: object, *others: object) -> st.SearchStrategy:
    """Draws what is usual three times out of four; of the others, a strategy is drawn from."""
    many = [other if isinstance(other, st.SearchStrategy) else st.just(other) for other in others]
    return st.integers(0, 4 * len(many) - 1).flatmap(lambda at: many[at - 1] if 0 < at <= len(many) else st.just(usual))


@st.composite
def _faults(draw: st.DrawFn) -> Fault:
    """Draws a fault with its options. Most are over at once; those that wait are rarer, as they cost the storm time."""
    paced = {"after": draw(st.integers(0, 3)), "tpot_s": draw(st.sampled_from((0.0, 0.0003, 0.001)))}
    group = draw(st.integers(0, 29))
    if group < 10:
        return Fault("ok", **paced)
    if group < 28:
        kind = draw(st.sampled_from(_QUICK))
        if kind == "429":
            return Fault(kind, retry_after_ms=draw(st.sampled_from((None, 5, 60_000))))
        return Fault(kind, **paced)
    match draw(st.sampled_from(_SLOW)):
        case "drip":
            return Fault("drip", every_s=0.0, tokens=1)
        case "huge":
            return Fault("huge", size_bytes=150_000, **paced)
        case "slow":
            return Fault("slow", wait_s=draw(st.sampled_from((0.005, 0.04))))
        case "stall":
            return Fault("stall", wait_s=draw(st.sampled_from((0.005, None))), **paced)
        case "comments":
            return Fault("comments", wait_s=0.05, **paced)
        case kind:
            return Fault(kind)


_cuts = st.lists(st.floats(0.01, 0.99), max_size=3).map(tuple)
_troubles = st.lists(st.builds(Trouble, _faults(), _cuts, _mostly(False, False, False, False, True)), max_size=3).map(
    tuple
)
_twins_levels = _mostly("", "confidential", "restricted")
_leaves = st.builds(Leave, st.sampled_from((-1, 0, 1, 200, 700, 1500, 4000)), st.booleans())


_asks = st.builds(
    Ask,
    model=_mostly("chat", "quick", "spread", "own", "nothing"),
    key=st.sampled_from(tuple(TEAMS)),
    level=_mostly("", "restricted", "confidential", "internal", "number", "term"),
    stream=st.booleans(),
    usage=st.booleans(),
    twin=st.none(),
    tokens=st.integers(1, 12),
    filler_bytes=_mostly(0, 4_000, 150_000),
    timeout_s=_mostly(None, 0.01),
    troubles=_troubles,
    pace=_mostly("fast", "slow"),
    leave=_mostly(None, _leaves),
)
# More than lies between the gateway and a caller that reads nothing.
_STUCK: Final = Ask(troubles=(Trouble(Fault("huge", size_bytes=700_000)),), pace="stuck")
# What twins have in common; the rest of each is drawn for itself.
_TWINS: Final = (
    {"model": "chat", "tokens": 5, "filler_bytes": 0},
    {"model": "spread", "tokens": 9, "filler_bytes": 0},
    {"model": "own", "tokens": 12, "filler_bytes": 6_000},
)


@st.composite
def _steps(draw: st.DrawFn) -> Step:
    """Draws a step; most are calls."""
    drawn = draw(st.integers(0, 24))
    if drawn < 19:
        ask = draw(_asks)
        group = draw(st.integers(0, 99))
        if group == 99:
            return _STUCK._replace(stream=ask.stream)
        if group >= 50:
            twin = group % len(_TWINS)
            return ask._replace(twin=twin, level=draw(_twins_levels), **_TWINS[twin])
        return ask
    match drawn:
        case 19 | 20:
            return Rest(draw(st.sampled_from((0.0, 0.001, 0.008))))
        case 21:
            return Calm()
        case 22:
            return Reload(draw(st.sampled_from(VARIANTS)), draw(_mostly(None, *MISTAKES)))
        case 23:
            return Outage(draw(st.sampled_from(tuple(STANDS))), draw(st.booleans()))
        case _:
            return Lever(draw(st.sampled_from(tuple(STANDS))), draw(st.booleans()))


sequences = st.lists(_steps(), min_size=1, max_size=12)
