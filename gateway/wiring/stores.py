"""Which store a config names."""

from __future__ import annotations

from gateway.accounting.porter import Place, Porter
from gateway.config import Loaded
from gateway.core.errors import ConfigError
from gateway.state.protocols import Store
from gateway.state.sqlite import SqliteStore


def store_of(loaded: Loaded) -> Store:
    """Opens the store, which may migrate it; blocks. Raises StoreUnavailable, and ConfigError where no wait helps."""
    settings = loaded.config.store
    if settings.path is not None:
        return SqliteStore(settings.path)
    place = loaded.at("store", "url")
    try:
        from gateway.state.postgres import PostgresStore
    except ImportError:
        raise ConfigError([f"{place}: PostgreSQL takes its client: pip install 'headgate[postgres]'"]) from None
    try:
        return PostgresStore(settings.url.reveal())
    except ValueError as error:
        raise ConfigError([f"{place}: {error}"]) from None


def porter_of(loaded: Loaded) -> Porter:
    """Returns what carries receipts to the store that a config names."""
    settings = loaded.config.store
    if settings.path is not None:
        place = Place(settings.journal, path=str(settings.path))
    else:
        place = Place(settings.journal, url=settings.url.reveal())
    return Porter("gateway.wiring.carrying", place)
