"""Speaks HTTP to upstreams: one seam, `Transport`, and two ways through it, `http1` (fast) and
`negotiating` (HTTP/2, proxies)."""

from gateway.upstream.transport import Exchange, Transport

__all__ = ["Exchange", "Transport"]
