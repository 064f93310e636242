"""A million receipts in SQLite: what writing them costs, and how long each question takes, at rest and under load.

`python tests/bench/costs.py [--receipts N] [--store FILE]`: fills a store the way the gateway does (journal, mover,
store), folds its sums, then asks: alone, and while 2,000 receipts a second are being written in the same process. Times
are of the whole question, from its parameters to its answer; beside them the CPU time of the thread that asks, which a
busy machine does not change. A file that is there already is asked as it is.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from gateway.accounting.journal import Journal  # noqa: E402
from gateway.accounting.ledger import Ledger, journal_beside  # noqa: E402
from gateway.accounting.receipts import AttemptLine, Receipt  # noqa: E402
from gateway.state.sqlite import SqliteStore  # noqa: E402
from gateway.wiring.accounts import Accounts, Owned  # noqa: E402

DAYS = 30
RATE = 2000
TIMES = 5
WANTED_MS = 300.0
_DAY_S = 86_400
# Calls by hour of the day, as offices make them.
_BUSY = (1, 1, 1, 1, 1, 2, 4, 8, 12, 14, 14, 13, 11, 13, 14, 13, 12, 9, 6, 4, 3, 2, 2, 1)
_TEAMS = [f"team-{number:02d}" for number in range(12)]
_USERS = [
    (f"user-{number:04d}", f"key-{number % 60:02d}", _TEAMS[number % 12], (("product", f"p{number % 5}"),))
    for number in range(2000)
]
_MODELS = ["chat", "smart", "auto", "gpt-mini", "haiku", "qwen", "small", "gpt"]
_PLACES = [
    ("gpt-mini", "openai"),
    ("haiku", "anthropic"),
    ("qwen", "lab"),
    ("small", "mistral"),
    ("gpt", "openai"),
    ("azure-mini", "azure"),
]


def receipts(count: int, since: float, until: float, dice: random.Random, prefix: str) -> Iterator[Receipt]:
    """Makes receipts of a team of teams, in the order of time: each user has a key, three models and four places."""
    hours = [since + number * 3600 for number in range(int((until - since) / 3600))] or [since]
    weights = [_BUSY[int(hour // 3600) % 24] for hour in hours]
    moments = sorted(hour + dice.random() * 3600 for hour in dice.choices(hours, weights, k=count))
    for number, moment in enumerate(moments):
        who = dice.randrange(len(_USERS))
        user, key, team, tags = _USERS[who]
        model = _MODELS[(who + dice.randrange(3)) % len(_MODELS)]
        deployment, provider = _PLACES[(who + dice.randrange(4)) % len(_PLACES)]
        fresh, output = dice.randrange(200, 4000), dice.randrange(20, 900)
        cost = {"fresh_input": fresh * 250, "output_text": output * 2000}
        failed = dice.random() < 0.03
        yield Receipt(
            id=f"req_{prefix}{number:012x}",
            time=moment,
            key=key,
            status=dice.choice((429, 499, 502)) if failed else 200,
            reason="timeout" if failed else None,
            team=team,
            user=user,
            tags=tags,
            route="chat",
            deployment=deployment,
            provider=provider,
            model=model,
            sensitivity=("internal", "internal", "confidential")[dice.randrange(3)],
            tokens={"fresh_input": fresh, "output_text": output},
            cost=cost,
            cost_nano=sum(cost.values()),
            dearest_nano=3 * sum(cost.values()),
            list_nano=sum(cost.values()),
            price_version="0123456789abcdef",
            ttft_us=300_000,
            tpot_us=8_000,
            e2e_us=dice.randrange(500_000, 9_000_000),
            raw_usage=msgspec.Raw(b'{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}'),
            attempts=(AttemptLine(f"{deployment}#0", deployment, provider, status=200, e2e_us=4_000_000),),
            decision={
                "route": "chat",
                "pick": "cheapest",
                "chosen": deployment,
                "candidates": [name for name, _ in _PLACES],
                "scores": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
                "removed": [{"deployment": "gpt", "rule": "price-cap", "why": "output 10.00 > 5.00"}],
                "sensitivity": "internal",
                "causes": [],
            },
        )


def fill(store: SqliteStore, ledger: Ledger, count: int, since: float, until: float) -> None:
    """Writes receipts through the journal, and says what moving them cost."""
    moving_s = cpu_s = 0.0
    for number, receipt in enumerate(receipts(count, since, until, random.Random(1), "")):
        ledger.close(receipt)
        if number % 2000 == 1999 or number == count - 1:  # what a second brings at 2,000 calls a second
            began, worked = time.perf_counter(), time.thread_time()
            ledger.mover.move()
            moving_s += time.perf_counter() - began
            cpu_s += time.thread_time() - worked
            if number % 100_000 == 99_999:
                print(f"  {number + 1:,} receipts", file=sys.stderr)
    print(f"moved to the store: {1e6 * cpu_s / count:.1f} us of CPU a receipt, {count / moving_s:,.0f} a second")
    began, folds = time.perf_counter(), 0
    while store.fold_rollups(until):
        folds += 1
    print(f"folded {folds} hours and days: {time.perf_counter() - began:.1f} s")


def questions(accounts: Accounts, since: str, until: str) -> dict[str, Callable[[], object]]:
    """Returns what pages ask, by name."""
    month = {"since": since, "until": until}
    berlin = {**month, "tz": "Europe/Berlin"}

    def costs(**parameters: str) -> Callable[[], object]:
        return lambda: accounts.costs(parameters.items())

    def log(**parameters: str) -> Callable[[], object]:
        return lambda: accounts.log((month | parameters).items())

    return {
        "the month by day": costs(group_by="day", **month),
        "by day and team": costs(group_by="day", split_by="team", **month),
        "by day and team, Berlin": costs(group_by="day", split_by="team", **berlin),
        "by day and team, Kolkata": costs(group_by="day", split_by="team", **month, tz="Asia/Kolkata"),
        "by day and team, Los Angeles": costs(group_by="day", split_by="team", **month, tz="America/Los_Angeles"),
        "by day and key, Berlin": costs(group_by="day", split_by="key", **berlin),
        "by day and user, the ten dearest": costs(group_by="day", split_by="user", limit="10", **berlin),
        "by hour and model": costs(group_by="hour", split_by="model", **month),
        "by month": costs(group_by="month", **berlin),
        "by model": costs(group_by="model", **month),
        "by user, all 2,000": costs(group_by="user", limit="5000", **month),
        "by a tag": costs(group_by="tag:product", **month),
        "by team and model": costs(group_by="team", split_by="model", **month),
        "by key and model": costs(group_by="key", split_by="model", **month),
        "by user and model": costs(group_by="user", split_by="model", **month),
        "a user's models by day": costs(group_by="day", split_by="model", user="user-0007", **berlin),
        "a team's models by day": costs(group_by="day", split_by="model", team="team-07", **berlin),
        "summary, savings, unit costs": lambda: accounts.summary(month.items()),
        "movers by team": lambda: accounts.movers([("group_by", "team"), ("since", since), ("until", until)]),
        "log: the newest": log(),
        "log: of a team": log(team="team-07"),
        "log: of a user": log(user="user-0007"),
        "log: of nobody": log(user="nobody"),
        "log: failed with 502": log(status="502"),
        "log: of a user, failed": log(user="user-0007", status="error"),
        "log: over $0.0027": log(min_usd="0.0027"),
        "log: over $1, which none is": log(min_usd="1"),
        "log: slow, of a team": log(min_e2e="8900ms", team="team-03"),
    }


def timed(asked: dict[str, Callable[[], object]]) -> dict[str, tuple[float, float, float]]:
    """Asks each question a few times; returns the median and the longest time, and the median of CPU, in ms."""
    found = {}
    for name, ask in asked.items():
        ask()
        took, worked = [], []
        for _ in range(TIMES):
            began, cpu = time.perf_counter(), time.thread_time()
            ask()
            took.append(1e3 * (time.perf_counter() - began))
            worked.append(1e3 * (time.thread_time() - cpu))
        found[name] = statistics.median(took), max(took), statistics.median(worked)
    return found


def write_on(ledger: Ledger, stopped: threading.Event) -> int:
    """Writes RATE receipts a second until it is told to stop; returns how many."""
    dice, written, now = random.Random(2), 0, time.time()
    made = list(receipts(5 * RATE, now - 3600, now, dice, "x"))
    began = time.monotonic()
    while not stopped.wait(0.01):
        for _ in range(min(RATE // 10, int((time.monotonic() - began) * RATE) - written)):
            receipt = made[written % len(made)]
            ledger.close(msgspec.structs.replace(receipt, id=f"req_y{written:012x}", time=time.time()))
            written += 1
    print(f"meanwhile {written / (time.monotonic() - began):,.0f} receipts a second were written")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receipts", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path, help="keep it here, or ask the one that is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.store or Path(folder) / "headgate.db"
        fresh = not file.exists()
        store = SqliteStore(file)
        ledger = Ledger(Journal(journal_beside(file)), store)
        until = time.time() // _DAY_S * _DAY_S
        if fresh:
            fill(store, ledger, options.receipts, until - DAYS * _DAY_S, until)
        accounts = Accounts(store, ledger.settle, lambda: Owned(("lab",)))
        asked = questions(accounts, f"{DAYS}d", "1m")
        alone = timed(asked)
        ledger.start()
        stopped = threading.Event()
        writer = threading.Thread(target=write_on, args=(ledger, stopped))
        writer.start()
        time.sleep(2)
        loaded = timed(asked)
        stopped.set()
        writer.join()
        ledger.stop()
        store.close()
    print("\n| | alone, ms | CPU | while 2,000 a second are written | CPU |\n|---|---:|---:|---:|---:|")
    over = 0
    for name in asked:
        (middle, _, cpu), (busy, longest, busy_cpu) = alone[name], loaded[name]
        over += busy > WANTED_MS
        print(f"| {name} | {middle:.0f} | {cpu:.0f} | {busy:.0f} (at most {longest:.0f}) | {busy_cpu:.0f} |")
    print(f"\n{over} of {len(asked)} took more than {WANTED_MS:.0f} ms while receipts were written")
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
