"""How notices leave: a POST over the transport that calls take, to the one address that the operator wrote."""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

from gateway.accounting.notices import Post
from gateway.core.adapter import UpstreamRequest
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.upstream import Transport

_WITHIN_S: Final = 15.0
_TIMEOUTS: Final = Timeouts(connect_s=5.0)
_PORTS: Final = {"http": 80, "https": 443}


def post_to(url: str, transport: Transport) -> Post:
    """Returns what posts to a URL that the config's checks let through; no redirect is followed, no proxy asked."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    origin = Origin(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])
    endpoint = Endpoint("webhook", "webhook", "webhook", origin)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    async def post(body: bytes, headers: Headers) -> int:
        request = UpstreamRequest(target.encode(), body, headers=headers)
        exchange = await transport.send(endpoint, request, _TIMEOUTS, time.monotonic() + _WITHIN_S)
        try:
            return exchange.status
        finally:
            exchange.abort()

    return post
