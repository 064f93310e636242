"""What people ask of the books: costs and decisions, for the admin surface and the command line alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from gateway.accounting.costs import Costs, as_csv, costs, query_of
from gateway.core.errors import CallError, Reason
from gateway.routing import Decision, Tried, sentence
from gateway.state.protocols import ReceiptStore, StoreUnavailable


class UnknownCall(CallError):
    """No receipt has this id."""

    status = 404
    type = "invalid_request_error"
    code = "decision_not_found"


class BooksAway(CallError):
    """The store cannot be read now; what is written meanwhile waits in the journal."""

    status = 503
    code = "store_unavailable"


class Accounts:
    """Reads the store; blocks, so callers give it a thread. `settle` first moves what still waits in the journal."""

    def __init__(self, store: ReceiptStore, settle: Callable[[], None] | None = None) -> None:
        self._store = store
        self._settle = settle

    def sums(self, parameters: Mapping[str, str]) -> Costs:
        """Sums receipts; raises BadRequest naming the parameter, BooksAway."""
        query = query_of(parameters, time.time())
        if self._settle is not None:
            self._settle()
        with _asked():
            return costs(self._store, query)

    def costs(self, parameters: Mapping[str, str]) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.sums(parameters))

    def costs_csv(self, parameters: Mapping[str, str]) -> str:
        """The same as CSV."""
        return as_csv(self.sums(parameters))

    def decision(self, id: str) -> dict[str, Any]:
        """Tells one call's decision: a sentence, the decision and the receipt; raises UnknownCall, BooksAway."""
        if self._settle is not None:
            self._settle()
        with _asked():
            found = self._store.receipt(id)
        if found is None:
            raise UnknownCall(f"there is no receipt of a call {id[:100]!r}")
        receipt: dict[str, Any] = msgspec.json.decode(found)
        return {"id": id, "sentence": tell(receipt), "decision": receipt.pop("decision", None), "receipt": receipt}


@contextmanager
def _asked() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as error:
        raise BooksAway(str(error), retry_after_s=5.0) from error


def tell(receipt: Mapping[str, Any]) -> str:
    """Writes a receipt's decision for people."""
    written = receipt.get("decision")
    if written is None:
        return f"refused: {receipt.get('refusal') or receipt.get('reason') or receipt.get('status')}"
    tried = tuple(
        Tried(
            line["deployment"],
            line["endpoint"],
            Reason(line["reason"]) if line.get("reason") else None,
            took_s=line.get("e2e_us", 0) / 1e6,
        )
        for line in receipt.get("attempts", ())
    )
    decision = msgspec.structs.replace(msgspec.convert(written, Decision), attempts=tried)
    if receipt.get("cache") == "hit":
        return f"answered from the cache, as {receipt.get('deployment') or 'another call'} answered before"
    return sentence(decision)
