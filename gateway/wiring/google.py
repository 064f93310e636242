"""A Vertex provider as written -> what signs its calls; each setting that makes no identity is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config.providers import Provider
from gateway.upstream.google import TYPES, GoogleSigner, Identity, TokenSigner, Way
from gateway.upstream.signing import Signer

SETTINGS: Final = frozenset({"project", "region", "credentials", "access_token"})

_REGION: Final = re.compile(r"[a-z]+(?:-[a-z]+\d*)*")
_PROJECT: Final = re.compile(r"(?:[a-z0-9.-]+:)?[a-z0-9-]{1,63}")
_IDENTITIES: Final = ("credentials", "access_token")


def signer(provider: Provider, folder: Path) -> Signer | None:
    """Returns what signs a provider's calls, None where a key is sent instead; raises ValueError naming the setting."""
    if provider.region is not None and not _REGION.fullmatch(provider.region):
        raise ValueError(f"region: {provider.region!r} is no region of Google's (us-central1, global)")
    if provider.project is not None and not _PROJECT.fullmatch(provider.project):
        raise ValueError(f"project: {provider.project!r} is no project's id or number")
    given = [name for name in _IDENTITIES if getattr(provider, name) is not None]
    if provider.api_key is not None or provider.api_keys:
        if given:
            raise ValueError(f"{given[0]}: write api_key or {given[0]}, not both: a key is sent, an identity signs")
        return None
    if len(given) > 1:
        raise ValueError("access_token: write credentials or access_token, not both")
    if provider.project is None:
        raise ValueError("project is required: it is charged, and stands in the address of each model")
    token = provider.access_token
    if token is not None:
        return TokenSigner(token.reveal()) if token.present else None  # without one the provider is disabled
    credentials = provider.credentials
    if credentials is not None and not credentials.present:
        return None
    if find_spec("google.auth") is None:
        raise ValueError("credentials: they take google-auth: pip install 'headgate[vertex]', or write access_token")
    read = _reader(credentials.reveal(), folder) if credentials is not None else None
    return GoogleSigner(Identity(read, _way(provider, folder)))


def _reader(written: str, folder: Path) -> Callable[[], Mapping[str, Any]]:
    """Returns what reads an identity's JSON: the text itself, or the file that it names, anew for each process."""
    if written.lstrip().startswith("{"):
        identity = _identity(written)
        return lambda: identity
    path = folder / Path(written).expanduser()
    try:
        _identity(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ValueError("credentials: neither JSON nor the path of a file that can be read") from None
    return lambda: _identity(path.read_text(encoding="utf-8"))


def _identity(text: str) -> Mapping[str, Any]:
    try:
        identity = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("credentials: this is not the JSON of an identity") from None
    if identity.get("type") not in TYPES:
        raise ValueError(f"credentials: their type is none of {', '.join(TYPES)}")
    return identity


def _way(provider: Provider, folder: Path) -> Way:
    """Returns the way to Google's issuer: through the provider's proxy, trusting whom it trusts."""
    proxy = provider.proxy.reveal() if provider.proxy is not None and provider.proxy.present else None
    return Way(proxy, str(folder / provider.ca_file) if provider.ca_file else None)
