"""Identities of Google Cloud: a token for Vertex AI, kept until shortly before it expires.

google-auth finds the identity (a service account's key, a federated one, the surroundings' own: application default
credentials, https://docs.cloud.google.com/docs/authentication/application-default-credentials, 2026-11) and fetches its
tokens. It blocks, so it works in a thread, for one token at a time; it is imported when the first token is wanted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Headers

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

# Those of google-auth's that run no program of somebody else's.
TYPES: Final = ("service_account", "authorized_user", "impersonated_service_account", "external_account")

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

_WAIT_S: Final = 10.0
_REQUEST_S: Final = 8.0  # for one request of google-auth's, which waits 120 s by default
_RENEW_BEFORE_S: Final = 300.0  # tokens are good for an hour
_AGAIN_S: Final = 2.0  # how soon a failed request for a token is repeated


class Token(msgspec.Struct, frozen=True):
    """A token, how long it is good from now on, and the project that quotas count against."""

    text: str
    lasts_s: float
    quota_project: str | None = None

    def __repr__(self) -> str:
        return "Token(…)"


class Way(msgspec.Struct, frozen=True):
    """How Google's issuer is reached; the environment's proxies are not used."""

    proxy: str | None = None
    ca_file: str | None = None

    def __repr__(self) -> str:
        return "Way(…)"


class TokenSigner:
    """Signs with a token that somebody else renews; implements `Signer`."""

    def __init__(self, token: str) -> None:
        self._headers: Headers = ((b"authorization", b"Bearer " + token.encode("latin-1")),)

    async def sign(self, endpoint: Endpoint, request: UpstreamRequest) -> Headers:
        """Returns the bearer header."""
        return self._headers


class GoogleSigner:
    """Signs with a bearer token of one identity; implements `Signer`.

    `fetch` blocks; it raises UpstreamError. While the old token is good nobody waits for the next one, and an issuer
    that is away is noticed by nobody.
    """

    def __init__(
        self, fetch: Callable[[], Token], now: Callable[[], float] = time.monotonic, wait_s: float = _WAIT_S
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._wait_s = wait_s
        self._headers: Headers = ()
        self._renew_at = self._expires_at = self._not_before = float("-inf")
        self._failure: UpstreamError | None = None
        self._fetching: asyncio.Task[UpstreamError | None] | None = None

    async def sign(self, endpoint: Endpoint, request: UpstreamRequest) -> Headers:
        """Returns the bearer header; raises UpstreamError where there is no token to be had in time."""
        now = self._now()
        if now < self._renew_at:
            return self._headers
        if now < self._expires_at:
            if now >= self._not_before:
                self._started()
            return self._headers
        if self._failure is not None and now < self._not_before:
            raise self._failure
        try:
            # A caller who leaves, or whose time is over, leaves the others their token.
            failure = await asyncio.wait_for(asyncio.shield(self._started()), self._wait_s)
        except TimeoutError:
            raise UpstreamError(Reason.TIMEOUT, "Google gave no token in time", sent=False) from None
        if failure is not None:
            raise failure
        return self._headers

    def _started(self) -> asyncio.Task[UpstreamError | None]:
        """Returns the request for a token that is under way, begun now where none was."""
        fetching = self._fetching
        if fetching is None or fetching.done():
            fetching = self._fetching = asyncio.create_task(self._renew())
        return fetching

    async def _renew(self) -> UpstreamError | None:
        """Fetches a token; returns what went wrong, so that nobody has to be there to hear it."""
        try:
            token = await asyncio.to_thread(self._fetch)
        except UpstreamError as failure:
            self._failure, self._not_before = failure, self._now() + _AGAIN_S
            return failure
        self._failure = None
        now = self._now()
        headers: Headers = ((b"authorization", b"Bearer " + token.text.encode("latin-1", "replace")),)
        if token.quota_project is not None:
            headers = (*headers, (b"x-goog-user-project", token.quota_project.encode("latin-1", "replace")))
        self._headers = headers
        self._renew_at = now + max(token.lasts_s - _RENEW_BEFORE_S, token.lasts_s / 2)
        self._expires_at = now + token.lasts_s
        return None


# -- google-auth --------------------------------------------------------------------------------------------------


class Identity:
    """Fetches tokens of one identity, blocking; what google-auth holds of it is kept between two of them.

    `read` returns the identity's JSON; None asks the surroundings.
    """

    def __init__(self, read: Callable[[], Mapping[str, Any]] | None, way: Way = Way()) -> None:  # noqa: B008 - frozen
        self._read = read
        self._way = way
        self._credentials: Credentials | None = None

    def __call__(self) -> Token:
        """Returns a fresh token; raises UpstreamError: UNAUTHENTICATED without an identity, CONNECT, TIMEOUT."""
        from google.auth import exceptions

        try:
            return self._fetched()
        except exceptions.TransportError:
            raise UpstreamError(Reason.CONNECT, "Google's issuer of tokens is away", sent=False) from None
        except exceptions.RefreshError as error:
            if error.retryable:
                raise UpstreamError(Reason.CONNECT, "Google's issuer of tokens failed", sent=False) from None
            raise _nobody("Google refused the identity") from None
        except exceptions.DefaultCredentialsError:
            what = "no application default credentials are here" if self._read is None else "credentials make none"
            raise _nobody(f"there is no Google identity: {what}") from None
        except (exceptions.GoogleAuthError, OSError, ValueError):
            raise _nobody("there is no Google identity: its credentials cannot be used") from None

    def _fetched(self) -> Token:
        request = _request(self._way)
        credentials = self._credentials
        if credentials is None:
            credentials = self._credentials = self._found(request)
        refresh: Callable[[Any], None] = credentials.refresh
        refresh(request)
        expiry = credentials.expiry  # in UTC, without saying so
        lasts_s = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if expiry else _RENEW_BEFORE_S * 2
        return Token(str(credentials.token), lasts_s, credentials.quota_project_id)

    def _found(self, request: Any) -> Credentials:
        import google.auth

        if self._read is None:
            found, _ = google.auth.default(scopes=[SCOPE], request=request)
            return found
        return _loaded(self._read())


def _loaded(identity: Mapping[str, Any]) -> Credentials:
    """Makes credentials of an identity's JSON, by its type; google-auth's loader of any type is deprecated."""
    kind = identity.get("type")
    make: Callable[..., Credentials]
    if kind == "service_account":
        from google.oauth2 import service_account

        make = service_account.Credentials.from_service_account_info
    elif kind == "authorized_user":
        from google.oauth2 import credentials

        make = credentials.Credentials.from_authorized_user_info
    elif kind == "impersonated_service_account":
        from google.auth import impersonated_credentials

        make = impersonated_credentials.Credentials.from_impersonated_service_account_info
    else:
        from google.auth import aws, identity_pool

        source = identity.get("credential_source")
        of_aws = isinstance(source, dict) and str(source.get("environment_id")).startswith("aws")
        make = aws.Credentials.from_info if of_aws else identity_pool.Credentials.from_info
    found: Credentials = make(identity, scopes=[SCOPE])
    return found


def _request(way: Way) -> Any:
    """Returns what google-auth asks with: bounded in time, and through the configured proxy alone."""
    import requests
    from google.auth.transport.requests import Request

    session = requests.Session()
    session.trust_env = False
    if way.proxy is not None:
        session.proxies["https"] = way.proxy  # the metadata server speaks http, and stands beside us
    if way.ca_file is not None:
        session.verify = way.ca_file
    inner: Callable[..., Any] = Request(session)

    def bounded(*args: Any, timeout: float | None = None, **rest: Any) -> Any:
        return inner(*args, timeout=min(timeout or _REQUEST_S, _REQUEST_S), **rest)

    return bounded


def _nobody(why: str) -> UpstreamError:
    return UpstreamError(Reason.UNAUTHENTICATED, why, sent=False, notify=True)
