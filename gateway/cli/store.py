"""The store that a config names, for commands that run beside a gateway or without one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.state.sqlite import SqliteStore
from gateway.wiring.runtime import read_config


@contextmanager
def open_store(config: Path, environ: Mapping[str, str]) -> Iterator[SqliteStore]:
    """Opens the store; several processes may have it open. Raises ConfigError, StoreUnavailable."""
    store = SqliteStore(read_config(config, environ).config.store.path)
    try:
        yield store
    finally:
        store.close()
