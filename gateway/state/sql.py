"""What the stores in SQL have in common: how they are spelled, and how keys and prices lie in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.errors import ConfigError
from gateway.core.money import Price
from gateway.core.types import Tags
from gateway.state.protocols import KeptRow, KeyRow, ReceiptRow

MIGRATIONS: Final = Path(__file__).parent / "migrations"

# `user` and `key` are words of SQL's own.
RECEIPT_COLUMNS: Final = ", ".join(f'"{column}"' for column in ReceiptRow._fields)
KEY_COLUMNS: Final = (
    'hash, name, team, "user", tags, models, routes, sensitivity, expires_at, enabled, strict, created_at'
)
KEPT_COLUMNS: Final = ", ".join(f'"{column}"' for column in KeptRow._fields)
_RENEWED: Final = ", ".join(f'"{column}" = excluded."{column}"' for column in ("deployment", "sensitivity", "time"))


def add_kept_statement(spelling: Spelling) -> str:
    """Returns the statement that adds a KeptRow; it changes nothing of another tenant's."""
    return (
        f"INSERT INTO kept_answers ({KEPT_COLUMNS}) VALUES ({spelling.places(len(KeptRow._fields))}) "
        f"ON CONFLICT (id) DO UPDATE SET {_RENEWED} WHERE kept_answers.tenant = excluded.tenant"
    )


class Spelling(NamedTuple):
    """What databases write differently.

    A value's place in a statement; the value of one tag of `facets`, with one place for its name; the start of the
    quarter of an hour that "time" lies in (a time belongs to the second it falls in, never to the next); a join whose
    tables are read in the order that they are written in, where it is not to be left to the planner.
    """

    place: str
    tag: str
    quarter: str
    join: str

    def places(self, count: int) -> str:
        """Returns as many places, with commas."""
        return ", ".join([self.place] * count)


def price_values(prices: Iterable[Price]) -> list[tuple[str, str]]:
    """Lays prices out in columns, version and JSON, those of their service tiers too."""
    every = {kept.version: kept for price in prices for kept in (price, *price.service_tiers.values())}
    return [(version, _json(price)) for version, price in every.items()]


def price_of(body: str | bytes) -> Price:
    """Reads a price's JSON."""
    return msgspec.json.decode(body, type=Price)


def key_values(key: KeyRow) -> tuple[object, ...]:
    """Lays a key out in KEY_COLUMNS."""
    return (
        key.hash,
        key.name,
        key.team,
        key.user,
        _json(key.tags),
        None if key.models is None else _json(key.models),
        None if key.routes is None else _json(key.routes),
        key.sensitivity,
        key.expires_at,
        key.enabled,
        key.strict,
        key.created_at,
    )


def key_of(row: Sequence[Any]) -> KeyRow:
    """Reads a row of KEY_COLUMNS."""
    hash, name, team, user, tags, models, routes, sensitivity, expires_at, enabled, strict, created_at = row
    return KeyRow(
        hash=hash,
        name=name,
        team=team,
        user=user,
        tags=msgspec.json.decode(tags, type=Tags),
        models=None if models is None else msgspec.json.decode(models, type=tuple[str, ...]),
        routes=None if routes is None else msgspec.json.decode(routes, type=tuple[str, ...]),
        sensitivity=sensitivity,
        expires_at=expires_at,
        enabled=bool(enabled),
        strict=bool(strict),
        created_at=created_at,
    )


def lacking(version: int, folder: Path, database: str) -> list[Path]:
    """Returns the scripts that a database at this version lacks; raises ConfigError where it has unknown ones."""
    scripts = sorted(folder.glob("*.sql"))
    if version > len(scripts):
        raise ConfigError(
            [f"{database}: written by a newer Headgate (schema {version}, this one knows {len(scripts)})"]
        )
    return scripts[version:]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
