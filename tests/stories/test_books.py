"""What calls cost and why they went where they went, as told to those who run the gateway."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from typing import Any

import pytest

from gateway.simulator import Fault
from tests.patience import until
from tests.stories.house import ADMIN_KEY, World, at

SUMMED = ("calls", "errors", "cached", "nano_usd", "unpriced")


def keys(*callers: tuple[str, str | None, dict[str, str]]) -> dict[str, Any]:
    """Returns the sections of a config that asks for keys: `hg-NAME` for each name, team, tags."""
    return {
        "auth": "keys",
        "teams": {team: {} for _, team, _ in callers if team is not None},
        "keys": [
            {
                "name": name,
                "hash": f"sha256:{hashlib.sha256(f'hg-{name}'.encode()).hexdigest()}",
                "tags": tags,
                **({"team": team} if team is not None else {}),
            }
            for name, team, tags in callers
        ],
    }


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer hg-{name}"}


async def costs(world: World, query: str) -> dict[str, Any]:
    got = await world.get(f"/admin/costs?{query}")
    assert got.status == 200, got.text
    told: dict[str, Any] = got.json
    return told


async def test_costs_by_deployment_are_the_sum_of_the_receipts(world: World) -> None:
    one, two = await world.simulator(), await world.simulator()
    places = {
        "books-one": at(one, price={"input": "0.15", "cached_input": "0.075", "output": "0.60"}),
        "books-two": at(two, price={"input": "3.00", "output": "15.00", "per_request": "0.01"}),
    }
    await world.serve(places)
    one.faults["demo"] = [None, None, *[Fault("reset")] * 3]
    answers = [await world.chat(model="books-one", stream=stream) for stream in (False, True, False)] + [
        await world.chat("x " * 4000, model="books-two") for _ in range(2)
    ]
    receipts = [await world.receipt(got.id) for got in answers]
    rows = {row["group"]: row for row in (await costs(world, "group_by=deployment&since=24h"))["rows"]}
    for name in places:
        own = [receipt for receipt in receipts if receipt["deployment"] == name]
        assert rows[name]["calls"] == len(own)
        assert rows[name]["errors"] == sum(receipt["status"] >= 400 for receipt in own)
        assert rows[name]["nano_usd"] == sum(receipt["cost_nano"] for receipt in own)
        tokens = [receipt.get("tokens", {}) for receipt in own]
        buckets = {bucket for used in tokens for bucket in used}
        assert rows[name]["tokens"] == {bucket: sum(used.get(bucket, 0) for used in tokens) for bucket in buckets}
    assert rows["books-one"]["errors"] == 1
    cached = receipts[-1]
    assert cached["tokens"]["cached_input"] > 1000
    assert cached["cost_nano"] == sum(cached["cost"].values())
    assert cached["cost"] == {
        "fresh_input": cached["tokens"]["fresh_input"] * 3000,
        "cached_input": cached["tokens"]["cached_input"] * 3000,
        "output_text": cached["tokens"]["output_text"] * 15000,
        "per_request": 10_000_000,
    }


@pytest.mark.parametrize(
    "group", ["hour", "day", "month", "team", "key", "user", "model", "deployment", "provider", "route", "tag:project"]
)
async def test_every_grouping_sums_to_the_same_total(world: World, group: str) -> None:
    provider = await world.simulator()
    callers = (("ada", "red", {"project": "crm"}), ("bob", "blue", {"project": "web"}), ("eve", None, {}))
    await world.serve({"books-groups": at(provider)}, **keys(*callers))
    for name, user in (("ada", "u1"), ("bob", None), ("bob", "u2"), ("eve", None)):
        assert (await world.chat(headers=bearer(name), **({"user": user} if user else {}))).status == 200
    assert (await world.chat(model="books-gruops", headers=bearer("eve"))).status == 404
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    filters = "deployment=books-groups&since=1h"
    told = (await world.get(f"/admin/costs?group_by={group}&{filters}", admin)).json
    whole = (await world.get(f"/admin/costs?group_by=deployment&{filters}", admin)).json
    for name in SUMMED:
        assert sum(row[name] for row in told["rows"]) == told["total"][name] == whole["total"][name]
    groups = {row["group"] for row in told["rows"]}
    if group == "tag:project":
        assert groups == {"crm", "web", "untagged"}
    if group == "team":
        assert groups == {"red", "blue", "-"}


async def test_costs_are_told_as_csv_too(world: World) -> None:
    await world.serve({"books-csv": at(await world.simulator())})
    await world.chat()
    got = await world.get("/admin/costs?group_by=deployment&since=1h&format=csv")
    assert got.headers["content-type"].startswith("text/csv")
    rows = {row["deployment"]: row for row in csv.DictReader(io.StringIO(got.text))}
    told = await costs(world, "group_by=deployment&since=1h")
    row = next(row for row in told["rows"] if row["group"] == "books-csv")
    assert (rows["books-csv"]["calls"], rows["books-csv"]["usd"]) == (str(row["calls"]), row["usd"])


@pytest.mark.parametrize(
    ("query", "param"),
    [("group_by=deploiment", "group_by"), ("since=yesterday", "since"), ("until=never", "until"), ("teem=red", "teem")],
)
async def test_a_word_that_costs_do_not_know_is_named(world: World, query: str, param: str) -> None:
    got = await world.get(f"/admin/costs?{query}")
    assert (got.status, got.error["param"]) == (400, param)


async def test_the_decision_of_a_call_just_made_is_told_as_a_sentence_and_as_data(world: World) -> None:
    hosted, own = await world.simulator(), await world.simulator()
    await world.serve({"hosted": at(hosted, location="us"), "own": at(own)})
    got = await world.chat("My number is 536-90-4399")
    told = (await world.get(f"/admin/decisions/{got.id}")).json
    assert told["id"] == got.id
    assert re.fullmatch(
        r"sent to own: the only one left; hosted removed by clearance \(.*restricted.*\); "
        r"restricted because of detector pii: .*",
        told["sentence"],
    )
    assert told["decision"]["chosen"] == "own"
    assert told["decision"]["removed"][0]["deployment"] == "hosted"
    assert told["receipt"]["id"] == got.id
    assert "536-90-4399" not in (await world.get(f"/admin/decisions/{got.id}")).text


async def test_an_unknown_decision_is_not_found(world: World) -> None:
    got = await world.get("/admin/decisions/req_nobody")
    assert (got.status, got.error["code"]) == (404, "decision_not_found")
    assert (await world.get("/admin/nothing")).error["code"] == "unknown_url"


async def shown(world: World, sample: str) -> None:
    """Waits until a sample is on the page of metrics."""

    async def there() -> bool:
        return sample in (await world.get("/metrics")).text.splitlines()

    await until(there)


async def test_metrics_parse_and_count(world: World) -> None:
    provider = await world.simulator()
    await world.serve({"books-metrics": at(provider)})
    provider.faults["demo"] = [None, None, *[Fault("reset")] * 3]
    answers = [await world.chat(stream=stream) for stream in (False, True)]
    await shown(world, f'headgate_upstream_connections{{origin="{provider.url}",state="active"}} 0')
    await shown(world, f'headgate_upstream_connections{{origin="{provider.url}",state="idle"}} 1')
    answers.append(await world.chat())
    assert [got.status for got in answers] == [200, 200, 502]
    page = await world.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? ([0-9.e+-]+|\+Inf|NaN)')
    typed: set[str] = set()
    values: dict[str, float] = {}
    for line in page.text.splitlines():
        if line.startswith("# TYPE "):
            typed.add(line.split()[2])
        elif line and not line.startswith("#"):
            match = sample.fullmatch(line)
            assert match, line
            family = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in typed or family in typed, line
            assert match[1].startswith("headgate_")
            values[match[1] + (match[2] or "")] = float(match[3])
    calls = {
        key: value for key, value in values.items() if key.startswith("headgate_calls_total") and "books-metrics" in key
    }
    assert sorted(calls.values()) == [1, 2]
    assert any('status="502"' in key and 'reason="connect"' in key for key in calls)
    receipts = [await world.receipt(got.id) for got in answers]
    spent = sum(receipt["cost_nano"] for receipt in receipts)
    found = [key for key in values if key.startswith("headgate_cost_nano_usd_total") and "books-metrics" in key]
    assert [values[key] for key in found] == [spent]
    assert values['headgate_failed_attempts_total{deployment="books-metrics",reason="connect"}'] >= 1
    assert values["headgate_cache_bytes"] >= values["headgate_cache_entries"] >= 0
    ttft = 'headgate_time_to_first_token_seconds_count{deployment="books-metrics"}'
    assert values[ttft] == 1
