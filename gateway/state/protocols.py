"""What the gateway asks of its store: receipts, prices and keys. All of it blocks; callers give it a thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from gateway.core.errors import HeadgateError
from gateway.core.money import Price
from gateway.core.types import Tags
from gateway.state.audit import AuditStore
from gateway.state.revisions import RevisionStore, SampleStore


class StoreUnavailable(HeadgateError):
    """The store cannot be read or written now: locked, full, gone. Trying again later may help."""


class RowRefused(HeadgateError):
    """The store is there and does not take a row as it is. Trying again does not help."""


class ReceiptRow(NamedTuple):
    """A receipt in columns, in the order of the table; `tags` and `body` (the whole receipt) are JSON text."""

    id: str
    time: float  # seconds since the epoch
    key: str
    team: str | None
    user: str | None
    tags: str | None
    route: str | None
    deployment: str | None
    provider: str | None
    model: str | None
    sensitivity: str | None
    status: int
    cached: bool
    estimated: bool
    unpriced: bool
    fresh_input: int
    cached_input: int
    cache_write_5m: int
    cache_write_1h: int
    audio_input: int
    image_input: int
    output_text: int
    reasoning: int
    audio_output: int
    nano_usd: int
    saved_nano: int
    price_version: str | None
    body: str


GROUPS: Final = (
    "hour", "day", "month", "team", "key", "user", "model", "deployment", "provider", "route", "sensitivity",
)  # fmt: skip
TAG: Final = "tag:"  # `tag:project` groups by the value of one tag


class Totals(msgspec.Struct, frozen=True):
    """Sums over receipts.

    `group` of None is what has no such attribute. `estimated_nano` is the part of `nano_usd` that rests on an estimate;
    `unpriced` counts calls whose price is unknown, which no sum of money holds.
    """

    group: str | None
    calls: int = 0
    errors: int = 0
    cached: int = 0
    unpriced: int = 0
    fresh_input: int = 0
    cached_input: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    audio_input: int = 0
    image_input: int = 0
    output_text: int = 0
    reasoning: int = 0
    audio_output: int = 0
    nano_usd: int = 0
    saved_nano: int = 0
    estimated_nano: int = 0


class ReceiptStore(Protocol):
    """Receipts with their decisions, and the prices they were charged at."""

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably; a receipt that is there already stays as it is. Raises RowRefused."""
        ...

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        ...

    def totals(self, group_by: str, since: float, until: float, where: Sequence[tuple[str, str]] = ()) -> list[Totals]:
        """Sums receipts of [since, until) by one of GROUPS or a tag, in the groups' order; raises ValueError.

        Times are seconds since the epoch; `where` are (group, value) pairs that must all match.
        """
        ...

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keeps prices by version, so that any receipt can be explained."""
        ...

    def price(self, version: str) -> Price | None:
        """Returns a price that was kept."""
        ...


class KeyRow(msgspec.Struct, frozen=True):
    """A key as a config or a store holds it: its hash ("sha256:…"), whom it is, and what it may do.

    `sensitivity` is a level's name. `models` and `routes` of None allow every one. Times are seconds since the epoch.
    """

    hash: str
    name: str
    team: str | None = None
    user: str | None = None
    tags: Tags = ()
    models: tuple[str, ...] | None = None
    routes: tuple[str, ...] | None = None
    sensitivity: str | None = None
    expires_at: float | None = None
    enabled: bool = True
    strict: bool = False  # refuse what a provider cannot express, rather than drop and declare it
    created_at: float = 0.0


class KeyStore(Protocol):
    """Keys that were made at run time."""

    def keys(self) -> list[KeyRow]:
        """Returns all keys, oldest first."""
        ...

    def add_key(self, key: KeyRow) -> None:
        """Adds a key; raises ValueError where its name or hash is taken."""
        ...

    def enable_key(self, name: str, enabled: bool) -> bool:
        """Switches a key on or off; returns whether there is one of that name."""
        ...

    def keys_version(self) -> int:
        """Returns a number that grows with every change of a key, by whichever process."""
        ...


class KeptRow(NamedTuple):
    """An id that stands for what a provider keeps: for whom, at which deployment, how sensitive (a level's name).

    `tenant` is "team:NAME" or "key:NAME"; `time` seconds since the epoch.
    """

    id: str
    tenant: str
    deployment: str
    sensitivity: str
    time: float


class KeptStore(Protocol):
    """Whose the answers are that providers keep."""

    def add_kept(self, rows: Iterable[KeptRow]) -> None:
        """Adds ids; one that is there already keeps its tenant, and takes that tenant's newer level and time."""
        ...

    def kept(self, id: str) -> KeptRow | None:
        """Returns what is known of an id."""
        ...

    def forget_kept(self, id: str) -> None:
        """Forgets an id."""
        ...

    def expire_kept(self, before: float) -> int:
        """Forgets what is older; returns how many ids."""
        ...


class Store(ReceiptStore, KeyStore, KeptStore, AuditStore, RevisionStore, SampleStore, Protocol):
    """All of it in one database, which several processes may have open; every method raises StoreUnavailable."""

    def close(self) -> None:
        """Lets go of the database; nothing is asked of the store after."""
        ...
