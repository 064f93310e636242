"""The support matrix: kind by kind, what is relayed, translated, coerced, dropped or refused, as adapters say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from adapters._support import FEATURES
from gateway.wiring.kinds import DIALECTS, WIRES, Wire

NOT_SERVED: Final = "–"
# Counting a prompt's tokens asks nothing of a model; `counts` says who does it itself, the others' are estimated.
SHOWN: Final = tuple(dialect for dialect in DIALECTS if dialect != "count_tokens")


def way_of(wire: Wire, dialect: str) -> str:
    """Returns what becomes of a call in a dialect: `relayed`, `translated`, or that the kind does not serve it."""
    if DIALECTS[dialect].endpoint not in wire.serves:
        return NOT_SERVED
    relays = wire.support.relays
    return "relayed" if relays is None or dialect in relays else "translated"


def matrix(configured: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Returns a row for each kind; `configured` maps the names of a config's providers to their kinds."""
    named: dict[str, list[str]] = {}
    for name, kind in (configured or {}).items():
        named.setdefault(kind, []).append(name)
    return [_row(kind, wire, named.get(kind, ())) for kind, wire in WIRES.items()]


def _row(kind: str, wire: Wire, named: Iterable[str]) -> dict[str, Any]:
    ways = {dialect: way_of(wire, dialect) for dialect in SHOWN}
    support = wire.support
    return {
        "kind": kind,
        "adapter": wire.adapter().name,
        "providers": list(named),
        "endpoints": sorted(wire.serves),
        "counts": wire.counts,
        "dialects": {dialect: way for dialect, way in ways.items() if way != NOT_SERVED},
        "features": {
            feature: {"way": does.way, "how": does.how}
            for feature, does in ((feature, support.of(feature)) for feature in FEATURES)
        },
        "quirks": [{"what": quirk.what, "source": quirk.source} for quirk in support.quirks],
    }
