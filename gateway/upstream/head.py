"""Writes request heads. What stays the same between an endpoint's requests is rendered once."""

from __future__ import annotations

import re
from typing import Final

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin

# Written by the transport alone; a second one from elsewhere could make two ends of a connection disagree on framing.
_OWNED: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"expect",
        b"accept-encoding",
        b"proxy-connection",
    }
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_TARGET: Final = bytes(range(0x21, 0x7F))  # RFC 9112, 3.2: a request target has no blank and no control byte
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5


def merged(endpoint: Endpoint, request: UpstreamRequest) -> list[tuple[bytes, bytes]]:
    """Returns the headers of both, the endpoint's first and before the request's own of the same name.

    Headers that frame the message are left out. Raises UpstreamError(BAD_REQUEST) for bytes that HTTP cannot carry,
    naming the header, never its value.
    """
    taken = {name for name, _ in endpoint.auth}
    headers = [*endpoint.auth, *(header for header in request.headers if header[0] not in taken)]
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise UpstreamError(Reason.BAD_REQUEST, f"the header {name!r} holds bytes that HTTP does not allow")
    return [(name, value) for name, value in headers if name not in _OWNED]


def check_target(request: UpstreamRequest) -> None:
    """Raises UpstreamError(BAD_REQUEST) where method or path could be read as more than one request line."""
    path = request.path
    if path.translate(None, _TARGET) or not path.startswith(b"/") or not request.method.isalpha():
        raise UpstreamError(Reason.BAD_REQUEST, "the request's path or method holds bytes that HTTP does not allow")


def host_header(origin: Origin) -> bytes:
    """Returns the value of `host`: brackets around IPv6, no port where it is the scheme's own."""
    host = f"[{origin.host}]".encode() if ":" in origin.host else origin.host.encode("idna")
    if origin.port != _DEFAULT_PORTS.get(origin.scheme):
        return b"%b:%d" % (host, origin.port)
    return host


class HeadWriter:
    """Writes the heads of one endpoint's requests.

    Adapters give the same path and the same headers tuple with nearly every request, so the last head is kept but for
    its last line, and the next costs two comparisons and one formatting.
    """

    __slots__ = ("_endpoint", "_headers", "_method", "_path", "_prefix", "_proxied", "_rendered")

    def __init__(self, endpoint: Endpoint, *, through: Headers | None = None) -> None:
        """`through` are the headers for a proxy that is sent the request itself, with the upstream's address in it."""
        self._endpoint = endpoint
        self._proxied: Headers = through or ()
        self._prefix = b"" if through is None else b"http://" + host_header(endpoint.origin)
        self._method = b""
        self._path = b""
        self._headers: Headers | None = None
        self._rendered = b""

    def head(self, request: UpstreamRequest) -> bytes:
        """Returns request line and headers; raises UpstreamError(BAD_REQUEST) for bytes that HTTP cannot carry."""
        if request.headers is not self._headers or request.path != self._path or request.method != self._method:
            self._render(request)
        if not request.body and request.method in (b"GET", b"HEAD"):
            return self._rendered + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n" % (self._rendered, len(request.body))

    def upload_head(self, request: UpstreamRequest, length: int | None) -> bytes:
        """Returns the same for a body that is still coming: `length` of it is all, or None where nobody knows."""
        self._render(request)
        if length is None:
            return self._rendered + b"transfer-encoding: chunked\r\n\r\n"
        return b"%bcontent-length: %d\r\n\r\n" % (self._rendered, length)

    def _render(self, request: UpstreamRequest) -> None:
        check_target(request)
        lines = [
            b"%b %b%b HTTP/1.1" % (request.method, self._prefix, request.path),
            b"host: " + host_header(self._endpoint.origin),
            b"accept-encoding: identity",
            *(name + b": " + value for name, value in (*merged(self._endpoint, request), *self._proxied)),
            b"",
        ]
        self._rendered = b"\r\n".join(lines)
        self._method, self._path, self._headers = request.method, request.path, request.headers
