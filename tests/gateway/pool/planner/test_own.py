"""A pool's price: from its GPU-hour and its speed, to the nano-dollar."""

from __future__ import annotations

import pytest

from gateway.core.money import Rates
from gateway.pool.planner.measured import Factor, Window
from gateway.pool.planner.own import SPARE_USD, Hour, Speed, estimated, rates_of
from gateway.pool.planner.quantisation import UnknownWord

HOUR = Hour(gpu_usd=2.5, gpus=1, target=1.0, spare_usd=0.0125)
SPEED = Speed(7000.0, 700.0)


def test_the_pair_that_everybody_computes() -> None:
    # $2.50 an hour and 700 tokens a second are $0.99 a million when never idle, ten times that at 10 % (pool.md).
    full, spare = rates_of(HOUR, SPEED) or (Rates(), Rates())
    assert full == Rates(fresh_input=99_206_349, cached_input=1_250_000, output_text=992_063_492)
    assert spare == Rates(fresh_input=1_250_000, cached_input=1_250_000, output_text=12_500_000)
    idle, _ = rates_of(Hour(2.5, 1, 0.1, 0.0125), SPEED) or (Rates(), Rates())
    assert idle.output_text == 9_920_634_921


def test_a_replica_of_four_gpus_costs_four_hours() -> None:
    one, _ = rates_of(HOUR, SPEED) or (Rates(), Rates())
    four, spare = rates_of(Hour(2.5, 4, 1.0, 0.0125), SPEED) or (Rates(), Rates())
    assert four.output_text == 3_968_253_968
    assert spare.output_text == 12_500_000
    assert one.output_text < four.output_text


def test_one_more_token_never_costs_more_than_a_replicas() -> None:
    full, spare = rates_of(Hour(0.01, 1, 1.0, 5.0), SPEED) or (Rates(), Rates())
    assert spare == full == Rates(fresh_input=396_825, cached_input=396_825, output_text=3_968_254)


def test_what_does_nothing_has_no_price_and_is_not_free() -> None:
    assert rates_of(HOUR, Speed(0.0, 0.0)) is None


def test_a_way_out_is_what_a_token_of_a_rented_gpu_costs() -> None:
    assert round(SPARE_USD, 9) == 0.0125  # 250 B at $0.05 a GB


def test_an_8b_on_an_h100_is_estimated_as_size_does() -> None:
    speed = estimated("meta-llama/Llama-3.1-8B", "h100", 1)
    assert (speed.source, round(speed.prefill), round(speed.decode)) == ("estimate", 16_359, 7_277)
    assert 300 < speed.at_once < 500


@pytest.mark.parametrize(
    ("model", "gpu", "gpus", "told"),
    [("lama-3.1-8b", "h100", 1, "did you mean"), ("8b", "h1000", 1, "h100"), ("405b", "h100", 1, "does not run on")],
)
def test_what_cannot_be_estimated_says_why(model: str, gpu: str, gpus: int, told: str) -> None:
    with pytest.raises(UnknownWord, match=told):
        estimated(model, gpu, gpus)


# -- measured -----------------------------------------------------------------------------------------------------


def window(times: float, load: float = 1.0, replicas: float = 2.0) -> Window:
    """Ten seconds in which a pool did so many times its estimate, half of the time reading, half writing."""
    done = times * load * replicas * 10.0
    return Window(10.0, done / 2 * SPEED.prefill, done / 2 * SPEED.decode, replicas, load)


def observe(factor: Factor, windows: list[Window], begin: float = 0.0) -> list[bool]:
    return [factor.observe(each, SPEED, 0.65, begin + 10.0 * at) for at, each in enumerate(windows)]


def test_three_windows_at_work_replace_the_estimate() -> None:
    factor = Factor()
    assert observe(factor, [window(0.5)] * 3) == [False, False, True]
    assert factor.value == pytest.approx(0.5)


def test_a_pool_without_work_says_nothing_of_its_speed() -> None:
    factor = Factor()
    assert not any(observe(factor, [window(0.5, load=0.3)] * 20))
    assert factor.value is None


def test_a_price_does_not_follow_each_gust() -> None:
    factor = Factor()
    observe(factor, [window(1.0)] * 3)
    gusts = [window(1.0 + (0.25 if at % 2 else -0.25)) for at in range(200)]
    assert not any(observe(factor, gusts, 30.0))
    assert factor.value == 1.0


def test_what_lasts_is_taken_over_once_and_not_before_the_last_has_settled() -> None:
    factor = Factor()
    observe(factor, [window(1.0)] * 3)
    changes = observe(factor, [window(0.6)] * 60, 30.0)
    assert changes.index(True) == 29  # 300 s after the last
    assert sum(changes) == 1
    assert factor.value == pytest.approx(0.6, abs=0.01)


def test_nonsense_is_held_within_bounds() -> None:
    factor = Factor()
    observe(factor, [window(1e9)] * 3)
    assert factor.value == 50.0
    assert not factor.observe(Window(0.0, 1.0, 1.0, 1.0, 1.0), SPEED, 0.65, 1e6)
    assert not factor.observe(Window(10.0, 1.0, 1.0, 0.0, 1.0), SPEED, 0.65, 1e6)
