"""What of the store goes into a config that serves, and what of such a config goes into the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

import structlog

from gateway.core.money import Price
from gateway.state.protocols import KeyRow, Store, StoreUnavailable

_log = structlog.get_logger("headgate")


class Stored:
    """The store's keys, as they were read last, and prices that it is still to be given; of one process.

    `keys` is another sequence whenever they have changed.
    """

    def __init__(self, store: Store) -> None:
        self.keys: Sequence[KeyRow] = ()
        self._store = store
        self._version = -1  # of the keys; negative before there were any
        self._unkept: list[Price] = []

    def read_keys(self) -> None:
        """Reads the keys; where the store is away, those that were read last still hold, if there are any.

        Else raises StoreUnavailable.
        """
        try:
            self._version, self.keys = self._store.keys_version(), self._store.keys()
        except StoreUnavailable as error:
            if self._version < 0:
                raise
            _log.warning("keys_not_read", error=str(error), then="those read before still hold")

    def keep(self, prices: Iterable[Price]) -> None:
        """Keeps prices, now or when the store is there again."""
        self._unkept += prices
        with contextlib.suppress(StoreUnavailable):
            self._keep()

    def look(self) -> tuple[int, bool]:
        """Returns the newest revision's number, and whether keys have changed; raises StoreUnavailable."""
        self._keep()
        return self._store.newest_number(), self._store.keys_version() != self._version

    def _keep(self) -> None:
        prices, self._unkept = self._unkept, []
        try:
            if prices:
                self._store.keep_prices(prices)
        except StoreUnavailable:
            self._unkept += prices
            raise
