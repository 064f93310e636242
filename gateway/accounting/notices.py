"""Tells people that a budget runs low: each share of each budget once a period, signed, until it has been taken.

A notice is kept in the store before it is sent, and closed when its receiver has taken it (a status of 2xx): a restart
repeats none and forgets none. Where a process dies between the two, one is sent again, under the same `webhook-id`.
Deliveries are signed as Standard Webhooks has it
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, 2026-11).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import hmac
import time
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from gateway.accounting.accounts import Crossing, label_of
from gateway.core.errors import UpstreamError
from gateway.core.money import usd
from gateway.core.types import Headers
from gateway.state.protocols import NoticeRow, NoticeStore, StoreUnavailable

# Sends a body with headers; returns the status it was answered with, raises UpstreamError where it was not.
Post = Callable[[bytes, Headers], Awaitable[int]]

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 300.0
GIVEN_UP_S: Final = 3 * 86_400.0  # a receiver that was away for longer hears of newer things
_KEPT_S: Final = 62 * 86_400.0  # longer than any period, so that none is told twice
_WHSEC: Final = "whsec_"
_log: Final = structlog.get_logger("headgate")


class Notices:
    """Keeps, signs and delivers, in a task of its own. `delivered`, `failed` (tries) and `given_up` count."""

    def __init__(self, store: NoticeStore, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.delivered = self.failed = self.given_up = 0
        self._store = store
        self._first_wait_s = first_wait_s
        self._post: Post | None = None
        self._secret: bytes | None = None
        self._crossings: deque[Crossing] = deque()
        self._waiting: deque[NoticeRow] = deque()
        self._taken = ""  # the notice that is only to be closed yet
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def apply(self, post: Post | None, secret: str | None) -> None:
        """Takes over whom to tell; without a `post` notices are logged alone."""
        self._post = post
        self._secret = signing_key(secret) if secret is not None else None
        self._something.set()

    def tell(self, crossing: Crossing) -> None:
        """Takes a notice; returns at once."""
        self._crossings.append(crossing)
        self._something.set()

    def start(self) -> None:
        """Begins to deliver, first what a previous run left."""
        self._task = asyncio.create_task(self._run(), name="budget notices")

    async def stop(self) -> None:
        """Ends the task; what is not delivered is for the next run."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        wait_s = 0.0
        looked = False
        while True:
            if wait_s or not (self._crossings or self._waiting or not looked):
                self._something.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._something.wait(), wait_s or None)
            try:
                if not looked:
                    await asyncio.to_thread(self._store.expire_notices, time.time() - _KEPT_S)
                    self._waiting.extend(await asyncio.to_thread(self._store.waiting_notices))
                    looked = True
                while self._crossings:
                    await self._keep(self._crossings[0])
                    self._crossings.popleft()
                taken = not self._waiting or await self._deliver(self._waiting[0])
            except StoreUnavailable:
                taken = False
            wait_s = 0.0 if taken else min(max(2 * wait_s, self._first_wait_s), LONGEST_WAIT_S)

    async def _keep(self, crossing: Crossing) -> None:
        """Keeps a notice that is new, and logs it."""
        notice = NoticeRow(notice_id(crossing), _body(crossing), time.time())
        if not await asyncio.to_thread(self._store.add_notice, notice):
            return
        label = label_of(crossing.scope, crossing.name, crossing.budget.per)
        _log.warning(
            "budget_runs_low",
            budget=label,
            percent=crossing.percent,
            spent_usd=usd(crossing.spent_nano),
            limit_usd=usd(crossing.budget.nano_usd),
        )
        self._waiting.append(notice)

    async def _deliver(self, notice: NoticeRow) -> bool:
        """Sends one notice; returns whether nothing more is to be done for it."""
        now = time.time()
        if self._post is not None and notice.id != self._taken:
            body = notice.body.encode()
            headers = ((b"content-type", b"application/json"), *signed(notice.id, body, int(now), self._secret))
            try:
                status = await self._post(body, headers)
                why = f"it answered with status {status}"
            except UpstreamError as error:
                status, why = 0, error.message
            if not 200 <= status < 300:
                self.failed += 1
                if now - notice.time < GIVEN_UP_S:
                    _log.warning("notice_waits", id=notice.id, why=why)
                    return False
                self.given_up += 1
                _log.error("notice_given_up", id=notice.id, why=why)
            else:
                self.delivered += 1
            self._taken = notice.id
        await asyncio.to_thread(self._store.close_notice, notice.id, now)
        self._waiting.popleft()
        return True


def notice_id(crossing: Crossing) -> str:
    """Returns what a notice is known by, in every process: of its budget, its share and its period."""
    return f"msg_{hashlib.sha256(crossing.id.encode()).hexdigest()[:32]}"


def signing_key(secret: str) -> bytes:
    """Reads a secret: `whsec_` and base64 as Standard Webhooks writes them, or any text as it is."""
    if secret.startswith(_WHSEC):
        with contextlib.suppress(binascii.Error):
            return base64.b64decode(secret[len(_WHSEC) :], validate=True)
    return secret.encode()


def signed(id: str, body: bytes, timestamp: int, key: bytes | None) -> Headers:
    """Returns the headers that a delivery is told apart and proven by; unsigned without a key."""
    headers = ((b"webhook-id", id.encode()), (b"webhook-timestamp", b"%d" % timestamp))
    if key is None:
        return headers
    mac = hmac.new(key, b"%b.%d.%b" % (id.encode(), timestamp, body), hashlib.sha256)
    return (*headers, (b"webhook-signature", b"v1," + base64.b64encode(mac.digest())))


def _body(crossing: Crossing) -> str:
    budget, (start, end) = crossing.budget, crossing.period
    told = {
        "type": "budget.threshold_reached",
        "timestamp": _iso(time.time()),
        "data": {
            "budget": label_of(crossing.scope, crossing.name, budget.per),
            "scope": crossing.scope,
            "name": crossing.name,
            "per": budget.per,
            "zone": budget.zone,
            "percent": crossing.percent,
            "limit_usd": usd(budget.nano_usd),
            "spent_usd": usd(crossing.spent_nano),
            "reject_at": budget.reject_at,
            "period_start": _iso(start),
            "period_end": _iso(end),
        },
    }
    return msgspec.json.encode(told).decode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
