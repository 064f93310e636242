"""The interface of a provider's wire. Sans-IO, as h11 is: values and bytes in, bytes and values out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from gateway.core.dialect import Dialect
from gateway.core.errors import UpstreamError
from gateway.core.forms import Upload
from gateway.core.money import Usage
from gateway.core.types import Call, Deployment, Headers


class Fetch(msgspec.Struct, frozen=True):
    """A medium that the provider wants as bytes while the caller gave its URL.

    `field` is where the caller named it, for an error. `accepts` are media types, or their beginnings ("image/"), that
    the provider takes there; none: whatever comes, which the adapter judges.
    """

    url: str
    field: str = ""
    accepts: tuple[str, ...] = ()


Fetched = dict[str, tuple[str, bytes]]  # url -> (media type, content)


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """One HTTP request, less what the endpoint adds: host, credential, content-length.

    `path` begins with a slash and holds the query. `warnings` declare what the provider cannot express. `upload` is
    what follows `body` and is still on its way.
    """

    path: bytes
    body: bytes
    headers: Headers = ((b"content-type", b"application/json"),)
    method: bytes = b"POST"
    warnings: tuple[str, ...] = ()
    upload: Upload | None = None


class Decoder(Protocol):
    """Reads one answer and writes it in the caller's dialect; one per attempt, it holds the stream's state.

    Unary and streamed answers go the same way: a unary decoder gathers in `feed` and speaks in `end`.
    """

    started: bool  # content has been seen: text, reasoning, a tool call; not a role, a ping, an empty delta
    progress: int  # counts pieces of content: what the idle deadline watches (keep-alive comments are none)
    finish: str | None  # stop | length | tool_calls | content_filter | the provider's own word
    output_bytes: int  # of content relayed so far, for an estimate where no usage comes
    dropped: int  # events that were not JSON and were not passed on
    complete: bool  # a proper end has been seen; what follows is not awaited

    @property
    def usage(self) -> Usage | None:
        """What the answer used so far, where anything is known of it."""
        ...

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Returns what goes to the caller now; raises UpstreamError on an in-band error."""
        ...

    def end(self) -> Iterable[bytes]:
        """The provider closed; returns the rest, raises StreamCut if the answer had not ended."""
        ...


class Adapter(Protocol):
    """A provider's wire."""

    name: str

    def authorize(self, credential: str) -> Headers:
        """Returns the headers that carry this credential; called when a config is compiled, not per call."""
        ...

    def needs(self, call: Call, deployment: Deployment) -> Sequence[Fetch]:
        """Returns the media to fetch before `encode`; nearly always nothing."""
        ...

    def encode(self, call: Call, deployment: Deployment, dialect: Dialect, fetched: Fetched) -> UpstreamRequest:
        """Writes the request; raises BadRequest, naming the field, for what the provider cannot express."""
        ...

    def decoder(self, call: Call, deployment: Deployment, dialect: Dialect) -> Decoder:
        """Returns a fresh decoder for a 2xx answer."""
        ...

    def fault(self, status: int, headers: Headers, body: bytes) -> UpstreamError:
        """Reads an answer that is not 2xx."""
        ...
