"""The proof: who may go where, worked out apart from the engine, and the engine held against it.

Guarantees only intersect and every later step draws from the permitted set, so it is enough to show per route, level
and guarantee that what the engine reaches is within what is permitted. The sets here are made by intersection, apart
from the engine's folding and from what it remembers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from gateway.core.errors import CallError
from gateway.core.policy import Policy, View
from gateway.core.types import Call, Deployment, Principal, Request, Sensitivity
from gateway.routing.conditions import implies, may_hold_together, shadowed_by
from gateway.routing.engine import Routing
from gateway.routing.rules import AUTO, Guarantee, Route, When

ALL_TOGETHER = "all guarantees together"
_STILL = View(now=0.0, draw=0.0)

T = TypeVar("T")
Allowed = tuple[frozenset[str], ...]  # deployments' names, by level


class Cell(msgspec.Struct, frozen=True):
    """What may be reached from a level: by a route ("" is any), where a guarantee holds ("" is every call).

    A guarantee that takes nothing from a route at a level has no cell there.
    """

    route: str
    level: str
    under: str
    permitted: frozenset[str]


class Matrix(msgspec.Struct, frozen=True):
    """Who may go where. Any of `errors` refuses the config; `warnings` are shown."""

    levels: tuple[str, ...]
    deployments: tuple[str, ...]
    cells: tuple[Cell, ...]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def permitted(self, level: str, route: str = "", under: str = "") -> frozenset[str]:
        """Returns one cell's deployments; raises KeyError where there is no such cell."""
        for cell in self.cells:
            if (cell.route, cell.level, cell.under) == (route, level, under):
                return cell.permitted
        raise KeyError((level, route, under))

    def render(self) -> str:
        """Writes the matrix as text: deployments against levels for every call and per guarantee, then routes."""
        sets = {(cell.route, cell.under, cell.level): cell.permitted for cell in self.cells}
        blocks: list[str] = []
        for under in dict.fromkeys(cell.under for cell in self.cells if not cell.route):
            columns = [sets.get(("", under, level), sets["", "", level]) for level in self.levels]
            rows = [[name, *("yes" if name in column else "-" for column in columns)] for name in self.deployments]
            blocks.append(_table([f"calls under {under}" if under else "every call", *self.levels], rows))
        routes = dict.fromkeys(cell.route for cell in self.cells if cell.route)
        rows = [[route, *(_listed(sets.get((route, "", level))) for level in self.levels)] for route in routes]
        if rows:
            blocks.append(_table(["route", *self.levels], rows))
        problems = [f"error: {line}" for line in self.errors] + [f"warning: {line}" for line in self.warnings]
        return "\n\n".join([*blocks, "\n".join(problems)] if problems else blocks)


def prove(routing: Routing) -> Matrix:
    """Returns the matrix, with what is wrong in `errors`: a shadowed route, an empty one, a call that would leak.

    Judges a world in which every provider has its key.
    """
    routing = routing.assuming_enabled()
    cleared = _allowed((routing.clearance,), routing)
    allowed = {guarantee.name: _allowed(guarantee.policies, routing) for guarantee in routing.guarantees}
    cells = list(_anywhere(routing, cleared, allowed))
    errors: list[str] = []
    warnings: list[str] = []
    for index, route in enumerate(routing.routes):
        shadows = " and ".join(repr(shadow.name) for shadow in shadowed_by(routing.routes, index))
        if shadows:
            errors.append(f"route {route.name!r} can never match: {shadows} comes first and takes the same calls")
        _judge(routing, route, cleared, allowed, cells, errors, warnings)
        errors += _leaks(routing, _models_of(route), route.when, cleared, allowed)
    errors += _leaks(routing, [one.name for one in routing.deployments], When(), cleared, allowed)
    names = tuple(deployment.name for deployment in routing.deployments)
    return Matrix(routing.levels, names, tuple(cells), tuple(errors), tuple(warnings))


def _allowed(policies: Sequence[Policy], routing: Routing) -> Allowed:
    """Returns what filters keep of all deployments, by level."""
    by_level: list[frozenset[str]] = []
    for level in range(len(routing.levels)):
        request = _call(AUTO, When(), level)
        kept: Sequence[Deployment] = routing.deployments
        for policy in policies:
            kept = policy.rank(request, kept, _STILL).kept
        by_level.append(frozenset([deployment.name for deployment in kept]))
    return tuple(by_level)


def _anywhere(routing: Routing, cleared: Allowed, allowed: dict[str, Allowed]) -> Iterator[Cell]:
    always = [allowed[guarantee.name] for guarantee in routing.guarantees if not guarantee.when.conditional]
    base = [cleared[level].intersection(*[sets[level] for sets in always]) for level in range(len(routing.levels))]
    for level, name in enumerate(routing.levels):
        yield Cell("", name, "", base[level])
    for guarantee in routing.guarantees:
        if guarantee.when.conditional:
            for level, name in enumerate(routing.levels):
                if guarantee.when.sensitivity <= level:
                    yield Cell("", name, guarantee.name, base[level] & allowed[guarantee.name][level])


def _judge(
    routing: Routing,
    route: Route,
    cleared: Allowed,
    allowed: dict[str, Allowed],
    cells: list[Cell],
    errors: list[str],
    warnings: list[str],
) -> None:
    """Adds a route's cells, and says where it is empty: at every level (an error), at some, under a guarantee."""
    among = frozenset([deployment.name for deployment in route.among])
    at_any_level = msgspec.structs.replace(route.when, sensitivity=len(routing.levels))
    certain: list[Guarantee] = []
    possible: list[Guarantee] = []
    for guarantee in routing.guarantees:
        if implies(at_any_level, guarantee.when):
            certain.append(guarantee)
        elif may_hold_together(route.when, guarantee.when):
            possible.append(guarantee)
    empty: list[str] = []
    emptied: dict[str, list[str]] = {}
    levels = range(route.when.sensitivity, len(routing.levels))
    for level in levels:
        name = routing.levels[level]
        base = among & cleared[level]
        for guarantee in certain:
            if guarantee.when.sensitivity <= level:
                base &= allowed[guarantee.name][level]
        cells.append(Cell(route.name, name, "", base))
        if not base:
            empty.append(name)
            continue
        together = base
        for guarantee in possible:
            if guarantee.when.sensitivity <= level:
                left = base & allowed[guarantee.name][level]
                together &= left
                if left != base:
                    cells.append(Cell(route.name, name, guarantee.name, left))
                if not left:
                    emptied.setdefault(f"guarantee {guarantee.name!r}", []).append(name)
        if together != base:
            cells.append(Cell(route.name, name, ALL_TOGETHER, together))
        if not together and not any(name in names for names in emptied.values()):
            emptied.setdefault(ALL_TOGETHER, []).append(name)
    if len(empty) == len(levels):
        rules = ", ".join(["clearance", *(guarantee.name for guarantee in certain)])
        errors.append(f"route {route.name!r} can send nothing anywhere: at every level it is emptied by {rules}")
    elif empty:
        warnings.append(f"route {route.name!r} has no permitted deployment for {', '.join(empty)} calls")
    warnings += [
        f"{rule} can leave route {route.name!r} empty for {', '.join(at)} calls" for rule, at in emptied.items()
    ]


def _leaks(
    routing: Routing, models: Sequence[str], when: When, cleared: Allowed, allowed: dict[str, Allowed]
) -> Iterator[str]:
    """Puts calls that meet `when` through the engine, and names each deployment reached that is not permitted."""
    for model in models:
        for level in range(when.sensitivity, len(routing.levels)):
            request = _call(model, when, level)
            try:
                reach = routing.reach(request)
            except CallError:
                continue  # an earlier proof says why nothing is reached
            permitted = cleared[level]
            aliases = routing.names.aliases_of(reach.route)
            for guarantee in routing.guarantees:
                if guarantee.when.matches(request, aliases):
                    permitted &= allowed[guarantee.name][level]
            for name in sorted({one.name for one in reach.candidates} | reach.permitted):
                if name not in permitted:
                    yield f"a {routing.levels[level]} call for {model!r} would reach {name!r}, which is not permitted"


def _models_of(route: Route) -> Sequence[str]:
    return route.when.model or (AUTO,)


def _call(model: str, when: When, level: int) -> Request:
    """Makes a call that meets a condition; a pattern stands for itself."""
    over, under = when.prompt_tokens_over, when.prompt_tokens_under
    call = Call(
        "proof",
        _one(when.endpoint, "chat"),
        _one(when.dialect, "chat"),
        b"",
        model=model,
        stream=bool(when.stream),
    )
    principal = Principal(_one(when.key, "proof"), _one(when.team, None), _one(when.user, None))
    tags = tuple(sorted((key, _one(values, "")) for key, values in when.tag))
    tokens = over + 1 if over is not None else under - 1 if under is not None else 0
    return Request(call, principal, Sensitivity(level), tokens, tags=tags)


def _one(values: frozenset[str] | None, otherwise: T) -> str | T:
    return min(values) if values else otherwise


def _listed(names: frozenset[str] | None) -> str:
    if names is None:
        return ""
    return ", ".join(sorted(names)) if len(names) <= 4 else f"{len(names)} deployments"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column] or "-") for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join((cell or "-").ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
