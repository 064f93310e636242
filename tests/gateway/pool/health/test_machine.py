"""The judgement on one replica: facts and times in, verdicts out."""

from __future__ import annotations

import pytest

from gateway.core.errors import Reason
from gateway.pool.health import Canary, Health, Probe, Settings, Standing, Verdict, What
from gateway.pool.health.machine import FIRST_RETRY_S, LONGEST_RETRY_S, TELLING
from gateway.pool.router import Gauges

SETTINGS = Settings(progress_s=60.0, misses=3, canary_s=30.0)


def page(steps: int, running: int = 0, waiting: int = 0, born_at: float = 7.0, asleep: bool = False) -> Gauges:
    return Gauges(0.0, running, waiting, born_at=born_at, steps=steps, asleep=asleep)


def whats(verdicts: list[Verdict]) -> list[str]:
    return [verdict.what.value for verdict in verdicts]


def hung(health: Health, until: float = 61.0, since: float = 0.0) -> list[Verdict]:
    """Shows an engine that has work and takes no step, second by second."""
    found = []
    for at in range(int(since), int(until) + 1):
        found += health.seen(page(5, running=2), 2, float(at))
    return found


def test_an_engine_with_work_that_takes_no_step_is_suspect_and_asked_for_a_token() -> None:
    health = Health(SETTINGS, 0.0)
    assert hung(health, 59.0) == []
    assert not health.send(59.0)
    assert hung(health, 60.0, since=60.0) == [Verdict(What.SUSPECT, "no step for 60 s with 2 calls in flight")]
    assert health.standing is Standing.SUSPECT
    assert health.send(60.0)
    assert not health.send(60.0), "one canary at a time"


def test_health_that_says_200_saves_no_hung_engine() -> None:
    health = Health(SETTINGS, 0.0)
    for at in range(60):
        assert health.probed(Probe.WELL, float(at)) == []
        assert health.seen(page(5, running=1), 0, float(at)) == []
    assert whats(health.seen(page(5, running=1), 0, 60.0)) == ["suspect"]
    assert health.send(60.0)
    assert health.seen(page(5, running=1), 0, 80.0) == []
    assert whats(health.tried(Canary.SILENT, 90.0)) == ["lost"]


def test_our_own_calls_in_flight_are_work_where_the_engine_tells_of_none() -> None:
    health = Health(SETTINGS, 0.0)
    assert [whats(health.seen(page(5), 1, at)) for at in (0.0, 30.0, 60.0)] == [[], [], ["suspect"]]


def test_an_idle_engine_takes_no_step_for_ever_and_is_good() -> None:
    health = Health(SETTINGS, 0.0)
    for at in range(0, 10_000, 10):
        assert health.seen(page(5), 0, float(at)) == []
    assert health.seen(page(5), 1, 10_000.0) == [], "the time counts from when work came"


def test_a_step_clears_a_suspect() -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert health.seen(page(6, running=2), 2, 62.0) == [Verdict(What.CLEARED, "it takes steps")]
    assert not health.send(63.0)


def test_an_answer_clears_a_suspect() -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert whats(health.heard(None, 62.0)) == ["cleared"]


def test_a_canary_that_sings_clears_a_suspect() -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert health.send(61.0)
    assert whats(health.tried(Canary.SANG, 61.1)) == ["cleared"]
    assert health.seen(page(5, running=2), 2, 100.0) == [], "the time counts anew"


@pytest.mark.parametrize("steps", [True, False])
def test_a_busy_engine_is_not_doubted_for_probes_that_it_misses(steps: bool) -> None:
    health = Health(SETTINGS, 0.0)
    found = []
    for at in range(0, 300, 10):
        found += health.probed(Probe.MISSED, float(at))
        found += health.seen(page(at if steps else 5, running=300), 300, float(at) + 1)
        if found:
            break
    assert whats(found) == ([] if steps else ["suspect"])


def test_a_busy_engine_is_not_lost_for_a_canary_that_waits_in_its_queue() -> None:
    health = Health(SETTINGS, 0.0)
    health.seen(page(5), 0, 0.0)
    health.heard(Reason.TIMEOUT, 10.0)
    assert health.send(10.0)
    health.seen(page(6, running=300, waiting=900), 300, 20.0)
    assert health.tried(Canary.SILENT, 40.0) == []
    assert health.standing is Standing.GOOD


def test_silence_bars_early_and_condemns_only_what_has_stood_still_as_long_as_it_may() -> None:
    health = Health(SETTINGS, 0.0)
    health.seen(page(5, running=1), 1, 0.0)
    health.heard(Reason.TIMEOUT, 1.0)
    assert health.send(1.0)
    assert whats(health.tried(Canary.SILENT, 31.0)) == ["suspect"]
    assert health.send(31.0)
    assert health.tried(Canary.SILENT, 59.0) == [], "59 s may be one long step"
    assert health.send(60.0)
    assert whats(health.tried(Canary.SILENT, 90.0)) == ["lost"]


def test_an_idle_engine_that_answers_no_canary_is_lost_all_the_same() -> None:
    health = Health(SETTINGS, 0.0)
    for at in (0.0, 5.0, 10.0):
        health.seen(page(5), 0, at)
    assert [whats(health.probed(Probe.MISSED, at)) for at in (11.0, 21.0, 31.0)] == [[], [], ["suspect"]]
    found, at = [], 31.0
    while not found and at < 300:
        assert health.send(at)
        at += 30.0
        health.seen(page(5), 0, at)
        found = health.tried(Canary.SILENT, at)
        at += 1.0
    assert whats(found) == ["lost"]


def test_an_address_that_is_gone_is_lost_with_the_second_canary() -> None:
    health = Health(SETTINGS, 0.0)
    health.heard(Reason.CONNECT, 5.0)
    assert health.send(5.0)
    assert whats(health.tried(Canary.GONE, 5.1)) == ["suspect"]
    assert health.send(5.1)
    assert whats(health.tried(Canary.GONE, 5.2)) == ["lost"]


def test_a_dead_engine_says_503_and_is_tried_at_once() -> None:
    health = Health(SETTINGS, 0.0)
    assert whats(health.probed(Probe.DEAD, 1.0)) == ["suspect"]
    assert health.send(1.0)


def test_a_page_that_is_not_there_says_nothing() -> None:
    health = Health(SETTINGS, 0.0)
    assert [health.probed(Probe.ABSENT, float(at)) for at in range(20)] == [[]] * 20


@pytest.mark.parametrize("reason", list(Reason))
def test_only_failures_that_speak_of_the_replica_ask_for_a_canary(reason: Reason) -> None:
    health = Health(SETTINGS, 0.0)
    assert health.heard(reason, 5.0) == []
    assert health.send(5.0) is (reason in TELLING)
    health.tried(Canary.SANG, 5.1)
    health.heard(reason, 5.2)
    assert not health.send(5.3), "not more often than once a second"


def test_who_cannot_be_tried_is_not_condemned() -> None:
    health = Health(SETTINGS, 0.0)
    health.probed(Probe.DEAD, 1.0)
    assert health.send(1.0)
    assert whats(health.tried(Canary.REFUSED, 1.1)) == ["cleared"]


def test_who_stands_still_and_cannot_be_tried_stays_suspect() -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert health.send(61.0)
    assert whats(health.tried(Canary.REFUSED, 61.1)) == ["lost"], "it has stood still as long as it may"


def test_a_lost_one_is_tried_again_ever_more_rarely_until_it_sings() -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert health.send(61.0)
    health.tried(Canary.SILENT, 91.0)
    at, waits = 91.0, []
    for _ in range(5):
        due = next(later for later in range(200) if health.send(at + later))
        waits.append(due)
        at += due
        assert health.tried(Canary.GONE, at) == []
    assert waits[0] == FIRST_RETRY_S
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_RETRY_S
    assert health.send(at + LONGEST_RETRY_S)
    assert whats(health.tried(Canary.SANG, at + 40)) == ["cleared"]


@pytest.mark.parametrize("sign", ["step", "answer", "restart"])
def test_a_sign_of_life_of_a_lost_one_hurries_its_next_canary(sign: str) -> None:
    health = Health(SETTINGS, 0.0)
    hung(health)
    assert health.send(61.0)
    health.tried(Canary.SILENT, 91.0)
    assert not health.send(92.0)
    if sign == "answer":
        assert health.heard(None, 92.0) == []
    else:
        health.seen(page(9) if sign == "step" else page(0, born_at=8.0), 0, 92.0)
    assert health.send(92.0)


@pytest.mark.parametrize("born_at", [8.0, 0.0], ids=["told", "seen by its counts"])
def test_another_process_at_the_address_has_an_empty_cache(born_at: float) -> None:
    health = Health(SETTINGS, 0.0)
    health.seen(page(500, born_at=7.0 if born_at else 0.0), 0, 1.0)
    assert whats(health.seen(page(3, born_at=born_at), 0, 2.0)) == ["restarted"]
    assert health.seen(page(4, born_at=born_at), 0, 3.0) == []


def test_who_sleeps_is_not_hung() -> None:
    health = Health(SETTINGS, 0.0)
    health.seen(page(5), 0, 0.0)
    assert whats(health.seen(page(5, asleep=True), 1, 1.0)) == ["asleep"]
    assert health.seen(page(5, asleep=True), 1, 500.0) == []
    assert whats(health.seen(page(5), 1, 501.0)) == ["awake"]
    assert health.seen(page(5), 1, 502.0) == []


def test_who_tells_of_no_steps_is_not_judged_by_them() -> None:
    health = Health(SETTINGS, 0.0)
    assert [health.seen(page(-1, running=3), 3, float(at)) for at in range(0, 600, 10)] == [[]] * 60
