"""Budgets, rate limits and notices of one process: made together, and brought together from one config to the next."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from gateway.accounting.budgets import Budgets
from gateway.accounting.ledger import Ledger
from gateway.accounting.limits import Limits
from gateway.accounting.notices import Notices
from gateway.accounting.refill import refill
from gateway.config import Config
from gateway.state.protocols import KeyRow, NoticeStore, StoreUnavailable
from gateway.telemetry import names
from gateway.telemetry.metrics import Metrics, Sample
from gateway.upstream.http1 import Http1Transport
from gateway.wiring.allowances import budget_rules, limit_rules
from gateway.wiring.compile import written_keys
from gateway.wiring.webhook import post_to

_SWEPT_EVERY_S: Final = 1.0
_SHOWN: Final = 10_000  # budgets in metrics
_log: Final = structlog.get_logger("headgate")


class Spending:
    """Who may spend how much and how fast, in this process."""

    def __init__(self, store: NoticeStore, ledger: Ledger) -> None:
        self._ledger = ledger
        self.notices = Notices(store)
        self.budgets = Budgets(self.notices.tell)
        self.limits = Limits()
        self._transport = Http1Transport()  # of the webhook
        self._sweeping: asyncio.Task[None] | None = None

    async def apply(self, config: Config, stored: Iterable[KeyRow]) -> None:
        """Goes by a config and its keys; budgets that are new know what was spent before when this returns.

        Raises StoreUnavailable or OSError at the start, where the books cannot be read. Later they are asked again
        until they can, and until then new budgets refuse nothing: a store that is away stops no calls.
        """
        keys: Sequence[KeyRow] = [*written_keys(config), *stored]
        try:
            await refill(self.budgets, budget_rules(config, keys), self._ledger, time.time())
        except (StoreUnavailable, OSError) as error:
            if self._sweeping is None:
                raise
            _log.warning("budgets_wait", error=str(error), then="new budgets hold when the books can be read")
        self.limits.apply(limit_rules(config, keys), time.monotonic())
        post, secret = None, None
        if config.notify is not None:
            post = post_to(config.notify.webhook.reveal(), self._transport)
            secret = config.notify.secret.reveal() if config.notify.secret is not None else None
        self.notices.apply(post, secret)

    def start(self) -> None:
        """Begins to deliver notices and to sweep."""
        self.notices.start()
        self._sweeping = asyncio.create_task(self._sweep(), name="budget sweep")

    async def stop(self) -> None:
        """Ends what `start` began."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self.notices.stop()
        await self._transport.aclose()

    def observe(self, metrics: Metrics) -> None:
        """Has what it knows shown as metrics."""
        budgets, limits, notices = self.budgets, self.limits, self.notices
        metrics.observe(names.BUDGET_SPENT, lambda: self._shown("spent"))
        metrics.observe(names.BUDGET_RESERVED, lambda: self._shown("reserved"))
        metrics.observe(names.BUDGET_OVER, lambda: self._shown("over"))
        metrics.observe(names.BUDGET_UNDERESTIMATED, lambda: [((), budgets.underestimated_nano)])
        metrics.observe(names.BUDGET_REJECTED, lambda: [((scope,), n) for scope, n in list(budgets.rejected.items())])
        metrics.observe(names.RATE_LIMITED, lambda: [((scope,), n) for scope, n in list(limits.refused.items())])
        metrics.observe(
            names.NOTICES,
            lambda: [
                (("delivered",), notices.delivered),
                (("failed",), notices.failed),
                (("given_up",), notices.given_up),
            ],
        )

    def _shown(self, field: str) -> list[Sample]:
        """Returns a figure of every budget but users', whom callers name."""
        return [
            ((account.scope, account.name, account.budget.per), float(getattr(account, field)))
            for account in self.budgets.known()[:_SHOWN]
            if account.scope != "user"
        ]

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEPT_EVERY_S)
            if self.budgets.waiting:
                with contextlib.suppress(StoreUnavailable, OSError):
                    await refill(self.budgets, self.budgets.rules, self._ledger, time.time())
            before = self.budgets.swept
            self.budgets.sweep(time.monotonic(), time.time())
            if self.budgets.swept > before:
                _log.error("reservations_swept", count=self.budgets.swept - before)
