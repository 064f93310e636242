"""Which replica has become slow: against its own past and its siblings, at the same load."""

from __future__ import annotations

import random

import pytest

from gateway.pool.health import Drift

PACE = 0.02


def play(drift: Drift, replica: str, tpot_s: float, seconds: int, running: int = 8, seed: int = 1) -> list[bool]:
    """Shows a replica for so long, its figures scattered as real ones are; returns where its standing changed."""
    draw = random.Random(f"{replica} {seed}")
    return [drift.observe(replica, running, tpot_s * draw.uniform(0.9, 1.15)) for _ in range(seconds)]


def steady(*replicas: str) -> Drift:
    drift = Drift(1.5, 20)
    for replica in replicas:
        assert not any(play(drift, replica, PACE, 100))
    return drift


def test_who_takes_longer_than_before_and_than_its_siblings_drifts_and_comes_back() -> None:
    drift = steady("a", "b", "c")
    assert sum(play(drift, "a", PACE * 2, 40)) == 1
    assert drift.drifting["a"] == pytest.approx(2.0, rel=0.1)
    play(drift, "a", PACE * 2, 1000)
    assert "a" in drift.drifting, "a slow spell does not become what is usual"
    assert sum(play(drift, "a", PACE, 40)) == 1
    assert not drift.drifting


def test_where_all_are_slower_nobody_drifts() -> None:
    drift = steady("a", "b", "c")
    for _ in range(100):
        for replica in "abc":
            assert not any(play(drift, replica, PACE * 2, 1))


def test_who_has_always_been_slower_does_not_drift() -> None:
    drift = steady("a", "b")
    assert not any(play(drift, "old", PACE * 3, 200))


def test_a_heavier_load_is_no_drift() -> None:
    drift = steady("a", "b")
    assert not any(play(drift, "a", PACE * 4, 200, running=200))


def test_single_slow_seconds_are_no_drift() -> None:
    drift = steady("a", "b")
    assert not any(drift.observe("a", 8, PACE * (50 if second % 3 == 0 else 1)) for second in range(300))


def test_a_lone_replica_is_held_against_its_past() -> None:
    drift = steady("a")
    assert any(play(drift, "a", PACE * 2, 40))


def test_too_few_figures_decide_nothing() -> None:
    drift = Drift(1.5, 20)
    assert not any(play(drift, "a", PACE, 25))
    assert not any(play(drift, "a", PACE * 5, 14))


def test_who_was_started_anew_has_no_past() -> None:
    drift = steady("a", "b")
    play(drift, "a", PACE * 2, 40)
    drift.forget("a")
    assert not drift.drifting
    assert not any(play(drift, "a", PACE * 2, 100))
