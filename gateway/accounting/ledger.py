"""The books: receipts go in through the journal, and what is read is never older than what was answered."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.accounting.costs import Costs, CostsQuery, costs
from gateway.accounting.journal import Journal
from gateway.accounting.mover import Mover
from gateway.accounting.periods import Period
from gateway.accounting.porter import Porter
from gateway.state.books import Question
from gateway.state.protocols import ReceiptStore, StoreUnavailable


class Ledger:
    """A journal in front, a store behind. `open` and `close` are the hot path: one write each, no thread, no await."""

    def __init__(
        self, journal: Journal, store: ReceiptStore, *, move_every_s: float = 1.0, porter: Porter | None = None
    ) -> None:
        self.journal = journal
        self.mover = Mover(journal, store, every_s=move_every_s, porter=porter)
        self.open = journal.open
        self.close = journal.close
        self._store = store

    def start(self) -> None:
        """Begins to move receipts to the store, first those of a previous run."""
        self.mover.start()

    def stop(self) -> None:
        """Moves what can be moved and gives the journal back; blocks as long as the store does."""
        self.mover.stop()
        self.settle()
        self.journal.shut()

    async def receipt(self, id: str) -> bytes | None:
        """Returns a receipt with its decision as JSON; raises StoreUnavailable."""
        return await asyncio.to_thread(self._receipt, id)

    async def costs(self, query: CostsQuery) -> Costs:
        """Sums receipts; raises BadRequest or StoreUnavailable."""
        return await asyncio.to_thread(self._costs, query)

    def spent(self, group: str, period: Period) -> dict[str, int]:
        """Sums the nano-dollars of a period's receipts that are in the store, by a dimension; "" for all at once.

        Receipts that have no such attribute are left out. Blocks, raises StoreUnavailable.
        """
        question = Question((int(period.start), int(period.end)), (group,) if group else ())
        named = [(each.names[0] if group else "", each.sums.nano_usd) for each in self._store.sums(question)]
        return {name: nano for name, nano in named if name is not None}

    def _receipt(self, id: str) -> bytes | None:
        self.settle()
        return self._store.receipt(id)

    def _costs(self, query: CostsQuery) -> Costs:
        self.settle()
        return costs(self._store, query)

    def settle(self) -> bool:
        """Moves what waits in the journal; returns whether the store took it all. Blocks."""
        try:
            self.mover.move()
        except (StoreUnavailable, OSError):  # the reading says whether the store is away
            return False
        return True


def journal_beside(database: Path) -> Path:
    """Returns the directory of the journal that belongs to a database file."""
    return database.with_name(f"{database.name}.journal.d")
