"""Carries the receipts of whole segments into the store: nothing lost, nothing twice.

The store ignores a receipt that it has, so what was carried in part can be carried again. What cannot be read, or what
the store does not take as it is, is kept apart in the journal's directory, in the file `rejected`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gateway.accounting.receipts import CLOSED, OPENED, interrupted, row_of
from gateway.accounting.segment import lines_of
from gateway.state.protocols import ReceiptRow, ReceiptStore, RowRefused

_BATCH: Final = 1000  # rows a transaction: long enough to be cheap, short enough for other writers of the database


class Carries(Protocol):
    """Something that takes segments of one journal to its store."""

    def carry(self, segments: Sequence[Path], *, inherited: bool = False) -> list[str]:
        """Adds what was answered; of `inherited` segments, the calls that they left open too, as they foresaw.

        Returns why lines were rejected, each. Raises StoreUnavailable or OSError, and can then be repeated.
        """
        ...


class Carrier:
    """Carries in the thread that asks for it (a Carries)."""

    def __init__(self, store: ReceiptStore, directory: Path) -> None:
        self._store = store
        self._rejected = directory / "rejected"

    def carry(self, segments: Sequence[Path], *, inherited: bool = False) -> list[str]:
        """Adds what was answered, and what was left open; see Carries."""
        why: list[str] = []
        unanswered: dict[str, ReceiptRow] = {}
        for segment in segments:
            self._add(self._answered(segment, unanswered if inherited else None, why), why)
        self._add(unanswered.values(), why)
        return why

    def _answered(
        self, segment: Path, unanswered: dict[str, ReceiptRow] | None, why: list[str]
    ) -> Iterator[ReceiptRow]:
        for line in lines_of(segment):
            tag = line[0] if line else 0
            if tag == OPENED and unanswered is None:
                continue
            if tag not in (OPENED, CLOSED):
                self._reject(line, "neither an opening nor a receipt", why)
                continue
            try:
                row = row_of(line[1:] if tag == CLOSED else interrupted(line[1:], self._store.price))
            except msgspec.DecodeError as error:
                self._reject(line, str(error), why)
                continue
            if tag == CLOSED:
                if unanswered is not None:
                    unanswered.pop(row.id, None)
                yield row
            elif unanswered is not None:
                unanswered[row.id] = row

    def _add(self, rows: Iterable[ReceiptRow], why: list[str]) -> None:
        batch: list[ReceiptRow] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _BATCH:
                self._add_batch(batch, why)
                batch = []
        if batch:
            self._add_batch(batch, why)

    def _add_batch(self, batch: Sequence[ReceiptRow], why: list[str]) -> None:
        """Adds a batch; where the store refuses it, row by row, so that the bad one alone is kept apart."""
        try:
            self._store.add_receipts(batch)
        except RowRefused as error:
            if len(batch) == 1:
                self._reject(bytes([CLOSED]) + batch[0].body.encode(), str(error), why)
                return
            for row in batch:
                self._add_batch([row], why)

    def _reject(self, line: bytes, reason: str, why: list[str]) -> None:
        with self._rejected.open("ab") as file:
            file.write(line + b"\n")
        why.append(reason)
