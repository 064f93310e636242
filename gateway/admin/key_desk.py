"""The keys' desk: where keys are made, shown, changed, rotated and taken away, whoever asks.

Keys of the config are shown and changed in the config alone. Everything blocks on the store: handlers give it a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.admin.access import Visitor
from gateway.admin.key_rules import edit_key, may_see, may_steer, new_key
from gateway.auth import create_key
from gateway.core.errors import BadRequest, CallError
from gateway.core.money import usd
from gateway.state.protocols import KeyRow, KeyStore, StoreUnavailable

LONGEST_OVERLAP_S: Final = 90 * 86_400.0
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,99}")


class UnknownKey(CallError):
    """No key that this visitor may see has the name."""

    status = 404
    type = "invalid_request_error"
    code = "key_not_found"


class KeyConflict(CallError):
    """The name is taken, the key stands in the config, or somebody changed it a moment ago."""

    status = 409
    type = "invalid_request_error"
    code = "key_conflict"


class KeysAway(CallError):
    """The store cannot be asked now."""

    status = 503
    code = "store_unavailable"


class Surroundings(msgspec.Struct, frozen=True):
    """What a key may name: the config's levels (low to high), teams, models that callers ask for, routes; its keys, and
    those of the store as the gateway knows them."""

    levels: tuple[str, ...]
    teams: frozenset[str]
    models: frozenset[str]
    routes: frozenset[str]
    keys: tuple[KeyRow, ...]
    stored: tuple[KeyRow, ...] = ()


class KeyDesk:
    """Keys of the config, read; keys of the store, read and changed. `changed` has the gateway take a change over.

    Raises UnknownKey, KeyConflict, BadRequest naming the field, Forbidden naming it, KeysAway.
    """

    def __init__(
        self,
        store: KeyStore,
        surroundings: Callable[[], Surroundings],
        changed: Callable[[], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self.surroundings = surroundings
        self._changed = changed
        self._now = now

    def rows(self, visitor: Visitor) -> list[tuple[KeyRow, str]]:
        """Returns the keys that somebody may see, each with where it stands: "config" or "store"."""
        written = [(row, "config") for row in self.surroundings().keys]
        found = [*written, *((row, "store") for row in self._stored())]
        return [(row, source) for row, source in found if may_see(visitor, row)]

    def known(self) -> list[KeyRow]:
        """Returns all keys as the gateway knows them, without asking the store."""
        around = self.surroundings()
        return [*around.keys, *around.stored]

    def row(self, visitor: Visitor, name: str) -> tuple[KeyRow, str]:
        """Returns one of them."""
        for row, source in self.rows(visitor):
            if row.name == name:
                return row, source
        raise UnknownKey(f"there is no key {name[:100]!r}")

    def create(self, visitor: Visitor, name: str, fields: Mapping[str, Any]) -> tuple[KeyRow, str]:
        """Makes a key; returns it, and its plain text, which is nowhere after."""
        around = self.surroundings()
        if not _NAME.fullmatch(name):
            raise BadRequest("use letters, digits and _ . @ : + -, at most 100", param="name")
        self._check(fields, around)
        own = None
        if visitor.role == "owner":
            own = next((row for row, _ in self.rows(visitor) if row.name == visitor.name), None)
        plain, hashed = create_key()
        named = KeyRow(hash=hashed, name=name, created_at=self._now())
        made = new_key(visitor, named, fields, own, around.levels)
        _check_owner(made)
        if any(row.name == name for row in around.keys):
            raise KeyConflict(f"the config has a key named {name!r}", param="name")
        try:
            self._store.add_key(made)
        except ValueError as error:
            raise KeyConflict(str(error), param="name") from None
        except StoreUnavailable as error:
            raise KeysAway(str(error), retry_after_s=5.0) from error
        self._changed()
        return made, plain

    def edit(self, visitor: Visitor, name: str, fields: Mapping[str, Any]) -> tuple[KeyRow, KeyRow]:
        """Changes a key; returns it as it was and as it is."""
        around = self.surroundings()
        before = self._own(visitor, name)
        self._check(fields, around)
        after = edit_key(visitor, before, fields, around.levels)
        _check_owner(after)
        return before, self._replace(before, after)

    def rotate(self, visitor: Visitor, name: str, overlap_s: float) -> tuple[KeyRow, KeyRow, str]:
        """Gives a key another text; the old one is good for `overlap_s` more. Returns it before and after, and the
        new text, which is nowhere after."""
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise BadRequest("an overlap is between no time and 90 days", param="overlap_s")
        before = self._own(visitor, name)
        may_steer(visitor, before)
        plain, hashed = create_key()
        overlaps = overlap_s > 0
        after = msgspec.structs.replace(
            before,
            hash=hashed,
            previous_hash=before.hash if overlaps else None,
            previous_until=self._now() + overlap_s if overlaps else None,
        )
        return before, self._replace(before, after), plain

    def delete(self, visitor: Visitor, name: str) -> KeyRow:
        """Takes a key away; receipts keep its name. Returns what it was."""
        before = self._own(visitor, name)
        try:
            if not self._store.delete_key(name):
                raise UnknownKey(f"there is no key {name[:100]!r}")
        except StoreUnavailable as error:
            raise KeysAway(str(error), retry_after_s=5.0) from error
        self._changed()
        return before

    def _own(self, visitor: Visitor, name: str) -> KeyRow:
        """Returns a key of the store that this visitor sees."""
        row, source = self.row(visitor, name)
        if source == "config":
            raise KeyConflict(f"the key {name!r} stands in the config: it is changed there")
        return row

    def _replace(self, before: KeyRow, after: KeyRow) -> KeyRow:
        try:
            if not self._store.replace_key(before, after):
                raise KeyConflict(f"the key {before.name!r} was changed a moment ago: look again")
        except StoreUnavailable as error:
            raise KeysAway(str(error), retry_after_s=5.0) from error
        self._changed()
        return after

    def _stored(self) -> Sequence[KeyRow]:
        try:
            return self._store.keys()
        except StoreUnavailable as error:
            raise KeysAway(str(error), retry_after_s=5.0) from error

    def _check(self, fields: Mapping[str, Any], around: Surroundings) -> None:
        """Raises BadRequest for names that mean nothing here."""
        for field, known in (("team", around.teams), ("sensitivity", around.levels)):
            if (word := fields.get(field)) is not None and word not in known:
                raise BadRequest(f"the config has no {field} {word!r}: {_listed(known)}", param=field)
        for field, names in (("models", around.models), ("routes", around.routes)):
            for word in fields.get(field) or ():
                if word not in names and not (field == "models" and "/" in word):
                    raise BadRequest(f"the config has no {field[:-1]} {word!r}: {_listed(names)}", param=field)
        periods = [budget.per for budget in fields.get("budgets") or ()]
        if len(set(periods)) < len(periods):
            raise BadRequest("a key has one budget a period", param="budgets")


def shown(row: KeyRow, source: str = "store") -> dict[str, Any]:
    """Writes a key for people and programs, without its hashes; times in seconds since the epoch."""
    return {
        "name": row.name,
        "source": source,
        "team": row.team,
        "user": row.user,
        "tags": dict(row.tags),
        "sensitivity": row.sensitivity,
        "models": None if row.models is None else list(row.models),
        "routes": None if row.routes is None else list(row.routes),
        "budgets": [
            {
                "usd": usd(budget.nano_usd),
                "per": budget.per,
                "zone": budget.zone,
                "notify_at": list(budget.notify_at),
                "reject_at": budget.reject_at,
            }
            for budget in row.budgets
        ],
        "limits": {field: getattr(row.limits, field) for field in row.limits.__struct_fields__},
        "role": row.role,
        "enabled": row.enabled,
        "strict": row.strict,
        "expires_at": row.expires_at,
        "previous_until": row.previous_until,
        "created_at": row.created_at or None,
    }


def _check_owner(row: KeyRow) -> None:
    if row.role == "owner" and row.team is None:
        raise BadRequest("an owner is one of a team: name it", param="team")


def _listed(words: Any) -> str:
    return ", ".join(sorted(words)[:20]) or "none at all"
