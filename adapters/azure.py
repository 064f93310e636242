"""Azure OpenAI: OpenAI's wire at a resource of one's own, at its `/openai/v1` or at a dated API of old.

Source: https://learn.microsoft.com/en-us/azure/foundry/openai/api-version-lifecycle (2026-11). What its answers have
beyond OpenAI's (`prompt_filter_results` in a first chunk without choices, a last chunk without a delta, `innererror`
in an error) is read by what every provider shares.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from adapters.openai import QUIRKS, Relay
from gateway.core.types import Deployment, Headers


class AzureRelay(Relay):
    """An adapter of one resource; a deployment is called by the name that it was given there."""

    def authorize(self, credential: str) -> Headers:
        return ((b"api-key", credential.encode("latin-1")),) if credential else ()

    def model(self, deployment: Deployment) -> str:
        return deployment.options.get("deployment_name", deployment.model)

    def path(self, deployment: Deployment, endpoint: bytes) -> bytes:
        base = deployment.base_path.rstrip(b"/")
        version = deployment.options.get("api_version")
        if version is None:
            return (base if base.endswith(b"/v1") else base.removesuffix(b"/openai") + b"/openai/v1") + endpoint
        query = b"?api-version=" + quote(version, safe="").encode()
        if base.endswith(b"/models"):  # the dated API of models that are not OpenAI's: they are named in the body
            return base + endpoint + query
        root = base.removesuffix(b"/openai") + b"/openai"
        if endpoint in _OUTSIDE_DEPLOYMENTS:
            return root + endpoint + query
        return root + b"/deployments/" + quote(self.model(deployment), safe="").encode() + endpoint + query


# https://learn.microsoft.com/en-us/azure/foundry/openai/how-to/responses, 2026-11
_OUTSIDE_DEPLOYMENTS: Final = frozenset({b"/responses"})


def adapter() -> AzureRelay:
    """Returns the adapter of Azure OpenAI."""
    return AzureRelay("azure", QUIRKS)
