"""Speaks HTTP to upstreams: one seam, `Transport`, and two ways through it, `http1` (fast) and `httpx_transport`."""

from gateway.upstream.transport import Exchange, Transport

__all__ = ["Exchange", "Transport"]
