"""`kill -9` under load, at any moment: the laws hold over all runs of the gateway on one folder."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tests.patience import until
from tests.stories.house import House
from tests.storms.laws import check
from tests.storms.loads import CALLERS, UNHURRIED_S, Load
from tests.storms.places import Sky, StormyPlace, config_of

KILLS: Final = int(os.environ.get("HEADGATE_KILLS", "20"))
SEED: Final = int(os.environ.get("HEADGATE_STORM_SEED", "2026"))


def receipts(database: Path) -> list[dict[str, Any]]:
    """Returns every receipt of a store."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [msgspec.json.decode(body) for (body,) in connection.execute("SELECT body FROM receipts")]


async def test_kills_under_load_lose_no_receipt_and_make_none_twice(
    build: Callable[[], House], places: tuple[Sky, dict[str, list[StormyPlace]]]
) -> None:
    sky, standing = places
    draw = Random(SEED)
    house = build()
    house.write(config_of("calm", standing, house.folder, UNHURRIED_S))
    loads: list[Load] = []
    number = 1
    for _ in range(KILLS):
        await asyncio.to_thread(house.start)
        load = Load(sky, "127.0.0.1", urlsplit(house.url).port or 0, number, draw)
        loads.append(load)
        await until(lambda load=load: load.whole >= CALLERS or load.ended)
        await asyncio.sleep(draw.uniform(0.0, 0.2))
        house.kill()
        await load.end()
        number = load.next
    await asyncio.to_thread(house.start)  # books what the last kill left open
    assert await asyncio.to_thread(house.stop) == 0
    booked = {str(receipt["user"]): receipt for receipt in receipts(house.database)}
    happened: Counter[str] = Counter()
    for load in loads:
        past = load.past
        past.killed = True
        past.receipts = [booked.pop(call.user) for call in past.calls if call.user in booked]
        happened += check(past)
    assert not booked, "receipts of calls that nobody made"
    assert sum(load.whole for load in loads) >= KILLS * CALLERS
    assert happened["interrupted"] > KILLS
    assert not (house.folder / "journal" / "rejected").exists()
    assert "Traceback" not in house.told
    print(f"\nseed {SEED}, {KILLS} kills: {dict(happened.most_common())}")
