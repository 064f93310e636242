"""A provider's settings -> the identity that signs its calls to Azure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.providers import Provider
from gateway.upstream import Transport
from gateway.upstream.entra import EntraSigner, Identity
from gateway.upstream.http1 import Http1Transport
from gateway.upstream.tls import HTTP1, TlsFiles, client_context

# What tokens for Azure's models are for; where the resource stands in the government's cloud, its own
# (https://learn.microsoft.com/en-us/azure/ai-foundry/openai/how-to/managed-identity, 2026-11).
_RESOURCE: Final = "https://cognitiveservices.azure.com"
_RESOURCE_US: Final = "https://cognitiveservices.azure.us"


def signer(provider: Provider, folder: Path) -> EntraSigner | None:
    """Returns the signer of a provider's identity, None where a key is configured instead.

    Raises ValueError naming the setting that is missing or one too many.
    """
    secret = provider.client_secret
    if provider.api_key is not None or provider.api_keys:
        for name in ("tenant_id", "client_id", "client_secret"):
            if getattr(provider, name) is not None:
                raise ValueError(f"{name}: write an api_key or an identity, not both")
        return None
    if secret is not None:
        for name in ("tenant_id", "client_id"):
            if getattr(provider, name) is None:
                raise ValueError(f"{name} is required beside client_secret")
    elif provider.tenant_id is not None and provider.client_id is None:
        raise ValueError("client_id is required beside tenant_id")
    host = urlsplit(provider.endpoint or provider.base_url or "").hostname or ""
    identity = Identity(
        _RESOURCE_US if host.endswith(".azure.us") else _RESOURCE,
        provider.tenant_id,
        provider.client_id,
        secret.reveal() if secret is not None and secret.present else None,
    )
    return EntraSigner(identity, _way(provider, folder))


def _way(provider: Provider, folder: Path) -> Callable[[], Transport]:
    """Returns what makes a transport to the issuer: through the provider's proxy, trusting whom it trusts."""
    proxy = provider.proxy.reveal() if provider.proxy is not None and provider.proxy.present else None
    authority = folder / provider.ca_file if provider.ca_file else None

    def make() -> Transport:
        # Made anew for each token, once an hour: nothing is to be closed with the process.
        context = client_context(TlsFiles(ca_file=authority), HTTP1)
        if proxy is None:
            return Http1Transport(context=context)
        from gateway.upstream.dial import Proxy
        from gateway.upstream.negotiating import NegotiatingTransport

        return NegotiatingTransport(protocols=HTTP1, context=context, proxy=Proxy(proxy, client_context()))

    return make
