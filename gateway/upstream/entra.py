"""Identities of Microsoft Entra: a token for Azure's models, kept until shortly before it expires.

Three ways to one, as the settings and the surroundings have it (2026-11):
an application's secret and the token that Kubernetes projects into a file,
https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow;
a managed identity, at an App Service's own address or a machine's metadata service,
https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token and
https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from gateway.core.adapter import UpstreamRequest
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Endpoint, Headers, Origin, Timeouts
from gateway.upstream.transport import Transport

_AUTHORITY: Final = "https://login.microsoftonline.com"
_METADATA: Final = "http://169.254.169.254"
_WAIT_S: Final = 10.0
_RENEW_BEFORE_S: Final = 300.0  # tokens are good for an hour and more
_AGAIN_S: Final = 2.0  # how soon a failed request for a token is repeated
_PORTS: Final = {"http": 80, "https": 443}
_TIMEOUTS: Final = Timeouts(connect_s=3.0)
_ERROR_NUMBER: Final = re.compile(r"AADSTS[0-9]+")


class Identity(msgspec.Struct, frozen=True):
    """Who signs in, and for what. Without a tenant it is a managed identity, `client_id` says which of several."""

    resource: str  # what the token is for, "https://cognitiveservices.azure.com"
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: str | None = None

    def __repr__(self) -> str:
        return f"Identity({self.client_id} of {self.tenant_id})"


class _Token(msgspec.Struct, frozen=True):
    """A token as a header, with the times at which it is renewed and no longer good."""

    headers: Headers
    renew_at: float
    expires_at: float

    def __repr__(self) -> str:
        return "Token(…)"


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None
    expires_on: float | None = None  # seconds since the epoch; the App Service's answer has no other


class _Refusal(msgspec.Struct):
    error: str | dict[str, object] | None = None
    error_description: str = ""


_decode_answer: Final = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_refusal: Final = msgspec.json.Decoder(_Refusal).decode


class _Ask(msgspec.Struct, frozen=True):
    """One request for a token, and where it goes."""

    url: str
    request: UpstreamRequest

    def __repr__(self) -> str:
        return f"Ask({urlsplit(self.url).hostname})"


class EntraSigner:
    """Signs with a bearer token of one identity; implements `Signer`.

    One request for a token is under way at a time. While the old one is good nobody waits, and an issuer that is away
    is noticed by nobody.
    """

    def __init__(
        self,
        identity: Identity,
        transport: Callable[[], Transport],
        environ: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
        wait_s: float = _WAIT_S,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._environ = os.environ if environ is None else environ
        self._now = now
        self._wait_s = wait_s
        self._token: _Token | None = None
        self._failure: UpstreamError | None = None
        self._not_before = 0.0
        self._asking = asyncio.Lock()

    async def sign(self, endpoint: Endpoint, request: UpstreamRequest) -> Headers:
        """Returns the bearer header; raises UpstreamError where there is no token to be had in time."""
        token, now = self._token, self._now()
        waits = now < self._not_before or self._asking.locked()
        if token is not None and (now < token.renew_at or (now < token.expires_at and waits)):
            return token.headers
        try:
            async with asyncio.timeout(self._wait_s):
                async with self._asking:
                    return await self._current()
        except TimeoutError:
            failure = UpstreamError(Reason.TIMEOUT, "Entra gave no token in time", sent=False)
        except UpstreamError as error:
            failure = error
        self._failure, self._not_before = failure, self._now() + _AGAIN_S
        token = self._token
        if token is not None and self._now() < token.expires_at:
            return token.headers
        raise failure from None

    async def _current(self) -> Headers:
        """Asks for a token, unless another call just has, whatever came of it."""
        token, now = self._token, self._now()
        if token is not None and now < token.renew_at:
            return token.headers
        if self._failure is not None and now < self._not_before:
            raise self._failure
        self._token = token = await self._ask()
        self._failure = None
        return token.headers

    async def _ask(self) -> _Token:
        ask = await asyncio.to_thread(_ask_of, self._identity, self._environ)
        url = urlsplit(ask.url)
        origin = Origin(url.scheme, url.hostname or "", url.port or _PORTS[url.scheme])
        endpoint = Endpoint(id="entra", deployment="entra", provider="entra", origin=origin)
        transport = self._transport()
        try:
            exchange = await transport.send(
                endpoint, ask.request, _TIMEOUTS, asyncio.get_running_loop().time() + self._wait_s
            )
            status, body = exchange.status, await exchange.read()
        except UpstreamError as error:
            reason = error.reason if error.reason in (Reason.CONNECT, Reason.TIMEOUT) else Reason.CONNECT
            managed = self._identity.tenant_id is None and not self._environ.get("AZURE_FEDERATED_TOKEN_FILE")
            if managed and reason is Reason.CONNECT:
                raise _nobody("there is no managed identity here, and no tenant_id is configured") from None
            raise UpstreamError(reason, f"{url.hostname} is away: {error.reason.value}", sent=False) from None
        finally:
            await transport.aclose()
        return self._read(status, body, url.hostname or "")

    def _read(self, status: int, body: bytes, host: str) -> _Token:
        if status == 429 or status >= 500:
            raise UpstreamError(Reason.CONNECT, f"{host} answered with status {status}", sent=False)
        if status != 200:
            raise _nobody(f"{host} refused the identity: {_refusal(body) or f'status {status}'}")
        try:
            answer = _decode_answer(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamError(Reason.CONNECT, f"{host} gave no token that can be read", sent=False) from None
        lasts_s = answer.expires_in
        if lasts_s is None:
            lasts_s = answer.expires_on - time.time() if answer.expires_on is not None else _RENEW_BEFORE_S
        now = self._now()
        renew_at = now + max(lasts_s - _RENEW_BEFORE_S, lasts_s / 2)
        headers = ((b"authorization", b"Bearer " + answer.access_token.encode("latin-1", "replace")),)
        return _Token(headers, renew_at, now + lasts_s)


def _nobody(why: str) -> UpstreamError:
    return UpstreamError(Reason.UNAUTHENTICATED, why, sent=False, notify=True)


def _refusal(body: bytes) -> str:
    """Returns Entra's word and number for what was wrong; its sentences name identities, and are left out."""
    try:
        told = _decode_refusal(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    word = told.error if isinstance(told.error, str) else ""
    number = _ERROR_NUMBER.search(told.error_description)
    return " ".join(part for part in (word[:80], number[0] if number else "") if part)


# -- the three ways -----------------------------------------------------------------------------------------------


def _ask_of(identity: Identity, environ: Mapping[str, str]) -> _Ask:
    """Returns the request for a token; reads the file of a federated one, which is replaced now and then."""
    tenant = identity.tenant_id or environ.get("AZURE_TENANT_ID")
    client = identity.client_id or environ.get("AZURE_CLIENT_ID")
    file = environ.get("AZURE_FEDERATED_TOKEN_FILE")
    if identity.client_secret is not None and tenant and client:
        return _from_authority(identity, environ, tenant, client, {"client_secret": identity.client_secret})
    if file and tenant and client:
        try:
            assertion = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise _nobody("the file that AZURE_FEDERATED_TOKEN_FILE names cannot be read") from None
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        proof = {"client_assertion_type": kind, "client_assertion": assertion}
        return _from_authority(identity, environ, tenant, client, proof)
    if identity.tenant_id is not None:
        raise _nobody("tenant_id needs a client_secret, or AZURE_FEDERATED_TOKEN_FILE in the environment")
    return _managed(identity, environ)


def _from_authority(
    identity: Identity, environ: Mapping[str, str], tenant: str, client: str, proof: Mapping[str, str]
) -> _Ask:
    form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{identity.resource}/.default", **proof}
    authority = (environ.get("AZURE_AUTHORITY_HOST") or _AUTHORITY).rstrip("/")
    if "://" not in authority:
        authority = f"https://{authority}"
    return _Ask(
        authority,
        UpstreamRequest(
            path=f"{urlsplit(authority).path}/{quote(tenant, safe='')}/oauth2/v2.0/token".encode(),
            body=urlencode(form).encode(),
            headers=((b"content-type", b"application/x-www-form-urlencoded"),),
        ),
    )


def _managed(identity: Identity, environ: Mapping[str, str]) -> _Ask:
    asked = {"resource": identity.resource}
    if identity.client_id is not None:
        asked["client_id"] = identity.client_id
    own, secret = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
    if own and secret:
        url = urlsplit(own)
        query = urlencode({"api-version": "2019-08-01", **asked})
        headers = ((b"x-identity-header", secret.encode("latin-1", "replace")),)
        return _Ask(own, UpstreamRequest(f"{url.path}?{query}".encode(), b"", headers, b"GET"))
    url = urlsplit(environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST") or _METADATA)
    query = urlencode({"api-version": "2018-02-01", **asked})
    path = f"/metadata/identity/oauth2/token?{query}".encode()
    return _Ask(url.geturl(), UpstreamRequest(path, b"", ((b"metadata", b"true"),), b"GET"))
