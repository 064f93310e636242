"""Keeps deployments where the data stays in one of the given locations."""

from __future__ import annotations

from gateway.core.types import Deployment
from policies._membership import OneOf


class Location(OneOf):
    """Keeps deployments where the data stays in one of the given locations."""

    name = "location"

    def fact(self, deployment: Deployment) -> str:
        """Returns the deployment's location."""
        return deployment.location
