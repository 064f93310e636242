"""A request's head: what the parser lets through and HTTP does not, and its form in ASGI."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from gateway.core.errors import BadRequest, CallError, WrongMethod
from gateway.door.exchange import Message, RawHeaders

_CHECKED: Final = frozenset((b"host", b"transfer-encoding"))
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


def scope_of(method: str, target: bytes, version: str, headers: RawHeaders) -> Message:
    """Returns ASGI's scope of a request, without its addresses; raises CallError for one that cannot be served."""
    if version not in ("1.1", "1.0"):
        raise CallError("this address speaks HTTP/1.1", status=505, type=BadRequest.type, code="invalid_http")
    if method == "CONNECT":
        raise WrongMethod("this is no proxy: CONNECT is not taken", allow="GET, HEAD, POST")
    if target[:1] != b"/" and target != b"*":
        target = _origin_form(target, headers)
    hosts = 0
    for name, value in headers:
        if name in _CHECKED:
            if name == b"host":
                hosts += 1
            else:
                _check_coding(value, version)
    if hosts != 1 and (hosts or version == "1.1"):  # RFC 9112, 3.2
        raise BadRequest("a request has one Host header", code="invalid_http")
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode()
    return {
        "type": "http",
        "asgi": _ASGI,
        "http_version": version,
        "method": method,
        "scheme": "http",
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
    }


def _check_coding(coding: bytes, version: str) -> None:
    # RFC 9112, 6.1: HTTP/1.0 has none (the parser takes it), others may stand before `chunked`, none in its place.
    if version == "1.0" or coding.lower() != b"chunked":
        status = 501 if version != "1.0" and coding.lower().endswith((b" chunked", b",chunked")) else 400
        raise BadRequest("no transfer coding but chunked is taken", status=status, code="invalid_http")


def _origin_form(target: bytes, headers: RawHeaders) -> bytes:
    """Returns the path of a target written as to a proxy; its authority replaces Host (RFC 9112, 3.2.2)."""
    scheme, _, rest = target.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if scheme.lower() not in (b"http", b"https") or not authority or authority.translate(None, b"?#@") != authority:
        raise BadRequest("the request's target is neither a path nor an http URL", code="invalid_http")
    headers[:] = [header for header in headers if header[0] != b"host"]
    headers.append((b"host", authority))
    return slash + path if slash else b"/"
