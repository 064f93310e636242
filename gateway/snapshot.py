"""The compiled config: immutable, taken once at the start of a call; a reload is one assignment of a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from gateway.accounting.elsewhere import Elsewhere
from gateway.accounting.pairings import Pairings
from gateway.auth import Keys
from gateway.cache import Cache
from gateway.classify import Classifier
from gateway.core.adapter import Adapter
from gateway.core.types import Deployment, Endpoint
from gateway.routing import Routing
from gateway.upstream.fetch import Fetcher


class Snapshot(msgspec.Struct, frozen=True):
    """Everything that a call reads of the config, with names resolved, prices bound, proofs done and tests passed.

    `revision` is the config's number in the store, 0 while the store is away; `compiled_at` is seconds since the epoch.
    """

    revision: int
    compiled_at: int
    open_door: bool
    levels: tuple[str, ...]
    deployments: tuple[Deployment, ...]
    adapters: Mapping[str, Adapter]  # by deployment
    keys: Keys
    classifier: Classifier
    routing: Routing
    elsewhere: Elsewhere
    cache: Cache
    pairings: Pairings
    epoch: bytes
    media: Fetcher

    @property
    def endpoints(self) -> Iterator[Endpoint]:
        """Every endpoint of every deployment."""
        return (endpoint for deployment in self.deployments for endpoint in deployment.endpoints)
