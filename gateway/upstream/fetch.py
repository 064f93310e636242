"""Fetches media that a caller named by URL, for providers that want the bytes, and for nobody's mischief.

A caller's URL is an order to connect somewhere, so: its name is resolved here, every address is judged, and the
connection goes to an address that was judged (a second answer of the DNS is never asked for). A redirect is a new URL
and is judged like one. Nothing of ours goes along: no credential, no cookie, no proxy of the environment. What comes
is bounded in bytes and in time, and has to be what it says.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from gateway.core.adapter import Fetch, Fetched, UpstreamRequest
from gateway.core.errors import BadRequest, Reason, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.upstream.addresses import Address, Network, forbidden, literal
from gateway.upstream.connection import Connection
from gateway.upstream.exchange import Http1Exchange
from gateway.upstream.head import HeadWriter
from gateway.upstream.pool import Counters, Limits, Pool
from gateway.upstream.tls import ResumingContext, client_context
from gateway.upstream.words import HANDSHAKE, unreached

MAX_REDIRECTS: Final = 3
MAX_URL_CHARACTERS: Final = 8192
UNWANTED_BYTES: Final = 64 * 1024  # of a redirect's body, which nobody reads

_PORTS: Final = {"http": 80, "https": 443}
_PRIVILEGED: Final = 1024  # below it only the web's own ports are asked: the others are no stores of media
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_TIMEOUTS: Final = Timeouts()
_HEADERS: Final[Headers] = ((b"accept", b"*/*"), (b"user-agent", b"headgate"))
_SAFE: Final = "%/:=&?~#+!$,;'@()*[]"  # what a URL's path and query may hold as they are (RFC 3986, 2.2)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Sniff(NamedTuple):
    """How content shows its media type in its first bytes, and the types that do."""

    read: Callable[[bytes], str | None]
    types: frozenset[str]


class MediaLimits(msgspec.Struct, frozen=True):
    """What fetching may take. Sizes in bytes, times in seconds; `at_once` and `waiting` are of the whole process."""

    allow_http: bool = False
    max_bytes: int = 20 * 2**20
    max_bytes_per_call: int = 50 * 2**20
    max_per_call: int = 20
    timeout_s: float = 10.0
    allow_private: tuple[Network, ...] = ()
    at_once: int = 32


class _Refused(Exception):
    """A medium that is not fetched; `str()` says why, without an address or a byte of what came."""


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Asks the system's resolver; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Fetches media under one config's limits."""

    def __init__(
        self,
        limits: MediaLimits,
        sniff: Sniff,
        *,
        resolve: Resolve = system_resolve,
        context: ResumingContext | None = None,
    ) -> None:
        """Without a `context` the system's authorities are trusted."""
        self._limits = limits
        self._sniff = sniff
        self._resolve = resolve
        self._context = context
        self._slots = asyncio.Semaphore(limits.at_once)

    async def fetch(self, wanted: Sequence[Fetch], known: Fetched, deadline: float) -> Fetched:
        """Returns `known` and what is wanted beside, fetched at once; `deadline` is monotonic seconds.

        Raises BadRequest, naming the field, for what is refused, does not come in time, or is not what it says.
        """
        limits = self._limits
        missing: dict[str, Fetch] = {}
        for fetch in wanted:
            if fetch.url not in known:
                missing.setdefault(fetch.url, fetch)
        if len(missing) + len(known) > limits.max_per_call:
            last = list(missing.values())[-1]
            raise _bad(last, f"a call may name {limits.max_per_call} URLs of media, no more (media.max_per_call)")
        room = _Room(limits.max_bytes_per_call - sum(len(content) for _, content in known.values()))
        expires_at = min(time.monotonic() + limits.timeout_s, deadline)
        tasks: dict[str, asyncio.Task[tuple[str, bytes]]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for url, fetch in missing.items():
                    tasks[url] = group.create_task(self._one(fetch, room, expires_at))
        except BaseExceptionGroup as failed:
            raise _first_of(failed) from None
        return known | {url: task.result() for url, task in tasks.items()}

    async def _one(self, fetch: Fetch, room: _Room, expires_at: float) -> tuple[str, bytes]:
        """Fetches one medium; raises BadRequest."""
        try:
            async with asyncio.timeout_at(expires_at), self._slots:
                url = fetch.url
                for _ in range(MAX_REDIRECTS + 1):
                    got = await self._get(url, room, expires_at)
                    if isinstance(got, str):
                        url = got
                        continue
                    return self._judged(fetch, *got)
                raise _Refused(f"it redirects more than {MAX_REDIRECTS} times")
        except _Refused as refused:
            raise _bad(fetch, str(refused)) from None
        except TimeoutError:
            raise _bad(fetch, "it did not come in time (media.timeout)") from None
        except UpstreamError as error:
            raise _bad(fetch, error.message.replace("the upstream", "its server")) from None

    async def _get(self, url: str, room: _Room, expires_at: float) -> str | tuple[str, bytes]:
        """Makes one request; returns the URL it redirects to, or the media type named and the content."""
        origin, path = self._parsed(url)
        addresses = await self._addresses(origin)
        context = (self._context or _shared_context()) if origin.scheme == "https" else None
        pool = _PinnedPool(origin, addresses, context, self._limits.max_bytes)
        try:
            connection = await pool.open(_TIMEOUTS, expires_at)
            writer = HeadWriter(Endpoint("media", "media", "media", origin))
            request = UpstreamRequest(path, b"", _HEADERS, b"GET")
            exchange = await connection.ask(writer.head(request), b"", expires_at)
            status, fields = exchange.status, dict(exchange.headers)
            if status in _REDIRECTS:
                location = fields.get(b"location", b"").decode("latin-1")
                if not location:
                    raise _Refused("it redirects to nowhere")
                return urljoin(url, location)
            if status != HTTPStatus.OK:
                raise _Refused(f"its server answers {status}")
            if exchange.inflater is not None:  # nobody asked for it, and what it unpacks to knows no bound
                raise _Refused("it comes compressed, though that was not asked for")
            named = fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
            return named, await self._read(exchange, fields, room)
        finally:
            pool.close()

    async def _read(self, exchange: Http1Exchange, fields: dict[bytes, bytes], room: _Room) -> bytes:
        limit = self._limits.max_bytes
        told = fields.get(b"content-length", b"")
        if told.isdigit() and int(told) > limit:
            raise _Refused(f"it is larger than {limit} bytes (media.max_bytes)")
        pieces: list[bytes] = []
        size = 0
        while (piece := await exchange.next()) is not None:
            size += len(piece)
            if size > limit:
                raise _Refused(f"it is larger than {limit} bytes (media.max_bytes)")
            room.take(len(piece))
            pieces.append(piece)
        if not size:
            raise _Refused("there is nothing in it")
        return b"".join(pieces)

    def _parsed(self, url: str) -> tuple[Origin, bytes]:
        """Reads a URL as far as it may be followed at all; raises _Refused."""
        if len(url) > MAX_URL_CHARACTERS:
            raise _Refused("the URL is too long")
        if any(character <= " " or character in "\\\x7f" for character in url):
            raise _Refused("the URL holds characters that no URL holds")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _Refused("this is not a URL") from None
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        if scheme == "http" and not self._limits.allow_http:
            raise _Refused("only https is fetched (media.allow_http)")
        if scheme not in _PORTS:
            raise _Refused("only https is fetched")
        if not host:
            raise _Refused("the URL names no host")
        if parts.username is not None or parts.password is not None:
            raise _Refused("a URL with credentials in it is not fetched")
        port = _PORTS[scheme] if port is None else port
        if port < _PRIVILEGED and port not in _PORTS.values():
            raise _Refused(f"port {port} is no web server's")
        try:
            address = literal(host)
            host = str(address) if address is not None else host.encode("idna").decode("ascii")
            literal(host)  # full-width digits have become plain ones
        except (ValueError, UnicodeError):
            raise _Refused("its host is no name and no address that is followed") from None
        path = quote(parts.path or "/", safe=_SAFE)
        if not path.startswith("/"):
            raise _Refused("this is not a URL")
        query = f"?{quote(parts.query, safe=_SAFE)}" if parts.query else ""
        return Origin(scheme, host, port), f"{path}{query}".encode()

    async def _addresses(self, origin: Origin) -> tuple[Address, ...]:
        """Resolves a host, and judges every address: one that leads inside speaks against all of them."""
        address = literal(origin.host)
        if address is not None:
            found: tuple[Address, ...] = (address,)
        else:
            try:
                answers = await self._resolve(origin.host, origin.port)
                found = tuple(filter(None, map(literal, answers)))
            except (OSError, ValueError, UnicodeError):
                raise _Refused("its host does not resolve") from None
        if not found:
            raise _Refused("its host does not resolve")
        for each in found:
            if (why := forbidden(each, self._limits.allow_private)) is not None:
                raise _Refused(f"its host leads to {why} (media.allow_private)")
        return found

    def _judged(self, fetch: Fetch, named: str, content: bytes) -> tuple[str, bytes]:
        """Returns the media type with the content; the bytes say it, whatever the server does. Raises _Refused."""
        shown = self._sniff.read(content[:64])
        if shown is None and named in self._sniff.types:
            raise _Refused(f"its server says {named}, and its bytes are something else")
        media_type = shown or named
        if not media_type:
            raise _Refused("neither its server nor its bytes say what it is")
        if fetch.accepts and not media_type.startswith(fetch.accepts):
            wanted = ", ".join(fetch.accepts)
            raise _Refused(f"it is {ascii(media_type)[1:-1][:80]}, and {wanted} is wanted")
        return media_type, content


class _Room:
    """What all media of one call may still take up."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def take(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left < 0:
            raise _Refused("the call's media are too large together (media.max_bytes_per_call)")


class _PinnedPool(Pool):
    """A pool for one request to addresses that have been judged; TLS is verified for the URL's own host."""

    def __init__(
        self, origin: Origin, addresses: Sequence[Address], context: ResumingContext | None, max_bytes: int
    ) -> None:
        limits = Limits(max_connections=1, max_idle=0, idle_s=0.0, max_body_bytes=max_bytes)
        super().__init__(asyncio.get_running_loop(), origin, context, limits, Counters())
        self._addresses = addresses

    def _remember(self, connection: Connection) -> None:
        """Keeps no session: what one caller's URL has met does not speed up, or show in, another's."""

    async def _connect(self, connection: Connection, timeouts: Timeouts, expires_at: float) -> None:
        loop, raw, during = self._loop, None, ""
        try:
            raw = await self._reach(connection, timeouts.connect_s)
            if self._context is not None and not connection.closed:
                during = HANDSHAKE
                async with asyncio.timeout(timeouts.tls_s):
                    secured = await loop.start_tls(raw, connection, self._context, server_hostname=self._origin.host)
                if secured is None:
                    raise ConnectionError
                connection.connection_made(secured)
            if connection.closed:
                raise ConnectionError
        except BaseException as error:
            if raw is not None:
                raw.abort()
            if not isinstance(error, OSError):
                raise
            raise UpstreamError(Reason.CONNECT, unreached(error, during=during), sent=False) from None

    async def _reach(self, connection: Connection, limit_s: float) -> asyncio.Transport:
        """Connects to the first address that lets it; raises OSError."""
        error: OSError = ConnectionError()
        for address in self._addresses:
            try:
                async with asyncio.timeout(limit_s):
                    made, _ = await self._loop.create_connection(lambda: connection, str(address), self._origin.port)
                return made
            except OSError as failed:
                error = failed
        raise error


_contexts: dict[str, ResumingContext] = {}


def _shared_context() -> ResumingContext:
    """Returns the system's authorities, loaded once: they take 50 ms."""
    if not _contexts:
        _contexts["system"] = client_context()
    return _contexts["system"]


def _bad(fetch: Fetch, why: str) -> BadRequest:
    field = fetch.field or "url"
    return BadRequest(f"{field}: the medium at its URL is not fetched: {why}", param=field, code="invalid_media_url")


def _first_of(failed: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in failed.exceptions:
        if isinstance(error, BadRequest):
            return error
    return failed.exceptions[0]
