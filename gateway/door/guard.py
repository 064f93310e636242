"""Who may speak at all where no key is asked: the rules of an open door.

`auth: open`, and the admin surface without its key, answer on a loopback listener only, to a `Host` that is a loopback
name, without forwarding headers, without a foreign `Origin`, and POSTs only as JSON: so that neither a page in the
operator's browser (DNS rebinding, cross-site forms) nor a proxy in front can lend its reach to strangers. Endpoints
that take files take forms, which a page could send without asking first: but never without its `Origin`, nor without
saying `sec-fetch-site: cross-site` (https://fetch.spec.whatwg.org/#origin-header, 2026-11).
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

from gateway.core.errors import Forbidden
from gateway.core.types import Headers

_FORWARDING: Final = frozenset(
    (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"via")
)


_OWN_SITE: Final = frozenset((b"same-origin", b"none"))


def is_loopback(host: str) -> bool:
    """Says whether a host name or address means this machine alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _host_of(authority: bytes) -> str:
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[: text.find("]") + 1]
    return text.partition(":")[0]


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


class OpenGuard:
    """Checks one request against the rules; hosts already found to be loopback names are remembered."""

    def __init__(self) -> None:
        self._loopback_hosts: set[bytes] = set()

    def check(self, headers: Headers | list[tuple[bytes, bytes]], method: str, *, form: bool = False) -> None:
        """Raises Forbidden (code `open_door_refused`) with the rule that the request breaks; `form` lets forms in."""
        host_seen = False
        json_seen = method != "POST"
        for name, value in headers:
            if name == b"host":
                host_seen = True
                self._check_host(value)
            elif name == b"content-type":
                json_seen = form or value == b"application/json" or _is_json(value)
                if not json_seen:
                    break
            elif name == b"origin":
                scheme, _, authority = value.partition(b"://")
                if not authority or not is_loopback(_host_of(authority)):
                    raise _refused(f"a page of another origin ({scheme.decode('latin-1')[:20]}) may not call")
            elif form and name == b"sec-fetch-site" and value not in _OWN_SITE:
                raise _refused("a page of another site may not call")
            elif name in _FORWARDING:
                raise _refused(f"the header {name.decode()} says that a proxy is in front")
        if not json_seen:
            raise _refused("only content-type application/json is taken")
        if not host_seen:
            raise _refused("the request has no Host header")

    def _check_host(self, authority: bytes) -> None:
        if authority in self._loopback_hosts:
            return
        if not is_loopback(_host_of(authority)):
            raise _refused("the Host header is no loopback name")
        if len(self._loopback_hosts) < 64:
            self._loopback_hosts.add(authority)


def _refused(why: str) -> Forbidden:
    return Forbidden(f"without keys only this machine is served: {why}; set `auth: keys`", code="open_door_refused")
