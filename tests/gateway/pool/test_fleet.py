"""The pools of a process as a whole: their load, what they do a second, what they are found to be worth."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.core.types import Deployment, Endpoint, Origin, Pooled
from gateway.pool.fleet import Counters, Fleet, Means, counters_in
from gateway.pool.planner.own import Hour, Speed
from gateway.pool.router import Gauges, Pools
from gateway.simulator.vllm import Metrics, Vitals

MEANS = Means(Hour(2.5, 1, 0.65, 0.0125), Speed(1000.0, 100.0, at_once=10.0))

PAGE = b"""
vllm:prompt_tokens_total{engine="0",model_name="m"} 1000.0
vllm:prompt_tokens_total{engine="1",model_name="m"} 500.0
vllm:prompt_tokens_cached_total{engine="0",model_name="m"} 250.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 999.0
vllm:generation_tokens_total{engine="0",model_name="m"} 40.0
vllm:generation_tokens_total{engine="1",model_name="m"} nonsense
"""


def deployment(name: str = "own", provider: str = "lab", replicas: int = 2, routing: str = "two_choices") -> Deployment:
    ends = [Endpoint(f"{name}#{at}", name, provider, Origin("http", f"10.0.0.{at}", 80)) for at in range(replicas)]
    return Deployment(name, provider, "vllm", name, "vllm", b"/v1", tuple(ends), pooled=Pooled(routing))


class Yard:
    """A fleet, and the counts that it looks at."""

    def __init__(self, *deployments: Deployment, means: Mapping[str, Means] | None = None) -> None:
        self.calls: dict[str, int] = {}
        self.at: dict[str, int] = {}
        self.pools = Pools()
        self.pools.watch(deployments)
        self.fleet = Fleet(self.pools, self.calls, self.at)
        self.fleet.watch(deployments, {"lab": MEANS} if means is None else means)

    def tell(self, replica: int, now: float, counters: Counters = Counters(), **gauges: float) -> None:  # noqa: B008
        self.fleet.take(f"http://10.0.0.{replica}:80", Gauges(now, **gauges), counters)  # type: ignore[arg-type]

    def load(self, now: float) -> float:
        return self.fleet.members["lab"].load(self.calls, now)


# -- counters -----------------------------------------------------------------------------------------------------


def test_counters_of_engines_are_summed_and_a_rank_has_its_own() -> None:
    assert counters_in(PAGE) == (1500.0, 250.0, 40.0)
    assert counters_in(PAGE, "1") == (500.0, 0.0, 0.0)
    assert counters_in(PAGE.replace(b"prompt_tokens_cached", b"other")) == (1500.0, 999.0, 40.0)
    assert counters_in(b"<html>") == (0.0, 0.0, 0.0)


def test_the_simulators_counters_are_read_as_they_are_meant() -> None:
    metrics = Metrics()
    metrics.prompt_tokens, metrics.cached_tokens, metrics.generation_tokens = 70, 30, 9
    assert counters_in(metrics.page("m", Vitals(0, 0, 0.0, 0.0))) == (70, 30, 9)


def test_a_page_is_heard_of_the_replica_that_shows_it() -> None:
    yard = Yard(deployment())
    yard.fleet.heard(yard.fleet.members["lab"].deployments[0].endpoints[1], PAGE + b"vllm:num_requests_running{} 3.0\n")
    silent, heard = yard.fleet.members["lab"].readings.values()
    assert silent.gauges is None
    assert heard.gauges is not None
    assert (heard.gauges.running, heard.counters) == (3, (1500.0, 250.0, 40.0))


# -- load ---------------------------------------------------------------------------------------------------------


def test_load_rises_with_each_call_at_once() -> None:
    yard = Yard(deployment())
    assert yard.load(0.0) == 0.0
    yard.calls["own"] = 5
    assert yard.load(0.0) == 0.25
    yard.calls["own"] = 50
    assert yard.load(0.0) == 1.0


def test_the_deployments_of_a_provider_share_its_load() -> None:
    yard = Yard(deployment("own"), deployment("other"))
    yard.calls |= {"own": 4, "other": 6}
    assert yard.fleet.load.get("own") == yard.fleet.load["other"] == 0.5
    assert yard.fleet.load.get("hosted", 0.0) == 0.0
    assert (sorted(yard.fleet.load), len(yard.fleet.load)) == (["other", "own"], 2)


def test_what_others_have_in_flight_there_counts_beside_our_own() -> None:
    yard = Yard(deployment())
    yard.calls["own"] = yard.at["own#0"] = 3
    yard.tell(0, 100.0, running=7)
    yard.tell(1, 100.0, running=1)
    assert yard.load(100.5) == pytest.approx((3 + 4 + 1) / 20)


def test_full_memory_and_queues_are_load_however_few_the_calls() -> None:
    yard = Yard(deployment())
    yard.tell(0, 100.0, kv_usage=0.9)
    yard.tell(1, 100.0, kv_usage=0.5)
    assert yard.load(100.0) == pytest.approx(0.7)
    yard.tell(0, 101.0, waiting=2)
    assert yard.load(101.0) < 1.0  # the other has room
    yard.tell(1, 101.0, waiting=1)
    assert yard.load(101.0) == 1.0


def test_a_replica_that_is_silent_does_no_work_and_old_gauges_count_for_nothing() -> None:
    yard = Yard(deployment())
    yard.calls["own"] = 5
    yard.tell(0, 100.0)
    assert yard.load(100.0) == 0.5  # one of two answers
    assert yard.load(106.0) == 0.25  # nobody has said anything for long: that is no verdict on replicas


def test_a_pool_whose_room_is_not_known_goes_by_what_it_tells() -> None:
    yard = Yard(deployment(), means={"lab": Means(MEANS.hour, Speed(1000.0, 100.0))})
    yard.calls["own"] = 1000
    assert yard.load(0.0) == 0.0
    yard.tell(0, 100.0, kv_usage=0.4)
    assert yard.load(100.0) == 0.4


# -- pace and price -----------------------------------------------------------------------------------------------


def run(yard: Yard, seconds: int, fresh: float, output: float, begin: float = 1000.0) -> list[str]:
    """Has both replicas work, told each second, and returns whose speed changed."""
    changed: list[str] = []
    for second in range(seconds):
        now = begin + second
        for replica in range(2):
            yard.tell(replica, now, Counters(now * fresh, 0.0, now * output), kv_usage=0.8)
        changed += yard.fleet.turn(now)
    return changed


def test_a_pool_at_work_is_measured_and_its_price_follows() -> None:
    yard = Yard(deployment())
    # At a load of 0.8 each replica does 200 + 20 a second: 0.2 + 0.2 of its time by the estimate, so half of it.
    assert run(yard, 45, fresh=200.0, output=20.0) == ["lab"]
    assert yard.fleet.factors == {"lab": pytest.approx(0.5)}
    member = yard.fleet.members["lab"]
    assert member.speed == Speed(pytest.approx(500.0), pytest.approx(50.0), 10.0, "measured")  # type: ignore[arg-type]
    assert member.pace == pytest.approx((400.0, 40.0, 0.8))


def test_the_configs_word_is_not_corrected_and_a_new_estimate_is_measured_anew() -> None:
    yard = Yard(deployment(), means={"lab": Means(MEANS.hour, MEANS.speed, fixed=True)})
    assert run(yard, 60, 200.0, 20.0) == []
    yard.fleet.watch([deployment()], {"lab": MEANS})
    assert run(yard, 60, 200.0, 20.0, 2000.0) == ["lab"]
    yard.fleet.watch([deployment()], {"lab": MEANS})
    assert "lab" in yard.fleet.factors  # a reload that does not speak of it keeps what was measured
    yard.fleet.watch([deployment()], {"lab": Means(MEANS.hour, Speed(2000.0, 200.0, 10.0))})
    assert yard.fleet.factors == {}


def test_a_replica_that_was_started_anew_spoils_no_window() -> None:
    yard = Yard(deployment())
    run(yard, 25, 200.0, 20.0)
    yard.tell(0, 1025.0, Counters(5.0))
    member = yard.fleet.members["lab"]
    assert member.readings["http://10.0.0.0:80"].turn() == (0.0, 0.0)
    yard.fleet.forget("lab")
    assert yard.fleet.factors == {}


def test_a_pool_routed_by_prefix_tells_what_to_expect() -> None:
    yard = Yard(deployment(routing="prefix"))
    outlook = yard.fleet.outlooks.get("own")
    assert (outlook.samples, outlook.wait_s, outlook.per_token_s) == (0, 0.02, 1 / 8000)
    assert yard.fleet.outlooks.get("hosted") is None
    assert Yard(deployment()).fleet.outlooks.get("own") is None
