"""The config that is being made: plain values, each with the remark that will stand beside it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

Data = str | int | float | bool | None | list["Data"] | dict[str, "Data"]

_WRONG: Final = re.compile(r"[^A-Za-z0-9_.@:+-]+")
_LONGEST: Final = 80


class Entry(msgspec.Struct):
    """One provider, deployment or route: what is written of it, and a remark."""

    body: dict[str, Data]
    remark: str = ""


class Draft(msgspec.Struct):
    """A config in the making; sections that stay empty are not written."""

    listen: str = ""
    auth: str = "keys"
    auth_remark: str = ""
    max_body: str | None = None
    teams: dict[str, Data] = msgspec.field(default_factory=dict)
    providers: dict[str, Entry] = msgspec.field(default_factory=dict)
    deployments: dict[str, Entry] = msgspec.field(default_factory=dict)
    wildcards: list[str] = msgspec.field(default_factory=list)
    unknown_price: dict[str, Data] = msgspec.field(default_factory=dict)
    unpriced: list[str] = msgspec.field(default_factory=list)  # deployments that the ceiling is for
    routes: list[Entry] = msgspec.field(default_factory=list)
    cache: dict[str, Data] = msgspec.field(default_factory=dict)
    cache_remark: str = ""
    limits: dict[str, Data] = msgspec.field(default_factory=dict)
    breakers: dict[str, Data] = msgspec.field(default_factory=dict)
    shared: dict[str, Data] = msgspec.field(default_factory=dict)
    telemetry: dict[str, Data] = msgspec.field(default_factory=dict)
    to_do: list[str] = msgspec.field(default_factory=list)


def name_for(text: str, taken: Collection[str], reserved: Collection[str] = ()) -> str:
    """Returns a name that a config takes, near to a text and not among those taken."""
    base = _WRONG.sub("-", text).strip("-.@:+")[:_LONGEST].rstrip("-.@:+") or "model"
    name, count = base, 1
    while name in taken or name in reserved:
        count += 1
        name = f"{base}-{count}"
    return name
