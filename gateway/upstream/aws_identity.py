"""Where AWS's keys come from: a profile, a role, or botocore's own chain (environment, files, web identity, container,
instance), read in a thread. botocore is imported on first use, and not at all where a config holds the keys.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.errors import Reason, UpstreamError
from gateway.upstream.sigv4 import Keys

if TYPE_CHECKING:
    from botocore.credentials import Credentials

_CONNECT_S: Final = 3.0
_READ_S: Final = 5.0
_SESSION_NAME: Final = "headgate"


class MissingLibrary(ValueError):
    """botocore is not installed, and this identity needs it."""


class Identity(msgspec.Struct, frozen=True):
    """Whose keys are asked for: `keys` or a `profile` or neither (the chain), and the role that they take on."""

    region: str
    keys: Keys | None = None
    profile: str | None = None
    role_arn: str | None = None
    external_id: str | None = None


class IdentitySource:
    """Asks botocore for keys, which renews those that end: it gives none with less than ten minutes left."""

    def __init__(self, identity: Identity) -> None:
        """Raises MissingLibrary."""
        if find_spec("botocore") is None:
            raise MissingLibrary("this identity needs botocore: pip install 'headgate[bedrock]'")
        self._identity = identity
        self._lock = threading.Lock()  # a thread whose asker gave up may still be at it
        self._credentials: Credentials | None = None

    async def __call__(self) -> Keys:
        """Returns keys; raises UpstreamError: UNAUTHENTICATED where there is no identity, CONNECT where it is away."""
        return await asyncio.to_thread(self._keys)

    def _keys(self) -> Keys:
        from botocore import exceptions

        with self._lock:
            try:
                if self._credentials is None:
                    self._credentials = _credentials(self._identity)
                frozen = self._credentials.get_frozen_credentials()
            except exceptions.ClientError as error:
                code = error.response.get("Error", {}).get("Code", "an error")
                raise _refused(f"AWS's token service answered {code}") from None
            except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
                name = type(error).__name__
                raise UpstreamError(Reason.CONNECT, f"AWS's token service is away: {name}", sent=False) from None
            except exceptions.BotoCoreError as error:
                raise _refused(f"AWS's credentials cannot be read: {type(error).__name__}") from None
        if not frozen.access_key or not frozen.secret_key:
            raise _refused("no AWS credentials were found")
        return Keys(frozen.access_key, frozen.secret_key, frozen.token)


def _refused(why: str) -> UpstreamError:
    return UpstreamError(Reason.UNAUTHENTICATED, why, sent=False, notify=True)


def _credentials(identity: Identity) -> Credentials:
    """Returns botocore's credentials, which renew themselves where they end."""
    from botocore import credentials
    from botocore.config import Config
    from botocore.session import Session

    # It logs a trace for each renewal that fails; what a failure means is told by the error.
    logging.getLogger("botocore").setLevel(logging.CRITICAL)
    session = Session(profile=identity.profile)
    session.set_config_variable("region", identity.region)
    session.set_default_client_config(
        Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": 2})
    )
    if identity.keys is not None:
        own = identity.keys
        session.set_credentials(own.access_key_id, own.secret_access_key, own.session_token)
    found = session.get_credentials()
    if found is None:
        raise _refused("no AWS credentials were found")
    if identity.role_arn is None:
        return found
    fetcher = credentials.AssumeRoleCredentialFetcher(
        session.create_client, found, identity.role_arn, extra_args=_role_arguments(identity)
    )
    return credentials.RefreshableCredentials.create_from_metadata(
        fetcher.fetch_credentials(), fetcher.fetch_credentials, "sts-assume-role"
    )


def _role_arguments(identity: Identity) -> dict[str, str]:
    told = {"RoleSessionName": _SESSION_NAME}
    return told if identity.external_id is None else {**told, "ExternalId": identity.external_id}
