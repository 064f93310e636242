"""What people ask of the books: costs, receipts and decisions, for the admin surface and the command line alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from gateway.accounting.costs import Costs, Parameters, costs, query_of
from gateway.accounting.explain_cost import CostExplained, explain_cost
from gateway.accounting.overview import Gpus, Movers, Summary, gpus, movers, movers_query, summary
from gateway.accounting.own_gpus import Hardware
from gateway.accounting.receipt_log import LogPage, log_page, log_query_of
from gateway.accounting.tables import as_csv
from gateway.core.errors import CallError, Reason
from gateway.routing import Decision, Tried, sentence
from gateway.state.protocols import ReceiptStore, StoreUnavailable

MOVERS = 10


class UnknownCall(CallError):
    """No receipt has this id."""

    status = 404
    type = "invalid_request_error"
    code = "decision_not_found"


class BooksAway(CallError):
    """The store cannot be read now; what is written meanwhile waits in the journal."""

    status = 503
    code = "store_unavailable"


class Owned(msgspec.Struct, frozen=True):
    """What a config says of one's own machines: the providers that stand there, and the GPUs that have a price."""

    providers: tuple[str, ...] = ()
    hardware: tuple[Hardware, ...] = ()


class Accounts:
    """Reads the store; blocks, so callers give it a thread. `settle` first moves what still waits in the journal.

    `only_team` confines an answer to a team: to whoever asks for it there is nothing else. Parameters that make no
    sense raise BadRequest, naming them; a store that is away raises BooksAway.
    """

    def __init__(
        self,
        store: ReceiptStore,
        settle: Callable[[], bool] | None = None,
        owned: Callable[[], Owned] = Owned,
    ) -> None:
        self._store = store
        self._settle = settle
        self._owned = owned

    def sums(self, parameters: Parameters, only_team: str | None = None) -> Costs:
        """Sums receipts."""
        query = query_of(parameters, time.time(), only_team)
        with self._asked() as fresh_at:
            return costs(self._store, query, fresh_at)

    def costs(self, parameters: Parameters, only_team: str | None = None) -> bytes:
        """The same as JSON."""
        return msgspec.json.encode(self.sums(parameters, only_team))

    def costs_csv(self, parameters: Parameters, only_team: str | None = None) -> str:
        """The same as CSV."""
        return as_csv(self.sums(parameters, only_team))

    def summary(self, parameters: Parameters, only_team: str | None = None) -> Summary:
        """Sums a time up, against the time before."""
        query = query_of(parameters, time.time(), only_team)
        with self._asked() as fresh_at:
            return summary(self._store, query, self._owned().providers, fresh_at)

    def movers(self, parameters: Parameters, only_team: str | None = None) -> Movers:
        """Tells what changed most against the time before."""
        query = movers_query(parameters, time.time(), only_team)
        with self._asked():
            return movers(self._store, query, MOVERS)

    def gpus(self, parameters: Parameters) -> Gpus:
        """Tells what one's own GPUs cost and did."""
        query = query_of(parameters, time.time())
        with self._asked():
            return gpus(self._store, query, self._owned().hardware, time.time())

    def log(self, parameters: Parameters, only_team: str | None = None) -> LogPage:
        """Lists receipts, the newest first."""
        question = log_query_of(parameters, time.time(), only_team)
        with self._asked():
            return log_page(self._store, question)

    def decision(self, id: str, only_team: str | None = None) -> dict[str, Any]:
        """Tells one call's decision: a sentence, the decision and the receipt; raises UnknownCall."""
        receipt = self._receipt(id, only_team)
        return {"id": id, "sentence": tell(receipt), "decision": receipt.pop("decision", None), "receipt": receipt}

    def receipt(self, id: str, only_team: str | None = None) -> dict[str, Any]:
        """Tells one call whole: its decision, and why it cost what it cost; raises UnknownCall."""
        told = self.decision(id, only_team)
        return {**told, "cost": self._explained(told["receipt"])}

    def explain_cost(self, id: str, only_team: str | None = None) -> CostExplained:
        """Tells why one call cost what it cost; raises UnknownCall."""
        return self._explained(self._receipt(id, only_team))

    def _explained(self, receipt: Mapping[str, Any]) -> CostExplained:
        with self._asked(settled=True):
            return explain_cost(receipt, self._store.price)

    def _receipt(self, id: str, only_team: str | None) -> dict[str, Any]:
        with self._asked():
            found = self._store.receipt(id)
        receipt: dict[str, Any] = msgspec.json.decode(found) if found is not None else {}
        if found is None or (only_team is not None and receipt.get("team") != only_team):
            raise UnknownCall(f"there is no receipt of a call {id[:100]!r}")
        return receipt

    @contextmanager
    def _asked(self, *, settled: bool = False) -> Iterator[float | None]:
        """Yields up to when every receipt of this process is in the store; None where another process moves them."""
        fresh_at = None
        if self._settle is not None and not settled:
            now = time.time()
            fresh_at = now if self._settle() else None
        try:
            yield fresh_at
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
