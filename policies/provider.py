"""Keeps deployments of the given providers."""

from __future__ import annotations

from gateway.core.types import Deployment
from policies._membership import OneOf


class Provider(OneOf):
    """Keeps deployments of the given providers."""

    name = "provider"

    def fact(self, deployment: Deployment) -> str:
        """Returns the deployment's provider."""
        return deployment.provider
