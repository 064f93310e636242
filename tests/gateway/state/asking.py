"""Asks a store for sums by one dimension, as tests like to read them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.accounting.calendar import ceil_quarter, floor_quarter
from gateway.state.books import Question, Sums
from gateway.state.protocols import ReceiptStore


class Total(Sums, frozen=True, kw_only=True):
    """The sums of one value of a dimension."""

    group: str | None


def totals(
    store: ReceiptStore, group: str, since: float, until: float, where: Sequence[tuple[str, str | None]] = ()
) -> list[Total]:
    """Sums receipts of whole quarters of an hour by a dimension, in the order of its values' bytes."""
    edges = (floor_quarter(since), ceil_quarter(until))
    asked = tuple((name, (value,)) for name, value in where)
    found = [
        Total(*msgspec.structs.astuple(each.sums), group=each.names[0])
        for each in store.sums(Question(edges, (group,), asked))
    ]
    return sorted(found, key=lambda total: (total.group is not None, (total.group or "").encode()))
