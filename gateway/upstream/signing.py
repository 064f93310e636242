"""The seam between an identity and its requests: what must be said anew with each, a signature or a fresh token."""

from __future__ import annotations

from typing import Protocol

from gateway.core.adapter import UpstreamRequest
from gateway.core.types import Endpoint, Headers


class Signer(Protocol):
    """Signs requests with one identity; keeps what it had to fetch until shortly before it expires."""

    async def sign(self, endpoint: Endpoint, request: UpstreamRequest) -> Headers:
        """Returns the headers to add; the request is sent as it was signed, `endpoint.auth` and its host beside it.

        Bounds its own waits. Raises UpstreamError: UNAUTHENTICATED where there is no identity, CONNECT or TIMEOUT where
        its issuer is away.
        """
        ...
