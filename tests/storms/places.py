"""Where a storm's calls can go: simulators that fail each call as it was drawn, and the configs that name them.

What may go where, and what a token costs, is written down here a second time, by hand: the laws are held against these
tables and never against what the gateway makes of its config.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from gateway.simulator import Fault, Seen, Simulator
from gateway.simulator.play import End, Reply, Step

TICK_S: Final = 0.0002  # enough for what follows to be a read of its own


class Trouble(NamedTuple):
    """What becomes of one request: a fault, where in its answer (from 0 to 1) a read of the gateway's ends, and whether
    the answer's last byte comes at all."""

    fault: Fault
    cuts: tuple[float, ...] = ()
    endless: bool = False

    def __repr__(self) -> str:
        """Says what is not as usual."""
        usual = msgspec.structs.asdict(Fault("ok"))
        options = {name: value for name, value in msgspec.structs.asdict(self.fault).items() if value != usual[name]}
        told = [f"{name}={value!r}" for name, value in options.items()] or ["'ok'"]
        cuts, endless = f", cuts={self.cuts}" if self.cuts else "", ", endless=True" if self.endless else ""
        return f"Trouble(Fault({', '.join(told)}){cuts}{endless})"


class Heard(msgspec.Struct):
    """One request that reached a simulator, and the answer that was meant for it; `reply` is None for a refusal."""

    place: str
    call: int
    fault: Fault
    endless: bool = False
    reply: Reply | None = None


class Stand(NamedTuple):
    """A place, in the words of its config; prices in dollars per million tokens."""

    kind: str
    location: str
    retention: str
    prices: Mapping[str, str]
    replicas: int = 1
    keys: tuple[str, ...] = ("sk-storm",)


# Prices with more places than a nano-dollar has: every line is rounded.
STANDS: Final[Mapping[str, Stand]] = {
    "far": Stand("openai", "us", "30d", {"input": "0.1234567", "cached_input": "0.0123", "output": "0.7654321"}),
    "near": Stand("anthropic", "eu", "30d", {"input": "3.0003003", "output": "15.0501"}, keys=("sk-one", "sk-two")),
    "pool": Stand(
        "vllm", "self_hosted", "none", {"input": "0.0007", "cached_input": "0.00011", "output": "0.00333"}, 2
    ),
    "own": Stand("openai", "self_hosted", "none", {"input": "1.5", "output": "2.5"}),
}
EVERYWHERE: Final = frozenset(STANDS)
OURS: Final = frozenset({"pool", "own"})

# variant of the config -> level -> where such calls may go. `near` may see confidential calls by its location, but
# keeps them for 30 days, which a guarantee forbids; in `moved` it stands where only public calls may go.
PERMITTED: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "calm": {"internal": EVERYWHERE, "confidential": OURS, "restricted": OURS},
    "turned": {"internal": EVERYWHERE, "confidential": OURS, "restricted": OURS},
    "moved": {"internal": EVERYWHERE - {"near"}, "confidential": OURS, "restricted": OURS},
    "smaller": {"internal": EVERYWHERE - {"far"}, "confidential": OURS, "restricted": OURS},
}
VARIANTS: Final = tuple(PERMITTED)

ATTEMPTS: Final = {"chat": 4, "quick": 2, "spread": 3, "own": 3}  # by what a caller names; a deployment's own is 3
IN_FLIGHT: Final = 8
TEAMS: Final = {"ada": "red", "bob": "red", "kay": "green", "eve": "blue"}
FLOORS: Final = {"red": "internal", "green": "internal", "blue": "confidential"}


def nano_usd(place: str, tokens: Mapping[str, int]) -> int:
    """Returns what tokens cost, each bucket rounded half up to the nano-dollar."""
    names = {"fresh_input": "input", "cached_input": "cached_input", "output_text": "output"}
    prices = STANDS[place].prices
    total = 0
    for bucket, count in tokens.items():
        price = prices.get(names[bucket], prices["input"])
        total += int(Decimal(price) * 1000 * count + Decimal("0.5"))  # dollars a million: a thousand nano each
    return total


class Sky:
    """What the simulators share: the troubles that were drawn for each call, and what they have heard."""

    def __init__(self) -> None:
        self.troubles: dict[int, deque[Trouble]] = {}
        self.heard: list[Heard] = []
        self.answers: dict[tuple[str, str], list[Heard]] = {}  # by place, and the id that the answer carries

    def begin(self) -> None:
        """Begins anew; what was heard stays with whoever holds it."""
        self.troubles, self.heard, self.answers = {}, [], {}

    def next(self, call: int) -> Trouble:
        """Returns what becomes of a call's next request; after those that were drawn, nothing."""
        troubles = self.troubles.get(call)
        return troubles[0] if troubles else FINE

    def strike(self, place: str, call: int) -> tuple[Heard, Trouble]:
        """Takes a call's next trouble, and notes who was asked."""
        trouble = self.next(call)
        if self.troubles.get(call):
            self.troubles[call].popleft()
        heard = Heard(place, call, trouble.fault, trouble.endless)
        self.heard.append(heard)
        return heard, trouble


FINE: Final = Trouble(Fault("ok"))


class StormyPlace(Simulator):
    """A simulator that knows every request's call, by the trace that its caller began."""

    def __init__(self, name: str, sky: Sky, replica: int) -> None:
        wire: Literal["openai", "vllm"] = "vllm" if STANDS[name].kind == "vllm" else "openai"
        super().__init__(wire=wire, models=(name,), ttft_s=0.0)
        self.name = name
        self._sky = sky
        self._serial = replica << 32  # no two answers of a place have one id

    def early(self, headers: list[tuple[bytes, bytes]]) -> list[Step] | None:
        """Answers before the body has come where that is what was drawn."""
        if not _is_call(headers):
            return None
        call = _call_of(headers)
        if self._sky.next(call).fault.kind != "early":
            return None
        _, trouble = self._sky.strike(self.name, call)
        self.script.append(trouble.fault)
        return super().early(headers)

    def answer(self, seen: Seen) -> tuple[list[Step], Reply | None]:
        """Answers as it was drawn, and keeps what it meant to say."""
        if not _is_call(seen.headers):
            return super().answer(seen)
        heard, trouble = self._sky.strike(self.name, _call_of(seen.headers))
        self.script.append(trouble.fault)
        steps, reply = super().answer(seen)
        if reply is not None:
            heard.reply = reply
            self._sky.answers.setdefault((self.name, _id_of(reply)), []).append(heard)
        return list(_recut(steps, trouble)), reply


def stand(sky: Sky) -> dict[str, list[StormyPlace]]:
    """Returns every place with its replicas; none of them listens yet."""
    return {
        name: [StormyPlace(name, sky, replica) for replica in range(each.replicas)] for name, each in STANDS.items()
    }


def _is_call(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Says whether a request is a caller's; the others are of who looks after the pool's replicas."""
    return any(name == b"traceparent" for name, _ in headers)


def _call_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    return int(dict(headers)[b"traceparent"][3:35], 16)


def _id_of(reply: Reply) -> str:
    """Reads the id out of an answer's first frame, whatever its wire."""
    data = reply.frames[0].data
    start = data.index(b'"id":"') + 6
    return data[start : data.index(b'"', start)].decode()


def _recut(steps: Sequence[Step], trouble: Trouble) -> Iterator[Step]:
    for step in steps:
        data, end = step.data, step.end
        if trouble.endless and end is End.KEEP:
            data, end = data[:-1], End.HOLD
        size = len(data)
        start, wait_s = 0, step.wait_s
        for stop in sorted({int(cut * size) for cut in trouble.cuts if 0 < int(cut * size) < size}):
            yield Step(wait_s, data[start:stop])
            start, wait_s = stop, TICK_S
        yield Step(wait_s, data[start:], end)


# -- the configs ------------------------------------------------------------------------------------------------------


def config_of(
    variant: str, simulators: Mapping[str, Sequence[Simulator]], folder: Path, first_token_s: float
) -> dict[str, Any]:
    """Returns a config, whose routes are named after its variant; all deadlines follow from that of a first token."""
    short, long = f"{first_token_s}s", f"{4 * first_token_s}s"
    providers: dict[str, Any] = {}
    deployments: dict[str, Any] = {}
    for name, stand in STANDS.items():
        if variant == "smaller" and name == "far":
            continue
        urls = [f"{each.url}/v1" for each in simulators[name]]
        providers[f"at-{name}"] = {
            "kind": stand.kind,
            **({"endpoints": urls} if stand.kind == "vllm" else {"base_url": urls[0], "api_keys": list(stand.keys)}),
            "location": "nowhere" if variant == "moved" and name == "near" else stand.location,
            "retention": stand.retention,
            "timeouts": {"first_token": short, "idle": short, "total": long},
            # An outage here is over in a moment, and a barred replica is out for seconds: health looks on.
            **({"health": {"on_hang": "flag"}} if stand.kind == "vllm" else {}),
        }
        deployments[name] = {"provider": f"at-{name}", "model": name, "price": dict(stand.prices)}
    if "far" in deployments:
        deployments["far"]["in_flight"] = 2
    chat = ["far", "near", "pool", "own"]
    if variant == "turned":
        chat = ["own", "near", "far"]
    spread = {"pool": 4, "own": 3, "far": 2}
    failure = {"first_token": short, "deadline": long}
    routes = [
        {"name": "chat", "among": chat, "on_failure": {**failure, "attempts": ATTEMPTS["chat"], "patience": "10ms"}},
        {"name": "quick", "among": ["near", "far"], "on_failure": {**failure, "attempts": ATTEMPTS["quick"]}},
        {"name": "spread", "among": spread, "pick": "weighted", "on_failure": {**failure, "attempts": 3}},
    ]
    for route in routes:
        route["when"] = {"model": [route["name"]]}
        route.setdefault("pick", "in_order")
        route["among"] = (
            {name: weight for name, weight in route["among"].items() if name in deployments}
            if isinstance(route["among"], dict)
            else [name for name in route["among"] if name in deployments]
        )
        route["name"] = f"{route['name']}-{variant}"
    return {
        "server": {"write_timeout": f"{3 * first_token_s}s"},
        "auth": "keys",
        "teams": {team: {"sensitivity": floor} for team, floor in FLOORS.items()},
        "keys": [
            {"name": name, "team": team, "hash": f"sha256:{hashlib.sha256(f'hg-{name}'.encode()).hexdigest()}"}
            for name, team in TEAMS.items()
        ],
        "providers": providers,
        "deployments": deployments,
        "sensitivity": {
            "levels": ["public", "internal", "confidential", "restricted"],
            "default": "internal",
            "clearance": {"self_hosted": "restricted", "eu": "confidential", "us": "internal"},
            "from": [
                {"header": "x-data-sensitivity"},
                {"key": "sensitivity"},
                {"detector": "pii", "level": "restricted"},
                {"terms": ["Project Falcon"], "level": "restricted"},
            ],
        },
        "policies": {
            "guarantees": [
                {"name": "kept-nowhere", "when": {"sensitivity": "confidential"}, "require": {"retention": ["none"]}}
            ],
            "routes": routes,
            "tests": [{"given": {"model": "chat", "sensitivity": "restricted"}, "expect": {"never": ["near"]}}],
        },
        "cache": {"at": "temperature_0", "max": "256KiB", "share": "team"},
        "limits": {"in_flight": IN_FLIGHT, "queue": 4, "queue_wait": short},
        "breakers": {"minimum_calls": 2, "rest": "5ms", "longest_rest": "20ms", "probes": 1},
        "store": {"url": f"sqlite:///{folder / 'headgate.db'}", "journal": str(folder / "journal"), "sync": "off"},
        "telemetry": {"logs": "json"},
    }


def spoilt(config: dict[str, Any], how: str) -> str:
    """Returns a config's text with a mistake in it."""
    match how:
        case "torn":
            return msgspec.json.encode(config).decode()[:-40]
        case "unknown":
            return msgspec.json.encode({**config, "polices": {}}).decode()
        case "untrue":
            test = {"given": {"model": "chat", "sensitivity": "restricted"}, "expect": {"first": "near"}}
            return msgspec.json.encode({**config, "policies": {**config["policies"], "tests": [test]}}).decode()
        case "fixed":
            return msgspec.json.encode({**config, "server": {"max_body": "1MiB"}}).decode()
    raise ValueError(how)


MISTAKES: Final = ("torn", "unknown", "untrue", "fixed")
