"""The made-up month is the same each time, adds up, and breaks none of the gateway's own laws."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.accounting.costs import CostsQuery, costs
from gateway.accounting.trace import Trace
from gateway.cli.demo_folder import CONFIG, eras, owners
from gateway.core.money import Price, Usage, charge
from gateway.core.types import Principal
from gateway.demo import KEYS, WORKLOADS, Month
from gateway.demo.chance import is_outage
from gateway.demo.rhythm import DAY_S
from gateway.snapshot import Snapshot
from gateway.state.protocols import ReceiptRow
from gateway.state.sqlite import SqliteStore
from gateway.wiring.runtime import read_config

UNTIL = 1_795_737_600.0  # 2026-11-27T00:00:00Z, a Friday
CALLS = 6000


class Company(NamedTuple):
    """The configs that served, and whom the keys stand for."""

    served: list[tuple[float, Snapshot]]
    principals: Mapping[str, Principal]

    def month(self, seed: int = 1, calls: int = CALLS) -> Month:
        """Returns a month in which the growth team may spend as much less a day as it calls less."""
        return Month(self.served, self.principals, UNTIL, seed=seed, calls=calls, daily_usd=4.0 * calls / 60_000)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    folder = tmp_path_factory.mktemp("demo")
    (folder / "config.yaml").write_text(CONFIG.read_text())
    environ = {f"DEMO_{name}": f"http://127.0.0.1:{port}" for port, name in enumerate(("HOSTED", "GPU_1", "GPU_2"), 1)}
    environ |= {"DEMO_KEY": "demo", "DEMO_FOLDER": str(folder)}
    loaded = read_config(folder / "config.yaml", environ)
    assert loaded.warnings == ()
    return Company(eras(folder, environ, UNTIL), owners(loaded))


@pytest.fixture(scope="module")
def traces(company: Company) -> list[Trace]:
    return [trace for trace, _ in company.month().traces()]


@pytest.fixture(scope="module")
def rows(company: Company) -> list[ReceiptRow]:
    return list(company.month().rows())


def test_the_same_seed_and_end_make_the_same_month(company: Company, rows: list[ReceiptRow]) -> None:
    assert list(company.month().rows()) == rows
    assert list(company.month(seed=2, calls=500).rows()) != list(company.month(calls=500).rows())


def test_ids_are_unlike_and_times_are_in_order_within_the_month(rows: list[ReceiptRow]) -> None:
    assert len({row.id for row in rows}) == len(rows) == CALLS
    times = [row.time for row in rows]
    assert times == sorted(times)
    assert times[0] >= UNTIL - 30 * DAY_S
    assert times[-1] < UNTIL
    assert sum(time >= UNTIL - DAY_S for time in times) > CALLS / 60  # the last day is full


def test_every_cost_is_usage_times_the_price_that_it_names(company: Company, rows: list[ReceiptRow]) -> None:
    prices: dict[str, Price] = {}
    for _, snapshot in company.served:
        prices |= {each.price.version: each.price for each in snapshot.deployments if each.price is not None}
    charged = 0
    for row in rows:
        receipt = json.loads(row.body)
        failed = sum(line.get("cost_nano", 0) for line in receipt.get("attempts", ()))
        if (version := receipt.get("price_version")) is not None:
            cost = charge(Usage(**receipt.get("tokens", {})), prices[version])
            assert (cost.lines, cost.nano_usd + failed) == (receipt.get("cost", {}), receipt["cost_nano"])
            charged += 1
        for line in receipt.get("attempts", ()):
            assert sum(line.get("cost", {}).values()) == line.get("cost_nano", 0)
        assert row.unpriced == (receipt.get("cost_nano") is None)
    assert charged > CALLS / 2


def test_nobody_is_asked_who_is_not_permitted_or_may_not_see_the_call(traces: list[Trace]) -> None:
    for trace in traces:
        plan, sensitivity = trace.plan, trace.sensitivity
        assert sensitivity is not None
        if plan is None:
            assert (trace.attempts, trace.answered_by) == ([], None)
            continue
        assert {each.name for each in plan.candidates} <= plan.permitted
        assert {line.deployment for line in trace.attempts} <= plan.permitted
        assert plan.permitted.isdisjoint(each.deployment for each in plan.removed if each.rule == "clearance")
        if trace.answered_by is not None:
            assert trace.answered_by.name in plan.permitted
            assert trace.answered_by.clearance >= sensitivity.level
        if trace.principal.team == "support-eu" and trace.answered_by is not None:
            assert trace.answered_by.location in ("self_hosted", "eu")


def test_the_month_has_what_the_pages_are_to_show(
    company: Company, traces: list[Trace], rows: list[ReceiptRow]
) -> None:
    teams = {owner.team for owner in KEYS}
    assert {row.team for row in rows} == teams
    assert {row.key for row in rows} == {workload.key for workload in WORKLOADS}
    assert {each.name for each in company.served[0][1].deployments} <= {row.deployment for row in rows}
    statuses = Counter(row.status for row in rows)
    assert min(statuses[200], statuses[403], statuses[429], statuses[499]) > 0
    assert sum(row.cached for row in rows) > CALLS / 50
    assert sum(row.estimated for row in rows) > 10
    assert sum(row.unpriced for row in rows) > 5
    over = [row for row in rows if '"budget_exceeded"' in row.body]
    assert {(row.team, row.status, row.nano_usd) for row in over} == {("growth", 429, 0)}
    versions = {row.price_version for row in rows if row.deployment == "gpt" and row.price_version}
    assert len(versions) == 2  # the price that went down
    away = [trace for trace in traces if is_outage(trace.time, UNTIL) and trace.call.model == "smart" and trace.plan]
    assert any(line.reason in ("overloaded", "timeout") for trace in away for line in trace.attempts)
    assert any(trace.answered_by and trace.answered_by.name == "gpt" for trace in away)
    first = sum(row.time < UNTIL - 23 * DAY_S for row in rows)
    assert sum(row.time >= UNTIL - 7 * DAY_S for row in rows) > 1.1 * first  # growth


def test_every_grouping_of_the_store_sums_to_the_receipts(
    company: Company, rows: list[ReceiptRow], tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path / "headgate.db")
    try:
        store.add_receipts(rows)
        whole = sum(row.nano_usd for row in rows)
        for group in (
            "day",
            "hour",
            "team",
            "key",
            "user",
            "model",
            "deployment",
            "route",
            "sensitivity",
            "tag:project",
        ):
            answer = costs(store, CostsQuery(group, UNTIL - 60 * DAY_S, UNTIL))
            assert answer.total.nano_usd == sum(each.nano_usd for each in answer.rows) == whole, group
            assert answer.total.calls == len(rows), group
    finally:
        store.close()
