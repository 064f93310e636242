"""The keeper of the admin surface: finds out who asks, before anything else looks at a request."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final

import msgspec
from starlette.datastructures import Headers

from gateway.admin.access import LOOPBACK, SAFE_METHODS, Credentials, Visitor, hash_of
from gateway.admin.sessions import COOKIE, Sessions, csrf_of
from gateway.admin.throttle import Throttle
from gateway.config.checks import is_loopback
from gateway.core.errors import Forbidden, Unauthorized

CSRF_HEADER: Final = "x-csrf-token"
RawHeaders = list[tuple[bytes, bytes]]


class Entry(msgspec.Struct, frozen=True):
    """How somebody came in: who he is and, where by a session, its id and the token that its changes need."""

    visitor: Visitor
    session: str | None = None

    @property
    def csrf(self) -> str | None:
        """The token that changes by this session need."""
        return None if self.session is None else csrf_of(self.session)


class Keeper:
    """Lets requests in. `open_check` is the rule of the open door where the listener is a loopback one, else None.

    `hosts` returns the names that the config lets the surface be called by (`admin.hosts`); what a browser sends by
    itself (a cookie, or nothing at all) counts only under such a name or, on a loopback listener, a loopback one: so
    that no page can reach in by a name of its own that leads here (DNS rebinding).
    """

    def __init__(
        self,
        credentials: Credentials,
        sessions: Sessions,
        hosts: Callable[[], Sequence[str]],
        open_check: Callable[[RawHeaders, str], None] | None,
        logins: Throttle | None = None,
        bearers: Throttle | None = None,
    ) -> None:
        self.credentials, self.sessions = credentials, sessions
        self._hosts = hosts
        self._open_check = open_check
        self._logins = logins or Throttle(burst=8, every_s=15.0, everybody=10)
        self._bearers = bearers or Throttle(burst=60, every_s=1.0, everybody=10)

    def enter(self, headers: Headers, method: str, address: str) -> Entry:
        """Returns who asks; raises Unauthorized, Forbidden (a forged change, a foreign host) or TooManyTries."""
        authorization = headers.get("authorization", "")
        if authorization[:7].lower() == "bearer ":
            return Entry(self._bearer(authorization[7:].strip(), address))
        if (id := _cookie(headers)) is not None and (found := self._session(id)) is not None:
            self.check_host(headers)
            if method not in SAFE_METHODS:
                self.check_origin(headers)
                if not _same(headers.get(CSRF_HEADER, ""), csrf_of(id)):
                    raise Forbidden(f"a change by a session takes its token: {CSRF_HEADER}", code="csrf_refused")
            return Entry(found, id)
        if method not in ("GET", "HEAD") or self._open_check is None:
            raise Unauthorized(
                "this takes the admin key: Authorization: Bearer $HEADGATE_ADMIN_KEY", code="invalid_admin_key"
            )
        self._open_check(headers.raw, method)
        return Entry(LOOPBACK)

    def login(self, key: str, address: str) -> tuple[str, Visitor]:
        """Begins a session of whoever has this key; returns its id. Raises Unauthorized or TooManyTries."""
        self._logins.take(address)
        hashed = hash_of(key)
        found = self.credentials.holder(hashed)
        if found is None:
            raise Unauthorized("this key opens nothing here", code="invalid_admin_key")
        self._logins.give_back(address)
        return self.sessions.begin(hashed), msgspec.structs.replace(found, by="session")

    def check_host(self, headers: Headers) -> None:
        """Raises Forbidden where the surface is called by a name that is not its own."""
        host, hosts = headers.get("host", "").lower(), self._hosts()
        name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
        if host in hosts or name in hosts:
            return
        own = is_loopback(name.strip("[]")) or name.endswith(".localhost")
        if own if self._open_check is not None else not hosts:
            return
        raise Forbidden(
            "the admin surface is not called by this name; `admin.hosts` lists its names", code="host_refused"
        )

    def check_origin(self, headers: Headers) -> None:
        """Raises Forbidden where a browser says that the request comes from elsewhere than our own pages."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        authority = None if origin is None else origin.partition("://")[2].lower()
        own = {headers.get("host", "").lower(), *self._hosts()}
        if (site is not None and site != "same-origin") or (authority is not None and authority not in own):
            raise Forbidden("a page of another origin may change nothing here", code="csrf_refused")

    def _bearer(self, key: str, address: str) -> Visitor:
        self._bearers.take(address)
        found = self.credentials.holder(hash_of(key.encode("latin-1")))
        if found is None:
            raise Unauthorized("this is not the admin key", code="invalid_admin_key")
        self._bearers.give_back(address)
        return found

    def _session(self, id: str) -> Visitor | None:
        credential = self.sessions.use(id)
        if credential is None:
            return None
        found = self.credentials.holder(credential)
        if found is None:
            self.sessions.end(id)
            return None
        return msgspec.structs.replace(found, by="session")


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if morsel is None or not morsel.value else morsel.value


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
