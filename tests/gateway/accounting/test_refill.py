"""What was spent before a budget was there: exact, whatever is on its way from the journal to the store."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.accounting.budgets import BudgetExceeded, Budgets
from gateway.accounting.journal import Journal
from gateway.accounting.ledger import Ledger
from gateway.accounting.pairings import Pairings
from gateway.accounting.receipts import Opening, Receipt
from gateway.accounting.refill import refill
from gateway.accounting.rulebook import Rule
from gateway.accounting.trace import Trace
from gateway.core.allowances import Budget
from gateway.core.money import NANO_PER_USD, Price, Rates
from gateway.core.types import Call, Deployment, Plan, Principal
from gateway.state.protocols import StoreUnavailable
from gateway.state.sqlite import SqliteStore
from tests.patience import until

BIG = Budget(10**15, "month")
KEYS = ("ada", "bob")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "headgate.db")
    yield store
    store.close()


def ledger(folder: Path, store: SqliteStore, **more: float) -> Ledger:
    return Ledger(Journal(folder / "journal", sync="off"), store, **more)


def book(books: Ledger, budgets: Budgets, number: int, key: str, cost: int, time: float) -> None:
    """Books a call as the pipeline does: its receipt, then its budgets, in one step."""
    id = f"{key}-{number}"
    books.open(Opening(id=id, time=time, key=key, provider="p"))
    books.close(Receipt(id=id, time=time, key=key, provider="p", status=200, cost_nano=cost))
    place = Deployment("a", "p", "openai", "m", "openai", b"", ())
    budgets.settle(Trace(Call(id, "chat", "chat", b""), Principal(key), 0.0, Pairings(0), time), cost, place)


def sums(budgets: Budgets) -> dict[tuple[str, str], int]:
    return {(account.scope, account.name): account.spent for account in budgets.known()}


async def test_budgets_that_come_while_calls_go_on_count_each_receipt_once(tmp_path: Path, store: SqliteStore) -> None:
    books, budgets, now = ledger(tmp_path, store, move_every_s=0.001), Budgets(lambda crossing: None), time.time()
    books.start()
    dice = random.Random(3)
    true: dict[tuple[str, str], int] = {}
    ended = False

    async def calls() -> None:
        number = 0
        while not ended:
            for _ in range(dice.randrange(1, 20)):
                number += 1
                key, cost = dice.choice(KEYS), dice.randrange(1, 1000)
                book(books, budgets, number, key, cost, now)
                for level in (("key", key), ("provider", "p"), ("overall", "overall")):
                    true[level] = true.get(level, 0) + cost
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as group:
        group.create_task(calls())
        rules: list[Rule] = []
        for rule in (Rule("key", "*", BIG), Rule("overall", "overall", BIG), Rule("provider", "p", BIG)):
            rules.append(rule)
            await refill(budgets, rules, books, now)
            await refill(budgets, [], books, now)  # and away again
            await refill(budgets, rules, books, now)
        await asyncio.sleep(0.05)
        ended = True
    assert sums(budgets) == true
    again = Budgets(lambda crossing: None)
    await refill(again, rules, books, now)
    assert sums(again) == true
    await asyncio.to_thread(books.stop)


async def test_a_start_counts_what_a_dead_process_left_in_its_journal(tmp_path: Path, store: SqliteStore) -> None:
    now = time.time()
    store.keep_prices([Price("v", ((0, Rates(fresh_input=2_000_000)),))])
    dead = Journal(tmp_path / "journal", sync="off")
    dead.open(Opening(id="cut", time=now, key="ada", input_tokens=100, price_version="v"))
    dead.open(Opening(id="whole", time=now, key="ada"))
    dead.close(Receipt(id="whole", time=now, key="ada", status=200, cost_nano=5000))
    dead.close(Receipt(id="old", time=now - 40 * 86_400, key="ada", status=200, cost_nano=7777))
    dead.shut()
    books, budgets = ledger(tmp_path, store), Budgets(lambda crossing: None)
    await refill(budgets, [Rule("key", "*", BIG)], books, now)
    assert sums(budgets) == {("key", "ada"): 5200}  # the one that was cut off by what it was sent
    await asyncio.to_thread(books.stop)


async def test_what_calls_hold_meanwhile_is_not_lost(tmp_path: Path, store: SqliteStore) -> None:
    books, budgets, now = ledger(tmp_path, store), Budgets(lambda crossing: None), time.time()
    rule = Rule("key", "*", Budget(NANO_PER_USD, "month"))
    book(books, budgets, 1, "ada", NANO_PER_USD // 2, now)
    await refill(budgets, [rule], books, now)
    price = Price("v", ((0, Rates()),), per_request_nano=NANO_PER_USD // 2)
    place = Deployment("a", "p", "openai", "m", "openai", b"", (), price=price)
    plan = Plan("chat", "in_order", frozenset("a"), (place,))
    trace = Trace(Call("held", "chat", "chat", b""), Principal("ada"), 0.0, Pairings(0), now)
    budgets.reserve(trace, plan, 1, 1, until=1.0)
    await refill(budgets, [rule, Rule("overall", "overall", BIG)], books, now)
    with pytest.raises(BudgetExceeded):
        budgets.reserve(trace, plan, 1, 1, until=1.0)
    await asyncio.to_thread(books.stop)


async def test_books_that_cannot_be_read_are_asked_again(tmp_path: Path, store: SqliteStore) -> None:
    books, budgets, now = ledger(tmp_path, store), Budgets(lambda crossing: None), time.time()
    rule = Rule("key", "ada", Budget(1000, "month"))
    book(books, budgets, 1, "ada", 900, now)
    told, store.sums = store.sums, lambda *asked: (_ for _ in ()).throw(StoreUnavailable("gone"))  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await refill(budgets, [rule], books, now)
    assert budgets.waiting
    book(books, budgets, 2, "ada", 50, now)
    store.sums = told  # type: ignore[method-assign]
    await refill(budgets, budgets.rules, books, now)
    assert (sums(budgets), budgets.waiting) == ({("key", "ada"): 950}, False)
    await asyncio.to_thread(books.stop)


async def test_a_line_is_drawn_while_the_mover_is_at_work_and_given_up_when_cancelled(
    tmp_path: Path, store: SqliteStore
) -> None:
    books, budgets = ledger(tmp_path, store), Budgets(lambda crossing: None)
    lock = books.mover._one_at_a_time
    lock.acquire()
    drawing = asyncio.create_task(refill(budgets, [Rule("key", "*", BIG)], books, time.time()))
    await asyncio.sleep(0)
    assert not budgets.active
    drawing.cancel()
    await asyncio.wait([drawing])
    lock.release()
    await refill(budgets, [Rule("key", "*", BIG)], books, time.time())
    await until(lambda: not lock.locked())
    await asyncio.to_thread(books.stop)
