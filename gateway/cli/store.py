"""The store that a config names, for commands that run beside a gateway or without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.state.protocols import Store
from gateway.wiring.runtime import read_config
from gateway.wiring.stores import store_of


@contextmanager
def open_store(config: Path, environ: Mapping[str, str]) -> Iterator[Store]:
    """Opens the store; several processes may have it open. Raises ConfigError, StoreUnavailable."""
    store = store_of(read_config(config, environ))
    try:
        yield store
    finally:
        store.close()
