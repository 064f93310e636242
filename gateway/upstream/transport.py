"""The seam between attempts and sockets: one request goes out, one answer comes in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from gateway.core.adapter import UpstreamRequest
from gateway.core.types import Endpoint, Headers, Origin, Timeouts


class Exchange(Protocol):
    """One request and its answer, from the final response head on.

    `expires_at` (loop time) is when whoever waits here is told TIMEOUT. The owner moves it whenever content has come;
    the transport only watches it, and only while somebody waits, so that a slow caller is no fault of the upstream's.
    The owner ends each exchange: by reading to the end, or with `abort`.
    """

    status: int
    headers: Headers
    expires_at: float

    async def next(self, take: Callable[[bytes], bool] | None = None) -> bytes | None:
        """Returns all of the body that has come since, or None at its proper end.

        A transport may hand pieces to `take` as they are read, waking no task, until it says False: then b"" comes
        back. An UpstreamError that `take` raises ends the exchange, and is raised here.
        Raises StreamCut where the upstream stopped before the body's end, UpstreamError(TIMEOUT) past `expires_at`.
        """
        ...

    async def read(self) -> bytes:
        """Returns the rest of the body; raises as `next` does, and SERVER_ERROR for more than the transport allows."""
        ...

    def abort(self) -> None:
        """Closes the connection at once, unless the answer was whole; may be called at any time and again."""
        ...


class Transport(Protocol):
    """Carries requests to the origin of an endpoint and nowhere else; follows no redirect, reads no environment."""

    @property
    def active(self) -> int:
        """What is under way; a transport without it may be closed."""
        ...

    def connections(self) -> Iterator[tuple[Origin, int, int]]:
        """Yields origins with their active and their idle connections, as far as the transport knows them."""
        ...

    async def send(
        self, endpoint: Endpoint, request: UpstreamRequest, timeouts: Timeouts, expires_at: float
    ) -> Exchange:
        """Returns once the final response head is there; `expires_at` is loop time.

        Raises UpstreamError: CONNECT (refused, DNS, TLS, closed before a byte), TIMEOUT, SERVER_ERROR (not HTTP, a head
        past the limits), BAD_REQUEST (a path or header that HTTP cannot carry), CANCELLED (the transport is closed).
        """
        ...

    def break_off(self, origin: Origin, why: str) -> None:
        """Has everybody who waits for an origin told TIMEOUT now; of who reads what has come already nothing is taken.

        A transport that does not know whom it holds leaves them to their deadlines.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection; exchanges under way fail with CANCELLED."""
        ...
