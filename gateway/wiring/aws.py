"""A Bedrock provider as written -> what signs its calls; each setting that makes no identity is refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.config.providers import Provider
from gateway.config.secret import Secret
from gateway.upstream.aws_identity import Identity, IdentitySource
from gateway.upstream.signing import Signer
from gateway.upstream.sigv4 import Keys, Scope, SigV4Signer

BASE_URL: Final = "https://bedrock-runtime.{region}.amazonaws.com"

SETTINGS: Final = frozenset(
    {"region", "access_key_id", "secret_access_key", "session_token", "profile", "role_arn", "external_id"}
)

_SERVICE: Final = "bedrock"  # what its signatures name, for the runtime too: botocore's model of it, 1.44
_REGION: Final = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
# bedrock-runtime.us-east-1.amazonaws.com, …-fips.…, vpce-….bedrock-runtime.us-east-1.vpce.amazonaws.com
_IN_HOST: Final = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.")


def signer(provider: Provider, folder: Path) -> Signer | None:
    """Returns what signs a provider's calls, None where a key is sent instead; raises ValueError naming the setting."""
    if provider.region is not None and not _REGION.fullmatch(provider.region):
        raise ValueError(f"region: {provider.region!r} is no region of AWS (us-east-1)")
    if provider.region is None and provider.base_url is None:
        raise ValueError("region is required: it is a part of Bedrock's address")
    identity = ("access_key_id", "secret_access_key", "session_token", "profile", "role_arn", "external_id")
    written = [name for name in identity if getattr(provider, name) is not None]
    if provider.api_key is not None or provider.api_keys:
        if written:
            raise ValueError(f"write api_key or {written[0]}, not both: a key is sent, an identity signs")
        return None
    scope = Scope(_region(provider), _SERVICE)
    if (provider.access_key_id is None) != (provider.secret_access_key is None):
        missing, given = ("secret_access_key", "access_key_id")[:: 1 if provider.secret_access_key is None else -1]
        raise ValueError(f"{missing} is missing: {given} is of no use without it")
    if provider.session_token is not None and provider.access_key_id is None:
        raise ValueError("session_token: it belongs to an access_key_id, which is missing")
    if provider.profile is not None and provider.access_key_id is not None:
        raise ValueError("write profile or access_key_id, not both")
    if provider.external_id is not None and provider.role_arn is None:
        raise ValueError("external_id: it is for a role, and role_arn is missing")
    secrets = [provider.access_key_id, provider.secret_access_key, provider.session_token]
    if any(secret is not None and not secret.present for secret in secrets):
        return None  # the provider is disabled
    keys = _keys(provider.access_key_id, provider.secret_access_key, provider.session_token)
    if keys is not None and provider.role_arn is None:
        return SigV4Signer(scope, keys)
    return SigV4Signer(
        scope,
        source=IdentitySource(Identity(scope.region, keys, provider.profile, provider.role_arn, provider.external_id)),
    )


def _region(provider: Provider) -> str:
    """Returns the region to sign for; an address that names it says enough."""
    if provider.region is not None:
        return provider.region
    found = _IN_HOST.search(urlsplit(provider.base_url or "").hostname or "")
    if found is None:
        raise ValueError("region is required: a signature names it, and base_url does not show it")
    return found[1]


def _keys(key_id: Secret | None, secret: Secret | None, token: Secret | None) -> Keys | None:
    if key_id is None or secret is None:
        return None
    return Keys(key_id.reveal(), secret.reveal(), token.reveal() if token is not None else None)
