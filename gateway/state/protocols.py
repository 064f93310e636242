"""What the gateway asks of its store: receipts, prices and keys. All of it blocks; callers give it a thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

import msgspec

from gateway.core.allowances import Budget, RateLimits
from gateway.core.errors import HeadgateError
from gateway.core.money import Price
from gateway.core.types import Tags
from gateway.state.audit import AuditStore
from gateway.state.books import LogQuestion, LogRow, Question, Summed
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
    reason: str | None
    ttft_us: int | None
    tpot_us: int | None
    e2e_us: int | None
    dearest_nano: int | None
    list_nano: int | None
    spilled: bool
    fresh_input_nano: int
    cached_input_nano: int
    cache_write_5m_nano: int
    cache_write_1h_nano: int
    audio_input_nano: int
    image_input_nano: int
    output_text_nano: int
    reasoning_nano: int
    audio_output_nano: int


class ReceiptStore(Protocol):
    """Receipts with their decisions, and the prices they were charged at."""

    def add_receipts(self, rows: Iterable[ReceiptRow]) -> None:
        """Adds all or none, durably; a receipt that is there already stays as it is. Raises RowRefused."""
        ...

    def receipt(self, id: str) -> bytes | None:
        """Returns a receipt as JSON."""
        ...

    def sums(self, question: Question) -> list[Summed]:
        """Sums receipts by spans of time and by dimensions, in no order; raises ValueError for one that is none."""
        ...

    def log(self, question: LogQuestion) -> list[LogRow]:
        """Lists receipts, the newest first."""
        ...

    def fold_rollups(self, before: float) -> bool:
        """Folds one hour's or day's sums that was over before a moment; returns whether there was one to fold."""
        ...

    def rebuild_rollups(self) -> None:
        """Makes all sums anew from the receipts that are there; other writers wait."""
        ...

    def keep_prices(self, prices: Iterable[Price]) -> None:
        """Keeps prices by version, so that any receipt can be explained."""
        ...

    def price(self, version: str) -> Price | None:
        """Returns a price that was kept."""
        ...


Role = Literal["admin", "owner", "viewer"]


class KeyRow(msgspec.Struct, frozen=True):
    """A key as a config or a store holds it: its hash ("sha256:…"), whom it is, and what it may do.

    `sensitivity` is a level's name. `models` and `routes` of None allow every one. Times are seconds since the epoch.
    `role` is what it may do on the admin surface, None: nothing. After a rotation the key before is good until
    `previous_until`. `budgets` and `limits` hold beside those of the config.
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
    role: Role | None = None
    budgets: tuple[Budget, ...] = ()
    limits: RateLimits = RateLimits()
    previous_hash: str | None = None
    previous_until: float | None = None


class KeyStore(Protocol):
    """Keys that were made at run time."""

    def keys(self) -> list[KeyRow]:
        """Returns all keys, oldest first."""
        ...

    def add_key(self, key: KeyRow) -> None:
        """Adds a key; raises ValueError where its name or hash is taken."""
        ...

    def replace_key(self, before: KeyRow, after: KeyRow) -> bool:
        """Puts a key in the place of itself; returns whether it was still as it was `before`.

        Raises ValueError where another key has its hash.
        """
        ...

    def delete_key(self, name: str) -> bool:
        """Forgets a key; returns whether there was one of that name."""
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


class NoticeRow(NamedTuple):
    """A notice that somebody wants delivered; `body` is its JSON, `time` seconds since the epoch."""

    id: str
    body: str
    time: float


class NoticeStore(Protocol):
    """Which notices were made, so that none is made twice, and which of them still wait."""

    def add_notice(self, notice: NoticeRow) -> bool:
        """Keeps a notice; returns whether it is new."""
        ...

    def waiting_notices(self) -> list[NoticeRow]:
        """Returns the notices that were not closed, oldest first."""
        ...

    def close_notice(self, id: str, time: float) -> None:
        """Notes that nothing more is to be done for a notice."""
        ...

    def expire_notices(self, before: float) -> None:
        """Forgets closed notices that are older."""
        ...


class Store(ReceiptStore, KeyStore, KeptStore, AuditStore, NoticeStore, RevisionStore, SampleStore, Protocol):
    """All of it in one database, which several processes may have open; every method raises StoreUnavailable."""

    def close(self) -> None:
        """Lets go of the database; nothing is asked of the store after."""
        ...
