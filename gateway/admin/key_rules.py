"""Who may make and change which key, field by field.

An admin may change everything but a key's name. An owner may change keys of his team, and there only what makes them
narrower: what is not on his list, or would give a key more than it had, is refused by the name of its field. A key that
he makes begins as narrow as his own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final, NoReturn

import msgspec

from gateway.admin.access import Visitor
from gateway.core.allowances import Budget, RateLimits
from gateway.core.errors import Forbidden
from gateway.state.protocols import KeyRow

# What anybody may ever change of a key: not its name, which receipts carry, nor its hash, which rotating changes.
EDITABLE: Final = (
    "team", "user", "tags", "sensitivity", "models", "routes", "budgets", "limits", "expires_at", "enabled", "strict",
    "role",
)  # fmt: skip


class FieldForbidden(Forbidden):
    """A field that this visitor may not change so; `param` names it."""

    code = "field_forbidden"


def edit_key(visitor: Visitor, before: KeyRow, changes: Mapping[str, Any], levels: Sequence[str]) -> KeyRow:
    """Returns a key with changes in it; raises Forbidden, naming the field, for what this visitor may not do.

    `changes` are fields of KeyRow with values of its types; `levels` are the config's, low to high.
    """
    may_steer(visitor, before)
    for field, after in changes.items():
        if field not in EDITABLE:
            _refuse(field, "nobody changes it")
        if visitor.role != "admin" and getattr(before, field) != after:
            why = _NARROWER[field](getattr(before, field), after, levels) if field in _NARROWER else _ADMINS
            if why is not None:
                _refuse(field, why)
    return msgspec.structs.replace(before, **changes)


def new_key(
    visitor: Visitor, named: KeyRow, changes: Mapping[str, Any], own: KeyRow | None, levels: Sequence[str]
) -> KeyRow:
    """Returns a new key as `edit_key` does; `named` has its name and hash, `own` is the key that an owner came with."""
    if visitor.role == "admin":
        return edit_key(visitor, named, changes, levels)
    if visitor.role != "owner" or own is None:
        _refuse("name", "an admin makes keys, or the owner of a team by a key of his own")
    if own.budgets:
        _refuse(
            "budgets", "your own key has a budget, and another key would go around it: ask for a budget of the team"
        )
    if changes.get("team", visitor.team) != visitor.team:
        _refuse("team", f"you make keys of {visitor.team} alone")
    inherited = msgspec.structs.replace(
        named,
        team=visitor.team,
        sensitivity=own.sensitivity,
        models=own.models,
        routes=own.routes,
        limits=own.limits,
        expires_at=own.expires_at,
        strict=own.strict,
    )
    return edit_key(visitor, inherited, {field: value for field, value in changes.items() if field != "team"}, levels)


def may_see(visitor: Visitor, key: KeyRow) -> bool:
    """Says whether a key is this visitor's to look at."""
    return visitor.team is None or key.team == visitor.team


def may_steer(visitor: Visitor, key: KeyRow) -> None:
    """Raises Forbidden, naming the field, where a key is not this visitor's to change or rotate."""
    if visitor.role == "admin":
        return
    if visitor.role != "owner" or visitor.team is None or key.team != visitor.team:
        _refuse(
            "team", "this key is not of your team" if visitor.role == "owner" else "you may look, and change nothing"
        )
    if key.role == "admin":
        _refuse("role", "an admin's key is an admin's matter")


# -- what makes a key narrower: None, or why it does not ------------------------------------------------------------

_ADMINS: Final = "an admin changes it"
_Check = Callable[[Any, Any, Sequence[str]], str | None]


def _free(before: Any, after: Any, levels: Sequence[str]) -> str | None:
    return None


def _enabled(before: bool, after: bool, levels: Sequence[str]) -> str | None:
    return "you may switch a key off; an admin switches it on again" if after else None


def _expires(before: float | None, after: float | None, levels: Sequence[str]) -> str | None:
    return None if after is not None and (before is None or after <= before) else "you may let it end sooner, not later"


def _sensitivity(before: str | None, after: str | None, levels: Sequence[str]) -> str | None:
    return None if _level(after, levels) >= _level(before, levels) else "you may raise the floor, not lower it"


def _names(before: tuple[str, ...] | None, after: tuple[str, ...] | None, levels: Sequence[str]) -> str | None:
    narrower = after is not None and (before is None or set(after) <= set(before))
    return None if narrower else "you may take away, not add"


def _limits(before: RateLimits, after: RateLimits, levels: Sequence[str]) -> str | None:
    fields = RateLimits.__struct_fields__
    narrower = all(_bound(getattr(after, field)) <= _bound(getattr(before, field)) for field in fields)
    return None if narrower else "you may lower limits, not raise them"


def _budgets(before: tuple[Budget, ...], after: tuple[Budget, ...], levels: Sequence[str]) -> str | None:
    """Every budget that there was is there, and no larger."""
    kept = {(budget.per, budget.zone): budget for budget in after}
    for budget in before:
        now = kept.get((budget.per, budget.zone))
        if now is None or now.nano_usd > budget.nano_usd or _bound(now.ceiling_nano) > _bound(budget.ceiling_nano):
            return "you may lower budgets and add some, not raise them or take them away"
    return None


_NARROWER: Final[Mapping[str, _Check]] = {
    "user": _free,
    "strict": _free,
    "enabled": _enabled,
    "expires_at": _expires,
    "sensitivity": _sensitivity,
    "models": _names,
    "routes": _names,
    "limits": _limits,
    "budgets": _budgets,
}


def _level(name: str | None, levels: Sequence[str]) -> int:
    """Returns a floor's height: none is the lowest, one that the config does not know the highest."""
    if name is None:
        return 0
    return levels.index(name) if name in levels else len(levels)


def _bound(value: int | None) -> float:
    return inf if value is None else value


def _refuse(field: str, why: str) -> NoReturn:
    raise FieldForbidden(f"{field}: {why}", param=field)
