"""The databases that sums are tried on."""

from tests.gateway.state.conftest import database, server, store

__all__ = ["database", "server", "store"]
