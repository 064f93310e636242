"""The last minutes, as differences of what the counters stood at."""

from __future__ import annotations

import pytest

from gateway.core.money import Usage
from gateway.telemetry.history import History, quantile
from gateway.telemetry.metrics import Metrics


def record(metrics: Metrics, deployment: str, *, status: int = 200, reason: str = "", ttft_s: float = 0.15) -> None:
    usage = Usage(fresh_input=100, cached_input=20, output_text=40, reasoning=10)
    metrics.record_call(
        "chat", deployment, "red", status, reason, usage=usage, nano_usd=1_000_000, cache="miss", ttft_s=ttft_s
    )


def test_a_step_is_what_the_counters_grew_by_over_its_time() -> None:
    metrics = Metrics()
    record(metrics, "near")  # before the first reading: no part of any step
    history = History(metrics)
    history.read(100.0)
    for _ in range(6):
        record(metrics, "near")
    record(metrics, "far", status=502, reason="connect")
    history.read(102.0)
    history.read(104.0)
    busy, idle = history.steps()
    assert (busy.at, busy.calls, busy.errors) == (102.0, 3.5, 0.5)
    assert (busy.tokens_in, busy.tokens_out) == (7 * 120 / 2, 7 * 50 / 2)
    assert busy.usd == pytest.approx(7e-3 / 2)
    assert (busy.hits, busy.misses) == (0.0, 3.5)
    assert (idle.calls, idle.errors, idle.tokens_out, idle.usd) == (0, 0, 0, 0)


def test_deployments_and_errors_are_of_the_time_that_was_asked_for() -> None:
    metrics = Metrics()
    history = History(metrics)
    history.read(0.0)
    record(metrics, "near", status=429, reason="rate_limited")
    history.read(10.0)
    record(metrics, "near", ttft_s=0.25)
    record(metrics, "far", status=502, reason="connect")
    record(metrics, "far", status=502, reason="connect")
    history.read(20.0)
    far, near = history.deployments(10.0)
    assert (far["deployment"], far["calls"], far["errors"]) == ("far", 2, 2)
    assert (near["calls"], near["errors"], near["tokens_out_per_s"]) == (1, 0, 5.0)
    assert 0.2 < near["ttft_p50_s"] <= 0.3
    assert near["tpot_p50_s"] is None
    assert history.errors(10.0) == [{"deployment": "far", "status": 502, "reason": "connect", "calls": 2}]
    assert len(history.errors(60.0)) == 2  # no more than there is


def test_so_many_steps_are_kept_and_a_clock_set_back_begins_none() -> None:
    history = History(Metrics(), steps=3)
    for at in (1.0, 2.0, 3.0, 2.5, 4.0, 5.0, 6.0):
        history.read(at)
    assert [step.at for step in history.steps()] == [4.0, 5.0, 6.0]
    assert History(Metrics()).deployments(60.0) == History(Metrics()).errors(60.0) == []


@pytest.mark.parametrize(
    ("counts", "share", "found"),
    [
        ((0, 0, 0), 0.5, None),
        ((10, 0, 0), 0.5, 0.5),
        ((0, 10, 0), 0.5, 1.5),
        ((5, 5, 0), 0.5, 1.0),
        ((0, 0, 4), 0.9, 2.0),
    ],
)
def test_quantiles_lie_within_their_bucket(counts: tuple[int, ...], share: float, found: float | None) -> None:
    assert quantile((1.0, 2.0), counts, share) == found
