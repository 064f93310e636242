"""Who asks of the admin surface, and how far he may go.

Three credentials are taken, in this order: `Authorization: Bearer KEY` (the admin key, or a caller's key that has a
role), a session's cookie, and, for reading on a loopback listener, none. A session is worth what its key is worth at
that moment: a key that was disabled, has expired or lost its role takes its sessions with it.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec
from fastapi import Depends, Request

from gateway.core.errors import Forbidden, Unauthorized
from gateway.state.protocols import KeyRow

Role = Literal["admin", "owner", "viewer"]

SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_ROLES: Final = frozenset(("admin", "owner", "viewer"))


class Visitor(msgspec.Struct, frozen=True):
    """Who asks of the admin surface, and how far he may go.

    `name` is "admin", a key's name, or "loopback"; `team` of None means every team. An owner is confined to his
    `team`; a viewer changes nothing. `by` is what he showed.
    """

    name: str
    role: Role
    team: str | None = None
    by: Literal["key", "session", "loopback"] = "key"


LOOPBACK: Final = Visitor("loopback", "viewer", by="loopback")  # reads on this machine without a key


class Credentials:
    """The admin key and the callers' keys; `find` returns the key that has a hash ("sha256:…") now, if one has."""

    def __init__(
        self, admin_hash: str, find: Callable[[str], KeyRow | None], now: Callable[[], float] = time.time
    ) -> None:
        self._admin = f"sha256:{admin_hash}"
        self._find = find
        self._now = now

    def holder(self, hash: str) -> Visitor | None:
        """Returns whose credential has this hash; None where nobody's, or of one who may not enter (any more)."""
        if hmac.compare_digest(hash, self._admin):
            return Visitor("admin", "admin")
        row = self._find(hash)
        if row is None or not row.enabled or (row.expires_at is not None and self._now() >= row.expires_at):
            return None
        return _visitor_of(row)


def hash_of(key: str | bytes) -> str:
    """Returns a key's hash as configs and stores write it."""
    return "sha256:" + hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def _visitor_of(row: KeyRow) -> Visitor | None:
    role = getattr(row, "role", None)
    if role not in _ROLES or (role == "owner" and row.team is None):
        return None
    return Visitor(row.name, role, None if role == "admin" else row.team)


def reader(request: Request) -> Visitor:
    """Returns who asks; raises Unauthorized where nobody was let in. For requests that change nothing."""
    visitor = getattr(request.state, "visitor", None)
    if not isinstance(visitor, Visitor):
        raise Unauthorized("this takes the admin key, or a key with a role", code="invalid_admin_key")
    return visitor


def visitor(request: Request) -> Visitor:
    """Returns who asks; raises Forbidden where a viewer would change something."""
    found = reader(request)
    if found.role == "viewer" and request.method not in SAFE_METHODS:
        raise Forbidden(f"{found.name} may look, and change nothing", code="role_forbidden")
    return found


def admin_only(request: Request) -> Visitor:
    """Returns who asks; raises Forbidden for whoever is no admin, but lets those see all who look at every team."""
    found = visitor(request)
    sees_all = found.role == "viewer" and found.team is None and request.method in SAFE_METHODS
    if found.role != "admin" and not sees_all:
        raise Forbidden("this is for admins", code="role_forbidden")
    return found


def confined(found: Visitor, team: str | None) -> None:
    """Raises Forbidden where something of `team` (None: of no team) is not for this visitor."""
    if found.team is not None and found.team != team:
        raise Forbidden(f"this is not of the team {found.team!r}", code="role_forbidden")


Reader = Annotated[Visitor, Depends(reader)]  # anybody who was let in, by any method: for POSTs that only read
Seen = Annotated[Visitor, Depends(visitor)]  # anybody who was let in; a viewer by safe methods only
Admin = Annotated[Visitor, Depends(admin_only)]  # an admin; who views every team, by safe methods
