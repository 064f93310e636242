"""Keeps deployments whose provider keeps data only as one of the given words says (none, zdr, 30d, unknown)."""

from __future__ import annotations

from gateway.core.types import Deployment
from policies._membership import OneOf


class Retention(OneOf):
    """Keeps deployments whose provider keeps data only as one of the given words says (none, zdr, 30d, unknown)."""

    name = "retention"

    def fact(self, deployment: Deployment) -> str:
        """Returns the deployment's retention."""
        return deployment.retention
