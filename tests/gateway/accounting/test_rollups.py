"""Every grouping, filter and time zone sums to what its receipts say, to the nano-dollar."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.accounting.costs import CostsQuery, costs, query_of
from gateway.accounting.receipt_log import log_page, log_query_of
from gateway.accounting.receipts import Receipt, row_of
from gateway.core.money import BUCKETS
from gateway.state import rollups
from gateway.state.books import DIMENSIONS, LogQuestion, Where
from gateway.state.protocols import Store

DAY = 86_400
ERA = 400 * DAY  # each example has a time of its own in the one store
ZONES = ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Pacific/Auckland", "Asia/Kathmandu"]
eras = itertools.count(1)

names = st.none() | st.sampled_from(["a", "b", "-", "untagged", "others", "ü'\""])
moments = st.floats(0, 5 * DAY, exclude_max=True) | st.integers(0, 5 * 96 - 1).map(lambda quarter: quarter * 900.0)
receipts = st.builds(
    Receipt,
    id=st.just(""),
    time=moments,
    key=st.sampled_from(["alice", "bob"]),
    status=st.sampled_from([200, 429, 502]),
    team=names,
    user=names,
    tags=st.dictionaries(st.sampled_from(["project", "other"]), st.sampled_from(["x", "y", ""])).map(
        lambda tags: tuple(sorted(tags.items()))
    ),
    route=names,
    deployment=names,
    provider=names,
    model=names,
    sensitivity=names,
    tokens=st.dictionaries(st.sampled_from(BUCKETS), st.integers(1, 10**12), max_size=3),
    cost=st.dictionaries(st.sampled_from([*BUCKETS, "per_request"]), st.integers(1, 10**14), max_size=3),
    cost_nano=st.none() | st.integers(0, 10**15),
    saved_nano=st.none() | st.integers(0, 10**15),
    dearest_nano=st.none() | st.integers(0, 10**15),
    list_nano=st.none() | st.integers(0, 10**15),
    spilled=st.booleans(),
    estimated=st.booleans(),
    cache=st.sampled_from(["-", "hit", "miss"]),
)
words = st.sampled_from(["hour", "day", "week", "month", "6h", *DIMENSIONS, "tag:project", "tag:nobody has this"])
TIMES = ("hour", "day", "week", "month", "6h")


def in_era(written: list[Receipt], era: int, first: int) -> list[Receipt]:
    return [
        msgspec.structs.replace(each, id=f"{era}-{first + number}", time=each.time + era * ERA)
        for number, each in enumerate(written)
    ]


def named(word: str, receipt: Receipt, tz: str, since: int) -> str:
    """What a receipt's group is called, worked out from the receipt alone."""
    local = datetime.fromtimestamp(receipt.time, ZoneInfo(tz))
    if word == "hour":
        begun = max(
            datetime.fromtimestamp(since, ZoneInfo(tz)).replace(minute=0),
            local.replace(minute=0, second=0, microsecond=0),
        )
        return begun.isoformat(timespec="minutes").replace("+00:00", "Z")
    if word == "6h":
        step = since + (receipt.time - since) // 21600 * 21600
        return datetime.fromtimestamp(step, ZoneInfo(tz)).isoformat(timespec="minutes").replace("+00:00", "Z")
    if word in TIMES:
        week = "{}-W{:02}".format(*local.isocalendar())
        return {"day": f"{local:%Y-%m-%d}", "week": week, "month": f"{local:%Y-%m}"}[word]
    if word.startswith("tag:"):
        return dict(receipt.tags).get(word.removeprefix("tag:"), "untagged")
    value = getattr(receipt, word)
    return "-" if value is None else value


def value_of(word: str, receipt: Receipt) -> str | None:
    if word.startswith("tag:"):
        return dict(receipt.tags).get(word.removeprefix("tag:"))
    value: str | None = getattr(receipt, word)
    return value


def sums_of(written: list[Receipt]) -> dict[str, Any]:
    tokens = {bucket: sum(each.tokens.get(bucket, 0) for each in written) for bucket in BUCKETS}
    nano = sum(each.cost_nano or 0 for each in written)
    cost = {bucket: sum(each.cost.get(bucket, 0) for each in written) for bucket in BUCKETS}
    cost["other"] = nano - sum(cost.values())
    return {
        "calls": len(written),
        "errors": sum(each.status >= 400 for each in written),
        "cached": sum(each.cache == "hit" for each in written),
        "unpriced": sum(each.cost_nano is None for each in written),
        "tokens": {bucket: count for bucket, count in tokens.items() if count},
        "cost": {bucket: count for bucket, count in cost.items() if count},
        "nano_usd": nano,
    }


def told(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in sums_of([])}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(receipts, max_size=25), st.lists(receipts, max_size=3), st.data())
def test_every_grouping_filter_and_zone_sums_to_its_receipts(
    store: Store, early: list[Receipt], late: list[Receipt], data: st.DataObject
) -> None:
    era = next(eras)
    early, late = in_era(early, era, 0), in_era(late, era, len(early))
    add(store, early)
    folded = data.draw(st.sampled_from([0, 2 * DAY + 5 * 3600, 20 * DAY]), "folded before")
    while store.fold_rollups(era * ERA + folded):
        pass
    add(store, late)
    add(store, early[:2])  # which are there already
    if data.draw(st.booleans(), "rebuilt"):
        store.rebuild_rollups()
        while store.fold_rollups(era * ERA + folded):
            pass
    for _ in range(4):
        group, split = data.draw(words, "group"), data.draw(st.none() | words, "split")
        if split == group or (group in TIMES and split in TIMES):
            split = None
        tz = data.draw(st.sampled_from(ZONES), "zone")
        since = era * ERA + data.draw(st.integers(-2, 4 * 96), "since") * 900
        until = since + data.draw(st.integers(0, 5 * 96), "length") * 900
        where: Where = data.draw(conditions, "where")
        asked = [
            each
            for each in [*early, *late]
            if since <= each.time < until and all(value_of(name, each) in values for name, values in where)
        ]
        answer = costs(store, CostsQuery(group, since, until, where, split, tz))
        expected = defaultdict(list)
        for each in asked:
            place = (named(group, each, tz, since), None if split is None else named(split, each, tz, since))
            expected[place].append(each)
        rows: dict[Any, list[Any]] = defaultdict(list)
        for row in answer.rows:
            rows[row.group, row.split].append(row)
        assert rows.keys() == expected.keys()
        for place, found in rows.items():  # two, where a name is also what stands for none
            assert sum(row.nano_usd for row in found) == sums_of(expected[place])["nano_usd"]
            if len(found) == 1:
                assert told(found[0]) == sums_of(expected[place])
        assert told(answer.total) == sums_of(asked)


conditions = st.lists(
    st.tuples(
        st.sampled_from([*DIMENSIONS, "tag:project"]),
        st.lists(st.sampled_from(["a", "b", "x", "alice", None]), min_size=1, max_size=3, unique=True).map(tuple),
    ),
    max_size=2,
    unique_by=lambda condition: condition[0],
).map(tuple)


def add(store: Store, written: list[Receipt]) -> None:
    store.add_receipts([row_of(msgspec.json.encode(each)) for each in written])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(receipts, max_size=25), st.sampled_from(["user", "tag:project"]), st.integers(1, 3), st.data())
def test_what_is_beyond_the_limit_is_one_row_and_in_the_sum(
    store: Store, written: list[Receipt], dimension: str, limit: int, data: st.DataObject
) -> None:
    era = next(eras)
    written = in_era(written, era, 0)
    add(store, written)
    other = data.draw(st.sampled_from(["day", "model", "key", None]))
    group, split = (other, dimension) if other is not None else (dimension, None)
    answer = costs(store, CostsQuery(group, era * ERA, (era + 1) * ERA, (), split, limit=limit))
    assert told(answer.total) == sums_of(written)
    values = {value_of(dimension, each) for each in written}
    one_by_one = {(row.group if split is None else row.split) for row in answer.rows if not row.others}
    if other not in ("model", "key"):
        assert len(one_by_one) == min(limit, len({"-" if each is None else each for each in values})) or values & {"-"}
        assert any(row.others for row in answer.rows) == (len(values) > limit)
    assert all(row.receipts is None for row in answer.rows if row.others)


def test_each_row_opens_the_receipts_that_it_is_the_sum_of(store: Store) -> None:
    base = 1_795_132_800
    add(
        store,
        [
            Receipt(
                f"r{n}", base + n * 4000.0, "alice", 200, ("sales", "a&b", None)[n % 3], model=f"m{n % 2}", cost_nano=n
            )
            for n in range(40)
        ],
    )
    parameters = {"group_by": "day", "split_by": "team", "since": "2d", "tz": "Europe/Berlin", "model": "m1"}
    rows = costs(store, query_of(parameters, base + 2 * DAY)).rows
    assert len(rows) == 6
    for row in rows:
        page = log_page(store, log_query_of(parse_qsl(row.receipts or ""), base))
        assert sum(each.nano_usd for each in page.receipts) == row.nano_usd
        assert len(page.receipts) == row.calls > 0


@pytest.mark.parametrize("few", [0, 10**9])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(receipts, max_size=30), conditions, st.integers(1, 7), st.data())
def test_the_log_lists_what_matches_once_the_newest_first(
    store: Store, few: int, written: list[Receipt], where: Where, limit: int, data: st.DataObject
) -> None:
    era = next(eras)
    written = in_era(written, era, 0)
    add(store, written)
    least = data.draw(st.none() | st.integers(0, 10**15))
    statuses = data.draw(st.sampled_from([(), ((400, 499),), ((429, 429), (502, 502))]))
    cached = data.draw(st.none() | st.booleans())
    expected = [
        each.id
        for each in sorted(written, key=lambda each: (each.time, each.id), reverse=True)
        if all(value_of(name, each) in values for name, values in where)
        and (least is None or (each.cost_nano or 0) >= least)
        and (not statuses or any(low <= each.status <= high for low, high in statuses))
        and (cached is None or (each.cache == "hit") == cached)
    ]
    listed: list[str] = []
    before = None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rollups, "FEW", few)
        while True:
            page = store.log(
                LogQuestion(
                    era * ERA,
                    (era + 1) * ERA,
                    where,
                    statuses,
                    cached=cached,
                    min_nano=least,
                    before=before,
                    limit=limit,
                )
            )
            if not page:
                break
            assert len(page) <= limit
            listed += [row.id for row in page]
            before = page[-1].time, page[-1].id
    assert listed == expected
