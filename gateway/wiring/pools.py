"""How the pools' routers get at what their replicas show."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import UpstreamError
from gateway.core.types import Endpoint, Timeouts
from gateway.pool.gauges import Page
from gateway.upstream import Transport

_WITHIN_S: Final = 2.0
_TIMEOUTS: Final = Timeouts(connect_s=1.0, tls_s=1.0)
_REQUEST: Final = UpstreamRequest(b"/metrics", b"", headers=(), method=b"GET")


def pages(transports: Mapping[str, Transport]) -> Page:
    """Returns what reads /metrics, over the transports and with the credentials that calls take."""

    async def page(endpoint: Endpoint) -> str | None:
        transport = transports.get(endpoint.transport)
        if transport is None:
            return None
        try:
            exchange = await transport.send(endpoint, _REQUEST, _TIMEOUTS, time.monotonic() + _WITHIN_S)
            try:
                told = await exchange.read() if exchange.status == 200 else None
            finally:
                exchange.abort()
        except UpstreamError:
            return None
        return None if told is None else told.decode("utf-8", "replace")

    return page
