"""Keeps the named deployments alone."""

from __future__ import annotations

from gateway.core.types import Deployment
from policies._membership import OneOf


class Named(OneOf):
    """Keeps the named deployments alone."""

    name = "deployment"

    def fact(self, deployment: Deployment) -> str:
        """Returns the deployment's name."""
        return deployment.name
