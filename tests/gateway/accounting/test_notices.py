"""Notices of budgets: kept before they are sent, signed, sent until somebody takes them, and never twice."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.accounting import notices as module
from gateway.accounting.accounts import Crossing
from gateway.accounting.notices import Notices, Post, notice_id, signed, signing_key
from gateway.accounting.periods import Period
from gateway.core.allowances import Budget
from gateway.core.errors import Reason, UpstreamError
from gateway.core.types import Headers
from gateway.state.protocols import NoticeRow, StoreUnavailable
from gateway.state.sqlite import SqliteStore
from tests.patience import until


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def crossing(percent: int = 80, start: float = 0.0, scope: str = "team") -> Crossing:
    return Crossing(scope, "red", Budget(10**9, "month"), False, percent, 8 * 10**8, Period(start, start + 1))


class Receiver:
    """Takes notices, and answers with these statuses first; 0 is a receiver that is not there."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[bytes, Headers]] = []

    async def post(self, body: bytes, headers: Headers) -> int:
        self.got.append((body, headers))
        status = self.statuses.pop(0) if self.statuses else 204
        if not status:
            raise UpstreamError(Reason.CONNECT, "nobody listens")
        return status


@asynccontextmanager
async def running(store: SqliteStore, post: Post | None, secret: str | None = "s") -> AsyncIterator[Notices]:
    notices = Notices(store, first_wait_s=0.001)
    notices.apply(post, secret)
    notices.start()
    try:
        yield notices
    finally:
        await notices.stop()


async def test_a_notice_is_sent_until_it_is_taken_and_then_no_more(store: SqliteStore) -> None:
    receiver = Receiver(500, 0, 302)
    async with running(store, receiver.post) as notices:
        notices.tell(crossing())
        await until(lambda: notices.delivered == 1)
        notices.tell(crossing())  # by a process that summed up its past
        notices.tell(crossing(100))
        await until(lambda: notices.delivered == 2 and not store.waiting_notices())
    assert (len(receiver.got), notices.failed) == (5, 3)
    ids = [dict(headers)[b"webhook-id"] for _, headers in receiver.got]
    assert ids[:4] == [ids[0]] * 4 != ids[4]
    assert json.loads(receiver.got[0][0])["data"]["spent_usd"] == "0.80"


async def test_a_restart_forgets_none_and_repeats_none(store: SqliteStore) -> None:
    receiver = Receiver(*[500] * 1000)
    async with running(store, receiver.post) as notices:
        notices.tell(crossing())
        await until(lambda: notices.failed > 1)
    assert len(store.waiting_notices()) == 1
    receiver.statuses.clear()
    for _ in range(2):
        async with running(store, receiver.post) as again:
            again.tell(crossing())
            again.tell(crossing(100))
            await until(lambda: not store.waiting_notices())
    taken = {dict(headers)[b"webhook-id"] for _, headers in receiver.got}
    assert taken == {notice_id(crossing()).encode(), notice_id(crossing(100)).encode()}
    assert again.delivered == 0


async def test_a_store_that_is_away_is_waited_for(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, tries = Receiver(), 0
    add = store.add_notice

    def away(notice: NoticeRow) -> bool:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreUnavailable("gone")
        return add(notice)

    monkeypatch.setattr(store, "add_notice", away)
    async with running(store, receiver.post) as notices:
        notices.tell(crossing())
        await until(lambda: notices.delivered == 1)
    assert len(receiver.got) == 1


async def test_what_was_taken_is_not_sent_again_because_the_store_is_away(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, tries = Receiver(), 0
    close = store.close_notice

    def away(id: str, time: float) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreUnavailable("gone")
        close(id, time)

    monkeypatch.setattr(store, "close_notice", away)
    async with running(store, receiver.post) as notices:
        notices.tell(crossing())
        await until(lambda: tries >= 4 and not store.waiting_notices())
    assert (len(receiver.got), notices.delivered) == (1, 1)


async def test_who_is_away_for_days_is_given_up(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GIVEN_UP_S", 0.0)
    async with running(store, Receiver(*[500] * 5).post) as notices:
        notices.tell(crossing())
        await until(lambda: notices.given_up == 1 and not store.waiting_notices())


async def test_without_a_webhook_a_notice_is_logged_alone(store: SqliteStore) -> None:
    async with running(store, None) as notices:
        notices.tell(crossing())
        await until(lambda: not notices._crossings and not store.waiting_notices())
    assert not store.add_notice(NoticeRow(notice_id(crossing()), "{}", 0.0))


def test_what_is_told_once_is_told_once_a_budget_percent_and_period() -> None:
    differing = [crossing(), crossing(90), crossing(start=9.0), crossing(scope="key")]
    assert len({notice_id(each) for each in differing}) == len(differing)
    assert notice_id(crossing()) == notice_id(crossing())


def test_a_signature_is_that_of_standard_webhooks() -> None:
    key = b"a key of some bytes"
    for secret in (f"whsec_{base64.b64encode(key).decode()}", key.decode()):
        headers = dict(signed("msg_1", b'{"a": 1}', 1700000000, signing_key(secret)))
        mac = hmac.new(key, b'msg_1.1700000000.{"a": 1}', hashlib.sha256).digest()
        assert headers[b"webhook-signature"] == b"v1," + base64.b64encode(mac)
    assert b"webhook-signature" not in dict(signed("msg_1", b"", int(time.time()), None))
    assert signing_key("whsec_no base64") == b"whsec_no base64"
