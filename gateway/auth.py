"""Who calls: from the bearer token of a request to a Principal, by one look-up of its hash.

Holds no file and no clock: the keys come from the config and the store, the time with each call. A change of keys is a
new `Keys`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from gateway.core.errors import Unauthorized
from gateway.core.types import Principal, Tags
from gateway.state.protocols import KeyRow

_SCHEME: Final = b"Bearer "
_HASH: Final = "sha256:"
_OPEN: Final = "open"


class Team(msgspec.Struct, frozen=True):
    """What all keys of a team share: a floor under their sensitivity (a level's index) and tags."""

    sensitivity: int = 0
    tags: Tags = ()


class Keys:
    """All keys by hash. `anonymous` is who a caller without a known key is; None means that there must be one."""

    def __init__(self, principals: Mapping[bytes, Principal], anonymous: Principal | None = None) -> None:
        self._principals = principals
        self._anonymous = anonymous

    def authenticate(self, authorization: bytes | None, now: float) -> Principal:
        """Returns whose `Authorization` header this is at `now` (seconds since the epoch); raises Unauthorized."""
        if authorization is None:
            return self._stranger("You didn't provide an API key: send it as `Authorization: Bearer YOUR_KEY`.")
        if authorization[:7] != _SCHEME and authorization[:7].lower() != b"bearer ":
            return self._stranger("The Authorization header must be `Bearer YOUR_KEY`.")
        principal = self._principals.get(sha256(authorization[7:].strip()).digest())
        if principal is None:
            return self._stranger(
                "Incorrect API key provided: keys are this gateway's own (`headgate keys create`), not a provider's."
            )
        if not principal.enabled:
            raise Unauthorized("This API key has been disabled.")
        if principal.expires_at is not None and now >= principal.expires_at:
            raise Unauthorized("This API key has expired.")
        return principal

    def _stranger(self, why: str) -> Principal:
        if self._anonymous is None:
            raise Unauthorized(why)
        return self._anonymous


def keys_of(
    rows: Iterable[KeyRow],
    levels: Sequence[str],
    teams: Mapping[str, Team] | None = None,
    *,
    anonymous: Principal | None = None,
) -> Keys:
    """Compiles keys; of two with one hash the first holds. Raises ValueError for a hash that is none."""
    teams = teams or {}
    principals: dict[bytes, Principal] = {}
    for row in rows:
        principal = principal_of(row, levels, teams)
        principals.setdefault(digest_of(row.hash), principal)
        if row.previous_hash is not None and row.previous_until is not None:  # it was rotated, and is good for a while
            until = min(row.previous_until, math.inf if row.expires_at is None else row.expires_at)
            principals.setdefault(digest_of(row.previous_hash), msgspec.structs.replace(principal, expires_at=until))
    return Keys(principals, anonymous)


def anonymous(sensitivity: int = 0) -> Principal:
    """Returns who everybody is where `auth: open`."""
    return Principal(_OPEN, sensitivity=sensitivity)


def create_key() -> tuple[str, str]:
    """Makes a key of 192 random bits; returns it in plain, to be shown once, and its hash, to be kept."""
    plain = f"hg-{secrets.token_urlsafe(24)}"
    return plain, hash_of(plain)


def hash_of(plain: str) -> str:
    """Returns a key's hash as configs and stores write it."""
    return _HASH + sha256(plain.encode()).hexdigest()


def digest_of(hash: str) -> bytes:
    """Reads a hash ("sha256:" and 64 hexadecimal digits); raises ValueError, and does not repeat what was written."""
    digits = hash.removeprefix(_HASH)
    if digits == hash or len(digits) != 64:
        raise ValueError("a key's hash is `sha256:` and 64 hexadecimal digits")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError("a key's hash is `sha256:` and 64 hexadecimal digits") from None


def principal_of(row: KeyRow, levels: Sequence[str], teams: Mapping[str, Team]) -> Principal:
    """Compiles one key with what its team gives it."""
    team = teams.get(row.team, Team()) if row.team is not None else Team()
    return Principal(
        key=row.name,
        team=row.team,
        user=row.user,
        tags=tuple(sorted((dict(team.tags) | dict(row.tags)).items())),
        sensitivity=max(team.sensitivity, _level(row.sensitivity, levels)),
        models=None if row.models is None else frozenset(row.models),
        routes=None if row.routes is None else frozenset(row.routes),
        expires_at=row.expires_at,
        enabled=row.enabled,
        strict=row.strict,
    )


def _level(name: str | None, levels: Sequence[str]) -> int:
    """Returns a level's index; a level that the config no longer has is taken as the highest."""
    if name is None:
        return 0
    return levels.index(name) if name in levels else len(levels) - 1
