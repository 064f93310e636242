"""A call that was not made, put to the engine that would decide it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.auth import principal_of
from gateway.config import Loaded
from gateway.core.errors import ConfigError
from gateway.core.policy import View
from gateway.core.types import Call, Request
from gateway.routing import Decision, decide, sentence
from gateway.snapshot import Snapshot
from gateway.state.protocols import KeyRow
from gateway.wiring.compile import teams_of, written_keys

_BYTES_PER_TOKEN = 4


class Supposed(msgspec.Struct, frozen=True):
    """What is supposed of the call and of the world."""

    model: str
    text: str = ""
    stream: bool = False
    team: str | None = None
    key: str | None = None
    sensitivity: str | None = None
    down: frozenset[str] = frozenset()
    draw: float = 0.5
    load: Mapping[str, float] = {}  # 0 to 1, of deployments on one's own GPUs


def suppose(loaded: Loaded, snapshot: Snapshot, supposed: Supposed) -> tuple[Decision, str]:
    """Returns the decision as data and as a sentence; raises CallError where the call would be refused."""
    config, levels = loaded.config, snapshot.levels
    known = {"team": (supposed.team, config.teams), "sensitivity": (supposed.sensitivity, levels)}
    known["key"] = (supposed.key, [key.name for key in config.keys])
    for what, (word, words) in known.items():
        if word is not None and word not in words:
            raise ConfigError([f"the config has no {what} {word!r}: {', '.join(words) or 'none at all'}"])
    for word in sorted({*supposed.down, *supposed.load} - {deployment.name for deployment in snapshot.deployments}):
        raise ConfigError([f"the config has no deployment {word!r}"])
    row = next(
        (row for row in written_keys(config) if row.name == supposed.key),
        KeyRow(hash="", name=supposed.key or "explain", team=supposed.team),
    )
    principal = principal_of(row, levels, teams_of(config))
    body = msgspec.json.encode({"messages": [{"role": "user", "content": supposed.text}]})
    call = Call("explain", "chat", "chat", body, model=supposed.model, stream=supposed.stream)
    sensitivity = snapshot.classifier.classify(call, principal)
    if supposed.sensitivity is not None and levels.index(supposed.sensitivity) > sensitivity.level:
        sensitivity = msgspec.structs.replace(sensitivity, level=levels.index(supposed.sensitivity), causes=("label",))
    request = Request(call, principal, sensitivity, len(body) // _BYTES_PER_TOKEN, tags=principal.tags)
    plan = snapshot.routing.plan(
        request, View(0.0, supposed.draw, load=supposed.load), dict.fromkeys(sorted(supposed.down), "down")
    )
    decision = decide(plan, sensitivity, levels)
    return decision, sentence(decision)
